"""NIID-Bench on Fashion-MNIST: FedAvg, FedProx, SCAFFOLD and FedNova under Dirichlet(0.5) label skew (see ``niid.py``).

    manyhands compare --from studies/niid_bench_fashion.py

To be held against a rerun by others with the settings of the paper, https://github.com/adap/flower,
baselines/niid_bench, which gives the best of 50 rounds, mean ± standard deviation of three seeds:

    FedAvg 88.09 ± 0.29   FedProx 88.15 ± 0.42   SCAFFOLD 88.44 ± 0.25   FedNova 88.22 ± 0.12

We report the last round instead, with a 95 % interval. A round is 600,000 images.
"""

from manyhands import Specification
from niid import specifications as of_niid_bench

NAME = "NIID-Bench, Fashion-MNIST, Dirichlet(0.5)"
ROUNDS = 2


def specifications() -> list[Specification]:
    return of_niid_bench("fashion-mnist", rounds=ROUNDS, mu=0.01)
