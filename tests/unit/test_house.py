"""The layout of the project is kept by tests: import contracts, circles, and paths that pages name."""

import ast
import re
import runpy
import tomllib
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

from tests.sources import parsed

ROOT = Path(__file__).parents[2]
ROOMS = ("stream", "model_export", "monitoring")
PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "examples").rglob("*.md"),
    *(ROOT / "model_export" / "corpus").glob("*.md"),
]

CODE = {".py", ".js", ".css", ".html"}

# A path from the project's root in backticks, a bare Python file in backticks, and the target of a relative link.
PATH = re.compile(r"`((?:\.ci|benchmarks|deploy|docs|examples|model_export|monitoring|requirements|stream|tests)/[\w./*-]+)`")
# A test by its file, perhaps its class, and its name.
TEST = re.compile(r"`(tests/[\w./]+)::(?:\w+::)?(\w+)`")
BARE = re.compile(r"`(\w+\.py)`")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")


def code_files(root: Path, *folders: str) -> list[Path]:
    """Files of code below the folders, relative to the root; an `__init__.py` without a line does not count."""
    paths = (path for folder in folders for path in (root / folder).rglob("*") if path.suffix in CODE)
    return sorted(path.relative_to(root) for path in paths if path.name != "__init__.py" or path.stat().st_size)


def without_contract(root: Path, contracts: list[dict[str, Any]], *packages: str) -> list[str]:
    """Modules and packages right below the given ones that no exhaustive contract of layers names."""
    exhaustive = [contract for contract in contracts if contract["type"] == "layers" and contract.get("exhaustive")]
    layers = {
        f"{container}.{name}"
        for contract in exhaustive
        for container in contract["containers"]
        for layer in contract["layers"]
        for name in re.findall(r"\w+", layer)
    }
    below = {
        ".".join(("tagstream", *path.with_suffix("").parts[:2])) for path in code_files(root, *packages) if path.suffix == ".py"
    }
    return sorted(below - layers)


def imports(root: Path, *packages: str) -> dict[str, set[str]]:
    """Module -> modules of the same packages that it imports: at its top, inside functions, or for types alone."""
    modules = {
        ".".join(("tagstream", *path.with_suffix("").parts)): path
        for path in code_files(root, *packages)
        if path.suffix == ".py"
    }
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        graph[module] = set()
        for node in ast.walk(parsed((root / path).read_bytes())):
            match node:
                case ast.Import(names=names):
                    named = {name.name for name in names}
                case ast.ImportFrom(module=str(source), names=names):
                    named = {source, *(f"{source}.{name.name}" for name in names)}
                case _:
                    continue
            graph[module] |= named & modules.keys()
    return graph


def import_circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, the first one again at the end; empty where there is no circle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def broken_names(root: Path, page: Path) -> list[str]:
    """Paths, Python files, tests and link targets of a page that do not exist."""
    text = page.read_text(encoding="utf-8")
    paths = [name for name in PATH.findall(text) if not any(root.glob(name.rstrip("/")))]
    known = {path.name for path in code_files(root, *ROOMS, "tests", "benchmarks", "examples")}
    bare = [name for name in BARE.findall(text) if name not in known]
    links = [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    tests = [f"{file}::{name}" for file, name in TEST.findall(text) if name not in functions(root / file)]
    return [*paths, *bare, *links, *tests]


@cache
def functions(file: Path) -> frozenset[str]:
    """The names of all functions of a file, those of classes included; none where there is no such file."""
    if not file.is_file():
        return frozenset()
    found = ast.walk(parsed(file.read_bytes()))
    return frozenset(node.name for node in found if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def contracts_of_the_project() -> list[dict[str, Any]]:
    """The import contracts of pyproject.toml."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts: list[dict[str, Any]] = settings["tool"]["importlinter"]["contracts"]
    return contracts


def write(root: Path, **files: str) -> Path:
    """Make files under the root; two underscores in a name stand for a folder."""
    for name, text in files.items():
        path = root / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def test_every_module_is_under_an_import_contract() -> None:
    """A new folder or module must say where it stands among the layers."""
    assert without_contract(ROOT, contracts_of_the_project(), *ROOMS) == []


def test_no_module_imports_itself_through_others() -> None:
    """There are no import circles, not even by imports inside functions or for types alone."""
    assert import_circle(imports(ROOT, *ROOMS)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_pages_name_files_that_exist(page: Path) -> None:
    """Every path, file, test and link on a page leads to something, the tables of the architecture and of promises included."""
    assert broken_names(ROOT, page) == []


def test_paths_of_the_second_environment_exist() -> None:
    """A path that `pytest --learning` collects leads to something."""
    paths = runpy.run_path(str(ROOT / "conftest.py"))["LEARNING"]
    assert [path for path in paths if not path.exists()] == []


def test_the_changelog_describes_the_version_of_the_package() -> None:
    """The newest version of the changelog is the package's; changes after it stand under "Unreleased", without a number."""
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    released = next(heading.split()[0] for heading in headings if heading != "Unreleased")
    assert released == tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def test_the_architecture_has_a_routing_table() -> None:
    """The page on the architecture answers "I want to change X: go to Y", and each answer names a path."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| .+$", text.split("| I want to change")[1].split("\n\n")[0], re.MULTILINE)
    assert len(rows) >= 12
    assert [row for row in rows if not PATH.search(row)] == []


def test_a_module_without_a_contract_is_found(tmp_path: Path) -> None:
    """A package that the layers do not name is reported, and so are all if the contract is not exhaustive."""
    write(tmp_path, stream__cli__main="x = 1", stream__logs="x = 1", stream__attic__old="x = 1")
    contract = {"type": "layers", "exhaustive": True, "containers": ["tagstream.stream"], "layers": ["cli | doctor", "logs"]}
    assert without_contract(tmp_path, [contract], "stream") == ["tagstream.stream.attic"]
    lax = contract | {"exhaustive": False}
    assert without_contract(tmp_path, [lax], "stream") == [
        "tagstream.stream.attic",
        "tagstream.stream.cli",
        "tagstream.stream.logs",
    ]


@pytest.mark.parametrize(
    "back",
    [
        "import tagstream.stream.a",
        "from tagstream.stream import a",
        "def later() -> None:\n    from tagstream.stream.a import x",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tagstream.stream.a import x",
    ],
    ids=["top", "from the package", "inside a function", "for types"],
)
def test_an_import_circle_is_found(tmp_path: Path, back: str) -> None:
    """A circle of two modules is reported, however the second one imports the first."""
    write(tmp_path, stream__a="from tagstream.stream.b import y", stream__b=back)
    assert sorted(set(import_circle(imports(tmp_path, "stream")))) == ["tagstream.stream.a", "tagstream.stream.b"]
    write(tmp_path, stream__b="import json")
    assert import_circle(imports(tmp_path, "stream")) == []


def test_a_page_that_names_what_is_gone_is_found(tmp_path: Path) -> None:
    """A path, a bare file name and a link that lead nowhere are reported; those that exist are not."""
    write(tmp_path, stream__cli__main="x = 1")
    page = tmp_path / "page.md"
    page.write_text(
        "`stream/cli/main.py`, `stream/cli/`, `stream/*/main.py`, `main.py`, [here](page.md#part)", encoding="utf-8"
    )
    assert broken_names(tmp_path, page) == []
    page.write_text("`stream/app.py`, `clients.py`, [there](gone.md), [web](https://example.com)", encoding="utf-8")
    assert broken_names(tmp_path, page) == ["stream/app.py", "clients.py", "gone.md"]
