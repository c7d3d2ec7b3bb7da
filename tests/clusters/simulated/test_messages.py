"""The inbox of a node against a plain list."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from manyhands.clusters.effects import Message
from manyhands.clusters.simulated.messages import _Inbox, _Posted


@settings(derandomize=True, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.integers(0, 3)), st.tuples(st.just("take"), st.none() | st.integers(0, 3))
        )
    )
)
def test_an_inbox_gives_the_first_that_is_asked_for(steps: list[tuple[str, Any]]) -> None:
    inbox, pending = _Inbox(), list[_Posted]()
    for number, (step, source) in enumerate(steps):
        if step == "put":
            posted = _Posted(Message(source, (), number), size=0, at=number, progress=0.0)
            inbox.put(posted)
            pending.append(posted)
        else:
            fitting = [posted for posted in pending if source in (None, posted.message.source)]
            expected = fitting[0] if fitting else None
            assert inbox.take(source) is expected
            pending = [posted for posted in pending if posted is not expected]
        assert len(inbox) == len(pending)
