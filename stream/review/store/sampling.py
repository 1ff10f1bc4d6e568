"""What estimates ask of drawn decisions: kept beside the items, and summed by the database, so that a million take little memory."""

import json
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from sqlalchemy import ColumnElement, Connection, and_, case, func, not_, or_, select

from monitoring.quality.sample import NO_ANSWER, Bools, Sample
from monitoring.vocabulary import LEAST_INCLUSION, MAX_SOURCE_CHARACTERS, OFF_SUBJECT, ReviewReason
from stream.database.inserting import Row
from stream.review.store.database.tables import items, samples
from stream.review.store.facts import is_short
from stream.review.store.likeness import digest

CONFIDENCE_STEPS = 200
# The labels of a window are those that most of its newest decisions have, of so many: one record decides nothing.
NEWEST = 200
# Rows are taken from the database so many at a time.
AT_ONCE = 5000
# Names of slices come from events: the most frequent ones are shown.
MOST_VALUES = 12
NAMES = {"": "(none)", True: "short text", False: "longer text"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """
    Records that estimates do not use.

    Attributes:
        other: Drawn decisions of the keyword rules, or of bundles with other labels.
        unsound: Drawn decisions that no worker makes: with a probability that no draw gives, or a tag that is none of their labels.
        strays: Answers that follow from no decision that was read from its own topic.
    """

    other: int = 0
    unsound: int = 0
    strays: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """
    What people were to be asked about in a span, answered or not: decisions that the store knows from their own topics.

    Attributes:
        labels: Of the bundles that decided; empty where nothing was drawn.
        models: Names and versions of these bundles.
        bundle: Digest of the digest of the bundle that made most of the newest decisions; None where nothing was drawn.
        sample: The decisions; those that are alike are one row.
        movable: Whether low confidence alone sent the row to people, [n].
        slices: `source`, `language` and `length`, each to its most frequent values, each with what of it was drawn and published.
        left_out: What is not used.
    """

    labels: tuple[str, ...]
    models: frozenset[str]
    bundle: int | None
    sample: Sample
    movable: Bools
    slices: Mapping[str, Mapping[str, Sample]]
    left_out: LeftOut


class _Model(msgspec.Struct, frozen=True):
    digest: str = ""


class _Before(msgspec.Struct):
    decider: str = "model"
    model: _Model = _Model()


def sample_row(row: Row) -> Row:
    """What an estimate asks of an item's row; nobody has answered it yet."""
    # Everything on `review` is asked about.
    inclusion = 1.0 if row["inclusion_probability"] is None else row["inclusion_probability"]
    labels = json.loads(row["probabilities"])
    before = msgspec.json.decode(row["before"], type=_Before)
    return {name: row[name] for name in ("event_id", "tagged_ms", "in_audit", "in_review", "seen", "model", "model_tag")} | {
        "by_model": before.decider == "model",
        "bundle": digest(before.model.digest),
        "sound": LEAST_INCLUSION <= inclusion <= 1 and row["model_tag"] in labels and OFF_SUBJECT not in labels,
        "labels": label_digest(labels),
        "step": min(CONFIDENCE_STEPS - 1, int(row["confidence"] * CONFIDENCE_STEPS)),
        "inclusion": inclusion,
        "movable": json.loads(row["reasons"]) == [ReviewReason.LOW_CONFIDENCE],
        "source": (row["source"] or "")[:MAX_SOURCE_CHARACTERS],
        "language": (row["language"] or "")[:MAX_SOURCE_CHARACTERS],
        "short": is_short(row["title"], row["description"]),
        "strays": 0,
    }


# Of a newer decision on the event.
SAMPLED = tuple(column.name for column in samples.columns if column.name not in {"event_id", "first", "truth", "strays"})


def label_digest(labels: Any) -> int:
    """A digest of a bundle's labels in any order."""
    return digest(json.dumps(sorted(labels)))


def drawn(connection: Connection, since_ms: int, until_ms: int) -> Drawn:
    """What people were to be asked about in a span."""
    asked = _asked(since_ms, until_ms)
    labels, bundle = _newest(connection, asked)
    same = samples.c.labels == label_digest(labels)
    used = and_(asked, samples.c.by_model, same, samples.c.sound)
    sample, movable = _sampled(connection, labels, used, samples.c.labels).get(
        label_digest(labels), _as_sample(labels, array("d"))
    )
    return Drawn(
        labels=labels,
        models=frozenset(connection.execute(select(samples.c.model).where(used).distinct()).scalars()),
        bundle=bundle,
        sample=sample,
        movable=movable,
        slices={
            "source": _by_value(connection, labels, used, samples.c.source),
            "language": _by_value(connection, labels, used, samples.c.language),
            "length": _by_value(connection, labels, used, samples.c.short),
        },
        left_out=_left_out(connection, since_ms, until_ms, same),
    )


def _left_out(connection: Connection, since_ms: int, until_ms: int, same: ColumnElement[bool]) -> LeftOut:
    asked, fit = _asked(since_ms, until_ms), and_(samples.c.by_model, same)
    counts = [and_(asked, not_(fit)), and_(asked, fit, not_(samples.c.sound))]
    sums = [*(func.sum(case((which, 1), else_=0)) for which in counts), func.sum(samples.c.strays)]
    other, unsound, strays = connection.execute(select(*sums).where(_in_span(since_ms, until_ms))).one()
    return LeftOut(other=int(other or 0), unsound=int(unsound or 0), strays=int(strays or 0))


def _newest(connection: Connection, asked: ColumnElement[bool]) -> tuple[tuple[str, ...], int | None]:
    """The labels, in their bundle's order, and the bundle that most of the newest decisions have."""
    by_model = and_(asked, samples.c.by_model, samples.c.sound)
    newest = select(samples.c.labels, samples.c.bundle).where(by_model).order_by(samples.c.tagged_ms.desc()).limit(NEWEST)
    found = connection.execute(newest).tuples().all()
    if not found:
        return (), None
    [(labels, _)] = Counter(labels for labels, _ in found).most_common(1)
    [(bundle, _)] = Counter(bundle for of, bundle in found if of == labels).most_common(1)
    one = select(items.c.probabilities).join(samples, samples.c.event_id == items.c.event_id)
    newest_one = one.where(by_model, samples.c.labels == labels).order_by(samples.c.tagged_ms.desc()).limit(1)
    return tuple(json.loads(connection.execute(newest_one).scalar_one())), bundle


def _by_value(
    connection: Connection, labels: tuple[str, ...], used: ColumnElement[bool], column: ColumnElement[Any]
) -> dict[str, Sample]:
    """The most frequent values of a slice, each with what was published of it."""
    published = and_(used, samples.c.in_audit)
    most = select(column).where(published).group_by(column).order_by(func.count().desc(), column).limit(MOST_VALUES)
    shown = connection.execute(most).scalars().all()
    found = _sampled(connection, labels, and_(published, column.in_(shown)), column)
    return {NAMES.get(value, value): found[value][0] for value in shown}


def _sampled(
    connection: Connection, labels: tuple[str, ...], used: ColumnElement[bool], column: ColumnElement[Any]
) -> dict[Any, tuple[Sample, Bools]]:
    """
    Decisions by the value of a column, those that are alike as one row.

    With each sample comes, whether low confidence alone sent a row to people, [n].
    """
    place = {label: number for number, label in enumerate(labels)}
    numbers = place | {OFF_SUBJECT: len(labels), None: NO_ANSWER}
    kinds = [samples.c[name] for name in ("in_audit", "model_tag", "step", "inclusion", "movable", "first", "truth")]
    counted = select(column, *kinds, func.count()).where(used).group_by(column, *kinds)
    rows = connection.execution_options(stream_results=True, yield_per=AT_ONCE).execute(counted)
    columns: dict[Any, array[float]] = {}
    for value, published, model_tag, step, inclusion, movable, first, truth, count in rows:
        numbered = (published, place[model_tag], step, inclusion, movable, numbers[first], numbers[truth], count)
        columns.setdefault(value, array("d")).extend(numbered)
    return {value: _as_sample(labels, flat) for value, flat in columns.items()}


def _as_sample(labels: tuple[str, ...], flat: "array[float]") -> tuple[Sample, Bools]:
    published, predicted, step, inclusion, movable, first, truth, count = np.array(flat).reshape(-1, 8).T
    sample = Sample(
        labels=labels,
        published=published.astype(np.bool_),
        predicted=predicted.astype(np.int64),
        confidence=(step + 0.5) / CONFIDENCE_STEPS,
        inclusion=inclusion,
        first=first.astype(np.int64),
        truth=truth.astype(np.int64),
        count=count.astype(np.int64),
    )
    return sample, movable.astype(np.bool_)


def _in_span(since_ms: int, until_ms: int) -> ColumnElement[bool]:
    return and_(samples.c.tagged_ms >= since_ms, samples.c.tagged_ms < until_ms)


def _asked(since_ms: int, until_ms: int) -> ColumnElement[bool]:
    """A decision that people were to be asked about, as its own topic says."""
    return and_(_in_span(since_ms, until_ms), samples.c.seen, or_(samples.c.in_audit, samples.c.in_review))
