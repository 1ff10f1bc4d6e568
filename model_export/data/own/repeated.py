"""Checks of repeats: inside the rows, across their parts, and into the gold set."""

from collections.abc import Iterator, Sequence

from model_export.data.duplicates import SIMILARITY_LIMIT
from model_export.data.own.findings import Finding, Severity
from model_export.data.own.repeats import folded, same_text
from model_export.data.own.rows import OwnRow, OwnRows, places
from model_export.data.own.split import Division, Why

NEARLY = f"{SIMILARITY_LIMIT:.0%} of their words or more"


def repeat_checks(rows: OwnRows, division: Division) -> Iterator[Finding]:
    """Repeats among the rows to learn from."""
    repeated = division.left_out.get(Why.REPEATED, ())
    if repeated:
        first = {(folded(own.row.text), own.row.tag): own.line for own in reversed(rows.rows)}
        yield Finding(
            kind="repeated",
            severity=Severity.WARNING,
            sentence=f"{rows.at(repeated)}: text and label of a row above. Left out, since figures count a text once. Next: delete these rows.",
            details=tuple(
                f"{rows.unit} {own.line} repeats {rows.unit} {first[folded(own.row.text), own.row.tag]}" for own in repeated
            ),
            lines=tuple(own.line for own in repeated),
        )
    yield from _contradictory(rows, "contradictory", "Kept, and a model is wrong on some of them.")
    across = division.left_out.get(Why.NEAR_PART, ())
    if across:
        yield Finding(
            kind="near-across-parts",
            severity=Severity.WARNING,
            sentence=f"{rows.at(across)}: share {NEARLY} with a row that is tested or calibrated on. Left out, since the figures would be too "
            f"good. Next: give both rows one part.",
            lines=tuple(own.line for own in across),
        )
    yield from _near(rows, division, {own.line for own in across})


def gold_checks(rows: OwnRows, gold: OwnRows | None, division: Division) -> Iterator[Finding]:
    """Repeats and gaps in the gold set, and rows to learn from that stand in it."""
    if gold is None:
        return
    empty = [own for own in gold.rows if not (own.row.text.strip() and own.row.tag.strip())]
    if empty:
        yield Finding(
            kind="gold-empty",
            severity=Severity.WARNING,
            sentence=f"{gold.at(empty)}: no text or no label. Not measured on. Next: fill it in, or delete the row.",
            lines=tuple(own.line for own in empty),
        )
    yield from _contradictory(gold, "gold-contradictory", "Measured on, and no model is right on all of them.")
    by_text = {folded(own.row.text): own for own in reversed(gold.rows)}
    leaked = division.left_out.get(Why.IN_GOLD, ())
    if leaked:
        pairs = [(own, by_text[folded(own.row.text)]) for own in leaked]
        yield Finding(
            kind="in-gold",
            severity=Severity.WARNING,
            sentence=f"{rows.at(leaked)}: in {gold.name} too. Left out of the rows to learn from, since a model must not know the answers.",
            details=tuple(
                f"{rows.unit} {own.line}: {own.row.tag}; {gold.name}, {gold.unit} {other.line}: {other.row.tag}"
                + ("; one of the labels is wrong" if own.row.tag != other.row.tag else "")
                for own, other in pairs
            ),
            lines=tuple(own.line for own in leaked),
        )
    near = division.left_out.get(Why.NEAR_GOLD, ())
    if near:
        yield Finding(
            kind="near-gold",
            severity=Severity.WARNING,
            sentence=f"{rows.at(near)}: share {NEARLY} with a row of {gold.name}. Left out of the rows to learn from.",
            lines=tuple(own.line for own in near),
        )


def _contradictory(rows: OwnRows, kind: str, what_then: str) -> Iterator[Finding]:
    groups = [
        group
        for group in same_text([own for own in rows.rows if own.row.text.strip() and own.row.tag.strip()])
        if len({own.row.tag for own in group}) > 1
    ]
    if groups:
        found = [own for group in groups for own in group]
        yield Finding(
            kind=kind,
            severity=Severity.WARNING,
            sentence=f"{rows.at(found)}: one text with two labels or more. {what_then} Next: decide on one label for each text.",
            details=tuple(f"{_lines(rows, group)}: {' or '.join(sorted({own.row.tag for own in group}))}" for group in groups),
            lines=tuple(own.line for own in found),
        )


def _near(rows: OwnRows, division: Division, left_out: set[int]) -> Iterator[Finding]:
    """Near-repeats inside a part, which are only counted together; texts that are the same with two labels are said elsewhere."""
    pairs = [
        (one, other)
        for one, other in division.near
        if folded(one.row.text) != folded(other.row.text) and not {one.line, other.line} & left_out
    ]
    if pairs:
        pairs.sort(key=lambda pair: pair[0].line)
        differ = [
            f"{_lines(rows, pair)}: {pair[0].row.tag} and {pair[1].row.tag}"
            for pair in pairs
            if pair[0].row.tag != pair[1].row.tag
        ]
        found = sorted({own.line for pair in pairs for own in pair})
        labels = f", {len(differ):,} of the pairs with two labels" if differ else ""
        yield Finding(
            kind="near-repeats",
            severity=Severity.NOTE,
            sentence=f"{rows.name}, {places(found, rows.unit)}: share {NEARLY} with another row{labels}. Kept, and such rows fall into one part.",
            details=tuple(differ),
            lines=tuple(found),
        )


def _lines(rows: OwnRows, found: Sequence[OwnRow]) -> str:
    return places([own.line for own in found], rows.unit)
