"""The benchmark counts what a promise publishes by confidence and limits, and what could be published by the labels."""

import pytest

from benchmarks.certificates import Kept, draw, kept, possible
from benchmarks.real_titles import Decided
from tagstream.model_export.bundle.model import predict
from tagstream.model_export.data.row import Row


def decided(*right: bool) -> list[Decided]:
    """Rows, the surest first."""
    return [
        (
            Row(text=f"{place}", tag="a" if is_right else "b", source="real", topic="t"),
            predict([6.0 - place / 10, 0.0], labels=["a", "b"], temperature=2.0, tokens=3, truncated=False),
            True,
        )
        for place, is_right in enumerate(right)
    ]


def test_a_promise_publishes_what_is_sure_enough_and_within_the_limits() -> None:
    """A row that a limit keeps back counts among the rows, and not among the published ones."""
    found = decided(True, True, False, True)
    third = found[2][1].confidence
    strange = [True, False, False, False]
    assert kept(found, [(0.9, third), (0.99, 1.0)], strange) == [
        Kept(promised=0.9, published=0.5, right=(1, 2)),
        Kept(promised=0.99, published=0.0, right=(0, 0)),
    ]


@pytest.mark.parametrize(
    ("right", "share"),
    [
        ((True,) * 4, 1.0),
        ((False, True, True, True), 0.0),
        ((*(True,) * 19, False), 1.0),
        ((*(True,) * 19, False, False), 20 / 21),
    ],
)
def test_the_possible_share_is_the_largest_that_is_right_enough(right: tuple[bool, ...], share: float) -> None:
    """The surest rows come first; 0.95 itself is enough."""
    assert possible(decided(*right)) == pytest.approx(share)


def test_the_picture_names_bundles_and_rows() -> None:
    """Every line is in the legend, and the sentence for those who do not see it names the bundles."""
    told = [Kept(promised=promised, published=0.5, right=(9, 10)) for promised in (0.9, 0.95)]
    picture = draw({("old", "real titles"): told, ("new", "real titles"): told})
    assert "old, real titles" in picture.svg
    assert "for old and new" in picture.sentence
