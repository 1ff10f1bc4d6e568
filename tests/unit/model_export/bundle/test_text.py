"""The text for the model, and the words that drift detection compares."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.model_export.bundle.text import (
    MOST_CHARACTERS,
    MOST_WORDS,
    is_described,
    known_words,
    tokens_per_word,
    unfamiliar_share,
    words,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Low-resource NLP: a survey", ("low", "resource", "nlp", "survey")),
        ("snake_case GPT-4o, x86 é", ("snake", "case", "gpt", "4o", "x86")),
        ("Überblick über Sprachmodelle", ("überblick", "über", "sprachmodelle")),
        ("图像分割 综述", ("图像分割", "综述")),
        ("twice twice", ("twice", "twice")),
        ("x" * 30 + " " + "y" * 31, ("x" * 30,)),
        ("", ()),
        ("!? … \u200b", ()),
    ],
)
def test_words_are_letters_and_digits_in_order(text: str, expected: tuple[str, ...]) -> None:
    """Words are lower-cased, two to thirty characters long, and keep order and repetition, in any script."""
    assert words(text) == expected


@given(st.text())
def test_any_text_has_words_that_are_words(text: str) -> None:
    """The words of any text are bounded in number and length, and cutting them again gives the same."""
    found = words(text)
    assert len(found) <= MOST_WORDS
    assert all(2 <= len(word) <= 30 and word.isalnum() for word in found)
    assert words(text) == found


def test_a_megabyte_costs_no_more_than_its_beginning() -> None:
    """Only the beginning of a text is cut into words, so a megabyte takes no more memory."""
    text = "ab " * 333_000
    tracemalloc.start()
    try:
        found = words(text)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < len(text) / 2
    assert found == ("ab",) * MOST_WORDS
    assert words("x" * MOST_CHARACTERS + " hidden") == ()


@pytest.mark.parametrize(
    ("text", "tokens", "ratio"),
    [("one two", 4, 1.0), ("one two", 7, 2.5), ("", 2, 0.0), ("one", 0, 0.0), (" one \n two ", 3, 0.5)],
)
def test_tokens_per_word_leave_out_the_special_tokens(text: str, tokens: int, ratio: float) -> None:
    """The ratio is defined for every text, also without words, and is never negative."""
    assert tokens_per_word(text, tokens) == ratio


@pytest.mark.parametrize(("description", "expected"), [(None, False), ("", False), (" \n\t", False), (" a", True)])
def test_a_blank_description_describes_nothing(description: str | None, expected: bool) -> None:
    """An event with a blank description counts as a title alone."""
    assert is_described(description) is expected


CHINESE = ("今天股市大涨、投资者高兴", "投资者今天不高兴", "股市不涨", "GPT模型大涨", "模型大")


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("股市今天大涨", 0.0),
        # One character of six is new; then as one word of another language each.
        ("股市今天狂涨", 0.1429),
        ("Stocks rise today", 0.75),
        ("株価が大きく上がりました", 0.8462),
        ("ตลาดหุ้นขึ้น", 0.5),
        ("GPT模型不高兴", 0.1429),
    ],
)
def test_a_bundle_of_chinese_rows_knows_chinese_by_its_characters(text: str, share: float) -> None:
    """Rows without spaces teach their characters: their own language is familiar, and all others are strange."""
    assert unfamiliar_share(text, frozenset(known_words(CHINESE))) == share


@pytest.mark.parametrize(("text", "share"), [("Attention 注意力 for GPT", 0.2), ("GPT模型", 0.5), ("今天股市大涨", 0.5)])
def test_a_bundle_that_has_learned_no_such_script_counts_a_piece_as_one_word(text: str, share: float) -> None:
    """Bundles of English rows do."""
    assert unfamiliar_share(text, frozenset({"attention", "for", "gpt"})) == share
