"""The trace context of a record: read as the W3C standard has it, and continued by an id that every delivery repeats."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import SpanContext, TraceFlags

from tagstream.stream.contract.event import Headers
from tagstream.stream.tracing.context import child_id, context_of, continued, traceparent
from tagstream.stream.tracing.trace_headers import MOST_BYTES, carried

TRACE = 0x0AF7651916CD43DD8448EB211C80319C
PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
IDS = st.integers(1, 2**64 - 1)


def parent(value: bytes = PARENT) -> SpanContext:
    """The context of this header."""
    found = context_of((("traceparent", value),))
    assert found is not None
    return found


def test_a_producers_context_is_read_with_its_state() -> None:
    """Ids, flag and `tracestate` are those of the headers; other headers do not matter."""
    found = context_of((("x", b"1"), ("tracestate", b"a=1"), ("traceparent", PARENT), ("tracestate", b"b=2")))
    assert found is not None
    assert (found.trace_id, found.span_id, found.trace_flags.sampled) == (TRACE, 0xB7AD6B7169203331, True)
    assert dict(found.trace_state) == {"a": "1", "b": "2"}
    assert found.is_remote


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"00-1",
        b"\xff\x00",
        PARENT.replace(b"af", b"AF"),
        PARENT[:-3],
        PARENT + b"-more",
        PARENT.replace(b"00-", b"ff-", 1),
        b"00-%032x-b7ad6b7169203331-01" % 0,
        b"00-0af7651916cd43dd8448eb211c80319c-%016x-01" % 0,
        None,
    ],
)
def test_a_malformed_context_is_none(value: bytes) -> None:
    """A header that the standard refuses begins and continues nothing."""
    assert context_of((("traceparent", value),)) is None


def test_two_contexts_contradict_each_other() -> None:
    """Of two headers neither is believed: the next reader may take the other one."""
    assert context_of((("traceparent", PARENT), ("traceparent", PARENT))) is None


@given(st.lists(st.tuples(st.sampled_from(["traceparent", "tracestate", "x"]), st.one_of(st.none(), st.binary(max_size=600)))))
def test_no_headers_raise(headers: list[tuple[str, bytes]]) -> None:
    """No header of a producer makes the reading of its context raise."""
    found = context_of(tuple(headers))
    assert found is None or found.is_valid


@given(span_id=IDS, name=st.text())
def test_a_child_is_the_same_at_every_delivery(span_id: int, name: str) -> None:
    """Context and outcome alone give the id; it is never the parent's, and never 0."""
    one, again = (SpanContext(TRACE, span_id, is_remote=True, trace_flags=TraceFlags(flag)) for flag in (0, 1))
    assert child_id(one, name) == child_id(again, name) not in {0, span_id}
    assert child_id(one, name) != child_id(one, name + "'")


def test_only_the_parent_of_the_outcome_changes() -> None:
    """Order, other headers and `tracestate` stay; trace and flag do too."""
    headers: Headers = (("x", b"1"), ("traceparent", PARENT), ("tracestate", b"a=1"), ("x", b"2"))
    found = continued(headers, parent(), 0xAB)
    assert found == (("x", b"1"), ("traceparent", PARENT.replace(b"b7ad6b7169203331", b"00000000000000ab")), *headers[2:])


@pytest.mark.parametrize(("given_flags", "passed"), [(b"01", b"01"), (b"03", b"03"), (b"ff", b"03"), (b"00", b"00")])
def test_flags_that_the_standard_does_not_know_are_not_passed_on(given_flags: bytes, passed: bytes) -> None:
    """`sampled` and `random` go on; the others mean nothing yet."""
    assert traceparent(parent(PARENT[:-2] + given_flags))[-2:] == passed


def test_a_request_gives_a_record_its_context_and_no_other_header() -> None:
    """Cookies and tokens of a request never reach a topic, nor do headers longer than the standard allows."""
    headers = [(b"authorization", b"secret"), (b"traceparent", PARENT), (b"tracestate", b"a=1"), (b"cookie", b"c")]
    assert carried(headers) == (("traceparent", PARENT), ("tracestate", b"a=1"))
    assert carried([(b"traceparent", b"0" * (MOST_BYTES + 1))]) == ()
