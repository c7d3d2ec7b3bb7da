"""NIID-Bench on MNIST: FedAvg, FedProx, SCAFFOLD and FedNova under Dirichlet(0.5) label skew (see ``niid.py``).

    manyhands compare --from studies/niid_bench_mnist.py

To be held against a rerun by others with the settings of the paper, https://github.com/adap/flower,
baselines/niid_bench, which gives the best of 50 rounds, mean ± standard deviation of three seeds:

    FedAvg 98.89 ± 0.07   FedProx 99.02 ± 0.02   SCAFFOLD 99.07 ± 0.06   FedNova 98.03 ± 0.06

We report the last round instead, with a 95 % interval. A round is 600,000 images.
"""

from manyhands import Specification
from niid import specifications as of_niid_bench

NAME = "NIID-Bench, MNIST, Dirichlet(0.5)"
ROUNDS = 3


def specifications() -> list[Specification]:
    return of_niid_bench("mnist", rounds=ROUNDS, mu=0.01)
