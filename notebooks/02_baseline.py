"""One worker, and what it learns: the run against which all others are measured."""

import marimo

__generated_with = "0.25.2"

app = marimo.App(width="medium", app_title="2 · Baseline")


@app.cell
def _():
    import tempfile
    from itertools import count
    from pathlib import Path

    import altair as alt
    import marimo as mo

    from manyhands import RunView, Specification, load_task, train
    from manyhands.strategies import Single

    scratch, numbers = Path(tempfile.mkdtemp()), count()
    return RunView, Single, Specification, alt, load_task, mo, numbers, scratch, train


@app.cell
def _(mo):
    mo.md("""
    # 2 · Baseline

    Nobody can say what eight workers gain who does not know what one does. So the first run is always `single`: one
    worker with all the data, plain SGD. This notebook trains it, reads what the run left behind, and finds out what
    it depends on.

    ## The data

    6,000 images of handwritten digits for training and 1,000 for testing, a part of MNIST that comes with the
    program.
    """)


@app.cell
def _(load_task, mo):
    task = load_task("mnist-mini/mlp")
    mo.md(f"""
    | | inputs | type | targets |
    |---|---|---|---|
    | training | {tuple(task.train.inputs.shape)} | {task.train.inputs.dtype} | {tuple(task.train.targets.shape)} |
    | test | {tuple(task.test.inputs.shape)} | {task.test.inputs.dtype} | {tuple(task.test.targets.shape)} |
    """)
    return (task,)


@app.cell
def _(mo, task):
    import torch

    def strip(images):
        """Some images side by side, dark on light."""
        return 255 - torch.cat(list(images[:, 0]), dim=1).numpy()

    mo.vstack([mo.image(strip(task.train.inputs[:12]), width=600), mo.md(f"`{task.train.targets[:12].tolist()}`")])


@app.cell
def _(mo):
    mo.md("""
    ## One training

    A `Specification` says all of it: what is learnt, how, where, for how long. `train` carries it out and returns the
    run's folder. Choose a batch size and a learning rate:
    """)


@app.cell
def _(mo):
    batch_size = mo.ui.dropdown(["8", "32", "128", "512"], value="32", label="batch size")
    lr = mo.ui.dropdown(["0.01", "0.05", "0.2", "1.0"], value="0.05", label="learning rate")
    mo.hstack([batch_size, lr], justify="start", gap=2)
    return batch_size, lr


@app.cell
def _(RunView, Single, Specification, batch_size, lr, numbers, scratch, task, train):
    def run_single(batch, rate, seed=0, epochs=4):
        specification = Specification(
            task=task.name, strategy=Single(), batch_size=batch, lr=rate, epochs=epochs, seed=seed
        )
        return RunView.read(train(specification, task=task, out=scratch / f"{next(numbers)}"))

    run = run_single(int(batch_size.value), float(lr.value))
    {name: value for name, value in run.history[-1].items() if value is not None}
    return run, run_single


@app.cell
def _(mo):
    mo.md("""
    That is the last row of `history.jsonl`. There is one for each evaluation:
    """)


@app.cell
def _(alt, mo, run):
    rows = [{"epoch": row["epoch"], "accuracy": row["test_accuracy"]} for row in run.history]
    losses = [
        {"epoch": row["epoch"], "loss": row[f"{part}_loss"], "of": part}
        for row in run.history
        for part in ("train", "test")
        if row[f"{part}_loss"] is not None
    ]
    accuracy_chart = (
        alt.Chart(alt.Data(values=rows), width=300, height=220)
        .mark_line(point=True)
        .encode(x="epoch:Q", y=alt.Y("accuracy:Q", axis=alt.Axis(format="%")))
    )
    loss_chart = (
        alt.Chart(alt.Data(values=losses), width=300, height=220)
        .mark_line(point=True)
        .encode(x="epoch:Q", y="loss:Q", color="of:N")
    )
    mo.hstack([accuracy_chart, loss_chart], justify="start")


@app.cell
def _(mo):
    mo.md("""
    **Read it.** At epoch 0 the network guesses: one in ten is right, and the loss is ln 10 ≈ 2.3. The training loss
    of an epoch is the mean over its batches *while* the weights changed, so that it lags behind.

    ## What it gets wrong

    `evaluation.json` has the confusion matrix: rows are digits, columns are what they were taken for.
    """)


@app.cell
def _(alt, run):
    classes, confusion = run.evaluation["classes"], run.evaluation["confusion"]
    cells = [
        {"digit": true, "taken for": guess, "images": confusion[i][j], "wrong": i != j}
        for i, true in enumerate(classes)
        for j, guess in enumerate(classes)
    ]
    base = alt.Chart(alt.Data(values=cells), width=340, height=300).encode(x="taken for:N", y="digit:N")
    base.mark_rect().encode(color=alt.Color("images:Q").scale(scheme="blues", type="sqrt")) + base.mark_text().encode(
        text="images:Q", color=alt.condition("datum.images > 60", alt.value("white"), alt.value("black"))
    )


@app.cell
def _(mo):
    mo.md("""
    ## One run is one draw

    Initial weights and the order of samples come from the seed. How much of a difference is luck? The same training
    with three seeds:
    """)


@app.cell
def _(mo, run_single):
    from statistics import mean, stdev

    finals = [run_single(32, 0.05, seed, 2).history[-1]["test_accuracy"] for seed in (0, 1, 2)]
    half = 4.303 * stdev(finals) / 3**0.5  # Student's t for two degrees of freedom, 95 %
    mo.md(f"""
    {", ".join(f"{one:.1%}" for one in finals)}: mean **{mean(finals):.1%} ± {half:.1%}** (95 % interval).

    Two strategies whose accuracies differ by less than such an interval do not differ, as far as you know. That is
    why `manyhands compare --seeds 0 1 2` exists.
    """)


@app.cell
def _(mo):
    mo.md("""
    ## Where the seconds come from

    This run was simulated: its clock is a model, a step takes a + b · batch. So the *time* is a prediction for a
    nominal machine, while the accuracy is real.
    """)


@app.cell
def _(mo, run):
    account = run.ledger["nodes"][0]["seconds"]
    lines = "\n".join(f"    | {kind.replace('_', ' ')} | {value:.3f} s |" for kind, value in account.items())
    mo.md(f"""
    | the worker's time | |
    |---|---|
{lines}
    """)


@app.cell
def _(mo):
    mo.md("""
    ## Questions and experiments

    1. Batch 8 or batch 512, the same learning rate and number of epochs: which is more accurate, and which takes
       longer on the simulated clock? How many steps does each take?
    2. With batch 512 try the learning rates again. Which comes nearest to the result of batch 32? The *linear scaling
       rule* says sixteen times the rate.
    3. What happens with batch 8 and rate 1.0? Read the message that you get, if you get one.
    4. Which two digits are most often taken for each other, in which direction? Would you have guessed it?

    Next: **3 · Distributed**.
    """)


if __name__ == "__main__":
    app.run()
