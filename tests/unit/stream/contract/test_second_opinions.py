"""The contract of `second`: what is written of an opinion, and what is read from the topic."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.monitoring.vocabulary import NoOpinion
from tagstream.stream.contract.answers import AnsweredEvent, read_answer, tagged_by_reviewer
from tagstream.stream.contract.distinct import Distinct
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import SecondDecision
from tagstream.stream.contract.published import ModelDecision
from tagstream.stream.contract.refusal import Refusal, UnwritableError
from tagstream.stream.contract.second_opinions import SecondOpinion, read_opinion, write_opinion
from tests.answering import NOW_MS, UNSURE, answer, decided, of_epoch, published, reviewed
from tests.opinions import OF_A_BUNDLE, OF_AN_ENDPOINT, settled


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


def test_the_decision_that_follows_is_read_as_it_was_made() -> None:
    """It has the model's probabilities, names what it replaces, and its bytes are the same at every publication, but for the clock."""
    item = decided(UNSURE)
    first, again = settled(item), settled(item, now_ms=NOW_MS + 5)
    found, before = published(first), published(item)
    assert isinstance(found.decision, SecondDecision)
    assert isinstance(before.decision, ModelDecision)
    made = found.decision
    assert (found.door, made.tag, made.model_tag, made.decider) == ("tagged", "mlops", before.decision.tag, "second")
    assert made.confidence == before.decision.probabilities["mlops"]
    assert (made.probabilities, made.model, made.supersedes) == (
        before.decision.probabilities,
        before.decision.model,
        before.decision.prediction_id,
    )
    assert made.prediction_id not in (before.decision.prediction_id, made.supersedes)
    assert found.event.fields == before.event.fields
    assert first.value is not None
    assert again.value is not None
    clock = b',"tagged_at":'
    assert first.value.rpartition(clock)[0] == again.value.rpartition(clock)[0]
    assert first.value != again.value


def test_an_events_own_fields_of_our_names_come_back() -> None:
    """`version` is ours on a person's decision alone, `supersedes` on both."""
    event = b'{"id":"e-2","title":"maybe deployment","supersedes":1,"version":"of the producer","tag":"news"}'
    record = settled(decided(event))
    assert json.loads(record.value or b"")["overridden"] == {"supersedes": 1, "tag": "news"}
    assert json.loads(record.value or b"")["version"] == "of the producer"
    assert {name: json.loads(bytes(raw)) for name, raw in published(record).event.fields.items()} == json.loads(event)


def test_it_stands_above_every_model_and_below_every_person() -> None:
    """Whatever the epochs and the times."""
    item = decided(UNSURE)
    models = [decided(UNSURE, by=of_epoch(number), now_ms=NOW_MS + 10_000_000) for number in (1, 1_000_000_000)]
    seconds = [settled(item), settled(models[0], at_ms=NOW_MS + 1)]
    answered = read_answer(reviewed(item, answer(item, "other", now_ms=NOW_MS - 10_000)))
    assert isinstance(answered, AnsweredEvent)
    key, value, headers, _ = tagged_by_reviewer(answered, NOW_MS - 10_000)
    person = Record(topic="tagged", key=key, value=value, headers=headers)
    expected = [item, *models, *seconds, person]
    assert sorted([*expected[3:], *expected[:3]], key=lambda one: published(one).standing) == expected


@given(st.permutations(range(4)))
def test_a_consumer_keeps_what_stands_highest_in_every_order(arrival: list[int]) -> None:
    """`Distinct` drops what comes too late."""
    item = decided(UNSURE)
    answered = read_answer(reviewed(item, answer(item, "other")))
    assert isinstance(answered, AnsweredEvent)
    key, value, headers, _ = tagged_by_reviewer(answered, NOW_MS)
    person = Record(topic="tagged", key=key, value=value, headers=headers)
    records = [item, decided(UNSURE, by=of_epoch(3)), settled(item), person]
    known = Distinct()
    through = [at for at in arrival if known.admit(records[at])]
    assert through == [at for place, at in enumerate(arrival) if at >= max(arrival[:place], default=0)]
