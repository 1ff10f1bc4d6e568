"""Keyword rules: the simplest baseline for a model, and a worker's replacement for it when a person sets `decider = rules`.

They need no network, no tokenizer and no runtime, and a person can apply them by hand. Their tag is a first guess for a person, never a
decision (stream/decide/decider.py).
"""

import hashlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from model_export.bundle.prediction import SCORE_DECIMALS, Prediction
from model_export.bundle.text import MOST_CHARACTERS

RULES = Path(__file__).parent / "rules.toml"
NAME = "keyword-rules"
NOTHING_FOUND = "other"


class RulesClassifier:
    """
    Implements `Classifier`: the label with the most words found in the text; in a tie, the first label of the file.

    A probability is the label's share of the words found, with one added to each label, so that one word alone gives little confidence
    and no label is ever certain. `version` and `digest` (SHA-256 of the file) identify the rules.
    """

    def __init__(self, path: Path = RULES) -> None:
        """
        Read the rules.

        Raises:
            OSError: The file cannot be read: the installation is broken.
        """
        raw = path.read_bytes()
        table = tomllib.loads(raw.decode())
        words: Mapping[str, Sequence[str]] = table["words"]
        self.version = str(table["version"])
        self.digest = hashlib.sha256(raw).hexdigest()
        # In the order of the bundles, which is the order of probabilities on the topic.
        self.labels = tuple(sorted(words))
        self._patterns = {label: [_pattern(word) for word in words[label]] for label in words}

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """
        Predict every text, in order.

        >>> [(found.label, found.confidence) for found in RulesClassifier().classify(["Segmentation of images", "A walk"])]
        [('computer-vision', 0.5), ('other', 0.25)]
        """
        return [self._one(text) for text in texts]

    def _one(self, text: str) -> Prediction:
        read = text[:MOST_CHARACTERS]
        hits = {label: sum(one.search(read) is not None for one in each) for label, each in self._patterns.items()}
        total = sum(hits.values())
        best = max(hits, key=lambda label: hits[label]) if total else NOTHING_FOUND
        shares = {label: round((hits[label] + 1) / (total + len(hits)), SCORE_DECIMALS) for label in self.labels}
        return Prediction(
            label=best,
            confidence=shares[best],
            probabilities=shares,
            # Rules have no logits, so no text is unusual to them.
            energy=0.0,
            tokens=len(read.split()),
            truncated=len(text) > MOST_CHARACTERS,
        )


def _pattern(word: str) -> re.Pattern[str]:
    ending = r"\w*" if word.endswith("*") else ""
    return re.compile(rf"(?<!\w){re.escape(word.removesuffix('*'))}{ending}(?!\w)", re.IGNORECASE)
