"""The contract of `outcomes`: what a consumer may write, and what is read from the topic."""

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.stream.contract.consumer_outcomes import ConsumerOutcome, read_outcome, write_outcome
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.refusal import Refusal, UnwritableError

GOOD = {"event_id": "e-1", "name": "clicks", "value": 1.0, "at": "2023-11-14T22:13:20.123Z"}


def record(value: bytes | None) -> Record:
    """A record of `outcomes`."""
    return Record(topic="outcomes", key=b"e-1", value=value)


@pytest.mark.parametrize("value", [0.0, -2.5, 1e12])
def test_an_outcome_is_read_as_it_was_written(value: float) -> None:
    """A finite number keeps its value, in the contract's order; a field of a later version is ignored."""
    outcome = ConsumerOutcome(event_id="e-1", name="clicks", value=value, at=GOOD["at"])
    written = write_outcome(outcome)
    assert json.loads(written) == GOOD | {"value": value}
    assert read_outcome(record(written)) == outcome
    assert read_outcome(record(json.dumps(json.loads(written) | {"later": 1}).encode())) == outcome


@pytest.mark.parametrize(
    "changes",
    [
        {"value": "1"},
        {"value": True},
        {"value": None},
        {"value": math.nan},
        {"value": math.inf},
        {"value": 1e13},
        {"name": ""},
        {"name": "n" * 65},
        {"name": "two words"},
        {"name": "-clicks"},
        {"name": "clicks\n"},
        {"name": "\x1b[2J"},
        {"event_id": ""},
        {"event_id": "  "},
        {"event_id": "e" * 257},
        {"at": "2023-02-31T00:00:00.000Z"},
        {"at": "now"},
    ],
)
def test_what_is_no_outcome_is_refused_with_a_sentence(changes: dict[str, Any]) -> None:
    """Text, infinity, a name that is too long, a time that is none: neither read nor written."""
    found = read_outcome(record(json.dumps(GOOD | changes).encode()))
    assert isinstance(found, Refusal)
    assert len(found.message) > 10
    with pytest.raises(UnwritableError):
        write_outcome(ConsumerOutcome(**GOOD | changes))


def test_a_number_beyond_every_float_is_refused() -> None:
    """Its digits are strict JSON."""
    value = msgspec.json.encode(GOOD | {"value": msgspec.Raw(b"1e999")})
    assert isinstance(read_outcome(record(value)), Refusal)


@given(st.none() | st.binary() | st.text().map(str.encode))
def test_reading_is_total(value: bytes | None) -> None:
    """Any bytes are refused, and nothing is raised."""
    assert isinstance(read_outcome(record(value)), Refusal)
