"""The loop that one would write by hand, on one thread.  usage: python run_plain.py WORK ROUNDS"""

import copy
import sys
import time

import torch
from torch import nn

from work import WORKS, load_data, tell, train_client


def main(name: str, rounds: int) -> None:
    torch.set_num_threads(1)
    work = WORKS[name]
    model = work.model()
    inputs, targets = load_data()
    one_round(model, inputs, targets, name)
    first, begun = time.time(), time.perf_counter()
    for _ in range(rounds):
        one_round(model, inputs, targets, name)
    tell(first, time.perf_counter() - begun, rounds)


def one_round(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, name: str) -> None:
    work, total = WORKS[name], None
    for client in torch.randperm(work.clients)[: work.cohort].tolist():
        local = copy.deepcopy(model)
        train_client(local, inputs[client], targets[client], work)
        state = local.state_dict()
        total = state if total is None else {key: total[key] + state[key] for key in state}
    model.load_state_dict({key: value / work.cohort for key, value in total.items()})


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
