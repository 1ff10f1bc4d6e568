"""The gates of an export: the float32 file must give the trained network's logits, and the int8 file nearly the same logits.

Every gate measures, records and can refuse. The manifest of a bundle has the numbers of the passed gates. `invariance` is the only gate
that does not need torch.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from tagstream.model_export.bundle.invariance import Invariance, ParityError, refused
from tagstream.model_export.bundle.model import open_session
from tagstream.model_export.train import batches

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLimits:
    """The limits of the gates: the largest difference of a logit, the least agreement of labels, and the largest share of flips."""

    export_logit: float = 1e-3
    quantised_agreement: float = 0.97
    quantised_flips: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The difference between two networks on the same texts: the largest and mean difference of logits, and the share of equal labels."""

    rows: int
    max_logit: float
    mean_logit: float
    agreement: float


def run(model: bytes, rows: Sequence[Sequence[int]], output: str = "logits") -> Floats:
    """
    Return an output of an ONNX file for tokenised texts, each text alone: the reference for every comparison.

    Args:
        model: The ONNX file.
        rows: By text, the numbers of its tokens.
        output: The name of the output.

    Returns:
        The output; for logits, [texts, labels].
    """
    running = open_session(model)
    found = []
    for row in rows:
        ids, mask = batches.pad([row])
        (logits,) = running.run([output], {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        found.append(logits[0])
    return np.asarray(found, dtype=np.float64)


def means(model: bytes, texts: Sequence[Sequence[Sequence[int]]], output: str = "logits") -> Floats:
    """
    Return an output as `run`, for texts in windows: by text, the mean over its windows.

    Args:
        model: The ONNX file.
        texts: By text and window, the numbers of the tokens.
        output: The name of the output.
    """
    found = run(model, [window for text in texts for window in text], output)
    ends = np.cumsum([len(text) for text in texts])[:-1]
    return np.array([part.mean(axis=0) for part in np.split(found, ends)] if len(texts) else [], dtype=np.float64)


def compare(left: Floats, right: Floats) -> Difference:
    """Measure the difference between two sets of logits."""
    gaps = np.abs(left - right)
    return Difference(
        rows=len(left),
        max_logit=round(float(gaps.max()), 7),
        mean_logit=round(float(gaps.mean()), 7),
        agreement=round(float((left.argmax(axis=1) == right.argmax(axis=1)).mean()), 6),
    )


def routing_flips(left: Floats, right: Floats, *, temperature: float, thresholds: Sequence[float]) -> float:
    """
    Return the share of texts, 0 to 1, that only one of two networks sends to a person.

    Args:
        left: Logits of one network, [texts, labels].
        right: Logits of the other network for the same texts, [texts, labels].
        temperature: The divisor of the logits, over 0.
        thresholds: By label, in the order of the logits, the confidence from which a text is published.
    """
    one, other = (_is_sure(logits, temperature, np.asarray(thresholds)) for logits in (left, right))
    return round(float((one != other).mean()), 6)


def check_export(trained: Floats, exported: Floats, limits: GateLimits) -> Difference:
    """
    Compare the trained network with its float32 file.

    Args:
        trained: Logits of the trained network, [texts, labels].
        exported: Logits of the file for the same texts, [texts, labels].
        limits: The limits; `export_logit` is the largest difference that counts as rounding.

    Raises:
        ParityError: Logits differ by more than rounding.
    """
    found = compare(trained, exported)
    if found.max_logit > limits.export_logit:
        msg = f"export moves a logit by {found.max_logit} (at most {limits.export_logit}): the file is another network"
        raise refused(msg)
    return found


def check_quantised(exported: Floats, quantised: Floats, limits: GateLimits) -> Difference:
    """
    Compare the float32 file with the int8 file.

    Args:
        exported: Logits of the float32 file, [texts, labels].
        quantised: Logits of the int8 file for the same texts, [texts, labels].
        limits: The limits; `quantised_agreement` is the least share of labels that must stay.

    Raises:
        ParityError: Too many labels change.
    """
    found = compare(exported, quantised)
    if found.agreement < limits.quantised_agreement:
        msg = f"quantisation keeps {found.agreement:.4f} of the labels (at least {limits.quantised_agreement})"
        raise refused(msg)
    return found


class FlipsError(ParityError):
    """
    An eight-bit file sends too many texts to another topic than the network in full precision.

    Attributes:
        share: The share of texts, 0 to 1.
        most: The largest share that is allowed.
    """

    def __init__(self, message: str, *, share: float, most: float) -> None:
        super().__init__(message)
        self.share, self.most = share, most


def check_flips(flips: float, limits: GateLimits) -> float:
    """
    Judge the result of `routing_flips`.

    Raises:
        FlipsError: Quantisation sends too many texts to another topic.
    """
    if flips > limits.quantised_flips:
        msg = f"quantisation sends {flips:.4f} of the texts to another topic (at most {limits.quantised_flips})"
        raise FlipsError(str(refused(msg)), share=flips, most=limits.quantised_flips)
    return flips


def as_record(**found: object) -> dict[str, object]:
    """Return the measurements as the manifest keeps them."""
    return {name: asdict(value) if isinstance(value, Difference | Invariance) else value for name, value in found.items()}


def _is_sure(logits: Floats, temperature: float, thresholds: Floats) -> npt.NDArray[np.bool_]:
    scaled = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
    sure: npt.NDArray[np.bool_] = scaled.max(axis=1) / scaled.sum(axis=1) >= thresholds[logits.argmax(axis=1)]
    return sure
