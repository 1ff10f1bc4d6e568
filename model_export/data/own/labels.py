"""Checks of labels: how many there are, their names, and how many rows each has."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from model_export.data.own.findings import Finding, Severity
from model_export.data.own.repeats import folded
from model_export.data.own.rows import LEAST_LABELS, MOST_LABELS, OwnRow, OwnRows, places
from model_export.data.own.split import Division
from monitoring.vocabulary import OFF_SUBJECT

MOST_LABEL_CHARACTERS = 100
# Below so many rows to learn from, a head has seen too few ways of saying the same.
FEW_ROWS = 20


def label_checks(rows: OwnRows, gold: OwnRows | None) -> Iterator[Finding]:
    """The number and the names of the labels; a file with too many is not read."""
    labels = rows.labels
    if len(labels) < LEAST_LABELS:
        yield Finding(
            kind="label-count",
            severity=Severity.ERROR,
            sentence=f"{rows.name} has {len(labels)} label{'s' * (len(labels) != 1)}, and a model has {LEAST_LABELS} to {MOST_LABELS}. Next: "
            f"name the column that holds the labels: --tag NAME.",
        )
    by_label: defaultdict[str, list[OwnRow]] = defaultdict(list)
    for own in rows.rows:
        by_label[own.row.tag].append(own)
    wrong = [(label, why) for label in labels if (why := _wrong(label))]
    if wrong:
        yield Finding(
            kind="label-name",
            severity=Severity.ERROR,
            sentence=f"{_counted(len(wrong), 'label')} cannot be a label's name: {'; '.join(f'{label!r} {why}' for label, why in wrong)} "
            f"({places([own.line for label, _ in wrong for own in by_label[label]], rows.unit)}). Next: rename.",
            lines=tuple(own.line for label, _ in wrong for own in by_label[label]),
        )
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for label in labels:
        alike[folded(label)].append(label)
    same = [names for names in alike.values() if len(names) > 1]
    if same:
        rarer = [min(names, key=lambda label: len(by_label[label])) for names in same]
        yield Finding(
            kind="label-alike",
            severity=Severity.ERROR,
            sentence=f"labels differ by case or white space alone: {'; '.join(' and '.join(map(repr, names)) for names in same)} (the rarer "
            f"at {places([own.line for label in rarer for own in by_label[label]], rows.unit)}). Next: write each label in one way.",
            lines=tuple(own.line for label in rarer for own in by_label[label]),
        )
    yield from _unknown_in_gold(rows, gold)


def part_checks(rows: OwnRows, division: Division, certificate_rows: int | None, *, with_gold: bool) -> Iterator[Finding]:
    """How many rows of each label there are to learn from, to calibrate on and to measure on."""
    splits = division.splits
    train, calibration, test = (Counter(row.tag for row in part) for part in (splits.train, splits.calibration, splits.holdout))
    lacking = [label for label in rows.labels if not (train[label] and calibration[label])]
    if lacking:
        least = 2 if with_gold else 3
        yield Finding(
            kind="too-few-rows",
            severity=Severity.ERROR,
            sentence=f"{_counted(len(lacking), 'label')} without a row to learn from or to calibrate on: {', '.join(lacking)}. Each label needs "
            f"{least} rows or more that do not repeat each other and are not of one group. Next: label more rows, or join labels.",
        )
    few = [label for label in rows.labels if label not in lacking and train[label] < FEW_ROWS]
    if few:
        yield Finding(
            kind="few-rows",
            severity=Severity.WARNING,
            sentence=f"{_counted(len(few), 'label')} with fewer than {FEW_ROWS} rows to learn from. Kept, and rarely found. Next: label more rows.",
            details=tuple(f"{label}: {_counted(train[label], 'row')}, {FEW_ROWS - train[label]} more needed" for label in few),
        )
    unmeasured = [label for label in rows.labels if label not in lacking and not test[label]]
    if unmeasured:
        yield Finding(
            kind="not-measured",
            severity=Severity.WARNING,
            sentence=f"{_counted(len(unmeasured), 'label')} without a row in the {'gold set' if with_gold else 'test part'}: "
            f"{', '.join(unmeasured)}. No figure will say how well it is found. Next: label some.",
        )
    usable = train + calibration
    uncertified = [label for label in rows.labels if certificate_rows is not None and usable[label] < certificate_rows]
    if uncertified:
        yield Finding(
            kind="certificate",
            severity=Severity.NOTE,
            sentence=f"{_counted(len(uncertified), 'label')} with fewer than {certificate_rows} rows: a certificate of a label's own needs at "
            f"least so many, all of them right, and more where labels are weighted; until then its decisions are covered by a "
            f"certificate of all labels together, or go to people.",
            details=tuple(
                f"{label}: {_counted(usable[label], 'row')}, at least {certificate_rows - usable[label]} more needed"
                for label in uncertified
                if certificate_rows is not None
            ),
        )


def _unknown_in_gold(rows: OwnRows, gold: OwnRows | None) -> Iterator[Finding]:
    if gold is None:
        return
    unknown = [own for own in gold.rows if own.row.tag.strip() and own.row.tag not in set(rows.labels)]
    if unknown:
        names = sorted({own.row.tag for own in unknown})
        yield Finding(
            kind="gold-label",
            severity=Severity.ERROR,
            sentence=f"{gold.at(unknown)}: labels that {rows.name} does not have: {', '.join(names)}. A model can only be wrong there. Next: "
            f"correct the label, leave the row out, or add rows of that label to learn from.",
            lines=tuple(own.line for own in unknown),
        )


def _wrong(label: str) -> str | None:
    """Why a label cannot be a name in metrics, messages and files; None where it can."""
    reasons = {
        "begins or ends with white space": label != label.strip(),
        "holds a line break or another character that is not visible": not label.isprintable(),
        f"is longer than {MOST_LABEL_CHARACTERS} characters": len(label) > MOST_LABEL_CHARACTERS,
        "is a reviewer's word for an event of no label": label == OFF_SUBJECT,
    }
    return next((why for why, holds in reasons.items() if holds), None)


def _counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'s' * (count != 1)}"
