"""What this machine is, and that it computes what it should. Open with ``marimo edit notebooks``."""

import marimo

__generated_with = "0.25.2"

app = marimo.App(width="medium", app_title="1 · Environment check")


@app.cell
def _():
    import time

    import altair as alt
    import marimo as mo
    import torch

    import manyhands
    from manyhands import Specification
    from manyhands.cli.doctor import examine

    return Specification, alt, examine, manyhands, mo, time, torch


@app.cell
def _(mo):
    mo.md("""
    # 1 · Environment check

    Before an experiment, look at the instrument. At the end of this notebook you know what your machine has, how fast
    it computes, what distributing work can gain *on it*, and that the same seed gives the same result here as
    everywhere.

    A cell runs again by itself when something that it uses has changed: move a slider and watch.
    """)


@app.cell
def _(mo):
    mo.md("""
    ## What is here

    The same as `manyhands doctor` prints, but for its measurement of precisions.
    """)


@app.cell
def _(manyhands, mo, torch):
    from manyhands.runs.environment import backends, hardware, versions

    facts = {"manyhands": manyhands.__version__} | hardware() | versions() | backends()
    mo.ui.table([{"what": name, "here": str(value)} for name, value in facts.items()], selection=None, page_size=20)
    return (facts,)


@app.cell
def _(mo):
    mo.md("""
    *Gloo* lets processes talk on processors, *NCCL* on NVIDIA's GPUs. Without NCCL everything in these notebooks
    still works: they need a processor and nothing else.

    ## How fast it computes

    A matrix product of two n × n matrices takes 2 n³ operations. Small ones are slow: there is not enough work to
    keep the machine busy.
    """)


@app.cell
def _(alt, time, torch):
    def rate(n, repeats=3):
        """Operations a second of the fastest of some products, in GFLOP/s."""
        a, b = torch.randn(n, n), torch.randn(n, n)
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            for _ in range(max(1, 256 // n)):
                a @ b
            seconds.append((time.perf_counter() - start) / max(1, 256 // n))
        return 2 * n**3 / min(seconds) / 1e9

    rates = [{"n": n, "GFLOP/s": rate(n)} for n in (16, 32, 64, 128, 256, 512, 1024)]
    alt.Chart(alt.Data(values=rates), width=500, height=220).mark_line(point=True).encode(
        x=alt.X("n:Q").scale(type="log", base=2), y=alt.Y("GFLOP/s:Q")
    )
    return (rates,)


@app.cell
def _(mo, rates):
    best = max(row["GFLOP/s"] for row in rates)
    mo.md(f"""
    At its best about **{best:.0f} GFLOP/s**. Training LeNet-5 on one image takes roughly 2.5 million operations
    (forward, and twice as much backward): at this rate that would be {best * 1e9 / 2.5e6:,.0f} images a second. The
    next notebook measures how far from that we stay, and the reason is on the left side of this picture.

    **Try:** more threads or fewer. `torch.set_num_threads(1)` in a cell of its own, then run the cell above again.
    What changes on the left, what on the right?
    """)


@app.cell
def _(mo):
    mo.md("""
    ## That it computes what it should

    A simulated run is the same bits on every machine of a kind: gradients are real, the clock is virtual, and chance
    comes from the seed. Here is a tiny one, twice.
    """)


@app.cell
def _(mo):
    seed = mo.ui.slider(0, 5, value=0, label="seed of the first run")
    seed
    return (seed,)


@app.cell
def _(Specification, manyhands, seed):
    import tempfile
    from pathlib import Path

    scratch = Path(tempfile.mkdtemp())

    def final_row(seed, name):
        specification = Specification(task="mnist-mini/logistic", workers=2, epochs=1, samples=1000, seed=seed)
        folder = manyhands.train(specification, out=scratch / name)
        return manyhands.RunView.read(folder).history[-1]

    count = len(list(scratch.iterdir()))
    first, second = final_row(seed.value, f"first-{seed.value}-{count}"), final_row(0, f"second-{count}")
    return first, second


@app.cell
def _(first, mo, second):
    same = first == second
    mo.md(f"""
    | | first run | second run, seed 0 |
    |---|---|---|
    | loss on the test set | {first["test_loss"]:.12f} | {second["test_loss"]:.12f} |
    | accuracy | {first["test_accuracy"]:.1%} | {second["test_accuracy"]:.1%} |
    | seconds on the simulated clock | {first["seconds"]:.9f} | {second["seconds"]:.9f} |

    {"**The same, to the last digit.**" if same else "**Another seed, another result**, but on the same clock."}

    **Try:** move the slider. Why do loss and accuracy change, and the seconds do not?
    """)


@app.cell
def _(mo):
    mo.md("""
    ## Questions

    1. How many images of digits could your machine train on in a second, at best? Which of the two limits it when
       batches are small, arithmetic or overhead?
    2. Your network: 1 Gbit/s moves 125 MB a second. LeNet-5 has 61,706 weights of 4 bytes. How long does one gradient
       take on the wire, and how does that compare with the time to compute one from 32 images?
    3. If eight machines like this one shared the work perfectly, how long would an epoch of 60,000 images take?

    Next: **2 · Baseline**, one worker and what it learns.
    """)


if __name__ == "__main__":
    app.run()
