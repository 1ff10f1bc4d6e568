"""The sample for the estimates, and the totals. The database keeps both and sums them, so a million rows take little memory."""

import json
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from sqlalchemy import ColumnElement, Connection, and_, case, func, literal_column, not_, or_, select, tuple_

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
# The number of newest decisions that determine a window's labels: most of them have these labels, so that one record decides nothing.
NEWEST = 200
# The most combinations of bundle, epoch and arm that are told apart: the newest ones.
MOST_DECIDERS = 1000
DAY_MS = 24 * 3_600_000
# The number of rows that are taken from the database at a time.
AT_ONCE = 5000
# The most values of a slice that are shown: the most frequent ones, because the names come from events.
MOST_VALUES = 12
ARMS = frozenset(Arm)
NAMES = {"": "(none)", True: "short text", False: "longer text"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """
    The numbers of records that estimates do not use.

    Attributes:
        other: Drawn decisions of rules, or of models with other labels.
        unsound: Drawn decisions that no worker makes: no draw gives their probability, or their tag is not one of their labels.
        strays: Answers to decisions that were not read from their own topics.
    """

    other: int = 0
    unsound: int = 0
    strays: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedBy:
    """
    The origin of decisions: a bundle, an epoch, and an arm of the epoch.

    Attributes:
        bundle: A digest of the bundle's digest.
        digest: The bundle's digest.
        model: The bundle's name and version.
        epoch: 0 before the first change of the stream's model.
        arm: `champion`, `challenger` or `fallback`; empty before the first change.
    """

    bundle: int
    digest: str
    model: str
    epoch: int
    arm: str

    @property
    def key(self) -> tuple[int, int, str]:
        """The values of the columns `bundle`, `epoch` and `arm`."""
        return self.bundle, self.epoch, self.arm


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """
    The decisions of a span that were to be asked about, answered or not. Only decisions that were read from their own topics count.

    Attributes:
        labels: The labels of the bundles that decided; empty if nothing was drawn.
        models: Names and versions of the bundles that decided.
        bundle: The digest of the bundle that made most of the newest decisions; None if nothing was drawn.
        decided_by: The origins of the decisions, the newest first.
        sample: The decisions. Equal decisions are one row.
        movable: True for a row that low confidence alone sent to people, [n].
        slices: For `source`, `language` and `length`: the most frequent values, each with its drawn decisions that were published.
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
        hour_ms: The start of the hour, Unix milliseconds.
        destination: `tagged` or `review`.
        model: Name and version of the bundle.
        bundle: A digest of the bundle's digest.
        epoch: 0 before the first change of the model.
        arm: Empty before the first change.
        tag: The model's tag.
        source: The events' source; empty for events without a source, `(others)` after the first fifty sources.
        language: The events' language; empty and `(others)` as in `source`.
        short: True if the texts have at most six words.
        decisions: The number of decisions.
        confidence_sum: The sum of the decisions' confidences.
        probability_sums: The sums of the decisions' probabilities, by label.
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
    """Return the row of `samples` for a row of `items` without an answer."""
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
    """Return bundle, epoch and arm of a decision, as columns in this order. An arm that workers do not have becomes empty."""
    return {"bundle": digest(model.digest), "epoch": model.epoch_number, "arm": model.arm if model.arm in ARMS else ""}


def bundle_rows(models: Iterable[ModelRef]) -> list[Row]:
    """Return the rows of `bundles` for these models."""
    return [{"bundle": digest(one), "digest": one} for one in sorted({model.digest for model in models})]


# The columns that a newer decision on the event replaces.
SAMPLED = tuple(column.name for column in samples.columns if column.name not in {"event_id", "first", "truth", "strays"})


def label_digest(labels: Any) -> int:
    """Return a digest of a bundle's labels. The order of the labels does not matter."""
    return digest(json.dumps(sorted(labels)))


class Samples:
    """The sums for estimates. Each method raises `DatabaseUnavailableError` when the database does not answer in time."""

    def __init__(self, database: Database) -> None:
        """Use a database that has the tables of the store."""
        self._database = database

    def drawn(self, since_ms: int, until_ms: int) -> Drawn:
        """Return the decisions of a span that were to be asked about, answered or not. Equal decisions are one row."""
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

    def since_first_change(self, since_ms: int, until_ms: int, labels: tuple[str, ...]) -> tuple[DecidedBy, ...]:
        """Return the origins of a span's decisions after the first change of the model, drawn or not, the newest epoch first."""
        names = "bundle", "model", "epoch", "arm"
        counted = and_(totals.c.hour_ms >= since_ms, totals.c.hour_ms < until_ms, totals.c.arm != "")
        same = and_(samples.c.by_model, samples.c.labels == label_digest(labels), samples.c.sound)
        drawn = and_(_asked(since_ms, until_ms), same, samples.c.arm != "")
        found = (
            select(*(totals.c[name] for name in names))
            .where(counted)
            .union(select(*(samples.c[name] for name in names)).where(drawn))
            .subquery()
        )
        known = select(found, bundles.c.digest).join(bundles, bundles.c.bundle == found.c.bundle)
        ordered = known.order_by(found.c.epoch.desc(), *(found.c[name] for name in names)).limit(MOST_DECIDERS)
        with self._database.reading() as connection:
            return tuple(DecidedBy(**row) for row in connection.execute(ordered).mappings())

    def of_each(
        self, since_ms: int, until_ms: int, labels: tuple[str, ...], groups: Sequence[Collection[DecidedBy]]
    ) -> list[Sample]:
        """
        Return the drawn decisions of a span for each group.

        Args:
            since_ms: The start of the span, Unix milliseconds.
            until_ms: The end of the span, Unix milliseconds.
            labels: The labels of the decisions that are used.
            groups: Origins of decisions. Each origin is in at most one group.
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

    def by_day(self, since_ms: int, until_ms: int, labels: tuple[str, ...]) -> Mapping[int, Sample]:
        """Return the drawn decisions of a span by the start of their day in UTC, Unix milliseconds."""
        return self._by(since_ms, until_ms, labels, day_of(samples.c.tagged_ms).label("day"))

    def by_bundle(self, since_ms: int, until_ms: int, labels: tuple[str, ...]) -> Mapping[int, Sample]:
        """Return the drawn decisions of a span by a digest of their bundle's digest."""
        return self._by(since_ms, until_ms, labels, samples.c.bundle)

    def _by(self, since_ms: int, until_ms: int, labels: tuple[str, ...], column: ColumnElement[Any]) -> Mapping[int, Sample]:
        same = samples.c.labels == label_digest(labels)
        used = and_(_asked(since_ms, until_ms), samples.c.by_model, same, samples.c.sound)
        with self._database.reading() as connection:
            return {int(value): sample for value, (sample, _) in _sampled(connection, labels, used, column).items()}

    def totals(self, since_ms: int, until_ms: int) -> Iterator[Total]:
        """Yield the published decisions by hour and slice, for the hours that begin in a span."""
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
    """Return the labels, in the bundle's order, and the bundle of most of the newest decisions."""
    by_model = and_(asked, samples.c.by_model, samples.c.sound)
    known = select(samples.c.labels, bundles.c.digest).join(bundles, bundles.c.bundle == samples.c.bundle)
    newest = known.where(by_model).order_by(samples.c.tagged_ms.desc()).limit(NEWEST)
    found = connection.execute(newest).all()
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
    """Return the most frequent values of a slice, each with its published decisions."""
    published = and_(used, samples.c.in_audit)
    most = select(column).where(published).group_by(column).order_by(func.count().desc(), column).limit(MOST_VALUES)
    shown = connection.execute(most).scalars().all()
    found = _sampled(connection, labels, and_(published, column.in_(shown)), column)
    return {NAMES.get(value, value): found[value][0] for value in shown}


def _sampled(
    connection: Connection, labels: tuple[str, ...], used: ColumnElement[bool], column: ColumnElement[Any]
) -> dict[Any, tuple[Sample, Bools]]:
    """
    Return the decisions by the value of a column. Equal decisions are one row.

    Each sample comes with an array [n]: True for a row that low confidence alone sent to people.
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


def day_of(moment: ColumnElement[int]) -> ColumnElement[int]:
    """Return the start of a moment's day in UTC, both in Unix milliseconds."""
    # As a literal: PostgreSQL takes two parameters with one value for two expressions, and does not group by the second one.
    return moment - moment % literal_column(str(DAY_MS))


def _in_span(since_ms: int, until_ms: int) -> ColumnElement[bool]:
    return and_(samples.c.tagged_ms >= since_ms, samples.c.tagged_ms < until_ms)


def _asked(since_ms: int, until_ms: int) -> ColumnElement[bool]:
    """Return the condition that people were to be asked about the decision, and that it was read from its own topic."""
    return and_(_in_span(since_ms, until_ms), samples.c.seen, or_(samples.c.in_audit, samples.c.in_review))
