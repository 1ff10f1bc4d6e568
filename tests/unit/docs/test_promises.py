"""The page of promises names tests that pytest collects."""

import ast
import re
from pathlib import Path

from tests.mutants import MUTANTS
from tests.sources import parsed

ROOT = Path(__file__).parents[3]
TEST = re.compile(r"`(tests/[^`]+::[^`]+)`")


def collected(file: Path) -> set[str]:
    """The tests of a file as pytest names them: functions at the top and methods of classes; none where pytest does not look into it."""
    if not file.is_file() or not file.name.startswith("test_"):
        return set()
    parts = {"": parsed(file.read_bytes()).body}
    parts |= {
        f"{node.name}::": node.body for node in parts[""] if isinstance(node, ast.ClassDef) and node.name.startswith("Test")
    }
    return {
        f"{file.relative_to(ROOT).as_posix()}::{prefix}{node.name}"
        for prefix, body in parts.items()
        for node in body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def test_every_promise_names_tests_that_are_collected() -> None:
    """No row of the table is a promise alone, and none names a test that does not run."""
    page = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
    rows = {row: TEST.findall(row) for row in page.splitlines() if row.startswith("| ") and not row.startswith("| promise |")}
    assert len(rows) > 40
    assert [row for row, tests in rows.items() if not tests] == []
    named = [test for tests in rows.values() for test in tests] + [mutant.test for mutant in MUTANTS]
    assert [test for test in named if test not in collected(ROOT / test.partition("::")[0])] == []
