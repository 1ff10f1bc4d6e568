"""How a title and a description become the one text that a model reads, and that text the words that drift is looked for in.

Training, evaluation, batch and the stream must all call this: a model that is trained on one composition and asked with
another is a different model, and a reference cut into other words than the stream is no reference.
"""

import re
from dataclasses import dataclass

from model_export.bundle.normalization import normalize
from monitoring.vocabulary import TextFlag

_WORD = re.compile(r"\w{2,}")
MOST_WORD_CHARACTERS = 30
MOST_WORDS = 200
# More than any network here reads; whoever sends a megabyte must not be able to make monitoring dear.
MOST_CHARACTERS = 4_000
# What is looked at to find them: most of a text may be invisible.
MOST_RAW_CHARACTERS = 16_000
SPECIAL_TOKENS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """
    What a model is given of an event.

    Attributes:
        text: At most `MOST_CHARACTERS`, normalised.
        flags: What is hidden in it, of the closed list `TextFlag`.
        cut: There was more.
    """

    text: str
    flags: tuple[TextFlag, ...] = ()
    cut: bool = False


def read(title: str, description: str | None) -> Reading:
    """
    One text for the tokenizer: the title, then the description if there is one, normalised (`normalization`) and bounded.

    A tokenizer reads all that it is given before it cuts: a megabyte of exclamation marks takes it 1.4 seconds and 370 MB, and a
    batch of them would end the worker.

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
    """Whether there is more to read than the title."""
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
    How many tokens a word between white space costs; `tokens` counts the two special ones.

    Where a text was cut, `tokens` is of what was read and the words are of all: the ratio is too low.

    >>> tokens_per_word("Attention is all", 6)
    1.3333
    """
    return round(max(0, tokens - SPECIAL_TOKENS) / max(1, len(text.split())), 4)
