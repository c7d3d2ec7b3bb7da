"""How to know that a strategy is right, and how to measure how fast it is."""

import marimo

__generated_with = "0.25.2"

app = marimo.App(width="medium", app_title="4 · Testing and benchmarking")


@app.cell
def _():
    import tempfile
    import time
    from itertools import count
    from pathlib import Path
    from statistics import median, quantiles

    import altair as alt
    import marimo as mo
    import torch
    from safetensors.torch import load_file

    from manyhands import RunView, Simulated, Specification, Task, load_task, train
    from manyhands.lab import rehearse
    from manyhands.strategies import AllReduce, FedAvg, FedProx, Gossip, LocalSGD, Single
    from manyhands.strategies.topology import Complete, Ring

    scratch, numbers = Path(tempfile.mkdtemp()), count()
    task = load_task("mnist-mini/logistic")
    return (
        AllReduce,
        Complete,
        FedAvg,
        FedProx,
        Gossip,
        LocalSGD,
        Ring,
        RunView,
        Simulated,
        Single,
        Specification,
        Task,
        alt,
        load_file,
        median,
        mo,
        numbers,
        quantiles,
        rehearse,
        scratch,
        task,
        time,
        torch,
        train,
    )


@app.cell
def _(mo):
    mo.md("""
    # 4 · Testing and benchmarking

    A wrong distributed algorithm still learns: SGD forgives nearly everything. So accuracy proves nothing, and a
    table of accuracies of wrong algorithms looks like one of right ones. The first half of this notebook is about
    cases in which the result is known beforehand; the second about measuring time without fooling oneself.

    ## 1. Degenerate cases

    Every method is another one for some choice of its options. Then the weights must be the same. Choose a pair:
    """)


@app.cell
def _(AllReduce, Complete, FedAvg, FedProx, Gossip, LocalSGD, Ring, mo):
    pairs = {
        "local SGD, period 1 ≡ all-reduce": (LocalSGD(period=1), AllReduce()),
        "gossip, complete graph ≡ all-reduce": (Gossip(topology=Complete()), AllReduce()),
        "FedProx, μ = 0 ≡ FedAvg": (FedProx(mu=0), FedAvg()),
        "not the same: gossip on a ring, all-reduce": (Gossip(topology=Ring()), AllReduce()),
    }
    pair = mo.ui.dropdown(list(pairs), value=next(iter(pairs)), label="pair")
    pair
    return pair, pairs


@app.cell
def _(RunView, Specification, load_file, numbers, scratch, task, train):
    def trained(strategy, workers=4, **more):
        """The folder of a short training."""
        options = {"task": task.name, "workers": workers, "epochs": 1, "batch_size": 50} | more
        return train(Specification(strategy=strategy, **options), task=task, out=scratch / f"{next(numbers)}")

    def distance(one, other):
        """‖difference‖ / ‖weights‖ of two runs' models."""
        a, b = (load_file(folder / "model.safetensors") for folder in (one, other))
        gap = sum(float((a[name] - b[name]).square().sum()) for name in a) ** 0.5
        return gap / sum(float(b[name].square().sum()) for name in b) ** 0.5

    def accuracy(folder):
        return RunView.read(folder).history[-1]["test_accuracy"]

    return accuracy, distance, trained


@app.cell
def _(accuracy, distance, mo, pair, pairs, trained):
    folders = [trained(strategy) for strategy in pairs[pair.value]]
    apart = distance(*folders)
    mo.md(f"""
    | | |
    |---|---|
    | accuracies | {accuracy(folders[0]):.1%} and {accuracy(folders[1]):.1%} |
    | relative distance of the weights | **{apart:.1e}** |

    Weights are float32, so sums in another order differ by about 10⁻⁷. What is much larger is another algorithm, even
    where the accuracies agree, as in the last pair.
    """)


@app.cell
def _(mo):
    mo.md("""
    ## 2. An oracle that one can read

    Five workers with a hundred samples each, and batches of a hundred: the mean of their gradients is the gradient
    over all five hundred samples. So `all-reduce` must do what this loop does. The model starts at zero, so that both
    start alike.
    """)


@app.cell
def _(AllReduce, Specification, Task, load_file, mo, numbers, scratch, task, torch, train):
    def zeros():
        module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
        for parameter in module.parameters():
            torch.nn.init.zeros_(parameter)
        return module

    images, digits = task.train.inputs[:500].float() / 255, task.train.targets[:500]
    module = zeros()
    for _ in range(5):
        torch.nn.functional.cross_entropy(module(images), digits).backward()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter -= 0.1 * parameter.grad
                parameter.grad = None

    plan = Specification(strategy=AllReduce(), workers=5, batch_size=100, epochs=5, lr=0.1)
    small = Task(model=zeros, train=(images, digits), test=(images, digits))
    shared = load_file(train(plan, task=small, out=scratch / f"{next(numbers)}") / "model.safetensors")
    farthest = max(float((shared[name] - value).abs().max()) for name, value in module.state_dict().items())
    mo.md(f"Largest difference of a weight after five steps: **{farthest:.1e}**.")


@app.cell
def _(mo):
    mo.md("""
    ## 3. How fast? By turns, and with a spread

    A stopwatch around one run measures the first run: caches are cold, memory is fetched, other programs get in
    between. So warm up, repeat, take turns with what you compare to, and tell median and quartiles. Here: a step of
    two batch sizes.
    """)


@app.cell
def _(median, quantiles, task, time, torch):
    model, loss = task.model(), torch.nn.CrossEntropyLoss()

    def step(batch):
        model.zero_grad()
        loss(model(task.prepare(task.train.inputs[:batch])), task.train.targets[:batch]).backward()

    def by_turns(batches, repeats=30):
        """Seconds of a step of each batch size, taken by turns."""
        seconds = {batch: [] for batch in batches}
        for turn in range(repeats + 3):
            for batch in batches:
                begin = time.perf_counter()
                step(batch)
                if turn >= 3:  # the first ones warm up
                    seconds[batch].append(time.perf_counter() - begin)
        return seconds

    timed = by_turns((16, 32, 64, 128, 256, 512))
    spread = []
    for batch, all_seconds in timed.items():
        low, _, high = quantiles(all_seconds, n=4)
        spread.append({"batch": batch, "ms": median(all_seconds) * 1e3, "low": low * 1e3, "high": high * 1e3})
    return (spread,)


@app.cell
def _(alt, spread):
    chart = alt.Chart(alt.Data(values=spread), width=500, height=220).encode(x="batch:Q")
    chart.mark_line(point=True).encode(y=alt.Y("ms:Q", title="ms of a step: median, quartiles")) + chart.mark_rule(
        strokeWidth=3, opacity=0.4
    ).encode(y="low:Q", y2="high:Q")


@app.cell
def _(mo, spread):
    a, b = spread[0], spread[-1]
    slope = (b["ms"] - a["ms"]) / (b["batch"] - a["batch"])
    mo.md(f"""
    A line fits well: step = a + b · batch, with a = **{a["ms"] - slope * a["batch"]:.2f} ms** of overhead and b =
    **{slope * 1e3:.2f} µs** a sample. It is the model of a device in the simulation; `manyhands calibrate` fits it
    with more care.

    ## 4. From a model of time to a prediction

    `rehearse` runs a strategy's own code on tensors without values: how long it would take, with nothing learnt. A
    thousand workers take less than a second to predict.
    """)


@app.cell
def _(mo):
    bandwidth = mo.ui.dropdown(["100Mbit/s", "1Gbit/s", "10Gbit/s", "100Gbit/s"], value="1Gbit/s", label="network")
    bandwidth
    return (bandwidth,)


@app.cell
def _(AllReduce, Gossip, LocalSGD, Simulated, Single, Specification, bandwidth, rehearse):
    def seconds_of(strategy, workers):
        """Of one epoch."""
        rehearsed = Specification(
            task="mnist-mini/lenet5",
            strategy=strategy,
            cluster=Simulated(bandwidth=bandwidth.value),
            workers=workers,
            epochs=1,
        )
        return rehearse(rehearsed).seconds

    alone = seconds_of(Single(), 1)
    predicted = [
        {"strategy": strategy.name, "workers": size, "speedup": alone / seconds_of(strategy, size)}
        for strategy in (AllReduce(), Gossip(), LocalSGD(period=8))
        for size in (2, 4, 8, 16, 32)
    ]
    return (predicted,)


@app.cell
def _(alt, predicted):
    ideal = [{"workers": size, "speedup": size, "strategy": "ideal"} for size in (2, 4, 8, 16, 32)]
    alt.Chart(alt.Data(values=[*predicted, *ideal]), width=500, height=260).mark_line(point=True).encode(
        x=alt.X("workers:Q").scale(type="log", base=2),
        y=alt.Y("speedup:Q").scale(type="log", base=2),
        color="strategy:N",
        strokeDash=alt.condition("datum.strategy == 'ideal'", alt.value([4, 4]), alt.value([1, 0])),
    )


@app.cell
def _(mo):
    mo.md("""
    **Believe it?** A prediction is worth what its test says. `manyhands validate` holds predictions against 600 real
    runs on emulated hosts; the page *How far predictions can be believed* tells the errors, and where the model
    fails.

    ## Questions and experiments

    1. Take the pair *gossip, complete graph* and change the number of workers in `trained` to 8. Does the distance
       stay at rounding?
    2. Make a pair of your own: `FedAvg` with all clients and one full-batch step is what? (Look at the table in
       *Federated learning*.)
    3. Measure the steps above with `repeats=3` and no warm-up. How far off are a and b?
    4. At which network do all three strategies reach 80 % efficiency with 32 workers? What limits them then?
    5. A colleague reports "my method is 12 % faster, median of five". What do you ask?

    Next: **5 · Federated**.
    """)


if __name__ == "__main__":
    app.run()
