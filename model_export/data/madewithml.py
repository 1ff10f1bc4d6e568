"""Made With ML's labelled items, from a folder or from one download. Each file is verified by its SHA-256.

The files belong to another project (MIT, GokuMohandas/Made-With-ML). So the files are not shipped, and no shipped file contains their
text. Models may be trained on `dataset.csv`. `holdout.csv` is a gold set and is only used for measurements.
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
# The topics of rows of dataset.csv that are relabelled `other` for training. These rows are about speech synthesis and generated music.
# The file labels them as language; the guidelines do not. Calibration rows and the holdout keep their labels.
SOUND_ROWS = frozenset(f"{DATASET}:{row}" for row in (403, 529, 686, 920, 1181, 1255, 1721))
TIMEOUT_SECONDS = 20
MAX_BYTES = 4 * 1024 * 1024


class DataError(Exception):
    """Training data is missing or breaks its rules: the message names the file, the reason and the next step."""

    exit_code = 1


def records(folder: Path, name: str) -> list[dict[str, str]]:
    """
    Return the rows of one verified file, as dictionaries with at least `title`, `description` and `tag`.

    Raises:
        DataError: The file is missing, or its SHA-256 differs.
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
    Return the rows of one verified file. Each row is its own topic.

    Raises:
        DataError: The file is missing, or its SHA-256 differs.
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
    Download both files unless the folder has them, and return the folder.

    Args:
        cache: The folder for the files; None: a folder in the user's cache directory.

    Raises:
        DataError: A file cannot be downloaded within the time limit, or its SHA-256 differs. A wrong file is not kept.
    """
    folder = cache or _cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    for name, expected in SHA256.items():
        path = folder / name
        if path.is_file() and hashlib.sha256(read_whole(path)).hexdigest() == expected:
            continue
        partial = path.with_suffix(".partial")
        partial.write_bytes(_fetch(name))
        # A rename is atomic, so a concurrent reader sees a complete file or no file.
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
            f"Next: restore the file; figures on another file could not be compared."
        )
        raise DataError(msg)


def _cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "tagstream" / f"madewithml-{COMMIT}"
