"""Networks by name and in numbers."""

import pytest

from manyhands.clusters.quantities import bytes_per_second, nanoseconds
from manyhands.errors import UserError
from manyhands.measure.networks import PRESETS, parse_network


def test_the_presets() -> None:
    assert list(PRESETS) == [
        *("loopback", "1G", "10G", "25G", "100G-roce", "400G-infiniband", "nvlink", "wan", "home-dsl", "4g")
    ]
    for name, kind in PRESETS.items():
        assert parse_network(name) is kind
        assert kind.name == str(kind) == name
        assert bytes_per_second(kind.bandwidth) > 0
        assert nanoseconds(kind.latency) > 0
        assert kind.source
    assert bytes_per_second(PRESETS["nvlink"].bandwidth) == 450e9
    assert bytes_per_second(PRESETS["100G-roce"].bandwidth) == 12.5e9


@pytest.mark.parametrize(
    ("text", "bandwidth", "latency"),
    [("1Gbit/s", "1Gbit/s", "50us"), ("300Mbit/s,1ms", "300Mbit/s", "1ms"), ("12 MB/s, 3us", "12 MB/s", "3us")],
)
def test_numbers(text: str, bandwidth: str, latency: str) -> None:
    kind = parse_network(text)
    assert (kind.name, kind.bandwidth, kind.latency) == (text, bandwidth, latency)


@pytest.mark.parametrize("text", ["", "100G", "fast", "1Gbit/s,", "1Gbit/s,soon", "0Mbit/s", "-1Mbit/s,1ms", "1ms"])
def test_anything_else_is_refused_with_what_there_is(text: str) -> None:
    with pytest.raises(UserError, match=r"unknown network .* name one of loopback, 1G, .* 300Mbit/s,1ms"):
        parse_network(text)
