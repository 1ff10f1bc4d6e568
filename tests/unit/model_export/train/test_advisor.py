"""The adviser: an opinion comes from a head that has not seen the topic, and only checked weights are used."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tagstream.model_export.train import advisor
from tagstream.model_export.train.advisor import AdviceRecipe, AdvisorError
from tagstream.model_export.train.examples import Examples


def clouds(topics: int, rows: int) -> tuple[np.ndarray, Examples, list[str]]:
    """Vectors around three points of a circle, one a label, in topics of `rows` each."""
    generator = np.random.default_rng(5)
    targets = [topic % 3 for topic in range(topics) for _ in range(rows)]
    angles = np.array(targets) * 2 * np.pi / 3 + generator.normal(0, 0.1, len(targets))
    names = [f"topic-{topic}" for topic in range(topics) for _ in range(rows)]
    return (
        np.column_stack([np.cos(angles), np.sin(angles)]),
        Examples(rows=[], targets=targets, sources=["plain"] * len(targets)),
        names,
    )


def test_opinions_are_probabilities_and_mostly_right() -> None:
    """Opinions add up to one, and a head that has not seen a topic judges it rightly where topics agree."""
    vectors, train, topics = clouds(12, 5)
    advice = advisor.judge(vectors, vectors[:3], train, topics=topics, recipe=AdviceRecipe())
    assert torch.allclose(advice.train.sum(dim=1), torch.ones(60), atol=1e-5)
    assert advice.train.argmax(dim=1).tolist() == train.targets
    assert advice.unlabelled.shape == (3, 3)


def test_no_head_remembers_the_label_that_it_judges() -> None:
    """A topic with wrong labels is judged by its neighbours, not by its labels."""
    vectors, train, topics = clouds(12, 5)
    wrong = Examples(
        rows=[],
        targets=[(t + 1) % 3 if topics[n] == "topic-0" else t for n, t in enumerate(train.targets)],
        sources=train.sources,
    )
    advice = advisor.judge(vectors, vectors[:0], wrong, topics=topics, recipe=AdviceRecipe())
    assert advice.train[:5].argmax(dim=1).tolist() == train.targets[:5]


def test_other_weights_are_refused(tmp_path: Path) -> None:
    """Weights with another sum are refused, and the error names the file."""
    for name in advisor.SHA256:
        (tmp_path / name).write_bytes(b"other")
    with pytest.raises(AdvisorError, match=r"model\.safetensors.*SHA-256.*Next"):
        advisor.find(tmp_path)


def test_folder_without_weights_is_named(tmp_path: Path) -> None:
    """An empty folder is an error; training does not go on without advice."""
    with pytest.raises(AdvisorError, match="does not hold"):
        advisor.find(tmp_path)
