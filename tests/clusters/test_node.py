"""What a strategy can ask of its node, with a cluster that answers from a list."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from manyhands.clusters.effects import NOTHING, Effect, Message, Quiet, Receive, Send
from manyhands.clusters.layout import Layout
from manyhands.clusters.node import Node
from manyhands.errors import RunError
from manyhands.training.optimizer import SGD
from manyhands.training.plan import Plan
from manyhands.training.sampler import Sampler
from manyhands.training.schedule import Cosine


def make_node(rank: int = 0, workers: int = 3, servers: int = 1, optimizer: SGD | None = None) -> Node:
    """A node of a model with four parameters and two buffers, in a plan of three epochs of two steps."""
    works = rank < workers
    return Node(
        rank=rank,
        role="worker" if works else "server",
        workers=range(workers),
        servers=range(workers, workers + servers),
        layout=Layout(parameters=4, buffers=2),
        plan=Plan(total=3, steps_per_epoch=2, lr=0.5, schedule=Cosine()),
        seed=0,
        optimizer=optimizer or SGD(),
        decay_mask=None,
        samples_per_worker=[5] * workers,
        sampler=Sampler(np.arange(5), 2, 0, rank) if works else None,
        initial_weights=torch.arange(6.0),
    )


def carry_out(
    coroutine: Coroutine[Effect[Any], Any, Any], answer: Callable[[Effect[Any]], Any]
) -> tuple[Any, list[Any]]:
    """Run a strategy's coroutine to its end; its result, and the effects that it asked for."""
    effects: list[Effect[Any]] = []
    reply = None
    try:
        while True:
            effects.append(coroutine.send(reply))
            reply = answer(effects[-1])
    except StopIteration as end:
        return end.value, effects


def test_each_node_has_weights_of_its_own() -> None:
    one, other = make_node(0), make_node(1)
    one.weights += 1
    assert other.weights.tolist() == [0, 1, 2, 3, 4, 5]
    assert (one.parameters.tolist(), one.buffers.tolist()) == ([1, 2, 3, 4], [5, 6])
    one.buffers = torch.tensor([7.0, 8.0])
    assert one.weights.tolist() == [1, 2, 3, 4, 7, 8]


def test_setting_the_weights_copies_into_the_vector_that_the_model_looks_at() -> None:
    node = make_node()
    vector, given = node.weights, torch.zeros(6)
    node.weights = given
    given += 1
    assert node.weights is vector
    assert not vector.any()


def test_a_client_forgets_weights_that_are_not_its_own() -> None:
    client, server = make_node(0), make_node(3)
    client.keeps_weights, client.evaluates_after = False, lambda completed: completed % 2 == 0
    for node in (client, server):
        node.weights = torch.ones(6)
    client.forget(2)
    assert client.weights.tolist() == [1] * 6, "an evaluation is to look at them"
    client.forget(3)
    server.forget(3)
    server.forget()
    assert client._weights is None
    assert server.weights.tolist() == [1] * 6
    client.weights = torch.arange(12.0)[::2]
    assert client.weights.tolist() == [0, 2, 4, 6, 8, 10]
    assert client.weights.is_contiguous()
    client.forget()
    assert client.weights.tolist() == [0, 1, 2, 3, 4, 5], "those that all begin with"


def test_a_step_moves_the_parameters_and_no_buffers() -> None:
    node = make_node(optimizer=SGD(momentum=0.9))
    for expected in ([-0.5, 0.5, 1.5, 2.5, 4, 5], [-1.45, -0.45, 0.55, 1.55, 4, 5]):
        node.step(torch.ones(4))
        assert node.weights.tolist() == pytest.approx(expected)
    assert node.optimizer_state["momentum"].tolist() == pytest.approx([1.9] * 4)


def test_vector_arithmetic_is_put_on_the_account() -> None:
    node = make_node()
    node.step(torch.ones(4))
    assert node.vector_bytes == 3 * 16  # read weights and gradient, write weights
    node.average([torch.ones(6), torch.zeros(6)])
    assert node.vector_bytes == 3 * 16 + 2 * 3 * 24


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.floats(-10, 10), st.floats(0.1, 10)), min_size=1, max_size=10))
def test_an_average_is_numpys(pairs: list[tuple[float, float]]) -> None:
    values, weights = zip(*pairs, strict=True)
    tensors = [torch.full((2,), value) for value in values]
    mean = make_node().average(tensors, list(weights))
    assert mean.tolist() == pytest.approx([np.average(values, weights=weights)] * 2, rel=1e-5, abs=1e-5)
    assert make_node().average(tensors).tolist() == pytest.approx([np.mean(values)] * 2, rel=1e-5, abs=1e-5)
    assert [tensor[0].item() for tensor in tensors] == pytest.approx(values)


def test_epochs_come_to_rest_before_the_first_and_after_each() -> None:
    async def loop(node: Node) -> list[Any]:
        return [(epoch, node.progress, node.completed) async for epoch in node.epochs()]

    node = make_node()
    seen, effects = carry_out(loop(node), lambda _: None)
    assert seen == [(0, 0, 0), (1, pytest.approx(1 / 3), 1), (2, pytest.approx(2 / 3), 2)]
    assert [type(effect) for effect in effects] == [Quiet] * 4
    assert (node.completed, node.progress) == (3, 1)


def test_a_resumed_node_goes_on_where_it_was() -> None:
    async def loop(node: Node) -> list[int]:
        return [step async for step in node.steps()]

    node = make_node()
    node.restore(make_node().numbers() | {"completed": 2}, {})
    seen, effects = carry_out(loop(node), lambda _: None)
    assert seen == [4, 5]
    assert len(effects) == 1


def test_batches_know_their_step_and_the_rate_follows_it() -> None:
    async def loop(node: Node) -> list[Any]:
        return [(b.step, b.number, len(b), b.ends_epoch, node.lr) async for b in node.batches()]

    seen, _ = carry_out(loop(make_node()), lambda _: None)
    assert [each[:4] for each in seen] == [(i, i, 2, i % 2 == 1) for i in range(6)]
    assert [each[4] for each in seen] == pytest.approx([Cosine().factor(i / 6) / 2 for i in range(6)])


def test_local_batches_are_whole_passes() -> None:
    batches = make_node().local_batches(2)
    assert [len(batch) for batch in batches] == [2, 2, 1] * 2
    assert [batch.number for batch in batches] == list(range(6))


def test_a_choice_is_the_same_at_every_node_and_another_for_every_purpose() -> None:
    chosen = make_node(0).choose(range(100), 10, "cohort", 4)
    assert chosen == make_node(2).choose(range(100), 10, "cohort", 4) == sorted(set(chosen))
    assert len(chosen) == 10
    assert chosen != make_node(0).choose(range(100), 10, "cohort", 5)
    assert make_node().choose([7, 8, 9], 3) == [7, 8, 9]


def test_mixing_sends_to_the_neighbours_and_averages_what_they_send() -> None:
    node = make_node(rank=1)

    def neighbour(effect: Effect[Any]) -> Any:
        if isinstance(effect, Receive):
            assert effect.source is not None
            return Message(effect.source, (torch.full((6,), 10.0 * effect.source),))
        return None

    mixed, effects = carry_out(node.mix({0: 0.25, 1: 0.5, 2: 0.25}), neighbour)
    assert mixed.tolist() == [5.0, 5.5, 6.0, 6.5, 7.0, 7.5]
    assert [effect.to for effect in effects if isinstance(effect, Send)] == [0, 2]
    assert [effect.source for effect in effects if isinstance(effect, Receive)] == [0, 2]
    assert node.weights.tolist() == [0, 1, 2, 3, 4, 5], "mixing itself changes nothing"


def test_gathered_messages_come_in_the_order_asked_for() -> None:
    def answer(effect: Effect[Any]) -> Message:
        assert isinstance(effect, Receive)
        assert effect.source is not None
        return Message(effect.source, (torch.tensor(effect.source),))

    gathered, _ = carry_out(make_node(3).gather([2, 0, 1]), answer)
    assert [int(tensor) for (tensor,) in gathered] == [2, 0, 1]


def test_who_listens_stops_when_the_conductors_have_finished() -> None:
    async def listen(node: Node) -> int:
        heard = 0
        async for (tensor,) in node.incoming(node.server):
            heard += int(tensor)
        return heard

    messages = iter([Message(3, (torch.tensor(1),)), Message(3, (torch.tensor(2),)), None])
    heard, effects = carry_out(listen(make_node()), lambda _: next(messages))
    assert heard == 3
    assert {effect.source for effect in effects} == {3}


def test_who_needs_a_message_that_will_not_come_says_so() -> None:
    with pytest.raises(RunError, match="node 1 waits for a message that will not come: the conductors have finished"):
        carry_out(make_node(1).receive(0), lambda _: None)


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_no_number_ends_the_run_and_names_step_and_worker(loss: float) -> None:
    with pytest.raises(RunError, match=rf"the loss is {loss} at step 7 of worker 2: .*--lr \(now 0.5\)"):
        make_node(2).record(loss, 8, step=7)


def test_losses_add_up_by_samples() -> None:
    node = make_node()
    node.record(1.0, 8, step=0)
    node.record(4.0, 4, step=1)
    assert (node.samples, node.loss_sum / node.loss_samples) == (12, 2.0)


def states(node: Node) -> tuple[Any, dict[str, list[float]]]:
    tensors: dict[str, Tensor] = node.tensors()
    return node.numbers(), {name: tensor.tolist() for name, tensor in tensors.items()}


def test_what_is_kept_makes_a_node_whole_again() -> None:
    node, copy = make_node(optimizer=SGD(momentum=0.5)), make_node(optimizer=SGD(momentum=0.5))
    node.next_batch()
    node.step(torch.ones(4))
    node.state["control"] = torch.tensor([3.0])
    node.completed, node.progress = 1, 0.3
    node.ledger.compute, node.ledger.bytes_sent = 5, 7
    node.record(1.0, 2, step=0)
    copy.restore(node.numbers(), node.tensors())
    assert states(copy) == states(node)
    node.state["control"].zero_()
    assert copy.state["control"] == 3
    node.keeps_weights = False
    assert set(node.tensors()) == {"state/control", "optimizer/momentum"}


def test_local_steps_are_passes_or_batches_of_the_stream() -> None:
    """Five samples in batches of two."""
    node = make_node()
    passes = node.local_batches(2)
    assert [len(batch) for batch in passes] == [2, 2, 1] * 2
    assert [batch.number for batch in passes] == list(range(6))
    for whole in (passes[:3], passes[3:]):
        assert sorted(np.concatenate([batch.indices for batch in whole])) == list(range(5))
    steps = node.local_batches(1, 5)
    assert [len(batch) for batch in steps] == [2] * 5
    assert [batch.number for batch in steps] == list(range(6, 11))
    assert sorted(np.concatenate([batch.indices for batch in steps])) == sorted([*range(5), *range(5)])


def test_a_whole_batch_is_a_pass() -> None:
    node, other = make_node(), make_node()
    batch = node.whole_batch()
    assert batch.indices.tolist() == np.concatenate([each.indices for each in other.local_batches(1)]).tolist()
    assert batch.number == 0
    assert node.whole_batch().number == 3


def test_how_far_steps_go_depends_on_the_optimiser_and_what_pulls() -> None:
    assert make_node().reach(4) == 4
    assert make_node(optimizer=SGD(momentum=0.5)).reach(2) == 1 + 1.5
    node = make_node()
    assert node.reach(2, pull=0.2) == pytest.approx(1 + (1 - node.lr * 0.2))


@pytest.mark.parametrize(("job", "keeps", "expected"), [(3, True, 0.0), (3, False, 1.0), (NOTHING, True, 1.0)])
def test_a_node_whose_steps_are_halted_has_the_weights_of_before_if_they_are_its_own(
    job: int, keeps: bool, expected: float
) -> None:
    node = make_node()
    node.job, node.keeps_weights = job, keeps
    node.weights = torch.zeros(6)

    def answer(effect: Effect[Any]) -> bool:
        node.weights += 1
        return False

    done, effects = carry_out(node.train([]), answer)
    assert done is False
    assert [effect.job for effect in effects] == [job]
    assert node.weights.tolist() == [expected] * 6


def test_figures_add_up_and_are_kept() -> None:
    node, other = make_node(), make_node()
    node.count(replies=3, late=0)
    node.count(replies=2, skipped=True)
    assert node.figures == {"replies": 5, "late": 0, "skipped": 1}
    other.restore(json.loads(json.dumps(node.numbers())), {})
    assert other.figures == node.figures
    assert other.figures is not node.figures
