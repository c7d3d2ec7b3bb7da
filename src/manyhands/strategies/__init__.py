"""HOW, together: one file per method. A new one is registered by being imported here."""

from manyhands.strategies.ad_psgd import AsynchronousGossip
from manyhands.strategies.all_reduce import AllReduce
from manyhands.strategies.base import STRATEGIES, Strategy, parse_strategy
from manyhands.strategies.data_parallel import DataParallel
from manyhands.strategies.diloco import DiLoCo
from manyhands.strategies.elastic_averaging import ElasticAveraging
from manyhands.strategies.fedasync import FedAsync
from manyhands.strategies.fedavg import FedAvg
from manyhands.strategies.fedbn import FedBN
from manyhands.strategies.fedbuff import FedBuff
from manyhands.strategies.feddyn import FedDyn
from manyhands.strategies.fednova import FedNova
from manyhands.strategies.fedopt import FedOpt
from manyhands.strategies.fedper import FedPer
from manyhands.strategies.fedprox import FedProx
from manyhands.strategies.fedsgd import FedSGD
from manyhands.strategies.gossip import Gossip
from manyhands.strategies.local_sgd import LocalSGD
from manyhands.strategies.moon import Moon
from manyhands.strategies.parameter_server import ParameterServer
from manyhands.strategies.peer_gradients import PeerGradients
from manyhands.strategies.post_local_sgd import PostLocalSGD
from manyhands.strategies.push_sum import PushSum
from manyhands.strategies.scaffold import Scaffold
from manyhands.strategies.single import Single
from manyhands.strategies.slow_momentum import SlowMomentum

__all__ = [
    "STRATEGIES",
    "AllReduce",
    "AsynchronousGossip",
    "DataParallel",
    "DiLoCo",
    "ElasticAveraging",
    "FedAsync",
    "FedAvg",
    "FedBN",
    "FedBuff",
    "FedDyn",
    "FedNova",
    "FedOpt",
    "FedPer",
    "FedProx",
    "FedSGD",
    "Gossip",
    "LocalSGD",
    "Moon",
    "ParameterServer",
    "PeerGradients",
    "PostLocalSGD",
    "PushSum",
    "Scaffold",
    "Single",
    "SlowMomentum",
    "Strategy",
    "parse_strategy",
]
