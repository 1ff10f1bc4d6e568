"""The progress of a bundle that was started from labels in words: its answers, their certificates, and the missing answers."""

import math
from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np

from tagstream.model_export.bundle.manifest import ALWAYS_ASK, LabelThreshold, Manifest
from tagstream.model_export.bundle.promise.promise import Promise
from tagstream.model_export.calibrate import joint
from tagstream.model_export.calibrate.certificate import risk_of
from tagstream.model_export.calibrate.joint import DecidedRows
from tagstream.model_export.data import random_half
from tagstream.model_export.data.own.labels import RECORD as LABELS
from tagstream.model_export.data.row import Row
from tagstream.monitoring.quality.words import QualityTable

# The entry of `training` in a manifest.
RECORD = "answered"
# The multiples of the present answers that are tried. With more than the largest, there is no estimate.
TIMES = (1.1, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0)


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """
    The answers behind a bundle.

    Attributes:
        answers: Number of people's answers, by label.
        by_lot: Number of answers about drawn events (the random half).
        looks: The number of times that certificates have been made from the answers, with this bundle's.
        missing: The estimated number of further answers, drawn or not, that would certify all published decisions together. None if they
            are certified, or if there is no estimate.
    """

    answers: dict[str, int]
    by_lot: int
    looks: int = 1
    missing: int | None = None


def looks_at(manifest: Manifest) -> int:
    """Return the number of times that certificates have been made from a bundle's answers; 0 for a first bundle, which has no answers."""
    kept = manifest.training.get(RECORD)
    return 0 if kept is None else msgspec.convert(kept, type=Progress).looks


def record(
    rows: Sequence[Row], decided: DecidedRows, labels: Sequence[str], asked: Promise, *, look: int = 1
) -> dict[str, object]:
    """
    Return the entry of a manifest.

    Args:
        rows: The answers.
        decided: The answers about drawn events, with predictions by heads that have not seen them.
        labels: The bundle's labels.
        asked: The promise.
        look: The number of times that certificates have been made from the answers, with this time.
    """
    counts = Counter(row.tag for row in rows)
    progress = Progress(
        answers={label: counts[label] for label in labels},
        by_lot=len(decided.said),
        looks=look,
        missing=missing(decided, len(labels), asked, look=look),
    )
    return {RECORD: msgspec.to_builtins(progress)}


def missing(decided: DecidedRows, labels: int, asked: Promise, *, look: int = 1) -> int | None:
    """
    Estimate the number of further answers that would certify the promise of all published decisions, if they are like the present answers.

    The next look would prove it, which has a smaller part of the level. `random_half.SHARE` of the further answers is taken to be about drawn events.

    Args:
        decided: The answers about drawn events.
        labels: The number of labels.
        asked: The promise.
        look: As for `record`.
    """
    rows = len(decided.said)
    for times in (1.0, *TIMES) if rows else ():
        more = decided.take(np.arange(round(rows * times)) % rows)
        risk = risk_of(look if times == 1.0 else look + 1)
        if joint.choose(more, labels, target=asked.precision, floor=asked.least, risk=risk) is not None:
            return None if times == 1.0 else math.ceil((times - 1.0) * rows / random_half.SHARE)
    return None


def table(manifest: Manifest) -> QualityTable | None:
    """
    Return the progress of a bundle, label by label; None for a bundle that was not started from labels in words.

    Args:
        manifest: The bundle's manifest.
    """
    if LABELS not in manifest.training:
        return None
    progress = msgspec.convert(manifest.training.get(RECORD, {"answers": {}, "by_lot": 0}), type=Progress)
    return QualityTable(
        title=f"{manifest.name} {manifest.version}: what the answers certify",
        head=("label", "answers", "published", "a certificate of its own"),
        rows=tuple(
            (
                label,
                f"{progress.answers.get(label, 0):,}",
                "no" if own.confidence == ALWAYS_ASK else f"from {own.confidence} on",
                _own(own),
            )
            for label, own in manifest.thresholds.items()
        ),
        note=f"{_whole(manifest, progress)} Certificates rest on the answers that were asked by lot: {progress.by_lot:,} of "
        f"{sum(progress.answers.values()):,}.",
    )


def _whole(manifest: Manifest, progress: Progress) -> str:
    """Return the certificate of all published decisions together, or what is missing for it."""
    whole = manifest.threshold
    if whole.certified or whole.promise is None:
        return f"{whole.sentence()}."
    if not progress.by_lot:
        return "No precision is certified, so all events go to people."
    nothing = "No precision is certified, so all events go to people."
    if progress.missing is None:
        return f"{nothing} How many answers are missing for {whole.target_precision} cannot be said yet."
    return f"{nothing} For {whole.target_precision} about {progress.missing:,} more answers would do, if they are like these."


def _own(own: LabelThreshold) -> str:
    if own.certified:
        return f"{own.target_precision}, from {own.confidence} on"
    if own.labels_needed is None:
        return f"no: too few of its decisions are right for {own.target_precision}"
    # `labels_needed` counts answers about drawn events to which the model gives this label.
    return f"no: about {math.ceil(own.labels_needed / random_half.SHARE):,} more answers about it for {own.target_precision}"
