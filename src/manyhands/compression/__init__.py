"""Shorter messages: how a vector is written in fewer bytes, and how what that leaves out is made up for."""

from manyhands.compression.base import COMPRESSIONS, Compression, Memory, Uncompressed
from manyhands.compression.feedback import Coder
from manyhands.compression.powersgd import PowerSGD
from manyhands.compression.quantise import QSGD, BFloat16, Int8, Sign
from manyhands.compression.sparsify import RandomK, TopK

__all__ = [
    "COMPRESSIONS",
    "QSGD",
    "BFloat16",
    "Coder",
    "Compression",
    "Int8",
    "Memory",
    "PowerSGD",
    "RandomK",
    "Sign",
    "TopK",
    "Uncompressed",
]
