"""Findings in a user's rows, in the user's terms, and the fate of a file that has some."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from model_export.data.own.rows import MOST_LINES_NAMED, OwnDataError
from model_export.data.own.split import Division

# A table of more labels is no longer read; the largest and the smallest are named.
MOST_LABELS_SHOWN = 12


class DoubtfulDataError(Exception):
    """The rows could be used, and `--strict` refuses them: the message says which findings are in the way."""

    exit_code = 1


class Severity(StrEnum):
    """The weight of a finding: an error is always refused, a warning by `--strict`, a note never."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """
    One thing about the rows.

    Attributes:
        kind: Its name, for `--allow` and for programs.
        severity: What it means.
        sentence: What was found and where, what becomes of it, and the next step.
        details: One line for each case, all of them.
        lines: The lines of the file to learn from, all of them; of the gold set where the kind begins with `gold-`.
    """

    kind: str
    severity: Severity
    sentence: str
    details: tuple[str, ...] = ()
    lines: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """
    The result of looking at a user's rows.

    Attributes:
        name: The file.
        labels: How many rows carry each label, by label; the file's rows, before any is left out.
        rows: All rows of the file.
        gold_rows: The rows of the gold set; None where there is none.
        division: The parts, and the rows in none of them.
        findings: Errors first, then warnings, then notes.
    """

    name: str
    labels: dict[str, int]
    rows: int
    gold_rows: int | None
    division: Division
    findings: tuple[Finding, ...]

    def of(self, severity: Severity) -> tuple[Finding, ...]:
        """The findings of one severity."""
        return tuple(finding for finding in self.findings if finding.severity is severity)

    def refuse(self, *, strict: bool = False, allowed: Collection[str] = ()) -> None:
        """
        Refuse the rows where they cannot or must not be used.

        Args:
            strict: Refuse them for warnings too.
            allowed: Kinds of warnings that are not refused even so.

        Raises:
            OwnDataError: There are errors.
            DoubtfulDataError: There are warnings, and `strict` asks for none.
        """
        errors = self.of(Severity.ERROR)
        if errors:
            msg = f"{self.name} cannot be learned from. {' '.join(finding.sentence for finding in errors)} Nothing was written."
            raise OwnDataError(msg)
        warnings = [finding for finding in self.of(Severity.WARNING) if finding.kind not in allowed]
        if strict and warnings:
            kinds = ", ".join(dict.fromkeys(finding.kind for finding in warnings))
            msg = (
                f"{self.name} is refused by --strict ({kinds}). {' '.join(finding.sentence for finding in warnings)} Nothing was "
                f"written. Once a person has looked at the rows, `--allow KIND` lets a kind pass."
            )
            raise DoubtfulDataError(msg)

    def as_text(self) -> str:
        """The report for a person: the rows, then every finding with its first ten cases."""
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
        """The same as plain values: one record of the rows, and one for each finding."""
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
