"""
Foreign texts, which a bundle should not decide alone (other languages, code, news, shopping), and the share that a bundle publishes.

The texts were written for the project (`suites/foreign.jsonl`). No model is trained or calibrated on them. The rule of `strangeness` was
chosen on one half of the texts; the other half measures the rule.
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
    One foreign text.

    Attributes:
        title: The title.
        description: The description; None if there is none.
        kind: `latin-script` or `other-scripts` (everyday texts in other languages), `ml-in-another-language`, `code`,
            `news` or `shopping`.
        group: The language or the subject.
        half: `chosen` if the rule was chosen on the text, `measured` if the rule is measured on the text.
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
    Read the foreign texts, in the order of the file.

    Raises:
        DataError: The file cannot be read or is empty, or a line is not a foreign text.
    """
    return read_cases(path, ForeignText)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """
    The outcome of texts.

    Attributes:
        texts: The number of texts.
        strange: The number of texts that are out of distribution.
        published: The number of texts that are published without asking a person.
    """

    texts: int
    strange: int
    published: int


def fate(predictions: Sequence[Prediction], *, thresholds: Mapping[str, float], limits: OodLimits) -> Fate:
    """
    Count the texts that are out of distribution and the texts that are published.

    Args:
        predictions: The predictions of the texts.
        thresholds: The least confidence of a published prediction, by predicted label.
        limits: The limits above which a text is out of distribution.
    """
    strange = [limits.is_strange(one) for one in predictions]
    sure = [one.confidence >= thresholds[one.label] for one in predictions]
    published = sum(one and not other for one, other in zip(sure, strange, strict=True))
    return Fate(texts=len(predictions), strange=sum(strange), published=published)
