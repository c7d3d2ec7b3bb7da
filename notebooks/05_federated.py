"""Clients that keep their samples: skew, fairness, attacks."""

import marimo

__generated_with = "0.25.2"

app = marimo.App(width="medium", app_title="5 · Federated")


@app.cell
def _():
    import tempfile
    from itertools import count
    from pathlib import Path

    import altair as alt
    import marimo as mo

    from manyhands import RunView, Specification, load_task, train
    from manyhands.aggregation import AGGREGATIONS
    from manyhands.clusters.faults import FAULTS
    from manyhands.strategies import FedAvg, Scaffold
    from manyhands.tasks.partition import PARTITIONS

    scratch, numbers = Path(tempfile.mkdtemp()), count()
    task = load_task("mnist-mini/logistic")
    return (
        AGGREGATIONS,
        FAULTS,
        FedAvg,
        PARTITIONS,
        RunView,
        Scaffold,
        Specification,
        alt,
        mo,
        numbers,
        scratch,
        task,
        train,
    )


@app.cell
def _(mo):
    mo.md("""
    # 5 · Federated

    The samples stay where they were made. A server sends the weights to some of the clients, each trains on its own
    samples, and the server averages what comes back. Nobody has shuffled the data: that is the trouble, and the
    subject of this notebook.

    ## Who holds what
    """)


@app.cell
def _(mo):
    partition = mo.ui.dropdown(
        ["iid", "dirichlet:1", "dirichlet:0.1", "shards:2", "labels:1", "quantity:0.5"],
        value="dirichlet:0.1",
        label="partition",
    )
    fraction = mo.ui.dropdown(["0.2", "0.5", "1.0"], value="0.5", label="share of the clients in a round")
    local = mo.ui.slider(1, 5, value=1, label="local epochs", show_value=True)
    mo.hstack([partition, fraction, local], justify="start", gap=2)
    return fraction, local, partition


@app.cell
def _(
    FedAvg,
    PARTITIONS,
    RunView,
    Scaffold,
    Specification,
    fraction,
    local,
    numbers,
    partition,
    scratch,
    task,
    train,
):
    def federated(strategy, rounds=10, **more):
        specification = Specification(
            task=task.name,
            strategy=strategy,
            partition=PARTITIONS.parse(partition.value),
            workers=10,
            rounds=rounds,
            **more,
        )
        return RunView.read(train(specification, task=task, out=scratch / f"{next(numbers)}"))

    options = {"fraction": float(fraction.value), "local_epochs": local.value}
    runs = {"fedavg": federated(FedAvg(**options)), "scaffold": federated(Scaffold(**options))}
    return federated, options, runs


@app.cell
def _(alt, runs):
    holdings = [
        {"client": client, "digit": digit, "samples": samples}
        for client, counts in enumerate(runs["fedavg"].partition["counts"])
        for digit, samples in enumerate(counts)
        if samples
    ]
    alt.Chart(alt.Data(values=holdings), width=420, height=240).mark_circle(color="#2f6db3").encode(
        x="digit:O", y="client:O", size=alt.Size("samples:Q").scale(range=[5, 500]), tooltip=["samples:Q"]
    )


@app.cell
def _(mo):
    mo.md("""
    Each row is a client, each column a digit, and the area of a dot the number of samples. *Dirichlet(α)* draws for
    each digit how it is shared out: small α gives most of it to few clients. Try `labels:1`, where each client has
    seen one digit in its life.

    ## What they learn
    """)


@app.cell
def _(alt, mo, runs):
    curves = [
        {"method": name, "round": row["completed"], "accuracy": row["test_accuracy"]}
        for name, run in runs.items()
        for row in run.history
    ]
    learning = (
        alt.Chart(alt.Data(values=curves), width=300, height=240)
        .mark_line(point=True)
        .encode(x="round:Q", y=alt.Y("accuracy:Q", axis=alt.Axis(format="%")), color="method:N")
    )
    at_clients = [
        {"method": name, "accuracy": accuracy}
        for name, run in runs.items()
        for accuracy in run.at_clients["accuracy"]
        if accuracy is not None
    ]
    fairness = (
        alt.Chart(alt.Data(values=at_clients), width=300, height=240)
        .mark_tick(thickness=3)
        .encode(
            x=alt.X("accuracy:Q", axis=alt.Axis(format="%"), title="accuracy at each client"),
            y="method:N",
            color="method:N",
        )
    )
    mo.hstack([learning, fairness], justify="start")


@app.cell
def _(mo, runs):
    final = {name: run.history[-1] for name, run in runs.items()}
    lines = "\n".join(
        f"    | {name} | {row['test_accuracy']:.1%} | {row['worst_decile']:.1%} | {row['bytes'] / 1e6:.2f} MB |"
        for name, row in final.items()
    )
    mo.md(f"""
    | method | accuracy | of the worst tenth of the clients | bytes sent by all |
    |---|---|---|---|
{lines}

    **Read it.** The curve of `fedavg` goes up and down: each cohort pulls towards its own digits. `scaffold` corrects
    the local steps by how a client's gradients differ from everybody's, and pays for it with twice the bytes. On the
    right is one mark for each client: a good mean can hide a client for whom the model is useless.
    """)


@app.cell
def _(mo):
    mo.md("""
    ## Two of ten clients lie

    They send five times the opposite of what they learnt. The server can take the mean of the replies, or something
    that one liar cannot move far.
    """)


@app.cell
def _(mo):
    aggregation = mo.ui.dropdown(
        ["mean", "median", "trimmed-mean:0.2", "krum:2", "geometric-median"], value="mean", label="aggregation"
    )
    aggregation
    return (aggregation,)


@app.cell
def _(AGGREGATIONS, FAULTS, FedAvg, aggregation, federated, mo):
    chosen = AGGREGATIONS.parse(aggregation.value)
    attack = FAULTS.parse("sign-flip:0.2,scale=5")
    honest = federated(FedAvg(aggregation=chosen), rounds=5)
    attacked = federated(FedAvg(aggregation=chosen), rounds=5, faults=(attack,))
    accuracies = [run.history[-1]["test_accuracy"] for run in (honest, attacked)]
    mo.md(f"""
    With **{chosen}**: {accuracies[0]:.1%} if all are honest, **{accuracies[1]:.1%}** under attack.

    **Try** each of them, and then again with `iid` data at the top. Robust aggregation throws away what looks unlike
    the rest. With skewed data honest clients look unlike the rest, too.
    """)


@app.cell
def _(mo):
    mo.md("""
    ## Questions and experiments

    1. At which partition does `scaffold` gain most over `fedavg`? Is there one at which it gains nothing?
    2. Five local epochs instead of one: fewer rounds, more drift. When is it worth it? Count bytes, not rounds.
    3. A cohort of 0.2 has two clients. Compare the curves of 0.2 and 1.0. What makes the difference, noise or bias?
    4. Which aggregation loses most when nobody attacks, and why?
    5. `Specification(…, strategy=FedAvg(privacy=…))` hides who took part. What does *Federated learning* in the
       documentation say that it does not hide?

    From here: write a method of your own. *Write a strategy* shows how, in thirty lines.
    """)


if __name__ == "__main__":
    app.run()
