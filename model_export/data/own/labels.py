"""
Labels in words: a name and a description of each label, for a stream without labelled rows.

    [labels.billing]
    about = "Money between a customer and us: prices, payments, refunds, invoices."
    keywords = ["invoice", "refund"]              optional
    examples = ["I was charged twice"]            optional
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

# The source of rows that are a label's own words, and the key of `training` in a manifest that has the labels.
WORDS = "words"
RECORD = "labels"

Said = Annotated[str, msgspec.Meta(min_length=1)]


class LabelInWords(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """
    One label in words.

    Attributes:
        about: A description, in a sentence or two, of the texts with this label.
        keywords: Words that indicate the label.
        examples: Texts with the label.
    """

    about: Said
    keywords: tuple[Said, ...] = ()
    examples: tuple[Said, ...] = ()

    def texts(self, name: str) -> tuple[str, ...]:
        """Return the label's words as texts with this label; `name` is the name of the label."""
        spoken = " ".join(name.replace("_", " ").replace("-", " ").split())
        listed = (", ".join(self.keywords),) if self.keywords else ()
        return (spoken or name, self.about, *listed, *self.examples)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of a file of labels."""

    labels: dict[str, LabelInWords]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelsInWords:
    """
    All labels in words of a file.

    Attributes:
        name: The name of the file in messages.
        labels: The words of each label, by label name.
        digests: The SHA-256 of the file, by file name.
    """

    name: str
    labels: dict[str, LabelInWords]
    digests: dict[str, str]

    def rows(self) -> OwnRows:
        """Return the words of the labels as labelled rows, each text once. Each row has its own topic."""
        texts = {
            (label, folded(text)): text for label, words in sorted(self.labels.items()) for text in words.texts(label) if text
        }
        rows = tuple(
            OwnRow(line=number, row=Row(text=text, tag=label, source=WORDS, topic=f"words:{label}:{number}", title=text))
            for number, ((label, _), text) in enumerate(texts.items(), start=1)
        )
        return OwnRows(name=self.name, unit="text", rows=rows, digests=self.digests)

    def as_record(self) -> dict[str, object]:
        """Return the labels' entry in the manifest of a bundle. `of_record` reads this entry."""
        return {RECORD: {"said": msgspec.to_builtins(self.labels), "sha256": self.digests}}


class _Record(msgspec.Struct, frozen=True):
    """The entry of a manifest."""

    said: dict[str, LabelInWords]
    sha256: dict[str, str]


def read(path: Path) -> LabelsInWords:
    """
    Read a file of labels.

    Raises:
        RowsError: The file cannot be read, is not TOML, has an unknown field, says too little about a label, has too few or too many
            labels, or has two labels with the same words.
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
    Return the labels in words of a bundle that `model start` or `model grow` made.

    Args:
        training: The part `training` of the bundle's manifest.
        folder: The folder of the bundle, for the message.

    Raises:
        RowsError: Another command made the bundle.
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
            fault = (
                f"a label cannot be called {label!r}: a name has 1 to {MAX_NAME_CHARACTERS} characters, and {OFF_SUBJECT} is reserved "
                "for texts of none of the labels"
            )
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
