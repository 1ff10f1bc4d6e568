"""The commands of docs/nested-events.md say what is printed there."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tagstream.stream.cli.main import app

PAGE = (Path(__file__).parents[2] / "docs" / "nested-events.md").read_text(encoding="utf-8")


def block(heading: str) -> str:
    """The text of the one fenced block that begins so."""
    (found,) = re.findall(rf"^```{heading}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.fixture
def events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The events of the page in a folder without other settings."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "events.jsonl").write_text(block("json lines"), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(("stage", "code"), [("first", 4), ("second", 0)])
def test_the_check_says_what_the_page_shows(events: Path, stage: str, code: int) -> None:
    """A reader who types the page's settings and command sees the page's lines."""
    (events / "tagstream.toml").write_text(block(f"toml {stage}"), encoding="utf-8")
    command, shown = block(f"console {stage}").split("\n", 1)
    ran = CliRunner().invoke(app, command.removeprefix("$ tagstream ").split())
    assert (ran.stdout, ran.exit_code) == (shown, code)


def test_the_record_begins_as_the_page_shows(events: Path) -> None:
    """The event comes out unmoved, with the contract's fields after it."""
    (events / "tagstream.toml").write_text(block("toml second"), encoding="utf-8")
    ran = CliRunner().invoke(app, ["classify", "--json", "events.jsonl"])
    first = json.loads(ran.stdout.splitlines()[0])
    shown = json.loads(block("json outcome"))
    assert list(first.items())[: len(shown)] == list(shown.items())
