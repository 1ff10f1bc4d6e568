"""docs/library.md runs as it is printed."""

import doctest
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
