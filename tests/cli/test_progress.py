"""What a person sees while runs go on."""

import pytest

from manyhands import terminal
from manyhands.cli.progress import Saying, Watcher, counting
from manyhands.errors import RunError
from manyhands.runs.recorder import Follower, Row
from manyhands.runs.specification import Specification
from manyhands.terminal import Bar

SPECIFICATION = Specification(workers=2, epochs=4)
ROW: Row = {"test_accuracy": 0.5, "seconds": 1.0, "completed": 3}


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Bar]:
    """All bars that are opened."""
    bars: list[Bar] = []

    class Noted(Bar):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            bars.append(self)

    monkeypatch.setattr(terminal, "Bar", Noted)
    return bars


@pytest.mark.parametrize(
    ("figures", "said"),
    [({}, ""), ({"figures": {"late": 3}}, ""), ({"figures": {"skipped": 2.0}}, ", 2\u00a0rounds skipped")],
)
def test_a_run_has_a_bar_and_in_a_log_a_line(
    figures: Row, said: str, opened: list[Bar], capsys: pytest.CaptureFixture[str]
) -> None:
    with Watcher(4, Bar("all", 4, "runs")).run("fedavg", SPECIFICATION) as observe:
        observe(ROW | figures)
    assert opened[0].state == f"50.0\u00a0% at 1.00\u00a0s{said}"
    assert (opened[0].completed, opened[0].total, opened[0].unit) == (3, 4, "epochs")
    assert capsys.readouterr().err == f"1/4 fedavg: test accuracy 50.00\u00a0%{said} (0 s)\n"


def test_one_run_needs_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Watcher(1, Bar("", 1, "runs")).run("fedavg", SPECIFICATION) as observe:
        observe(ROW)
    assert capsys.readouterr().err == ""


def test_between_rows_a_gauge_moves_the_run_and_all_of_them(opened: list[Bar]) -> None:
    whole = Bar("all", 4, "runs")
    watcher = Watcher(4, whole)
    for _ in range(2):
        with watcher.run("gossip", SPECIFICATION) as observe:
            assert isinstance(observe, Follower)
            observe.follow(iter([0.0, 0.25, 0.5]).__next__)
            for _ in range(3):
                opened[-1].look()
                whole.look()
        assert opened[-1].completed == 2
    assert whole.completed == 1.5
    whole.look()
    assert whole.completed == 2


def test_failures_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    watcher = Watcher(2, Bar("all", 2, "runs"))
    with pytest.raises(RunError), watcher.run("gossip", SPECIFICATION):
        raise RunError("it diverged")
    with pytest.raises(KeyboardInterrupt), watcher.run("gossip", SPECIFICATION):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == "1/2 gossip: failed: it diverged (0 s)\n2/2 gossip: stopped (0 s)\n"


def test_things_are_counted_as_they_begin(opened: list[Bar]) -> None:
    with counting(3, "predicting") as begin:
        begin("gossip")
        begin("fedavg")
    assert (opened[0].completed, opened[0].total, opened[0].state) == (1, 3, "fedavg")


def test_a_benchmark_says_how_much_is_to_come() -> None:
    line = Bar("scaling", None, "")
    say = Saying(line)
    say.expect(1)
    say("starting")
    say.expect(4)
    say("all-reduce, 4 KiB")
    assert (line.completed, line.total, line.state) == (1, 5, "all-reduce, 4 KiB")
