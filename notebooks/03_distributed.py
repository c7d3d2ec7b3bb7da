"""The same training, shared by many workers: in simulation, and on real processes."""

import marimo

__generated_with = "0.25.2"

app = marimo.App(width="medium", app_title="3 · Distributed")


@app.cell
def _():
    import tempfile
    from itertools import count
    from pathlib import Path

    import altair as alt
    import marimo as mo

    from manyhands import Processes, RunView, Simulated, Specification, load_task, train
    from manyhands.strategies import AllReduce, Gossip, LocalSGD, ParameterServer, Single

    scratch, numbers = Path(tempfile.mkdtemp()), count()
    return (
        AllReduce,
        Gossip,
        LocalSGD,
        ParameterServer,
        Processes,
        RunView,
        Simulated,
        Single,
        Specification,
        alt,
        load_task,
        mo,
        numbers,
        scratch,
        train,
    )


@app.cell
def _(mo):
    mo.md("""
    # 3 · Distributed

    Several workers hold a part of the samples each, and must come to agree on the weights. How they do it is the
    *strategy*. You choose the number of workers and the network; five strategies run under the same conditions.
    """)


@app.cell
def _(mo):
    workers = mo.ui.slider(2, 16, step=2, value=8, label="workers", show_value=True)
    network = mo.ui.dropdown(["100Mbit/s", "1Gbit/s", "25Gbit/s"], value="1Gbit/s", label="network")
    straggler = mo.ui.checkbox(label="worker 0 is four times as slow")
    mo.hstack([workers, network, straggler], justify="start", gap=2)
    return network, straggler, workers


@app.cell
def _(
    AllReduce,
    Gossip,
    LocalSGD,
    ParameterServer,
    RunView,
    Simulated,
    Single,
    Specification,
    load_task,
    network,
    numbers,
    scratch,
    straggler,
    train,
    workers,
):
    task = load_task("mnist-mini/logistic")

    def simulated(strategy, size):
        slow = ("0:4",) if straggler.value and size > 1 else ()
        specification = Specification(
            task=task.name,
            strategy=strategy,
            cluster=Simulated(bandwidth=network.value, slow=slow),
            workers=size,
            batch_size=32,
            epochs=2,
        )
        return RunView.read(train(specification, task=task, out=scratch / f"{next(numbers)}"))

    strategies = (AllReduce(), ParameterServer(), Gossip(), LocalSGD(period=8))
    runs = {"single": simulated(Single(), 1)} | {one.name: simulated(one, workers.value) for one in strategies}
    return runs, simulated, task


@app.cell
def _(alt, mo, runs):
    points = [
        {"strategy": name, "epoch": row["epoch"], "seconds": row["seconds"], "accuracy": row["test_accuracy"]}
        for name, run in runs.items()
        for row in run.history
    ]
    by_epoch, by_second = (
        alt.Chart(alt.Data(values=points), width=300, height=240)
        .mark_line(point=True)
        .encode(x=f"{along}:Q", y=alt.Y("accuracy:Q", axis=alt.Axis(format="%")), color="strategy:N")
        for along in ("epoch", "seconds")
    )
    mo.hstack([by_epoch, by_second], justify="start")


@app.cell
def _(mo):
    mo.md("""
    **Read it.** On the left all are judged by how much data they saw; on the right by time. A strategy that is worse
    on the left can be better on the right. `all-reduce` and `parameter-server` lie on one line on the left: they take
    the same steps.

    ## Where the time goes

    The ledger of each node adds up to the clock: computing, communication that a step waits for, and waiting for
    others.
    """)


@app.cell
def _(alt, runs):
    shares = [
        {"strategy": name, "of": kind.replace("_", " "), "seconds": node["seconds"][kind] / run.workers}
        for name, run in runs.items()
        for node in run.ledger["nodes"]
        if node["role"] == "worker"
        for kind in ("compute", "exposed_communication", "waiting")
    ]
    alt.Chart(alt.Data(values=shares), width=560, height=150).mark_bar().encode(
        y=alt.Y("strategy:N", title=None, sort=list(runs)),
        x=alt.X("sum(seconds):Q", title="seconds of a worker, mean"),
        color=alt.Color("of:N", title=None),
    )


@app.cell
def _(alt, mo, runs):
    from manyhands.report.figure import THEME
    from manyhands.report.lanes import lanes_figure

    watched = "parameter-server"
    (lanes,) = lanes_figure(runs[watched], watched)
    look = THEME | {"background": "white"}
    mo.vstack(
        [
            mo.md(f"The same as a picture of the first steps of `{watched}`, as the report has it. {lanes.caption}"),
            alt.Chart.from_dict(lanes.spec | {"width": 620, "config": look}),
        ]
    )


@app.cell
def _(mo, runs):
    rows = []
    for name, run in runs.items():
        last, sent = run.history[-1], [node["bytes_sent"] for node in run.ledger["nodes"] if node["role"] == "worker"]
        speedup = runs["single"].history[-1]["seconds"] / last["seconds"]
        rows.append(
            {
                "strategy": name,
                "accuracy": f"{last['test_accuracy']:.1%}",
                "seconds": round(last["seconds"], 3),
                "speedup": round(speedup, 2),
                "efficiency": f"{speedup / run.workers:.0%}",
                "kB sent by a worker": round(sum(sent) / len(sent) / 1e3),
            }
        )
    mo.ui.table(rows, selection=None)


@app.cell
def _(mo):
    mo.md("""
    ## The strategy is the same on real processes

    `Processes()` instead of `Simulated()`: two processes, which talk over sockets. The clock is now a real one, and
    the weights are those of the simulation, to rounding. It takes some seconds, as Python and PyTorch start anew in
    each process.
    """)


@app.cell
def _(Gossip, Processes, RunView, Simulated, Specification, numbers, scratch, task, train):
    from safetensors.torch import load_file

    def two(cluster):
        specification = Specification(task=task.name, strategy=Gossip(), cluster=cluster, workers=2, epochs=1)
        return RunView.read(train(specification, out=scratch / f"{next(numbers)}"))

    real, model = two(Processes(threads=1)), two(Simulated())
    theirs, ours = (load_file(run.folder / "model.safetensors") for run in (real, model))
    difference = max(float((theirs[name] - ours[name]).abs().max()) for name in theirs)
    return difference, model, real


@app.cell
def _(difference, mo, model, real):
    mo.md(f"""
    | | processes | simulated |
    |---|---|---|
    | accuracy | {real.history[-1]["test_accuracy"]:.1%} | {model.history[-1]["test_accuracy"]:.1%} |
    | seconds | {real.history[-1]["seconds"]:.3f}, real | {model.history[-1]["seconds"]:.3f}, virtual |
    | bytes sent by worker 0 | {real.ledger["nodes"][0]["bytes_sent"]:,} | {model.ledger["nodes"][0]["bytes_sent"]:,} |

    The largest difference between two weights is **{difference:.1e}**. The seconds must not be compared: the
    simulated device is a nominal one, not your machine (`manyhands calibrate` measures yours).
    """)


@app.cell
def _(mo):
    mo.md("""
    ## Questions and experiments

    1. Set 16 workers. Accuracy falls for all but `single`. Why? (How many steps does each take in an epoch?) What
       could you do about it?
    2. At which network does `all-reduce` with 4 workers become faster than one worker? And `parameter-server`?
    3. Tick the slow worker. Which strategy's time grows least, and is it a good one therefore?
    4. `LocalSGD(period=8)` sends an eighth. Change the period in the code, to 1 and to 64. With 1 it must agree with
       all-reduce. Does it?
    5. Predict the bytes in the table from the number of weights (7,850), steps and workers. Which strategies' bytes
       depend on the number of workers?

    Next: **4 · Testing and benchmarking**.
    """)


if __name__ == "__main__":
    app.run()
