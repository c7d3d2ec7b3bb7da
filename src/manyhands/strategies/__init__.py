"""HOW, together: one file per method. A new one is registered by being imported here."""

from manyhands.strategies.all_reduce import AllReduce
from manyhands.strategies.base import STRATEGIES, Strategy, parse_strategy
from manyhands.strategies.fedavg import FedAvg
from manyhands.strategies.gossip import Gossip
from manyhands.strategies.local_sgd import LocalSGD
from manyhands.strategies.parameter_server import ParameterServer
from manyhands.strategies.single import Single

__all__ = [
    "STRATEGIES",
    "AllReduce",
    "FedAvg",
    "Gossip",
    "LocalSGD",
    "ParameterServer",
    "Single",
    "Strategy",
    "parse_strategy",
]
