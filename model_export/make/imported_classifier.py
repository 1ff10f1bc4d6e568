"""A classifier that was trained elsewhere: its network in eight bits if that changes next to nothing, else in full precision.

A bundle's decision on a text must not depend on the other texts of the batch. An imported network may not be built for that. So each
form of the network classifies every text alone and in batches. The first form is taken that gives the same bits in both cases, and
nearly always the label of the original network.
"""

import logging
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tagstream.model_export.bundle import onnx_graph
from tagstream.model_export.bundle.bundle import ANY_PADDING, MAX_BYTES, PADDING_METADATA_KEY
from tagstream.model_export.bundle.manifest import MODEL
from tagstream.model_export.bundle.model import open_session, padded_length
from tagstream.model_export.calibrate.temperature import Floats
from tagstream.model_export.data.row import Row
from tagstream.model_export.data.splits import Splits
from tagstream.model_export.make.label_order import better_order
from tagstream.model_export.make.network import IMPORTED, INVARIANCE_SEED, PARITY_ROWS, Compared, Network, own_rows
from tagstream.model_export.onnx import classifier_file, export, operators, parity, quantize
from tagstream.model_export.onnx.classifier_file import ClassifierFile
from tagstream.model_export.onnx.export import ExportError
from tagstream.model_export.train import batches, pretrained
from tagstream.model_export.train.checkpoint import Trained
from tagstream.model_export.train.pretrained import HUB, Pretrained, refused
from tagstream.model_export.train.work import Work, libraries

logger = logging.getLogger(__name__)

# The forms of a network, as the record names them.
EIGHT, FULL = "int8", "float32"
# The least share of labels that an eight-bit form keeps.
LEAST_AGREEMENT = 0.995
# The number of texts that are padded, and the largest difference of a logit that counts as rounding.
PADDING_ROWS, PADDING_LOGIT = 32, 1e-3
RUN_SIZES = (2, 3, 8, 32)
SHARE_DECIMALS = 4
ONNX_SUFFIX = ".onnx"


# A classifier before any conversion.
Original = Pretrained | ClassifierFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """
    A network in one of the forms that a bundle can hold.

    Attributes:
        model: The ONNX file.
        name: `EIGHT` or `FULL`.
        rewritten: The file has the operators of `operators`.
        alone: The network reads one text at a time.
    """

    model: bytes
    name: str
    rewritten: bool = False
    alone: bool = False

    def __str__(self) -> str:
        """Return the form in words."""
        own = f"{self.name} with operators of its own" if self.rewritten else self.name
        return f"{own}, one text at a time" if self.alone else own

    def any_padding(self) -> bool:
        """Whether the metadata of the file say that a text's logits do not depend on padding."""
        return onnx_graph.summarise(self.model).metadata.get(PADDING_METADATA_KEY) == ANY_PADDING


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """
    A classifier of transformers in a folder or at a hub, or an ONNX file with its tokenizer.

    Attributes:
        place: The folder, the file, or `hf://NAME@REVISION`.
        tokenizer: The `tokenizer.json` of an ONNX file; None for the one in the file's folder.
        labels: The labels in the order of the logits; None for the labels that the classifier names itself.
        max_length: The longest text, in tokens; None for the longest that the classifier can read.
        against_eight_bits: The reason not to try eight bits; None to try them.
    """

    place: str
    tokenizer: Path | None = None
    labels: tuple[str, ...] | None = None
    max_length: int | None = None
    against_eight_bits: str | None = None

    def original(self) -> Original:
        """
        Load the classifier without any conversion.

        Raises:
            ModelRefusedError: A bundle cannot hold this classifier.
        """
        if not self.place.startswith(HUB) and Path(self.place).suffix == ONNX_SUFFIX:
            return classifier_file.load(
                Path(self.place), tokenizer=self.tokenizer, labels=self.labels, max_length=self.max_length
            )
        return pretrained.load(self.place, labels=self.labels, max_length=self.max_length)

    def network(self, rows: Splits, limits: parity.GateLimits, work: Work) -> Network:
        """
        Bring the classifier into a form of a bundle. Arguments are those of `NetworkSource.network`.

        Raises:
            ModelRefusedError: A bundle cannot hold this classifier.
            ParityError: The logits of the file in full precision differ from the original network's.
            ExportError: A bundle may not hold the graph.
        """
        original = self.original()
        # The labels of the rows are not used here, so the gold rows may be classified, too.
        tokens = batches.encode(original.tokenizer, [row.text for row in (*rows.calibration, *rows.holdout)])
        with work.told("its file in full precision"):
            plain = _plain(original)
            _refuse_short(original, plain)
            before = parity.run(plain, tokens)
        with work.told("the rows by its own runtime"):
            own = original.logits(tokens)
            _refuse_permuted(original, own[: len(rows.calibration)], rows.calibration)
            exported = parity.check_export(own, before, limits)
            _refuse_unmasked(original, plain, tokens)
        with work.told("the fastest form that holds"):
            ranges = own_rows(rows.calibration, original.tokenizer)
            asked = _Asked(before=before, tokens=tokens, longest=original.max_length)
            form, why = self._form(original, plain, ranges, asked)
        logger.info("network_imported form=%s alone=%s why=%s", form.name, form.alone, why)
        if len(form.model) > MAX_BYTES[MODEL]:
            large = f"its file has {len(form.model):,} bytes in the form {form.name}, and a bundle holds {MAX_BYTES[MODEL]:,}"
            raise refused(original.name, large, "import a smaller model")
        after, seen = before if form.model is plain else parity.run(form.model, tokens), len(rows.calibration)
        found = {
            "from": original.name,
            "kind": original.kind,
            "runtime": original.runtime,
            "form": str(form),
            "because": why,
            "beside": [
                _beside("calibration", rows.calibration, original.labels, own[:seen], after[:seen]),
                *([_beside("gold", rows.holdout, original.labels, own[seen:], after[seen:])] if rows.holdout else []),
            ],
        }
        return Network(
            model=form.model,
            tokenizer=original.tokenizer,
            trained=Trained(
                labels=original.labels, record={IMPORTED: found, "data": rows.as_record(), "libraries": libraries()}
            ),
            compared=Compared(
                logits=(before[:seen], after[:seen]), export=exported, quantisation=parity.compare(before, after)
            ),
            rows=rows,
            max_length=original.max_length,
            alone=form.alone,
        )

    def _form(
        self, original: Original, plain: bytes, ranges: Sequence[Sequence[int]], asked: "_Asked"
    ) -> tuple[Form, list[str]]:
        """Return the fastest form that passes, and the reasons against the faster forms."""
        why: list[str] = []
        for form in self._forms(original, plain, ranges, why):
            against = asked.against(form)
            if against is None:
                return form, why
            why.append(f"{form}: {against}")
        return Form(model=plain, name=FULL, alone=True), why

    def _forms(self, original: Original, plain: bytes, ranges: Sequence[Sequence[int]], why: list[str]) -> Iterator[Form]:
        """Yield the forms of a network, the fastest first. Reasons against a form that cannot be made are added to `why`."""
        if self.against_eight_bits is not None:
            why.append(f"{EIGHT}: {self.against_eight_bits}")
        else:
            try:
                eight = quantize.quantize(plain, ranges, original.labels)
                if isinstance(original, Pretrained) or original.rewritable:
                    yield Form(model=operators.rewrite(eight, original.labels), name=EIGHT, rewritten=True)
                yield Form(model=eight, name=EIGHT)
            except ExportError as error:
                why.append(f"{EIGHT}: {error}")
        yield Form(model=plain, name=FULL)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """
    The texts that each form of a network classifies.

    Attributes:
        before: The logits of the network in full precision, [texts, labels].
        tokens: The tokens of the texts.
        longest: The longest text that the network reads, in tokens.
    """

    before: Floats
    tokens: Sequence[Sequence[int]]
    longest: int

    def against(self, form: Form) -> str | None:
        """Return the reason against a form; None if the form passes."""
        if form.name == EIGHT:
            agreement = parity.compare(self.before, parity.run(form.model, self.tokens)).agreement
            if agreement < LEAST_AGREEMENT:
                return f"it keeps {agreement:.2%} of the labels, less than {LEAST_AGREEMENT:.1%}"
        moved = neighbours_move(form, self.tokens[:PARITY_ROWS], self.longest)
        return (
            f"the scores of {moved} of {len(self.tokens[:PARITY_ROWS])} texts depend on the texts beside them"
            if moved
            else None
        )


def neighbours_move(form: Form, tokens: Sequence[Sequence[int]], longest: int) -> int:
    """
    Count the texts whose logits differ, in any bit, between a run of the text alone and a run in a batch.

    Args:
        form: The network.
        tokens: The tokens of the texts.
        longest: The longest text that the network reads, in tokens.
    """
    running, any_padding = open_session(form.model), form.any_padding()

    def logits(places: Sequence[int]) -> list[bytes]:
        ids, mask = batches.pad([tokens[place] for place in places])
        width = ids.shape[1] if any_padding else padded_length(ids.shape[1], longest)
        feed = {
            name: np.pad(values.numpy(), ((0, 0), (0, width - ids.shape[1])))
            for name, values in zip(export.INPUTS, (ids, mask), strict=True)
        }
        return [row.tobytes() for row in running.run(["logits"], feed)[0]]

    alone = [logits([place])[0] for place in range(len(tokens))]
    moved: set[int] = set()
    for places in _runs([len(row) for row in tokens], longest, any_padding=any_padding):
        moved |= {place for place, found in zip(places, logits(places), strict=True) if found != alone[place]}
    return len(moved)


def _runs(lengths: Sequence[int], longest: int, *, any_padding: bool) -> Iterator[list[int]]:
    """Yield batches of several sizes, with each text in one batch of each size: of any lengths, or of one padded length as in a worker."""
    shuffler = random.Random(INVARIANCE_SEED)  # noqa: S311 - a shuffle that repeats, not a secret
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for place, length in enumerate(lengths):
        groups[0 if any_padding else padded_length(length, longest)].append(place)
    for size in RUN_SIZES:
        for places in groups.values():
            order = shuffler.sample(places, len(places))
            for start in range(0, len(order), size):
                few = order[start : start + size]
                # With too few texts of a length, a batch is filled with copies of its own texts.
                yield [few[turn % len(few)] for turn in range(size)]


def _beside(part: str, rows: Sequence[Row], labels: Sequence[str], own: Floats, after: Floats) -> dict[str, object]:
    """Return the accuracy of the original classifier and of the bundle, and the share of rows on which both agree."""
    targets = np.array([labels.index(row.tag) for row in rows])
    shares = {
        "as_it_came": (own.argmax(axis=1) == targets).mean(),
        "here": (after.argmax(axis=1) == targets).mean(),
        "agreement": (own.argmax(axis=1) == after.argmax(axis=1)).mean(),
    }
    return {"part": part, "rows": len(rows)} | {name: round(float(share), SHARE_DECIMALS) for name, share in shares.items()}


def _plain(original: Original) -> bytes:
    """Return the network as a file in full precision, with the inputs and the output of a bundle."""
    if isinstance(original, ClassifierFile):
        return original.plain()
    try:
        return export.to_onnx(original.network, original.labels, longest=original.max_length)
    except ExportError:
        raise
    # The exporter raises many errors for code that it cannot trace, and they have no common base class.
    except Exception as error:
        why = f"it cannot be exported to ONNX: {str(error).splitlines()[0]}"
        raise refused(original.name, why, "export it by its own tools, and import the ONNX file") from error


def _refuse_short(original: Original, plain: bytes) -> None:
    """
    Refuse a classifier that cannot read `max_length` tokens.

    Raises:
        ModelRefusedError: The classifier fails on a text of this length.
    """
    longest, start = original.max_length, original.tokenizer.encode("two words").ids[:1]
    try:
        parity.run(plain, [start * longest])
    # The runtime's exceptions have only `Exception` as a common base class.
    except Exception as error:
        why = f"it fails on a text of {longest} tokens: {str(error).splitlines()[0]}"
        raise refused(original.name, why, "say how many tokens it reads, --max-length N") from error


def _refuse_permuted(original: Original, logits: Floats, rows: Sequence[Row]) -> None:
    """
    Refuse a classifier whose labels are in another order than its scores.

    Raises:
        ModelRefusedError: With the labels in another order, the classifier is right much more often.
    """
    targets = np.array([original.labels.index(row.tag) for row in rows], dtype=np.int64)
    found = better_order(logits, targets, original.labels)
    if found is not None:
        order, here, there = found
        why = f"its labels are in another order than its scores: of the rows to calibrate on {here:.0%} are right, and {there:.0%} with the labels {', '.join(order)}"
        raise refused(
            original.name,
            why,
            "look at a few rows; then name the labels in that order, --labels or id2label in its config.json",
        )


def _refuse_unmasked(original: Original, plain: bytes, tokens: Sequence[Sequence[int]]) -> None:
    """
    Refuse a classifier that reads padding.

    Raises:
        ModelRefusedError: A logit of a text changes when the text is padded.
    """
    running, first = open_session(plain), [list(row) for row in tokens[:PADDING_ROWS]]
    alone = parity.run(plain, first)
    moved = 0.0
    for row, expected in zip(first, alone, strict=True):
        ids, mask = (np.zeros((1, original.max_length), dtype=np.int64) for _ in export.INPUTS)
        ids[0, : len(row)], mask[0, : len(row)] = row, 1
        (padded,) = running.run(["logits"], dict(zip(export.INPUTS, (ids, mask), strict=True)))
        moved = max(moved, float(np.abs(padded[0] - expected).max()))
    if not moved <= PADDING_LOGIT:
        why = f"a logit moves by {moved:.3g} when a text is padded, so it ignores its attention mask, and its scores of a text depend on other texts"
        raise refused(original.name, why, "tune a model that masks padding, as those of transformers do")
