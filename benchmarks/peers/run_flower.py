"""Flower's simulation over Ray, one core for each client.  usage: python run_flower.py WORK ROUNDS

Written for ``flwr[simulation]==1.41.0``.
"""

import logging
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
os.environ["PYTHONPATH"] = HERE  # for the processes of Ray

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from work import WORKS, load_data, tell, train_client

NAME, ROUNDS = sys.argv[1], int(sys.argv[2])
WORK = WORKS[NAME]

client_app, server_app = ClientApp(), ServerApp()


@client_app.train()
def train(message: Message, context: Context) -> Message:
    torch.set_num_threads(1)
    model = WORK.model()
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    inputs, targets = load_data()
    client = int(context.node_config["partition-id"])
    train_client(model, inputs[client], targets[client], WORK)
    metrics = MetricRecord({"num-examples": WORK.samples})
    reply = RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": metrics})
    return Message(content=reply, reply_to=message)


@server_app.main()
def serve(grid: Grid, context: Context) -> None:
    strategy = FedAvg(fraction_train=WORK.cohort / WORK.clients, fraction_evaluate=0.0)

    def rounds(number: int) -> None:
        arrays = ArrayRecord(WORK.model().state_dict())
        strategy.start(grid=grid, initial_arrays=arrays, num_rounds=number, train_config=ConfigRecord({"lr": WORK.lr}))

    rounds(1)
    first, begun = time.time(), time.perf_counter()
    rounds(ROUNDS)
    tell(first, time.perf_counter() - begun, ROUNDS)


if __name__ == "__main__":
    logging.getLogger("flwr").setLevel(logging.ERROR)
    resources = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}}
    run_simulation(server_app=server_app, client_app=client_app, num_supernodes=WORK.clients, backend_config=resources)
