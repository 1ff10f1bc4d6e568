"""Slices: which rows each contains, and that slices of few rows are marked."""

import pytest

from tagstream.model_export.bundle.model import Prediction
from tagstream.model_export.data import corpus, madewithml
from tagstream.model_export.data.row import Row
from tagstream.model_export.measure import slices
from tests.replacing import replace


def row(
    text: str, *, tag: str = "other", described: bool = True, register: str | None = None, source: str = "madewithml"
) -> Row:
    """A labelled row."""
    return Row(text=text, tag=tag, source=source, topic="t", described=described, register=register)


def given(label: str) -> Prediction:
    """A prediction of `label`."""
    return Prediction(label=label, confidence=0.9, probabilities={}, energy=-1.0, tokens=5, truncated=False)


LONG = " ".join(["word"] * 41)


@pytest.mark.parametrize(
    ("given_row", "names"),
    [
        (row("Six words are a short text"), {"short: 6 words at most", "with description", "1 to 6 words"}),
        (row("Now seven words are not a short", described=False), {"no description", "7 to 15 words"}),
        (row(LONG, register="long"), {"with description", "41 words or more", "long"}),
        (
            row("Serving LLMs", register="terse"),
            {"short: 6 words at most", "with description", "terms of language models", "1 to 6 words", "terse"},
        ),
        (row("A plain one", source="plain"), {"short: 6 words at most", "with description", "1 to 6 words", "plain"}),
        (row("A hard one", source="corpus"), {"short: 6 words at most", "with description", "1 to 6 words", "borderline"}),
        (row("Détection"), {"short: 6 words at most", "with description", "not ASCII", "1 to 6 words"}),
    ],
)
def test_a_row_is_in_the_slices_that_describe_it(given_row: Row, names: set[str]) -> None:
    """A row is in every slice that describes it, and in no other."""
    assert {kind.name for kind in slices.SLICES if kind.holds(given_row)} == names


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("ChatGPT for teachers", True),
        ("gpt-4o and gpt2", True),
        ("A large language model", True),
        ("Retrieval-augmented answers", True),
        ("prompting with RAG", True),
        ("Ragged tensors and dragging", False),
        ("Promptly delivered parcels", False),
        ("Language teachers model verbs", False),
    ],
)
def test_terms_of_language_models_are_whole_words(text: str, holds: bool) -> None:
    """A term counts as a whole word only."""
    assert slices.has_llm_terms(row(text)) is holds


def test_every_length_is_in_one_slice() -> None:
    """No text falls between two lengths."""
    lengths = [kind for kind in slices.SLICES if kind.group == "length"]
    for words in range(1, 60):
        assert sum(kind.holds(row(" ".join(["a"] * words))) for kind in lengths) == 1


def test_figures_are_those_of_the_rows_in_the_slice() -> None:
    """Right, share and F1 are counted over the slice alone, with intervals around them."""
    rows = [row("short", tag="mlops"), row("short", tag="other"), row(LONG, tag="mlops"), row(LONG, tag="mlops")]
    found = slices.measure(rows, [given("mlops")] * 3 + [given("other")], labels=madewithml.LABELS)
    short = next(report for report in found if report.name == "1 to 6 words")
    assert (short.rows, short.right, short.accuracy) == (2, 1, 0.5)
    assert short.weighted_f1 == pytest.approx((2 / 3) / 2)
    assert short.interval[0] < 0.5 < short.interval[1]
    assert short.f1_interval[0] <= short.weighted_f1 <= short.f1_interval[1]


def test_few_rows_are_said_to_be_few_and_no_rows_are_left_out() -> None:
    """Slices of few rows are marked in text and JSON; slices without rows are left out."""
    enough = [row("short enough")] * slices.FEW_ROWS
    found = slices.measure([*enough, row(LONG)], [given("other")] * (slices.FEW_ROWS + 1), labels=madewithml.LABELS)
    assert {report.name: report.as_json()["few"] for report in found if report.group == "length"} == {
        "1 to 6 words": False,
        "41 words or more": True,
    }
    lines = slices.as_table("part", found).splitlines()
    assert [("few rows" in line) for line in lines if "words or more" in line or "1 to 6" in line] == [False, True]


def test_authored_rows_keep_their_register() -> None:
    """All registers of the corpus reach the rows."""
    registers = {each.register for each in corpus.read_corpus(corpus.CORPUS)}
    assert registers == set(corpus.REGISTERS)


def test_authored_rows_are_borderline_or_plain() -> None:
    """Every authored row is in one of the two slices, and both have rows."""
    authored = [kind for kind in slices.SLICES if kind.group == "authored"]
    rows = corpus.read_corpus(corpus.CORPUS)
    assert all(sum(kind.holds(each) for kind in authored) == 1 for each in rows)
    assert all(any(kind.holds(each) for each in rows) for kind in authored)


def test_unequal_lengths_are_an_error() -> None:
    """Predictions for only some of the rows are refused."""
    with pytest.raises(ValueError, match="one a row"):
        slices.measure([row("a")], [], labels=madewithml.LABELS)


def test_rows_of_a_user_are_sliced_by_their_sources_and_columns() -> None:
    """One source is no slice, an empty cell is one, and nothing is said of machine learning."""
    rows = [
        Row(text="a GPT", tag="x", source=source, topic="", columns=(("region", region),))
        for source, region in (("mail", "EU"), ("web", "US"), ("web", ""))
    ]
    kinds = slices.of_own(rows)
    holding = {
        (kind.group, kind.name): [kind.holds(row) for row in rows] for kind in kinds if kind.group not in {"text", "length"}
    }
    assert holding == {
        ("source", "mail"): [True, False, False],
        ("source", "web"): [False, True, True],
        ("region", "(empty)"): [False, False, True],
        ("region", "EU"): [True, False, False],
        ("region", "US"): [False, True, False],
    }
    named = [replace(row, columns=(("source", row.source), *row.columns)) for row in rows]
    assert [(kind.group, kind.name) for kind in slices.of_own(named)] == [(kind.group, kind.name) for kind in kinds]
    assert "terms of language models" not in {kind.name for kind in kinds}
    assert {kind.group for kind in slices.of_own(rows[1:2] * 2)} == {"text", "length", "region"}


def test_a_column_of_many_values_is_cut_into_the_most_frequent() -> None:
    """An id taken for a column does not make a table of ten thousand rows."""
    rows = [
        Row(text="a", tag="x", source="own", topic="", columns=(("id", value),))
        for value in ["often", "often", *map(str, range(50))]
    ]
    names = [kind.name for kind in slices.of_own(rows) if kind.group == "id"]
    assert len(names) == slices.MOST_VALUES
    assert "often" in names
