"""A release is of a commit whose version and changelog agree."""

import subprocess
from pathlib import Path

import pytest

from deploy.release.failure import ReleaseError
from deploy.release.source import read
from tests.lacking import program

AUTHOR = ("-c", "user.name=A", "-c", "user.email=a@example.com")
CHANGELOG = "# Changelog\n\nThe format.\n\n## 0.2.0 (2026-12-01)\n\n- New.\n- Newer.\n\n## 0.1.0 (2026-11-26)\n\n- First.\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout in which 0.2.0 is cut."""
    program("git")
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "0.2.0"\n', encoding="utf-8")
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG, encoding="utf-8")
    subprocess.run(["git", "-C", tmp_path, "init", "--quiet"], check=True, timeout=60)
    commit(tmp_path)
    return tmp_path


def commit(checkout: Path) -> None:
    """Commit all that is there."""
    for words in (("add", "."), (*AUTHOR, "commit", "--quiet", "-m", "x", "--date", "2026-12-01T00:00:00Z")):
        subprocess.run(["git", "-C", checkout, *words], check=True, timeout=60)


def test_a_version_that_is_cut_is_read(checkout: Path) -> None:
    """With its own changes, and the name and the time of its commit."""
    found = read(checkout, "0.2.0")
    assert (found.version, found.changes) == ("0.2.0", "- New.\n- Newer.")
    shown = subprocess.run(
        ["git", "-C", checkout, "log", "--format=%H %ct"], check=True, capture_output=True, text=True, timeout=60
    )
    assert f"{found.commit} {found.epoch}\n" == shown.stdout


@pytest.mark.parametrize("name", ["CHANGELOG.md", "new.py"])
def test_changes_that_no_commit_has_are_refused(checkout: Path, name: str) -> None:
    """Others could not build what is released; the files are named."""
    with (checkout / name).open("a", encoding="utf-8") as file:
        file.write("x\n")
    with pytest.raises(ReleaseError, match=rf"differs from its commit: {name}\. .*Next: commit these files"):
        read(checkout, "0.2.0")


@pytest.mark.parametrize(
    ("changelog", "why"),
    [
        (CHANGELOG.replace("## 0.2.0 (2026-12-01)", "## Unreleased"), "CHANGELOG.md begins with Unreleased"),
        (CHANGELOG.replace("0.2.0 (2026-12-01)", "0.2.0"), "CHANGELOG.md begins with 0.2.0"),
        (CHANGELOG.replace("- New.\n- Newer.\n", ""), r"CHANGELOG.md has no change under 0.2.0 \(2026-12-01\)"),
        ("# Changelog\n", "CHANGELOG.md begins with nothing"),
        (CHANGELOG.replace("2026-12-01", "2026-02-30"), "CHANGELOG.md has the date 2026-02-30, which does not exist"),
    ],
    ids=["uncut", "undated", "empty", "none", "no-day"],
)
def test_a_changelog_that_is_not_cut_is_refused(checkout: Path, changelog: str, why: str) -> None:
    """The newest section is that of the version, with a date and a change."""
    (checkout / "CHANGELOG.md").write_text(changelog, encoding="utf-8")
    commit(checkout)
    with pytest.raises(ReleaseError, match=rf"^version 0\.2\.0 is not cut: {why}\. Next: write"):
        read(checkout, "0.2.0")


@pytest.mark.parametrize(
    "version",
    ["0.2", "v0.2.0", "0.2.0-rc1", "0.2.0rc", "0.02.0", "0.2.0.post1", "0.2.0+local", "0.2.0 ", "\u0660.2.0", "../0.2.0", ""],
)
def test_a_version_of_another_form_is_refused(checkout: Path, version: str) -> None:
    """The files of a release, its heading and pip write a version in one way."""
    with pytest.raises(ReleaseError, match=r"is no version of ours: .*\. Next: give one of this form"):
        read(checkout, version)


def test_a_candidate_is_released(checkout: Path) -> None:
    """A version may end with rc and a number."""
    for name in ("pyproject.toml", "CHANGELOG.md"):
        text = (checkout / name).read_text(encoding="utf-8")
        (checkout / name).write_text(text.replace("0.2.0", "0.2.0rc1"), encoding="utf-8")
    commit(checkout)
    assert read(checkout, "0.2.0rc1").version == "0.2.0rc1"


@pytest.mark.parametrize("above", ["Unreleased", "0.3.0 (2026-12-02)", "0.2.0 (2026-12-02)"])
def test_a_version_is_not_released_twice(checkout: Path, above: str) -> None:
    """A version with a section below the newest one is in others' hands; the next step is another version."""
    changelog = CHANGELOG.replace("## 0.2.0", f"## {above}\n\n- Newest.\n\n## 0.2.0")
    (checkout / "CHANGELOG.md").write_text(changelog, encoding="utf-8")
    commit(checkout)
    with pytest.raises(
        ReleaseError, match=r"^version 0\.2\.0 is released already: .*Next: release .* a version that it does not"
    ):
        read(checkout, "0.2.0")


def test_all_that_is_not_cut_is_said_at_once(checkout: Path) -> None:
    """The version of the package and that of the changelog."""
    with pytest.raises(ReleaseError, match=r"pyproject.toml says 0.2.0; CHANGELOG.md begins with 0.2.0 \(2026-12-01\)"):
        read(checkout, "0.3.0")


def test_a_folder_without_a_commit_is_refused(tmp_path: Path) -> None:
    """An unpacked sdist is no checkout."""
    program("git")
    with pytest.raises(ReleaseError, match="not a git repository"):
        read(tmp_path, "0.2.0")
