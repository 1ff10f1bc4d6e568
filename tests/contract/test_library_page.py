"""docs/library.md runs as it is printed; docs/parts.md and docs/cluster.md show lines of programs that run."""

import doctest
import re
import textwrap
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "library.md"


def test_the_page_says_what_python_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the bundle of the package, in a folder without settings; every example, in the order of the page."""
    monkeypatch.chdir(tmp_path)
    for name in ("TAGSTREAM_BUNDLE", "TAGSTREAM_CONFIDENCE_THRESHOLD", "TAGSTREAM_AUDIT_RATE"):
        monkeypatch.delenv(name, raising=False)
    found = doctest.testfile(str(PAGE), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.failed == 0
    assert found.attempted >= 15


def test_the_lines_that_send_are_those_of_a_program_that_runs() -> None:
    """The page shows them as the example has them, which another test runs beside a worker."""
    (shown,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    example = PAGE.parents[1] / "examples" / "library" / "plain.py"
    assert textwrap.indent(shown, " " * 8) in example.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("page", "examples"),
    [("parts.md", ["library/tags_by_hour.py"]), ("cluster.md", ["ray_tag_parquet.py", "spark_tag_parquet.py"])],
)
def test_the_lines_of_a_page_are_those_of_programs_that_run(page: str, examples: list[str]) -> None:
    """Other tests run the examples in a worker, in Ray and in Spark."""
    shown = re.findall(r"^```python\n(.*?)^```$", (PAGE.parent / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for block, example in zip(shown, examples, strict=True):
        program = (PAGE.parents[1] / "examples" / example).read_text(encoding="utf-8")
        assert {line.strip() for line in block.splitlines()} <= {line.strip() for line in program.splitlines()}
