"""
Labels in words: a name and a sentence or two for each, before any row has one of them.

    [labels.billing]
    about = "Money between a customer and us: prices, payments, refunds, invoices."
    keywords = ["invoice", "refund"]              may be left out
    examples = ["I was charged twice"]            may be left out
"""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec

from tagstream.model_export.bundle.files import read_whole
from tagstream.model_export.bundle.limits import MAX_NAME_CHARACTERS
from tagstream.model_export.data.own.rows import LEAST_LABELS, MOST_LABELS, OwnRow, OwnRows
from tagstream.model_export.data.own.split import folded
from tagstream.model_export.data.reader import RowsError
from tagstream.model_export.data.row import Row
from tagstream.monitoring.vocabulary import OFF_SUBJECT

# The source of rows that are a label's own words, and the part of `training` in a manifest that keeps them.
WORDS = "words"
RECORD = "labels"

Said = Annotated[str, msgspec.Meta(min_length=1)]


class LabelInWords(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """
    One label.

    Attributes:
        about: A sentence or two that say which texts have the label.
        keywords: Words that speak for it.
        examples: Texts that have it.
    """

    about: Said
    keywords: tuple[Said, ...] = ()
    examples: tuple[Said, ...] = ()

    def texts(self, name: str) -> tuple[str, ...]:
        """All that is said of the label, as texts of it; `name` is what it is called."""
        spoken = " ".join(name.replace("_", " ").replace("-", " ").split())
        listed = (", ".join(self.keywords),) if self.keywords else ()
        return (spoken or name, self.about, *listed, *self.examples)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of a file of labels."""

    labels: dict[str, LabelInWords]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelsInWords:
    """
    Labels in words.

    Attributes:
        name: The file, as sentences call it.
        labels: The words of each, by its name.
        digests: The SHA-256 of the file, by its name.
    """

    name: str
    labels: dict[str, LabelInWords]
    digests: dict[str, str]

    def rows(self) -> OwnRows:
        """Their words as labelled rows, each text once; the topic of each is its own."""
        texts = {
            (label, folded(text)): text for label, words in sorted(self.labels.items()) for text in words.texts(label) if text
        }
        rows = tuple(
            OwnRow(line=number, row=Row(text=text, tag=label, source=WORDS, topic=f"words:{label}:{number}", title=text))
            for number, ((label, _), text) in enumerate(texts.items(), start=1)
        )
        return OwnRows(name=self.name, unit="text", rows=rows, digests=self.digests)

    def as_record(self) -> dict[str, object]:
        """Their entry in the manifest of a bundle; `of_record` reads it."""
        return {RECORD: {"said": msgspec.to_builtins(self.labels), "sha256": self.digests}}


class _Record(msgspec.Struct, frozen=True):
    """The entry of a manifest."""

    said: dict[str, LabelInWords]
    sha256: dict[str, str]


def read(path: Path) -> LabelsInWords:
    """
    Read a file of labels.

    Raises:
        RowsError: It cannot be read, is no TOML, says too little of a label or something unknown, or has too few or too many labels, or
            two of one name.
    """
    try:
        raw = read_whole(path)
    except OSError as error:
        raise _refused(path, f"it cannot be read: {error.strerror}") from error
    try:
        found = msgspec.convert(tomllib.loads(raw.decode()), type=_File)
    except (ValueError, msgspec.ValidationError) as error:
        raise _refused(path, str(error)) from error
    _check(path, found.labels)
    return LabelsInWords(name=str(path), labels=found.labels, digests={path.name: hashlib.sha256(raw).hexdigest()})


def of_record(training: Mapping[str, Any], folder: Path) -> LabelsInWords:
    """
    The labels in words of a bundle that `model start` or `model grow` made.

    Args:
        training: The part of its manifest.
        folder: Where it is, for the message.

    Raises:
        RowsError: It was made otherwise.
    """
    try:
        kept = msgspec.convert(training.get(RECORD), type=_Record)
    except msgspec.ValidationError as error:
        msg = (
            f"{folder} does not say in words what its labels mean, so it was not begun by `tagstream model start`. Next: name a bundle that "
            "was, or train on rows and answers, `tagstream model train --data FILE --answers FILE`."
        )
        raise RowsError(msg) from error
    return LabelsInWords(name=str(folder), labels=kept.said, digests=kept.sha256)


def _check(path: Path, labels: Mapping[str, LabelInWords]) -> None:
    if not LEAST_LABELS <= len(labels) <= MOST_LABELS:
        raise _refused(path, f"it has {len(labels)}, and a model has {LEAST_LABELS} to {MOST_LABELS} labels")
    names: dict[str, str] = {}
    for label, words in labels.items():
        if not label.strip() or len(label) > MAX_NAME_CHARACTERS or label == OFF_SUBJECT:
            fault = f"a label cannot be called {label!r}: a name has 1 to {MAX_NAME_CHARACTERS} characters, and {OFF_SUBJECT} is kept for texts of none"
            raise _refused(path, fault)
        if not words.about.strip():
            raise _refused(path, f"`about` of {label!r} is empty")
        if folded(words.about) == folded(label):
            raise _refused(path, f"`about` of {label!r} says no more than its name")
        for said in (label, words.about):
            other = names.setdefault(folded(said), label)
            if other != label:
                raise _refused(path, f"{other!r} and {label!r} are the same to a reader: {said!r}")


def _refused(path: Path, fault: str) -> RowsError:
    return RowsError(
        f'{path} does not say what labels mean: {fault}. Next: write for each label a table [labels.NAME] with about = "a sentence or two"; '
        "keywords = [...] and examples = [...] may follow."
    )
