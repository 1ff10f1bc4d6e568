"""
The strangeness gate of a bundle: it detects texts with none of the labels. It is fitted to the network's vectors and tokens.

The limit of the gate is certified on the labels' publishable texts: with 95 % certainty, at most a share `MOST_LOST` of them exceeds the
limit, in each group of texts that is large enough. Texts that the gate has learned from are judged by fits without their topic.

A fit without a label shows how the gate judges close subjects ("neighbours"): every label is left out of one fit, and its rows are judged
by this fit. These figures do not change the gate; the record says how many of these neighbours are within the limit.
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

# The largest share of the labels' publishable texts that the limit may send to people.
MOST_LOST = 0.01
LEVEL = 0.95
# The number of texts on which the effect of rounding on the file's strangeness is measured.
ROUNDED_TEXTS = 256
DECIMALS = 6
FOLDS = 4
# Labels are left out in this many groups: a fit for each of a hundred labels would take too long.
GROUPS = 5
# The gate of an encoder that has not seen a label.
NEAR = StrangenessRecipe(rare_count=True, centres=12)
# The entry of `training` in a manifest with the record of the gate.
RECORD = "strangers"
CALIBRATION = "calibration"
# The entry of this record about labels that were left out.
NEIGHBOURS = "neighbours"


@dataclass(frozen=True, slots=True, kw_only=True)
class Strangers:
    """
    The texts that a gate learns from, in addition to the training rows.

    Attributes:
        none: Texts with none of the labels.
        ours: Further texts of the labels.
        by_label: Fit a column for each label, which separates the label's texts from all others; else one column for all labels together.
        neighbours: Leave each label out of one fit, and judge its texts by this fit. The encoder must not have seen a label.
        most_lost: The largest share of the labels' publishable texts that the limit may send to people, 0 to 1.
        fit: The numbers of the fit.
        digests: The SHA-256 of the texts' files, by name.
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
        network: The network with the gate in its file.
        ours: The texts of the labels that the gate has learned from, training rows first.
        none: The texts with none of the labels that the gate has learned from.
        unseen: The strangeness of `ours` and then `none`, in logit units, by fits without the text's topic.
        left_out: The strangeness of `ours`, in logit units, by fits without the text's label; empty if no label was left out.
        most_lost: The largest share of the labels' publishable texts that the limit may send to people, 0 to 1.
        record: The record of the fit.
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
        Return predictions with the strangeness by a fit that has not learned from the row.

        Args:
            rows: The rows.
            predictions: The prediction of each row.
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
    Fit a gate to a network, and add it to the network's file.

    Args:
        network: The network. An older gate in its file is replaced.
        given: The texts to learn from.

    Raises:
        HeadError: The head in the network's file is not one that `quantize` writes.
        CalibrationError: There are texts of one topic only.
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
        # With one group only, a fit without the group would have no such texts: each text becomes its own group.
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
    Return the strangeness of each label's texts by a fit without the label.

    Args:
        labels: The number of each text's label, [texts].
        none: The number of texts with none of the labels, which follow these texts. Every fit learns from them.
        fit: Fits columns to the texts at these places.
        judge: Returns the strangeness of the texts at these places, [places, 1].
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
    Return the texts that the shipped model's gate learns from.

    Args:
        rows: The project's own rows. Used are the rows that are not about machine learning, by the project or by a person's answer.
        folder: The folder with real texts; without it, the gate learns only from the project's own texts.

    Raises:
        DataError: The folder does not have a text that the project names.
    """
    titles = real.read_learned(folder)
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
    Return the texts that the gate of a user's labels learns from. The gate has a column for each label.

    Args:
        texts: Texts with none of the labels.
        digests: The SHA-256 of the texts' files, by name.
        neighbours: The encoder has not seen a label. Then words and centres detect neighbours, and labels that are left out show how many.
            If false, only the vector is used.
        most_lost: As for `Strangers`.
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
    Choose the limit of a gate, and bound both errors: lost texts of the labels, and published texts with none of the labels.

    Args:
        gate: The gate.
        classifier: The classifier of the bundle with the gate.
        calibration: The predictions of the calibration rows, with a strangeness by fits that have not seen the rows.
        thresholds: By predicted label, the confidence from which a prediction is published.
        limits: The other limits above which a text is out of distribution.
    """

    def published(found: Sequence[Prediction]) -> Flags:
        return np.array([one.confidence >= thresholds[one.label] and not limits.is_strange(one) for one in found])

    groups = {CALIBRATION: list(calibration)}
    known = set(gate.network.rows.train)
    further = [row for row in gate.ours if row not in known]
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
    Return the lowest limit that provably loses at most a share `most` of texts. A text is lost if only the limit keeps it from publication.

    The limit is an order statistic: the share of new texts that exceed the (k + 1)-th largest of n figures has a known distribution,
    whatever the distribution of the figures is. Too few texts do not prove a limit: then the limit loses none of them.

    Args:
        published: Whether each text is published without the limit, [texts].
        figures: The strangeness of each text, [texts].
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
    # The value is not finite if very few texts are published. Then the largest figure is the limit, which loses none of the texts.
    return round(found if np.isfinite(found) else float(figures.max()), SCORE_DECIMALS)


def as_text(training: Mapping[str, Any]) -> list[str]:
    """
    Return the record of a gate as lines of text; no line without a gate.

    Args:
        training: The manifest's `training`.
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
    """Return the number of texts, the number of set flags, and the upper bound of the share of set flags."""
    rows, hits = len(flags), int(flags.sum())
    bound = 1.0 if hits == rows else float(beta.ppf(LEVEL, hits + 1, rows - hits))
    return {"rows": rows, "hits": hits, "upper": round(bound, DECIMALS)}
