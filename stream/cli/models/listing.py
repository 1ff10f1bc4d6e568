"""`tagstream model list`: the bundles in a folder, each with its parent, its rows and its figures."""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Annotated

import typer

from tagstream.model_export.bundle import bundle
from tagstream.model_export.bundle.bundle import Bundle, BundleError
from tagstream.model_export.bundle.manifest import MANIFEST, MODEL, TOKENIZER
from tagstream.monitoring.vocabulary import few
from tagstream.stream.cli.exits import EXIT_USAGE, fail
from tagstream.stream.cli.options import Json, path
from tagstream.stream.terminal import console

NO_BUNDLE = "no bundle"


def list_bundles(
    folder: Annotated[
        Path, typer.Argument(help="Folder with the folders of bundles, such as a store.", metavar="FOLDER", parser=path)
    ],
    json: Json = False,
) -> None:
    """
    List the bundles in a folder, newest last: parent, what has changed, rows and figures.

    The newest bundle is the one whose bundle.json was written last; a parent always comes before the bundles that were made from it. A folder
    without a bundle, and a bundle that does not verify, are named with the reason.
    """
    if not folder.is_dir():
        fail(f"{folder} is no folder. Next: name the folder that has the folders of bundles in it.", EXIT_USAGE)
    try:
        found, faults = read_all(folder)
    except OSError as error:
        fail(f"{folder} cannot be read: {error.strerror}. Next: make it readable, or name another folder.", EXIT_USAGE)
    from tagstream.stream.cli.show.bundles import as_lines, as_record

    here = {each.digest: each.path.name for each in found}
    for each in in_order(found):
        if json:
            console.show_json(as_record(each, here))
        else:
            for line in as_lines(each, here):
                _show(line)
    if json:
        for name, fault in faults.items():
            console.show_json({"folder": name, "fault": fault})
    else:
        _show_faults(faults)
    if not found:
        console.talk(f"{folder} has no bundle in it")


def _show_faults(faults: Mapping[str, str]) -> None:
    for name, fault in faults.items():
        if fault != NO_BUNDLE:
            _show(f"{name}: {fault}")
    if others := [name for name, fault in faults.items() if fault == NO_BUNDLE]:
        _show(f"folders without a bundle: {few(others)}")


def _show(line: str) -> None:
    console.show(console.visible(line, limit=len(line)))


def read_all(folder: Path) -> tuple[list[Bundle], dict[str, str]]:
    """
    Return the verified bundles in a folder without their files, and for each other folder, by name, the reason. Hidden folders are left out.

    Args:
        folder: The folder of the bundles' folders.

    Raises:
        OSError: The folder cannot be read.
    """
    if (folder / MANIFEST).exists():
        fail(
            f"{folder} is a bundle itself. Next: `tagstream model inspect {folder}`, or name the folder that it is in.",
            EXIT_USAGE,
        )
    found: list[Bundle] = []
    faults: dict[str, str] = {}
    for place in sorted(each for each in folder.iterdir() if not each.name.startswith(".") and each.is_dir()):
        try:
            inside = {file.name for file in place.iterdir()}
            if inside & {MANIFEST, MODEL, TOKENIZER}:
                found.append(bundle.read(place).without_files())
            else:
                faults[place.name] = NO_BUNDLE
        except BundleError as error:
            faults[place.name] = str(error)
        except OSError as error:
            faults[place.name] = f"it cannot be read: {error.strerror}"
    return found, faults


def in_order(bundles: Iterable[Bundle]) -> Iterator[Bundle]:
    """Yield the bundles in the order of the times of their manifests, a parent before the bundles that name it."""
    from tagstream.model_export.make import parent

    by_name = {each.path.name: each for each in bundles}
    written = {name: (each.path / MANIFEST).stat().st_mtime_ns for name, each in by_name.items()}
    order: TopologicalSorter[str] = TopologicalSorter()
    for name, each in by_name.items():
        named = parent.of(each.manifest.training)
        order.add(name, *(other for other, one in by_name.items() if named is not None and one.digest == named.digest))
    order.prepare()
    ready: list[tuple[int, str]] = []
    while order.is_active():
        for name in order.get_ready():
            heapq.heappush(ready, (written[name], name))
        _, first = heapq.heappop(ready)
        order.done(first)
        yield by_name[first]
