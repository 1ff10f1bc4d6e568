"""Live quality of a window: what the store has of it, counted by the database, and the estimates of `monitoring/quality`."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from model_export.bundle.bundle import BundleError, read_manifest
from monitoring.quality.report import Promise, Report, Window, measure
from monitoring.quality.sample import Population
from stream.review.store.facts import Queue
from stream.review.store.figures import Total
from stream.review.store.likeness import digest
from stream.review.store.sampling import Drawn, LeftOut

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
WINDOW_DAYS = 30


class Source(Protocol):
    """What is asked of the store."""

    def drawn(self, since_ms: int, until_ms: int) -> Drawn:
        """Decisions that people were to be asked about."""

    def totals(self, since_ms: int, until_ms: int) -> Iterable[Total]:
        """All published decisions by hour."""

    def queue(self) -> Queue:
        """Figures of the queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveQuality:
    """
    Live quality at a moment.

    Attributes:
        since_ms: Begin of the window, Unix milliseconds.
        until_ms: Its end.
        labels: The labels that the bundles of most of the newest decisions have.
        report: The estimates; None where nothing was drawn for people.
        left_out: What the estimates leave out.
        queue: What waits for people.
    """

    since_ms: int
    until_ms: int
    labels: tuple[str, ...]
    report: Report | None
    left_out: LeftOut
    queue: Queue

    @property
    def days(self) -> float:
        """The length of the window."""
        return (self.until_ms - self.since_ms) / DAY_MS


def promise_in(folder: Path, bundle: int | None) -> Promise | None:
    """
    What a bundle promises, as its own manifest certifies.

    Args:
        folder: Of a bundle.
        bundle: Digest of the digest of the bundle that decided.

    Returns:
        None where the folder has another bundle, or none, or where nothing is certified of all labels.
    """
    try:
        manifest, found = read_manifest(folder)
    except BundleError:
        return None
    if digest(found) != bundle:
        return None
    whole, labels = manifest.threshold, manifest.thresholds.values()
    if whole.promise is not None and whole.certified:
        least = whole.floor if whole.floor is not None else whole.target_precision
        return Promise(accuracy=whole.target_precision, least=least)
    if labels and all(one.certified for one in labels):
        # Where each label has it, all of them together have it.
        least = min(one.target_precision for one in labels)
        return Promise(accuracy=least, least=least)
    return None


def live_quality(
    store: Source, *, now_ms: int, bundle: Path, days: float = WINDOW_DAYS, promise: float | None = None
) -> LiveQuality:
    """
    Estimate the quality of the last days.

    Args:
        store: The review console's.
        now_ms: End of the window, Unix milliseconds.
        days: Its length. It begins with a full hour, since the store counts decisions by the hour.
        bundle: Folder of a bundle. If it is the one that decided, its certificate is the promise that the figures are judged by.
        promise: Another promise, of all that is published and of each label, 0 to 1.

    Raises:
        DatabaseUnavailableError: The database does not answer.
    """
    since_ms = int(now_ms - days * DAY_MS) // HOUR_MS * HOUR_MS
    drawn = store.drawn(since_ms, now_ms)
    window = Window(
        sample=drawn.sample,
        population=population(store.totals(since_ms, now_ms), drawn),
        slices=drawn.slices,
        movable=drawn.movable,
    )
    judged_by = promise_in(bundle, drawn.bundle) if promise is None else Promise(accuracy=promise, least=promise)
    return LiveQuality(
        since_ms=since_ms,
        until_ms=now_ms,
        labels=drawn.labels,
        report=measure(window, promise=judged_by) if len(drawn.sample) else None,
        left_out=drawn.left_out,
        queue=store.queue(),
    )


def population(totals: Iterable[Total], drawn: Drawn) -> Population:
    """All decisions of the bundles that made the drawn ones."""
    place = {label: number for number, label in enumerate(drawn.labels)}
    decisions, probabilities = np.zeros((2, len(place))), np.zeros((2, len(place), len(place)))
    for total in totals:
        if total.model in drawn.models and total.tag in place and set(total.probability_sums) == set(place):
            cell = 0 if total.destination == "tagged" else 1, place[total.tag]
            decisions[cell] += total.decisions
            probabilities[cell] += [total.probability_sums[label] for label in drawn.labels]
    return Population(decisions=decisions, probabilities=probabilities)


def left_out(found: LiveQuality) -> str:
    """What the estimates do not use; empty where they use everything."""
    said = {
        "decisions of the keyword rules, or of bundles with other labels": found.left_out.other,
        "decisions that no worker makes (a probability that no draw gives, or a tag that is none of their labels)": found.left_out.unsound,
        "answers that follow from no decision which this console has read": found.left_out.strays,
    }
    named = [f"{count:,} {name}" for name, count in said.items() if count]
    return f"Left out: {'; '.join(named)}." if named else ""
