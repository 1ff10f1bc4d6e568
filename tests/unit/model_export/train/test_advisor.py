"""The adviser: an opinion comes from a fit that has not seen the topic, and only checked weights are used."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tagstream.model_export.data.row import Row
from tagstream.model_export.train import advisor
from tagstream.model_export.train.advisor import AdviceRecipe, AdvisorError, Opinions
from tagstream.model_export.train.kernel import Texts
from tests.replacing import replace

LABELS = ("blue", "green", "red")


def clouds(topics: int, rows: int) -> tuple[Texts, list[Row]]:
    """Vectors around three points of a circle, one a label, in topics of `rows` each."""
    generator = np.random.default_rng(5)
    found = [
        Row(text=f"text {topic} {number}", tag=LABELS[topic % 3], source="plain", topic=f"topic-{topic}")
        for topic in range(topics)
        for number in range(rows)
    ]
    angles = np.array([LABELS.index(row.tag) for row in found]) * 2 * np.pi / 3 + generator.normal(0, 0.1, len(found))
    vectors = np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    return Texts(texts=[row.text for row in found], vectors=vectors), found


def test_opinions_are_probabilities_and_mostly_right() -> None:
    """Opinions add up to one, and a fit that has not seen a topic judges it rightly where topics agree."""
    texts, rows = clouds(12, 5)
    others = Texts(texts=texts.texts[:3], vectors=texts.vectors[:3])
    known, unlabelled = advisor.judge(texts, others, rows, labels=LABELS, recipe=AdviceRecipe())
    assert torch.allclose(known.sum(dim=1), torch.ones(60), atol=1e-5)
    assert [LABELS[place] for place in known.argmax(dim=1)] == [row.tag for row in rows]
    assert unlabelled.shape == (3, 3)


def test_no_fit_remembers_the_label_that_it_judges() -> None:
    """A topic with wrong labels is judged by its neighbours, not by its labels."""
    texts, rows = clouds(12, 5)
    wrong = [replace(row, tag="red") if row.topic == "topic-0" else row for row in rows]
    none = Texts(texts=[], vectors=texts.vectors[:0])
    known, _ = advisor.judge(texts, none, wrong, labels=LABELS, recipe=AdviceRecipe())
    assert [LABELS[place] for place in known[:5].argmax(dim=1)] == ["blue"] * 5


def test_opinions_are_kept_with_the_same_bits(tmp_path: Path) -> None:
    """A training that goes on learns from the same opinions."""
    found = Opinions(train=torch.rand(4, 3), unlabelled=torch.rand(2, 3), vectors=torch.rand(7, 5).half())
    advisor.save(tmp_path / "opinions", found)
    again = advisor.load(tmp_path / "opinions")
    assert torch.equal(again.train, found.train)
    assert torch.equal(again.unlabelled, found.unlabelled)
    assert torch.equal(again.vectors, found.vectors)


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
