"""Networks by name, for predictions: what each host's interface carries, and how long a message takes to arrive.

Rates are those of the standard or the data sheet, headers included, in each direction. Where the two directions differ
it is the narrower one, since collectives and servers send as much as they receive. Latencies are round numbers, one
way, from host to host: measure your own (``manyhands calibrate``) where they matter.
"""

from dataclasses import dataclass

from manyhands.clusters.quantities import bytes_per_second, nanoseconds
from manyhands.errors import UserError


@dataclass(frozen=True, kw_only=True)
class NetworkKind:
    """A network as ``Simulated`` takes it; ``name`` is what the user wrote."""

    name: str
    bandwidth: str
    latency: str
    source: str = ""

    def __str__(self) -> str:
        return self.name


DEFAULT_LATENCY = "50us"
"""where a bandwidth is given alone: that of hosts at one Ethernet switch"""

PRESETS = {
    kind.name: kind
    for kind in (
        NetworkKind(
            name="loopback",
            bandwidth="40Gbit/s",
            latency="10us",
            source="one host to itself over TCP: no standard, an order of magnitude for a core of today",
        ),
        NetworkKind(name="1G", bandwidth="1Gbit/s", latency="50us", source="IEEE 802.3ab (1000BASE-T), one switch"),
        NetworkKind(name="10G", bandwidth="10Gbit/s", latency="20us", source="IEEE 802.3ae, one switch, kernel TCP"),
        NetworkKind(name="25G", bandwidth="25Gbit/s", latency="15us", source="IEEE 802.3by, one switch, kernel TCP"),
        NetworkKind(
            name="100G-roce",
            bandwidth="100Gbit/s",
            latency="3us",
            source="IEEE 802.3ba with RDMA over Converged Ethernet (InfiniBand Trade Association, RoCEv2, 2014)",
        ),
        NetworkKind(
            name="400G-infiniband",
            bandwidth="400Gbit/s",
            latency="2us",
            source="NDR, four lanes of 100 Gbit/s (InfiniBand Trade Association, roadmap)",
        ),
        NetworkKind(
            name="nvlink",
            bandwidth="450GB/s",
            latency="2us",
            source="NVLink 4, 18 links of 25 GB/s each way (NVIDIA H100 Tensor Core GPU Architecture, 2022)",
        ),
        NetworkKind(
            name="wan",
            bandwidth="100Mbit/s",
            latency="40ms",
            source="between data centres of a continent; an order of magnitude, see Hsieh et al. 2017, Gaia, "
            "https://www.usenix.org/conference/nsdi17/technical-sessions/presentation/hsieh",
        ),
        NetworkKind(
            name="home-dsl",
            bandwidth="10Mbit/s",
            latency="15ms",
            source="a VDSL2 line (ITU-T G.993.2) sold as 50 Mbit/s down and 10 up: the upstream",
        ),
        NetworkKind(
            name="4g",
            bandwidth="10Mbit/s",
            latency="30ms",
            source="LTE upstream, a fifth of the 50 Mbit/s peak of category 4 (3GPP TS 36.306): an assumption",
        ),
    )
}


def parse_network(text: str) -> NetworkKind:
    """A preset (``10G``), a bandwidth (``1Gbit/s``), or a bandwidth and a latency (``300Mbit/s,1ms``).

    Raises UserError for anything else.
    """
    if text in PRESETS:
        return PRESETS[text]
    bandwidth, comma, latency = text.partition(",")
    latency = latency if comma else DEFAULT_LATENCY
    try:
        bytes_per_second(bandwidth)
        nanoseconds(latency)
    except UserError as error:
        presets = ", ".join(PRESETS)
        raise UserError(
            f"unknown network '{text}': {error}; or name one of {presets}, or write BANDWIDTH,LATENCY as in "
            "300Mbit/s,1ms"
        ) from None
    return NetworkKind(name=text, bandwidth=bandwidth.strip(), latency=latency.strip())
