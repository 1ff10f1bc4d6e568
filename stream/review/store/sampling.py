"""The sample that estimates are made of, and the totals: kept beside the items, and summed by the database, so that a million take little memory."""

import json
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from sqlalchemy import ColumnElement, Connection, and_, case, func, not_, or_, select, tuple_

from tagstream.model_export.data.duplicates import digest
from tagstream.monitoring.limits import LEAST_INCLUSION
from tagstream.monitoring.quality.sample import NO_ANSWER, Bools, Sample
from tagstream.monitoring.vocabulary import OF_CONFIDENCE, OFF_SUBJECT, Arm
from tagstream.stream.contract.field_types import MAX_SOURCE_CHARACTERS
from tagstream.stream.contract.outcome import ModelRef
from tagstream.stream.database.database import Database, Row
from tagstream.stream.review.store.records import KeptBefore, is_short
from tagstream.stream.review.store.schema import bundles, items, samples, totals

CONFIDENCE_STEPS = 200
# The labels of a window are those that most of its newest decisions have, of so many: one record decides nothing.
NEWEST = 200
# Bundles, epochs and arms that are told apart: the newest.
MOST_DECIDERS = 1000
# Rows are taken from the database so many at a time.
AT_ONCE = 5000
# Names of slices come from events: the most frequent ones are shown.
MOST_VALUES = 12
ARMS = frozenset(Arm)
NAMES = {"": "(none)", True: "short text", False: "longer text"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """
    Records that estimates do not use.

    Attributes:
        other: Drawn decisions of rules, or of models with other labels.
        unsound: Drawn decisions that no worker makes: with a probability that no draw gives, or a tag that is none of their labels.
        strays: Answers that follow from no decision that was read from its own topic.
    """

    other: int = 0
    unsound: int = 0
    strays: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedBy:
    """
    Who decided: a bundle in an epoch, and in an arm of it.

    Attributes:
        bundle: A digest of the bundle's digest.
        digest: The bundle's.
        model: Its name and version.
        epoch: 0 before the first change of the model of the stream.
        arm: `champion`, `challenger` or `fallback`; empty before the first change.
    """

    bundle: int
    digest: str
    model: str
    epoch: int
    arm: str

    @property
    def key(self) -> tuple[int, int, str]:
        """As tables have it."""
        return self.bundle, self.epoch, self.arm


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """
    The decisions about which people were to be asked in a span, answered or not: those that the store knows from their own topics.

    Attributes:
        labels: Of the bundles that decided; empty where nothing was drawn.
        models: Names and versions of these bundles.
        bundle: Digest of the bundle that made most of the newest decisions; None where nothing was drawn.
        decided_by: Who made them, the newest first.
        sample: The decisions; those that are alike are one row.
        movable: Whether low confidence alone sent the row to people, [n].
        slices: `source`, `language` and `length`, each to its most frequent values, each with what of it was drawn and published.
        left_out: The records that are not used.
    """

    labels: tuple[str, ...]
    models: frozenset[str]
    bundle: str | None
    decided_by: tuple[DecidedBy, ...]
    sample: Sample
    movable: Bools
    slices: Mapping[str, Mapping[str, Sample]]
    left_out: LeftOut


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """
    The decisions of one hour and slice, each counted once.

    Attributes:
        hour_ms: When the hour began.
        destination: `tagged` or `review`.
        model: Name and version of the bundle.
        bundle: A digest of the bundle's digest.
        epoch: 0 before the first change of the model.
        arm: Empty before the first change.
        tag: The model's.
        source: The event's source; empty where it has none, `(others)` behind the first fifty.
        language: Likewise.
        short: The text has six words at most.
        decisions: How many.
        confidence_sum: The sum of their confidences.
        probability_sums: By label, the sums of their probabilities.
    """

    hour_ms: int
    destination: str
    model: str
    bundle: int
    epoch: int
    arm: str
    tag: str
    source: str
    language: str
    short: bool
    decisions: int
    confidence_sum: float
    probability_sums: Mapping[str, float]


def sample_row(row: Row) -> Row:
    """The row of `samples` for a row of `items` without an answer."""
    # Everything on `review` is asked about.
    inclusion = 1.0 if row["inclusion_probability"] is None else row["inclusion_probability"]
    labels, reasons = json.loads(row["probabilities"]), json.loads(row["reasons"])
    before = msgspec.json.decode(row["before"], type=KeptBefore)
    kept: Row = {name: row[name] for name in ("event_id", "tagged_ms", "in_audit", "in_review", "seen", "model", "model_tag")}
    return {
        **kept,
        **deciding(before.model),
        "by_model": before.decider == "model",
        "sound": LEAST_INCLUSION <= inclusion <= 1 and row["model_tag"] in labels and OFF_SUBJECT not in labels,
        "labels": label_digest(labels),
        "step": min(CONFIDENCE_STEPS - 1, int(row["confidence"] * CONFIDENCE_STEPS)),
        "inclusion": inclusion,
        "movable": bool(reasons) and set(reasons) <= OF_CONFIDENCE,
        "source": (row["source"] or "")[:MAX_SOURCE_CHARACTERS],
        "language": (row["language"] or "")[:MAX_SOURCE_CHARACTERS],
        "short": is_short(row["title"], row["description"]),
        "strays": 0,
    }


def deciding(model: ModelRef) -> Row:
    """Bundle, epoch and arm of a decision, as columns in this order; whatever is no arm of a worker's is none."""
    return {"bundle": digest(model.digest), "epoch": model.epoch_number, "arm": model.arm if model.arm in ARMS else ""}


def bundle_rows(models: Iterable[ModelRef]) -> list[Row]:
    """The rows of `bundles` for these."""
    return [{"bundle": digest(one), "digest": one} for one in sorted({model.digest for model in models})]


# Of a newer decision on the event.
SAMPLED = tuple(column.name for column in samples.columns if column.name not in {"event_id", "first", "truth", "strays"})


def label_digest(labels: Any) -> int:
    """A digest of a bundle's labels in any order."""
    return digest(json.dumps(sorted(labels)))


class Samples:
    """The sums that estimates ask of the store. Each method raises `DatabaseUnavailableError` when the database does not answer within its bound."""

    def __init__(self, database: Database) -> None:
        """Of a database that has the tables of the store."""
        self._database = database

    def drawn(self, since_ms: int, until_ms: int) -> Drawn:
        """The decisions about which people were to be asked in a span, answered or not; those that are alike are one row."""
        with self._database.reading() as connection:
            asked = _asked(since_ms, until_ms)
            labels, bundle = _newest(connection, asked)
            same = samples.c.labels == label_digest(labels)
            used = and_(asked, samples.c.by_model, same, samples.c.sound)
            decided_by = _decided_by(connection, used)
            sample, movable = _sampled(connection, labels, used, samples.c.labels).get(
                label_digest(labels), _as_sample(labels, array("d"))
            )
            return Drawn(
                labels=labels,
                models=frozenset(one.model for one in decided_by),
                bundle=bundle,
                decided_by=decided_by,
                sample=sample,
                movable=movable,
                slices={
                    "source": _by_value(connection, labels, used, samples.c.source),
                    "language": _by_value(connection, labels, used, samples.c.language),
                    "length": _by_value(connection, labels, used, samples.c.short),
                },
                left_out=_left_out(connection, since_ms, until_ms, same),
            )

    def of_each(
        self, since_ms: int, until_ms: int, labels: tuple[str, ...], groups: Sequence[Collection[DecidedBy]]
    ) -> list[Sample]:
        """
        The drawn decisions of a span that each group has made.

        Args:
            since_ms: Begin of the span.
            until_ms: Its end.
            labels: Of the decisions that are used.
            groups: Nobody is in two of them.
        """
        if not groups:
            return []
        key = tuple_(samples.c.bundle, samples.c.epoch, samples.c.arm)
        same = samples.c.labels == label_digest(labels)
        used = and_(_asked(since_ms, until_ms), samples.c.by_model, same, samples.c.sound)
        numbers = [(key.in_([one.key for one in group]), number) for number, group in enumerate(groups)]
        everyone = key.in_([one.key for group in groups for one in group])
        with self._database.reading() as connection:
            found = _sampled(connection, labels, and_(used, everyone), case(*numbers).label("made_by"))
        return [found[number][0] if number in found else _as_sample(labels, array("d"))[0] for number in range(len(groups))]

    def totals(self, since_ms: int, until_ms: int) -> Iterator[Total]:
        """The published decisions by hour and slice, of the hours that begin in a span; they are taken one after another."""
        found = select(totals).where(totals.c.hour_ms >= since_ms, totals.c.hour_ms < until_ms).order_by(*totals.primary_key)
        with self._database.reading() as connection:
            streamed = connection.execution_options(stream_results=True, yield_per=AT_ONCE)
            for row in streamed.execute(found).mappings():
                yield Total(**{**row, "probability_sums": json.loads(row["probability_sums"])})


def _left_out(connection: Connection, since_ms: int, until_ms: int, same: ColumnElement[bool]) -> LeftOut:
    asked, fit = _asked(since_ms, until_ms), and_(samples.c.by_model, same)
    counts = [and_(asked, not_(fit)), and_(asked, fit, not_(samples.c.sound))]
    sums = [*(func.sum(case((which, 1), else_=0)) for which in counts), func.sum(samples.c.strays)]
    other, unsound, strays = connection.execute(select(*sums).where(_in_span(since_ms, until_ms))).one()
    return LeftOut(other=int(other or 0), unsound=int(unsound or 0), strays=int(strays or 0))


def _decided_by(connection: Connection, used: ColumnElement[bool]) -> tuple[DecidedBy, ...]:
    who = (samples.c.bundle, bundles.c.digest, samples.c.model, samples.c.epoch, samples.c.arm)
    found = select(*who).join(bundles, bundles.c.bundle == samples.c.bundle).where(used).group_by(*who)
    rows = connection.execute(found.order_by(func.max(samples.c.tagged_ms).desc(), *who).limit(MOST_DECIDERS)).mappings()
    return tuple(DecidedBy(**row) for row in rows)


def _newest(connection: Connection, asked: ColumnElement[bool]) -> tuple[tuple[str, ...], str | None]:
    """The labels, in their bundle's order, and the bundle that most of the newest decisions have."""
    by_model = and_(asked, samples.c.by_model, samples.c.sound)
    known = select(samples.c.labels, bundles.c.digest).join(bundles, bundles.c.bundle == samples.c.bundle)
    newest = known.where(by_model).order_by(samples.c.tagged_ms.desc()).limit(NEWEST)
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
