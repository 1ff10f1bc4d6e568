"""The version of a checkout names its commit, and that of anything else is the number."""

import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from tagstream.stream.cli.version import version
from tests.lacking import program

AUTHOR = ("-c", "user.name=A", "-c", "user.email=a@example.com")
NUMBER = metadata.version("tagstream")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with one commit."""
    program("git")
    (tmp_path / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
    for words in (
        ("init", "--quiet"),
        ("add", "pyproject.toml"),
        (*AUTHOR, "commit", "--quiet", "-m", "first"),
        (*AUTHOR, "tag", "--annotate", "-m", "nine", "v9"),
    ):
        subprocess.run(["git", "-C", tmp_path, *words], check=True, timeout=60)
    return tmp_path


def commit_of(checkout: Path) -> str:
    """The first eight characters of its commit."""
    words = ("git", "-C", str(checkout), "rev-parse", "HEAD")
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout[:8]


def test_a_checkout_names_its_commit(checkout: Path) -> None:
    """Also where a tag is on it: between two releases the number is that of the older one."""
    assert version(checkout) == f"{NUMBER} (checkout at {commit_of(checkout)})"


def test_a_changed_checkout_says_so(checkout: Path) -> None:
    """Its commit alone does not say what runs."""
    (checkout / "pyproject.toml").write_text("[project]\nname = 'x'\n", encoding="utf-8")
    assert version(checkout) == f"{NUMBER} (checkout at {commit_of(checkout)}, changed)"


def test_the_repository_of_a_hook_is_not_asked(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git sets GIT_DIR for the hooks of another repository."""
    monkeypatch.setenv("GIT_DIR", str(checkout / "elsewhere"))
    assert version(checkout).startswith(f"{NUMBER} (checkout at ")


def test_without_git_it_is_the_number(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image or a small machine has none."""
    monkeypatch.setenv("PATH", "")
    assert version(checkout) == NUMBER


@pytest.mark.parametrize("gone", [".git", "pyproject.toml"])
def test_what_is_no_checkout_has_the_number(checkout: Path, gone: str) -> None:
    """An installed package, also in an environment inside the checkout of another project."""
    (checkout / gone).rename(checkout / "elsewhere")
    assert version(checkout) == NUMBER
