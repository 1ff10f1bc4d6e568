"""Keyword rules: the simplest baseline for a model, and a worker's replacement for it when a person sets `decider = rules`.

Rules need no network, no tokenizer and no runtime, and a person can apply them by hand. Their tag is a first guess for a person, and never a
decision (stream/decide/pipeline.py). A file of rules is TOML. `rules.toml` beside this file has the rules for the shipped labels; other
labels need a file of their own:

    version = 1                   counted up with each change, since it is in every decision
    otherwise = "how-to"          the label of a text without any of the words
    [words]
    billing = ["invoice*", "paid"]    whole words, any case; a trailing * stands for any ending; no word: []
    how-to = []
"""

import hashlib
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from tagstream.model_export.bundle.bundle import BundleError
from tagstream.model_export.bundle.files import read_whole
from tagstream.model_export.bundle.limits import MAX_LABELS, MAX_NAME_CHARACTERS
from tagstream.model_export.bundle.model import SCORE_DECIMALS, Prediction
from tagstream.model_export.bundle.text import MOST_CHARACTERS
from tagstream.monitoring.vocabulary import few

RULES = Path(__file__).parent / "rules.toml"
NAME = "keyword-rules"


class RulesError(BundleError):
    """The file holds no rules that could decide; the message gives the fault and the next step."""

    exit_code = 2


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of a file of rules."""

    words: dict[str, tuple[Annotated[str, msgspec.Meta(min_length=1)], ...]]
    version: Annotated[int, msgspec.Meta(ge=1)]
    otherwise: str = "other"


class RulesClassifier:
    """
    Implements `Classifier`: the label with the most words found in the text; in a tie, the first label of the file.

    A probability is the label's share of the words found, with one added to each label, so one word alone gives little confidence and no
    label is ever certain. `version` and `digest` (SHA-256 of the file) identify the rules; `words` has the words by label.
    """

    def __init__(self, path: Path = RULES) -> None:
        """
        Read the rules.

        Raises:
            RulesError: The file cannot be read, or holds no rules.
        """
        try:
            raw = read_whole(path)
            rules = msgspec.convert(tomllib.loads(raw.decode()), type=Rules)
        except OSError as error:
            raise _refused(path, f"it cannot be read: {error.strerror}") from error
        except (ValueError, msgspec.ValidationError) as error:
            raise _refused(path, f"{error}") from error
        if not 2 <= len(rules.words) <= MAX_LABELS or rules.otherwise not in rules.words:  # noqa: PLR2004 - a choice needs two
            fault = f"words need 2 to {MAX_LABELS:,} labels, and otherwise ({rules.otherwise!r}) must be one of them"
            raise _refused(path, fault)
        if not all(1 <= len(label) <= MAX_NAME_CHARACTERS for label in rules.words):
            raise _refused(path, f"a label must have 1 to {MAX_NAME_CHARACTERS} characters")
        self.path = path
        self.version = str(rules.version)
        self.digest = hashlib.sha256(raw).hexdigest()
        # The order of labels in bundles, and so of probabilities on the topic.
        self.labels = tuple(sorted(rules.words))
        self.words = rules.words
        self._otherwise = rules.otherwise
        self._patterns = {label: [_pattern(word) for word in words] for label, words in rules.words.items()}

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """
        Predict every text, in order.

        >>> [(found.label, found.confidence) for found in RulesClassifier().classify(["Segmentation of images", "A walk"])]
        [('computer-vision', 0.5), ('other', 0.25)]
        """
        return [self._one(text) for text in texts]

    def check_labels(self, labels: Sequence[str], *, of: Path) -> None:
        """
        Require that the rules have the labels of a bundle.

        Args:
            labels: The bundle's labels.
            of: The bundle's folder, for the message.

        Raises:
            RulesError: The rules have other labels.
        """
        if set(labels) == set(self.labels):
            return
        unknown, silent = sorted(set(self.labels) - set(labels)), sorted(set(labels) - set(self.labels))
        parts = [f"the rules have {few(unknown, 5)}, which the bundle {of} has not"] if unknown else []
        parts += [f"{few(silent, 5)} of the bundle {of} {'has' if len(silent) == 1 else 'have'} no rules"] if silent else []
        msg = (
            f"the rules in {self.path} do not fit: {'; '.join(parts)}. A guess would be a tag that nobody here knows. Next: "
            f"`tagstream model inspect {of} --draft-rules > rules.toml` writes a file to fill in, and TAGSTREAM_RULES=rules.toml puts it to use."
        )
        raise RulesError(msg)

    def _one(self, text: str) -> Prediction:
        read = text[:MOST_CHARACTERS]
        hits = {label: sum(one.search(read) is not None for one in each) for label, each in self._patterns.items()}
        total = sum(hits.values())
        best = max(hits, key=lambda label: hits[label]) if total else self._otherwise
        shares = {label: round((hits[label] + 1) / (total + len(hits)), SCORE_DECIMALS) for label in self.labels}
        return Prediction(
            label=best,
            confidence=shares[best],
            probabilities=shares,
            # Rules have no logits, so they find no text unusual.
            energy=0.0,
            tokens=len(read.split()),
            truncated=len(text) > MOST_CHARACTERS,
        )


def draft(labels: Sequence[str]) -> str:
    """
    A file of rules for these labels, to be filled in.

    >>> print(draft(["billing", "how to"]), end="")
    # Words that speak for each label: whole words, any case; a trailing * stands for any ending.
    version = 1
    otherwise = "billing"
    <BLANKLINE>
    [words]
    "billing" = []
    "how to" = []
    """
    quoted = [msgspec.json.encode(label).decode() for label in labels]
    return "\n".join(
        [
            "# Words that speak for each label: whole words, any case; a trailing * stands for any ending.",
            "version = 1",
            f"otherwise = {quoted[0]}",
            "",
            "[words]",
            *(f"{label} = []" for label in quoted),
            "",
        ]
    )


def _refused(path: Path, fault: str) -> RulesError:
    return RulesError(
        f"{path} holds no keyword rules: {fault}. Next: compare it with `tagstream model inspect --draft-rules`, which writes an empty one."
    )


def _pattern(word: str) -> re.Pattern[str]:
    ending = r"\w*" if word.endswith("*") else ""
    return re.compile(rf"(?<!\w){re.escape(word.removesuffix('*'))}{ending}(?!\w)", re.IGNORECASE)
