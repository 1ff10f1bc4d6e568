"""The text that a model reads: title and description joined, normalised and bounded; and the words of a text.

Training, evaluation, batch and stream all call this module. A model must get texts in the form of its training texts, and the words of a
stream can only be compared with a reference whose words were cut in the same way.

**Normalised** is the text that a person sees, and hidden parts are flagged. Boucher et al. ("Bad Characters", IEEE S&P 2022) change the
decision of every model that they try with one to three invisible characters. So invisible characters are dropped, letters that only look
Latin become Latin, and marks that pile up are cut. A text that can only have been written to hide something is flagged, and a person looks
at it. A script alone is never a reason for a flag. The normalised text is for the model; the event's own fields are published as they came.

**There are two cuts into words**, since a bundle holds the results of both for its training texts: `words` for drift (only letters and
digits), and `split_words` for the share of unfamiliar words, where `model.fit(x)` must not pass for a sentence's words.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable

import msgspec

from tagstream.model_export.bundle.confusables import LOOKALIKES, SCRIPT_OF
from tagstream.monitoring.signals import Signals
from tagstream.monitoring.vocabulary import TextFlag

# The most marks that any spelling puts on one letter: pointed and cantillated Hebrew has four.
MOST_MARKS = 4
# Emoji need invisible characters: the emoji of a family holds at most two in a row, between its pictures.
MOST_INVISIBLE_IN_A_ROW = 3
# One Latin letter beside a Greek or a mathematical letter is a formula; two Latin letters are a word.
LETTERS_OF_A_WORD = 2

_OVERRIDES = "\u202d\u202e"
_RIGHT_TO_LEFT = "\u202b\u2067"
_BIDIRECTIONAL = "\u202a-\u202e\u2066-\u2069"
_SOFT_HYPHEN = "\u00ad"
# Default-ignorable code points (Unicode, DerivedCoreProperties) but for the soft hyphen and the bidirectional controls.
_INVISIBLE = (
    "\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u2065\u206a-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# Controls that are white space (tab, line feed, vertical tab, form feed, carriage return, next line) end words instead.
_CONTROLS = "\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f"
# Controls that move a cursor or delete. The other C1 controls are left over from a wrong code page, and are not an attack.
_TERMINAL = re.compile("[\x00-\x08\x0e-\x1f\x7f\x9b]")

_DROPPED = re.compile(f"[{_SOFT_HYPHEN}{_INVISIBLE}{_BIDIRECTIONAL}{_CONTROLS}]")
_IN_A_WORD = re.compile(f"[0-9A-Za-z\u00c0-\u024f\u0370-\u04ff][{_INVISIBLE}]+[0-9A-Za-z\u00c0-\u024f\u0370-\u04ff]")
_ROW = re.compile(f"[{_INVISIBLE}]{{{MOST_INVISIBLE_IN_A_ROW + 1},}}")
_FLAG_OF_A_REGION = re.compile("\U0001f3f4[\U000e0020-\U000e007e]{1,6}\U000e007f")
_RIGHT_TO_LEFT_LETTER = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")
_BLANK = str.maketrans({"\u2800": " "})
_WORD = re.compile(r"(?:[^\W_]|[\u24b6-\u24e9])+")
# Formulas have no letters of these scripts.
_IMITATORS = frozenset(SCRIPT_OF.values())
_NO_FORMULAS = _IMITATORS - {"Greek", "Latin"}
_DECLINED = re.compile("[0-9A-Za-z]+[^\\x00-\\x7f]+")
_STYLES = frozenset({"<font>", "<wide>", "<narrow>", "<circle>"})
_LIGATURES = frozenset("\ufb00\ufb01\ufb02\ufb03\ufb04\ufb05\ufb06")


# Structs and not dataclasses: one of each is made for every event, and a struct takes an eighth of the time.
class Normalized(msgspec.Struct, frozen=True, kw_only=True):
    """A normalised text; `flags` are in the order of `TextFlag`."""

    text: str
    flags: tuple[TextFlag, ...] = ()


def normalize(text: str) -> Normalized:
    """
    Fold white space to single spaces, drop invisible characters, undo look-alikes, compose (NFC), and flag each finding.

    The time is proportional to the length of the text.

    >>> normalize("Att\u200bention is  all you n\u0435ed").text
    'Attention is all you need'
    >>> [flag.value for flag in normalize("Att\u200bention is all you n\u0435ed").flags]
    ['invisible_characters', 'mixed_scripts']
    """
    # A quick test first: printable ASCII has no control characters.
    if text.isascii() and (text.isprintable() or not _TERMINAL.search(text)):
        return Normalized(text=" ".join(text.split()))
    found = set[TextFlag]()
    if _TERMINAL.search(text):
        found.add(TextFlag.CONTROL_CHARACTERS)
        text = _deleted(text)
    if _hides(text):
        found.add(TextFlag.INVISIBLE_CHARACTERS)
    if _reorders(text):
        found.add(TextFlag.BIDIRECTIONAL_CONTROLS)
    text = _DROPPED.sub("", text.translate(_BLANK))
    cut = _without_piles(text)
    if len(cut) < len(text):
        found.add(TextFlag.EXCESSIVE_COMBINING_MARKS)
    # Composed after the cut, since composing takes time with the square of a pile of marks.
    text = unicodedata.normalize("NFC", cut)
    text, styled = _unstyled(text)
    text, imitated = _latin(text)
    if styled or imitated:
        found.add(TextFlag.MIXED_SCRIPTS)
    text = " ".join(text.split())
    if not text:
        # The text had characters, and all of them were invisible.
        found.add(TextFlag.INVISIBLE_CHARACTERS)
    return Normalized(text=text, flags=tuple(flag for flag in TextFlag if flag in found))


def _deleted(text: str) -> str:
    """The text as a terminal shows it: a backspace deletes the character before it."""
    if "\b" not in text:
        return text
    kept: list[str] = []
    for character in text:
        if character != "\b":
            kept.append(character)
        elif kept:
            kept.pop()
    return "".join(kept)


def _hides(text: str) -> bool:
    text = _FLAG_OF_A_REGION.sub("", text)
    return bool(_IN_A_WORD.search(text) or _ROW.search(text))


def _reorders(text: str) -> bool:
    """True for an override, which never belongs in a text, and for a right-to-left embedding in a text without right-to-left letters."""
    if any(control in text for control in _OVERRIDES):
        return True
    return any(control in text for control in _RIGHT_TO_LEFT) and not _RIGHT_TO_LEFT_LETTER.search(text)


def _without_piles(text: str) -> str:
    kept: list[str] = []
    marks = 0
    for character in text:
        marks = marks + 1 if character > "\u02ff" and unicodedata.category(character) in {"Mn", "Me"} else 0
        if marks <= MOST_MARKS:
            kept.append(character)
    return "".join(kept)


def _unstyled(text: str) -> tuple[str, bool]:
    """The text with styled letters and ligatures as ASCII, and True if a word mixed styled and plain letters."""
    mixed = False

    def read(match: re.Match[str]) -> str:
        nonlocal mixed
        word = match[0]
        if word.isascii():
            return word
        mixed |= _letters(word) >= LETTERS_OF_A_WORD and any(
            _plain(character) != character and character not in _LIGATURES for character in word
        )
        return "".join(map(_plain, word))

    return _WORD.sub(read, text), mixed


def _latin(text: str) -> tuple[str, bool]:
    """
    The text with Latin letters in place of letters that only look Latin, and True if it has such letters.

    A letter is replaced if its word has Latin letters too, or if its whole word looks Latin and the text is not written in the letter's
    script. Foreign letters that look like no Latin letter stay in a Latin word, and count as a finding.
    """
    if not any(
        character in LOOKALIKES or _script(character) in _NO_FORMULAS for character in set(text) if not character.isascii()
    ):
        return text, False
    written = _written(text)
    has_latin = bool(_letters(text))
    mixed = False

    def read(match: re.Match[str]) -> str:
        nonlocal mixed
        word = match[0]
        if word.isascii():
            return word
        letters = _letters(word)
        scripts = {SCRIPT_OF.get(character) or _script(character) for character in word if character > "\u02ff"} & _IMITATORS
        # Russian texts put Russian endings on names like PyTorch.
        if not scripts or (scripts <= written and _DECLINED.fullmatch(word)):
            return word
        latin = "".join(LOOKALIKES.get(character, character) for character in word)
        looks_latin = all(map(_is_latin, latin))
        among = looks_latin and letters >= (1 if scripts <= _NO_FORMULAS else LETTERS_OF_A_WORD)
        whole = looks_latin and has_latin and not letters and len(word) >= LETTERS_OF_A_WORD and not scripts & written
        # True for foreign letters in Latin words, if the text is not written in their script.
        strange = bool(letters) and bool(scripts & _NO_FORMULAS - written)
        mixed |= among or whole or strange
        return latin if among or whole or strange else word

    return _WORD.sub(read, text), mixed


def _written(text: str) -> set[str]:
    """The scripts in which the text is written: the scripts of words without Latin letters, by their letters that do not look Latin."""
    return {
        _script(character)
        for word in _WORD.findall(text)
        if not word.isascii() and not _letters(word)
        for character in word
        if character > "\u02ff" and character not in LOOKALIKES
    }


def _letters(text: str) -> int:
    return sum(character.isascii() and character.isalpha() for character in text)


def _script(character: str) -> str:
    return unicodedata.name(character, "").partition(" ")[0].capitalize()


def _is_latin(character: str) -> bool:
    return character.isascii() or character.isdigit() or _script(character) == "Latin"


def _plain(character: str) -> str:
    if character.isascii():
        return character
    decomposed = unicodedata.decomposition(character)
    if decomposed.partition(" ")[0] not in _STYLES and character not in _LIGATURES:
        return character
    plain = unicodedata.normalize("NFKC", character)
    return plain if plain.isascii() and plain.isalnum() else character


_DRIFT_WORD = re.compile(r"\w{2,}")
MOST_WORD_CHARACTERS = 30
# The most words of a text that are looked at: more than the network can read.
MOST_WORDS = 200
# The most characters of a text: more than any network here reads. The limit keeps a megabyte of text from making monitoring expensive.
MOST_CHARACTERS = 4_000
# The most characters that are searched for visible characters, since most of a text may be invisible.
MOST_RAW_CHARACTERS = 16_000
SPECIAL_TOKENS = 2
SHARE_DECIMALS = 4


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """
    The model's input from one event.

    Attributes:
        text: The normalised text, at most `MOST_CHARACTERS`.
        flags: The kinds of hidden characters in the text.
        cut: True if the event's text was longer.
    """

    text: str
    flags: tuple[TextFlag, ...] = ()
    cut: bool = False


def read(title: str, description: str | None) -> Reading:
    """
    One text for the tokenizer: the title, then the description if there is one, normalised (`normalize`) and bounded.

    A tokenizer reads its whole input before it truncates. A megabyte of exclamation marks takes the tokenizer 1.4 seconds and 370 MB, and a
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
    """True if there is a description that is not blank."""
    return bool(description and not description.isspace())


def words(text: str) -> tuple[str, ...]:
    """
    The lower-cased words of the beginning of a text, in order: letters and digits, 2 to 30 of them, at most 200 words.

    >>> words("Low-resource NLP: a survey of v2")
    ('low', 'resource', 'nlp', 'survey', 'of', 'v2')
    """
    folded = text[:MOST_CHARACTERS].lower().replace("_", " ")
    found = [word for word in _DRIFT_WORD.findall(folded) if len(word) <= MOST_WORD_CHARACTERS]
    return tuple(found[:MOST_WORDS])


def tokens_per_word(text: str, tokens: int) -> float:
    """
    Tokens per word, where words are separated by white space; `tokens` includes the two special ones.

    If the network truncated the text, `tokens` are those that it read and the words are all words, so the ratio is too low.

    >>> tokens_per_word("Attention is all", 6)
    1.3333
    """
    return round(max(0, tokens - SPECIAL_TOKENS) / max(1, len(text.split())), 4)


def signals_of(
    text: str,
    *,
    event_id: str,
    energy: float,
    tokens: int,
    described: bool,
    source: str | None,
    out_of_distribution: bool,
) -> Signals:
    """
    The numbers of a text in which drift is looked for. Live decisions and the rows of a reference are both measured here.

    Args:
        text: The classifier's input.
        event_id: The event's id.
        energy: `-logsumexp(logits)` of the text.
        tokens: The number of tokens that the network read, the two special tokens included.
        described: True if the event has a description beside its title.
        source: The name that the producer gives itself; None if there is no name.
        out_of_distribution: True if the text is unlike the training texts, by the bundle's limits.
    """
    return Signals(
        event_id=event_id,
        energy=energy,
        tokens=tokens,
        tokens_per_word=tokens_per_word(text, tokens),
        words=words(text),
        described=described,
        source=source,
        out_of_distribution=out_of_distribution,
    )


# The least number of texts with a known word: a word of a single text is a name or a typo, and would make the bundle a list of rare words.
LEAST_TEXTS = 2
_BETWEEN = re.compile(r"[\s/\-\u2013\u2014]+")
# Thai, Lao, Burmese, Khmer, Japanese syllables, and Chinese characters.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_CHARACTER = re.compile(f"[{_UNSPACED}]")
_CHARACTER_OR_WORD = re.compile(f"[{_UNSPACED}]|(?:(?![{_UNSPACED}])[^\\W_])+")
_ENDS = ".,:;!?\"'()[]\u2018\u2019\u201c\u201d\u2026"


def unfamiliar_share(text: str, known: Collection[str]) -> float:
    """
    The share of unknown words, as if the text had one more known word; rounded to four decimals.

    `known` has the words of `known_words`: no word ends in punctuation, and each has a letter or digit.

    The additional word keeps one rare name in a short title from being strange. A piece in a script without spaces counts as its characters
    if one of the characters is known, else as one word.

    >>> unfamiliar_share("Segmenting roofs in aerial photographs", {"segmenting", "in", "aerial", "photographs"})
    0.1667
    >>> unfamiliar_share("Le toit vu du ciel", {"segmenting", "in", "aerial", "photographs"})
    0.8333
    >>> unfamiliar_share("\u6c7d\u8f66\u4ef7\u683c", {"\u6c7d", "\u8f66", "\u4ef7"}), unfamiliar_share("\u6c7d\u8f66\u4ef7\u683c", {"car"})
    (0.2, 0.5)
    """
    count = unknown = 0
    for between in _BETWEEN.split(text.lower(), MOST_WORDS)[:MOST_WORDS]:
        # Most words are known as they stand.
        if between in known or (piece := between.strip(_ENDS)) in known:
            count += 1
            continue
        if not _is_word(piece):
            continue
        parts = _unspaced(piece)
        cut = parts if any(part in known and _CHARACTER.match(part) for part in parts) else [piece]
        count += len(cut)
        unknown += sum(part not in known for part in cut)
    return round(unknown / (count + 1), SHARE_DECIMALS)


def split_words(text: str) -> list[str]:
    """
    The first 200 pieces between white space, hyphens and slashes, in lower case, without punctuation at their ends.

    Punctuation inside a piece stays: `model.fit(x)` is not a word of a sentence. A sentence without spaces, as in Chinese, is one piece.

    >>> split_words('Multi-task "U-Net" (v2): x = model.fit(x)')
    ['multi', 'task', 'u', 'net', 'v2', 'x', 'model.fit(x']
    """
    pieces = (piece.strip(_ENDS) for piece in _BETWEEN.split(text.lower(), MOST_WORDS)[:MOST_WORDS])
    return [piece for piece in pieces if _is_word(piece)]


def _is_word(piece: str) -> bool:
    # A quick test first: most pieces are letters and digits throughout.
    return piece.isalnum() or any(map(str.isalnum, piece))


def _unspaced(piece: str) -> list[str]:
    """The characters of scripts without spaces in a piece, and the words between them; empty if the piece has no such character."""
    return [] if piece.isascii() or not _CHARACTER.search(piece) else _CHARACTER_OR_WORD.findall(piece)


def known_words(texts: Iterable[str]) -> list[str]:
    """The words of at least `LEAST_TEXTS` of these texts, and the characters of scripts without spaces, in order of code points."""
    counts = Counter(
        word for text in texts for word in {part for piece in split_words(text) for part in (piece, *_unspaced(piece))}
    )
    return sorted(word for word, found in counts.items() if found >= LEAST_TEXTS)
