"""Whether a rebuilt model equals the shipped one, up to chance."""

import pytest

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, read
from tagstream.model_export.compare import contestants, reproduction
from tagstream.model_export.onnx import ngrams
from tests.unit.model_export.compare.test_evaluation_record import model, record


@pytest.mark.parametrize(("wrong", "says", "holds"), [(5, "within", True), (30, "worse than", False), (0, "better than", True)])
def test_a_rebuilt_model_is_put_beside_the_shipped_one(wrong: int, says: str, holds: bool) -> None:
    """As many errors mean the same model; twenty-five more are a defect, five fewer a better model."""
    found = record(model("rebuilt", wrong=wrong, kind=contestants.BUNDLE), model("shipped", wrong=5))
    (part,) = reproduction.reproduced(found, "shipped")
    assert part.part == "corpus_test"
    assert part.holds is holds
    assert says in str(part)


def test_what_two_files_have_in_common_is_said() -> None:
    """Two files are equal as a whole, in their network alone, or not at all."""
    shipped = read(DEFAULT_BUNDLE)
    labels = shipped.manifest.labels
    network = ngrams.without(shipped.model, labels)
    assert network != shipped.model
    assert reproduction.same_file(shipped.model, shipped.model, labels) == "To the byte."
    assert reproduction.same_file(network, shipped.model, labels).startswith("Its network to the byte")
    step = network.index(b"\x00\x00", len(network) // 2)
    other = network[:step] + b"\x01" + network[step + 1 :]
    assert reproduction.same_file(other, shipped.model, labels) == "Not to the byte."
