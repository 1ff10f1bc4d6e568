"""
Texts that a bundle should not decide alone: other languages, code, news and goods on sale, and the shares that it publishes.

They were written for the project (`suites/foreign.jsonl`), and no model is trained or calibrated on them. The rule of
`strangeness` was chosen on one half; the other half measures it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from tagstream.model_export.bundle.model import OodLimits, Prediction
from tagstream.model_export.bundle.text import compose
from tagstream.model_export.measure.suites import SUITES, read_cases

FOREIGN = SUITES / "foreign.jsonl"


class ForeignText(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    One text.

    Attributes:
        title: Its title.
        description: Its description, if it has one.
        kind: `latin-script` and `other-scripts` (everyday texts in other languages), `ml-in-another-language`, `code`,
            `news` or `shopping`.
        group: The language, or the subject.
        half: Whether the rule was chosen with it or is measured on it.
    """

    title: str
    kind: str
    group: str
    half: Literal["chosen", "measured"]
    description: str | None = None

    @property
    def text(self) -> str:
        """The text that the model reads."""
        return compose(self.title, self.description)


def read_foreign(path: Path = FOREIGN) -> list[ForeignText]:
    """
    The texts, in the order of the file.

    Raises:
        DataError: The file cannot be read, or a line of it is no such text.
    """
    return read_cases(path, ForeignText)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """How many of some texts are out of distribution, and how many are published without asking a person."""

    texts: int
    strange: int
    published: int


def fate(predictions: Sequence[Prediction], *, thresholds: Mapping[str, float], limits: OodLimits) -> Fate:
    """
    Count where texts go.

    Args:
        predictions: Of the texts.
        thresholds: By predicted label, the confidence from which a prediction is published without asking.
        limits: The figures above which a text is out of distribution.
    """
    strange = [limits.is_strange(one) for one in predictions]
    sure = [one.confidence >= thresholds[one.label] for one in predictions]
    published = sum(one and not other for one, other in zip(sure, strange, strict=True))
    return Fate(texts=len(predictions), strange=sum(strange), published=published)
