"""The bundle: one folder that is everything a worker needs to know about a model, and no more.

    model.onnx       the network: `input_ids`, `attention_mask` (int64, [batch, length]) -> `logits` (float32, [batch, labels]) and,
                     with the option `multilabel`, `label_logits` of the same shape
    tokenizer.json   the tokenizer, as the `tokenizers` library reads it
    bundle.json      this module's `Manifest`, in one canonical form

Training writes it, the worker reads it, nothing else passes between them. It holds no pickle, no tensor outside
`model.onnx`, no operator beyond the ONNX standard. `read` hashes the very bytes that it returns, so that what was checked is
what is loaded, and refuses the folder with the reason otherwise. This module imports neither torch nor onnxruntime.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Any

import msgspec

from model_export.bundle import onnx_graph

FORMAT = 1
MANIFEST, MODEL, TOKENIZER = "bundle.json", "model.onnx", "tokenizer.json"
MAX_FILE_BYTES = 512 * 1024 * 1024
LABELS_METADATA_KEY = "tagstream.labels"
# What a bundle made here is called and promises unless told otherwise: those of the default bundle.
NAME, VERSION, PRECISION = "tagstream-minilm", "2026.11.4", 0.95
DEFAULT_BUNDLE = Path(__file__).parents[1] / "bundles" / "default"
# The threshold of a label that the model never decides alone: the least published number that no confidence reaches.
ALWAYS_ASK = 1.0001
# More rows than anybody will label: a certificate that would need more is out of reach.
MOST_LABELS = 100_000

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Rows = Annotated[int, msgspec.Meta(ge=0)]


class BundleError(Exception):
    """The folder is not a bundle that may be trusted: the message says what, why, and the next step."""

    exit_code = 1


class GoldenText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text of the project's own with the probabilities that the exporting machine saw, in label order."""

    text: str
    probabilities: tuple[float, ...]


class Threshold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    One confidence for all labels together, and the evidence on which it was chosen; a bundle without `thresholds` routes by it.

    `target_precision` is what was asked for on the calibration rows; `precision` and `coverage` what was seen there at
    `confidence`; `precision_lower_bound` the one-sided exact binomial bound at `bound_level`.
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
    The confidence below which a person is asked about what the model calls by one label, and its certificate.

    Attributes:
        confidence: At and above it the model decides; `ALWAYS_ASK` where it never does.
        target_precision: The share right that was asked for.
        precision: The share right of the calibration rows that were given the label at this confidence or more; None if there are none.
        precision_lower_bound: The one-sided exact binomial bound of that share, on the rows as they are.
        bound_level: The level of the bound, for this label alone; all labels' certificates hold together at `1 - labels * (1 - bound_level)`.
        rows: How many rows `precision` is of.
        label_rows: How many rows were given the label at any confidence.
        certified: The target is proved at the level. Else `confidence` is that of all labels together, without a promise of this one.
        labels_needed: Rows that are to be labelled, among those that the model calls by this label, until the rows would certify
            the target if they went on as they are; None where it is certified, or where `MOST_LABELS` would not do.
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
        """The certificate of `label`, or the refusal of one, as a person reads it."""
        where = f"{self.rows} calibration rows at {self.confidence} or more"
        if self.certified:
            return (
                f"{label}: {self.target_precision} is certified ({self.bound_level:.2%}) from confidence {self.confidence} on: "
                f"{self.precision:.4f} of {where} are right, at least {self.precision_lower_bound:.4f}"
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
    The shape of a manifest's reference, as far as a worker relies on it; `reference.describe` says what the figures are.

    A bundle may lack any of them, being older than the figure, and may have more. What it has must have the right type: a
    worker exports these figures and routes by one of them.
    """

    rows: Rows | None = None
    label_ratio: dict[str, Share] | None = None
    confidence_cdf: dict[str, Share] | None = None
    energy_cdf: dict[str, Share] | None = None
    tokens_cdf: dict[str, Share] | None = None
    tokens_per_word_cdf: dict[str, Share] | None = None
    energy_quantiles: dict[str, float] | None = None
    ood_energy: float | None = None
    ood_ratio: Share | None = None
    truncated_ratio: Share | None = None
    without_description_ratio: Share | None = None
    words: dict[str, Rows] | None = None


class Multilabel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    The option of saying more than one tag: the network has a second output, `label_logits`.

    Attributes:
        thresholds: The score, sigmoid(label logit) rounded to four decimals, from which a label is among the `tags`; by label.
        golden: The scores of every golden text, in label order, as the exporting machine saw them.
        metrics: What was measured, by the name of the part; see `multilabel.measure`.
        training: How the second head was fitted, and how far its eight-bit form is from it.
    """

    thresholds: dict[str, float]
    golden: tuple[tuple[float, ...], ...]
    metrics: dict[str, Any]
    training: dict[str, Any]


# Defaults are not written: a bundle without an option, or of before there were thresholds by label, is byte for byte what it was, and
# reading it does not find it changed.
class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What `bundle.json` says. Probabilities are softmax(logits / temperature), rounded to four decimals."""

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

    def asked_below(self) -> dict[str, float]:
        """The confidence below which a person is asked, by predicted label: of the certificates, else the one of all labels."""
        own = {label: found.confidence for label, found in self.thresholds.items()}
        return dict.fromkeys(self.labels, self.threshold.confidence) | own


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """A verified bundle: the manifest, the bytes that were hashed, and `digest`, the SHA-256 of `bundle.json`."""

    manifest: Manifest
    digest: str
    model: bytes
    tokenizer: bytes
    path: Path


def render(manifest: Manifest) -> bytes:
    """The one spelling of a manifest: sorted keys, two spaces, a final newline."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=2) + b"\n"


def write(folder: Path, *, manifest: Manifest, model: bytes, tokenizer: bytes) -> Bundle:
    """
    Write a bundle and read it back through every check.

    `manifest.files` is filled in here. The manifest is written last, so that an interrupted write is no bundle.

    Raises:
        BundleError: What was given does not make a bundle that `read` accepts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {MODEL: model, TOKENIZER: tokenizer}
    manifest = msgspec.structs.replace(manifest, files={name: _sha256(data) for name, data in files.items()})
    (folder / MANIFEST).unlink(missing_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / MANIFEST).write_bytes(render(manifest))
    return read(folder)


def read(folder: Path) -> Bundle:
    """
    Read and verify a bundle.

    Raises:
        BundleError: A file is missing or too large, a byte differs from the manifest, labels differ between manifest and
            network, the network refers to data outside its file or to operators outside the ONNX standard, or the manifest
            is not in its canonical form.
    """
    raw = _bytes_of(folder, MANIFEST)
    manifest = _manifest(folder, raw)
    contents = {name: _bytes_of(folder, name) for name in (MODEL, TOKENIZER)}
    for name, data in contents.items():
        found, expected = _sha256(data), manifest.files.get(name)
        if found != expected:
            raise _refused(folder, f"{name} has SHA-256 {found[:12]}…, the manifest says {str(expected)[:12]}…")
    _check_graph(folder, manifest, contents[MODEL])
    return Bundle(
        manifest=manifest,
        digest=_sha256(raw),
        model=contents[MODEL],
        tokenizer=contents[TOKENIZER],
        path=folder,
    )


def _manifest(folder: Path, raw: bytes) -> Manifest:
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _refused(folder, f"{MANIFEST} does not say what a bundle must say: {error}") from error
    if manifest.format != FORMAT:
        raise _refused(folder, f"{MANIFEST} has format {manifest.format}, this program reads format {FORMAT}")
    if render(manifest) != raw:
        raise _refused(folder, f"{MANIFEST} is not in canonical form: it was edited by hand")
    _check_values(folder, manifest)
    return manifest


def _check_values(folder: Path, manifest: Manifest) -> None:
    labels = manifest.labels
    wrong = {
        "labels must be two or more different names": len(labels) < 2 or len(set(labels)) != len(labels),  # noqa: PLR2004
        "max_length must be 8 to 512 tokens": not 8 <= manifest.max_length <= 512,  # noqa: PLR2004
        "temperature must be over 0 and at most 100": not 0 < manifest.temperature <= 100,  # noqa: PLR2004
        "threshold.confidence must lie in 0 to 1": not 0 <= manifest.threshold.confidence <= 1,
        "thresholds must be none, or one a label": set(manifest.thresholds) not in (set(), set(labels)),
        "a label's threshold must lie in 0 to 1, or be 1.0001": any(
            1 < found.confidence < ALWAYS_ASK for found in manifest.thresholds.values()
        ),
        "a certificate must be borne out by its own bound": not all(map(_is_sound, manifest.thresholds.values())),
        "golden needs at least one text": not manifest.golden,
        "golden probabilities must be one a label": any(len(g.probabilities) != len(labels) for g in manifest.golden),
        "files must be exactly model.onnx and tokenizer.json": set(manifest.files) != {MODEL, TOKENIZER},
    }
    for rule, broken in wrong.items():
        if broken:
            raise _refused(folder, f"{MANIFEST}: {rule}")
    if manifest.multilabel is not None:
        _check_multilabel(folder, manifest, manifest.multilabel)
    try:
        msgspec.convert(manifest.reference, type=Reference)
    except msgspec.ValidationError as error:
        raise _refused(folder, f"{MANIFEST}: the reference is not one that a stream can be compared with: {error}") from error


def _check_multilabel(folder: Path, manifest: Manifest, option: Multilabel) -> None:
    labels, thresholds = manifest.labels, option.thresholds
    wrong = {
        "multilabel.thresholds must be one a label": set(thresholds) != set(labels),
        "multilabel.thresholds must lie in 0 to 1": not all(0 <= threshold <= 1 for threshold in thresholds.values()),
        "multilabel.golden must be one score a label for each golden text": (
            len(option.golden) != len(manifest.golden) or any(len(scores) != len(labels) for scores in option.golden)
        ),
    }
    for rule, broken in wrong.items():
        if broken:
            raise _refused(folder, f"{MANIFEST}: {rule}")


def _is_sound(found: LabelThreshold) -> bool:
    """A precision is of rows, and a promise is made only where the bound reaches the target."""
    if (found.precision is None) != (found.rows == 0) or found.rows > found.label_rows:
        return False
    reached = found.rows > 0 and found.precision_lower_bound >= round(found.target_precision, 6)
    return not found.certified or (reached and found.labels_needed is None)


def _check_graph(folder: Path, manifest: Manifest, model: bytes) -> None:
    try:
        graph = onnx_graph.summarise(model)
    except ValueError as error:
        raise _refused(folder, f"{MODEL} is {error}") from error
    if graph.external_tensors:
        raise _refused(folder, f"{MODEL} keeps tensor {graph.external_tensors[0]!r} in another file")
    foreign = sorted(graph.domains - onnx_graph.STANDARD_DOMAINS)
    if foreign:
        raise _refused(folder, f"{MODEL} needs operators outside the ONNX standard: {', '.join(foreign)}")
    labels = graph.metadata.get(LABELS_METADATA_KEY)
    if labels != "\n".join(manifest.labels):
        raise _refused(folder, f"{MODEL} was exported for labels {labels!r}, the manifest says {manifest.labels!r}")


def _bytes_of(folder: Path, name: str) -> bytes:
    path = folder / name
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise _refused(folder, f"{name} has {size} bytes, the limit is {MAX_FILE_BYTES}")
        return path.read_bytes()
    except OSError as error:
        raise _refused(folder, f"{name} cannot be read: {error.strerror}") from error


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _refused(folder: Path, why: str) -> BundleError:
    return BundleError(
        f"bundle {folder} is refused: {why}. Next: export it again (tagstream model train) or point TAGSTREAM_BUNDLE at "
        f"a bundle that `tagstream model verify` accepts."
    )
