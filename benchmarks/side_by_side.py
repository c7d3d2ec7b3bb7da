"""What the benchmarks share: run two things by turns and print medians."""

import json
from collections.abc import Callable
from statistics import median


def compare(name: str, ours: Callable[[], float], plain: Callable[[], float], repeats: int, unit: str) -> None:
    """Measure both by turns, so that a drift of the machine meets both; prints one JSON line."""
    pairs = []
    for turn in range(repeats):
        pairs.append((ours(), plain()))
        a, b = pairs[-1]
        print(f"  {turn + 1}/{repeats}: manyhands {a:.4g} {unit}, plain {b:.4g} {unit}", flush=True)
    ratios = [a / b for a, b in pairs]
    result = {
        "benchmark": name,
        "unit": unit,
        "n": repeats,
        "manyhands": median(a for a, _ in pairs),
        "plain": median(b for _, b in pairs),
        "ratio": median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }
    print(json.dumps({key: round(value, 4) if isinstance(value, float) else value for key, value in result.items()}))
