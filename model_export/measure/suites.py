"""Behaviour suites: small files of texts with their expected labels, after CheckList (Ribeiro et al., ACL 2020).

    minimum      the plainest titles of every class, one group per class; a model that misses these titles does not know the class
    breadth      plain titles of every subject, with an undisputed label
    direction    the same title with another decisive word: the label must follow the word
    invariance   the same title with a typo, other case or spelling, synonyms, an address, reordered, decorated: the label must stay

The texts were written for the project. No model is trained or calibrated on them. Their labels are the shipped labels. For a user's own
labels, `run_own` reads one file with two kinds of lines:

    {"title": "I forgot my password", "tag": "access", "group": "plain"}         the text must get this label; a description is optional
    {"title": "Refund, please", "change": "REFUND, PLEASE", "group": "case"}     the changed title must get the same label as the title
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from tagstream.model_export.bundle.files import read_whole
from tagstream.model_export.bundle.model import Classifier
from tagstream.model_export.bundle.text import compose
from tagstream.model_export.calibrate.intervals import Interval, wilson
from tagstream.model_export.data.madewithml import DataError
from tagstream.monitoring.vocabulary import few

SUITES = Path(__file__).parents[1] / "suites"
EXPECTATIONS = ("minimum", "breadth", "direction")
INVARIANCE = "invariance"


Case = TypeVar("Case", bound=msgspec.Struct)
# The cases by suite and group: each case in words, and True if the case holds.
Outcomes = dict[tuple[str, str], list[tuple[str, bool]]]


class Expectation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A text and its expected label."""

    title: str
    tag: str
    group: str
    description: str | None = None


class ChangedTitle(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A title and a changed title that must get the same label."""

    title: str
    change: str
    group: str


class OwnCase(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A line of a user's suite. A line with `tag` is an expectation; a line with `change` is a changed title."""

    title: str
    group: str = "all"
    tag: str | None = None
    change: str | None = None
    description: str | None = None

    def __post_init__(self) -> None:
        if (self.tag is None) == (self.change is None) or (self.change is not None and self.description is not None):
            msg = "a case has a title and either a tag, perhaps with a description, or a change of the title"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupReport:
    """
    The results of one group of a suite.

    Attributes:
        suite: The name of the suite.
        group: The name of the group.
        cases: The number of cases.
        failed: The titles of the cases that do not hold, each with the predicted label.
    """

    suite: str
    group: str
    cases: int
    failed: tuple[str, ...]

    @property
    def passed(self) -> int:
        """The number of cases that hold."""
        return self.cases - len(self.failed)

    @property
    def interval(self) -> Interval:
        """Wilson's 95 % interval of the share of cases that hold."""
        return wilson(self.passed, self.cases)

    def as_json(self) -> dict[str, object]:
        """The record as plain values."""
        return {**asdict(self), "passed": self.passed, "interval": self.interval}


def run_own(classifier: Classifier, path: Path) -> tuple[GroupReport, ...]:
    """
    Run all cases of a user's file on a classifier.

    Args:
        classifier: A loaded model.
        path: The file, JSON Lines of the two kinds.

    Raises:
        DataError: The file cannot be read, a line is not a case, or a case expects a label that the classifier lacks.
    """
    cases = read_cases(path, OwnCase)
    expected = [
        Expectation(title=case.title, tag=case.tag, group=case.group, description=case.description)
        for case in cases
        if case.tag is not None
    ]
    changes = [
        ChangedTitle(title=case.title, change=case.change, group=case.group) for case in cases if case.change is not None
    ]
    return _reports(_outcomes(classifier, path.stem, expected, path) | _kept(classifier, changes))


def run(classifier: Classifier, folder: Path = SUITES) -> tuple[GroupReport, ...]:
    """
    Run all cases of all suites on a classifier.

    Args:
        classifier: A loaded model.
        folder: The folder with the files of the suites.

    Raises:
        DataError: A file is missing, a line is not a case, or a case expects a label that the classifier lacks.
    """
    outcomes: Outcomes = {}
    for suite in EXPECTATIONS:
        path = folder / f"{suite}.jsonl"
        outcomes |= _outcomes(classifier, suite, read_cases(path, Expectation), path)
    outcomes |= _kept(classifier, read_cases(folder / f"{INVARIANCE}.jsonl", ChangedTitle))
    return _reports(outcomes)


def _outcomes(classifier: Classifier, suite: str, cases: Sequence[Expectation], path: Path) -> Outcomes:
    """Return, for each text, True if the predicted label is the expected label."""
    outcomes: defaultdict[tuple[str, str], list[tuple[str, bool]]] = defaultdict(list)
    found = classifier.classify([compose(case.title, case.description) for case in cases])
    for case, prediction in zip(cases, found, strict=True):
        if case.tag not in classifier.labels:
            msg = f"{path} expects {case.tag!r}, which is no label. Next: name one of {few(classifier.labels)}."
            raise DataError(msg)
        text = f"{case.title} - {case.description}" if case.description else case.title
        outcomes[suite, case.group].append((f"{text} ({prediction.label}, not {case.tag})", prediction.label == case.tag))
    return outcomes


def _kept(classifier: Classifier, changes: Sequence[ChangedTitle]) -> Outcomes:
    """Return, for each title, True if the changed title gets the same label."""
    outcomes: defaultdict[tuple[str, str], list[tuple[str, bool]]] = defaultdict(list)
    before = classifier.classify([compose(case.title, None) for case in changes])
    after = classifier.classify([compose(case.change, None) for case in changes])
    for changed, left, right in zip(changes, before, after, strict=True):
        said = f"{changed.change} ({left.label} became {right.label})"
        outcomes[INVARIANCE, changed.group].append((said, left.label == right.label))
    return outcomes


def _reports(outcomes: Outcomes) -> tuple[GroupReport, ...]:
    return tuple(
        GroupReport(suite=suite, group=group, cases=len(cases), failed=tuple(title for title, holds in cases if not holds))
        for (suite, group), cases in outcomes.items()
    )


def read_cases(path: Path, kind: type[Case]) -> list[Case]:
    """
    Read the cases of one file.

    Raises:
        DataError: The file cannot be read or is empty, or a line is not a case. The message names the line.
    """
    try:
        lines = read_whole(path).splitlines()
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}. Next: name a file that exists; if it is one of tagstream's, install it again."
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
    """Return one report per suite, which combines its groups, in order."""
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
    """Return the suites as a table, with the titles of the cases that do not hold."""
    if not reports:
        return (
            "behaviour: not measured; tagstream's suites are about its own labels. For other labels, give cases: --suite FILE"
        )
    lines = [f"  {'suite':<12} {'group':<27} {'holds':>10}  95 %"]
    for report in reports:
        low, high = report.interval
        lines.append(f"  {report.suite:<12} {report.group:<27} {report.passed:>4} / {report.cases:<3} [{low:.2f}, {high:.2f}]")
        lines.extend(f"      not: {title}" for title in report.failed)
    passed, cases = (sum(counts) for counts in zip(*((report.passed, report.cases) for report in reports), strict=True))
    return "\n".join([f"behaviour: {passed} of {cases} cases hold", *lines])
