"""
Prints what bundles promise and what they keep, on rows that they have neither learned from nor been calibrated on.

    TAGSTREAM_REAL=FOLDER python -m benchmarks.certificates OLD NEW
    TAGSTREAM_REAL=FOLDER python -m benchmarks.certificates OLD NEW --picture docs/images/certificates.svg

A bundle lists the precisions that its calibration rows certify, each with the confidence from which it would publish. The rows are the
measured real titles and the authored topics for testing. The last line of a bundle on some rows says what could be published at 0.95 if
their labels were known.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.ticker import PercentFormatter

from benchmarks.real_titles import Decided, decided
from tagstream.model_export.bundle.bundle import read
from tagstream.model_export.bundle.model import limits_in
from tagstream.model_export.calibrate.intervals import wilson
from tagstream.model_export.data import splits
from tagstream.model_export.data.corpus import NOT_ML
from tagstream.model_export.data.real import DEV, read_real
from tagstream.model_export.measure.evaluate import precision_by_rows
from tagstream.model_export.report.picture import LIGHT, Picture, dress, figure_of, house_style, picture_of

PROMISED = 0.95
# The promises of the picture: below, hardly anything goes to people.
FROM = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """
    A promise, and what is published under it.

    Attributes:
        promised: The precision that the calibration rows certify.
        published: The share of the rows that is published, 0 to 1.
        right: The number of published rows that are right, and of all that are published.
    """

    promised: float
    published: float
    right: tuple[int, int]


def kept(found: Sequence[Decided], trade: Sequence[tuple[float, float]], strange: Sequence[bool]) -> list[Kept]:
    """
    Return what each promise publishes.

    Args:
        found: Rows with their predictions.
        trade: Precisions, each with the confidence from which it publishes.
        strange: By row, whether a limit sends it to a person at any confidence.
    """
    told = []
    for promised, confidence in trade:
        public = [
            said.label == row.tag
            for (row, said, _), kept_back in zip(found, strange, strict=True)
            if said.confidence >= confidence and not kept_back
        ]
        told.append(Kept(promised=promised, published=len(public) / len(found), right=(sum(public), len(public))))
    return told


def possible(found: Sequence[Decided]) -> float:
    """Return the largest share of the rows of which `PROMISED` are right, the surest ones first."""
    confidence = np.array([said.confidence for _, said, _ in found])
    right = np.array([said.label == row.tag for row, said, _ in found])
    enough = np.flatnonzero(precision_by_rows(confidence, right) >= PROMISED)
    return float(enough[-1] + 1) / len(found) if len(enough) else 0.0


def draw(lines: dict[tuple[str, str], list[Kept]]) -> Picture:
    """Draw what is right among the published rows, and the share published, by promise; lines are named by bundle and rows."""
    with house_style():
        figure = figure_of(5.4)
        right, published = figure.subplots(2, 1, sharex=True)
        bundles = list(dict.fromkeys(bundle for bundle, _ in lines))
        for (bundle, rows), told in lines.items():
            colour = LIGHT["ours"] if bundle == bundles[-1] else LIGHT["quiet"]
            style = {"color": colour, "linestyle": "-" if rows == "real titles" else "--", "marker": "o", "markersize": 3}
            shown = [each for each in told if each.promised >= FROM and each.right[1]]
            promised = [each.promised for each in shown]
            right.plot(promised, [each.right[0] / each.right[1] for each in shown], label=f"{bundle}, {rows}", **style)
            published.plot(promised, [each.published for each in shown], **style)
        ends = right.get_xlim()
        right.plot(ends, ends, color=LIGHT["line"], linewidth=1)
        for axes, named in ((right, "right of these"), (published, "published")):
            dress(axes)
            axes.set_ylabel(named)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        published.set_xlabel("promised share right")
        published.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        right.legend(frameon=False, fontsize=8, labelcolor=LIGHT["ink"])
        return picture_of(
            figure,
            "certificates",
            "Share right of the published rows, and share published, by promised share right: on real titles and on authored rows, for "
            f"{' and '.join(bundles)}. Above the thin diagonal a promise is kept.",
        )


def main() -> None:
    """Print the table, and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", type=Path, nargs="+", help="folders of bundles, the oldest first")
    parser.add_argument("--picture", type=Path, help="write a picture to this file")
    given = parser.parse_args()
    folder = os.environ.get("TAGSTREAM_REAL")
    if not folder:
        sys.exit("no texts: TAGSTREAM_REAL names no folder. Next: name the folder with titles.csv.gz.")
    parts = {
        "real titles": [row for row in read_real(DEV, Path(folder)) if row.tag != NOT_ML],
        "authored rows": list(splits.load(None).corpus_test),
    }
    lines: dict[tuple[str, str], list[Kept]] = {}
    print("| bundle | rows | promised | published | right of these |\n|---|---|---|---|---|")
    for place in given.bundles:
        manifest = read(place).manifest
        trade = [(each.target_precision, each.confidence) for each in manifest.trade if each.confidence is not None]
        limits = limits_in(manifest.reference)
        for name, rows in parts.items():
            found = decided(place, rows)
            strange = [limits.is_strange(said) for _, said, _ in found]
            lines[manifest.version, name] = told = kept(found, trade, strange)
            for each in told:
                hits, count = each.right
                low, high = wilson(hits, count)
                print(
                    f"| {manifest.version} | {name} ({len(rows):,}) | {each.promised} | {each.published:.1%} | "
                    f"{hits / count:.3f} [{low:.3f}, {high:.3f}] |"
                )
            print(f"| {manifest.version} | {name} ({len(rows):,}) | possible at {PROMISED} | {possible(found):.1%} | |")
    if given.picture is not None:
        given.picture.write_text(f"{draw(lines).as_file()}\n", encoding="utf-8")
        print(f"wrote {given.picture}")


if __name__ == "__main__":
    main()
