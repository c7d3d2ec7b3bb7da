"""How far several local steps of one gradient go."""

from functools import lru_cache

from manyhands.training.optimizer import SGD, Optimizer


@lru_cache(maxsize=4096)
def reach(optimizer: Optimizer, steps: int, shrink: float = 0.0) -> float:
    """How far so many steps of a fresh optimiser go if each gradient is 1 and the learning rate is 1.

    What the steps change is −lr · Σₖ aₖ gₖ for the gradients g₁ … g_τ; this is ‖a‖₁ = Σₖ aₖ of FedNova (Wang et al.
    2020, https://arxiv.org/abs/2007.07481, section 4.1). Of plain SGD it is τ, the number of steps; with momentum ρ
    it is (τ − ρ (1 − ρ^τ) / (1 − ρ)) / (1 − ρ); with a proximal pull μ and ``shrink`` = lr · μ it is (1 − (1 −
    shrink)^τ) / shrink. Here it is summed up step by step, so that these, and Nesterov's momentum, go together. Weight
    decay counts as part of the gradient. Other optimisers than SGD make steps whose length does not depend on their
    gradient's: for these it is the number of steps.
    """
    if not isinstance(optimizer, SGD):
        return float(steps)
    velocity = distance = 0.0
    for _ in range(steps):
        gradient = 1.0 - shrink * distance
        velocity = optimizer.momentum * velocity + gradient
        distance += gradient + optimizer.momentum * velocity if optimizer.nesterov else velocity
    return distance
