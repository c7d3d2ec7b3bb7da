import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.clusters.quantities import (
    bytes_per_second,
    format_bytes,
    format_rate,
    format_seconds,
    nanoseconds,
)
from manyhands.errors import UserError

everywhere_the_same = settings(derandomize=True, deadline=None)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("8bit/s", 1.0),
        ("56kbit/s", 7e3),
        ("100Mbit/s", 12.5e6),
        ("1Gbit/s", 125e6),
        ("1 Gbit/s", 125e6),
        ("0.4Tbit/s", 50e9),
        ("1e3bit/s", 125.0),
        ("7B/s", 7.0),
        ("1.5kB/s", 1.5e3),
        (" 10 MB/s ", 10e6),
        ("2GB/s", 2e9),
        ("2TB/s", 2e12),
    ],
)
def test_a_rate_is_read_in_bytes_per_second(text: str, rate: float) -> None:
    assert bytes_per_second(text) == pytest.approx(rate, rel=1e-15)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("1ns", 1),
        ("50us", 50_000),
        ("1.5 ms", 1_500_000),
        ("2s", 2_000_000_000),
        ("0.6ns", 1),
        ("0.0015us", 2),
    ],
)
def test_a_time_is_read_in_whole_nanoseconds(text: str, time: int) -> None:
    assert nanoseconds(text) == time


@pytest.mark.parametrize(
    "text",
    [
        *("", "fast", "10", "Gbit/s", "1Gb/s", "1gbit/s", "1Gbit", "50us"),
        *("0Gbit/s", "0.0MB/s", "-1Gbit/s", "1e999MB/s", "infMB/s", "nanMB/s"),
        *("1_000MB/s", "1,5MB/s", "１MB/s", "1MB/s!"),
    ],
)
def test_what_is_not_a_positive_rate_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UserError, match=r"(?s)rate.*e\.g\. 1Gbit/s") as refusal:
        bytes_per_second(text)
    assert f"'{text}'" in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("text", ["", "soon", "10", "us", "0us", "-5us", "0.4ns", "1e999s", "5min", "5US"])
def test_what_is_not_a_positive_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UserError, match=r"time.*e\.g\. 50us") as refusal:
        nanoseconds(text)
    assert f"'{text}'" in str(refusal.value)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (999.4, "999 B"),
        (999.6, "1.0 kB"),
        (1000, "1.0 kB"),
        (1_234_567, "1.2 MB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (61_706 * 4, "246.8 kB"),
        (3.2e9, "3.2 GB"),
        (5e16, "50000 TB"),
    ],
)
def test_bytes_are_written(size: float, text: str) -> None:
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (125e6, "1 Gbit/s"),
        (12.5e6, "100 Mbit/s"),
        (1e6, "8 Mbit/s"),
        (1.0, "8 bit/s"),
        (124.99e6, "1 Gbit/s"),
    ],
)
def test_rates_are_written(rate: float, text: str) -> None:
    assert format_rate(rate) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (5e-9, "5 ns"),
        (1.5e-6, "1.5 us"),
        (0.012345, "12.3 ms"),
        (0.9996, "1 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (90, "1 min 30 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 0 min"),
        (3725, "1 h 2 min"),
        (360_000, "100 h 0 min"),
    ],
)
def test_seconds_are_written(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@everywhere_the_same
@given(st.floats(1.0, 1e15))
def test_a_written_rate_reads_back_to_three_digits(rate: float) -> None:
    assert bytes_per_second(format_rate(rate)) == pytest.approx(rate, rel=0.0051)


@everywhere_the_same
@given(st.integers(1, 59_000_000_000))
def test_a_written_time_reads_back_to_three_digits(time: int) -> None:
    assert nanoseconds(format_seconds(time / 1e9)) == pytest.approx(time, rel=0.0051)


@everywhere_the_same
@given(st.integers(1, 10**14), st.sampled_from([("ns", 1), ("us", 1e3), ("ms", 1e6), ("s", 1e9)]))
def test_every_nanosecond_reads_back_from_every_unit(time: int, unit: tuple[str, float]) -> None:
    name, scale = unit
    assert nanoseconds(f"{time / scale!r}{name}") == time


@everywhere_the_same
@given(
    st.floats(1.0, 1e15),
    st.sampled_from(["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s", "B/s", "kB/s", "MB/s", "GB/s", "TB/s"]),
)
def test_every_rate_reads_back_from_every_unit(rate: float, unit: str) -> None:
    scale = bytes_per_second(f"1{unit}")
    assert bytes_per_second(f"{rate / scale!r}{unit}") == pytest.approx(rate, rel=1e-15)


@everywhere_the_same
@given(st.integers(1, 10**15))
def test_a_written_size_reads_back_to_one_decimal(size: int) -> None:
    number, unit = format_bytes(size).split()
    scale = bytes_per_second(f"1{unit}/s")
    assert abs(float(number) * scale - size) <= (0.05 * scale if scale > 1 else 0) * (1 + 1e-9)


@everywhere_the_same
@given(st.integers(60, 10**7))
def test_a_written_time_of_minutes_reads_back_to_its_last_unit(seconds: int) -> None:
    large, large_unit, small, small_unit = format_seconds(seconds).split()
    units = {"h": 3600, "min": 60, "s": 1}
    assert int(small) < 60
    assert abs(int(large) * units[large_unit] + int(small) * units[small_unit] - seconds) <= units[small_unit] / 2
