"""The texts of a measurement, as records: labelled ones that give each arm its F1, and others that make up the number."""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tagstream.model_export.data import madewithml, splits
from tagstream.model_export.data.row import Row
from tagstream.stream.contract.event import Record

SEED = 17
GOLD, OTHER = "gold", "text"
# Every second event is a gold row. At most so many different ones: the slowest arm decides each of them once in every round.
GOLD_ROWS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """
    The texts of a measurement.

    Attributes:
        name: Where they come from.
        parts: The rows to learn from, for the rivals' model.
        gold: Rows that no model has seen, whose labels give the F1.
        others: Rows that are only decided.
    """

    name: str
    parts: splits.Splits
    gold: tuple[Row, ...]
    others: tuple[Row, ...]


class Event(msgspec.Struct, frozen=True):
    """An event as the arms read it: the whole text stands in `title`, so that no arm composes it."""

    id: str
    title: str


def load(data_folder: Path | None) -> Material:
    """
    Made With ML's rows, gold from its holdout; without a folder, the authored corpus and the topics of it that are held back.

    Raises:
        DataError: A file is missing or differs from its sum.
    """
    parts = splits.load(data_folder)
    if data_folder is None:
        return Material(name="the authored corpus", parts=parts, gold=parts.corpus_test, others=parts.train)
    others = tuple(madewithml.rows(data_folder, madewithml.DATASET))
    return Material(name="Made With ML's titles and descriptions", parts=parts, gold=parts.holdout, others=others)


def events(material: Material, count: int, *, prefix: str = "") -> Iterator[tuple[Event, Row]]:
    """
    The first so many events, with their rows, of one sequence that never changes and never ends.

    Gold rows and others take turns, each in an order drawn once, again and again: the mix is the same however many events are taken. No
    text comes twice: from the second time on, the number of the round stands behind a row's text. A gold row's label counts the first
    time alone, so that arms with `enough` events or more have their F1 from the same rows.

    Args:
        material: The texts.
        count: How many.
        prefix: Before each id, to tell runs on one topic apart.
    """
    golden, others = _drawn(material.gold)[:GOLD_ROWS], _drawn(material.others)
    turns = itertools.chain.from_iterable(zip(itertools.cycle(golden), itertools.cycle(others), strict=False))
    for number, row in enumerate(itertools.islice(turns, count)):
        kind = GOLD if number % 2 == 0 and number < 2 * len(golden) else OTHER
        again = number // 2 // len(golden if number % 2 == 0 else others)
        yield Event(id=f"{prefix}{kind}-{number}", title=f"{row.text} {again}" if again else row.text), row


def _drawn(rows: Sequence[Row]) -> list[Row]:
    """Them in another order, always the same."""
    return random.Random(SEED).sample(rows, len(rows))  # noqa: S311 - reproducible


def enough(material: Material) -> int:
    """So many events have every gold row that counts."""
    return 2 * min(GOLD_ROWS, len(material.gold))


def event_bytes(material: Material, count: int) -> float:
    """The mean bytes of so many input records: key and value."""
    return sum(len(value_of(event)) + len(event.id) for event, _ in events(material, count)) / count


def is_gold(event_id: str) -> bool:
    """
    Whether this event's label counts for the F1.

    >>> [is_gold(name) for name in ("gold-3", "r1-gold-3", "text-3")]
    [True, True, False]
    """
    return GOLD in event_id.split("-")


def value_of(event: Event) -> bytes:
    """The bytes of a record."""
    return msgspec.json.encode(event)


class Outcome(msgspec.Struct, frozen=True):
    """The part of an arm's outcome that every arm writes."""

    id: str
    tag: str


def outcome_of(record: Record) -> Outcome | None:
    """The decision that an arm has written; None where it is no decision, as in a dead letter."""
    try:
        return msgspec.json.decode(record.value or b"", type=Outcome)
    except msgspec.DecodeError:
        return None
