"""The contract of `second`: what is written of an opinion, and what is read from the topic."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.monitoring.vocabulary import NoOpinion
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.refusal import Refusal, UnwritableError
from tagstream.stream.contract.second_opinions import SecondOpinion, read_opinion, write_opinion
from tests.opinions import OF_A_BUNDLE, OF_AN_ENDPOINT


def record(value: bytes | None) -> Record:
    """A record of `second`."""
    return Record(topic="second", key=b"e-1", value=value)


def changed(opinion: SecondOpinion, **changes: Any) -> SecondOpinion:
    """The opinion with other fields."""
    return msgspec.structs.replace(opinion, **changes)


@pytest.mark.parametrize(
    "opinion",
    [OF_A_BUNDLE, OF_AN_ENDPOINT, *(changed(OF_AN_ENDPOINT, reason=reason.value) for reason in NoOpinion)],
    ids=lambda opinion: opinion.reason,
)
def test_an_opinion_is_read_as_it_was_written(opinion: SecondOpinion) -> None:
    """A label or any reason of the list, of a bundle or an endpoint; a field of a later version is ignored."""
    written = write_opinion(opinion)
    assert read_opinion(record(written)) == opinion
    assert read_opinion(record(json.dumps(json.loads(written) | {"later": 1}).encode())) == opinion


@pytest.mark.parametrize(
    "changes",
    [
        {"reason": "late"},
        {"label": None},
        {"label": ""},
        {"label": None, "reason": "late"},
        {"score": 1.5},
        {"bundle": None},
        {"endpoint": OF_AN_ENDPOINT.endpoint},
        {"bundle": msgspec.structs.replace(OF_A_BUNDLE.bundle, digest="a" * 63)},
        {"bundle": msgspec.structs.replace(OF_A_BUNDLE.bundle, digest="a" * 64 + "\n")},
        {"sent": ("title",) * 33},
        {"calls": -1},
        {"cost": -0.01},
        {"cost": float("nan")},
        {"cost": float("inf")},
        {"event_id": " "},
        {"prediction_id": "17"},
        {"decided_at": "2023-02-31T00:00:00.000Z"},
    ],
)
def test_what_contradicts_itself_or_is_out_of_bounds_is_refused(changes: dict[str, Any]) -> None:
    """A label beside a reason, neither, a score of nothing, money below zero: neither read nor written."""
    spoilt = changed(OF_A_BUNDLE, **changes)
    found = read_opinion(record(msgspec.json.encode(spoilt)))
    assert isinstance(found, Refusal)
    assert len(found.message) > 10
    with pytest.raises(UnwritableError):
        write_opinion(spoilt)


def test_a_reason_of_a_later_version_is_read_and_not_written() -> None:
    """The list is closed for writers of this version alone."""
    later = changed(OF_AN_ENDPOINT, reason="a_later_one")
    assert read_opinion(record(msgspec.json.encode(later))) == later
    with pytest.raises(UnwritableError, match="reason is none of"):
        write_opinion(later)


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "other.example:443"},
        {"model_asked": "larger"},
        {"model": "large-2026"},
        {"fingerprint": "fp_1"},
        {"temperature": 0.5},
        {"prompt_digest": "c" * 64},
    ],
)
def test_an_endpoint_that_changes_in_anything_is_another(changes: dict[str, Any]) -> None:
    """Its identity covers every field; who answered and what it cost do not change it."""
    other = changed(OF_AN_ENDPOINT, endpoint=msgspec.structs.replace(OF_AN_ENDPOINT.endpoint, **changes))
    assert other.identity != OF_AN_ENDPOINT.identity
    assert changed(OF_AN_ENDPOINT, event_id="e-2", cost=1.0).identity == OF_AN_ENDPOINT.identity
    assert OF_A_BUNDLE.identity == "a" * 64


@given(st.none() | st.binary() | st.text().map(str.encode))
def test_reading_is_total(value: bytes | None) -> None:
    """Any bytes are refused, and nothing is raised."""
    assert isinstance(read_opinion(record(value)), Refusal)
