"""The source of a release: a commit whose version and changelog agree, and whose files nobody has changed since."""

import re
import tomllib
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from deploy.release.failure import ReleaseError, output

UNRELEASED = "Unreleased"
# As CHANGELOG.md writes a heading: 0.1.0 (2026-11-26).
HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
RELEASED = re.compile(r"(\S+) \((\d{4}-\d\d-\d\d)\)", re.ASCII)
# Of what PEP 440 allows, the forms that we release, as pip and the names of the files write them.
VERSION = re.compile(r"(?:(?:0|[1-9]\d*)\.){2}(?:0|[1-9]\d*)(?:rc(?:0|[1-9]\d*))?", re.ASCII)
SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """
    A commit that can be released.

    Attributes:
        root: The checkout.
        version: Of the package.
        commit: The whole name of the commit.
        epoch: Its time, seconds since 1970.
        changes: What CHANGELOG.md says under the version, without the heading.
    """

    root: Path
    version: str
    commit: str
    epoch: int
    changes: str


def read(root: Path, version: str) -> Source:
    """
    The source of a version.

    Raises:
        ReleaseError: The version has another form than ours, or is released already; the folder is no checkout of git, has changes, or
            says another version.
    """
    if VERSION.fullmatch(version) is None:
        msg = (
            f"{version} is no version of ours: it has three numbers, and may end with rc and a number, as 0.2.0 and 0.2.0rc1 do. "
            "Next: give one of this form; files and pip would write any other one otherwise than you."
        )
        raise ReleaseError(msg)
    changed = _git(root, "status", "--porcelain").splitlines()
    if changed:
        few = ", ".join(line[3:] for line in changed[:SHOWN]) + (", ..." if len(changed) > SHOWN else "")
        msg = (
            f"the checkout {root} differs from its commit: {few}. A release is of a commit, so that others can build it. "
            "Next: commit these files, or put them elsewhere."
        )
        raise ReleaseError(msg)
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    if version in [heading.partition(" ")[0] for heading, _ in _sections(changelog)[1:]]:
        msg = (
            f"version {version} is released already: CHANGELOG.md has a section of it below the newest one. "
            "Next: release the newest changes under a version that it does not name."
        )
        raise ReleaseError(msg)
    package = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    wrong = [*([f"pyproject.toml says {package}"] if package != version else []), *_wrong_headings(changelog, version)]
    if wrong:
        msg = (
            f'version {version} is not cut: {"; ".join(wrong)}. Next: write `version = "{version}"` into pyproject.toml, head the '
            f"changes in CHANGELOG.md by `## {version} (DATE)` in the place of `## {UNRELEASED}`, commit both, and begin again."
        )
        raise ReleaseError(msg)
    return Source(
        root=root,
        version=version,
        commit=_git(root, "rev-parse", "HEAD"),
        epoch=int(_git(root, "show", "--no-patch", "--format=%ct", "HEAD")),
        changes=_sections(changelog)[0][1],
    )


def _wrong_headings(changelog: str, version: str) -> list[str]:
    """The reasons that keep the newest section from being that of the version, as parts of a sentence."""
    sections = _sections(changelog)
    heading = sections[0][0] if sections else "nothing"
    found = RELEASED.fullmatch(heading)
    if found is None or found[1] != version:
        return [f"CHANGELOG.md begins with {heading}"]
    try:
        date.fromisoformat(found[2])
    except ValueError:
        return [f"CHANGELOG.md has the date {found[2]}, which does not exist"]
    return [] if sections[0][1] else [f"CHANGELOG.md has no change under {heading}"]


def _sections(changelog: str) -> list[tuple[str, str]]:
    """The sections of a changelog, the newest first: heading and text."""
    parts = HEADING.split(changelog)[1:]
    return [(heading, text.strip()) for heading, text in zip(parts[::2], parts[1::2], strict=True)]


def _git(root: Path, *words: str) -> str:
    return output(("git", "-C", root, *words), at=root).decode().strip("\n")
