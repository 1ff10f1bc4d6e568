"""The installed package tells people to do and to read what there is without a checkout."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.release.environment import Environment
from tests.sources import parsed

ROOT = Path(__file__).parents[3]
TARGETS = "|".join(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
MAKE = re.compile(rf"\bmake (?:{TARGETS})\b")
# A path from the root of the checkout, as messages write it.
PATH = re.compile(
    r"(?<![\w./-])((?:\.ci|benchmarks|deploy|docs|examples|model_export|monitoring|requirements|stream|tests)/\w[\w./-]*\w)"
)
# The project's name is on no index yet: who tries gets nothing, or a stranger's package.
BY_NAME = re.compile(r"pip install '?tagstream(?!\S* @)")
# In `--help`, which says where the pages are.
ANY_PAGE = "docs/NAME.md"
# The help of every verb, as a user sees it.
HELP = """
import click, typer
from tagstream.stream.cli.main import app
def show(command, context):
    print(command.get_help(context))
    for name, below in getattr(command, "commands", {}).items():
        show(below, click.Context(below, info_name=name, parent=context))
top = typer.main.get_command(app)
show(top, click.Context(top, info_name="tagstream"))
"""


def messages(source: str) -> Iterator[str]:
    """The strings of a Python file but for its docstrings, which users do not see; of one with values in it, the text around them."""
    tree = parsed(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    statements = {
        id(one.value)
        for node in ast.walk(tree)
        if isinstance(node, documented)
        for one in node.body
        if isinstance(one, ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "\N{BULLET}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in statements:
            yield node.value


def texts(package: Path) -> Iterator[tuple[str, str]]:
    """Each message of the package with its file; of pages, rules and boards the whole but for lines that are comments."""
    for path in sorted(package.rglob("*")):
        name = path.relative_to(package).as_posix()
        if path.suffix == ".py":
            yield from ((name, message) for message in messages(path.read_text(encoding="utf-8")))
        elif path.suffix in {".html", ".js", ".css", ".yml", ".json", ".xml"} and not name.startswith(
            ("docs/", "model_export/bundles/", "model_export/corpus/")
        ):
            yield name, re.sub(r"(?m)^\s*# .*$", "", path.read_text(encoding="utf-8"))


def unknown(text: str, package: Path) -> list[str]:
    """The targets, paths and names of a text that an installed package has not."""
    paths = [path for path in PATH.findall(text) if path != ANY_PAGE and not (package / path).exists()]
    return [*MAKE.findall(text), *paths, *BY_NAME.findall(text)]


@pytest.mark.slow
def test_no_message_names_what_only_a_checkout_has(package: Path) -> None:
    """No target of make, no path outside the package, no name on an index; a page of `docs` is in the package."""
    found = [(name, bad) for name, text in texts(package) for bad in unknown(text, package)]
    assert found == []


@pytest.mark.slow
def test_no_help_names_what_only_a_checkout_has(installed: Environment, package: Path) -> None:
    """As for messages, in the help of every verb."""
    said = installed.run("python", "-c", HELP).decode()
    assert "tagstream model train" in said
    assert unknown(said, package) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "bad"),
    [
        ("Next: make demo, or make it anew.", ["make demo"]),
        ("pip install -r requirements/advisor.txt", ["requirements/advisor.txt"]),
        ("docs/settings.md, and docs/runbooks/Gone.md.", ["docs/runbooks/Gone.md"]),
        ("Next: pip install 'tagstream[otel]'", ["pip install 'tagstream"]),
        ("pip install 'tagstream[otel] @ file:///a.whl'", []),
    ],
)
def test_what_only_a_checkout_has_is_found(package: Path, text: str, bad: list[str]) -> None:
    """The search itself finds what it is for, and no more."""
    assert unknown(text, package) == bad


def test_messages_are_strings_that_are_not_docstrings() -> None:
    """A message that is put together is one text."""
    source = '"""of the file"""\ndef f(x):\n    """of the function"""\n    return f"docs/{x}.md" + "make"\n'
    assert {"docs/\N{BULLET}.md", "make"} <= set(messages(source))
    assert not any("of the" in one for one in messages(source))
