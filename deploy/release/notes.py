"""The notes of a release, and the sums by which others check its files."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from deploy.release.image import Image
from deploy.release.source import Source

NOTES, SUMS = "RELEASE.md", "SHA256SUMS"
NO_IMAGE = "There is none. `docker build -t tagstream:{version} .` in a checkout of the commit makes it."


def write(source: Source, folder: Path, *, image: Image | None, tried: Sequence[str]) -> None:
    """
    Write notes and sums into the folder of a release, of all files that it has.

    Args:
        source: The checkout that is released.
        folder: The folder.
        image: The image, if there is one.
        tried: A sentence for each thing that was tried.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file())
    rows = [f"| `{path.name}` | {path.stat().st_size:,} | `{_sum(path)}` |" for path in files]
    about_image = (
        NO_IMAGE.format(version=source.version)
        if image is None
        else f"`{image.file.name}` holds `{image.name}`, `{image.digest}`: one image for worker, console, serve and controller."
    )
    (folder / NOTES).write_text(
        "\n".join(
            (
                f"# tagstream {source.version}",
                "",
                f"Built from commit {source.commit}.",
                "",
                "## Changes",
                "",
                source.changes,
                "",
                "## Files",
                "",
                "| file | bytes | SHA-256 |",
                "|---|---|---|",
                *rows,
                "",
                f"`sha256sum --check {SUMS}` compares them.",
                "",
                "## Image",
                "",
                about_image,
                "",
                "## Tried",
                "",
                *(f"- {sentence}" for sentence in tried),
                "",
            )
        ),
        encoding="utf-8",
    )
    lines = [f"{_sum(path)}  {path.name}\n" for path in [*files, folder / NOTES]]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
