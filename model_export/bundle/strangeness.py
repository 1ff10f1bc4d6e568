"""
When a text is unlike the training texts: its energy is high, or too many of its words were never learned from.

The energy comes from the same logits as the confidence, so a text of which the network is sure is hardly ever strange by
it. A network is sure of texts that it cannot read, too: in a French notice it recognises `images` and little else. So
the words are looked at without the network.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from model_export.bundle.prediction import SCORE_DECIMALS, Prediction

# As many as the network can read of a text, and more: the words of a longer text are not looked at.
MOST_WORDS = 200
# A word of a single text is a name or a typo, and would make the bundle a list of rare words.
LEAST_TEXTS = 2
_BETWEEN = re.compile(r"[\s/\-\u2013\u2014]+")
_ENDS = ".,:;!?\"'()[]\u2018\u2019\u201c\u201d\u2026"


@dataclass(frozen=True, slots=True, kw_only=True)
class OodLimits:
    """
    The figures of a bundle above which a text is out of distribution.

    Attributes:
        energy: The highest energy of an ordinary text; None where the bundle does not say.
        unfamiliar: The largest share of unfamiliar words in an ordinary text, 0 to 1; None likewise.
    """

    energy: float | None = None
    unfamiliar: float | None = None

    def is_strange(self, prediction: Prediction) -> bool:
        """
        Whether the text is out of distribution by either figure.

        >>> from model_export.bundle.prediction import predict
        >>> read = predict([3.0, 0.0], labels=["a", "b"], temperature=1.0, tokens=3, truncated=False, unfamiliar=0.6)
        >>> OodLimits(energy=-1.5).is_strange(read), OodLimits(energy=-1.5, unfamiliar=0.4).is_strange(read)
        (False, True)
        """
        by_energy = self.energy is not None and prediction.energy > self.energy
        by_words = self.unfamiliar is not None and prediction.unfamiliar > self.unfamiliar
        return by_energy or by_words


NO_LIMITS = OodLimits()


def limits_in(reference: Mapping[str, Any]) -> OodLimits:
    """The limits in a manifest's reference; an older bundle lacks one or both and finds fewer texts strange."""
    return OodLimits(energy=reference.get("ood_energy"), unfamiliar=reference.get("ood_unfamiliar"))


def unfamiliar_share(text: str, known: Collection[str]) -> float:
    """
    The share of words that are not among the known ones, as if the text had one known word more; rounded to four decimals.

    The word more keeps one rare name in a short title from being strange.

    >>> unfamiliar_share("Segmenting roofs in aerial photographs", {"segmenting", "in", "aerial", "photographs"})
    0.1667
    >>> unfamiliar_share("Le toit vu du ciel", {"segmenting", "in", "aerial", "photographs"})
    0.8333
    """
    words = split_words(text)
    return round(sum(word not in known for word in words) / (len(words) + 1), SCORE_DECIMALS)


def split_words(text: str) -> list[str]:
    """
    The first 200 pieces between white space, hyphens and slashes, in lower case, without punctuation at their ends.

    Punctuation inside a piece stays: `model.fit(x)` is no word of a sentence. A sentence without spaces, as Chinese has
    them, is one piece.

    >>> split_words('Multi-task "U-Net" (v2): x = model.fit(x)')
    ['multi', 'task', 'u', 'net', 'v2', 'x', 'model.fit(x']
    """
    pieces = (piece.strip(_ENDS) for piece in _BETWEEN.split(text.lower(), MOST_WORDS)[:MOST_WORDS])
    # Most pieces are letters throughout, which is seen at once.
    return [piece for piece in pieces if piece.isalnum() or any(map(str.isalnum, piece))]


def known_words(texts: Iterable[str]) -> list[str]:
    """The words of at least `LEAST_TEXTS` of these texts, in order of code points."""
    counts = Counter(word for text in texts for word in set(split_words(text)))
    return sorted(word for word, found in counts.items() if found >= LEAST_TEXTS)
