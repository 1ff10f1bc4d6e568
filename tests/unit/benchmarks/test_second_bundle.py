"""`python -m benchmarks.second_bundle`: the parts of `tagstream second` on labelled titles, here with the keyword classifier of the tests."""

import pytest

from benchmarks.second_bundle import fewest, followed, items_line, judged, missing, share, warranty_line
from tagstream.model_export.data.corpus import NOT_ML
from tagstream.model_export.data.row import Row
from tagstream.stream.contract.outcome import ModelRef
from tagstream.stream.second.facts import Cells
from tests.fakes import LABELS, deciding
from tests.replacing import replace

FIRST = deciding()
SECOND = replace(FIRST, model=ModelRef(name="larger", version="2", digest="a" * 64))
CELLS = Cells(LABELS, bands=(0.9,))
LEAST = fewest(CELLS, promise=0.9)


def titles(count: int, *, wrong: int = 0, word: str = "maybe image") -> list[Row]:
    """So many titles that both classifiers take for images; each `wrong`-th is about none of the labels."""
    return [
        Row(text=f"{word} {place}", tag=NOT_ML if wrong and place % wrong == 0 else "computer-vision", source="real", topic="t")
        for place in range(count)
    ]


def test_only_items_of_review_are_judged() -> None:
    """The second is not asked about what the first publishes; a text of none of the labels makes its opinion wrong."""
    found = judged([*titles(4, wrong=4), *titles(3, word="image")], FIRST, SECOND)
    assert [one.right for one in found] == [False, True, True, True]
    assert items_line("some", 7, found).startswith("| some | 7 | 4 | 4 | 3 of 4: 0.750 [")
    assert "| 3 of 3: 1.000 [" in items_line("some", 7, found)


def test_a_second_that_is_right_settles_all_items_after_its_certificate() -> None:
    """The least number of right answers certifies the cell; from then on people are asked about audits alone."""
    found = followed(judged(titles(LEAST + 20), FIRST, SECOND), CELLS, promise=0.9)
    [certified] = [one for one in found.status.cells if one.certified]
    assert (certified.cell, certified.right) == (CELLS.of("computer-vision", agrees=True, score=0.5), LEAST)
    assert (len(found.settled), found.status.settled) == (20, 20)
    assert f"| 0.90 | {LEAST + 20} | 1 of 16 | 20 of 20: 1.000 [" in warranty_line("some", LEAST + 20, found)


@pytest.mark.parametrize(
    ("count", "wrong", "words"),
    [(LEAST - 1, 0, f"1 where {LEAST - 1} of {LEAST - 1} are right; 15 cells out of reach"), (300, 5, "out of reach in every")],
)
def test_too_few_answers_and_a_second_that_is_too_bad_settle_nothing(count: int, wrong: int, words: str) -> None:
    """The estimate says whether more answers would help."""
    found = followed(judged(titles(count, wrong=wrong), FIRST, SECOND), CELLS, promise=0.9)
    assert not found.settled
    assert share(0, len(found.settled)) == "none"
    assert words in missing(found.status.cells)
