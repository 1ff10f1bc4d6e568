"""Decisions and shares from files: what is read, what is left out, and what is refused with its line."""

import json
from pathlib import Path

import pytest

from tagstream.model_export.data.decisions import read_decisions, read_shares
from tagstream.model_export.data.reader import RowsError

LABELS, DIGEST = ("a", "b"), "d" * 64


def line(**changes: object) -> str:
    """A line of `classify --json`."""
    whole = {"title": "x", "probabilities": {"a": 0.9, "b": 0.1}, "decider": "model", "model": {"digest": DIGEST, "name": "n"}}
    return json.dumps(whole | changes)


def test_decisions_are_read_and_the_rest_is_left_out(tmp_path: Path) -> None:
    """Rejected events, strange texts and what goes to people for a reason that is not known here say nothing about thresholds."""
    file = tmp_path / "decisions.jsonl"
    left_out = [line(reasons=["out_of_distribution"]), line(reasons=["low_confidence", "of_a_newer_version"])]
    file.write_text("\n".join([line(), "", '{"line":3,"error":"no title"}', *left_out, line(reasons=["low_confidence"])]))
    assert read_decisions(file, LABELS, DIGEST).tolist() == [[0.9, 0.1], [0.9, 0.1]]


@pytest.mark.parametrize(
    ("second", "why"),
    [
        ("no json", "line 2 is no decision"),
        ('{"probabilities":{"a":"x"}}', "line 2 is no decision"),
        (line(model={"digest": "e" * 64}), "line 2: these decisions are not of the bundle with the digest dddddddddddd"),
        (line(decider="rules"), "line 2: these decisions are not"),
        (line(probabilities={"a": 1.0}), "line 2: these decisions are not"),
    ],
)
def test_what_is_no_decision_of_the_bundle_is_refused(tmp_path: Path, second: str, why: str) -> None:
    """The message names the line and the next step."""
    file = tmp_path / "decisions.jsonl"
    file.write_text(f"{line()}\n{second}\n")
    with pytest.raises(RowsError, match=rf"{why}.*Next: "):
        read_decisions(file, LABELS, DIGEST)


def test_shares_are_toml_or_json_at_the_top_or_under_a_name(tmp_path: Path) -> None:
    """Both forms give the same shares."""
    for name, text in (("p.toml", "a = 0.2\nb = 0.8\n"), ("p.json", '{"shares": {"a": 0.2, "b": 0.8}}')):
        (tmp_path / name).write_text(text)
        assert read_shares(tmp_path / name) == {"a": 0.2, "b": 0.8}


@pytest.mark.parametrize(("name", "text"), [("p.toml", "a = [1]"), ("p.json", "[]"), ("p.json", "{"), ("p.toml", "a =")])
def test_other_files_are_no_shares(tmp_path: Path, name: str, text: str) -> None:
    """The message shows the form."""
    (tmp_path / name).write_text(text)
    with pytest.raises(RowsError, match=r"holds no shares: .*Next: write one number a label"):
        read_shares(tmp_path / name)
    with pytest.raises(RowsError, match="cannot be read"):
        read_shares(tmp_path / "none")
