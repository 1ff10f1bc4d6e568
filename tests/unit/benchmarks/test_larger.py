"""`python -m benchmarks.larger`: the head of the larger bundle."""

from dataclasses import replace

import numpy as np
import torch
from transformers import MPNetConfig, MPNetModel

from benchmarks.larger import Classifier, Regression, fitted
from tagstream.model_export.data.row import Row
from tagstream.model_export.train import advisor, kernel
from tagstream.model_export.train.advisor import AdviceRecipe
from tagstream.model_export.train.kernel import KernelRecipe, Texts
from tagstream.model_export.train.pretrained import ByMask

LABELS = ("a", "b", "c")
GIVEN = AdviceRecipe(kernel=KernelRecipe(words=0.0), source_weights={"light": 0.5})


def units(rows: int, seed: int) -> kernel.Vectors:
    """Random unit vectors."""
    found = np.random.default_rng(seed).normal(size=(rows, 16)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def rows_of(count: int) -> list[Row]:
    """So many rows with labels in turn, half of them of a source of less weight."""
    return [
        Row(text="one word", tag=LABELS[place % 3], source=("light", "full")[place % 2], topic=str(place))
        for place in range(count)
    ]


def test_with_all_rows_as_landmarks_it_is_the_advisers_regression() -> None:
    """The scores of new vectors are those of the adviser without words."""
    known, new, rows = units(60, 1), units(20, 2), rows_of(60)
    weights = torch.tensor([GIVEN.source_weights.get(row.source, 1.0) for row in rows])
    expected = kernel.regress(
        Texts(texts=[row.text for row in rows], vectors=known),
        Texts(texts=["one word"] * 20, vectors=new),
        targets=torch.nn.functional.one_hot(torch.tensor([LABELS.index(row.tag) for row in rows]), 3).float(),
        weights=weights / weights.mean(),
        groups=[row.topic for row in rows],
        recipe=GIVEN.kernel,
    )
    found = fitted(known, rows, LABELS, GIVEN, landmarks=60)
    torch.testing.assert_close(found(torch.from_numpy(new)), expected.others, atol=5e-3, rtol=0)
    # The weights of sources and the width of the kernel are not lost on the way.
    for other in (replace(GIVEN, source_weights={}), replace(GIVEN, kernel=replace(GIVEN.kernel, sharpness=0.5))):
        assert (fitted(known, rows, LABELS, other, landmarks=60)(torch.from_numpy(new)) - expected.others).abs().max() > 2e-2


def test_padding_and_neighbours_do_not_change_a_score() -> None:
    """A text has the same scores alone and padded beside a longer one."""
    torch.manual_seed(3)
    encoder = MPNetModel(
        MPNetConfig(vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32),
        add_pooling_layer=False,
    )
    regression = Regression(torch.from_numpy(units(8, 4)), torch.randn(8, 3), torch.full((3,), 1 / 3), 1.5)
    network = ByMask(Classifier(encoder, regression), advisor.PADDING).eval()
    with torch.no_grad():
        alone = network(torch.tensor([[0, 7, 9, 2]]), torch.ones(1, 4, dtype=torch.int64))
        beside = network(torch.tensor([[0, 7, 9, 2, 0, 0], [0, 8, 8, 9, 9, 2]]), torch.tensor([[1, 1, 1, 1, 0, 0], [1] * 6]))
    torch.testing.assert_close(beside[:1], alone, atol=1e-5, rtol=0)
    assert not torch.allclose(beside[0], beside[1], atol=1e-3)
