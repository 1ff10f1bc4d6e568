"""Unfamiliar words: how a text is cut, which words are known, and the limits of strange texts."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.model_export.bundle.model import NO_LIMITS, OodLimits, Prediction, limits_in, predict
from tagstream.model_export.bundle.text import MOST_WORDS, known_words, split_words, unfamiliar_share

KNOWN = {"segmenting", "roofs", "in", "aerial", "photographs"}


def predicted(energy: float, unfamiliar: float) -> Prediction:
    """A prediction with these two figures."""
    return Prediction(
        label="a", confidence=1.0, probabilities={"a": 1.0}, energy=energy, tokens=4, truncated=False, unfamiliar=unfamiliar
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" - / \u2014 ...", []),
        ("End-to-end OCR/HTR, (2020).", ["end", "to", "end", "ocr", "htr", "2020"]),
        ("\u201cA model\u2019s view\u201d", ["a", "model\u2019s", "view"]),
        ("y = f(x)[0]; z += 1", ["y", "f(x)[0", "z", "1"]),
        ("\u535a\u7269\u9986\u4e3e\u529e\u5c55\u89c8", ["\u535a\u7269\u9986\u4e3e\u529e\u5c55\u89c8"]),
    ],
)
def test_a_text_is_cut_into_words(text: str, words: list[str]) -> None:
    """White space, hyphens and slashes divide words; punctuation is removed at their ends and kept inside, as in code."""
    assert split_words(text) == words


def test_a_long_text_is_read_to_a_bound() -> None:
    """Of a very long text only the first 200 words are read, which bounds the cost."""
    assert len(split_words("word " * 10_000)) == MOST_WORDS


def test_words_of_one_text_alone_are_not_known() -> None:
    """A word is known if two texts have it; repetitions in one text do not count."""
    assert known_words(["Roofs, roofs ROOFS", "roofs and walls", "and doors, doors"]) == ["and", "roofs"]


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("", 0.0),
        ("Segmenting roofs in aerial photographs", 0.0),
        ("Segmenting roofs in aerial selfies", 0.1667),
        ("Gratin", 0.5),
        ("Gratin de poireaux au fromage", 0.8333),
    ],
)
def test_unfamiliar_words_are_counted(text: str, share: float) -> None:
    """The share is the unfamiliar words by all words plus one, so that a single word weighs little."""
    assert unfamiliar_share(text, KNOWN) == share


@given(st.text(max_size=300), st.sets(st.sampled_from(["in", "roofs", "1", "a"])))
def test_every_text_has_a_share_below_one(text: str, known: set[str]) -> None:
    """The share is at least 0 and below 1, and it is 0 where all words are known."""
    assert 0 <= unfamiliar_share(text, known) < 1
    assert unfamiliar_share(text, set(split_words(text))) == 0


@pytest.mark.parametrize(
    ("limits", "strange"),
    [
        (OodLimits(energy=-1.0, unfamiliar=0.4), (False, True, True, True)),
        (OodLimits(energy=-1.0), (False, True, False, True)),
        (OodLimits(unfamiliar=0.4), (False, False, True, True)),
        (NO_LIMITS, (False, False, False, False)),
    ],
)
def test_either_limit_makes_a_text_strange(limits: OodLimits, strange: tuple[bool, ...]) -> None:
    """A figure at its limit is ordinary, and a missing limit makes no text strange."""
    texts = (predicted(-1.0, 0.4), predicted(-0.9999, 0.4), predicted(-1.0, 0.4001), predicted(0.0, 0.9))
    assert tuple(map(limits.is_strange, texts)) == strange


def test_limits_are_read_from_the_reference() -> None:
    """A bundle may lack each of them, and both."""
    assert limits_in({"ood_energy": -1.5, "ood_unfamiliar": 0.3}) == OodLimits(energy=-1.5, unfamiliar=0.3)
    assert limits_in({"ood_energy": -1.5}) == OodLimits(energy=-1.5)
    assert limits_in({}) == NO_LIMITS


@pytest.mark.parametrize(("strangeness", "strange"), [(None, False), (1.25, False), (1.2501, True)])
def test_a_text_above_the_limit_of_the_gate_is_strange(strangeness: float | None, *, strange: bool) -> None:
    """It is compared as it is rounded, and a bundle whose network has no such output finds no text strange by it."""
    limits = limits_in({"ood_energy": 0.0, "ood_strangeness": 1.25})
    assert limits.is_strange(msgspec.structs.replace(predicted(-1.0, 0.0), strangeness=strangeness)) is strange


def test_a_strangeness_that_is_no_number_is_refused() -> None:
    """A comparison of NaN with a limit means nothing: the network is broken."""
    with pytest.raises(ValueError, match="not a finite number"):
        predict([2.0, 0.0], labels=["a", "b"], temperature=1.0, tokens=3, truncated=False, strangeness=float("nan"))
