"""
All checks of a user's rows before training, and their findings in the user's terms.

docs/findings.md has the kinds of findings and their severities.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from tagstream.model_export.data.duplicates import SIMILARITY_LIMIT
from tagstream.model_export.data.own.answers import Answered, stand
from tagstream.model_export.data.own.rows import LEAST_LABELS, MOST_LABELS, MOST_LINES_NAMED, OwnRow, OwnRows, places
from tagstream.model_export.data.own.split import Division, Why, divide, folded, same_text
from tagstream.model_export.data.own.suspects import suspects
from tagstream.model_export.data.own.texts import TokenCounter, readings, shipped_encoder
from tagstream.model_export.data.reader import RowsError
from tagstream.model_export.data.splits import Splits
from tagstream.monitoring.vocabulary import OFF_SUBJECT

SHOWN_CHARACTERS = 60
# Of more labels, only the labels with the most and the fewest rows are shown.
MOST_LABELS_SHOWN = 12
MOST_LABEL_CHARACTERS = 100
# A label with fewer training rows gets a warning: a head then sees too few phrasings of the label.
FEW_ROWS = 20
NEARLY = f"{SIMILARITY_LIMIT:.0%} of their words or more"


class DoubtfulDataError(Exception):
    """The rows have warnings, and `--strict` refuses them. The message names the findings."""

    exit_code = 1


class Severity(StrEnum):
    """The severity of a finding. An error always refuses the rows, a warning refuses them with `--strict`, a note never does."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsFinding:
    """
    One finding about the rows.

    Attributes:
        kind: The name of the finding, for `--allow` and for programs.
        severity: The severity.
        sentence: The fault, its place, the effect on the rows, and the next step.
        details: One line for each case, without a limit.
        lines: The line numbers of all affected rows of the user's file. If the kind begins with `gold-`, the lines are of the gold set; if
            the kind begins with `answers`, of the answers.
    """

    kind: str
    severity: Severity
    sentence: str
    details: tuple[str, ...] = ()
    lines: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsReport:
    """
    The result of all checks of a user's rows.

    Attributes:
        name: The name of the file.
        labels: The number of rows by label, with people's answers applied and before any row is left out.
        rows: The number of all rows of the file.
        gold_rows: The number of rows of the gold set; None without a gold set.
        division: The parts, and the rows that are left out.
        findings: The errors, then the warnings, then the notes.
    """

    name: str
    labels: dict[str, int]
    rows: int
    gold_rows: int | None
    division: Division
    findings: tuple[RowsFinding, ...]

    def of(self, severity: Severity) -> tuple[RowsFinding, ...]:
        """Return the findings of one severity."""
        return tuple(finding for finding in self.findings if finding.severity is severity)

    def refuse(self, *, strict: bool = False, allowed: Collection[str] = ()) -> None:
        """
        Raise an error if the findings refuse the rows.

        Args:
            strict: Warnings refuse the rows, too.
            allowed: The kinds of warnings that `strict` ignores.

        Raises:
            RowsError: There are errors.
            DoubtfulDataError: `strict` is set, and there are warnings that are not allowed.
        """
        errors = self.of(Severity.ERROR)
        if errors:
            msg = f"{self.name} cannot be learned from. {' '.join(finding.sentence for finding in errors)} No file was written."
            raise RowsError(msg)
        warnings = [finding for finding in self.of(Severity.WARNING) if finding.kind not in allowed]
        if strict and warnings:
            kinds = ", ".join(dict.fromkeys(finding.kind for finding in warnings))
            msg = (
                f"{self.name} is refused by --strict ({kinds}). {' '.join(finding.sentence for finding in warnings)} No file was "
                f"written. Once a person has looked at the rows, `--allow KIND` lets a kind pass."
            )
            raise DoubtfulDataError(msg)

    def as_text(self) -> str:
        """Return the report for a person: the rows, then each finding with its first ten cases."""
        parts = self.division.splits.counts()
        test = "gold" if self.gold_rows is not None else "test"
        left_out = sum(map(len, self.division.left_out.values()))
        lines = [
            f"{self.name}: {self.rows:,} rows, {len(self.labels)} labels: {_counts(self.labels)}",
            f"  train {parts['train']:,}, calibration {parts['calibration']:,}, {test} {parts['holdout']:,} rows; {left_out:,} left out",
        ]
        for finding in self.findings:
            lines.append(f"  {finding.severity:<7} {finding.kind}: {finding.sentence}")
            lines += [f"            {detail}" for detail in finding.details[:MOST_LINES_NAMED]]
            if len(finding.details) > MOST_LINES_NAMED:
                lines.append(f"            and {len(finding.details) - MOST_LINES_NAMED:,} more; --json has all")
        counts = [f"{len(self.of(severity))} {severity}{'s' * (len(self.of(severity)) != 1)}" for severity in Severity]
        return "\n".join([*lines, f"  {', '.join(counts)}"])

    def records(self) -> Sequence[dict[str, object]]:
        """Return the report as plain values: one record for the rows, and one record for each finding."""
        return [
            {
                "record": "rows",
                "file": self.name,
                "rows": self.rows,
                "gold_rows": self.gold_rows,
                "labels": self.labels,
                "parts": self.division.splits.counts(),
                "left_out": {why.value: [own.line for own in rows] for why, rows in self.division.left_out.items()},
            },
            *({"record": "finding", **asdict(finding)} for finding in self.findings),
        ]


def _counts(labels: dict[str, int]) -> str:
    ordered = sorted(labels, key=lambda label: (-labels[label], label))
    shown = [f"{label} {labels[label]:,}" for label in ordered]
    if len(shown) > MOST_LABELS_SHOWN:
        half = MOST_LABELS_SHOWN // 2
        shown = [*shown[:half], "...", *shown[-half:]]
    return ", ".join(shown)


def look(
    rows: OwnRows,
    gold: OwnRows | None = None,
    *,
    base: Splits | None = None,
    answers: OwnRows | None = None,
    multilabel: bool = False,
    encoder: TokenCounter | None = None,
    certificate_rows: int | None = None,
) -> RowsReport:
    """
    Run every check on a user's rows.

    Args:
        rows: The user's rows.
        gold: The gold set, only for measurement.
        base: Tagstream's own rows, which are used for training too; as in `divide`.
        answers: People's answers. They replace the labels of rows with the same text.
        multilabel: A second head, for further labels of a text, is to be trained on the rows.
        encoder: The tokenizer and the length limit; None: those of the shipped bundle.
        certificate_rows: The least number of rows of a label that can certify its own threshold, if all predictions are right. None: this
            is not checked.

    Raises:
        RowsError: As `divide`.
    """
    answered = None if answers is None else stand(rows, answers)
    if answered is not None:
        rows = answered.rows
    division = divide(rows, gold, base=base, answers=None if answered is None else answered.fresh)
    counted = Counter(own.row.tag for own in rows.rows if own.is_labelled)
    findings = [
        *_label_checks(rows, gold),
        *_part_checks(rows, division, certificate_rows, with_gold=gold is not None),
        *_empty(rows, division),
        *_off_subject(rows, division),
        *_repeat_checks(rows, division),
        *_gold_checks(rows, gold, division),
        *(() if answered is None else _answer_checks(answered, division)),
        *(_further_labels(rows, gold, division) if multilabel else ()),
        *_texts(rows, encoder or shipped_encoder()),
        *_suspects(rows, division),
    ]
    order = list(Severity)
    return RowsReport(
        name=rows.name,
        labels=dict(counted),
        rows=len(rows.rows),
        gold_rows=None if gold is None else len(gold.rows),
        division=division,
        findings=tuple(sorted(findings, key=lambda finding: order.index(finding.severity))),
    )


def _empty(rows: OwnRows, division: Division) -> Iterator[RowsFinding]:
    for why, lacks in ((Why.EMPTY_TEXT, "text"), (Why.EMPTY_LABEL, "label")):
        found = division.left_out.get(why, ())
        if found:
            yield RowsFinding(
                kind=f"empty-{lacks}",
                severity=Severity.WARNING,
                sentence=f"{rows.at(found)}: no {lacks}. Left out. Next: fill it in, or delete the row.",
                lines=tuple(own.line for own in found),
            )


def _off_subject(rows: OwnRows, division: Division) -> Iterator[RowsFinding]:
    if strange := division.left_out.get(Why.OFF_SUBJECT, ()):
        yield RowsFinding(
            kind="off-subject",
            severity=Severity.NOTE,
            sentence=f"{rows.at(strange)}: {_counted(len(strange), 'row')} that a person found to have none of the labels (`{OFF_SUBJECT}`). "
            f"Left out: no label is learned from them.",
            lines=tuple(own.line for own in strange),
        )


def _texts(rows: OwnRows, encoder: TokenCounter) -> Iterator[RowsFinding]:
    read = readings([own.row.text for own in rows.rows], encoder)
    foreign, cut = ([rows.rows[place] for place in places] for places in (read.foreign, read.cut))
    if foreign:
        yield RowsFinding(
            kind="language",
            severity=Severity.WARNING,
            sentence=f"{rows.at(foreign)}: probably not English, and the encoder learned from English alone. Kept. Next: train with "
            f"`--base multilingual --quick`, translate these texts, or have people decide them.",
            details=tuple(f"{rows.unit} {own.line}: {shown(own)}" for own in foreign),
            lines=tuple(own.line for own in foreign),
        )
    if cut:
        yield RowsFinding(
            kind="cut",
            severity=Severity.NOTE,
            sentence=f"{rows.at(cut)}: longer than the {encoder.max_length} tokens that the model reads; it sees their beginning.",
            lines=tuple(own.line for own in cut),
        )


def _suspects(rows: OwnRows, division: Division) -> Iterator[RowsFinding]:
    """Check for label errors in the training, calibration and test rows. The labels of the gold set are trusted."""
    judged = [own for own in rows.rows if own.line in division.topics]
    labels = sorted({own.row.tag for own in judged})
    if len(labels) < LEAST_LABELS:
        return
    found = suspects([own.row for own in judged], [division.topics[own.line] for own in judged], labels)
    if found:
        named = [(judged[place], label, probability) for place, label, probability in found]
        yield RowsFinding(
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
    """Return the beginning of a row's text, so that a person can find the row."""
    text = " ".join(own.row.text.split())
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def _label_checks(rows: OwnRows, gold: OwnRows | None) -> Iterator[RowsFinding]:
    """Check the number and the names of the labels. The reader already refuses a file with too many labels."""
    labels = rows.labels
    if len(labels) < LEAST_LABELS:
        yield RowsFinding(
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
        yield RowsFinding(
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
        yield RowsFinding(
            kind="label-alike",
            severity=Severity.ERROR,
            sentence=f"labels differ by case or white space alone: {'; '.join(' and '.join(map(repr, names)) for names in same)} (the rarer "
            f"at {places([own.line for label in rarer for own in by_label[label]], rows.unit)}). Next: write each label in one way.",
            lines=tuple(own.line for label in rarer for own in by_label[label]),
        )
    yield from _unknown_in_gold(rows, gold)


def _part_checks(rows: OwnRows, division: Division, certificate_rows: int | None, *, with_gold: bool) -> Iterator[RowsFinding]:
    """Check the number of training, calibration and test rows of each label."""
    splits = division.splits
    train, calibration, test = (Counter(row.tag for row in part) for part in (splits.train, splits.calibration, splits.holdout))
    # `train` may have a label that `rows` lacks: an answer can correct the last row of the label while another answer has the label.
    lacking = [label for label in sorted({*rows.labels, *train}) if not (train[label] and calibration[label])]
    if lacking:
        least = 2 if with_gold else 3
        yield RowsFinding(
            kind="too-few-rows",
            severity=Severity.ERROR,
            sentence=f"{_counted(len(lacking), 'label')} without a row to learn from or to calibrate on: {', '.join(lacking)}. Each label needs "
            f"{least} rows or more that do not repeat each other and are not of one group. Next: label more rows, or join labels.",
        )
    few = [label for label in rows.labels if label not in lacking and train[label] < FEW_ROWS]
    if few:
        yield RowsFinding(
            kind="few-rows",
            severity=Severity.WARNING,
            sentence=f"{_counted(len(few), 'label')} with fewer than {FEW_ROWS} rows to learn from. Kept, and rarely found. Next: label more rows.",
            details=tuple(f"{label}: {_counted(train[label], 'row')}, {FEW_ROWS - train[label]} more needed" for label in few),
        )
    unmeasured = [label for label in rows.labels if label not in lacking and not test[label]]
    if unmeasured:
        yield RowsFinding(
            kind="not-measured",
            severity=Severity.WARNING,
            sentence=f"{_counted(len(unmeasured), 'label')} without a row in the {'gold set' if with_gold else 'test part'}: "
            f"{', '.join(unmeasured)}. No figure will say how well it is found. Next: label some.",
        )
    usable = Counter(row.tag for row in splits.train if not row.answered) + calibration
    uncertified = [label for label in rows.labels if certificate_rows is not None and usable[label] < certificate_rows]
    if uncertified:
        yield RowsFinding(
            kind="certificate",
            severity=Severity.NOTE,
            sentence=f"{_counted(len(uncertified), 'label')} with fewer than {certificate_rows} rows: a certificate of a label's own needs at "
            f"least {certificate_rows} rows, all of them right, and more where labels are weighted; until then a certificate of all "
            f"labels together covers the label's decisions, or its events go to people.",
            details=tuple(
                f"{label}: {_counted(usable[label], 'row')}, at least {certificate_rows - usable[label]} more needed"
                for label in uncertified
                if certificate_rows is not None
            ),
        )


def _unknown_in_gold(rows: OwnRows, gold: OwnRows | None) -> Iterator[RowsFinding]:
    if gold is None:
        return
    unknown = [own for own in gold.rows if own.is_labelled and own.row.tag not in set(rows.labels)]
    if unknown:
        names = sorted({own.row.tag for own in unknown})
        yield RowsFinding(
            kind="gold-label",
            severity=Severity.ERROR,
            sentence=f"{gold.at(unknown)}: labels that {rows.name} does not have: {', '.join(names)}. A model is always wrong "
            f"there. Next: correct the label, leave the row out, or add rows of that label to learn from.",
            lines=tuple(own.line for own in unknown),
        )


def _wrong(label: str) -> str | None:
    """Return the reason why a label cannot be a name in metrics, messages and files. None if the label can."""
    reasons = {
        "begins or ends with white space": label != label.strip(),
        "holds a line break or another character that is not visible": not label.isprintable(),
        f"is longer than {MOST_LABEL_CHARACTERS} characters": len(label) > MOST_LABEL_CHARACTERS,
        f"reads like {OFF_SUBJECT}, a reviewer's word for an event of no label": folded(label) == OFF_SUBJECT,
    }
    return next((why for why, holds in reasons.items() if holds), None)


def _counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'s' * (count != 1)}"


def _repeat_checks(rows: OwnRows, division: Division) -> Iterator[RowsFinding]:
    """Check for repeats in the user's rows."""
    repeated = division.left_out.get(Why.REPEATED, ())
    if repeated:
        first = {(folded(own.row.text), own.row.tag): own.line for own in reversed(rows.rows)}
        yield RowsFinding(
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
        yield RowsFinding(
            kind="near-across-parts",
            severity=Severity.WARNING,
            sentence=f"{rows.at(across)}: share {NEARLY} with a row that is tested or calibrated on. Left out, since the figures would be too "
            f"good. Next: give both rows one part.",
            lines=tuple(own.line for own in across),
        )
    yield from _near(rows, division, {own.line for own in across})


def _gold_checks(rows: OwnRows, gold: OwnRows | None, division: Division) -> Iterator[RowsFinding]:
    """Check the gold set for gaps and contradictions, and for rows that the user's rows (nearly) duplicate."""
    if gold is None:
        return
    empty = [own for own in gold.rows if not (own.row.text.strip() and own.is_labelled)]
    if empty:
        yield RowsFinding(
            kind="gold-empty",
            severity=Severity.WARNING,
            sentence=f"{gold.at(empty)}: no text, no label or none of the labels. Not measured on. Next: fill it in, or delete the row.",
            lines=tuple(own.line for own in empty),
        )
    yield from _contradictory(gold, "gold-contradictory", "Measured on, and no model is right on all of them.")
    by_text = {folded(own.row.text): own for own in reversed(gold.rows)}
    leaked = division.left_out.get(Why.IN_GOLD, ())
    if leaked:
        pairs = [(own, by_text[folded(own.row.text)]) for own in leaked]
        yield RowsFinding(
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
        yield RowsFinding(
            kind="near-gold",
            severity=Severity.WARNING,
            sentence=f"{rows.at(near)}: share {NEARLY} with a row of {gold.name}. Left out of the rows to learn from.",
            lines=tuple(own.line for own in near),
        )


def _answer_checks(answered: Answered, division: Division) -> Iterator[RowsFinding]:
    """Report how people's answers are used."""
    rows, fresh = answered.rows, answered.fresh
    left_out = {
        "of none of the labels": answered.off_subject,
        f"with a label that {rows.name} does not have": answered.unknown,
        "about a text on which answers differ": answered.differing,
        "a repeat": answered.repeated,
        **{f"{why}": found for why, found in division.answers_left_out.items()},
    }
    learned = len(fresh.rows) - sum(map(len, division.answers_left_out.values()))
    yield RowsFinding(
        kind="answers",
        severity=Severity.NOTE,
        sentence=f"{fresh.name}: {_counted(learned, 'answer')} learned from, {len(answered.of_rows):,} about texts of {rows.name}, "
        f"{sum(map(len, left_out.values())):,} left out. No figure or threshold rests on an answer that is learned "
        f"from, since a model chose what was asked.",
        details=tuple(f"left out, {why}: {_lines(fresh, found)}" for why, found in left_out.items() if found),
    )
    if answered.corrected:
        yield RowsFinding(
            kind="corrected",
            severity=Severity.NOTE,
            sentence=f"{rows.at([own for own, _ in answered.corrected])}: people gave another label, or none of the "
            f"labels. Their answers replace the labels.",
            details=tuple(
                f"{rows.unit} {own.line}: {own.row.tag or 'no label'}, answered {tag}" for own, tag in answered.corrected
            ),
            lines=tuple(own.line for own, _ in answered.corrected),
        )
    if answered.unknown:
        used = fresh.rows or answered.of_rows or answered.off_subject
        yield RowsFinding(
            kind="answers-label",
            severity=Severity.WARNING if used else Severity.ERROR,
            sentence=f"{fresh.at(answered.unknown)}: labels that {rows.name} does not have: "
            f"{', '.join(sorted({own.row.tag for own in answered.unknown}))}. {'Left out' if used else 'No answer is left'}. Next: correct "
            f"the label, or add rows of it to {rows.name}.",
            lines=tuple(own.line for own in answered.unknown),
        )
    if answered.differing:
        yield RowsFinding(
            kind="answers-contradictory",
            severity=Severity.WARNING,
            sentence=f"{fresh.at(answered.differing)}: one text with two answers or more. Left out. Next: decide on one label for each text.",
            lines=tuple(own.line for own in answered.differing),
        )


def _further_labels(rows: OwnRows, gold: OwnRows | None, division: Division) -> Iterator[RowsFinding]:
    """Check the rows with several labels. The second head is trained and calibrated on these rows."""
    labels = set(rows.labels)
    for prefix, of in (("", rows), *([] if gold is None else [("gold-", gold)])):
        unknown = [own for own in of.rows if own.is_labelled and not labels.issuperset(own.row.tags)]
        if unknown:
            names = sorted({label for own in unknown for label in own.row.tags} - labels)
            yield RowsFinding(
                kind=f"{prefix}further-label",
                severity=Severity.ERROR,
                sentence=f"{of.at(unknown)}: further labels that no row of {rows.name} has as its own: {', '.join(names)}. Next: correct "
                f"them, or add rows of these labels.",
                lines=tuple(own.line for own in unknown),
            )
    learned = [row for row in division.splits.train if not row.answered]
    known, judging = (sum(len(row.tags) > 1 for row in part) for part in (learned, division.splits.calibration))
    if min(known, judging) == 0 or known < FEW_ROWS:
        lacking = min(known, judging) == 0
        yield RowsFinding(
            kind="few-several",
            severity=Severity.ERROR if lacking else Severity.WARNING,
            sentence=f"{_counted(known, 'row')} of several labels to learn from and {judging:,} to calibrate on; a second head needs "
            f"{FEW_ROWS} or more to learn from, and at least one to calibrate on. "
            f"{'' if lacking else 'Kept, and further labels are rarely found. '}Next: name all labels of a text in the column `tags` "
            f"(`--tags NAME`), as `billing; bug` or as a JSON list, or leave --multilabel out.",
        )
    same = [label for label in rows.labels if len({label in (row.tag, *row.tags) for row in learned}) == 1]
    if same:
        yield RowsFinding(
            kind="no-contrast",
            severity=Severity.ERROR,
            sentence=f"{_counted(len(same), 'label')} that every row to learn from carries, or none but answers: {', '.join(same)}. A second "
            f"head cannot learn where such a label ends. Next: add rows without it, or with it.",
        )


def _contradictory(rows: OwnRows, kind: str, what_then: str) -> Iterator[RowsFinding]:
    groups = [
        group
        for group in same_text([own for own in rows.rows if own.row.text.strip() and own.is_labelled])
        if len({own.row.tag for own in group}) > 1
    ]
    if groups:
        found = [own for group in groups for own in group]
        yield RowsFinding(
            kind=kind,
            severity=Severity.WARNING,
            sentence=f"{rows.at(found)}: one text with two labels or more. {what_then} Next: decide on one label for each text.",
            details=tuple(f"{_lines(rows, group)}: {' or '.join(sorted({own.row.tag for own in group}))}" for group in groups),
            lines=tuple(own.line for own in found),
        )


def _near(rows: OwnRows, division: Division, left_out: set[int]) -> Iterator[RowsFinding]:
    """Report near-duplicates within a part, in one finding. `_contradictory` reports equal texts with two labels."""
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
        yield RowsFinding(
            kind="near-repeats",
            severity=Severity.NOTE,
            sentence=f"{rows.name}, {places(found, rows.unit)}: share {NEARLY} with another row{labels}. Kept, and such rows fall into one part.",
            details=tuple(differ),
            lines=tuple(found),
        )


def _lines(rows: OwnRows, found: Sequence[OwnRow]) -> str:
    return places([own.line for own in found], rows.unit)
