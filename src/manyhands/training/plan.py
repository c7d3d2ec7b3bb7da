"""How long a training lasts and with which learning rate."""

from dataclasses import dataclass

from manyhands.training.schedule import Schedule, warm_up


@dataclass(frozen=True, kw_only=True)
class Plan:
    total: int
    """epochs or rounds in all"""
    steps_per_epoch: int
    lr: float
    """after scaling with the samples of a step"""
    schedule: Schedule
    warm_up: float = 0.0
    """share of the training in which the learning rate rises linearly"""
    warm_up_start: float = 0.0
    """the factor on the learning rate with which it begins"""

    def lr_at(self, progress: float) -> float:
        """The learning rate when ``progress`` (0 to 1) of the training is done."""
        return self.lr * self.schedule.factor(progress) * warm_up(progress, self.warm_up, self.warm_up_start)
