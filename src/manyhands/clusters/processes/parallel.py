"""The mean gradient over all workers, by DistributedDataParallel: each bucket is reduced while the next is computed."""

import warnings
import weakref

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import GradBucket
from torch.nn.parallel import DistributedDataParallel

from manyhands.clusters.compressing import NATIVE
from manyhands.clusters.node import Node
from manyhands.clusters.processes.account import Account, Transfer
from manyhands.clusters.processes.stopwatch import Stopwatch
from manyhands.clusters.processes.wire import naming_peers
from manyhands.training.learner import Learner
from manyhands.training.sampler import Batch


class Parallel:
    """One worker's part; ``group`` has all workers in it."""

    def __init__(self, learner: Learner, node: Node, account: Account, group: dist.ProcessGroup | None) -> None:
        self.learner, self.node, self.account, self.group = learner, node, account, group
        self.module: DistributedDataParallel | None = None
        self.gradient = torch.zeros(learner.parameters, device=learner.device)
        self._starts: list[Moment] = []
        self._ends: dict[int, Moment] = {}
        """of the buckets under way, when each was handed over and when its mean was there"""

    def mean_gradient(self, batch: Batch) -> Tensor:
        """The mean, float32 [T]; the next call overwrites it."""
        node = self.node
        self.learner.bind(node.weights)
        self.learner.collect(self.gradient)
        if self.module is None:
            self.account.arithmetic()
            with self.account.paused("preparing"):
                self.module = self._wrap(batch)
        self.gradient.zero_()
        self._starts, self._ends = [], {}
        with naming_peers():
            loss = self.learner.backward(batch, node.rank, self.module)
        end = self._moment()
        transfers = [
            Transfer(f"bucket {number}", start.before(end), self._ends[number].before(end))
            for number, start in enumerate(self._starts)
        ]
        # When the last bucket's gradients were there, all was computed: what came after is communication laid bare.
        self.account.meet(transfers[-1].start, transfers, end.before(end), "gradient")
        node.record(loss, len(batch), batch.number)
        return self.gradient

    def _wrap(self, batch: Batch) -> DistributedDataParallel:
        buffers = self.node.buffers.clone()
        with warnings.catch_warnings():
            # What torch 2.13 offers instead is not in 2.11, and overwrites the batch statistics of a resumed run.
            warnings.simplefilter("ignore", FutureWarning)
            parallel = DistributedDataParallel(
                self.learner.module,
                process_group=self.group,
                broadcast_buffers=False,
                find_unused_parameters=self.learner.leaves_unused(batch, self.node.rank),
            )
        # The wrapper keeps what it calls alive, out of the garbage collector's sight: it must not be its own owner.
        parallel.register_comm_hook(weakref.proxy(self), Parallel._reduce_bucket)
        # After its first backward pass it lays out its buckets anew, which changes the order of its sums. That pass
        # is taken here for nothing, so that a resumed run sums as an uninterrupted one does.
        with naming_peers():
            self.learner.backward(self.learner.micro_batches(batch)[0], self.node.rank, parallel)
        self.node.buffers = buffers
        return parallel

    def _reduce_bucket(self, bucket: GradBucket) -> torch.futures.Future[Tensor]:
        number = len(self._starts)
        self._starts.append(self._moment())
        if not self.account.watch.stopped:  # as it is in the pass that is taken for nothing
            count(self.node, bucket.buffer())
        buffer = bucket.buffer().div_(len(self.node.workers))
        work = dist.all_reduce(buffer, group=self.group, async_op=True)
        assert work is not None
        future: torch.futures.Future[list[Tensor]] = work.get_future()

        def conclude(done: torch.futures.Future[list[Tensor]]) -> Tensor:
            self._ends[number] = self._moment()
            return done.value()[0]

        return future.then(conclude)

    def _moment(self) -> "Moment":
        return Moment(self.account.watch, self.learner.device)


class Moment:
    """Now: on CUDA, which runs behind, when the current stream has come as far as this."""

    def __init__(self, watch: Stopwatch, device: torch.device) -> None:
        self._wall = watch.wall()
        self._event: torch.cuda.Event | None = None
        if device.type == "cuda":
            self._event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            self._event.record()

    def before(self, end: "Moment") -> int:
        """The moment (ns, with all pauses), ``end`` being one at which the device has done everything."""
        if self._event is None or end._event is None:
            return self._wall
        end._event.synchronize()
        milliseconds: float = self._event.elapsed_time(end._event)
        return end._wall - round(milliseconds * 1e6)


def count(node: Node, tensor: Tensor) -> None:
    """Put an all-reduce of the backend's on the ledger."""
    workers, numbers = len(node.workers), tensor.numel()
    to = NATIVE.bytes_to(node.rank, workers, numbers, tensor.element_size())
    node.ledger.note_collective(to, sum(to.values()), NATIVE.messages_sent(node.rank, workers, numbers))
