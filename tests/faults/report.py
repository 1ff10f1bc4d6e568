"""The report of a fault run: the faults that struck, how long each recovery took, and the verdict."""

import bisect
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tagstream.stream.deliver.fatal import EXIT_BROKEN
from tests.faults.epochs.changing import Changed
from tests.faults.faults import KILLS, Fault
from tests.faults.journal import Strike
from tests.faults.verdict.evidence import Verdict
from tests.faults.worker.fleet import Exit


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Faults, recoveries, exits and the verdict of one run."""

    verdict: Verdict
    strikes: tuple[Strike, ...]
    exits: tuple[Exit, ...]
    inputs: int
    seconds: float
    looks: int
    blind_looks: int
    drift_findings: int
    answers: int = 0
    audits: int = 0
    changed: Changed | None = None

    @property
    def faults(self) -> Counter[Fault]:
        """Faults that struck victims with work, by class."""
        return Counter(strike.fault for strike in self.strikes if strike.waiting > 0)

    @property
    def duplicates_by_fault(self) -> dict[Fault | None, int]:
        """Duplicates that were seen after a strike of a class and before the next strike; None: before the first one."""
        starts = [strike.at_seconds for strike in self.strikes]
        found: Counter[Fault | None] = Counter()
        for seen in self.verdict.duplicated_at:
            index = bisect.bisect_left(starts, seen)
            found[self.strikes[index - 1].fault if index else None] += 1
        return dict(found)

    @property
    def idle_faults(self) -> int:
        """Faults that struck a worker without work."""
        return sum(strike.waiting <= 0 for strike in self.strikes)

    @property
    def self_exits(self) -> int:
        """How often a worker ended itself because its machine was broken."""
        return sum(one.code == EXIT_BROKEN for one in self.exits)

    @property
    def stops(self) -> tuple[Exit, ...]:
        """Exits from work that SIGTERM had asked for."""
        return tuple(one for one in self.exits if one.worked and one.asked_seconds is not None)

    @property
    def slowest_stop_seconds(self) -> float:
        """The longest time from SIGTERM to the end."""
        return max((one.asked_seconds or 0.0 for one in self.stops), default=0.0)

    @property
    def never_recovered(self) -> tuple[Strike, ...]:
        """Faults after which the group did not recover before the run ended."""
        return tuple(strike for strike in self.strikes if strike.recovered_seconds is None)

    @property
    def moved_on(self) -> list[float]:
        """After each kill -9 of one worker: seconds until all its partitions moved on, in order."""
        return sorted(strike.moved_seconds for strike in self.strikes if strike.moved_seconds is not None)

    def __str__(self) -> str:
        duplicates, inputs = self.verdict.duplicates, max(1, self.inputs)
        kills = sum(strike.fault in KILLS for strike in self.strikes)
        lines = (
            (
                f"{self.inputs} events in {self.seconds:.0f} s, {self.verdict.outcomes} outcomes, "
                f"{duplicates} duplicates ({duplicates / inputs:.2%})"
            ),
            f"{sum(self.faults.values())} faults of {len(self.faults)} classes on busy workers; on idle ones: {self.idle_faults}",
            *self._table(),
            (
                f"well again after any fault: {_spread(self._recoveries(frozenset(Fault)), len(self.strikes))}; "
                f"after kill -9 of one worker: {_spread(self._recoveries(KILLS), kills)}"
            ),
            f"all partitions of a killed worker that had work moved on after: {_spread(self.moved_on, kills)}",
            (
                f"exit codes {dict(Counter(one.code for one in self.exits))}; {len(self.stops)} times SIGTERM, "
                f"answered in at most {self.slowest_stop_seconds:.1f} s"
            ),
            f"{self.looks} looks, and {self.blind_looks} at which no broker answered",
            f"{self.drift_findings} drift findings and {self.audits} copies for audit published beside the outcomes",
            f"{self.answers} answers, {self.verdict.answers_repeated} of their decisions repeated",
            *(str(finding) for finding in self.verdict.findings),
            *([str(self.changed)] if self.changed is not None else []),
        )
        return "\n".join(lines)

    def _recoveries(self, of: frozenset[Fault]) -> list[float]:
        """
        How long faults of these classes kept the whole from being well again, in seconds, in order.

        From the strike to the first look at which every partition had one owner, outcomes flowed and each busy worker had committed.
        """
        return sorted(
            strike.recovered_seconds for strike in self.strikes if strike.fault in of and strike.recovered_seconds is not None
        )

    def _table(self) -> Iterator[str]:
        """A row a class, those without a recovery first, then the slowest; as Markdown, so that a report can be kept."""
        after = self.duplicates_by_fault
        never = Counter(strike.fault for strike in self.never_recovered)
        recovered = {fault: self._recoveries(frozenset({fault})) for fault in self.faults}
        yield "| fault | times | well again, median s | at most s | never well again | duplicates until the next fault |"
        yield "|---|---:|---:|---:|---:|---:|"
        for fault in sorted(recovered, key=lambda fault: (-never[fault], -max(recovered[fault], default=0.0))):
            median, most = (_seconds(recovered[fault], share) for share in (0.5, 1.0))
            yield f"| {fault} | {self.faults[fault]} | {median} | {most} | {never[fault]} | {after.get(fault, 0)} |"


def _spread(recoveries: Sequence[float], count: int) -> str:
    """
    Median, 95th percentile and maximum in words, and how many of `count` never recovered.

    >>> _spread([1.0, 2.0, 3.0], 4)
    'median 2.0 s, 95th percentile 3.0 s, at most 3.0 s (4 times, 1 of them never)'
    >>> _spread([], 2), _spread([], 0)
    ('never (2 times)', 'no such fault')
    """
    if not count:
        return "no such fault"
    if not recoveries:
        return f"never ({count} times)"
    never = f", {count - len(recoveries)} of them never" if count > len(recoveries) else ""
    median, high, most = (_seconds(recoveries, share) for share in (0.5, 0.95, 1.0))
    return f"median {median} s, 95th percentile {high} s, at most {most} s ({count} times{never})"


def _seconds(ordered: Sequence[float], share: float) -> str:
    """
    The value below or at which so large a share lies.

    >>> _seconds([1.0, 2.0, 3.0, 4.0], 0.5), _seconds([], 0.5)
    ('3.0', 'never')
    """
    return f"{ordered[min(len(ordered) - 1, int(share * len(ordered)))]:.1f}" if ordered else "never"
