"""The manifest of a bundle, `bundle.json`: its fields, its one canonical form, and the rules that its values obey."""

import hashlib
import math
from typing import Any

import msgspec

from tagstream.model_export.bundle.limits import MAX_LABELS, MAX_NAME_CHARACTERS, MOST_WINDOWS
from tagstream.model_export.bundle.promise.promise import (
    ALWAYS_ASK,
    MOST_LABELS,
    LabelThreshold,
    Priced,
    Prior,
    Rows,
    Share,
    Threshold,
    Trade,
    is_sound,
    reaches,
)
from tagstream.monitoring.signals import DISTRIBUTIONS
from tagstream.monitoring.vocabulary import OFF_SUBJECT

# Thresholds are part of the manifest, so other modules import them from here.
__all__ = [
    "ALWAYS_ASK",
    "FORMAT",
    "MANIFEST",
    "MODEL",
    "MOST_LABELS",
    "NAME",
    "PRECISION",
    "TOKENIZER",
    "VERSION",
    "GoldenText",
    "LabelThreshold",
    "Manifest",
    "Multilabel",
    "Prior",
    "Reference",
    "Threshold",
    "Trade",
    "parse",
    "render",
]

FORMAT = 1
MANIFEST, MODEL, TOKENIZER = "bundle.json", "model.onnx", "tokenizer.json"
# The name and version of a new bundle and the precision that its thresholds promise, unless the maker says otherwise.
NAME, VERSION, PRECISION = "tagstream-minilm", "2026.12.1", 0.95
# The sum of a prior's shares may miss 1 by this much, because the shares are rounded.
SHARES_TOLERANCE = 1e-3


class GoldenText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text of the project's own and its probabilities on the exporting machine, in label order."""

    text: str
    probabilities: tuple[float, ...]


class _Figures(msgspec.Struct, frozen=True, kw_only=True):
    """
    The types of the figures in a manifest's reference that a worker uses; `reference.describe` explains the figures.

    A bundle may lack some figures, and a newer bundle may have more. Present figures must have the right type, since a worker exports them
    and routes by some of them.
    """

    rows: Rows | None = None
    label_ratio: dict[str, Share] | None = None
    energy_quantiles: dict[str, float] | None = None
    ood_energy: float | None = None
    ood_unfamiliar: Share | None = None
    ood_strangeness: float | None = None
    ood_ratio: Share | None = None
    truncated_ratio: Share | None = None
    without_description_ratio: Share | None = None
    words: dict[str, Rows] | None = None
    known_words: tuple[str, ...] | None = None


Reference = msgspec.defstruct(
    "Reference",
    [(signal.cdf, dict[str, Share] | None, None) for signal in DISTRIBUTIONS],
    bases=(_Figures,),
    frozen=True,
    kw_only=True,
)


class Multilabel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    The option of giving an event several tags: the network has a second output, `label_logits`.

    Attributes:
        thresholds: By label, the least score with which the label is among the `tags`. A score is sigmoid(label logit), rounded to four
            decimals.
        golden: The scores of every golden text on the exporting machine, in label order.
        metrics: Measurements by part of the data (`multilabel.measure`).
        training: How the second head was fitted, and its distance from its eight-bit form.
    """

    thresholds: dict[str, float]
    golden: tuple[tuple[float, ...], ...]
    metrics: dict[str, Any]
    training: dict[str, Any]


# Defaults are not written, so that a new option leaves the bytes and the digests of bundles without it.
class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """
    The content of `bundle.json`. Probabilities are softmax(logits / temperature + prior.offsets), rounded to four decimals. A bundle without
    `prior` has no offsets, and expects each label as often as it occurs in the training rows.

    `arithmetic` is a digest of the golden texts' logits on the machine that made the bundle (`OnnxClassifier.arithmetic`). A text of more
    than `max_length` tokens is read in at most `windows` windows of that length, and its logits are the mean of the windows' logits. With
    `alone` the network reads one text at a time, since a text's scores would otherwise depend on its neighbours.
    """

    format: int
    name: str
    version: str
    labels: tuple[str, ...]
    max_length: int
    temperature: float
    threshold: Threshold
    golden: tuple[GoldenText, ...]
    reference: dict[str, Any]
    metrics: dict[str, Any]
    parity: dict[str, Any]
    training: dict[str, Any]
    files: dict[str, str]
    thresholds: dict[str, LabelThreshold] = {}
    multilabel: Multilabel | None = None
    arithmetic: str | None = None
    prior: Prior | None = None
    trade: tuple[Trade, ...] = ()
    windows: int = 1
    alone: bool = False
    priced: Priced | None = None

    def offsets(self) -> tuple[float, ...]:
        """The offset of each label's logit, in label order; 0 without a prior."""
        return (
            tuple(self.prior.offsets[label] for label in self.labels) if self.prior is not None else (0.0,) * len(self.labels)
        )

    @property
    def judgement(self) -> str:
        """
        SHA-256 of everything that determines a text's probabilities: network, tokenizer, length, windows, runs, labels, temperature and prior.

        Bundles that differ only in thresholds, measurements or names have the same judgement: they give every text the same tag and
        confidence, so they count as one model when accuracy is measured.
        """
        said: tuple[object, ...] = (self.files, self.max_length, self.labels, self.temperature, self.offsets())
        if self.windows > 1:
            said += (self.windows,)
        if self.alone:
            said += ("alone",)
        return hashlib.sha256(msgspec.json.encode(said, order="sorted")).hexdigest()

    def asked_below(self) -> dict[str, float]:
        """The confidence below which a person is asked, by predicted label: the label's threshold, or the threshold of all labels."""
        own = {label: found.confidence for label, found in self.thresholds.items()}
        return dict.fromkeys(self.labels, self.threshold.confidence) | own


def render(manifest: Manifest) -> bytes:
    """The canonical form: sorted keys, two spaces, a final newline."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=2) + b"\n"


def parse(raw: bytes) -> Manifest:
    """
    The manifest in these bytes.

    Raises:
        ValueError: The manifest lacks a field, has a foreign field, is not in canonical form, or breaks a rule; the message says which.
    """
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        msg = f"{MANIFEST} does not say what a bundle must say: {error}"
        raise ValueError(msg) from error
    if manifest.format != FORMAT:
        msg = f"{MANIFEST} has format {manifest.format}, this program reads format {FORMAT}"
        raise ValueError(msg)
    if render(manifest) != raw:
        msg = f"{MANIFEST} is not in canonical form: it was edited by hand"
        raise ValueError(msg)
    broken = next((rule for rule, holds in _rules(manifest).items() if not holds), None)
    if broken is not None:
        msg = f"{MANIFEST}: {broken}"
        raise ValueError(msg)
    try:
        msgspec.convert(manifest.reference, type=Reference)
    except msgspec.ValidationError as error:
        msg = f"{MANIFEST}: the reference is not one that a stream can be compared with: {error}"
        raise ValueError(msg) from error
    return manifest


def _rules(manifest: Manifest) -> dict[str, bool]:
    """Every rule in words, with True if the manifest obeys the rule."""
    labels, golden, thresholds = manifest.labels, manifest.golden, manifest.thresholds
    rules = {
        f"labels must be 2 to {MAX_LABELS:,} different names": 2 <= len(labels) <= MAX_LABELS  # noqa: PLR2004
        and len(set(labels)) == len(labels),
        f"name, version and every label must have 1 to {MAX_NAME_CHARACTERS} characters": all(
            1 <= len(text) <= MAX_NAME_CHARACTERS for text in (manifest.name, manifest.version, *labels)
        ),
        f"a label may not be called {OFF_SUBJECT}, which is a reviewer's word for an event of no label": OFF_SUBJECT
        not in labels,
        "max_length must be 8 to 512 tokens": 8 <= manifest.max_length <= 512,  # noqa: PLR2004
        f"windows must be 1 to {MOST_WINDOWS}": 1 <= manifest.windows <= MOST_WINDOWS,
        "temperature must be over 0 and at most 100": 0 < manifest.temperature <= 100,  # noqa: PLR2004
        "threshold.confidence must lie in 0 to 1": 0 <= manifest.threshold.confidence <= 1,
        "thresholds must be none, or one a label": set(thresholds) in (set(), set(labels)),
        "a label's threshold must lie in 0 to 1, or be 1.0001, which means never": all(
            found.confidence <= 1 or found.confidence == ALWAYS_ASK for found in thresholds.values()
        ),
        "a certificate must be borne out by its own bound": all(map(is_sound, thresholds.values()))
        and (not manifest.threshold.certified or reaches(manifest.threshold)),
        "golden needs at least one text": bool(golden),
        "golden probabilities must be one a label": all(len(text.probabilities) == len(labels) for text in golden),
        "files must be exactly model.onnx and tokenizer.json": set(manifest.files) == {MODEL, TOKENIZER},
    }
    prior = manifest.prior
    if prior is not None:
        rules |= {
            "prior.shares must be one a label, over 0, and 1 together": set(prior.shares) == set(labels)
            and min(prior.shares.values()) > 0
            and abs(sum(prior.shares.values()) - 1) < SHARES_TOLERANCE,
            "prior.offsets must be one finite number a label": set(prior.offsets) == set(labels)
            and all(map(math.isfinite, prior.offsets.values())),
        }
    option = manifest.multilabel
    if option is not None:
        rules |= {
            "multilabel.thresholds must be one a label": set(option.thresholds) == set(labels),
            "multilabel.thresholds must lie in 0 to 1": all(0 <= threshold <= 1 for threshold in option.thresholds.values()),
            "multilabel.golden must be one score a label for each golden text": (
                len(option.golden) == len(golden) and all(len(scores) == len(labels) for scores in option.golden)
            ),
        }
    return rules
