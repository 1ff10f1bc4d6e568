"""The gates of an export: the float32 file must equal the trained network, and the int8 file nearly so.

Every gate measures, records and can refuse. A bundle that passed has the numbers in its manifest. `invariance` is the
one gate that needs no torch.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from model_export.bundle.classifier import open_session
from model_export.bundle.invariance import Invariance, refused
from model_export.train import batches

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The largest logit gap, the least agreement and the largest share of flips that the gates accept."""

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


def run(model: bytes, rows: Sequence[Sequence[int]], output: str = "logits") -> Floats:
    """
    Logits (or another output) of tokenised texts from an ONNX file, each text alone, as the reference for every
    comparison.
    """
    running = open_session(model)
    found = []
    for row in rows:
        ids, mask = batches.pad([row])
        (logits,) = running.run([output], {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
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


def routing_flips(left: Floats, right: Floats, *, temperature: float, thresholds: Sequence[float]) -> float:
    """The share of texts, 0 to 1, that one network sends to a person and the other does not; `thresholds` in label order."""
    one, other = (_is_sure(logits, temperature, np.asarray(thresholds)) for logits in (left, right))
    return round(float((one != other).mean()), 6)


def check_export(trained: Floats, exported: Floats, limits: Limits) -> Difference:
    """
    Compare the trained network with its float32 file.

    Raises:
        ParityError: Logits differ by more than rounding.
    """
    found = compare(trained, exported)
    if found.max_logit > limits.export_logit:
        msg = f"export moves a logit by {found.max_logit} (at most {limits.export_logit}): the file is another network"
        raise refused(msg)
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
        raise refused(msg)
    return found


def check_flips(flips: float, limits: Limits) -> float:
    """
    Judge the result of `routing_flips`.

    Raises:
        ParityError: Quantisation sends too many texts to another topic.
    """
    if flips > limits.quantised_flips:
        msg = f"quantisation sends {flips:.4f} of the texts through another door (at most {limits.quantised_flips})"
        raise refused(msg)
    return flips


def as_record(**found: object) -> dict[str, object]:
    """The measurements as the manifest keeps them."""
    return {name: asdict(value) if isinstance(value, Difference | Invariance) else value for name, value in found.items()}


def _is_sure(logits: Floats, temperature: float, thresholds: Floats) -> npt.NDArray[np.bool_]:
    scaled = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
    sure: npt.NDArray[np.bool_] = scaled.max(axis=1) / scaled.sum(axis=1) >= thresholds[logits.argmax(axis=1)]
    return sure
