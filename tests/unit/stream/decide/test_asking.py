"""The tokens on tagged decisions: drawn by a hash of their own, the same at every delivery, and nothing at all while the setting is off."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.contract.asking import LAST_DAY, AskKeys, day_of, viewer_of
from tagstream.stream.contract.event import Limits, Record, weight
from tagstream.stream.contract.outcome import Publication, Tagged
from tagstream.stream.contract.published import DecidedEvent, read_decision
from tagstream.stream.decide.asking import Asking, asking_of
from tagstream.stream.decide.pipeline import Draw, Pipeline
from tagstream.stream.settings.loading import SettingsError, load
from tagstream.stream.shadow import published_check
from tests.fakes import RecordingObserver, deciding, raw

KEY = b"k" * 32
KEYS = AskKeys((KEY,))
ALL = Asking(draw=Draw(rate=1.0), keys=KEYS, most_bytes=Limits().max_outcome_bytes)
SURE = b'{"id":"a","title":"deployment"}'
DAY = 1_700_000_000_000 // 86_400_000


def published(
    *events: Record, ask: Asking | None = ALL, draw: Draw | None = None, at: float = 1_700_000_500.0
) -> list[Publication]:
    """The publications of these events by a pipeline that asks, or not."""
    pipeline = Pipeline(decider=deciding(), observer=RecordingObserver())
    pipeline.ask, pipeline.draw = ask, draw
    return pipeline.publications(events, clock=lambda: at)


def read(publication: Publication) -> DecidedEvent:
    """The publication as a reader of `tagged` finds it."""
    found = read_decision(Record(topic="tagged", key=publication.key, value=publication.value, headers=publication.headers))
    assert isinstance(found, DecidedEvent)
    return found


def test_an_asked_decision_is_the_same_bytes_with_a_token_before_the_time() -> None:
    """The token is of the event, the decision and the day of the event's record; key, headers and outcome do not change."""
    (asked,), (plain,) = published(raw(SURE)), published(raw(SURE), ask=None)
    assert isinstance(plain.outcome, Tagged)
    token = KEYS.token("a", plain.outcome.decision.prediction_id, DAY)
    assert asked.value is not None
    assert asked.value.replace(b'"ask":{"token":"%b"},' % token.encode(), b"") == plain.value
    assert list(json.loads(asked.value))[-2:] == ["ask", "tagged_at"]
    assert msgspec.structs.replace(asked, value=plain.value) == plain
    found = read(asked)
    assert found.decision.ask is not None
    assert (found.decision.ask.token, day_of(token)) == (token, DAY)
    assert "ask" not in found.event.fields


def test_a_redelivered_record_has_the_same_token() -> None:
    """It is delivered to another worker, on a later day: all bytes before `tagged_at` are the same."""
    values = [published(raw(SURE), at=at)[0].value or b"" for at in (1_700_000_000.0, 1_709_999_999.0)]
    first, second = (value.rpartition(b',"tagged_at"')[0] for value in values)
    assert b'"ask"' in first
    assert first == second


def test_only_a_tagged_decision_of_the_model_is_asked_about() -> None:
    """Not an event for reviewers, not a dead letter; and the blind copy on `audit` has no token."""
    events = [raw(b'{"title":"maybe image"}'), raw(b"{"), raw(SURE)]
    found = published(*events, draw=Draw(rate=1.0))
    assert [b'"ask":' in (one.value or b"") for one in found] == [False, False, True]
    assert found[2].audit is not None
    assert b'"ask":' not in found[2].audit
    assert found[0].destination is Destination.REVIEW


@pytest.mark.parametrize("own", [b'"mine"', b'{"token":"%b"}' % (b"A" * 24), b"null"])
def test_a_field_ask_of_the_producer_passes_through_and_gets_no_token(own: bytes) -> None:
    """With the setting on or off: its bytes stay, and a reader takes it for a field of the event."""
    event = raw(b'{"id":"a","ask":%b,"title":"deployment"}' % own)
    (asked,), (plain,) = published(event), published(event, ask=None)
    assert asked == plain
    assert read(asked).decision.ask is None
    assert bytes(read(asked).event.fields["ask"]) == own


@pytest.mark.parametrize("timestamp_ms", [None, -1, (LAST_DAY + 1) * 86_400_000])
def test_an_event_without_a_day_gets_no_token(timestamp_ms: int | None) -> None:
    """Such a token would never be too old."""
    (found,) = published(msgspec.structs.replace(raw(SURE), timestamp_ms=timestamp_ms))
    assert b'"ask":' not in (found.value or b"")


def test_a_token_never_makes_an_outcome_too_large() -> None:
    """A decision that fits only without a token is published without one."""
    (plain,) = published(raw(SURE), ask=None)
    most = weight(plain.key, plain.value, plain.headers)
    (found,) = published(raw(SURE), ask=Asking(draw=Draw(rate=1.0), keys=KEYS, most_bytes=most))
    assert found == plain


def test_the_draw_is_independent_of_the_audits(tmp_path: Path) -> None:
    """Of the events that an audit at the same rate draws, about the rate is asked, as of all others."""
    keys = tmp_path / "keys"
    keys.write_bytes(KEY)
    keys.chmod(0o600)
    settings = load({}, {"ask_rate": 0.5, "security": {"ask_keys_file": str(keys)}}, tmp_path).settings
    asking, audit = asking_of(settings), Draw(rate=0.5, salt=settings.audit_salt)
    assert asking.keys == KEYS
    both = [
        (asking.draw.inclusion_probability(name, "other"), audit.inclusion_probability(name, "other"))
        for name in (f"event-{number}" for number in range(4_000))
    ]
    counts = [both.count((one, other)) for one in (None, 0.5) for other in (None, 0.5)]
    assert min(counts) > 900, counts


def test_a_rate_without_a_key_is_refused_with_the_next_step(tmp_path: Path) -> None:
    """No worker starts that would have to leave all tokens out."""
    with pytest.raises(
        SettingsError, match=r"ask_rate = 0\.1 .*security\.ask_keys_file is not set\. Next: .*openssl rand -hex 32"
    ):
        load({"TAGSTREAM_ASK_RATE": "0.1"}, folder=tmp_path)


@given(st.text(max_size=30), st.text(max_size=30), st.integers(0, LAST_DAY), st.integers(0, 23), st.sampled_from("AZaz09-_"))
def test_a_token_is_of_one_event_one_decision_and_one_day(event_id: str, other: str, day: int, place: int, letter: str) -> None:
    """With another event, decision, key or character it is no token."""
    first, second = "56cf42d5-89f5-55af-a5d8-1add448c8a2b", "8e45d1f9-a147-5944-9a2d-1255e85c5bc0"
    token = KEYS.token(event_id, first, day)
    changed = token[:place] + letter + token[place + 1 :]
    assert KEYS.key_of(token, event_id, first) == KEY
    assert KEYS.key_of(changed, event_id, first) == (KEY if changed == token else None)
    assert KEYS.key_of(token, other, first) == (KEY if other == event_id else None)
    assert KEYS.key_of(token, event_id, second) is None
    assert AskKeys((b"o" * 32,)).key_of(token, event_id, first) is None


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_any_text_is_a_token_or_none(text: str) -> None:
    """Nothing raises, and no invented text is a token."""
    assert KEYS.key_of(text, "a", "p") is None
    assert 0 <= day_of(text) <= LAST_DAY


def test_a_mark_is_kept_as_another_digest_on_each_decision() -> None:
    """Nobody can follow a viewer from one decision to the next, nor test a guessed mark without the key."""
    kept = {viewer_of(key, decision, "mark") for key in (KEY, b"o" * 32) for decision in ("p-1", "p-2")}
    assert len(kept) == 4
    assert all(len(one) == 32 for one in kept)


def test_a_shadow_of_the_champion_finds_an_asked_decision_equal() -> None:
    """It decides without the keys, so its own decision has no token."""
    (asked,), (plain,) = published(raw(SURE)), published(raw(SURE), ask=None, at=1_700_009_999.0)
    contents = {published_check._content(one.value or b"", "tagged") for one in (asked, plain)}
    assert len(contents) == 1
