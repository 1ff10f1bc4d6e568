"""Writes a CSV file of many labels: `python -m benchmarks.labels ROWS LABELS FILE`, to train on with `tagstream model train`."""

import argparse
import csv
from pathlib import Path

from benchmarks.labels import synthetic


def main() -> None:
    """Write the rows with their header."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.labels", description=__doc__)
    parser.add_argument("rows", type=int, help="how many rows")
    parser.add_argument(
        "labels", type=int, choices=range(2, len(synthetic.LABELS) + 1), metavar="2..77", help="how many labels"
    )
    parser.add_argument("file", type=Path, help="where to write them")
    given = parser.parse_args()
    with given.file.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["title", "tag"])
        writer.writerows((row.title, row.tag) for row in synthetic.rows(given.rows, given.labels))


if __name__ == "__main__":
    main()
