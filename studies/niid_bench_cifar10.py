"""NIID-Bench on CIFAR-10: FedAvg, FedProx, SCAFFOLD and FedNova under Dirichlet(0.5) label skew (see ``niid.py``).

    manyhands compare --from studies/niid_bench_cifar10.py

To be held against the authors' own figures after 50 rounds, means of three trials (README of
https://github.com/Xtra-Computing/NIID-Bench, where mu is 0.001), and a rerun by others with the same settings
(https://github.com/adap/flower, baselines/niid_bench: the best of 50 rounds, ± one standard deviation):

    authors   FedAvg 68.2           FedProx 67.9           SCAFFOLD 69.8           FedNova 66.8
    rerun     FedAvg 62.47 ± 0.43   FedProx 65.63 ± 0.08   SCAFFOLD 68.08 ± 0.96   FedNova 63.89 ± 1.40

SCAFFOLD is highest in both. We report the last round, with a 95 % interval. A round is 500,000 images.
"""

from manyhands import Specification
from niid import specifications as of_niid_bench

NAME = "NIID-Bench, CIFAR-10, Dirichlet(0.5)"
ROUNDS = 2


def specifications() -> list[Specification]:
    return of_niid_bench("cifar10", rounds=ROUNDS, mu=0.001, augment=True)
