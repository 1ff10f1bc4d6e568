"""Behaviour suites: small files of texts, each with its expected label, after CheckList (Ribeiro et al., ACL 2020).

    minimum      the plainest titles of every class, a group a class; a model that misses these does not know the class
    breadth      plain titles of every territory, whose label is not in dispute
    direction    the same title with another decisive word: the label must follow the word
    invariance   the same title with a typo, other case or spelling, synonyms, an address, reordered, decorated: the label must stay

The texts were written for the project. No model is trained or calibrated on them.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from model_export.bundle.prediction import Classifier
from model_export.bundle.text import compose
from model_export.calibrate.intervals import Interval, wilson
from model_export.data.madewithml import DataError
from monitoring.vocabulary import few

SUITES = Path(__file__).parents[1] / "suites"
EXPECTATIONS = ("minimum", "breadth", "direction")
INVARIANCE = "invariance"


Case = TypeVar("Case", bound=msgspec.Struct)


class Expectation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A text and the label that it must get."""

    title: str
    tag: str
    group: str
    description: str | None = None


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A title and a change of it that must not change its label."""

    title: str
    change: str
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupReport:
    """
    How many cases of one group of a suite hold. `failed` are the titles of those that do not, each with the label that
    was given.
    """

    suite: str
    group: str
    cases: int
    failed: tuple[str, ...]

    @property
    def passed(self) -> int:
        """The cases that hold."""
        return self.cases - len(self.failed)

    @property
    def interval(self) -> Interval:
        """Wilson's 95 % interval of the share that holds."""
        return wilson(self.passed, self.cases)

    def as_json(self) -> dict[str, object]:
        """The record as plain values."""
        return {**asdict(self), "passed": self.passed, "interval": self.interval}


def run(classifier: Classifier, folder: Path = SUITES) -> tuple[GroupReport, ...]:
    """
    Put every case of every suite to a classifier.

    Args:
        classifier: A loaded model.
        folder: The folder with the suites' files.

    Raises:
        DataError: A file is missing, a line of it is no case, or a case expects a label that the classifier lacks.
    """
    outcomes: defaultdict[tuple[str, str], list[tuple[str, bool]]] = defaultdict(list)
    for suite in EXPECTATIONS:
        cases = read_cases(folder / f"{suite}.jsonl", Expectation)
        found = classifier.classify([compose(case.title, case.description) for case in cases])
        for case, prediction in zip(cases, found, strict=True):
            if case.tag not in classifier.labels:
                msg = f"{folder / suite}.jsonl expects {case.tag!r}, which is no label. Next: name one of {few(classifier.labels)}."
                raise DataError(msg)
            text = f"{case.title} - {case.description}" if case.description else case.title
            outcomes[suite, case.group].append((f"{text} ({prediction.label}, not {case.tag})", prediction.label == case.tag))
    changes = read_cases(folder / f"{INVARIANCE}.jsonl", Change)
    before = classifier.classify([compose(case.title, None) for case in changes])
    after = classifier.classify([compose(case.change, None) for case in changes])
    for changed, left, right in zip(changes, before, after, strict=True):
        said = f"{changed.change} ({left.label} became {right.label})"
        outcomes[INVARIANCE, changed.group].append((said, left.label == right.label))
    return tuple(
        GroupReport(suite=suite, group=group, cases=len(cases), failed=tuple(title for title, holds in cases if not holds))
        for (suite, group), cases in outcomes.items()
    )


def read_cases(path: Path, kind: type[Case]) -> list[Case]:
    """
    The cases of one file.

    Raises:
        DataError: The file cannot be read, is empty, or a line of it is no case; the message names the line.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}. Next: install tagstream again; the suites come with it."
        raise DataError(msg) from error
    cases = []
    for number, line in enumerate(lines, start=1):
        try:
            cases.append(msgspec.json.decode(line, type=kind))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            msg = f"{path.name}:{number} is no case of a suite: {error}. Next: correct the line."
            raise DataError(msg) from error
    if not cases:
        msg = f"{path} holds no case. Next: add one a line, or leave the file out."
        raise DataError(msg)
    return cases


def totals(reports: Sequence[GroupReport]) -> tuple[GroupReport, ...]:
    """The groups of each suite as one, in order."""
    names = dict.fromkeys(report.suite for report in reports)
    return tuple(
        GroupReport(
            suite=name,
            group="all",
            cases=sum(report.cases for report in reports if report.suite == name),
            failed=tuple(title for report in reports if report.suite == name for title in report.failed),
        )
        for name in names
    )


def as_table(reports: Sequence[GroupReport]) -> str:
    """The suites as a table, and the titles of the cases that do not hold."""
    lines = [f"  {'suite':<12} {'group':<27} {'holds':>10}  95 %"]
    for report in reports:
        low, high = report.interval
        lines.append(f"  {report.suite:<12} {report.group:<27} {report.passed:>4} / {report.cases:<3} [{low:.2f}, {high:.2f}]")
        lines.extend(f"      not: {title}" for title in report.failed)
    passed, cases = (sum(counts) for counts in zip(*((report.passed, report.cases) for report in reports), strict=True))
    return "\n".join([f"behaviour: {passed} of {cases} cases hold", *lines])
