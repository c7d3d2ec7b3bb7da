"""What the studies of NIID-Bench have in common: its settings, with our names for them.

Li, Diao, Chen and He 2022, Federated Learning on Non-IID Data Silos: An Experimental Study, ICDE,
https://arxiv.org/abs/2102.02079, and its code, https://github.com/Xtra-Computing/NIID-Bench: 10 parties that all take
part, each label shared out by Dirichlet(0.5), no party with fewer than 10 samples; 10 local epochs with batches of 64,
SGD with rate 0.01, momentum 0.9 (new in each round) and weight decay 1e-5; two convolutions and three dense layers;
pixels in 0 … 1 as they are.

Two things that its paper does not tell are as in its code: a party that holds an even share of all samples gets none of
the labels that follow (``balanced``), and images of CIFAR-10 are cropped and flipped at random. Two differ: it draws a
partition anew until no party is too small, where ours tops those up with samples of the largest, and it pads crops by
reflection, we with zeros.

Each study takes the seeds 0, 1 and 2, which change the partition, the first weights and the order of samples, as its
three trials do. ``--rounds 50`` makes as many rounds as the paper.
"""

from manyhands import Simulated, Specification
from manyhands.strategies import parse_strategy
from manyhands.tasks.partition import Dirichlet
from manyhands.training.optimizer import SGD

SEEDS = (0, 1, 2)


def specifications(dataset: str, *, rounds: int, mu: float, augment: bool = False) -> list[Specification]:
    """All four methods with each seed, on one data set; ``mu`` is the weight of FedProx's pull."""
    methods = ("fedavg", f"fedprox:mu={mu}", "scaffold", "fednova")
    return [
        Specification(
            task=f"{dataset}/niid-cnn:normalise=false",
            strategy=parse_strategy(f"{method}{',' if ':' in method else ':'}local_epochs=10"),
            cluster=Simulated(),
            workers=10,
            rounds=rounds,
            batch_size=64,
            lr=0.01,
            optimizer=SGD(momentum=0.9, weight_decay=1e-5),
            partition=Dirichlet(0.5, least=10, balanced=True),
            augment=augment,
            seed=seed,
        )
        for seed in SEEDS
        for method in methods
    ]
