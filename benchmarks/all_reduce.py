"""``all-reduce`` on 2 processes against a plain DistributedDataParallel script with ResNet-18: images per second.

Both in bf16 with channels_last where the processor has bfloat16 instructions, else both in fp32.

usage: python benchmarks/all_reduce.py [REPEATS]
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F

from manyhands import lab
from manyhands.clusters.cluster import Processes
from manyhands.runs.folder import RunFolder
from manyhands.runs.specification import Specification
from manyhands.strategies import AllReduce
from manyhands.tasks.task import Task
from manyhands.training.optimizer import SGD
from manyhands.training.precision import has_bf16
from resnet18 import LR, STEPS, data, resnet18
from side_by_side import compare

BATCH, PROCESSES = 64, 2
BF16 = has_bf16(torch.device("cpu"))


def manyhands_rate() -> float:
    """Images per second of the second epoch."""
    inputs, targets = data(BATCH * PROCESSES * STEPS)
    task = Task(model=resnet18, train=(inputs, targets), test=(inputs[:10], targets[:10]), name="random/resnet18")
    specification = Specification(
        strategy=AllReduce(),
        cluster=Processes(threads=1),
        workers=PROCESSES,
        epochs=2,
        batch_size=BATCH,
        lr=LR,
        optimizer=SGD(momentum=0.9),
        precision="bf16" if BF16 else "fp32",
    )
    with tempfile.TemporaryDirectory() as folder:
        rows = RunFolder(lab.train(specification, task=task, out=Path(folder) / "run")).read_history()
    return BATCH * PROCESSES * STEPS / (rows[2]["seconds"] - rows[1]["seconds"])


def plain_rate() -> float:
    """Images per second of this file's own plain script under torchrun."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={PROCESSES}", __file__]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, "plain"], env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def plain_script() -> None:
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    model = resnet18()
    inputs, targets = data(BATCH)
    if BF16:
        model, inputs = (x.to(memory_format=torch.channels_last) for x in (model, inputs))
    parallel = torch.nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.SGD(parallel.parameters(), LR, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=BF16):
            loss = F.cross_entropy(parallel(inputs), targets)
        loss.backward()
        optimizer.step()

    for _ in range(STEPS):
        step()
    dist.barrier()
    start = time.perf_counter()
    for _ in range(STEPS):
        step()
    dist.barrier()
    if dist.get_rank() == 0:
        print(BATCH * PROCESSES * STEPS / (time.perf_counter() - start))
    dist.destroy_process_group()


if __name__ == "__main__":
    if sys.argv[1:] == ["plain"]:
        plain_script()
    else:
        compare("all-reduce", manyhands_rate, plain_rate, int(sys.argv[1]) if len(sys.argv) > 1 else 5, "images/s")
