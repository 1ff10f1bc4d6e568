"""The harness of `tests/mutants.py` tells a mutant that its test finds from all others."""

from pathlib import Path

import pytest

from tests.mutants import Mutant, tried
from tests.replacing import replace

LIMIT = Mutant(
    name="limit",
    file="limit.py",
    old="count > 3",
    new="count >= 3",
    breaks="Three are too many.",
    test="test_limit.py::test_three",
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project, whose tests need no plugin but the one of the bound."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_timeout")
    (tmp_path / "limit.py").write_text("def over(count):\n    return count > 3\n", encoding="utf-8")
    (tmp_path / "test_limit.py").write_text(
        "from limit import over\n\n\ndef test_three():\n    assert not over(3)\n\n\ndef test_two():\n    assert over(2)\n",
        encoding="utf-8",
    )
    return tmp_path


def test_only_a_mutant_that_its_test_finds_is_killed(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that changes nothing survives, and one whose text is not there exactly once is said; the tree itself stays as it is."""
    mutants = [LIMIT, replace(LIMIT, new="count > 3 "), replace(LIMIT, old="count > 4"), replace(LIMIT, old="o")]
    assert not tried(mutants, root)
    said = capsys.readouterr().out
    assert "killed   limit: Three are too many." in said
    assert "survived limit: Three are too many." in said
    assert "its text is 0 times in limit.py" in said
    assert "its text is 3 times in limit.py" in said
    assert said.endswith("1 of 4 killed\n")
    assert "count > 3\n" in (root / "limit.py").read_text(encoding="utf-8")


def test_a_test_that_fails_without_a_mutant_kills_none(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A test must pass before it may tell anything."""
    assert not tried([replace(LIMIT, test="test_limit.py::test_two")], root)
    assert "without a mutant the tests do not pass" in capsys.readouterr().out
