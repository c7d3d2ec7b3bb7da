"""HOW, together: one file per method. A new one is registered by being imported here."""

from manyhands.strategies.ad_psgd import AsynchronousGossip
from manyhands.strategies.all_reduce import AllReduce
from manyhands.strategies.base import STRATEGIES, Strategy, parse_strategy
from manyhands.strategies.data_parallel import DataParallel
from manyhands.strategies.diloco import DiLoCo
from manyhands.strategies.elastic_averaging import ElasticAveraging
from manyhands.strategies.fedavg import FedAvg
from manyhands.strategies.gossip import Gossip
from manyhands.strategies.local_sgd import LocalSGD
from manyhands.strategies.parameter_server import ParameterServer
from manyhands.strategies.peer_gradients import PeerGradients
from manyhands.strategies.post_local_sgd import PostLocalSGD
from manyhands.strategies.push_sum import PushSum
from manyhands.strategies.single import Single
from manyhands.strategies.slow_momentum import SlowMomentum

__all__ = [
    "STRATEGIES",
    "AllReduce",
    "AsynchronousGossip",
    "DataParallel",
    "DiLoCo",
    "ElasticAveraging",
    "FedAvg",
    "Gossip",
    "LocalSGD",
    "ParameterServer",
    "PeerGradients",
    "PostLocalSGD",
    "PushSum",
    "Single",
    "SlowMomentum",
    "Strategy",
    "parse_strategy",
]
