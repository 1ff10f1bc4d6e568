"""Prints the bundles of a folder beside each other: parent, what has changed, rows and figures, all from the manifests."""

import itertools
from collections.abc import Iterator, Mapping

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.make import card, parent
from tagstream.stream.cli.show.bundle import SHORT_DIGEST, rows_of
from tagstream.stream.terminal import console

MOST_OF_ROWS = 140
# The figures that say how right a bundle is, how much it publishes, and how right that is.
SHOWN = ("weighted_f1", "coverage", "precision_at_threshold")


def as_lines(bundle: Bundle, here: Mapping[str, str]) -> Iterator[str]:
    """
    Yield the lines of one bundle.

    Args:
        bundle: The bundle.
        here: The folder of each bundle that is listed, by digest.
    """
    manifest = bundle.manifest
    yield f"{bundle.path.name}: {manifest.name} {manifest.version}, digest {bundle.digest[:SHORT_DIGEST]}, {len(manifest.labels)} labels"
    before = parent.of(manifest.training)
    if before is None:
        yield "  parent   it names none"
    else:
        yield f"  parent   {before}, {f'in {here[before.digest]}' if before.digest in here else 'not in this folder'}"
        yield f"  changed  {before.changes()}"
    # `model inspect` has all names of files.
    yield from (f"  {console.visible(line, limit=MOST_OF_ROWS)}" for line in rows_of("", manifest.training))
    # The first part was measured on rows that have chosen nothing, if there were any.
    for part, figures in itertools.islice(card.measured(manifest), 1):
        said = ", ".join(f"{card.FIGURES[name][1]} {figures[name]:.4f}" for name in figures if name in SHOWN)
        yield f"  figures  {part}, {manifest.metrics[part].get('rows', '-')} rows: {said}"


def as_record(bundle: Bundle, here: Mapping[str, str]) -> dict[str, object]:
    """Return the same for programs, with all figures. Arguments are those of `as_lines`."""
    manifest = bundle.manifest
    before = parent.of(manifest.training)
    return {
        "folder": bundle.path.name,
        "name": manifest.name,
        "version": manifest.version,
        "digest": bundle.digest,
        "labels": manifest.labels,
        "parent": before,
        "parent_folder": None if before is None else here.get(before.digest),
        "rows": manifest.training.get("data"),
        "figures": dict(card.measured(manifest)),
    }
