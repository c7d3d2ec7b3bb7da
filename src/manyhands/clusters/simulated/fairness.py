"""Max-min fairness: how flows share the links that they cross."""

import heapq
from collections.abc import Collection, Mapping, Sequence


def max_min_rates(
    members: Mapping[int, Collection[int]],
    routes: Mapping[int, Sequence[int]] | Sequence[Sequence[int]],
    capacities: Sequence[float],
) -> dict[int, float]:
    """The max-min fair rate of each flow, in the capacities' unit: none can rise unless another falls that is no
    greater.

    ``members`` has the numbers of the flows on each link, ``routes`` the links of each flow, none twice.

    Progressive filling (Bertsekas & Gallager 1992, Data Networks, §6.5.2): the link with the smallest fair
    share is the bottleneck of its flows; they get that share, their other links lose it, and so on.
    """
    left = {link: capacities[link] for link in members}
    waiting = {link: len(flows) for link, flows in members.items()}
    rates: dict[int, float] = {}
    heap = [(left[link] / waiting[link], link) for link in members]
    heapq.heapify(heap)
    while heap:
        known, bottleneck = heapq.heappop(heap)
        if not waiting[bottleneck]:
            continue
        share = left[bottleneck] / waiting[bottleneck]
        if share > known:  # shares only grow: one that is out of date is too small, never too large
            heapq.heappush(heap, (share, bottleneck))
            continue
        for flow in members[bottleneck]:
            if flow not in rates:
                rates[flow] = share
                for link in routes[flow]:
                    left[link] -= share
                    waiting[link] -= 1
    return rates
