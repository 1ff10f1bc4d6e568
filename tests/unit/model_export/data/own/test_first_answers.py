"""The first answers of people: what proves, what only teaches, and what is refused."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tagstream.model_export.data import random_half
from tagstream.model_export.data.own import answers, first_answers, labels
from tagstream.model_export.data.own.first_answers import BY_DOUBT, BY_LOT, FirstAnswers
from tagstream.model_export.data.reader import RowsError

LABELS = """
[labels.billing]
about = "Money between a customer and us."
examples = ["I was charged two times for the very same month"]
[labels.access]
about = "Who may get in."
"""
DRAWN = [f"e{number}" for number in range(99) if random_half.is_drawn(f"e{number}")]
OTHERS = [f"e{number}" for number in range(99) if not random_half.is_drawn(f"e{number}")]


def sorted_out(folder: Path, said: Sequence[tuple[str, str, str]]) -> FirstAnswers:
    """Answers as id, title and tag, sorted out."""
    (folder / "labels.toml").write_text(LABELS, encoding="utf-8")
    lines = [json.dumps({"id": one, "title": title, "tag": tag}) for one, title, tag in said]
    (folder / "answers.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return first_answers.sort_out(labels.read(folder / "labels.toml"), answers.read(folder / "answers.jsonl"))


def test_the_lot_is_half_of_all_events() -> None:
    """The id alone says who is in it, whatever ids look like."""
    drawn = sum(random_half.is_drawn(f"order-{number:08}") for number in range(4000))
    assert 1900 < drawn < 2100


def test_answers_prove_by_lot_alone(tmp_path: Path) -> None:
    """The id of an event says whether its answer proves; of texts that nearly repeat each other one does, and all are together."""
    found = sorted_out(
        tmp_path,
        [
            (DRAWN[0], "please send the invoice again", "billing"),
            (OTHERS[0], "who locked my account", "access"),
            (DRAWN[1], "Please, send the invoice again!", "billing"),
            (DRAWN[2], "my colleague cannot get in", "access"),
        ],
    )
    assert [row.source for row in found.rows] == [BY_LOT, BY_DOUBT, BY_DOUBT, BY_LOT]
    assert found.rows[0].topic == found.rows[2].topic
    assert len({row.topic for row in found.rows}) == 3


def test_what_counts_for_nothing_is_counted(tmp_path: Path) -> None:
    """Repeats, texts with two answers, and what an example of a label says already; texts of none of the labels stand apart."""
    found = sorted_out(
        tmp_path,
        [
            ("1", "please send the invoice again", "billing"),
            ("2", "please send the invoice again", "billing"),
            ("3", "who locked my account", "access"),
            ("4", "what is this", "access"),
            ("5", "what is this", "billing"),
            ("6", "I was charged two times for the very same month!", "billing"),
            ("7", "good morning to you all", "off_subject"),
        ],
    )
    assert [row.tag for row in found.rows] == ["billing", "access"]
    assert [row.text for row in found.none] == ["good morning to you all"]
    assert found.left_out == 4


def test_an_answer_with_another_label_is_refused(tmp_path: Path) -> None:
    """The message names the line, the label and the next step."""
    with pytest.raises(RowsError, match=r"answers.jsonl, line 2: .*does not have the label 'bug'.*Next: correct the label"):
        sorted_out(tmp_path, [("1", "please send the invoice", "billing"), ("2", "it crashes", "bug")])


def test_a_single_answer_is_too_little(tmp_path: Path) -> None:
    """A head that learned from it cannot be judged by another."""
    with pytest.raises(RowsError, match=r"has 1 answers to learn from.*Next: answer some sixty"):
        sorted_out(tmp_path, [("1", "please send the invoice", "billing")])
