"""The facts about a fault run that the checker judges, and its verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.contract.event import Record
from tests.faults.inputs import Input


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """
    One look at a run.

    Attributes:
        at_seconds: Since the start of the run.
        committed: The group's offset by partition of `content`; a partition without a commit is missing.
        written: The ends of the outcome logs, read after `committed`, by destination and partition.
        answered: The group's offset by partition of `reviewed`, read with `committed`.
    """

    at_seconds: float
    committed: Mapping[int, int]
    written: Mapping[tuple[Destination, int], int]
    answered: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """
    All that is known of a finished run.

    Attributes:
        inputs: The events.
        outcomes: Every record of the outcome topics; decisions and dead letters of answers are among them.
        samples: The looks.
        ends: Those of `content` by partition.
        idle_bound_seconds: That of I7.
        answers: The records of `reviewed`.
        answers_ends: The ends of `reviewed` by partition.
        audits: Every record of `audit`.
    """

    inputs: Sequence[Input]
    outcomes: Mapping[Destination, Sequence[Record]]
    samples: Sequence[Sample]
    ends: Mapping[int, int]
    idle_bound_seconds: float
    answers: Sequence[Input] = ()
    answers_ends: Mapping[int, int] = field(default_factory=dict)
    audits: Sequence[Record] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The finding on one invariant, in words. `cases` counts the breaches."""

    invariant: str
    cases: int
    says: str

    @property
    def holds(self) -> bool:
        """Whether no breach was found."""
        return self.cases == 0

    def __str__(self) -> str:
        return f"{self.invariant} {'holds' if self.holds else 'BROKEN'}: {self.says}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """
    One finding an invariant.

    `duplicated_at` has one time a duplicate, an outcome beyond the first of its input: the first look, in seconds of the run, that saw it.
    `lost_for_good` counts the inputs without an outcome that lie below a commit: no worker of the group will read them again.
    `answers_repeated` counts the decisions of answers beyond the first of each answer.
    """

    findings: tuple[Finding, ...]
    outcomes: int
    duplicated_at: tuple[float, ...]
    lost_for_good: int
    answers_repeated: int = 0

    @property
    def duplicates(self) -> int:
        """The number of duplicates."""
        return len(self.duplicated_at)

    def __getitem__(self, invariant: str) -> Finding:
        return next(finding for finding in self.findings if finding.invariant == invariant)

    @property
    def broken(self) -> list[str]:
        """The invariants that did not hold."""
        return [finding.invariant for finding in self.findings if not finding.holds]
