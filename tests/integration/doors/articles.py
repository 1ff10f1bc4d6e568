"""Articles that every door is asked about: an authored handful, and the gold holdout where it can be had."""

import csv
import os
from pathlib import Path

from tagstream.model_export.data.madewithml import HOLDOUT, DataError, download, records

FIELDS = ("id", "created_on", "title", "description", "tag")
# Each for something that a door might spoil: quotes and line ends, scripts, hidden characters, markup, long text, no description.
AUTHORED = (
    ("Serving models with canary deployments", "How to move traffic to a new model, and back."),
    ("Detecting small objects in satellite images", ""),
    ('Translation of "low-resource" languages,\nwith commas, and lines', "back-translation\tand pivoting"),
    ("Übersetzung für Ärzte: 医療翻訳 🚀", "émigré naïve coöperation"),
    ("A walk along the river", "Nothing of machines."),
    ("Attention is all you need", ""),
    ("Zero\u200bwidth and \u202eturned text", "hidden characters make a person look"),
    ("<b>Bold</b> & 'quoted' \\ back\\slashes", '{"json": [1, 2.50, null]}'),
    ("Image segmentation", "pixels " * 400),
    ("6", "a title that looks like a number"),
)


def authored() -> list[dict[str, str]]:
    """The handful, with ids; a producer's own tag is in the way of ours, as in the holdout."""
    return [
        {"id": f"authored-{number}", "created_on": "2026-03-03 13:54:31", "title": title, "description": text, "tag": "mine"}
        for number, (title, text) in enumerate(AUTHORED)
    ]


def gold() -> list[dict[str, str]] | str:
    """The rows of the holdout, from TAGSTREAM_DATA (which must then have them) or downloaded; else why they cannot be had."""
    named = os.environ.get("TAGSTREAM_DATA")
    if named:
        return records(Path(named), HOLDOUT)
    try:
        return records(download(), HOLDOUT)
    except DataError as error:
        return f"the holdout is not in the project and cannot be had: {error}"


def write_csv(file: Path, rows: list[dict[str, str]]) -> Path:
    """The rows as CSV."""
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.DictWriter(opened, FIELDS)
        writer.writeheader()
        writer.writerows(rows)
    return file
