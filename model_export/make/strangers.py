"""
The part of a bundle that knows texts of none of its labels: fitted to its network's vectors and tokens, with a limit certified on texts of the labels.

The limit is the figure that few ordinary texts exceed: of the texts of the labels that would be published, at most `MOST_LOST` are above
it, with 95 % certainty, in each group of texts that is large enough. Texts that were learned from are judged by fits without their topic.

How far a neighbour of own labels is, their rows say: each label is a stranger to the others, so every label is left out of a fit once, and
its rows are judged by that fit. It chooses nothing, and the record says how many of these neighbours are within the limit.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.stats import beta

from tagstream.model_export.bundle.model import SCORE_DECIMALS, STRANGENESS, Classifier, OodLimits, Prediction
from tagstream.model_export.calibrate.crossfit import cross_fit
from tagstream.model_export.data import real, strangers
from tagstream.model_export.data.corpus import NOT_ML
from tagstream.model_export.data.row import Row
from tagstream.model_export.data.splits import Splits
from tagstream.model_export.make.network import Network
from tagstream.model_export.measure.gate import foreign
from tagstream.model_export.onnx import heads, parity, strangeness
from tagstream.model_export.onnx.strangeness import Columns, Flags, Floats, StrangenessRecipe
from tagstream.model_export.train import batches

logger = logging.getLogger(__name__)

Ints = npt.NDArray[np.int64]

# Of the texts of the labels that would be published, the largest share that the limit may send to people.
MOST_LOST = 0.01
LEVEL = 0.95
# Texts that show how far the file's figure is from the one before rounding.
ROUNDED_TEXTS = 256
DECIMALS = 6
FOLDS = 4
# Labels are left out in so many groups, since a fit for each of a hundred takes too long.
GROUPS = 5
# The gate of an encoder that has seen no label.
NEAR = StrangenessRecipe(rare_count=True, centres=12)
# The part of `training` in a manifest that is the record of the gate.
RECORD = "strangers"
CALIBRATION = "calibration"
# The part of it about labels that were left out.
NEIGHBOURS = "neighbours"


@dataclass(frozen=True, slots=True, kw_only=True)
class Strangers:
    """
    The texts that a gate learns from, beside the training rows.

    Attributes:
        none: Texts of none of the labels.
        ours: Further texts of the labels.
        by_label: A column for each label, which knows its texts from all others; one column of all labels unless set.
        neighbours: Each label is left out in turn, and its texts are judged as a neighbour's. The encoder must have seen no label.
        most_lost: Of the texts of the labels that would be published, the largest share that the limit may send to people, 0 to 1.
        fit: Every number of the fit.
        digests: The SHA-256 of the files that they are from, by name.
    """

    none: tuple[Row, ...]
    ours: tuple[Row, ...] = ()
    by_label: bool = False
    neighbours: bool = False
    most_lost: float = MOST_LOST
    fit: StrangenessRecipe = field(default_factory=StrangenessRecipe)
    digests: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StrangersGate:
    """
    A fitted gate.

    Attributes:
        network: The network with it.
        ours: The texts of the labels that it has learned from, training rows first.
        none: The texts of none of the labels that it has learned from.
        unseen: The strangeness of both, in this order, by fits without their topics, in logit units.
        left_out: That of the texts of the labels by fits without their label; empty where no label was left out.
        most_lost: The largest share that the limit may lose.
        record: How it was fitted.
    """

    network: Network
    ours: tuple[Row, ...]
    none: tuple[Row, ...]
    unseen: Floats
    left_out: Floats
    most_lost: float
    record: dict[str, object]

    def judged(self, rows: Sequence[Row], predictions: Sequence[Prediction]) -> list[Prediction]:
        """
        Predictions with the strangeness that a fit gives which has not learned from the row.

        Args:
            rows: The rows.
            predictions: One a row.
        """
        by_text = dict(zip((row.text for row in (*self.ours, *self.none)), self.unseen.tolist(), strict=True))
        return [
            msgspec.structs.replace(found, strangeness=round(by_text[row.text], SCORE_DECIMALS))
            if row.text in by_text
            else found
            for row, found in zip(rows, predictions, strict=True)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A limit on the strangeness, in logit units, and its record for the manifest."""

    value: float
    record: dict[str, object]


def fitted(network: Network, given: Strangers) -> StrangersGate:
    """
    Fit a gate to a network, and put it into its file.

    Args:
        network: The network; a gate that it has is replaced.
        given: The texts to learn from.

    Raises:
        HeadError: The network's file has another head than `quantize` writes.
        CalibrationError: There are texts of one topic alone.
    """
    labels = network.trained.labels
    known = {row.text for row in network.rows.train}
    ours = (*network.rows.train, *(row for row in given.ours if row.text not in known))
    none = tuple(given.none)
    rows = [*ours, *none]
    tokens = batches.encode(network.tokenizer, [row.text for row in rows])
    vectors = heads.embed(network.model, tokens)
    words = strangeness.counts(tokens, network.tokenizer.get_vocab_size())
    of_label = np.array([labels.index(row.tag) for row in ours] + [len(labels)] * len(none), dtype=np.int64)
    familiar = of_label[:, None] == np.arange(len(labels)) if given.by_label else (of_label < len(labels))[:, None]

    columns = strangeness.fit(vectors, words, familiar, given.fit)

    def fit(places: Ints) -> Columns:
        return strangeness.fit(vectors[places], words[places], familiar[places], given.fit, columns)

    def judge(columns: Columns, places: Ints) -> Floats:
        return columns.strangeness(vectors[places], [tokens[place] for place in places])[:, None]

    topics = [row.topic for row in rows]
    if len({row.topic for row in none}) == 1:
        # Of one group: its rows are judged by each other, or by none.
        topics[len(ours) :] = [row.text for row in none]
    unseen = cross_fit(topics, (of_label == len(labels)).astype(np.int64), fit=fit, score=judge, folds=FOLDS)
    left_out = _left_out(of_label[: len(ours)], len(none), fit=fit, judge=judge) if given.neighbours else np.empty(0)
    model = strangeness.add(network.model, columns, labels)
    second = network.second_head
    if second is not None:
        second = replace(second, model=strangeness.add(second.model, columns, labels))
    first = range(min(ROUNDED_TEXTS, len(rows)))
    exact = columns.strangeness(vectors[: len(first)], tokens[: len(first)])
    rounding = np.abs(parity.run(model, tokens[: len(first)], output=STRANGENESS)[:, 0] - exact).max()
    record: dict[str, object] = {
        "fit": asdict(given.fit) | {"by_label": given.by_label},
        "learned": {"ours": len(ours), "none": len(none)},
        "sha256": given.digests,
        "max_gap_of_rounding": round(float(rounding), SCORE_DECIMALS),
    }
    logger.info("strangers_learned ours=%d none=%d", len(ours), len(none))
    return StrangersGate(
        network=replace(network, model=model, second_head=second),
        ours=ours,
        none=none,
        unseen=unseen[:, 0],
        left_out=left_out,
        most_lost=given.most_lost,
        record=record,
    )


def _left_out(labels: Ints, none: int, *, fit: Callable[[Ints], Columns], judge: Callable[[Columns, Ints], Floats]) -> Floats:
    """
    The strangeness of the texts of each label for fits without the label.

    Args:
        labels: The number of each text's label, shape (texts,).
        none: How many texts of none of the labels come after them; every fit has them.
        fit: Fits columns to the texts at these places.
        judge: The strangeness of the texts at these places, shape (places, 1).
    """
    there, others = np.unique(labels), np.arange(len(labels), len(labels) + none)
    found = np.empty(len(labels))
    several = min(GROUPS, len(there))
    for group in range(several):
        out = np.isin(labels, there[group::several])
        places = np.flatnonzero(out)
        found[places] = judge(fit(np.concatenate([np.flatnonzero(~out), others])), places)[:, 0]
    return found


def of_shipped(rows: Splits, folder: Path | None) -> Strangers:
    """
    The texts that the shipped model's gate learns from.

    Args:
        rows: The project's own rows. Those that are not about machine learning count, and so do people's answers that say so.
        folder: The folder with real texts; without it the gate learns from the project's own alone.

    Raises:
        DataError: A text that the project names is not in the folder.
    """
    titles = real.read_real(real.LEARNED, folder)
    none = (
        *foreign(rows),
        *strangers.read_neighbours(),
        *(row for row in titles if row.tag == NOT_ML),
        *strangers.read_strangers(folder, held_out=False),
    )
    return Strangers(
        none=none,
        ours=tuple(row for row in titles if row.tag != NOT_ML),
        digests=strangers.digests(folder),
    )


def of_own(
    texts: Sequence[Row], digests: dict[str, str], *, neighbours: bool = False, most_lost: float = MOST_LOST
) -> Strangers:
    """
    The texts that the gate of a user's labels learns from: each label knows its texts from those of all others.

    Args:
        texts: Texts of none of the labels.
        digests: The SHA-256 of their files, by name.
        neighbours: The encoder has seen no label, so that words and centres find neighbours, and labels that are left out say how many.
            Else the vector alone is read.
        most_lost: As of `Strangers`.
    """
    fit = NEAR if neighbours else StrangenessRecipe(words=False)
    return Strangers(none=tuple(texts), by_label=True, neighbours=neighbours, most_lost=most_lost, fit=fit, digests=digests)


def limited(
    gate: StrangersGate,
    classifier: Classifier,
    calibration: Sequence[Prediction],
    *,
    thresholds: Mapping[str, float],
    limits: OodLimits,
) -> Limit:
    """
    Choose the limit of a gate, and certify it on both sides: how much of the labels it loses, and how much of what is none of them is published.

    Args:
        gate: The gate.
        classifier: That of the bundle with it.
        calibration: The predictions of the calibration rows, with a strangeness of fits that have not seen them.
        thresholds: By predicted label, the confidence from which a prediction is published.
        limits: The other figures above which a text is strange.
    """

    def published(found: Sequence[Prediction]) -> Flags:
        return np.array([one.confidence >= thresholds[one.label] and not limits.is_strange(one) for one in found])

    groups = {CALIBRATION: list(calibration)}
    further = [row for row in gate.ours if row not in set(gate.network.rows.train)]
    if further:
        groups["further"] = gate.judged(further, classifier.classify([row.text for row in further]))
    sides = {name: (published(found), _strangeness(found)) for name, found in groups.items()}
    value = max(limit_of(*side, gate.most_lost) for side in sides.values())
    lost = {name: _counted(public & (figures > value)) for name, (public, figures) in sides.items()}
    strange = gate.judged(gate.none, classifier.classify([row.text for row in gate.none]))
    public, figures = published(strange), _strangeness(strange)
    kinds = np.array([dict(row.columns).get("kind", row.source) for row in gate.none])
    by_kind = {
        str(kind): {"without": round(float(public[kinds == kind].mean()), DECIMALS)}
        | _counted((public & (figures <= value))[kinds == kind])
        for kind in sorted(set(kinds.tolist()))
    }
    record: dict[str, object] = {
        **gate.record,
        "limit": value,
        "level": LEVEL,
        "most_lost": gate.most_lost,
        "lost": lost,
        **({NEIGHBOURS: _counted(gate.left_out <= value)} if len(gate.left_out) else {}),
        "published": {
            "all": {"without": round(float(public.mean()), DECIMALS)} | _counted(public & (figures <= value)),
            **by_kind,
        },
    }
    return Limit(value=value, record=record)


def limit_of(published: Flags, figures: Floats, most: float = MOST_LOST, level: float = LEVEL) -> float:
    """
    The lowest limit of which the texts prove that at most a share `most` of such texts is published without it and lost by it.

    An order statistic: how often new texts exceed the (k + 1)-th largest of n figures has a known distribution, whatever that of the
    figures is. Too few texts prove nothing: then none of them is lost.

    Args:
        published: Whether each text is published without the limit, shape (texts,).
        figures: Their strangeness, shape (texts,).
        most: The share, 0 to 1.
        level: The certainty, 0 to 1.

    >>> limit_of(np.ones(299, dtype=bool), np.arange(299.0)), limit_of(np.ones(1000, dtype=bool), np.arange(1000.0))
    (298.0, 995.0)
    """
    counted = np.sort(np.where(published, figures, -np.inf))[::-1]
    may = 0
    while may + 1 < len(counted) and beta.ppf(level, may + 2, len(counted) - may - 1) <= most:
        may += 1
    found = float(counted[may])
    # Of texts that are hardly ever published, none would be lost by any limit that a published one sets.
    return round(found if np.isfinite(found) else float(figures.max()), SCORE_DECIMALS)


def as_text(training: Mapping[str, Any]) -> list[str]:
    """
    The record of a gate as lines of text; none without one.

    Args:
        training: The part of a manifest.
    """
    found = training.get(RECORD)
    if not isinstance(found, dict):
        return []
    lost = ", ".join(f"{side['hits']} of {side['rows']:,} ({name})" for name, side in found["lost"].items())
    lines = [f"texts of none of the labels, strangeness above {found['limit']:.4f}", f"  lost of the labels' own: {lost}"]
    if NEIGHBOURS in found:
        side = found[NEIGHBOURS]
        lines.append(
            f"  neighbours: {side['hits'] / side['rows']:.1%} of {side['rows']:,} texts of the labels pass it by fits without their label, "
            "before their confidence counts"
        )
    for kind, side in found["published"].items():
        lines.append(
            f"  {kind}: {side['hits'] / side['rows']:.1%} of {side['rows']:,} published, {side['without']:.1%} without"
        )
    return lines


def _strangeness(predictions: Sequence[Prediction]) -> Floats:
    return np.array([np.nan if found.strangeness is None else found.strangeness for found in predictions])


def _counted(flags: Flags) -> dict[str, float]:
    """How many texts, how many of them are counted, and the upper bound of that share."""
    rows, hits = len(flags), int(flags.sum())
    bound = 1.0 if hits == rows else float(beta.ppf(LEVEL, hits + 1, rows - hits))
    return {"rows": rows, "hits": hits, "upper": round(bound, DECIMALS)}
