"""Is a rebuilt model the shipped one again, as far as luck allows?"""

import pytest

from model_export import contestants, reproduction
from tests.unit.model_export.test_measured import model, record


@pytest.mark.parametrize(("wrong", "says", "holds"), [(5, "within", True), (30, "worse than", False), (0, "better than", True)])
def test_a_rebuilt_model_is_put_beside_the_shipped_one(wrong: int, says: str, holds: bool) -> None:
    """As many errors are the same model; twenty-five more are a defect, five fewer a better one."""
    found = record(model("rebuilt", wrong=wrong, kind=contestants.BUNDLE), model("shipped", wrong=5))
    (part,) = reproduction.reproduced(found, "shipped")
    assert part.part == "corpus_test"
    assert part.holds is holds
    assert says in str(part)
