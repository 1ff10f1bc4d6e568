"""The sentences and figures of the pages: times, and the model's decision in plain words."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor

from tagstream.monitoring.vocabulary import TextFlag

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
DASH = "\N{EN DASH}"
OFF_SUBJECT_NAME = "Not about this subject"
BLIND = ("Blind", "What the model said is hidden until you have answered.")
FLAGS: Mapping[str, str] = {
    TextFlag.CONTROL_CHARACTERS: "control characters",
    TextFlag.INVISIBLE_CHARACTERS: "invisible characters",
    TextFlag.BIDIRECTIONAL_CONTROLS: "characters that reorder the text",
    TextFlag.MIXED_SCRIPTS: "letters that only look Latin",
    TextFlag.EXCESSIVE_COMBINING_MARKS: "piles of marks",
}
# White space, the joiners of emoji, and joiners in the spelling of Persian and Hindi. These characters are not written out.
_KEPT = "\n\t\r\u00a0\u3000\u2009\u202f\u200c\u200d\u00ad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a text. With `hidden`, it is one written-out character that a reader would not see."""

    text: str
    hidden: bool = False


def pieces(text: str) -> list[Piece]:
    r"""
    Return a text in pieces, where invisible characters and characters that reorder the text are written out.

    >>> [(one.text, one.hidden) for one in pieces("Att\u200bention\u202e")]
    [('Att', False), ('U+200B', True), ('ention', False), ('U+202E', True)]
    >>> [one.text for one in pieces("two\nlines")]
    ['two\nlines']
    """
    found: list[Piece] = []
    plain: list[str] = []
    for character in text:
        if character.isprintable() or character in _KEPT:
            plain.append(character)
            continue
        if plain:
            found.append(Piece(text="".join(plain)))
            plain = []
        found.append(Piece(text=f"U+{ord(character):04X}", hidden=True))
    return [*found, Piece(text="".join(plain))] if plain else found


def plain(text: str) -> str:
    r"""
    Return the pieces of a text as one text, for places without markup, such as the title of a window.

    >>> plain("a\u202eb")
    'a U+202E b'
    """
    return "".join(f" {piece.text} " if piece.hidden else piece.text for piece in pieces(text))


def span(milliseconds: float) -> str:
    """
    Return a time span in the largest unit that it fills.

    >>> span(45_000), span(90 * 60_000), span(50 * 3_600_000)
    ('45 s', '1 h', '2 d')
    """
    for unit, name in ((DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "min")):
        if milliseconds >= unit:
            return f"{int(milliseconds // unit)} {name}"
    return f"{max(milliseconds, 0) / 1000:.0f} s"


def share(part: int, whole: int) -> str:
    """
    Return a share in percent, with the number of the whole; a dash if the whole is 0.

    >>> share(9, 10), share(0, 0) == DASH
    ('90 % of 10', True)
    """
    return f"{100 * part / whole:.0f} % of {whole}" if whole else DASH


def shown_tag(tag: str, off_subject: str) -> str:
    """Return a tag as a page shows it."""
    return OFF_SUBJECT_NAME if tag == off_subject else tag


def said(*, tag: str, confidence: float, threshold: float, by_rules: bool) -> str:
    """
    Return one or two sentences about the decision.

    Args:
        tag: The decision's tag.
        confidence: The probability of the tag, 0 to 1.
        threshold: The confidence below which a person is asked. Above 1, a person is always asked.
        by_rules: True if rules decided, not the model.

    >>> said(tag="mlops", confidence=0.8649, threshold=0.865, by_rules=False)
    'The model says mlops and is 0.864 sure. It publishes this tag without a person from 0.865 on.'
    >>> said(tag="mlops", confidence=0.5, threshold=1.01, by_rules=False)
    'The model says mlops and is 0.5 sure. It never publishes this tag without a person.'
    """
    if by_rules:
        return f"Rules say {tag}. They always ask a person."
    # The figure is cut off and not rounded, so that a confidence below the threshold is not shown as the threshold.
    first = f"The model says {tag} and is {floor(round(confidence * 1000, 6)) / 1000:g} sure."
    if threshold > 1:
        return f"{first} It never publishes this tag without a person."
    return f"{first} It publishes this tag without a person from {threshold:g} on."


def hidden_characters(flags: tuple[str, ...]) -> str:
    """
    Return a sentence about the flags of a text.

    >>> hidden_characters(("invisible_characters",))
    'The text has invisible characters.'
    """
    return f"The text has {', '.join(FLAGS.get(flag, flag) for flag in flags)}."
