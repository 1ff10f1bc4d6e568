"""The manifest of a bundle, `bundle.json`: its fields, its one canonical form, and the rules that its values obey."""

from typing import Annotated, Any

import msgspec

from monitoring.vocabulary import OFF_SUBJECT

FORMAT = 1
MANIFEST, MODEL, TOKENIZER = "bundle.json", "model.onnx", "tokenizer.json"
# The name and version of a new bundle and the precision that its thresholds promise, unless the maker says otherwise.
NAME, VERSION, PRECISION = "tagstream-minilm", "2026.11.6", 0.95
# The threshold of a label that the model never decides alone: the smallest published number above every confidence.
ALWAYS_ASK = 1.0001
# A certificate that needs more labelled rows than this is out of reach.
MOST_LABELS = 100_000

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Rows = Annotated[int, msgspec.Meta(ge=0)]


class GoldenText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text of the project's own and its probabilities on the exporting machine, in label order."""

    text: str
    probabilities: tuple[float, ...]


class Threshold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    One confidence for all labels together and the evidence for it. A bundle without `thresholds` routes by it.

    Attributes:
        confidence: At and above it the model decides, 0 to 1.
        target_precision: The share of right decisions that was asked for.
        precision: The share of right decisions among the calibration rows at `confidence` or more.
        precision_lower_bound: The one-sided exact binomial bound of that share, at `bound_level`.
        bound_level: The level of the bound, 0 to 1.
        coverage: The share of the calibration rows at `confidence` or more.
        rows: The number of calibration rows.
    """

    confidence: float
    target_precision: float
    precision: float
    precision_lower_bound: float
    bound_level: float
    coverage: float
    rows: int


class LabelThreshold(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    The threshold of one predicted label and its certificate.

    Attributes:
        confidence: At and above it the model decides, below it a person is asked; `ALWAYS_ASK` where a person is always asked.
        target_precision: The share of right decisions that was asked for.
        precision: The share of right decisions among the `rows`; None if there are none.
        precision_lower_bound: The one-sided exact binomial bound of that share.
        bound_level: The level of the bound, for this label alone. The certificates of all labels hold together at the level
            `1 - labels * (1 - bound_level)`.
        rows: The number of calibration rows with this predicted label at `confidence` or more.
        label_rows: The number of calibration rows with this predicted label at any confidence.
        certified: The bound reaches the target. If not, `confidence` is that of all labels together and promises nothing for this one.
        labels_needed: How many more rows with this predicted label must be labelled to certify the target, if their precision
            stays as it is; None where it is certified, or where `MOST_LABELS` rows would not be enough.
    """

    confidence: Annotated[float, msgspec.Meta(ge=0, le=ALWAYS_ASK)]
    target_precision: Share
    precision: Share | None
    precision_lower_bound: Share
    bound_level: Share
    rows: Rows
    label_rows: Rows
    certified: bool
    labels_needed: Annotated[int, msgspec.Meta(gt=0)] | None = None

    def sentence(self, label: str) -> str:
        """The certificate of `label` in words, or why there is none."""
        where = f"{self.rows} calibration rows at {self.confidence} or more"
        if self.certified:
            return (
                f"{label}: from confidence {self.confidence} on, a precision of {self.target_precision} is certified. "
                f"Of {where}, {self.precision:.4f} are right; with {self.bound_level:.2%} certainty the precision "
                f"is {self.precision_lower_bound:.4f} or more"
            )
        needed = (
            f"{self.labels_needed:,} more labels of {label} needed"
            if self.labels_needed is not None
            else f"not even {MOST_LABELS:,} more labels of {label} would do, if they are like these"
        )
        return f"{label}: {self.target_precision} is not certified: {needed}. Until then {self._meanwhile(where)}"

    def _meanwhile(self, where: str) -> str:
        if self.confidence == ALWAYS_ASK:
            return "a person is asked about all of it: too little of it is right where all labels together are"
        seen = (
            "there are no calibration rows so sure"
            if self.precision is None
            else f"{self.precision:.4f} of {where} are right, at least {self.precision_lower_bound:.4f}"
        )
        return f"its threshold {self.confidence}, that of all labels, is no promise: {seen}"


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """
    The types of the figures in a manifest's reference that a worker uses; `reference.describe` explains the figures.

    An older bundle may lack some of them and a newer one may have more. Those that are present must have the right type, since a
    worker exports them and routes by some of them.
    """

    rows: Rows | None = None
    label_ratio: dict[str, Share] | None = None
    confidence_cdf: dict[str, Share] | None = None
    energy_cdf: dict[str, Share] | None = None
    tokens_cdf: dict[str, Share] | None = None
    tokens_per_word_cdf: dict[str, Share] | None = None
    energy_quantiles: dict[str, float] | None = None
    ood_energy: float | None = None
    ood_unfamiliar: Share | None = None
    ood_ratio: Share | None = None
    truncated_ratio: Share | None = None
    without_description_ratio: Share | None = None
    words: dict[str, Rows] | None = None
    known_words: tuple[str, ...] | None = None


class Multilabel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    The option of giving an event several tags: the network has a second output, `label_logits`.

    Attributes:
        thresholds: By label, the least score with which it is one of the `tags`; a score is sigmoid(label logit), rounded to four decimals.
        golden: The scores of every golden text on the exporting machine, in label order.
        metrics: Measurements by part of the data; see `multilabel.measure`.
        training: How the second head was fitted, and its distance from its eight-bit form.
    """

    thresholds: dict[str, float]
    golden: tuple[tuple[float, ...], ...]
    metrics: dict[str, Any]
    training: dict[str, Any]


# Defaults are not written, so that a bundle without an option, or from before thresholds by label, keeps its bytes and its digest.
class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """
    The content of `bundle.json`. Probabilities are softmax(logits / temperature), rounded to four decimals.

    `arithmetic` is a digest of the golden texts' logits on the machine that made the bundle; see `OnnxClassifier.arithmetic`.
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

    def asked_below(self) -> dict[str, float]:
        """The confidence below which a person is asked, by predicted label: its own threshold, or that of all labels if it has none."""
        own = {label: found.confidence for label, found in self.thresholds.items()}
        return dict.fromkeys(self.labels, self.threshold.confidence) | own


def render(manifest: Manifest) -> bytes:
    """The canonical form: sorted keys, two spaces, a final newline."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=2) + b"\n"


def parse(raw: bytes) -> Manifest:
    """
    The manifest in these bytes.

    Raises:
        ValueError: It lacks a field or has a foreign one, is not in canonical form, or breaks a rule; the message says which.
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
    """Every rule in words, and whether the manifest obeys it."""
    labels, golden, thresholds = manifest.labels, manifest.golden, manifest.thresholds
    rules = {
        "labels must be two or more different names": len(labels) >= 2 and len(set(labels)) == len(labels),  # noqa: PLR2004
        f"a label may not be called {OFF_SUBJECT}, which is a reviewer's word for an event of no label": OFF_SUBJECT
        not in labels,
        "max_length must be 8 to 512 tokens": 8 <= manifest.max_length <= 512,  # noqa: PLR2004
        "temperature must be over 0 and at most 100": 0 < manifest.temperature <= 100,  # noqa: PLR2004
        "threshold.confidence must lie in 0 to 1": 0 <= manifest.threshold.confidence <= 1,
        "thresholds must be none, or one a label": set(thresholds) in (set(), set(labels)),
        "a label's threshold must lie in 0 to 1, or be 1.0001": all(
            found.confidence <= 1 or found.confidence == ALWAYS_ASK for found in thresholds.values()
        ),
        "a certificate must be borne out by its own bound": all(map(_is_sound, thresholds.values())),
        "golden needs at least one text": bool(golden),
        "golden probabilities must be one a label": all(len(text.probabilities) == len(labels) for text in golden),
        "files must be exactly model.onnx and tokenizer.json": set(manifest.files) == {MODEL, TOKENIZER},
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


def _is_sound(found: LabelThreshold) -> bool:
    """There is a precision only if there are rows, and a certificate only if the bound reaches the target."""
    if (found.precision is None) != (found.rows == 0) or found.rows > found.label_rows:
        return False
    reached = found.rows > 0 and found.precision_lower_bound >= round(found.target_precision, 6)
    return not found.certified or (reached and found.labels_needed is None)
