"""The texts of a measurement, as records: labelled ones that give each arm its F1, and others that make up the number."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from model_export.data import madewithml, splits
from model_export.data.row import Row
from stream.contract.record import Record

SEED = 17
GOLD, OTHER = "gold", "text"


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
    So many events with their rows: every gold row once, if there is room, the others again and again, in an order that never changes.

    Args:
        material: The texts.
        count: How many.
        prefix: Before each id, to tell runs on one topic apart.
    """
    golden = [(GOLD, row) for row in material.gold[:count]]
    others = [(OTHER, row) for row in itertools.islice(itertools.cycle(material.others), count - len(golden))]
    mixed = [*golden, *others]
    random.Random(SEED).shuffle(mixed)  # noqa: S311 - reproducible
    for number, (kind, row) in enumerate(mixed):
        yield Event(id=f"{prefix}{kind}-{number}", title=row.text), row


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
    """What an arm has written; None where it is no decision, as in a dead letter."""
    try:
        return msgspec.json.decode(record.value or b"", type=Outcome)
    except msgspec.DecodeError:
        return None
