"""
Keyword rules: the simplest rival of a model, and what a worker falls back to when a person says so (`decider = rules`).

They are followed by hand in a minute and need nothing that can be broken: no network, no tokenizer, no runtime. What they say is
a first guess for a person, never a decision (stream/decide/decider.py).
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
    Implements `Classifier`: the label with most of its words in the text; where labels tie, the first of the file.

    A probability is the label's share of the words that were found, each label having been given one more: rules that found a
    single word are not sure, and none is ever certain. `version` and `digest` (SHA-256 of the file) say which rules these are.
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
            # Rules have no logits: no text is stranger to them than another.
            energy=0.0,
            tokens=len(read.split()),
            truncated=len(text) > MOST_CHARACTERS,
        )


def _pattern(word: str) -> re.Pattern[str]:
    ending = r"\w*" if word.endswith("*") else ""
    return re.compile(rf"(?<!\w){re.escape(word.removesuffix('*'))}{ending}(?!\w)", re.IGNORECASE)
