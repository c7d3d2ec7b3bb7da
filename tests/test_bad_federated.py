"""What a user can get wrong about federated learning ends with one line that names it, and nothing half-written."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from manyhands.cli.main import main

Refused = Callable[..., None]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Checks that a command line is refused in one line with these words."""

    def check(argv: list[str], *words: str) -> None:
        capsys.readouterr()
        assert main(argv) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith("manyhands: error: ")
        assert captured.err.count("\n") == 1
        for word in words:
            assert word in captured.err

    return check


REPLIES = {
    "--strategy.aggregation average": "unknown aggregation 'average': choose from mean, uniform, median",
    "--strategy.aggregation trimmed-mean:0.5": "must be at least 0 and below 0.5, not 0.5",
    "--strategy.aggregation trimmed-mean:0.1": "leaves out nobody of 8 clients: use a fraction of at least 0.125",
    "--strategy.aggregation krum:3": "aggregation krum:3 needs the updates of at least 9 clients, and gets those of 8",
    "--strategy.aggregation krum:1 --strategy.fraction 0.5": "at least 5 clients, and gets those of 4",
    "--strategy.aggregation multi-krum:1,8": "needs the updates of at least 9 clients",
    "--strategy.aggregation clipped:0": "the norm to clip to must be positive, not 0",
    "--strategy.privacy dp:1,0": "noise must be positive, from 1e-12 to 1e+06, not 0",
    "--strategy.privacy dp:0,1": "clip must be positive and finite, not 0",
    "--strategy.privacy dp:1,1,delta=0": "delta must lie between 0 and 1, not 0",
    "--strategy.privacy dp:1,1 --strategy.aggregation median": "median looks at each of them: use --strategy",
    "--strategy.privacy dp:1,1 --strategy.compression int8": "leave out --strategy.compression int8",
    "--strategy.privacy dp:1,1 --strategy.cohort weighted": "use --strategy.cohort uniform, not weighted",
    "--strategy.secure --strategy.aggregation krum:1": "--strategy.secure adds up the clients' replies, and krum:1",
    "--strategy.secure --strategy.compression sign": "--strategy.secure adds up whole replies: leave out",
    "--strategy.secure --workers 1": "the sum of one client's reply hides nothing: have 2 or more take part",
    "--strategy.secure --strategy.over-selection 0.3 --strategy.fraction 0.5": "leave out --strategy.over-selection",
    "--strategy fedasync --strategy.secure": "fedasync has none, use fedavg",
    "--strategy fedbuff --strategy.secure": "--strategy.secure needs rounds that all clients of a cohort share",
    "--strategy fedbuff --strategy.privacy dp:1,1": "fedbuff has none, use fedavg",
    "--strategy parameter-server --strategy.aggregation median --strategy.consistency async": "use sync or ssp:BOUND",
    "--strategy parameter-server --strategy.aggregation krum:1 --strategy.servers 2": "use --strategy.servers 1",
    "--strategy fedavg:aggregation=median": "options are flags of their own: --strategy fedavg --strategy.OPTION VALUE",
    "--faults sabotage": "unknown fault 'sabotage': choose from label-flip:SHARE",
    "--faults sign-flip:2": "share must lie in (0, 1], not 2",
    "--faults sign-flip": "give a share of the clients or name them, as in clients=0+3",
    "--faults sign-flip:0.01": "a share of 0.01 of 8 clients is nobody",
    "--faults sign-flip:clients=8": "names client 8, but the clients are 0 … 7",
    "--faults drop-out:0": "probability must lie in (0, 1], not 0",
    "--strategy gossip --faults sign-flip:0.5": "the workers of gossip have no server to lie to: use a federated",
    "--strategy all-reduce --faults drop-out:0.5": "the workers of all-reduce cannot miss a round",
}
"""aggregation, privacy and attacks"""


@pytest.mark.parametrize(("flags", "message"), [*REPLIES.items()])
def test_train_refuses(flags: str, message: str, refused: Refused) -> None:
    strategy = [] if "--strategy " in flags else ["--strategy", "fedavg"]
    refused(["train", "--task", "mnist-mini/logistic", *strategy, *flags.split()], message)
    assert not list(Path().iterdir())


def test_predict_says_which_strategy_cannot_be_and_why(refused: Refused) -> None:
    refused(
        ["predict", "--task", "mnist-mini/logistic", "--strategies", "fedavg:aggregation=krum:3", "--workers", "4"],
        "aggregation krum:3 needs the updates of at least 9 clients, and gets those of 4",
    )


METHODS = {
    "--strategy fedper --strategy.layers 2": "is more than the model's linear layers, of which it has 1",
    "--strategy fedper --strategy.compression powersgd:1": "powersgd:1 compresses whole layers, which fedper does not",
    "--strategy fedavg --strategy.local-steps 3": "fedavg with --strategy.local-steps needs --rounds",
    "--strategy fedopt --strategy.server-optimizer adamw": "unknown server optimiser 'adamw': choose from sgd, adagrad",
    "--strategy fedopt --strategy.server-optimizer adam:lr=0": "lr must be above 0, not 0",
    "--strategy fedbuff --strategy.staleness old": "unknown staleness 'old': choose from constant, polynomial, hinge",
    "--strategy fedasync --strategy.deadline 3s": "fedasync waits for nobody: leave out --strategy.deadline",
    "--strategy fedasync --strategy.cohort weighted": "leave out --strategy.cohort",
    "--strategy fedasync --strategy.aggregation krum:1": "at least 5 clients, and gets those of 1",
    "--strategy fedbuff --strategy.aggregation krum:1 --strategy.buffer 4": "at least 5 clients, and gets those of 4",
    "--strategy fednova --strategy.privacy dp:1,1": "fednova sends how far a client went beside its update",
    "--strategy fedsgd --strategy.local-epochs 2": "fedsgd takes no local steps, but one gradient",
}
"""the methods' own options"""


@pytest.mark.parametrize(("flags", "message"), [*METHODS.items()])
def test_methods_refuse(flags: str, message: str, refused: Refused) -> None:
    refused(["train", "--task", "mnist-mini/logistic", *flags.split()], message)
    assert not list(Path().iterdir())


PARTITIONS = {
    "--partition dirichlet:0.3+linear": "both dirichlet:0.3 and linear say who holds which samples: keep one",
    "--partition iid+even": "unknown partition 'even': choose from iid, dirichlet:ALPHA",
    "--partition noise:-1": "sigma must be positive and finite, not -1",
    "--partition rotation": "partition 'rotation': needs degrees (a number)",
    "--partition quantity:0": "alpha must be positive",
    "--partition quantity:1,least=1000": "8 workers with at least 1,000 samples each need more than the 6,000",
    "--partition exponential --workers 20": "leaves worker 0 of 20 without samples: use fewer workers",
    "--partition groups": "the task has no groups: write groups:FILE, with a group for each training",
    "--partition groups:nowhere.txt": "cannot read the groups in nowhere.txt: No such file or directory",
}
"""who holds what"""


@pytest.mark.parametrize(("flags", "message"), [*PARTITIONS.items()])
def test_partitions_refuse(flags: str, message: str, refused: Refused) -> None:
    refused(["train", "--task", "mnist-mini/logistic", "--strategy", "fedavg", *flags.split()], message)
    assert not list(Path().iterdir())


def test_groups_in_a_file_must_fit_samples_and_workers(refused: Refused) -> None:
    Path("groups.txt").write_text("a\nb\n")
    flags = ["train", "--task", "mnist-mini/logistic", "--strategy", "fedavg", "--partition", "groups:groups.txt"]
    refused(flags, "groups.txt has 2 groups for 6,000 training samples: give one for each of them")
    refused([*flags, "--samples", "2", "--workers", "3"], "--workers 3 is more than the 2 training samples")
    Path("groups.txt").write_text("a\nb\n" * 3)
    refused([*flags, "--samples", "6", "--workers", "3"], "3 workers need a group each, and there are 2")
    assert [path.name for path in Path().iterdir()] == ["groups.txt"]


ROUNDS = {
    "--strategy.fraction 1.5": "--strategy.fraction of fedavg must lie in (0, 1], not 1.5",
    "--strategy.deadline soon": "--strategy.deadline of fedavg: 'soon' is not a time: write a number and one of ns, us",
    "--strategy.deadline 30": "--strategy.deadline of fedavg: '30' is not a time",
    "--strategy.deadline=-3s": "the time '-3s' must be positive and finite",
    "--strategy.over-selection=-0.5": "--strategy.over-selection of fedavg must be zero or more and finite, not -0.5",
    "--strategy.over-selection nan": "must be zero or more and finite, not nan",
    "--strategy.over-selection 0.3": "chooses 10 clients for a cohort of 8, but there are 8: lower it or",
    "--strategy.cohort best": "unknown cohort 'best': choose from uniform, weighted, available:FILE, diurnal:",
    "--strategy.cohort available:nowhere.json": "availability trace 'nowhere.json' cannot be read: No such file",
    "--strategy.cohort available:x,period=-1": "a number of seconds, zero or more and finite, not -1",
    "--strategy.cohort diurnal:10,2": "the share must lie in (0, 1], not 2",
    "--strategy.cohort diurnal:-10,0.5": "the period must be a positive number of seconds, not -10",
    "--cluster.speeds fast": "unknown spread 'fast': choose from even, lognormal:SIGMA, uniform:LOW,HIGH, file:PATH",
    "--cluster.speeds lognormal:-1": "spread 'lognormal:-1': sigma must be positive and finite, not -1",
    "--cluster.links uniform:0,2": "factors must be positive and finite, the lower one first, not 0.0,2.0",
    "--cluster.links file:nowhere.json": "spread 'file:nowhere.json' cannot be read: No such file",
}
"""cohorts, deadlines, and clients that are not alike"""


@pytest.mark.parametrize(("flags", "message"), [*ROUNDS.items()])
def test_rounds_are_refused(flags: str, message: str, refused: Refused) -> None:
    refused(["train", "--task", "mnist-mini/logistic", "--strategy", "fedavg", *flags.split()], message)
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "availability trace 'trace.json' is damaged: it must be a JSON object of intervals by client"),
        ('{"0": [[0, 9]]}', "availability trace 'trace.json' has no client 1: it must name all of 0 … 1"),
        ('{"0": [[0, 9]], "1": [[-1, 9]]}', "client 1 cannot be available from -1 to 9 s"),
        ('{"0": [[0, 9]], "1": [[9, 10]]}', "a round chooses 2 clients, but in availability trace 'trace.json' there"),
    ],
)
def test_a_trace_that_does_not_do(content: str, message: str, refused: Refused) -> None:
    Path("trace.json").write_text(content)
    flags = "--strategy fedavg --strategy.cohort available:trace.json --workers 2 --out out"
    refused(["train", "--task", "mnist-mini/logistic", *flags.split()], message)
    assert [path.name for path in Path().iterdir()] == ["trace.json"]


def test_clients_that_are_gone_stop_the_training(refused: Refused) -> None:
    """What was done till then is kept."""
    Path("trace.json").write_text('{"0": [[0, 0.001]], "1": [[0, 0.001]]}')
    flags = "--strategy fedavg --strategy.cohort available:trace.json --workers 2 --out out --rounds 3 --quiet"
    refused(["train", "--task", "mnist-mini/logistic", *flags.split()], "nobody is available after ")
    assert len((Path("out") / "history.jsonl").read_text().splitlines()) == 2


def test_a_deadline_that_no_client_can_meet_skips_rounds_and_counts_them(
    refused: Refused, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = "--strategy fedavg --strategy.deadline 1us --workers 2 --samples 100 --out out --rounds 3"
    assert main(["train", "--task", "mnist-mini/logistic", *flags.split()]) == 0
    said = "0 replies in time, 6 late; 3 of 3\u00a0rounds were skipped, and the model is as it was"
    assert said in capsys.readouterr().out.splitlines()
    rows = [json.loads(line) for line in (Path("out") / "history.jsonl").read_text().splitlines()]
    assert [row.get("figures", {}).get("skipped", 0) for row in rows] == [0, 1, 2, 3]
    assert len({row["test_loss"] for row in rows}) == 1
    words = ["predict", "--task", "mnist-mini/logistic", "--strategies", "fedavg:deadline=1us", "--workers", "2"]
    refused(words, "no client has begun to train when its round is over")
