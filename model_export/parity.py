"""Gates between training and the world: the exported network must be the trained one, and must not depend on its batch.

Every gate measures, records and can refuse. A bundle that came through carries the numbers in its manifest.
"""

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from model_export import batches
from model_export.prediction import Classifier

Floats = npt.NDArray[np.float64]

BATCH_SIZES = (2, 7, 16, 33, 64)


class ParityError(Exception):
    """An exported network differs from the trained one, or a prediction from itself: the message says by how much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far each gate may be off."""

    export_logit: float = 1e-3
    quantised_agreement: float = 0.97
    quantised_flips: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Two networks on the same texts: the largest and mean gap of logits, the share of equal labels."""

    rows: int
    max_logit: float
    mean_logit: float
    agreement: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Invariance:
    """One classifier on the same texts alone, in batches, in other orders: the largest gaps seen."""

    rows: int
    arrangements: int
    max_probability: float
    max_energy: float


def run(model: bytes, rows: Sequence[Sequence[int]]) -> Floats:
    """Logits of tokenised texts from an ONNX file, each text alone, as the reference for every comparison."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(
        model, options, providers=["CPUExecutionProvider"], disabled_optimizers=["SkipLayerNormFusion"]
    )
    found = []
    for row in rows:
        ids, mask = batches.pad([row])
        (logits,) = session.run(["logits"], {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        found.append(logits[0])
    return np.asarray(found, dtype=np.float64)


def compare(left: Floats, right: Floats) -> Difference:
    """Measure two sets of logits against each other."""
    gaps = np.abs(left - right)
    return Difference(
        rows=len(left),
        max_logit=round(float(gaps.max()), 7),
        mean_logit=round(float(gaps.mean()), 7),
        agreement=round(float((left.argmax(axis=1) == right.argmax(axis=1)).mean()), 6),
    )


def routing_flips(left: Floats, right: Floats, *, temperature: float, threshold: float) -> float:
    """The share of texts that one network would send to a person and the other not."""
    return round(float(((_confidence(left, temperature) >= threshold) != (_confidence(right, temperature) >= threshold)).mean()), 6)


def check_export(trained: Floats, exported: Floats, limits: Limits) -> Difference:
    """
    Compare the trained network with its float32 file.

    Raises:
        ParityError: Logits differ by more than rounding.
    """
    found = compare(trained, exported)
    if found.max_logit > limits.export_logit:
        msg = f"export moves a logit by {found.max_logit} (at most {limits.export_logit}): the file is another network"
        raise _refused(msg)
    return found


def check_quantised(exported: Floats, quantised: Floats, limits: Limits) -> Difference:
    """
    Compare the float32 file with the int8 file.

    Raises:
        ParityError: Too many labels change.
    """
    found = compare(exported, quantised)
    if found.agreement < limits.quantised_agreement:
        msg = f"quantisation keeps {found.agreement:.4f} of the labels (at least {limits.quantised_agreement})"
        raise _refused(msg)
    return found


def check_flips(flips: float, limits: Limits) -> float:
    """
    Judge what `routing_flips` found.

    Raises:
        ParityError: Quantisation sends too many texts through another door.
    """
    if flips > limits.quantised_flips:
        msg = f"quantisation sends {flips:.4f} of the texts through another door (at most {limits.quantised_flips})"
        raise _refused(msg)
    return flips


def check_invariance(classifier: Classifier, texts: Sequence[str], *, seed: int) -> Invariance:
    """
    Classify texts alone, then in batches of several sizes in shuffled orders; nothing may change, to the last digit.

    Energy is the log of the sum of exponentials of the raw logits, to four decimals; it moves where probabilities do not.

    Raises:
        ParityError: A prediction depends on its neighbours.
    """
    alone = [classifier.classify([text])[0] for text in texts]
    shuffler = random.Random(seed)  # noqa: S311 - a shuffle that repeats, not a secret
    worst_probability = worst_energy = 0.0
    for size in BATCH_SIZES:
        order = list(range(len(texts)))
        shuffler.shuffle(order)
        for start in range(0, len(order), size):
            places = order[start : start + size]
            for place, found in zip(places, classifier.classify([texts[place] for place in places]), strict=True):
                gaps = [abs(found.probabilities[label] - alone[place].probabilities[label]) for label in classifier.labels]
                worst_probability = max(worst_probability, *gaps)
                worst_energy = max(worst_energy, abs(found.energy - alone[place].energy))
    if worst_probability or worst_energy:
        msg = f"a prediction depends on its batch: a probability moves by {worst_probability}, an energy by {worst_energy}"
        raise _refused(msg)
    return Invariance(rows=len(texts), arrangements=len(BATCH_SIZES) + 1, max_probability=0.0, max_energy=0.0)


def as_record(**found: object) -> dict[str, object]:
    """The measurements as the manifest keeps them."""
    return {name: asdict(value) if isinstance(value, Difference | Invariance) else value for name, value in found.items()}


def _confidence(logits: Floats, temperature: float) -> Floats:
    scaled = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
    confidence: Floats = scaled.max(axis=1) / scaled.sum(axis=1)
    return confidence


def _refused(why: str) -> ParityError:
    return ParityError(f"the bundle is not written: {why}. Next: export on another machine or with other versions, then compare.")
