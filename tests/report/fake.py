"""Run and study folders as a training would leave them, made of formulas: nothing is trained."""

import json
from pathlib import Path
from typing import Any

import numpy as np

DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
"""a black PNG of one pixel"""
DIGITS = tuple("0123456789")
# final accuracy, epochs to come within 1/e of it, seconds of an epoch on 8 workers, bytes a worker
# sends in it, shares of time: compute, exposed communication, hidden communication, waiting
CHARACTER: dict[str, tuple[float, float, float, float, tuple[float, float, float, float]]] = {
    "single": (0.975, 0.9, 4.0, 0.0, (1.0, 0.0, 0.0, 0.0)),
    "all-reduce": (0.974, 1.0, 0.72, 5.1e6, (0.70, 0.18, 0.2, 0.12)),
    "parameter-server": (0.966, 1.3, 1.60, 5.8e6, (0.30, 0.28, 0.0, 0.42)),
    "gossip": (0.941, 1.8, 0.65, 1.16e7, (0.76, 0.16, 0.0, 0.08)),
    "local-sgd": (0.952, 1.5, 0.55, 4.9e5, (0.90, 0.06, 0.0, 0.04)),
    "fedavg": (0.913, 2.4, 0.58, 2.5e5, (0.82, 0.05, 0.0, 0.13)),
}
WAITING = {"parameter-server": 1.2, "gossip": 2.9, "single": 1.0}  # of those that need not wait for the slowest
OPTIONS: dict[str, dict[str, Any]] = {
    "gossip": {"topology": "ring"},
    "fedavg": {"cohort": 4, "local_epochs": 1},
}


def write_run(
    folder: Path,
    strategy: str = "all-reduce",
    *,
    seed: int = 0,
    workers: int = 8,
    clock: str = "simulated",
    epochs: int = 10,
    name: str | None = None,
    status: str = "finished",
    classes: tuple[str, ...] = DIGITS,
    task: str = "mnist-mini/lenet5",
    options: dict[str, Any] | None = None,
    slow: tuple[str, ...] = (),
    **specification: Any,
) -> Path:
    """A whole run folder. One not finished has done half of its epochs and has no ledger or evaluation.

    With dirichlet:0.1 it learns half as fast; with slow nodes an epoch takes as long as ``WAITING`` says.
    """
    rng = np.random.default_rng([seed, workers, sum(map(ord, strategy))])
    workers = 1 if strategy == "single" else workers
    last, pace, seconds, traffic, shares = CHARACTER.get(strategy, CHARACTER["gossip"])
    last += float(rng.normal(0, 0.004))
    seconds *= 1.0 if strategy == "single" else (8 / workers) ** 0.9
    seconds *= 1.3 if clock == "real" else 1.0
    seconds *= WAITING.get(strategy, 4.0) if slow else 1.0
    if specification.get("partition") == "dirichlet:0.1":
        last, pace = last - 0.03, 2 * pace
    folder.mkdir(parents=True)
    nodes = [{"rank": rank, "role": "worker", "samples": 6000 // workers} for rank in range(workers)]
    if strategy == "parameter-server":
        nodes.append({"rank": workers, "role": "server", "samples": 0})
    write_json(
        folder / "run.json",
        {
            "format": 1,
            "name": name or folder.name,
            "status": status,
            "error": "loss is not a number at step 412" if status == "failed" else None,
            "created": f"2026-03-14T09:{seed:02}:00+00:00",
            "command": f"manyhands train --task {task} --strategy {strategy} --seed {seed}",
            "specification": {
                "task": task,
                "strategy": {"name": strategy, **(OPTIONS.get(strategy, {}) if options is None else options)},
                "cluster": {"name": "processes"} if clock == "real" else {"name": "simulated", "slow": list(slow)},
                "workers": workers,
                "epochs": epochs,
                "rounds": None,
                "batch_size": 32,
                "lr": 0.05,
                "partition": "iid" if workers == 1 or strategy == "all-reduce" else "dirichlet:0.3",
                "seed": seed,
                "precision": "fp32",
                **specification,
            },
            "versions": {"manyhands": "0.1.0", "python": "3.13.1", "torch": "2.13.0", "numpy": "2.4.6"},
            "hardware": {
                "cpu": "Intel(R) Xeon(R) Platinum 8488C",
                "cores": 2,
                "memory_gib": 15.6,
                "accelerator": None,
            },
            "revision": "4f2a9c1",
            "precision": {"chosen": "fp32", "why": "asked for"},
            "model": {"parameters": 61706, "buffers": 0},
            "nodes": nodes,
            "facts": {"spectral_gap": 0.1953} if strategy == "gossip" else {},
        },
    )
    done = epochs if status == "finished" else epochs // 2
    rows = [_evaluation(epoch, last, pace, seconds, traffic * workers, rng) for epoch in range(done + 1)]
    if strategy == "gossip":
        for row in rows:
            row["consensus"] = 0.8 * row["epoch"] * float(np.exp(-row["epoch"] / 4))
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "history.jsonl").write_text(text, encoding="utf-8")
    spread = specification.get("partition", "iid" if strategy == "all-reduce" else "dirichlet:0.3")
    write_json(folder / "partition.json", _partition(workers, spread, classes, seed))
    if status == "finished":
        ledger = _ledger(nodes, clock, seconds * done, traffic * done, shares, rng)
        if strategy == "parameter-server":
            counts = {
                versions: int(1000 * np.exp(-((versions - 7) ** 2) / (40 if slow else 8))) for versions in range(30)
            }
            ledger["nodes"][-1]["staleness"] = {str(versions): count for versions, count in counts.items() if count}
        write_json(folder / "ledger.json", ledger)
        write_json(folder / "evaluation.json", _evaluate(rows[-1]["test_accuracy"], classes, rng))
    return folder


def write_study(folder: Path, runs: list[Path], name: str = "Six ways to share the training") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(
        folder / "study.json",
        {
            "format": 1,
            "name": name,
            "created": "2026-03-14T09:00:00+00:00",
            "factors": ["strategy", "seed"],
            "baseline": "single on the same clock",
            "runs": [run.relative_to(folder).as_posix() for run in runs],
        },
    )
    return folder


def with_traffic(folder: Path, sent: dict[int, dict[int, int]]) -> Path:
    """Make a run one whose ledger says how many bytes each node sent to whom; it has the nodes that are named."""
    ledger = read_json(folder / "ledger.json")
    nodes = {node["rank"]: node for node in ledger["nodes"]}
    named = sorted({*sent, *(to for others in sent.values() for to in others)})
    model = ledger["nodes"][0]
    ledger["nodes"] = [{**nodes.get(rank, {**model, "rank": rank}), "to": sent.get(rank, {})} for rank in named]
    write_json(folder / "ledger.json", ledger)
    return folder


def ring(nodes: int, size: int = 1_000_000) -> dict[int, dict[int, int]]:
    """Who sends what on a ring, to both sides."""
    return {rank: {(rank + 1) % nodes: size, (rank - 1) % nodes: size} for rank in range(nodes)}


def star(workers: int, size: int = 1_000_000) -> dict[int, dict[int, int]]:
    """All workers to one server behind them, and back."""
    return {rank: {workers: size} for rank in range(workers)} | {workers: dict.fromkeys(range(workers), size)}


def with_mistakes(folder: Path) -> Path:
    """Make a run one that kept a picture, a black dot, of each pair of classes that it confuses most."""
    evaluation = read_json(folder / "evaluation.json")
    confusion = np.array(evaluation["confusion"])
    np.fill_diagonal(confusion, 0)
    order = np.argsort(-confusion, axis=None, kind="stable")[:10]
    pairs = [(*divmod(int(place), len(confusion)), int(confusion.flat[place])) for place in order]
    evaluation["confused"] = [
        {"true": true, "predicted": guess, "count": count, "images": [DOT] * min(3, count)}
        for true, guess, count in pairs
        if count
    ]
    write_json(folder / "evaluation.json", evaluation)
    return folder


def with_method(folder: Path, **method: str) -> Path:
    """Make a run one that tells what its strategy does."""
    record = read_json(folder / "run.json")
    told = {
        "about": "Workers step by the mean of all gradients.",
        "sends": "2 (n − 1) / n · P · 4 B a step",
        "paper": "Li et al. 2020, PyTorch Distributed",
        "url": "https://arxiv.org/abs/2006.15704",
    }
    write_json(folder / "run.json", record | {"method": told | method})
    return folder


def with_worker_losses(folder: Path, workers: int = 8) -> Path:
    """Make a run one that knows each worker's training loss, highest at the last."""
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    told = [
        {
            "completed": number,
            "train_loss": [None if row["train_loss"] is None else row["train_loss"] + rank for rank in range(workers)],
        }
        for number, row in enumerate(rows)
    ]
    (folder / "workers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in told), encoding="utf-8")
    return folder


def six_strategies(folder: Path, seeds: int = 2) -> Path:
    """As ``manyhands compare`` makes it: all-reduce on two real processes, the rest on simulated workers."""
    runs = []
    for seed in range(seeds):
        runs.append(write_run(folder / f"single-real-{seed}", "single", seed=seed, clock="real"))
        for strategy in CHARACTER:
            real = strategy == "all-reduce"
            runs.append(
                write_run(
                    folder / f"{strategy}-{seed}",
                    strategy,
                    seed=seed,
                    workers=2 if real else 8,
                    clock="real" if real else "simulated",
                )
            )
    return write_study(folder, runs)


def conditions(folder: Path, seeds: int = 2, strategies: tuple[str, ...] = tuple(CHARACTER)) -> Path:
    """Every strategy, simulated, under two skews and with and without a slow worker; the baseline under none."""
    runs = []
    for seed in range(seeds):
        for strategy in strategies:
            if strategy == "single":
                runs.append(write_run(folder / f"single-{seed}", "single", seed=seed))
                continue
            for skew in ("iid", "dirichlet:0.1"):
                for slow in ((), ("0:4",)):
                    name = f"{strategy}-{skew[:3]}-{len(slow)}-{seed}"
                    runs.append(write_run(folder / name, strategy, seed=seed, partition=skew, slow=slow))
    return write_study(folder, runs, name="What skew and a slow worker do")


def reaches(folder: Path, accuracy: float, epoch: int) -> Path:
    """Make a run one that is this accurate from an epoch on, and knows nothing before."""
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    for row in rows:
        row["test_accuracy"] = accuracy if row["epoch"] >= epoch else 0.0
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def with_clients(
    folder: Path, clients: int = 8, *, own: bool = True, gap: int | None = None, level: float = 0.0
) -> Path:
    """Make a run a federated one that tells of its clients, the first of which fare worst, all by ``level`` better.

    ``own``: half of them trained last and were tested with weights of their own; ``gap``: one without test samples.
    """
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    told = []
    for number, row in enumerate(rows):
        accuracy = [min(1.0, level + row["test_accuracy"] * (0.6 + 0.4 * (i + 1) / clients)) for i in range(clients)]
        trained = list(range(0, clients, 2)) if number else []
        told.append(
            {
                "completed": number,
                "ranks": trained,
                "train_loss": [0.5] * len(trained),
                "own_loss": [0.25 if own else None] * len(trained),
                "own_accuracy": [min(1.0, accuracy[i] + 0.05) if own else None for i in trained],
                "loss": [None if i == gap else row["test_loss"] * (2 - i / clients) for i in range(clients)],
                "accuracy": [None if i == gap else accuracy[i] for i in range(clients)],
            }
        )
        row |= {"round": number, "worst_decile": min(accuracy), "spread": float(np.std(accuracy))}
        row |= {"personal_accuracy": 0.9, "personalisation_gain": 0.05} if own and number else {}
    for name, content in (("history", rows), ("clients", told)):
        text = "".join(json.dumps(row) + "\n" for row in content)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    record, partition = read_json(folder / "run.json"), read_json(folder / "partition.json")
    record["nodes"] = [{"rank": i, "role": "worker", "samples": 100 + 10 * i} for i in range(clients)]
    partition["test_samples"] = [0 if i == gap else 10 + i for i in range(clients)]
    partition["counts"] = [[10] * len(partition["classes"])] * clients
    write_json(folder / "run.json", record)
    write_json(folder / "partition.json", partition)
    return folder


def with_portraits(folder: Path) -> Path:
    """Make a run one whose partition changes what samples look like: a black dot for each worker."""
    partition = read_json(folder / "partition.json")
    partition["portraits"] = [{"worker": rank, "png": DOT} for rank in range(len(partition["counts"]))]
    partition["about"] = "Worker i has noise."
    write_json(folder / "partition.json", partition)
    return folder


def without_accuracy(folder: Path) -> Path:
    """Make a run one that measured no accuracy."""
    rows = [json.loads(line) | {"test_accuracy": None} for line in (folder / "history.jsonl").read_text().splitlines()]
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "evaluation.json").unlink()
    return folder


def write_json(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content), encoding="utf-8")


def read_json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def _evaluation(
    epoch: int, last: float, pace: float, seconds: float, traffic: float, rng: np.random.Generator
) -> dict[str, Any]:
    progress = 1 - float(np.exp(-epoch / pace))
    accuracy = 0.1 + (last - 0.1) * progress + (0.006 * float(rng.normal()) / max(epoch, 1) if epoch else 0)
    loss = 2.303 * (1 - progress) + 2.4 * (1 - last) * progress + 0.01 * abs(float(rng.normal())) / (epoch + 1)
    return {
        "seconds": seconds * epoch,
        "epoch": float(epoch),
        "round": None,
        "samples": 6000 * epoch,
        "train_loss": None if epoch == 0 else loss * 0.8,
        "test_loss": loss,
        "test_accuracy": min(accuracy, 1.0),
        "consensus": 0.0,
        "bytes": int(traffic * epoch),
    }


def _partition(workers: int, partition: str, classes: tuple[str, ...], seed: int) -> dict[str, Any]:
    name, _, alpha_text = partition.partition(":")
    alpha = float(alpha_text) if name == "dirichlet" else 100.0
    shares = np.random.default_rng([seed, workers]).dirichlet([alpha] * workers, size=len(classes))  # class by class
    counts = np.floor(shares * (6000 // len(classes))).astype(int).T
    return {
        "partition": partition,
        "classes": list(classes),
        "counts": counts.tolist(),
    }


def _ledger(
    nodes: list[dict[str, Any]],
    clock: str,
    total: float,
    sent: float,
    shares: tuple[float, float, float, float],
    rng: np.random.Generator,
) -> dict[str, Any]:
    accounts = []
    for node in nodes:
        server = node["role"] == "server"
        busy = total * (1.0 if len(nodes) == 1 else float(rng.uniform(0.94, 1.0)))
        compute, exposed, hidden, waiting = (busy * share for share in ((0.02, 0.5, 0, 0.48) if server else shares))
        accounts.append(
            {
                "rank": node["rank"],
                "role": node["role"],
                "seconds": {
                    "compute": compute,
                    "exposed_communication": exposed,
                    "hidden_communication": hidden,
                    "waiting": waiting + total - busy,
                },
                "bytes_sent": int(sent * (len(nodes) - 1 if server else 1)),
                "bytes_received": int(sent * (len(nodes) - 1 if server else 1)),
                "messages_sent": int(sent / 246_824),
            }
        )
    return {"clock": clock, "seconds": total, "nodes": accounts}


def _evaluate(accuracy: float, classes: tuple[str, ...], rng: np.random.Generator) -> dict[str, Any]:
    k, support = len(classes), max(1, 1000 // len(classes))
    confusion = np.zeros((k, k), dtype=int)
    for true in range(k):
        right = int(rng.binomial(support, min(1.0, accuracy)))
        confusion[true, true] = right
        others = np.delete(np.arange(k), true)
        for wrong in rng.choice(others, size=support - right, p=(w := 1.0 / (1 + (others - true) ** 2)) / w.sum()):
            confusion[true, wrong] += 1
    recall = confusion.diagonal() / confusion.sum(axis=1)
    precision = confusion.diagonal() / np.maximum(confusion.sum(axis=0), 1)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    report = {
        name: {"precision": float(p), "recall": float(r), "f1": float(f), "support": support}
        for name, p, r, f in zip(classes, precision, recall, f1, strict=True)
    }
    mean = {"precision": float(precision.mean()), "recall": float(recall.mean()), "f1": float(f1.mean())}
    report |= {"macro": {**mean, "support": support * k}, "weighted": {**mean, "support": support * k}}
    return {
        "accuracy": float(recall.mean()),
        "loss": 0.1,
        "classes": list(classes),
        "per_class_accuracy": recall.tolist(),
        "confusion": confusion.tolist(),
        "report": report,
    }
