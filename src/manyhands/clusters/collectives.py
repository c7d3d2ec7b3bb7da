"""What collective operations cost: their time on a network and their bytes.

M is the size of the vector in bytes and N the number of nodes.
"""

from collections.abc import Sequence

from manyhands.clusters.simulated.network import Network, round_ns


def ring_all_reduce_ns(network: Network, hosts: Sequence[int], size_bytes: float) -> int:
    """Time (ns) of a ring all-reduce of M bytes on an otherwise idle network; hosts[r] is where node r runs.

    In each of 2 (N - 1) rounds every node sends M / N bytes to its successor; N - 1 reduce and N - 1 gather
    (Patarasuk & Yuan 2009, "Bandwidth optimal all-reduce algorithms for clusters of workstations",
    https://doi.org/10.1016/j.jpdc.2008.09.002). All rounds are alike, so one is solved and multiplied.
    """
    n = len(hosts)
    if n == 1:
        return 0
    part = size_bytes / n
    return 2 * (n - 1) * round_ns(network, [(hosts[r], hosts[(r + 1) % n], part) for r in range(n)])


def ring_all_reduce_bytes(nodes: int, size_bytes: float) -> float:
    """Bytes that each node sends and receives in a ring all-reduce: 2 (N - 1) / N * M, the least possible."""
    return 2 * (nodes - 1) * size_bytes / nodes
