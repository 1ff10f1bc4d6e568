"""Texts that the encoder reads badly: in a language or a script that it was not trained on, or longer than it reads."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from tagstream.model_export.bundle import bundle
from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE
from tagstream.model_export.data import multilingual

# Chosen on one half of the texts in other languages of `suites/foreign.jsonl`; docs/findings.md has what the other half says.
FOREIGN_LETTERS = 0.5
PIECES_A_WORD = 1.5
# A text of fewer words, such as a product name, says little about its language.
LEAST_WORDS = 4
# Nearly every English sentence has one of these, and other languages have few of them.
ENGLISH = re.compile(
    r"\b(?:a|an|and|are|as|at|be|been|but|by|can|could|did|do|does|for|from|had|has|have|he|her|his|how|i|if|in|into"
    r"|is|it|its|me|my|no|not|of|on|or|our|she|should|so|than|that|the|their|them|then|there|they|this|to|was|we|were"
    r"|what|when|where|which|who|why|will|with|would|you|your)\b"
)
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCounter:
    """
    The encoder that is learned with, as far as a look at rows needs it.

    Attributes:
        tokenizer: Its tokenizer.
        max_length: The tokens of a text that it reads.
        multilingual: It learned from many languages.
    """

    tokenizer: Tokenizer
    max_length: int
    multilingual: bool = False


def shipped_encoder() -> TokenCounter:
    """
    The tokenizer of the shipped bundle, which is that of the base encoder too.

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
    The tokenizer of the multilingual base; a bundle of it reads as many tokens as the shipped one.

    Raises:
        EncoderFileError: Its package is missing, or the file's sum differs.
        BundleError: The shipped bundle is refused.
    """
    length = bundle.read(DEFAULT_BUNDLE).manifest.max_length
    return TokenCounter(tokenizer=multilingual.read().tokenizer, max_length=length, multilingual=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Places of texts: those in a language or script that the encoder did not learn, and those longer than the encoder reads."""

    foreign: list[int]
    cut: list[int]


def readings(texts: Sequence[str], encoder: TokenCounter) -> Readings:
    """How an encoder reads these texts."""
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
    Is this text in another script than the Latin one, or in another language than English?

    Args:
        text: The text.
        pieces_a_word: The pieces that the encoder's tokenizer makes of a word, on average: about 1.2 of English.

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
