"""Values are written as short texts and read back as equal values."""

import math
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from manyhands.aggregation import AGGREGATIONS, TrimmedMean
from manyhands.clusters.faults import FAULTS, DropOut, Gaussian, LabelFlip, ScaledUpdate, SignFlip
from manyhands.compression import COMPRESSIONS, QSGD
from manyhands.errors import UserError
from manyhands.privacy import PRIVACIES
from manyhands.strategies import STRATEGIES, Strategy, parse_strategy
from manyhands.strategies.cohort import COHORTS, Available
from manyhands.strategies.consistency import CONSISTENCIES
from manyhands.strategies.server_optimizer import SERVER_OPTIMIZERS
from manyhands.strategies.staleness import STALENESS
from manyhands.strategies.topology import TOPOLOGIES, Edges, Networkx
from manyhands.tasks.partition import PARTITIONS, Groups, Portions
from manyhands.training.schedule import SCHEDULES, Step
from manyhands.values import Family, Value, read

FAMILIES: list[Family[Any]] = [
    AGGREGATIONS,
    COHORTS,
    COMPRESSIONS,
    CONSISTENCIES,
    FAULTS,
    PARTITIONS,
    PRIVACIES,
    SCHEDULES,
    SERVER_OPTIMIZERS,
    STALENESS,
    TOPOLOGIES,
]
MEMBERS = [member for family in FAMILIES for member in family.members.values()]

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
RISING = st.lists(st.floats(0, 1, exclude_min=True, exclude_max=True), min_size=1, max_size=4, unique=True)


def portions(counts: list[int]) -> tuple[float, ...]:
    return tuple(count / sum(counts) for count in counts)


NAMED = st.lists(st.integers(0, 99), min_size=1, unique=True).map(lambda ranks: "+".join(map(str, ranks)))
AMOUNTS = st.floats(1e-3, 1e3)


def attacks(member: type[Any], **options: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A share of the clients, or some that are named."""
    share = st.builds(member, share=st.floats(1e-6, 1), **options)
    return share | st.builds(member, clients=NAMED, **options)


SPECIAL: dict[type, st.SearchStrategy[Any]] = {
    Available: st.builds(Available, st.sampled_from(["day.json", "/data/a.csv"]), st.floats(0, 1e9)),
    DropOut: st.builds(DropOut, st.floats(1e-6, 1), NAMED | st.just("")),
    Edges: st.lists(st.from_regex("[0-4][->][5-9]", fullmatch=True), min_size=1).map(lambda edges: Edges(tuple(edges))),
    Gaussian: attacks(Gaussian, std=AMOUNTS),
    Groups: st.builds(Groups, st.sampled_from(["", "writers.txt", "/data/a+b.npy"])),
    LabelFlip: attacks(LabelFlip),
    Networkx: st.builds(
        Networkx,
        st.sampled_from(["gnp_random_graph", "petersen_graph"]),
        st.lists(st.sampled_from(["n", "3", "0.5", "true"])).map(tuple),
        st.integers(0, 9),
        st.booleans(),
    ),
    Portions: st.lists(st.integers(1, 100), min_size=1, max_size=5).map(lambda counts: Portions(portions(counts))),
    QSGD: st.builds(QSGD, st.integers(1, 2**15 - 1), st.integers(1, 10**9)),
    ScaledUpdate: attacks(ScaledUpdate, factor=AMOUNTS),
    SignFlip: attacks(SignFlip, scale=AMOUNTS),
    Step: st.builds(Step, RISING.map(lambda places: tuple(sorted(places))), st.floats(1e-3, 1)),
    TrimmedMean: st.builds(TrimmedMean, st.floats(0, 0.5, exclude_max=True)),
}


@cache
def drawn(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type."""
    if isinstance(kind, type) and issubclass(kind, Value):
        return st.one_of([members(member) for member in kind.family.members.values()])
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    if args := get_args(kind):
        return st.one_of([drawn(part) for part in args])
    if kind is str:  # a strategy's deadline
        return st.sampled_from(["", "30s", "1.5h"])
    return {bool: st.booleans(), int: st.integers(1, 10**9), float: st.floats(1e-6, 1, exclude_max=True)}[kind]


@cache
def members(member: type[Any]) -> st.SearchStrategy[Any]:
    """Objects of a registered class with all its fields drawn."""
    if member in SPECIAL:
        return SPECIAL[member]
    kinds = get_type_hints(member)
    return st.builds(member, **{field.name: drawn(kinds[field.name]) for field in fields(member)})


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.__name__)
@settings(deadline=None)
@given(data=st.data())
def test_every_member_reads_back_as_itself(member: type[Value], data: st.DataObject) -> None:
    value = data.draw(members(member))
    assert value.family.parse(str(value)) == value


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=str)
@settings(  # single takes no options
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow]
)
@given(data=st.data())
def test_every_strategy_reads_back_as_itself(strategy: type[Strategy], data: st.DataObject) -> None:
    kinds = get_type_hints(strategy)
    chosen = data.draw(st.sets(st.sampled_from([field.name for field in fields(strategy)])))
    options = {name: data.draw(drawn(kinds[name])) for name in sorted(chosen)}
    try:
        value = strategy(**options)
    except UserError:  # not all options go together
        reject()
    assert parse_strategy(str(value)) == value


@dataclass(frozen=True)
class Shape(Value):
    pass


SHAPES: Family[Shape] = Family("shape", Shape)


@SHAPES.register("box")
@dataclass(frozen=True)
class Box(Shape):
    width: float
    height: float = 1.0
    closed: bool = False
    kind: Literal["plain", "fancy"] = "plain"


@SHAPES.register("path")
@dataclass(frozen=True)
class Path(Shape):
    points: tuple[int, ...]
    scale: float = 1.0


@given(NUMBERS, NUMBERS, st.booleans(), st.sampled_from(["plain", "fancy"]))
def test_scalars_of_every_kind_read_back(width: float, height: float, closed: bool, kind: Any) -> None:
    box = Box(width, height, closed, kind)
    assert SHAPES.parse(str(box)) == box


@given(st.lists(st.integers(), min_size=1).map(tuple), NUMBERS)
def test_tuples_read_back(points: tuple[int, ...], scale: float) -> None:
    path = Path(points, scale)
    assert SHAPES.parse(str(path)) == path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("box:2", Box(2.0)),
        (" box : 2 , 3 ", None),
        ("box:2,3", Box(2.0, 3.0)),
        ("box:2,closed=TRUE", Box(2.0, closed=True)),
        ("box:height=3,width=2", Box(2.0, 3.0)),
        ("path:1,2,3", Path((1, 2, 3))),
        ("path:1,2,scale=0.5", Path((1, 2), 0.5)),
    ],
)
def test_ways_to_write(text: str, value: Shape | None) -> None:
    if value is None:
        with pytest.raises(UserError):
            SHAPES.parse(text)
    else:
        assert SHAPES.parse(text) == value


def test_defaults_are_not_written() -> None:
    assert str(Box(2.0)) == "box:2.0"
    assert str(Box(2.0, kind="fancy")) == "box:2.0,kind=fancy"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ball", "unknown shape 'ball': choose from box:WIDTH, path:POINTS"),
        ("box", "shape 'box': needs width (a number)"),
        ("path", "shape 'path': needs points (a list, each a whole number)"),
        ("box:wide", "shape 'box:wide': width must be a number, not 'wide'"),
        ("box:1,2,true,fancy,3", "too many values; it takes width, height, closed, kind"),
        ("box:1,depth=3", "has no 'depth'; it takes width, height, closed, kind"),
        ("box:1,width=2", "width is given twice"),
        ("box:1,closed=perhaps", "closed must be true or false, not 'perhaps'"),
        ("box:1,kind=odd", "kind must be plain or fancy, not 'odd'"),
        ("path:1,x", "points must be a whole number, not 'x'"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        SHAPES.parse(text)
    assert message in str(caught.value)


def test_unions_take_the_first_that_fits_and_leave_out_none() -> None:
    assert read("period", int | Literal["epoch"], "3") == 3
    assert read("period", int | Literal["epoch"], "epoch") == "epoch"
    assert read("shape", Shape | None, "box:1") == Box(1.0)
    with pytest.raises(UserError, match=r"^period must be a whole number or epoch, not 'x'$"):
        read("period", int | Literal["epoch"] | None, "x")


@given(NUMBERS)
def test_no_digit_is_lost(number: float) -> None:
    value = SHAPES.parse(str(Box(number)))
    assert isinstance(value, Box)
    assert math.copysign(1, value.width) == math.copysign(1, number)
    assert value.width == number
