"""Composes title and description into the text that a model reads, and cuts that text into the words that drift detection counts.

Training, evaluation, batch and stream all call this module. A model must be asked with the composition that it was trained on, and the
words of a stream can only be compared with a reference that was cut in the same way.
"""

import re
from dataclasses import dataclass

from model_export.bundle.normalization import normalize
from monitoring.vocabulary import TextFlag

_WORD = re.compile(r"\w{2,}")
MOST_WORD_CHARACTERS = 30
MOST_WORDS = 200
# More than any network here reads. The limit keeps a megabyte of text from making monitoring expensive.
MOST_CHARACTERS = 4_000
# The most characters that are searched for visible ones, since most of a text may be invisible.
MOST_RAW_CHARACTERS = 16_000
SPECIAL_TOKENS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """
    The model's input from one event.

    Attributes:
        text: At most `MOST_CHARACTERS`, normalised.
        flags: The kinds of hidden characters in it.
        cut: The event's text was longer.
    """

    text: str
    flags: tuple[TextFlag, ...] = ()
    cut: bool = False


def read(title: str, description: str | None) -> Reading:
    """
    One text for the tokenizer: the title, then the description if there is one, normalised (`normalization`) and bounded.

    A tokenizer reads its whole input before it truncates. A megabyte of exclamation marks takes it 1.4 seconds and 370 MB, and a
    batch of such texts would exhaust the worker's memory.

    >>> read("Attention", "is all you need").text
    'Attention is all you need'
    >>> read("Att\u200bention", None).flags
    (<TextFlag.INVISIBLE_CHARACTERS: 'invisible_characters'>,)
    """
    whole = f"{title[:MOST_RAW_CHARACTERS]} {description[:MOST_RAW_CHARACTERS]}" if description else title
    normalized = normalize(whole[:MOST_RAW_CHARACTERS])
    came = len(title) + len(description or "")
    return Reading(
        text=normalized.text[:MOST_CHARACTERS],
        flags=normalized.flags,
        cut=came > MOST_RAW_CHARACTERS or len(normalized.text) > MOST_CHARACTERS,
    )


def compose(title: str, description: str | None) -> str:
    """
    The text of `read`, for training and measuring.

    >>> compose("Attention", None)
    'Attention'
    """
    return read(title, description).text


def is_described(description: str | None) -> bool:
    """Is there a description that is not blank?"""
    return bool(description and not description.isspace())


def words(text: str) -> tuple[str, ...]:
    """
    The lower-cased words of the beginning of a text, in order: letters and digits, 2 to 30 of them, at most 200 words.

    >>> words("Low-resource NLP: a survey of v2")
    ('low', 'resource', 'nlp', 'survey', 'of', 'v2')
    """
    folded = text[:MOST_CHARACTERS].lower().replace("_", " ")
    found = [word for word in _WORD.findall(folded) if len(word) <= MOST_WORD_CHARACTERS]
    return tuple(found[:MOST_WORDS])


def tokens_per_word(text: str, tokens: int) -> float:
    """
    Tokens per word, where words are separated by white space; `tokens` includes the two special ones.

    If the network truncated the text, `tokens` are those that it read and the words are all words, so the ratio is too low.

    >>> tokens_per_word("Attention is all", 6)
    1.3333
    """
    return round(max(0, tokens - SPECIAL_TOKENS) / max(1, len(text.split())), 4)
