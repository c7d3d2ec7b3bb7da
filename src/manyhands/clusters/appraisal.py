"""What is evaluated when a cluster is at rest: the run's model on the test set, and in rounds what its clients have.

Every test sample is one client's (`Experiment.test_parts`), so that a single pass over the test set tells how the model
does at each client. What clients have of their own is tested on their own samples, where it is to be of use.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from manyhands.clusters.experiment import Experiment
from manyhands.clusters.layout import Layout
from manyhands.clusters.node import Node
from manyhands.runs.clients import Clients
from manyhands.strategies import Strategy
from manyhands.tasks.pictures import are_images, picture
from manyhands.tasks.task import Samples
from manyhands.training.evaluation import ByClient, Evaluation
from manyhands.training.learner import Learner

AT_ONCE = 500
"""samples in a part of the test set: a fixed number, so that threads share the work and the sum is always the same"""

CONFUSED, EXAMPLES = 10, 3
"""pairs of classes of which mistakes are shown, and how many of each"""


class AtClient(NamedTuple):
    """What is found at one client."""

    train_loss: float | None
    """mean over the samples on which it trained since the evaluation before; None: it did not"""
    own: Evaluation | None
    """on its test samples, of its weights after its local steps; None where it has none of either"""
    given: Evaluation | None
    """on its test samples, of the run's weights with those that stay with the client; None where none do"""

    def state(self) -> list[Any]:
        """Plain values from which ``from_state`` makes an equal one."""
        return [self.train_loss, *(found.state() if found else None for found in (self.own, self.given))]

    @classmethod
    def from_state(cls, state: Sequence[Any]) -> "AtClient":
        """The inverse of ``state``."""
        return cls(state[0], *(Evaluation.from_state(found) if found else None for found in state[1:]))


@dataclass(eq=False)
class Appraisal:
    """The evaluations of one experiment, each to be made by any of its learners."""

    experiment: Experiment
    layout: Layout

    @property
    def by_client(self) -> bool:
        """Whether there are clients to be told apart: in strategies that have rounds."""
        return self._strategy.unit == "round"

    @property
    def _strategy(self) -> Strategy:
        return self.experiment.specification.strategy

    @cached_property
    def personal(self) -> Tensor | None:
        """Which of the weights stay with each client, bool [P]; None: none do."""
        mask = self._strategy.personal(self.layout)
        return None if mask is None else mask.to(self.experiment.device)

    @cached_property
    def _owners(self) -> np.ndarray:
        """The client of each test sample, int64 [m]."""
        parts = self.experiment.test_parts
        owners = np.empty(len(self.experiment.task.test), np.int64)
        owners[np.concatenate(parts)] = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        return owners

    def on_test_set(self, weights: Tensor, *, last: bool = False) -> list[Callable[[Learner], Evaluation]]:
        """Of the run's weights on each part of the test set; nothing where clients have weights of their own.

        The last one notes the mistakes.
        """
        if self.personal is not None:
            return []
        parts = self.experiment.placed_task.test.parts(AT_ONCE)
        owners: list[np.ndarray | None] = [None] * len(parts)
        if self.by_client:
            owners = [*np.split(self._owners, range(AT_ONCE, len(self._owners), AT_ONCE))]
        clients = self.experiment.specification.size if self.by_client else 0
        return [
            partial(
                Learner.evaluate,
                weights=weights,
                samples=part,
                owners=own,
                clients=clients,
                first=place * AT_ONCE if last else None,
            )
            for place, (part, own) in enumerate(zip(parts, owners, strict=True))
        ]

    def confused(self, evaluation: Evaluation) -> list[dict[str, Any]]:
        """``{"true", "predicted", "count", "images"}`` of the classes taken for each other most often, as numbers.

        The images are PNGs in base64 of the first test samples that were; none if the inputs are no images.
        """
        inputs = self.experiment.placed_task.test.inputs
        if evaluation.mistakes is None or not are_images(inputs):
            return []
        return [
            {
                "true": true,
                "predicted": predicted,
                "count": count,
                "images": [picture(inputs[place]) for place in evaluation.examples(true, predicted, EXAMPLES)],
            }
            for true, predicted, count in evaluation.most_confused(CONFUSED)
        ]

    def asked(self, nodes: Iterable[Node]) -> list[Node]:
        """The clients at which there is something to find: who trained, or all if each has weights of its own."""
        workers = [node for node in nodes if node.role == "worker"] if self.by_client else []
        return [node for node in workers if self.personal is not None or node.loss_samples]

    def at_client(self, learner: Learner, node: Node, weights: Tensor | None) -> AtClient:
        """What is to be found at a client; ``weights``: the run's, which matter where some stay with the client."""
        train_loss = node.loss_sum / node.loss_samples if node.loss_samples else None
        own = given = None
        if self.tests_at(node):
            samples = self._samples_of(node.rank)
            if self._has_own(node):
                own = learner.evaluate(node.weights, samples)
            if self.personal is not None:
                assert weights is not None
                given = learner.evaluate(self._given(node, weights, self.personal), samples)
        return AtClient(train_loss, own, given)

    def tests_at(self, node: Node) -> bool:
        """Whether there is a model to be tested at a client, which takes time; of most there is but a loss to tell."""
        return bool(len(self.experiment.test_parts[node.rank])) and (self.personal is not None or self._has_own(node))

    def _has_own(self, node: Node) -> bool:
        """Whether a client has weights that its own local steps have made."""
        return bool(node.loss_samples) and node.holds_weights and self._strategy.steps_locally

    def _given(self, node: Node, weights: Tensor, mask: Tensor) -> Tensor:
        """The run's weights with those that stay with the client."""
        kept, mixed = node.state.get("personal"), weights.clone()
        mixed[mask] = node.initial_weights[mask] if kept is None else kept
        return mixed

    def _samples_of(self, rank: int) -> Samples:
        """A client's test samples."""
        places = torch.from_numpy(self.experiment.test_parts[rank]).to(self.experiment.device)
        test = self.experiment.placed_task.test
        return Samples(test.inputs[places], test.targets[places])

    def sum_up(
        self, on_test_set: Sequence[Evaluation], at_clients: Mapping[int, AtClient]
    ) -> tuple[Evaluation, Clients | None]:
        """The run's evaluation, and what it tells of the clients; from the parts of the test set, and by rank."""
        if not self.by_client:
            return Evaluation.merge(on_test_set), None
        if self.personal is None:
            evaluation = Evaluation.merge(on_test_set)
            given = evaluation.by_client
        else:
            found = {rank: client.given for rank, client in sorted(at_clients.items()) if client.given}
            evaluation = Evaluation.merge(list(found.values()))
            given = ByClient.gather(found, self.experiment.specification.size)
        assert given is not None
        trained = {rank: client.train_loss for rank, client in at_clients.items() if client.train_loss is not None}
        own = {rank: client.own for rank, client in at_clients.items() if client.own}
        return evaluation, Clients(
            loss_sums=given.loss_sums,
            right=given.right,
            samples=given.samples,
            trained=trained,
            own={rank: (client.loss_sum, int(client.confusion.trace())) for rank, client in own.items()},
        )
