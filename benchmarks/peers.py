"""FedAvg in manyhands, in a loop written by hand, in Flower and in pfl: the same work by turns, one JSON line for each.

usage: python benchmarks/peers.py FOLDER [--work logistic lenet5 pfl-cnn] [--repeats 5] [--contenders manyhands plain …]

Flower and pfl get virtual environments of their own below FOLDER, made when they are missing: torch first, the same for
all, then the framework. Nothing is installed anywhere else. Run it on a machine that does nothing else: the median of
the repeats is told, with the least and the greatest. Times of a round leave out the start; ``start`` is from the
process's beginning to the end of its first round.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

SCRIPTS = Path(__file__).parent / "peers"
sys.path.insert(0, str(SCRIPTS))

from work import WORKS, make_data

TORCH = "torch==2.13.0"
FRAMEWORKS = {"flower": "flwr[simulation]==1.41.0", "pfl": "pfl[pytorch]==0.6.0"}
CONTENDERS = ("manyhands", "plain", "flower", "pfl")
CORES = 2
"""processes of pfl, and cores of Ray"""


def environment(folder: Path, name: str) -> Path:
    """The Python of a framework's environment, which is made if it is not there yet."""
    home = folder / name
    python, ready = home / "bin" / "python", home / "ready"
    if not ready.exists():
        print(f"making {home}: {TORCH}, {FRAMEWORKS[name]}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        for packages in ([TORCH], [FRAMEWORKS[name], TORCH]):
            subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        ready.touch()
    return python


def command(contender: str, folder: Path) -> list[str]:
    """How a contender is started; the work and the rounds follow."""
    script = str(SCRIPTS / f"run_{contender}.py")
    if contender not in FRAMEWORKS:
        return [sys.executable, script]
    python = str(environment(folder, contender))
    if contender == "pfl":
        return [python, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={CORES}", script]
    return [python, script]


def measure(command: list[str], name: str, data: Path, folder: Path) -> dict[str, float]:
    """Run once; ``{"start": seconds, "round": seconds}``."""
    settings = {
        "BENCHMARK_BEGUN": str(time.time()),
        "BENCHMARK_DATA": str(data),
        "OMP_NUM_THREADS": "1",
        "FLWR_HOME": str(folder / "flower-home"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    words = [*command, name, str(WORKS[name].rounds)]
    done = subprocess.run(words, env=os.environ | settings, capture_output=True, text=True, timeout=1800)
    for line in done.stdout.splitlines():  # the exit status does not count: some die after all is done
        if line.startswith("RESULT "):
            return json.loads(line.removeprefix("RESULT "))
    raise SystemExit(f"{' '.join(words)} gave no result:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")


def spread(values: list[float]) -> dict[str, float]:
    """The median, the least and the greatest."""
    figures = {"median": median(values), "least": min(values), "greatest": max(values)}
    return {key: round(value, 5) for key, value in figures.items()}


def compare(name: str, contenders: list[str], repeats: int, folder: Path) -> None:
    """All contenders by turns, so that a drift of the machine meets each of them; prints one JSON line."""
    data = folder / f"{name}.pt"
    if not data.exists():
        make_data(name, data)
    commands = {contender: command(contender, folder) for contender in contenders}
    results: dict[str, list[dict[str, float]]] = {contender: [] for contender in contenders}
    for turn in range(repeats):
        for contender in contenders:
            results[contender].append(measure(commands[contender], name, data, folder))
            rounds = results[contender][-1]["round"]
            print(f"  {name} {turn + 1}/{repeats} {contender}: {rounds:.4g} s a round", file=sys.stderr, flush=True)
    told: dict[str, object] = {"benchmark": f"peers/{name}", "n": repeats, "rounds": WORKS[name].rounds}
    for contender, runs in results.items():
        told[contender] = {key: spread([run[key] for run in runs]) for key in ("round", "start")}
    if "manyhands" in results:
        ours = results["manyhands"]
        told["ratios"] = {
            other: spread([mine["round"] / theirs["round"] for mine, theirs in zip(ours, runs, strict=True)])
            for other, runs in results.items()
            if other != "manyhands"
        }
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--work", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for work in options.work:
        compare(work, options.contenders, options.repeats, options.folder.resolve())
