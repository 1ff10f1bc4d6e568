"""Made With ML's labelled items, from a folder or downloaded once, and always checked against their SHA-256.

The files are not the project's own (MIT, GokuMohandas/Made-With-ML), so they are not shipped, nor copied into a file
that is. `dataset.csv` may be learned from; `holdout.csv` is gold and only ever measured on.
"""

import csv
import hashlib
import io
import os
import urllib.error
import urllib.request
from pathlib import Path

from tagstream.model_export.bundle.files import read_whole
from tagstream.model_export.bundle.text import compose, is_described
from tagstream.model_export.data.row import Row

COMMIT = "66e8e43"
ADDRESS = "https://raw.githubusercontent.com/GokuMohandas/Made-With-ML/{commit}/datasets/{name}"
DATASET, HOLDOUT = "dataset.csv", "holdout.csv"
SHA256 = {
    DATASET: "479e0f3813cc0583717b86512d112b0a397f717ac33652504afdf763c1f3aff1",
    HOLDOUT: "05dd130ff16cbf0cdb05871547f869be096b757052cbc46f8c1e981089a6a474",
}
LABELS = ("computer-vision", "mlops", "natural-language-processing", "other")
# Rows of dataset.csv, by their topic, that are learned as `other`: speech synthesis and generated music, which the file
# calls language and the guidelines do not. Calibration rows and the holdout keep the labels that they carry.
SOUND_ROWS = frozenset(f"{DATASET}:{row}" for row in (403, 529, 686, 920, 1181, 1255, 1721))
TIMEOUT_SECONDS = 20
MAX_BYTES = 4 * 1024 * 1024


class DataError(Exception):
    """Training data is missing or breaks its rules: the message names the file, the reason and the next step."""

    exit_code = 1


def records(folder: Path, name: str) -> list[dict[str, str]]:
    """
    The rows of one checked file, as dictionaries with at least `title`, `description` and `tag`.

    Raises:
        DataError: The file is missing or its sum differs.
    """
    path = folder / name
    try:
        raw = read_whole(path)
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}. Next: point TAGSTREAM_DATA at the folder with {DATASET} and {HOLDOUT}."
        raise DataError(msg) from error
    _check(raw, name, str(path))
    return list(csv.DictReader(io.StringIO(raw.decode(), newline="")))


def rows(folder: Path, name: str) -> list[Row]:
    """
    The rows of one checked file, each a topic of its own.

    Raises:
        DataError: The file is missing or its sum differs.
    """
    return [
        Row(
            text=compose(row["title"], row["description"]),
            tag=row["tag"],
            source="madewithml",
            topic=f"{name}:{row['id']}",
            described=is_described(row["description"]),
            title=row["title"],
        )
        for row in records(folder, name)
    ]


def download(cache: Path | None = None) -> Path:
    """
    Fetch both files unless they are there, and return their folder.

    Args:
        cache: Where to keep them; the user's cache directory by default.

    Raises:
        DataError: A file cannot be had within the time limit, or its sum differs; a wrong file is not kept.
    """
    folder = cache or _cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    for name, expected in SHA256.items():
        path = folder / name
        if path.is_file() and hashlib.sha256(read_whole(path)).hexdigest() == expected:
            continue
        partial = path.with_suffix(".partial")
        partial.write_bytes(_fetch(name))
        # A rename is atomic, so that a reader beside us sees a whole file or none.
        partial.replace(path)
    return folder


def _fetch(name: str) -> bytes:
    address = ADDRESS.format(commit=COMMIT, name=name)
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - a constant https address
            raw: bytes = answer.read(MAX_BYTES)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        msg = f"{address} cannot be fetched: {error}. Next: try again, or point TAGSTREAM_DATA at a folder with both files."
        raise DataError(msg) from error
    _check(raw, name, address)
    return raw


def _check(raw: bytes, name: str, where: str) -> None:
    found = hashlib.sha256(raw).hexdigest()
    if found != SHA256[name]:
        msg = (
            f"{where} has SHA-256 {found[:12]}…, expected {SHA256[name][:12]}… (Made-With-ML at {COMMIT}). "
            f"Next: restore the file; figures on another one could not be compared."
        )
        raise DataError(msg)


def _cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "tagstream" / f"madewithml-{COMMIT}"
