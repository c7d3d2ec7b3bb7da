"""pfl's simulation, one process for each core.

usage: OMP_NUM_THREADS=1 torchrun --standalone --nproc-per-node=2 run_pfl.py WORK ROUNDS

Written for ``pfl[pytorch]==0.6.0``.
"""

import os
import sys
import time
import warnings
from contextlib import redirect_stdout

warnings.filterwarnings("ignore")

import numpy as np
import torch
import torch.nn.functional as F
from pfl.aggregate.simulate import SimulatedBackend
from pfl.aggregate.weighting import WeightByUser
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.sampling import get_user_sampler
from pfl.hyperparam import NNEvalHyperParams, NNTrainHyperParams
from pfl.metrics import Metrics
from pfl.model.pytorch import PyTorchModel
from torch import Tensor, nn

from work import WORKS, load_data, tell


class Network(nn.Module):
    """What pfl wants of a model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        return self.model(inputs)

    def loss(self, inputs: Tensor, targets: Tensor, eval: bool = False) -> Tensor:
        self.train(not eval)
        return F.cross_entropy(self(inputs), targets)

    def metrics(self, inputs: Tensor, targets: Tensor, eval: bool = True) -> dict[str, object]:
        return {}


class Clock(TrainingProcessCallback):
    """Notes the wall clock after each round."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def after_central_iteration(
        self, aggregate_metrics: Metrics, model: PyTorchModel, *, central_iteration: int
    ) -> tuple[bool, Metrics]:
        self.times.append(time.time())
        return False, Metrics()


def main(name: str, rounds: int) -> None:
    work = WORKS[name]
    torch.set_num_threads(1)
    torch.manual_seed(0)
    np.random.seed(0)
    inputs, targets = load_data()

    def make_dataset(client: int) -> Dataset:
        order = torch.randperm(work.samples)  # pfl does not shuffle a client's samples
        return Dataset(raw_data=(inputs[client][order], targets[client][order]), user_id=str(client))

    data = FederatedDataset(make_dataset, get_user_sampler("random", list(range(work.clients))))
    network, clock = Network(work.model()), Clock()
    model = PyTorchModel(
        model=network,
        local_optimizer_create=torch.optim.SGD,
        central_optimizer=torch.optim.SGD(network.parameters(), 1.0),
    )
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):  # it prints the metrics of each round
        FederatedAveraging().run(
            algorithm_params=NNAlgorithmParams(
                central_num_iterations=rounds + 1,
                evaluation_frequency=10**9,
                train_cohort_size=work.cohort,
                val_cohort_size=0,
            ),
            backend=SimulatedBackend(training_data=data, val_data=data, postprocessors=[WeightByUser()]),
            model=model,
            model_train_params=NNTrainHyperParams(
                local_learning_rate=work.lr, local_num_epochs=1, local_batch_size=work.batch
            ),
            model_eval_params=NNEvalHyperParams(local_batch_size=work.samples),
            callbacks=[clock],
        )
    if int(os.environ.get("RANK", 0)) == 0:
        tell(clock.times[0], clock.times[-1] - clock.times[0], rounds)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()  # pfl does not, and is then killed now and then
