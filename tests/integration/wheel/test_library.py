"""`from tagstream import Tagger` in the installed wheel, beside packages of the user's own."""

from pathlib import Path

import pytest

from deploy.release.environment import Environment
from tagstream import Tagger

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
TITLES = ("Feature stores in production", "Attention is all you need", " ", "Zero\u200bwidth")
PROGRAM = f"""
from tagstream import Tagger
for result in Tagger(settings={{"audit_rate": 0.5}}, clock=lambda: 1_700_000_000).decide({TITLES!r}):
    print(result, result.records[0].value)
"""


def test_a_program_gets_the_decisions_of_the_checkout(installed: Environment) -> None:
    """Every field and every byte of them."""
    here = [
        f"{one} {one.records[0].value!r}"
        for one in Tagger(settings={"audit_rate": 0.5}, clock=lambda: 1_700_000_000).decide(TITLES)
    ]
    assert installed.run("python", "-c", PROGRAM).decode().splitlines() == here


def test_a_type_checker_sees_the_types(package: Path) -> None:
    """The package says that it has them."""
    assert (package / "py.typed").is_file()


def test_the_page_of_the_library_is_true_of_the_wheel(installed: Environment) -> None:
    """As it is printed."""
    assert installed.run("python", "-m", "doctest", ROOT / "docs" / "library.md") == b""
