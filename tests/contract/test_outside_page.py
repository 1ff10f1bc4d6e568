"""The example of docs/outside-labels.md says what the shipped bundle says."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tagstream.stream.cli.main import app

PAGE = (Path(__file__).parents[2] / "docs" / "outside-labels.md").read_text(encoding="utf-8")


def test_the_shipped_bundle_says_what_the_page_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader who types the texts of the page sees its lines: which of them are published, and why the others are not."""
    ((texts, shown),) = re.findall(
        r"^\$ cat other\.csv\n(.*?)^\$ tagstream classify other\.csv\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.csv").write_text(texts, encoding="utf-8")
    ran = CliRunner().invoke(app, ["classify", "other.csv"])
    assert (ran.stdout, ran.exit_code) == (shown, 0)
