"""Find texts that an encoder reads badly: texts in a language or script without training data, and texts over the length limit."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from tagstream.model_export.bundle import bundle
from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE
from tagstream.model_export.data import multilingual

# These limits were chosen on one half of the foreign-language texts in `suites/foreign.jsonl`. docs/findings.md has the results on the
# other half.
FOREIGN_LETTERS = 0.5
PIECES_A_WORD = 1.5
# The language of a text with fewer words, such as a product name, is not judged.
LEAST_WORDS = 4
# Nearly every English sentence contains one of these words. Texts in other languages contain few of them.
ENGLISH = re.compile(
    r"\b(?:a|an|and|are|as|at|be|been|but|by|can|could|did|do|does|for|from|had|has|have|he|her|his|how|i|if|in|into"
    r"|is|it|its|me|my|no|not|of|on|or|our|she|should|so|than|that|the|their|them|then|there|they|this|to|was|we|were"
    r"|what|when|where|which|who|why|will|with|would|you|your)\b"
)
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCounter:
    """
    The tokenizer and limits of the encoder that is to be trained.

    Attributes:
        tokenizer: The encoder's tokenizer.
        max_length: The most tokens that the encoder reads of a text.
        multilingual: The encoder was trained on many languages.
    """

    tokenizer: Tokenizer
    max_length: int
    multilingual: bool = False


def shipped_encoder() -> TokenCounter:
    """
    Return the counter of the shipped bundle. The base encoder has the same tokenizer.

    Raises:
        BundleError: The bundle is refused.
    """
    shipped = bundle.read(DEFAULT_BUNDLE)
    tokenizer = Tokenizer.from_str(shipped.tokenizer.decode())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return TokenCounter(tokenizer=tokenizer, max_length=shipped.manifest.max_length)


def multilingual_encoder() -> TokenCounter:
    """
    Return the counter of the multilingual base encoder. Its bundles have the same `max_length` as the shipped bundle.

    Raises:
        EncoderFileError: The encoder's package is missing, or the SHA-256 of its file differs.
        BundleError: The shipped bundle is refused.
    """
    length = bundle.read(DEFAULT_BUNDLE).manifest.max_length
    return TokenCounter(tokenizer=multilingual.read().tokenizer, max_length=length, multilingual=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """
    The texts that an encoder reads badly.

    Attributes:
        foreign: The indices of texts in a language or script that the encoder was not trained on.
        cut: The indices of texts that are longer than `max_length`.
    """

    foreign: list[int]
    cut: list[int]


def readings(texts: Sequence[str], encoder: TokenCounter) -> Readings:
    """Return the texts that the encoder reads badly."""
    foreign, cut = [], []
    for place, (text, encoded) in enumerate(zip(texts, encoder.tokenizer.encode_batch(list(texts)), strict=True)):
        if len(encoded.ids) > encoder.max_length:
            cut.append(place)
        pieces = [word for word in encoded.word_ids if word is not None]
        if not encoder.multilingual and is_foreign(text, len(pieces) / max(len(set(pieces)), 1)):
            foreign.append(place)
    return Readings(foreign=foreign, cut=cut)


def is_foreign(text: str, pieces_a_word: float) -> bool:
    """
    Return True if a text is not in the Latin script, or probably not in English.

    Args:
        text: The text.
        pieces_a_word: The mean number of tokenizer pieces per word. English has about 1.2.

    >>> is_foreign("Прошу вернуть деньги", 4.0), is_foreign("Mein Konto wurde zweimal belastet", 1.8)
    (True, True)
    >>> is_foreign("My account was charged twice", 1.0), is_foreign("GPU RTX 4090", 2.3)
    (False, False)
    """
    letters = [character for character in text if character.isalpha()]
    outside = sum(not unicodedata.name(character, "").startswith("LATIN") for character in letters if not character.isascii())
    if outside > FOREIGN_LETTERS * len(letters):
        return True
    words = len(_WORD.findall(text))
    return words >= LEAST_WORDS and pieces_a_word >= PIECES_A_WORD and ENGLISH.search(text.lower()) is None
