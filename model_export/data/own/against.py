"""Findings on a user's rows beside the rows of an older bundle: which rows came, went, or changed their label."""

from collections.abc import Iterator, Sequence

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.data.own.look import RowsFinding, Severity, shown
from tagstream.model_export.data.own.row_list import SUFFIX, ListedRow, Moves
from tagstream.model_export.data.own.rows import OwnRow, OwnRows, learned_files
from tagstream.monitoring.vocabulary import few


def findings(files: Sequence[OwnRows], moves: Moves | None, old: Bundle) -> Iterator[RowsFinding]:
    """
    Yield the findings, all of them notes.

    Args:
        files: The user's rows, and then people's answers about other texts, if there are any.
        moves: What became of the rows of the older bundle; None if its list of rows is not there.
        old: The older bundle.
    """
    rows, manifest = files[0], old.manifest
    beside = f"{rows.name} against {manifest.name} {manifest.version} in {old.path}"
    if moves is None:
        yield _note("against", f"{beside}: {_files(files, old)}")
        return
    labels = {own.row.tag for file in files for own in file.rows if own.is_labelled}
    new, gone = sorted(labels - set(manifest.labels)), sorted(set(manifest.labels) - labels)
    yield _note(
        "against",
        f"{beside}: of the texts, {moves.counts()}."
        + (f" New labels: {few(new)}." if new else "")
        + (f" Labels that went: {few(gone)}." if gone else ""),
    )
    by_place = {(name, own.line): own for file in files for name in file.digests for own in file.rows}
    if moves.came:
        yield _moved("came", "No row of the bundle had these texts", rows, moves.came, by_place)
    if moves.went:
        yield _note(
            "went",
            f"Rows of the bundle had these texts, and no row has them now: {len(moves.went):,}. The lines are of the earlier files.",
            tuple(f"{_place(row)}{f', id {row.id}' if row.id else ''}: {row.tag}" for row in moves.went),
        )
    if moves.relabelled:
        was = dict(moves.relabelled)
        yield _moved("relabelled", "Rows of the bundle had these texts with another label", rows, [*was], by_place, was)


def _files(files: Sequence[OwnRows], old: Bundle) -> str:
    """Say what can be known without the list of the older bundle's rows: whether the files are the same."""
    learned = learned_files(old.manifest)
    others = [name for file in files if file.rows for name, digest in file.digests.items() if digest not in learned]
    if not others:
        return "the files are the same."
    return (
        f"which rows moved is not known, since no list of its rows (*{SUFFIX}) is beside it. Other files than it has learned from: "
        f"{few(others)}. Next: put the list there that its training wrote, or train it again from its rows."
    )


def _moved(
    kind: str,
    what: str,
    rows: OwnRows,
    moved: Sequence[ListedRow],
    by_place: dict[tuple[str, int], OwnRow],
    was: dict[ListedRow, str] | None = None,
) -> RowsFinding:
    """Return the finding of rows that are there today."""
    return RowsFinding(
        kind=kind,
        severity=Severity.NOTE,
        sentence=f"{what}: {len(moved):,}.",
        details=tuple(
            f"{_place(row)}: {row.tag}{f', was {was[row]}' if was else ''}: {shown(by_place[row.file, row.line])}"
            for row in moved
        ),
        lines=tuple(row.line for row in moved if row.file in rows.digests),
    )


def _note(kind: str, sentence: str, details: tuple[str, ...] = ()) -> RowsFinding:
    return RowsFinding(kind=kind, severity=Severity.NOTE, sentence=sentence, details=details)


def _place(row: ListedRow) -> str:
    return f"{row.file}:{row.line}"
