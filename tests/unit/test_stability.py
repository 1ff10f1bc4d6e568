"""docs/stability.md lists what there is: a verb, topic or exit code that is added or goes is a change of that page."""

import re
from pathlib import Path
from typing import Any

import typer

from tagstream.stream.cli import exits
from tagstream.stream.cli.main import app
from tagstream.stream.deliver.fatal import EXIT_BROKEN
from tagstream.stream.settings.topics import Topics

PAGE = (Path(__file__).parents[2] / "docs" / "stability.md").read_text(encoding="utf-8")


def section(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    text = PAGE.split(f"### {heading}\n", 1)[1].split("\n#", 1)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return rows[2:]


def names(cell: str) -> list[str]:
    """The words in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def test_the_page_has_every_verb() -> None:
    """With those below groups, and no other."""
    listed = {verb: set(names(below)) for verbs, below in section("Verbs") for verb in names(verbs)}
    command: Any = typer.main.get_command(app)
    found = {name: set(getattr(verb, "commands", ())) for name, verb in command.commands.items()}
    assert listed == found


def test_the_page_has_every_exit_code() -> None:
    """Those of verbs and of workers, as `--help` says them."""
    listed = {int(code) for code, *_ in section("Exit codes")}
    codes = {value for name, value in vars(exits).items() if name.startswith("EXIT_")}
    assert listed == {0, 14, EXIT_BROKEN} | codes
    assert set(map(int, re.findall(r"(?<![\w.])\d+(?= [a-z])", str(app.info.epilog)))) == listed


def test_the_page_has_every_topic() -> None:
    """Each in one of the two rows."""
    listed = [name for setting, _ in section("Topics") for name in names(setting)]
    assert sorted(listed) == sorted(f"topics.{name}" for name in Topics.model_fields)
