"""What each kind of ``manyhands bench`` takes, and what its help says."""

from dataclasses import dataclass, field
from typing import Literal

from manyhands.cli.arguments import Output
from manyhands.cli.flags import FLAT
from manyhands.clusters.cluster import Cluster, Processes
from manyhands.training.optimizer import Optimizer
from manyhands.training.schedule import LrScaling

Operation = Literal["all-reduce", "all-gather", "reduce-scatter", "broadcast", "send/receive"]
Part = Literal["strong", "weak", "overlap", "load", "accuracy"]
Precision = Literal["fp32", "bf16", "auto"]

COMMUNICATION = """Latency and bandwidth of all-reduce, all-gather, reduce-scatter, broadcast and send/receive by size.

t is the time of an operation on S bytes among n processes; algbw = S / t; busbw = algbw x 2(n-1)/n for all-reduce, x
(n-1)/n for all-gather and reduce-scatter, x 1 for the others (nccl-tests). The link's limit is measured beside them:
what one TCP connection gives. On emulated hosts: --hosts 2 --network 1Gbit/s."""

BATCH_SIZE = """Seconds per epoch, images per second and share of the machine's peak against one worker's batch size.

Share of peak = floating-point operations per second of training / those of a matrix product of the same precision on
the same threads. A training step counts three forward passes."""

SCALING = """Strong and weak scaling over numbers of workers; what backward hides; who carries the bytes; the accuracy.

strong: the same work for n workers, efficiency = T1 / (n Tn). weak: the same work for each, efficiency = T1 / Tn.
overlap, of all-reduce: 1 - exposed / communication alone, exposed = step - step with communication replaced by nothing.
load: bytes through a parameter server, O(M N), and through a node of a ring, O(M). accuracy: whether distributed
equals single within --margin, by two one-sided t-tests over the seeds."""

LARGE_BATCH = """Accuracy after a number of epochs against the total batch, with rules that scale the learning rate.

Workers have --batch-size each, so that a total batch of 512 is 16 workers with 32. none: the learning rate of one
worker; linear: times the number of workers; sqrt: times its root; the rules begin with a warm-up."""


@dataclass(frozen=True, kw_only=True)
class Communication:
    """What ``manyhands bench communication`` takes."""

    processes: int | None = None
    """how many take part; default: 2, or as many as hosts"""
    operations: tuple[Operation, ...] = ("all-reduce", "all-gather", "reduce-scatter", "broadcast", "send/receive")
    """which are measured"""
    smallest: str = "4KiB"
    """the first size"""
    largest: str = "64MiB"
    """the last size"""
    factor: int = 4
    """from one size to the next"""
    repeats: int = 9
    """of each operation and size: their median and quartiles are shown"""
    cluster: Cluster = field(default_factory=Processes)
    """where: processes, over loopback or on emulated hosts"""
    output: Output = field(default_factory=Output, metadata=FLAT)


@dataclass(frozen=True, kw_only=True)
class BatchSize:
    """What ``manyhands bench batch-size`` takes."""

    task: str = "mnist-mini/lenet5"
    """what is learnt: DATASET/MODEL, or FILE.py:NAME of your own"""
    batch_sizes: tuple[int, ...] = ()
    """default: 8 32 128 512 2048, those that the training set has samples for"""
    repeats: int = 9
    """of each batch size: their median and quartiles are shown"""
    threads: int = 0
    """that compute; default: one a core"""
    precision: Precision = "fp32"
    """of the computation; auto measures which is faster"""
    device: str = "auto"
    """cpu, cuda or mps"""
    augment: bool = False
    """crop and flip the training images at random"""
    samples: int | None = None
    """use so many of the data set's first samples; default: all"""
    optimizer: Optimizer | None = None
    """of the steps; default: sgd"""
    output: Output = field(default_factory=Output, metadata=FLAT)


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """What ``manyhands bench scaling`` takes."""

    task: str = "mnist-mini/lenet5"
    """what is learnt: DATASET/MODEL, or FILE.py:NAME of your own"""
    strategies: tuple[str, ...] = ("all-reduce",)
    """names, with options as in parameter-server:consistency=async"""
    workers: tuple[int, ...] = ()
    """numbers of them; one alone is always measured. Default: 2, on hosts up to their number, simulated 2 4 8 16"""
    cluster: Cluster = field(default_factory=Processes)
    """where: processes, over loopback or on emulated hosts, or simulated"""
    parts: tuple[Part, ...] = ("strong", "weak", "overlap", "load", "accuracy")
    """what is measured"""
    batch_size: int = 64
    """of all workers together in strong scaling, of each in weak scaling"""
    epochs: int = 1
    """of each timed run"""
    repeats: int = 5
    """of each timed run, in turns: their medians and quartiles are shown"""
    samples: int | None = None
    """use so many of the data set's first samples; default: all"""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """of the comparison of accuracies"""
    accuracy_epochs: int = 5
    """of the comparison of accuracies"""
    margin: float = 0.02
    """accuracies that differ by less than this share count as equivalent"""
    lr: float | None = None
    """learning rate; default: the optimiser's own"""
    precision: Precision = "fp32"
    """of the computation; auto measures which is faster"""
    device: str = "auto"
    """cpu or cuda"""
    output: Output = field(default_factory=Output, metadata=FLAT)


@dataclass(frozen=True, kw_only=True)
class LargeBatch:
    """What ``manyhands bench large-batch`` takes."""

    task: str = "mnist-mini/lenet5"
    """what is learnt: DATASET/MODEL, or FILE.py:NAME of your own"""
    totals: tuple[int, ...] = (32, 64, 128, 256, 512, 1024)
    """samples in a step of all workers together"""
    rules: tuple[LrScaling, ...] = ("none", "linear", "sqrt")
    """for the learning rate"""
    batch_size: int = 32
    """of one worker; there are as many as make the total"""
    epochs: int = 5
    """after which the accuracy is measured"""
    warm_up: float = 1.0
    """epochs in which the learning rate of linear and sqrt rises to its full value"""
    seeds: tuple[int, ...] = (0, 1, 2)
    """with several, results are means with 95 % intervals"""
    lr: float | None = None
    """of one worker; default: the optimiser's own"""
    optimizer: Optimizer | None = None
    """of the steps; default: sgd"""
    augment: bool = False
    """crop and flip the training images at random"""
    samples: int | None = None
    """train on so many of the data set's first samples; default: all"""
    precision: Precision = "fp32"
    """of the computation; auto measures which is faster"""
    output: Output = field(default_factory=Output, metadata=FLAT)
