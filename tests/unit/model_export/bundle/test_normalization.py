"""Normalization gives the model the text that a person sees, flags hidden content, and flags no honest text."""

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, read
from tagstream.model_export.bundle.confusables import LOOKALIKES, SCRIPT_OF
from tagstream.model_export.bundle.manifest import MANIFEST
from tagstream.model_export.bundle.model import OnnxClassifier
from tagstream.model_export.bundle.text import MOST_CHARACTERS, MOST_MARKS, MOST_RAW_CHARACTERS, compose, normalize
from tagstream.model_export.bundle.text import read as read_text
from tagstream.model_export.data.corpus import CORPUS, PAIRS, CorpusLine, msgspec
from tagstream.monitoring.vocabulary import TextFlag
from tests.hostile.texts import CODE, HONEST
from tests.lacking import lacking

PLAIN = "Deploying transformer models in production"
ANY = st.text(st.characters(codec="utf-8"), max_size=60)
# Characters of the rules, so that random texts contain them.
SPECIAL = st.text(
    st.one_of(
        st.sampled_from(
            "abz \u0430\u0435\u0301\u0316\u200b\u200d\u200e\u202e\u2066\ufe0f\ufeff\u3164\u2800\b\x1b\uff41\U0001d41a\ufb01\u03b1\u05d0"
        ),
        st.characters(codec="utf-8"),
    ),
    max_size=40,
)


@pytest.mark.parametrize("text", HONEST + CODE)
def test_honest_text_in_any_script_has_no_flag(text: str) -> None:
    """Scripts, accents, emoji, formulas, right-to-left marks and joiners in their places have no flag."""
    assert normalize(text).flags == ()


@pytest.mark.parametrize(
    ("attacked", "flag"),
    [
        ("Deploy\u200bing transformer models in production", TextFlag.INVISIBLE_CHARACTERS),
        ("Deploying trans\u2060\ufeff\u200dformer models in production", TextFlag.INVISIBLE_CHARACTERS),
        ("Deploying transformer mo\u3164dels in production", TextFlag.INVISIBLE_CHARACTERS),
        ("Deploying transformer models\U000e0041\U000e0042\U000e0043\U000e0044 in production", TextFlag.INVISIBLE_CHARACTERS),
        ("Deploying transf\u043ermer m\u043edels in pr\u043educti\u043en", TextFlag.MIXED_SCRIPTS),
        ("Deploying tr\u03b1nsformer models in production", TextFlag.MIXED_SCRIPTS),
        ("Deploying trans\U0001d41f\uff4frmer models in production", TextFlag.MIXED_SCRIPTS),
        ("Deploying transformer models in prx\boduction", TextFlag.CONTROL_CHARACTERS),
        ("Deploying transformer\x1b models in production", TextFlag.CONTROL_CHARACTERS),
    ],
)
def test_an_attack_is_undone_and_flagged(attacked: str, flag: TextFlag) -> None:
    """The model reads the text as displayed, and the flag tells a person why the event is in review."""
    found = normalize(attacked)
    assert found.text == PLAIN
    assert found.flags == (flag,)


@pytest.mark.parametrize("hidden", ["\u00ad", "\u200e", "\ufe0f", "\u200b"])
def test_invisible_characters_that_occur_by_accident_are_dropped_without_a_flag(hidden: str) -> None:
    """A soft hyphen anywhere, and other invisible characters between words, are dropped without a flag."""
    text = f"Deploying {hidden}transformer models in production"
    assert normalize(text).text == PLAIN
    assert normalize(text).flags == ()
    assert normalize("Deploy\u00ading transformer models in production").flags == ()


@pytest.mark.parametrize(
    ("text", "flagged"),
    [
        ("a \u202egnihtemos\u202c b", True),
        ("\u2067one\u2069", True),
        ("\u2067\u05e9\u05dc\u05d5\u05dd\u2069 NLP", False),
        ("\u2066one\u2069 \u2068two\u2069", False),
    ],
)
def test_only_reordering_characters_are_a_bidirectional_attack(text: str, flagged: bool) -> None:
    """Overrides are always flagged, right-to-left embedding only in a text without right-to-left letters."""
    assert (TextFlag.BIDIRECTIONAL_CONTROLS in normalize(text).flags) is flagged


def test_marks_pile_up_to_a_limit() -> None:
    """Combining marks up to the limit are kept; more are cut and flagged."""
    assert normalize("e" + "\u0316" * MOST_MARKS).flags == ()
    found = normalize("e" + "\u0316" * (MOST_MARKS + 1))
    assert found.flags == (TextFlag.EXCESSIVE_COMBINING_MARKS,)
    assert found.text == "e" + "\u0316" * MOST_MARKS


def test_a_word_of_look_alikes_becomes_latin_only_in_text_without_its_script() -> None:
    """A Russian word in Russian text is kept, even if each of its letters looks Latin."""
    assert normalize("a new \u0441\u043e\u0440\u0435 model").text == "a new cope model"
    russian = "\u0441\u043e\u0440\u0435 \u0438 BERT"
    assert normalize(russian).text == russian
    assert normalize(russian).flags == ()


def test_letters_that_only_nearly_look_latin_are_flagged_in_latin_words() -> None:
    """Letters without a Latin counterpart are kept and flagged in Latin words, unless the text is in their script."""
    found = normalize("Deploying \u0442rans\u0441former models")
    assert found.text == "Deploying \u0442ranscformer models"
    assert found.flags == (TextFlag.MIXED_SCRIPTS,)
    assert (
        normalize("\u041e\u0431\u0437\u043e\u0440 GPT\u0448\u043d\u044b\u0445 \u043c\u043e\u0434\u0435\u043b\u0435\u0439").flags
        == ()
    )


def test_a_text_of_invisible_characters_is_flagged() -> None:
    """A text of invisible characters is empty for the model and goes to review."""
    found = normalize("\u200b \u2060")
    assert found.text == ""
    assert found.flags == (TextFlag.INVISIBLE_CHARACTERS,)


@given(st.one_of(ANY, SPECIAL))
def test_normalization_is_idempotent(text: str) -> None:
    """A second pass changes nothing, and no invisible character, control or double space is left."""
    found = normalize(text)
    assert normalize(found.text).text == found.text
    assert found.text == " ".join(found.text.split())
    assert not any(unicodedata.category(character) == "Cc" for character in found.text)
    assert "\u200b" not in found.text
    assert len(set(found.flags)) == len(found.flags)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
def test_ascii_is_only_folded(text: str) -> None:
    """The fast path for ASCII gives the result of the full one."""
    assert normalize(text).text == " ".join(text.split())
    assert normalize(f"{text} \u00e9").text == " ".join(f"{text} \u00e9".split())


def test_every_look_alike_is_one_letter_for_one_letter() -> None:
    """Each look-alike maps one letter to one letter, and none of them is ASCII."""
    assert len(LOOKALIKES) == len(SCRIPT_OF) > 150
    for letter, latin in LOOKALIKES.items():
        assert not letter.isascii()
        assert len(letter) == 1
        assert latin.isascii()
        assert latin.isalpha()
    assert LOOKALIKES["\u0430"] == "a"
    assert LOOKALIKES["\u0406"] == "I"


@pytest.mark.parametrize(
    "piece", ["\u0301\u0316", "\u200b", "\u0430b", "x\b", "\u202e", "\U0001d41a", "a\u200b", "\ufe0f", "\u0e33"]
)
def test_time_does_not_grow_quadratically(piece: str) -> None:
    """Four times the text takes at most ten times the time, also for the composition of a pile of marks."""

    def seconds(size: int) -> float:
        text = "a" + piece * (size // len(piece))
        best = float("inf")
        for _ in range(3):
            started = time.process_time()
            normalize(text)
            best = min(best, time.process_time() - started)
        return best

    assert seconds(160_000) < 10 * max(seconds(40_000), 0.005)


def test_the_text_for_the_tokenizer_is_bounded() -> None:
    """The text for the tokenizer is cut to its bound, and the cut is reported."""
    for piece in ("word ", "!", "\u0301", "\u56fe", "\u200b"):
        reading = read_text("x" + piece * 200_000, piece * 200_000)
        assert len(reading.text) <= MOST_CHARACTERS
        assert reading.cut
    assert read_text("t", "w " * (MOST_RAW_CHARACTERS // 2)).cut
    assert not read_text("t", "w " * 1_000).cut
    assert read_text("a" * MOST_CHARACTERS, None) == read_text("a" * MOST_CHARACTERS, "")


def test_the_projects_own_corpus_has_no_flag_and_keeps_its_decisions() -> None:
    """None of the 5,686 authored texts is flagged, and normalization changes no digit of any prediction."""
    lines = [
        msgspec.json.decode(raw, type=CorpusLine)
        for path in sorted([*CORPUS.glob("*.jsonl"), *(CORPUS / PAIRS).glob("*.jsonl")])
        for raw in path.read_bytes().splitlines()
    ]
    assert len(lines) > 5_000
    assert [line.title for line in lines if read_text(line.title, line.description).flags] == []
    as_it_came = [f"{line.title} {line.description}" if line.description else line.title for line in lines]
    as_read = [compose(line.title, line.description) for line in lines]
    changed = [(came, read) for came, read in zip(as_it_came, as_read, strict=True) if came != read]
    assert changed
    if not (DEFAULT_BUNDLE / MANIFEST).is_file():
        lacking("the default bundle has not been made")
    classifier = OnnxClassifier(read(DEFAULT_BUNDLE))
    assert classifier.classify([came for came, _ in changed]) == classifier.classify([read for _, read in changed])
