"""Rehearsals of strategies written for the simulated cluster alone; those of all others are in tests/conformance."""

from pathlib import Path

import pytest
import torch
from scripted import Scripted, make_task, simulate

from manyhands import lab
from manyhands.clusters.node import Node
from manyhands.clusters.simulated.rehearsal import Rehearsal
from manyhands.errors import RunError
from manyhands.runs.specification import Specification
from manyhands.strategies import Strategy


def rehearse(strategy: Strategy, workers: int = 2) -> Rehearsal:
    return lab.rehearse(Specification(strategy=strategy, workers=workers, batch_size=8, epochs=1), task=make_task())


class Everything(Scripted):
    """All effects, and tensors of the strategy's own."""

    async def worker(self, node: Node) -> None:
        other = 1 - node.rank
        async for _ in node.epochs():
            while await node.claim() is not None:
                batch = node.next_batch()
                inputs, targets = await node.load(batch)
                self.seen.append((inputs.shape, inputs.dtype, targets.shape, targets.dtype))
                gradient = await node.gradient(batch)
                self.seen.append((gradient.shape, gradient.dtype, gradient.is_meta, node.weights.is_meta))
                node.step(gradient)
                node.weights = await node.all_reduce(node.weights)
                await node.train([batch])
                await node.send(other, inputs, targets, torch.zeros(5), tag=3)
                message = await node.receive(other)
                self.seen.append([(tensor.shape, tensor.dtype) for tensor in message])
                node.state["kept"] = message.tensors[2] + 1
                await node.mean_gradient(node.next_batch())
                self.seen.append(await node.poll())


def test_a_strategy_sees_shapes_and_types_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rehearsal = rehearse(Everything())
    seen, Everything.seen = Everything.seen, []
    assert not [*tmp_path.iterdir()]  # nothing is written
    ledger = simulate(Everything(), tmp_path / "run")
    assert len(seen) == len(Everything.seen) > 0
    for rehearsed, real in zip(seen, Everything.seen, strict=True):
        if isinstance(rehearsed, tuple) and len(rehearsed) == 4 and isinstance(rehearsed[2], bool):
            assert rehearsed[:2] == real[:2]
            assert rehearsed[2:] == (True, True)
            assert real[2:] == (False, False)
        else:
            assert rehearsed == real
    assert rehearsal.seconds == ledger["seconds"]


def test_a_strategy_that_looks_at_values_is_told_so() -> None:
    class Curious(Scripted):
        async def worker(self, node: Node) -> None:
            async for _ in node.epochs():
                if (await node.gradient(node.next_batch())).norm() > 1:
                    pass

    with pytest.raises(RunError, match=r"^__bool__ needs the values of a tensor"):
        rehearse(Curious())


def test_a_rehearsal_notices_a_deadlock() -> None:
    class Waiting(Scripted):
        async def worker(self, node: Node) -> None:
            async for _ in node.epochs():
                await node.receive_any()

    with pytest.raises(RunError, match="deadlock in scripted: node 0 waits for a message from anybody"):
        rehearse(Waiting())
