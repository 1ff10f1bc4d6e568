"""Look at a user's rows before anything is learned from them: `look` runs every check, and its report is in the user's terms."""

from collections import Counter
from collections.abc import Iterator

from model_export.data.own.findings import Finding, Look, Severity
from model_export.data.own.labels import label_checks, part_checks
from model_export.data.own.repeated import gold_checks, repeat_checks
from model_export.data.own.rows import LEAST_LABELS, OwnRow, OwnRows
from model_export.data.own.split import Division, Why, divide
from model_export.data.own.suspects import suspects
from model_export.data.own.texts import Encoder, readings, shipped_encoder
from model_export.data.splits import Splits

SHOWN_CHARACTERS = 60


def look(
    rows: OwnRows,
    gold: OwnRows | None = None,
    *,
    base: Splits | None = None,
    encoder: Encoder | None = None,
    certificate_rows: int | None = None,
) -> Look:
    """
    Run every check on a user's rows.

    Args:
        rows: The rows to learn from.
        gold: The rows that are only measured on.
        base: Rows of tagstream's own that are learned from too; as of `divide`.
        encoder: How long a text may be and how it is cut into pieces; those of the shipped bundle by default.
        certificate_rows: How many rows a label needs at least for a certificate of its own, all of them right; not said if None.

    Raises:
        OwnDataError: As `divide`.
    """
    division = divide(rows, gold, base=base)
    counted = Counter(own.row.tag for own in rows.rows if own.row.tag.strip())
    findings = [
        *label_checks(rows, gold),
        *part_checks(rows, division, certificate_rows, with_gold=gold is not None),
        *_empty(rows, division),
        *repeat_checks(rows, division),
        *gold_checks(rows, gold, division),
        *_texts(rows, encoder or shipped_encoder()),
        *_suspects(rows, division),
    ]
    order = list(Severity)
    return Look(
        name=rows.name,
        labels=dict(counted),
        rows=len(rows.rows),
        gold_rows=None if gold is None else len(gold.rows),
        division=division,
        findings=tuple(sorted(findings, key=lambda finding: order.index(finding.severity))),
    )


def _empty(rows: OwnRows, division: Division) -> Iterator[Finding]:
    for why, lacks in ((Why.EMPTY_TEXT, "text"), (Why.EMPTY_LABEL, "label")):
        found = division.left_out.get(why, ())
        if found:
            yield Finding(
                kind=f"empty-{lacks}",
                severity=Severity.WARNING,
                sentence=f"{rows.at(found)}: no {lacks}. Left out. Next: fill it in, or delete the row.",
                lines=tuple(own.line for own in found),
            )


def _texts(rows: OwnRows, encoder: Encoder) -> Iterator[Finding]:
    read = readings([own.row.text for own in rows.rows], encoder)
    foreign, cut = ([rows.rows[place] for place in places] for places in (read.foreign, read.cut))
    if foreign:
        yield Finding(
            kind="language",
            severity=Severity.WARNING,
            sentence=f"{rows.at(foreign)}: probably not English, and the encoder learned from English alone. Kept. Next: translate these "
            f"texts, or have people decide them.",
            details=tuple(f"{rows.unit} {own.line}: {shown(own)}" for own in foreign),
            lines=tuple(own.line for own in foreign),
        )
    if cut:
        yield Finding(
            kind="cut",
            severity=Severity.NOTE,
            sentence=f"{rows.at(cut)}: longer than the {encoder.max_length} tokens that the model reads; it sees their beginning.",
            lines=tuple(own.line for own in cut),
        )


def _suspects(rows: OwnRows, division: Division) -> Iterator[Finding]:
    """The labels of all rows that are learned from, calibrated on or tested on; the gold set is taken at its word."""
    judged = [own for own in rows.rows if own.line in division.topics]
    labels = sorted({own.row.tag for own in judged})
    if len(labels) < LEAST_LABELS:
        return
    found = suspects([own.row for own in judged], [division.topics[own.line] for own in judged], labels)
    if found:
        named = [(judged[place], label, probability) for place, label, probability in found]
        yield Finding(
            kind="label-errors",
            severity=Severity.WARNING,
            sentence=f"{rows.at([own for own, _, _ in named])}: {'reads' if len(named) == 1 else 'read'} like another label, the surest first. "
            f"Kept. Next: read the rows, and correct the labels that are wrong; others are right and only unusual.",
            details=tuple(
                f"{rows.unit} {own.line}: {own.row.tag}, reads like {label} ({probability:.2f}): {shown(own)}"
                for own, label, probability in named
            ),
            lines=tuple(own.line for own, _, _ in named),
        )


def shown(own: OwnRow) -> str:
    """The beginning of a text, for a person who looks for the row."""
    text = " ".join(own.row.text.split())
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
