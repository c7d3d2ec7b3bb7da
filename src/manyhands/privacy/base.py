"""What a privacy is. Torch is imported inside functions, so that a configuration is read without it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from manyhands.values import Family, Value

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Privacy(Value):
    """What is done to clients' replies, and to their mean, so that the model does not tell who took part."""

    paper: ClassVar[str] = ""
    url: ClassVar[str] = ""
    private: ClassVar[bool] = True
    """whether anything is done: then all clients weigh alike"""

    def check(self) -> None:
        """Raise UserError if it cannot be had here."""

    def clipped(self, reply: "tuple[Tensor, ...]") -> "tuple[Tensor, ...]":
        """What a client sends in place of its reply, all vectors float32."""
        raise NotImplementedError

    def released(
        self, mean: "tuple[Tensor, ...]", replies: int, expected: int, seed: int, number: int
    ) -> "tuple[Tensor, ...]":
        """What becomes known of a round: made of the mean of so many replies, where so many were expected.

        ``number``: of the round, by which the noise of a seed differs.
        """
        raise NotImplementedError

    def facts(self, rate: float, rounds: int) -> dict[str, float | str]:
        """What can be promised, where each client takes part in a round with this probability."""
        raise NotImplementedError


PRIVACIES: Family[Privacy] = Family("privacy", Privacy)


@PRIVACIES.register("none")
@dataclass(frozen=True)
class NoPrivacy(Privacy):
    """Nothing is done."""

    private = False

    def clipped(self, reply: "tuple[Tensor, ...]") -> "tuple[Tensor, ...]":
        return reply

    def released(
        self, mean: "tuple[Tensor, ...]", replies: int, expected: int, seed: int, number: int
    ) -> "tuple[Tensor, ...]":
        return mean

    def facts(self, rate: float, rounds: int) -> dict[str, float | str]:
        return {}
