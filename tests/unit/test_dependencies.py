"""`pyproject.toml` declares every distribution that the source imports, and in the place where it is needed."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

from tagstream.model_export.extras import OF_WORKER
from tests.sources import parsed

ROOT = Path(__file__).parents[2]
ROOMS = ("stream", "model_export", "monitoring")
# Folders of the project that are not installed; the group `dev` serves them.
BESIDE = ("tests", "benchmarks", "examples", "docs", "deploy")
# Used by a dependency, not by our source: the comment beside each in pyproject.toml says by which.
NOT_IMPORTED = {"cramjam"}
# Types for mypy alone, in no distribution.
STUBS = {"_typeshed"}
# A worker's rooms: what these import as they are loaded must be installed with the extra `worker`.
OF_A_WORKER = ("stream", "monitoring", "model_export/bundle")
# Loaded by the verbs of reviewers, of tables and of HTTP alone, which need the extra `review`, `batch` or `http`.
OF_REVIEWERS = ("stream/review", "stream/database", "stream/tables", "stream/web", "stream/serve")
# Loaded by programs that have tables, which need the extra `batch`, `ray` or `spark`.
OF_TABLES = ("stream/arrow.py", "stream/batch/parquet.py")
# Loaded where a receiver of traces is set, which needs the extra `otel`; the other files of the room load everywhere.
OF_TRACES = tuple(f"stream/tracing/{name}.py" for name in ("batches", "context", "conventions", "requests", "spans"))


def normal(name: str) -> str:
    """A distribution's name as indexes compare it, without version, extras and markers."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s<>=!~;\[]", name, maxsplit=1)[0]).lower()


def pyproject() -> dict[str, Any]:
    """The whole of `pyproject.toml`."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def dependencies() -> set[str]:
    """The distributions that are always installed."""
    return {normal(name) for name in pyproject()["project"]["dependencies"]}


def of_worker() -> set[str]:
    """The distributions that the extra `worker` adds."""
    return {normal(name) for name in pyproject()["project"]["optional-dependencies"]["worker"]}


def extras() -> set[str]:
    """The distributions of all extras and groups."""
    lists = {**pyproject()["project"]["optional-dependencies"], **pyproject()["dependency-groups"]}
    return {normal(name) for names in lists.values() for name in names}


def imported(tree: ast.AST) -> Iterator[str]:
    """The top-level modules that these statements import, our own and the standard library's left out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        yield from ({name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) - {"tagstream", *BESIDE} - STUBS)


def at_load(tree: ast.Module) -> ast.Module:
    """The module without its functions and its `if TYPE_CHECKING` blocks: the statements that run when it is loaded."""
    return ast.Module([node for node in tree.body if not isinstance(node, ast.FunctionDef | ast.If)], [])


def sources(*folders: str) -> Iterator[tuple[Path, ast.Module]]:
    """Every Python file of these folders."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT), parsed(path.read_text(encoding="utf-8"))


@cache
def installed() -> dict[str, list[str]]:
    """The distributions by the top-level modules that they install; reading them takes seconds."""
    return dict(packages_distributions())


def providers(module: str) -> set[str]:
    """The installed distributions that a module may come from; of one that only `.venv-learning` has, that of its name."""
    return {normal(name) for name in installed().get(module, [module])}


@pytest.mark.parametrize("room", [*ROOMS, *BESIDE])
def test_every_import_is_declared(room: str) -> None:
    """A package that arrives only because another one needs it can leave with that one's next release."""
    declared = dependencies() | extras()
    undeclared = {
        f"{path}: {module}" for path, tree in sources(room) for module in imported(tree) if not providers(module) & declared
    }
    assert undeclared == set()


def test_a_worker_loads_with_its_extra_alone() -> None:
    """A module that a worker loads imports nothing at its top that only another extra installs."""
    undeclared = {
        f"{path}: {module}"
        for path, tree in sources(*OF_A_WORKER)
        if not any(path.is_relative_to(folder) for folder in (*OF_REVIEWERS, *OF_TABLES, *OF_TRACES))
        for module in imported(at_load(tree))
        if not providers(module) & (dependencies() | of_worker())
    }
    assert undeclared == set()


def test_every_dependency_is_imported() -> None:
    """Every distribution that a worker installs by name is imported somewhere, or is known to serve another one."""
    used = {name for _, tree in sources(*ROOMS) for module in imported(tree) for name in providers(module)}
    assert (dependencies() | of_worker()) - used == NOT_IMPORTED


def test_the_command_knows_the_modules_of_the_extra_worker() -> None:
    """Where one of them is missing, the command says how to install the extra; another missing module is a bug and keeps its traceback."""
    assert {name for module in OF_WORKER for name in providers(module)} == of_worker()
