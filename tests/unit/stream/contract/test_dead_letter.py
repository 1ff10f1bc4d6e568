"""Dead letters that are read back: a replay is the original event with two more headers."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.monitoring.vocabulary import Reason, Stage
from tagstream.stream.contract.dead_letter import REPLAY_COUNT, REPLAYED_FROM, DeadLetter, Place, read, replayed
from tagstream.stream.contract.event import Headers, Limits, Record, weight
from tagstream.stream.contract.outcome import publish_all
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.dead_letters.replay import NotReplayed, not_replayed
from tagstream.stream.dead_letters.selection import DeadLetterArgumentError, Selection, place, since_ms
from tests.replacing import replace

OUR_NAMES = [
    "__streams.errors.exception",
    "__streams.errors.topic",
    "x-dlq-code",
    "x-dlq-stage",
    "x-dlq-null-key",
    "x-dlq-dropped",
    "x-dlq-length",
    REPLAY_COUNT,
    REPLAYED_FROM,
]
MAYBE_BYTES = st.one_of(st.none(), st.binary(max_size=40))
HEADERS: Any = st.lists(st.tuples(st.one_of(st.sampled_from(OUR_NAMES), st.text(max_size=8)), MAYBE_BYTES), max_size=12).map(
    tuple
)


def lying(event: Record, *, limits: Limits | None = None, offset: int = 42, topic: str = "content") -> Record:
    """The dead letter of an event as it is stored on the topic."""
    refusal = Refusal(stage=Stage.VALIDATE, reason=Reason.MISSING_TITLE, message="title is missing")
    (publication,) = publish_all([replace(event, topic=topic)], [refusal], 0, limits or Limits())
    return Record(
        topic="content.dlq",
        key=publication.key,
        value=publication.value,
        headers=publication.headers,
        partition=3,
        offset=offset,
        timestamp_ms=1_700_000_000_000,
    )


def event(key: bytes | None = b"k", value: bytes | None = b"{}", headers: Headers = ()) -> Record:
    """A record on `content`."""
    return Record(topic="content", partition=2, offset=77, timestamp_ms=5, key=key, value=value, headers=headers)


def letter(key: bytes | None = b"k", value: bytes | None = b"{}", headers: Headers = ()) -> DeadLetter:
    """The parsed dead letter of this record."""
    found = read(lying(event(key, value, headers)))
    assert found is not None
    return found


@given(MAYBE_BYTES, MAYBE_BYTES, HEADERS)
def test_a_replay_is_the_event_again(key: bytes | None, value: bytes | None, headers: Headers) -> None:
    """A replay has the producer's key, value and headers, under any header names, followed by two headers of ours."""
    found = letter(key, value, headers)
    sent = replayed(found, "content")
    assert (sent.topic, sent.key, sent.value, sent.headers[:-2]) == ("content", key, value, headers)
    assert sent.headers[-2:] == (
        (REPLAY_COUNT, b"%d" % (found.replays + 1)),
        (REPLAYED_FROM, b"content.dlq/3/42"),
    )


@given(MAYBE_BYTES, MAYBE_BYTES, HEADERS)
def test_a_dead_letter_is_read_from_the_workers_own_headers(key: bytes | None, value: bytes | None, headers: Headers) -> None:
    """A dead letter gives the worker's origin and reason, even where the producer used the same header names."""
    found = letter(key, value, headers)
    assert (found.origin_topic, found.origin, found.code, found.stage) == (
        "content",
        Place(partition=2, offset=77),
        "missing_title",
        "validate",
    )
    assert (found.message, found.dropped, found.attempts) == ("title is missing", (), found.replays + 1)


def test_a_replay_that_fails_again_counts_on() -> None:
    """Each of three rounds adds one replay and one attempt, and the next replay is refused at the limit."""
    headers: Headers = (("x", b"1"),)
    for number in range(4):
        found = letter(headers=headers)
        assert (found.replays, found.attempts) == (number, number + 1)
        refused = not_replayed(found, most_replays=3)
        assert (refused is not None) == (number == 3)
        headers = replayed(found, "content").headers
    assert refused is not None
    assert refused[0] is NotReplayed.TOO_OFTEN
    assert "3 times" in refused[1]
    assert headers[0] == ("x", b"1")


def test_a_letter_without_its_value_is_refused() -> None:
    """A dead letter whose value was left out cannot be replayed."""
    found = read(lying(event(value=b"x" * 300_000), limits=Limits(max_dead_letter_bytes=256 * 1024)))
    assert found is not None
    assert (found.dropped, found.length, found.size_bytes) == (("value",), 300_000, 300_000)
    refused = not_replayed(found, most_replays=3)
    assert refused is not None
    assert refused[0] is NotReplayed.INCOMPLETE
    assert "did not fit into the topic" in refused[1]


@pytest.mark.parametrize("most", [8 * 1024, 64 * 1024, 1_048_588])
def test_a_reference_fits_into_any_topic_that_a_worker_starts_with(most: int) -> None:
    """Key and headers are kept where the topic takes them; the reference itself always fits."""
    flood: Headers = tuple((f"header {number}", b"x" * 100) for number in range(500))
    sent = lying(event(key=b"k" * 60_000, value=b"x" * 2_000_000, headers=flood), limits=Limits(max_dead_letter_bytes=most))
    assert weight(sent.key, sent.value, sent.headers) <= most
    found = read(sent)
    assert found is not None
    assert (found.length, found.origin) == (2_000_000, Place(partition=2, offset=77))
    assert set(found.dropped) == ({"value"} if most > 100_000 else {"value", "key", "headers"})


def test_a_header_without_a_value_is_refused() -> None:
    """Kafka allows a header without a value and the client does not, so the replay is refused instead of changed."""
    refused = not_replayed(letter(headers=(("x", None),)), most_replays=3)  # type: ignore[arg-type]
    assert refused is not None
    assert refused[0] is NotReplayed.NULL_HEADER


@pytest.mark.parametrize("to", ["content", "elsewhere"])
def test_a_replay_goes_back_to_the_partition_of_its_event(to: str) -> None:
    """On the original topic the partition is the event's, and on another topic the key decides."""
    assert replayed(letter(), to).partition == (2 if to == "content" else -1)


@given(HEADERS.filter(lambda headers: not any(name == "__streams.errors.exception" for name, _ in headers)))
def test_a_record_without_our_headers_is_no_dead_letter(headers: Headers) -> None:
    """A record that another program wrote to the topic is not taken for a dead letter."""
    assert read(Record(topic="d", key=None, value=b"x", headers=headers)) is None


def test_a_selection_takes_the_dead_letters_that_pass_all_filters() -> None:
    """A dead letter is selected only if it passes every filter."""
    found = letter()
    fitting: dict[str, Any] = {"code": "missing_title", "stage": "validate", "since_ms": found.timestamp_ms, "partition": 3}
    assert Selection(**fitting, places=(Place(partition=3, offset=42),)).takes(found)
    others: dict[str, Any] = {"code": "empty", "stage": "decode", "since_ms": found.timestamp_ms + 1, "partition": 2}
    for name, other in others.items():
        assert not Selection(**{**fitting, name: other}).takes(found), name
    assert not Selection(places=(Place(partition=3, offset=41),)).takes(found)


@pytest.mark.parametrize("text", ["", "3", "3/", "/4", "a/b", "3/-1", "٣/٤", "3/4/5", "3/" + "9" * 30])
def test_a_malformed_place_is_refused(text: str) -> None:
    """The error for a malformed place shows how to write one."""
    with pytest.raises(DeadLetterArgumentError, match="PARTITION/OFFSET"):
        place(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", 1_000_000_000 - 90_000),
        ("15m", 1_000_000_000 - 900_000),
        ("7d", 1_000_000_000 - 604_800_000),
        ("999999999d", 0),
        ("1970-01-02T00:00:00+01:00", 82_800_000),
        ("1970-01-02T00:00:00", None),
        ("yesterday", None),
        ("2", None),
    ],
)
def test_a_moment_is_a_duration_or_a_time_with_its_offset(text: str, expected: int | None) -> None:
    """A time without a UTC offset is refused, because it would differ between machines."""
    if expected is None:
        with pytest.raises(DeadLetterArgumentError, match="RFC 3339"):
            since_ms(text, 1_000_000_000)
    else:
        assert since_ms(text, 1_000_000_000) == expected


def test_no_dead_letter_shows_event_text_in_its_repr() -> None:
    """The repr of a dead letter holds no event text, since it may appear in a traceback."""
    planted = b"zq7-planted"
    assert "zq7-planted" not in repr(letter(planted, planted, (("h", planted),)))
