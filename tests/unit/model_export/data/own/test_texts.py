"""Texts in other languages are found among English ones: measured on the half of the texts that chose nothing."""

from collections import Counter

import msgspec
import pytest

from tagstream.model_export.bundle import bundle
from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE
from tagstream.model_export.bundle.text import compose
from tagstream.model_export.data.own.texts import TokenCounter, readings, shipped_encoder
from tagstream.model_export.measure.suites import SUITES


@pytest.fixture(scope="module")
def encoder() -> TokenCounter:
    """The tokenizer of the shipped bundle."""
    return shipped_encoder()


def test_most_foreign_texts_are_found_and_hardly_an_english_one(encoder: TokenCounter) -> None:
    """Every text in another script, most in another language, and none of English news and goods on sale."""
    cases = [msgspec.json.decode(line) for line in (SUITES / "foreign.jsonl").read_bytes().splitlines()]
    cases = [case for case in cases if case["half"] == "measured"]
    found = readings([compose(case["title"], case.get("description")) for case in cases], encoder).foreign
    asked, said = Counter(case["kind"] for case in cases), Counter(cases[place]["kind"] for place in found)
    assert said["other-scripts"] == asked["other-scripts"]
    assert said["latin-script"] >= 0.7 * asked["latin-script"]
    assert said["ml-in-another-language"] >= 0.8 * asked["ml-in-another-language"]
    assert (said["news"], said["shopping"]) == (0, 0)


def test_the_rule_for_other_languages_was_chosen_for_the_encoder_of_the_shipped_bundle() -> None:
    """Another encoder reads other languages: `ENGLISH`, `PIECES_A_WORD` and the languages of `suites/foreign.jsonl` are chosen anew for it."""
    made = bundle.read(DEFAULT_BUNDLE).manifest.training["base_model"]
    assert made["name"] == "sentence-transformers/all-MiniLM-L6-v2"


def test_a_text_is_cut_at_the_length_of_the_encoder(encoder: TokenCounter) -> None:
    """Two tokens frame a text, and one more word than there is room for is not read."""
    fits = "word " * (encoder.max_length - 2)
    assert readings([fits, fits + "word"], encoder).cut == [1]
