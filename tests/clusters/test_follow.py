"""How far a training is between two evaluations, for whoever asks, in this process or from others."""

import math
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from manyhands import lab
from manyhands.clusters.cluster import Cluster, Processes, Simulated
from manyhands.runs.recorder import Row
from manyhands.runs.specification import Specification
from manyhands.strategies import LocalSGD, ParameterServer, Strategy


class Asking:
    """Looks at the gauge all the time, as a bar would, in a thread of its own."""

    def __init__(self) -> None:
        self.seen: list[float] = []
        self.rows: list[Row] = []
        self.over = threading.Event()

    def __call__(self, row: Row) -> None:
        self.rows.append(row)

    def follow(self, progress: Callable[[], float]) -> None:
        def look() -> None:
            while not self.over.wait(0.002):
                self.seen.append(progress())

        threading.Thread(target=look, daemon=True).start()


@pytest.mark.parametrize(
    ("cluster", "strategy", "samples", "epochs"),
    [(Simulated(), LocalSGD(), 1000, 2), (Simulated(), ParameterServer(), 1000, 2),
     (Processes(threads=1), LocalSGD(), 6000, 3)],
    ids=["workers", "servers", "processes"],
)  # fmt: skip
def test_a_follower_sees_the_training_move_between_rows(
    cluster: Cluster, strategy: Strategy, samples: int, epochs: int, tmp_path: Path
) -> None:
    specification = Specification(
        task="mnist-mini/lenet5", strategy=strategy, cluster=cluster, workers=2, epochs=epochs, evaluate_every=epochs,
        batch_size=16, samples=samples,
    )  # fmt: skip
    asking = Asking()
    lab.train(specification, out=tmp_path / "run", observer=asking)
    asking.over.set()
    assert [row["completed"] for row in asking.rows] == [0, epochs]
    known = [share for share in asking.seen if math.isfinite(share)]
    assert known == sorted(known)
    assert len(set(known) - {0.0, 1.0}) >= 2
    assert 0 <= known[0] <= known[-1] <= 1


def test_a_resumed_run_begins_where_it_stopped(tmp_path: Path) -> None:
    class Stopping(Asking):
        def __call__(self, row: Row) -> None:
            if row["completed"] == 2:
                raise KeyboardInterrupt

    specification = Specification(task="mnist-mini/logistic", workers=2, epochs=4, batch_size=100, samples=1000)
    with pytest.raises(KeyboardInterrupt):
        lab.train(specification, out=tmp_path / "run", observer=Stopping())
    first: list[float] = []

    class Beginning(Asking):
        def follow(self, progress: Callable[[], float]) -> None:
            first.append(progress())

    lab.resume(tmp_path / "run", observer=Beginning())
    assert first == [0.25]


def test_an_observer_that_does_not_ask_is_told_rows_alone(tmp_path: Path) -> None:
    rows: list[Row] = []
    specification = Specification(task="mnist-mini/logistic", workers=2, epochs=1, batch_size=100, samples=400)
    lab.train(specification, out=tmp_path / "run", observer=rows.append)
    assert [row["completed"] for row in rows] == [0, 1]
