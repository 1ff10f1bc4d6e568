"""The commands of docs/kubernetes.md name objects and command lines that exist."""

import re
import shlex

import pytest
from typer.exceptions import TyperException

from tests.go.programs import ROOT
from tests.kubernetes.rendered import WHOLE, objects
from tests.unit.stream.cli.command_lines import parse

pytestmark = pytest.mark.kubernetes

PAGE = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")


def wrong(page: str) -> list[str]:
    """What a page names by `kind/name` that no manifest makes, and the command lines of tagstream that cannot be read."""
    made = {f"{each['kind'].lower()}/{each['metadata']['name']}" for folder in WHOLE for each in objects(folder)}
    named = re.findall(r"\b(?:deployment|job|scaledobject)/tagstream-\w+", page)
    assert len(named) > 5
    lines = re.findall(r"^\$ .*kubectl .* exec .*?(?:-- )tagstream (.+)$", page, re.MULTILINE)
    assert len(lines) == 3
    unread = []
    for line in lines:
        try:
            parse(shlex.split(line))
        except TyperException as error:
            unread.append(str(error))
    return [*sorted(set(named) - made), *unread]


def test_the_page_names_what_there_is() -> None:
    """Somebody who tries it on a cluster is not stopped by a name."""
    assert wrong(PAGE) == []


@pytest.mark.parametrize(("good", "bad"), [("job/tagstream-topics", "job/tagstream-topic"), ("--at-least", "--atleast")])
def test_a_wrong_name_is_found(good: str, bad: str) -> None:
    """An object that no manifest makes, and an option that no command has."""
    assert wrong(PAGE.replace(good, bad)) != []
