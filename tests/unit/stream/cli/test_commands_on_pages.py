"""The pages show no command that tagstream would refuse: each is read by its own parser."""

from pathlib import Path

import pytest
from typer.exceptions import TyperException

from tests.unit.stream.cli.command_lines import commands_of, parse

ROOT = Path(__file__).parents[4]
PAGES = [
    page
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md"))
    if [*commands_of(page)]
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_on_a_page_can_be_given(page: Path) -> None:
    """Its verb, its options and their values exist."""
    for words in commands_of(page):
        try:
            parse(words)
        except TyperException as error:
            pytest.fail(f"tagstream {' '.join(words)}: {error}", pytrace=False)


def test_the_commands_of_a_page_are_found(tmp_path: Path) -> None:
    """Variables, a path, pipes, line ends and comments leave the words of tagstream alone; other programs are not read."""
    page = tmp_path / "page.md"
    page.write_text(
        "```console\n"
        "$ TAGSTREAM_BROKERS=host:9092 .venv/bin/tagstream send 'my papers.csv' \\\n    --title name    # a comment\n"
        "$ cat papers.csv | tagstream classify - --json > out.jsonl; tagstream doctor\n"
        "$ kubectl -n tagstream get pods\n"
        "tagstream worker\n"
        "```\n",
        encoding="utf-8",
    )
    assert [*commands_of(page)] == [
        ["send", "my papers.csv", "--title", "name"],
        ["classify", "-", "--json"],
        ["doctor"],
    ]


@pytest.mark.parametrize("words", [["clasify", "x"], ["send", "papers.csv", "--titel", "name"], ["review", "--port", "many"]])
def test_a_command_that_would_be_refused_is_found(words: list[str]) -> None:
    """A misspelt verb, option or value."""
    with pytest.raises(TyperException):
        parse(words)
