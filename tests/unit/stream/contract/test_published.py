"""A decision is read back from its topic as the worker had made it, with the event as it came."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.monitoring.vocabulary import Reason
from tagstream.stream.contract.event import ContentEvent, Record, decode
from tagstream.stream.contract.published import ModelDecision, PublishedDecision, read_decision
from tagstream.stream.contract.refusal import Refusal
from tests.answering import NOW_MS, SURE, UNSURE, audited, decided, shown
from tests.fakes import raw
from tests.replacing import replace

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
# Names of ours, names that only a reviewer's decision has, and foreign ones.
NAMES = st.sampled_from(
    [
        "tag",
        "tags",
        "confidence",
        "decider",
        "reasons",
        "overridden",
        "tagged_at",
        "version",
        "model_tag",
        "destination",
        "x",
        "",
    ]
)


@given(st.dictionaries(NAMES, JSON, max_size=6), st.sampled_from(["deployment", "maybe deployment"]))
def test_the_event_comes_back_whole(extra: dict[str, Any], title: str) -> None:
    """The event that is read from its decision has the fields that the worker read, under any names."""
    value = json.dumps({"id": "e", "title": title, **extra}).encode()
    event = decode(raw(value))
    if isinstance(event, Refusal):  # U+0000 or half a surrogate pair in some string.
        return
    found = shown(decided(value))
    assert {name: bytes(field) for name, field in found.event.fields.items()} == {
        name: bytes(field) for name, field in event.fields.items()
    }
    assert found.door == ("review" if title.startswith("maybe") else "tagged")
    assert (found.event.id, found.event.title) == ("e", title)


@pytest.mark.parametrize(
    ("record", "door", "probability"),
    [(decided(SURE), "tagged", None), (decided(UNSURE), "review", 1.0), (audited(decided(SURE), 0.25), "audit", 0.25)],
)
def test_the_door_is_known_by_the_fields(record: Record, door: str, probability: float | None) -> None:
    """A copy for an audit has a probability and no reasons; a topic may have any name."""
    found = shown(replace(record, topic="any"))
    decision = found.decision
    assert isinstance(decision, ModelDecision)
    assert (found.door, decision.inclusion_probability) == (door, probability)
    wire = json.loads(record.value or b"")
    assert {name: wire[name] for name in ("tag", "confidence", "probabilities", "prediction_id", "decider", "threshold")} == {
        name: getattr(decision, name)
        for name in ("tag", "confidence", "probabilities", "prediction_id", "decider", "threshold")
    }
    assert found.event.record.key == record.key


def test_tags_of_the_bundle_are_told_from_tags_of_the_producer() -> None:
    """A field `tags` is ours only where it stands behind `tag`."""
    own = decided(b'{"id":"e","title":"deployment","tags":"theirs"}')
    found = shown(own)
    assert isinstance(found.decision, ModelDecision)
    assert (found.decision.tags, found.event.fields["tags"]) == ((), msgspec.Raw(b'"theirs"'))

    given_ = replace(
        decided(SURE), value=(decided(SURE).value or b"").replace(b',"confidence"', b',"tags":["mlops"],"confidence"')
    )
    found = shown(given_)
    assert isinstance(found.decision, ModelDecision)
    assert found.decision.tags == ("mlops",)
    assert "tags" not in found.event.fields


def test_a_cloudevent_comes_back_with_its_envelope() -> None:
    """Source and envelope of a CloudEvent are fields of the event that was published."""
    value = b'{"specversion":"1.0","id":"c-1","source":"/blog","type":"t","data":{"title":"deployment"}}'
    found = shown(decided(value))
    assert (found.event.id, found.event.source) == ("c-1", "/blog")
    assert json.loads(bytes(found.event.fields["cloudevent"]))["type"] == "t"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"prediction_id": "p-1"}, Reason.WRONG_TYPE),
        ({"confidence": 2}, Reason.WRONG_TYPE),
        ({"decider": "friend"}, Reason.WRONG_TYPE),
        ({"decider": "reviewer"}, Reason.WRONG_TYPE),
        ({"model": None}, Reason.WRONG_TYPE),
        ({"tagged_at": "2023-02-31T00:00:00.000Z"}, Reason.WRONG_TYPE),
        ({"inclusion_probability": 0.0}, Reason.WRONG_TYPE),
        ({"probabilities": dict.fromkeys(map(str, range(1001)), 0.0)}, Reason.WRONG_TYPE),
        ({"reasons": ["x"] * 33, "inclusion_probability": 1.0}, Reason.WRONG_TYPE),
        ({"tag": "x" * 257}, Reason.WRONG_TYPE),
        ({"tags": ["x"] * 1001}, Reason.WRONG_TYPE),
        ({"title": None}, Reason.MISSING_TITLE),
        ({"id": None, "title": "a"}, None),
    ],
)
def test_a_record_that_is_no_decision_is_refused(changes: dict[str, Any], reason: Reason | None) -> None:
    """A record of another program is a refusal; an event without an id of its own was given one before it was published."""
    record = decided(SURE)
    found = read_decision(replace(record, value=json.dumps(json.loads(record.value or b"") | changes).encode()))
    assert (found.reason if isinstance(found, Refusal) else None) is reason


def test_what_a_producer_sends_has_no_such_bounds() -> None:
    """Its own `tags`, `reasons` and `model` are its own, and pass through however many there are."""
    value = {"id": "e", "title": "deployment", "tags": ["x"] * 2000, "reasons": ["x"] * 2000, "model": "m" * 2000}
    found = shown(decided(json.dumps(value).encode()))
    assert json.loads(bytes(found.event.fields["tags"])) == value["tags"]
    assert json.loads(bytes(found.event.fields["reasons"])) == value["reasons"]


@given(st.none() | st.binary() | st.text().map(str.encode))
def test_reading_is_total(value: bytes | None) -> None:
    """Any bytes are refused, and nothing is raised."""
    assert isinstance(read_decision(Record(key=None, value=value)), Refusal)


def test_an_event_at_the_deepest_level_comes_back() -> None:
    """A field that is nested as deep as an event may be, and moved aside for its name, is still read."""
    value = b'{"id":"e","title":"deployment","tag":' + b"[" * 31 + b"]" * 31 + b"}"
    assert isinstance(decode(raw(value)), ContentEvent)
    found = read_decision(decided(value, now_ms=NOW_MS))
    assert isinstance(found, PublishedDecision)
    assert bytes(found.event.fields["tag"]) == b"[" * 31 + b"]" * 31
