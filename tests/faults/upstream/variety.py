"""The varied input of the fault runs: sizes, codecs, transactions, CloudEvents, and events without an id, a key, or an id of their own. Pure."""

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tagstream.stream.contract.event import DEFAULT_LIMITS
from tests.faults.inputs import SENT_AGAIN, Planted, Transaction, plant
from tests.replacing import replace

Fields = dict[str, Any]
Form = Callable[[Planted, Fields], Planted]

# The input is cut into so many runs of records, and each run is sent in one way.
RUNS = 40
CODECS = (None, "gzip", None, "snappy", None, "lz4", None, "zstd")
# Each such run is one transaction.
COMMITTED_EVERY = 5
# Records that are no events: they are in transactions that are aborted, or left open.
ABORTED, HUNG = 30, 20
ABORTED_BEFORE_RUNS, HUNG_BEFORE_RUN = (4, 17, 31), 34
# The share of the good events that have another form, and of the events that have another size.
FORMED_SHARE, SIZED_SHARE, LEAST_SIZED = 0.2, 0.0005, 4
# A value of so many bytes is decided; one byte more and it is refused.
MOST_BYTES = DEFAULT_LIMITS.max_bytes
# The titles change back and forth, which is drift.
ERAS = 10
TITLES = (
    (
        "Fine-tuning BERT for named entity recognition",
        "Real-time object detection with YOLO",
        "Deploying models with Kubernetes and MLflow",
        "Semantic segmentation of leaves with U-Net",
        "Sentiment analysis of reviews with transformers",
        "Überblick: Modelle für alles",
        "画像を読む網",
    ),
    ("Zymurgy for quokkas", "A limerick on the ossuary", "Palimpsest and portmanteau"),
)
# So few texts that the real model can decide all of them once more, offline.
TEXTS = 300


def varied(count: int, *, malformed: int, seed: str, first: int = 0) -> list[Planted]:
    """
    `count` events in an order that the seed fixes, and between them records of transactions that are not committed.

    Args:
        count: How many events, each with an outcome to expect.
        malformed: How many of them belong into the dead letters.
        seed: Fixes every choice.
        first: The number in the first id, as in `plant`.

    >>> planted = varied(1000, malformed=10, seed="a")
    >>> sum(one.is_event for one in planted), sum(one.is_event and one.event_id is None for one in planted)
    (1000, 10)
    >>> sorted({one.codec or "none" for one in planted}), max(len(one.value or b"") for one in planted)
    (['gzip', 'lz4', 'none', 'snappy', 'zstd'], 900001)
    """
    chance = random.Random(f"varied:{seed}")  # noqa: S311 - repeatable, not secret
    events = _formed(plant(count, malformed=malformed, seed=seed, first=first), chance)
    _resize(events, chance)
    return list(_in_runs(events, seed))


def _formed(planted: Sequence[Planted], chance: random.Random) -> list[Planted]:
    """The events with the titles of their time, and some of the good ones in another form."""
    events: list[Planted] = []
    single: Planted | None = None
    for number, one in enumerate(planted):
        if one.event_id is None:
            events.append(one)
            continue
        fields = json.loads(one.value or b"")
        fields |= _text(TITLES[number * ERAS // len(planted) % 2], chance.randrange(TEXTS), described="description" in fields)
        event = replace(one, value=_json(fields))
        if chance.random() >= FORMED_SHARE:
            single = event
        elif single is not None and chance.random() < 0.3:
            event, single = _of_one_id(single, fields, chance), None
        else:
            event = chance.choice(FORMS)(event, fields)
        events.append(event)
    return events


def _text(titles: Sequence[str], number: int, *, described: bool) -> Fields:
    title = f"{titles[number % len(titles)]}, part {number}"
    return {"title": title, "description": f"Number {number} of many."} if described else {"title": title}


# --- forms of a good event -----------------------------------------------------------------------------------------------


def _of_one_id(other: Planted, fields: Fields, chance: random.Random) -> Planted:
    """
    A second event with the id of another: the same bytes sent again, or other content.

    It has a header of its own.
    """
    value = other.value if chance.random() < 0.5 else _json(fields | {"id": other.event_id})
    return replace(other, value=value, headers=(*other.headers, SENT_AGAIN))


def _without_id(event: Planted, fields: Fields) -> Planted:
    """Without an id, the contract derives one from key and value."""
    value = _json({name: content for name, content in fields.items() if name != "id"} | {"number": event.event_id})
    return replace(event, value=value, event_id=id_of(event.key, value))


def id_of(key: bytes | None, value: bytes) -> str:
    """The id of an event without one, as docs/consumers.md promises it."""
    return "sha256-" + hashlib.sha256(b"%d:%b%b" % (len(key or b""), key or b"", value)).hexdigest()[:32]


def _structured(event: Planted, fields: Fields) -> Planted:
    envelope = {"specversion": "1.0", "id": event.event_id, "source": "/tests", "type": "made", "time": "2026-01-02T03:04:05Z"}
    data = {name: content for name, content in fields.items() if name != "id"}
    headers = (("content-type", b"application/cloudevents+json"), ("kept", b"1"))
    return replace(event, value=_json(envelope | {"data": data}), headers=headers)


def _binary(event: Planted, fields: Fields) -> Planted:
    headers = (
        ("ce_specversion", b"1.0"),
        ("ce_id", (event.event_id or "").encode()),
        ("ce_source", b"/tests"),
        ("ce_type", b"made"),
        ("kept", b"1"),
    )
    return replace(event, value=_json({name: content for name, content in fields.items() if name != "id"}), headers=headers)


def _with_odd_headers(event: Planted, _: Fields) -> Planted:
    return replace(event, headers=(("twice", b"1"), ("empty", b""), ("twice", b"\xff\x00"), ("ünïcode", "ä".encode())))


def _with_odd_key(event: Planted, fields: Fields) -> Planted:
    return replace(event, key=b"" if len(fields) % 2 else b"\x00\xff" + (event.event_id or "").encode())


def _with_fields_of_ours(event: Planted, fields: Fields) -> Planted:
    return replace(event, value=_json(fields | {"tag": "mine", "model": None, "tagged_at": "never"}))


FORMS: tuple[Form, ...] = (_without_id, _structured, _binary, _with_odd_headers, _with_odd_key, _with_fields_of_ours)


# --- sizes ---------------------------------------------------------------------------------------------------------------


def _resize(events: list[Planted], chance: random.Random) -> None:
    """Give some events, good and malformed, a size from a few bytes to the largest, each order of magnitude as often."""
    good = [place for place, one in enumerate(events) if _is_plain(one)]
    bad = [place for place, one in enumerate(events) if one.event_id is None and one.value is not None]
    count = max(LEAST_SIZED, int(len(events) * SIZED_SHARE))
    for number, place in enumerate(chance.sample(good, min(count, len(good)))):
        events[place] = _sized(events[place], MOST_BYTES if number == 0 else _size(chance), chance)
    for number, place in enumerate(chance.sample(bad, min(count // 2, len(bad)))):
        events[place] = replace(events[place], value=_malformed(number, chance))


def _is_plain(one: Planted) -> bool:
    return one.event_id is not None and one.event_id.startswith("event-") and (one.value or b"").startswith(b'{"id"')


def _size(chance: random.Random) -> int:
    return int(200 * (MOST_BYTES / 200) ** chance.random())


def _sized(event: Planted, size: int, chance: random.Random) -> Planted:
    fields = json.loads(event.value or b"") | {"description": ""}
    return replace(event, value=_json(fields | {"description": _filling(size - len(_json(fields)), chance)}))


def _malformed(number: int, chance: random.Random) -> bytes:
    """One byte; one byte more than the largest; else an object that breaks off."""
    if number == 0:
        return b"7"
    if number == 1:
        beginning = b'{"title": "'
        return beginning + b"a" * (MOST_BYTES + 1 - len(beginning) - 2) + b'"}'
    return b'{"id": "bad", "title": "' + _filling(_size(chance), chance).encode()


def _filling(size: int, chance: random.Random) -> str:
    """Text that a codec shortens to nearly nothing, or to a half."""
    if chance.random() < 0.5:
        return "word " * (size // 5) + "." * (size % 5)
    return chance.randbytes(size // 2).hex() + "." * (size % 2)


# --- ways to send --------------------------------------------------------------------------------------------------------


def _in_runs(events: Sequence[Planted], seed: str) -> Iterator[Planted]:
    """The events in runs with a codec each, some as one transaction; between them the records that are no events."""
    length = max(1, -(-len(events) // RUNS))
    for number in range(RUNS):
        run = events[number * length : (number + 1) * length]
        if number in ABORTED_BEFORE_RUNS:
            yield from _no_events(ABORTED, Transaction.ABORTED, f"{seed}:{number}", CODECS[number % len(CODECS)])
        if number == HUNG_BEFORE_RUN:
            yield from _no_events(HUNG, Transaction.HUNG, f"{seed}:{number}", None)
        # The bytes of an event that is too large are kept untouched only where its batch is not compressed.
        is_too_large = any(len(one.value or b"") > MOST_BYTES for one in run)
        codec = None if is_too_large else CODECS[number % len(CODECS)]
        transaction = Transaction.COMMITTED if number % COMMITTED_EVERY == 0 else None
        yield from (replace(one, codec=codec, transaction=transaction) for one in run)


def _no_events(count: int, transaction: Transaction, seed: str, codec: str | None) -> Iterator[Planted]:
    """Records that look like events, with ids of their own: an outcome of one of them is an outcome of no input."""
    for number in range(count):
        event_id = f"{transaction.value}-{seed}-{number}"
        value = _json({"id": event_id, "title": "In a transaction that is not committed"})
        yield Planted(event_id=event_id, key=None, value=value, codec=codec, transaction=transaction)


def _json(fields: Fields) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode()
