"""What a user can get wrong ends with one line that names it, exit status 2, and nothing half-written."""

import errno
import gzip
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from manyhands.cli.main import main
from manyhands.runs.folder import RunFolder
from manyhands.tasks.datasets.idx import write_idx
from manyhands.tasks.datasets.registry import EMBEDDED

TINY = ["--task", "mnist-mini/logistic", "--batch-size", "100", "--epochs", "1", "--workers", "2", "--out", "out"]
Refused = Callable[..., None]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own; without a network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MANYHANDS_DATA", raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


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


def nothing_written() -> bool:
    return not list(Path().iterdir())


UNKNOWN = {
    "--task mnist-mini/lenet6": "unknown task 'mnist-mini/lenet6': write DATASET/MODEL",
    "--task cifar10/resnet18:norm=layer": "norm",
    "--task mnist-mini/lenet5:width=3": "model 'lenet5' has no option 'width'",
    "--strategy gosip": "unknown --strategy 'gosip': choose from ad-psgd, all-reduce",
    "--cluster cloud": "unknown --cluster 'cloud': choose from simulated, processes",
    "--epoch 3": "unknown option '--epoch'; perhaps you meant --epochs",
    "--strategy gossip --strategy.topolgy ring": "perhaps you meant --strategy.topology",
    "--strategy.topology ring": "unknown option '--strategy.topology': choose from --strategy.compression",
    "--cluster.timeout 3": "unknown option '--cluster.timeout': choose from --cluster.bandwidth",
    "--strategy gossip --strategy.topology stars": "unknown topology 'stars': choose from ring, torus, star, complete",
    "--strategy.compression zip": "unknown compression 'zip': choose from none, ",
    "--strategy.collective mesh": "unknown collective 'mesh': choose from native, ring, tree, halving-doubling, star",
    "--strategy parameter-server --strategy.consistency lazy": "unknown consistency 'lazy': choose from sync, async",
    "--partition thirds": "unknown partition 'thirds': choose from iid, dirichlet:ALPHA",
    "--schedule linear": "unknown schedule 'linear': choose from constant",
    "--precision fp8": "--precision must be fp32 or bf16 or auto, not 'fp8'",
    "--device tpu": "unknown --device 'tpu': take cpu, cuda, mps or auto",
    "--cluster.profile cray": "unknown device profile 'cray': choose from nominal",
    "--cluster.bandwidth 1Gb": "'1Gb' is not a rate",
    "--lr fast": "--lr must be a number, not 'fast'",
    "--lr": "--lr needs a value",
    "lenet5": "unknown option 'lenet5'",
}
OUT_OF_RANGE = {
    "--workers 0": "--workers must be positive",
    "--batch-size 0": "--batch-size must be positive",
    "--strategy fedavg --rounds 0": "--rounds must be positive",
    "--epochs 1 --rounds 1": "give --epochs or --rounds, not both",
    "--rounds 1": "all-reduce has no rounds: give --epochs",
    "--lr nan": "--lr must be positive and finite, not nan",
    "--warm-up nan": "--warm-up must be zero or more and finite, not nan",
    "--seed -1": "--seed must not be negative",
    "--evaluate-every 0": "--evaluate-every must be positive",
    "--samples 0": "--samples must be positive",
    "--samples 6001": "--samples 6001 is more than the 6000 training samples of mnist-mini/logistic",
    "--workers 6001": "--workers 6001 is more than the 6000 training samples of mnist-mini/logistic",
    "--samples 3 --workers 4": "--workers 4 is more than the 3 training samples",
    "--partition dirichlet:0": "alpha must be positive",
    "--partition dirichlet:-0.5": "alpha must be positive, from 1e-9 to 1e9, not -0.5",
    "--partition dirichlet": "needs alpha (a number)",
    "--workers 2 --partition shards:3001": "2 workers with 3,001 shards each need 6,002 samples",
    "--workers 2 --partition labels:2": "2 workers with 2 classes each cannot share 10 classes: use labels:5",
    "--workers 2 --partition portions:0.99999,0.00001": "leaves worker 1 of 2 without samples: use fewer workers",
    "--workers 3 --partition portions:0.5,0.5": "is for 2 workers, not 3",
    "--workers 2 --partition portions:0.5,0.4": "fractions must add up to 1",
    "--strategy single --workers 2": "single trains on one worker: use --workers 1, not 2",
    "--strategy fedavg --strategy.fraction 0": "--strategy.fraction of fedavg must lie in (0, 1], not 0",
    "--strategy local-sgd --strategy.period 0": "--strategy.period of local-sgd must be positive, not 0",
    "--strategy gossip --workers 4 --strategy.topology edges:0-1,2-3": "is disconnected: of 4 workers,",
    "--strategy gossip --workers 8 --strategy.topology torus:3": "torus:3",
    "--strategy gossip --workers 5 --strategy.topology random-regular:3": "random-regular:3",
    "--strategy gossip --workers 4 --strategy.topology edges:0-1,1-7": "7",
    "--strategy gossip --workers 4 --strategy.topology networkx:petersen_graph": "10",
    "--strategy gossip --workers 3 --strategy.topology edges:0-1,1>2,2>0": "use push-sum",
    "--strategy gossip --strategy.consensus-step 0": "--strategy.consensus-step must lie in (0, 1], not 0",
    "--strategy parameter-server --strategy.consistency ssp:-1": "the staleness bound must be zero or more, not -1",
    "--strategy parameter-server --strategy.servers 0": "--strategy.servers must be at least 1, not 0",
    "--strategy parameter-server --strategy.servers 7851": "7851 is more than the 7,850 parameters",
    "--strategy parameter-server --strategy.servers 2 --optimizer.clip-norm 1": "use --strategy.servers 1",
    "--strategy.compression top-k:0": "top-k",
    "--strategy.compression top-k:1.5": "top-k",
    "--strategy.compression top-k:7851": "7,850",
    "--strategy.compression random-k:-1": "random-k",
    "--strategy.compression powersgd:0": "powersgd",
    "--strategy.compression powersgd:89": "no rank above 88",
    "--strategy.compression qsgd:0": "qsgd",
    "--strategy single --strategy.compression int8": "single sends nothing that int8 could compress",
    "--strategy ad-psgd --strategy.compression top-k:9": "ad-psgd cannot use top-k:9: each message goes to another",
    "--strategy push-sum --strategy.compression sign": "push-sum cannot use sign: the shares of all workers' weights",
    "--strategy elastic-averaging --strategy.compression random-k:9": "elastic-averaging cannot use random-k:9",
    "--strategy gossip --strategy.topology one-peer-exponential --strategy.compression sign": "gossip cannot compress",
    "--strategy parameter-server --strategy.servers 2 --strategy.compression powersgd:1": "use --strategy.servers 1",
    "--strategy diloco --strategy.fragments 2 --strategy.compression powersgd:1": "use one fragment",
    "--strategy diloco --strategy.fragments 9 --strategy.period 4": "--strategy.fragments 9 is more than the 4 steps",
    "--strategy.combine adasum --workers 6": "--workers must be a power of two, not 6",
    "--strategy.combine adasum --strategy.collective ring": "leave out collective and compression",
    "--strategy post-local-sgd --strategy.switch 2": "--strategy.switch must lie between 0 and 1, not 2",
    "--strategy slow-momentum --strategy.slow-momentum 1": "--strategy.slow-momentum must lie in [0, 1), not 1",
    "--strategy elastic-averaging --strategy.pull 0": "--strategy.pull must lie in (0, 1], not 0",
    "--strategy data-parallel --partition dirichlet:1": "the root of data-parallel holds all the data",
    "--optimizer.momentum 1": "momentum must be at least 0 and below 1, not 1",
    "--optimizer.nesterov": "nesterov needs a momentum above 0",
    "--loss.label-smoothing 2": "label smoothing must lie between 0 and 1, not 2",
    "--schedule step:1.5": "milestones must rise between 0 and 1",
    "--cluster.jitter nan": "--cluster.jitter must be zero or more and finite",
    "--cluster.latency 0s": "time '0s' must be positive and finite",
    "--cluster.slow 8:2": "--cluster.slow names node 8, but the nodes are 0 … 7",
    "--cluster.slow 1:inf": "--cluster.slow takes a rank from 0 and a positive factor, not '1:inf'",
    "--cluster.threads 0": "--cluster.threads must be at least 1, not 0",
    "--cluster processes --cluster.port 70000": "--cluster.port must lie in 0 … 65535, not 70000",
    "--cluster processes --cluster.timeout inf": "--cluster.timeout must be a number of seconds up to a day",
}


@pytest.mark.parametrize(("flags", "message"), [*UNKNOWN.items(), *OUT_OF_RANGE.items()])
def test_train_refuses(flags: str, message: str, refused: Refused) -> None:
    refused(["train", "--task", "mnist-mini/logistic", *flags.split()], message)
    assert nothing_written()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--strategies gossip,gosip", "unknown strategy 'gosip': choose from"),
        ("--strategies gossip:topology=stars", "unknown topology 'stars'"),
        ("--strategies fedavg:cohorts=3", "strategy fedavg has no option 'cohorts'; it takes compression, fraction"),
        ("--strategies", "--strategies needs at least one value"),
        ("--alpha 0.5 -1", "alpha must be positive, from 1e-9 to 1e9, not -1"),
        ("--alpha 1 --partition iid", "give --alpha or --partition, not both"),
        ("--partition iid dirichlet", "partition 'dirichlet': needs alpha"),
        ("--stragglers none fast", "--stragglers takes none or RANK:FACTOR, e.g. 0:4 or 0:4+3:2, not 'fast'"),
        ("--stragglers 0:4+0:2", "not '0:4+0:2'"),
        ("--stragglers 0:0", "not '0:0'"),
        ("--stragglers none 8:4", "--stragglers names worker 8, but the workers are 0 … 7"),
        ("--stragglers 0:4 --cluster mixed", "stragglers are simulated"),
        ("--target 95", "--target is an accuracy above 0 and up to 1, e.g. 0.95 for 95 %, not 95"),
        ("--target nan", "--target is an accuracy above 0"),
        ("--workers 4 0", "--workers must be positive and finite, not 0"),
        ("--workers 8 6001 --cluster simulated", "--workers 6001 is more than the 6000 training samples"),
        ("--batch-size 32 -1", "--batch-size must be positive and finite, not -1"),
        ("--seeds", "--seeds needs at least one value"),
        ("--task mnist-mini/vgg", "unknown task 'mnist-mini/vgg'"),
    ],
)
def test_compare_refuses_before_the_first_run(flags: str, message: str, refused: Refused) -> None:
    refused(["compare", *flags.split()], message)
    assert nothing_written()


def test_replay_refuses_what_it_cannot_repeat(refused: Refused) -> None:
    simulated = [*TINY[:-1], "simulated", "--quiet"]
    assert main(["train", *simulated]) == 0
    refused(["train", "--replay", "simulated", "--out", "out"], "simulated has no order.jsonl: only asynchronous")
    refused(["train", "--replay", "nowhere", "--out", "out"], "run.json is missing")
    (Path("simulated") / "order.jsonl").write_text('{"completed": 0, "nodes": {"0": [1]}}\n')
    refused(
        ["train", "--replay", "simulated", "--task", "mnist-mini/mlp", "--out", "out"],
        "simulated is a run of mnist-mini/logistic, whose messages do not fit mnist-mini/mlp",
    )
    refused(["train", "--replay", "simulated", "--workers", "3", "--out", "out"], "leave out the flags of a new one")
    record = Path("simulated") / "run.json"
    record.write_text(record.read_text().replace('"parameters": 7850', '"parameters": 7840'))
    refused(["train", "--replay", "simulated", "--out", "out"], "is a run of another model than mnist-mini/logistic")
    assert not Path("out").exists()


def test_unknown_command(refused: Refused) -> None:
    refused(["trian"], "unknown command 'trian': choose from train, compare")


# ---- data


def damage(how: str, file: Path) -> None:
    data = file.read_bytes()
    match how:
        case "truncated":
            file.write_bytes(data[: len(data) // 2])
        case "corrupt":
            file.write_bytes(data[:5000] + bytes(byte ^ 0xFF for byte in data[5000:5100]) + data[5100:])
        case "no gzip":
            file.write_bytes(b"<html>not found</html>")
        case "empty":
            file.write_bytes(b"")
        case "other format":
            file.write_bytes(gzip.compress(b"\x00\x00\x0d\x03" + bytes(100)))
        case "wrong size":
            write_idx(file, np.zeros((10, 28, 28), np.uint8))


@pytest.mark.parametrize("how", ["truncated", "corrupt", "no gzip", "empty", "other format", "wrong size"])
def test_damaged_data(how: str, refused: Refused, tmp_path: Path) -> None:
    shutil.copytree(EMBEDDED / "mnist-mini", tmp_path / "data" / "mnist")
    file = tmp_path / "data" / "mnist" / "train-images-idx3-ubyte.gz"
    damage(how, file)
    argv = ["train", "--task", "mnist/logistic", "--data-dir", "data", "--out", "out"]
    refused(argv, "train-images-idx3-ubyte.gz", "run `manyhands data fetch mnist` to replace it")
    assert not Path("out").exists()


def test_no_data_and_no_network(refused: Refused) -> None:
    argv = ["train", "--task", "mnist/logistic", "--data-dir", "data", "--out", "out"]
    refused(argv, "data holds no whole mnist and cannot be fetched", "no connection", "--data-dir or MANYHANDS_DATA")
    assert not Path("out").exists()
    refused(["data", "fetch", "cifar10", "--data-dir", "data"], "connect to the network")
    assert not list(Path("data").iterdir())


# ---- folders that cannot be written


def test_out_below_a_file(refused: Refused) -> None:
    Path("file").write_text("")
    for out in ("file", "file/run"):
        refused(["train", *TINY, "--out", out], f"cannot write to {out}", "give --out a folder that can be written")
        refused(["compare", *TINY[:-2], "--out", out], f"cannot write to {out}")


@pytest.fixture
def full_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A disk on which so many more files can be written whole."""
    left = [10**9]

    def fsync(handle: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", fsync)
    return lambda files: left.__setitem__(0, files)


@pytest.mark.parametrize("files", [0, 1])
@pytest.mark.parametrize("command", ["train", "compare"])
def test_a_disk_that_is_full_from_the_start(
    command: str, files: int, refused: Refused, full_after: Callable[[int], None]
) -> None:
    if command == "compare" and files:
        pytest.skip("then the study has begun")
    full_after(files)
    refused([command, *TINY], "No space left on device", "make room or give --out another folder")
    assert nothing_written()


def test_a_disk_that_fills_up_leaves_the_last_checkpoint(
    refused: Refused, full_after: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    full_after(7)  # run.json, partition.json, the first two checkpoints' two files each, and trace.json between them
    refused(["train", *TINY, "--epochs", "3"], "No space left on device")
    run = RunFolder(Path("out"))
    assert [path.name for path in (run.path / "checkpoints").iterdir()] == ["000001"]
    assert not list(run.path.rglob("*.new"))
    full_after(10**9)
    assert main(["train", "--resume", "out"]) == 0
    assert len(run.read_history()) == 4


# ---- run folders


@pytest.fixture
def stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> RunFolder:
    """A run that could go on."""
    assert main(["train", *TINY, "--quiet"]) == 0
    run = RunFolder(Path("out"))
    run.update_run(status="stopped", error="interrupted")
    return run


def edit(run: RunFolder, **changes: Any) -> None:
    run.write_json("run.json", run.read_json("run.json") | changes)


USES = (["train", "--resume", "out"], ["train", "--from", "out/run.json", "--out", "new"], ["evaluate", "out"])


@pytest.mark.parametrize("argv", [*USES, ["report", "out"]], ids=" ".join)
def test_a_run_of_a_newer_format(argv: list[str], stopped: RunFolder, refused: Refused) -> None:
    edit(stopped, format=2)
    before = tree(Path("out"))
    refused(argv, "format 2", "formats up to 1" if argv[0] != "report" else "up to 1")
    assert tree(Path("out")) == before
    assert not Path("new").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": "1"}', '{"format": 1}', "\x00\xff"])
@pytest.mark.parametrize("argv", [*USES, ["report", "out"]], ids=" ".join)
def test_a_damaged_run_json(argv: list[str], content: str, stopped: RunFolder, refused: Refused) -> None:
    (stopped.path / "run.json").write_text(content)
    refused(argv, str(Path("out/run.json")))
    assert not Path("new").exists()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("lr", "high", "lr in the specification must be float | None, not 'high'"),
        ("workers", [2], "workers in the specification must be int | None, not [2]"),
        ("partition", 3, "partition in the specification must be str, not 3"),
        ("partition", "thirds", "unknown partition 'thirds'"),
        ("strategy", {"name": "magic"}, "unknown strategy 'magic': choose from ad-psgd"),
        ("strategy", "gossip", "strategy in the specification must be dict, not 'gossip'"),
        ("colour", "red", "unknown field 'colour'"),
        ("batch_size", -1, "--batch-size must be positive"),
        ("precision", "fp8", "precision in the specification must be"),
    ],
)
def test_a_damaged_specification(key: str, value: Any, message: str, stopped: RunFolder, refused: Refused) -> None:
    specification = stopped.read_run()["specification"]
    edit(stopped, specification=specification | {key: value})
    for argv in USES:
        refused(argv, "run.json cannot be used: ", message)


def test_a_folder_that_is_no_run(refused: Refused) -> None:
    Path("empty").mkdir()
    for argv in (["train", "--resume", "empty"], ["train", "--from", "empty"], ["evaluate", "empty"]):
        refused(argv, "empty is not a run's folder")
    refused(["report", "empty"], "no run in empty: a run's folder holds run.json")
    refused(["report", "nowhere"], "nowhere is not a folder")
    assert not list(Path("empty").iterdir())


def test_a_finished_run_is_not_resumed(stopped: RunFolder, refused: Refused) -> None:
    edit(stopped, status="finished")
    refused(["train", "--resume", "out"], "out is finished: there is nothing to resume")


def test_a_checkpoint_of_another_model(stopped: RunFolder, refused: Refused) -> None:
    edit(stopped, specification=stopped.read_run()["specification"] | {"task": "mnist-mini/mlp"})
    refused(["train", "--resume", "out"], "another model: it has 7,850 weights, and the task 199,210")
    assert stopped.read_run()["status"] == "stopped"


def test_a_checkpoint_of_another_number_of_nodes(stopped: RunFolder, refused: Refused) -> None:
    edit(stopped, specification=stopped.read_run()["specification"] | {"workers": 3})
    refused(["train", "--resume", "out"], "another run: it has 2 nodes, not 3")


@pytest.mark.parametrize("file", ["state.json", "tensors.safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"[1]", b"\xff\x00" * 50])
def test_a_damaged_checkpoint(file: str, content: bytes | None, stopped: RunFolder, refused: Refused) -> None:
    path = stopped.path / "checkpoints" / "000001" / file
    path.unlink() if content is None else path.write_bytes(content)
    before = tree(stopped.path)
    refused(["train", "--resume", "out"], "000001" if content is None else "")
    assert tree(stopped.path) == before


def test_no_checkpoint(stopped: RunFolder, refused: Refused) -> None:
    shutil.rmtree(stopped.path / "checkpoints")
    refused(["train", "--resume", "out"], "out has no checkpoint to resume from: run it again")
    assert stopped.path.exists()


def test_a_damaged_history(stopped: RunFolder, refused: Refused) -> None:
    history = stopped.path / "history.jsonl"
    history.write_text('{"completed": 0\n' + history.read_text())
    refused(["train", "--resume", "out"], "history.jsonl is damaged")


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---- what goes wrong on the way


def test_a_loss_that_is_no_number_stops_the_run_at_its_step(refused: Refused) -> None:
    refused(["train", *TINY, "--lr", "1e38"], "loss is nan at step 1 of worker 0", "a smaller --lr (now 1e+38)")
    run = RunFolder(Path("out"))
    assert run.read_run()["status"] == "failed"
    assert "at step 1" in run.read_run()["error"]
    assert len(run.read_history()) == 1


def test_the_last_good_checkpoint_is_kept(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    from manyhands.training.learner import Learner

    whole = Learner.gradient

    def broken(self: Learner, weights: Any, batch: Any, rank: int) -> Any:
        gradient, loss = whole(self, weights, batch, rank)
        return gradient, loss if batch.number < 70 else float("inf")  # 60 steps are an epoch

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "gradient", broken)
        refused(["train", *TINY, "--epochs", "2", "--workers", "1"], "loss is inf at step 70 of worker 0")
    run = RunFolder(Path("out"))
    assert [path.name for path in (run.path / "checkpoints").iterdir()] == ["000001"]
    assert run.read_history()[-1]["completed"] == 1
    assert main(["train", "--resume", "out", "--quiet"]) == 0


def test_a_port_in_use(refused: Refused) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        argv = ["train", *TINY, "--cluster", "processes", "--cluster.port", str(port)]
        refused(argv, f"--cluster.port {port} cannot be used (Address already in use): choose another, or 0")
    assert nothing_written()


def test_workers_unlike_the_world_of_torchrun(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    world = {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "WORLD_SIZE": "4", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "4"}
    for name, value in world.items():
        monkeypatch.setenv(name, value)
    refused(["train", *TINY, "--cluster", "processes"], "torchrun started 4 processes, but --workers 2 need 2")
    server = ["--strategy", "parameter-server", "--workers", "4"]
    refused(["train", *TINY, *server, "--cluster", "processes"], "--workers 4 and 1 server need 5")
    assert nothing_written()


def test_nothing_but_the_line_comes_from_a_real_process() -> None:
    argv = [sys.executable, "-m", "manyhands", "train", *TINY, "--partition", "portions:0.5,0.4"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("manyhands: error: partition 'portions:0.5,0.4': fractions must add up to 1")
    assert done.stderr.count("\n") == 1
    assert nothing_written()
