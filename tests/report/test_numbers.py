import pytest

from manyhands.report import numbers
from manyhands.report.numbers import Number
from manyhands.statistics import Estimate


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (numbers.percent(0.97312), "97.31 %"),
        (numbers.percent(Estimate(0.97312, 0.0042, 3)), "97.31 ± 0.42 %"),
        (numbers.percent(Estimate(0.97312, 0.000001, 3)), "97.31 %"),  # an interval that rounds to nothing
        (numbers.percent(0.5, 0), "50 %"),
        (numbers.percent(None), "–"),
        (numbers.points(Estimate(-0.021, 0.1, 2)), "-2.10 ± 10.00 percentage points"),
        (numbers.times(3.4159), "3.42×"),
        (numbers.plain(0.0912345), "0.0912"),
        (numbers.plain(-1234.5), "-1,234"),
        (numbers.plain(0), "0"),
        (numbers.general(3.0), "3"),
        (numbers.general(2.5), "2.5"),
        (numbers.duration(0), "0 s"),
        (numbers.duration(0.00042), "420 µs"),
        (numbers.duration(599), "599 s"),
        (numbers.duration(600), "10.0 min"),
        (numbers.duration(7199), "120 min"),
        (numbers.duration(7200), "2.00 h"),
        (numbers.duration(Estimate(61.0, 2.0, 4)), "61.0 ± 2.0 s"),
        (numbers.size(0), "0 B"),
        (numbers.size(999), "999 B"),
        (numbers.size(1000), "1.00 kB"),
        (numbers.size(4_940_000), "4.94 MB"),
        (numbers.size(5e18), "5,000 PB"),
        (numbers.count(1, "seed"), "1 seed"),
        (numbers.count(1000, "run"), "1,000 runs"),
    ],
)
def test_numbers_are_written(written: str, expected: str) -> None:
    assert written.replace("\u00a0", " ") == expected


@pytest.mark.parametrize("value", [1e-12, 1e30, -1e-30, Estimate(1e-9, 1e9, 2)])
def test_extremes_are_written(value: Number) -> None:
    for write in (numbers.percent, numbers.plain, numbers.times, numbers.duration, numbers.size):
        assert write(value)
