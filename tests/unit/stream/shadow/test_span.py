"""The words of a range: times, offsets, and what is neither."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.stream.shadow.span import SpanError, bound_of


@given(st.dictionaries(st.integers(0, 10**6), st.integers(0, 10**12), min_size=1, max_size=20))
def test_offsets_are_read_as_they_are_written(offsets: dict[int, int]) -> None:
    """Each partition has its own."""
    assert bound_of(",".join(f"{partition}:{offset}" for partition, offset in offsets.items()), "--since") == offsets


@pytest.mark.parametrize("text", ["yesterday", "0:", "1", "0:1,", "0:-1", "0:1;1:2", "2026-02-31T00:00Z", "0:1,0:2"])
def test_what_is_neither_a_time_nor_offsets_is_said(text: str) -> None:
    """With the option and the next step."""
    with pytest.raises(SpanError, match=r"^--until .*Next: "):
        bound_of(text, "--until")
