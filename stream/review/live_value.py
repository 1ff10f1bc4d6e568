"""Says what the decisions of a window of live quality are worth: from the store's totals, people's answers, and prices."""

from collections import defaultdict
from datetime import UTC, datetime

from tagstream.monitoring.quality.costs import Costs
from tagstream.monitoring.quality.sample import Sample
from tagstream.monitoring.quality.value import Part, ValueReport, value
from tagstream.monitoring.quality.words import SHORT
from tagstream.stream.review.live_quality import Counted, LiveQuality, is_measured
from tagstream.stream.review.store.sampling import DAY_MS, Drawn, Total
from tagstream.stream.review.store.store import Store

# The most bundles with a line of their own: the newest ones. Earned thresholds make a bundle every night.
MOST_BUNDLES = 30


def live_value(store: Store, found: LiveQuality, costs: Costs | None) -> ValueReport:
    """
    Say what the decisions of a window are worth.

    Args:
        store: The review console's store.
        found: The live quality of the window, from the same store.
        costs: The prices; None for no money.

    Raises:
        DatabaseUnavailableError: The database does not answer.
    """
    drawn, since_ms, until_ms = found.drawn, found.since_ms, found.until_ms
    work = found.work
    whole = _Tally(drawn)
    days, bundles = (defaultdict[int, _Tally](lambda: _Tally(drawn)) for _ in range(2))
    for total in store.samples.totals(since_ms, until_ms):
        for tally in (whole, days[total.hour_ms // DAY_MS * DAY_MS], bundles[total.bundle]):
            tally.add(total)
    for on, count in work.answers.items():
        for tally in (whole, days[on.day_ms], bundles[on.bundle]):
            tally.answers += count
    for on, count in work.waiting.items():
        for tally in (whole, days[on.day_ms], bundles[on.bundle]):
            tally.waiting += count
    by_day = store.samples.by_day(since_ms, until_ms, drawn.labels)
    by_bundle = store.samples.by_bundle(since_ms, until_ms, drawn.labels)
    # Totals come by the hour, so a bundle's last hour is known when all are read.
    newest = sorted(bundles, key=lambda bundle: bundles[bundle].last_ms, reverse=True)
    return value(
        whole.part("all", drawn.sample),
        [days[day].part(_day(day), by_day.get(day, drawn.sample.none)) for day in sorted(days, reverse=True)],
        [
            bundles[one].part(
                f"{bundles[one].model} {work.digests.get(one, '')[:SHORT]}".strip(), by_bundle.get(one, drawn.sample.none)
            )
            for one in newest[:MOST_BUNDLES]
        ],
        times_ms=work.times_ms,
        report=found.report,
        costs=costs,
    )


class _Tally:
    """Counts the decisions of a part, and people's work on them."""

    def __init__(self, drawn: Drawn) -> None:
        self._drawn = drawn
        self._measured = Counted(drawn.labels)
        self._doors = {"tagged": 0, "review": 0}
        self.answers = 0
        self.waiting = 0
        self.model = ""
        self.last_ms = 0

    def add(self, total: Total) -> None:
        self._doors[total.destination] += total.decisions
        self.model, self.last_ms = total.model, total.hour_ms
        if is_measured(total, self._drawn):
            self._measured.add(total)

    def part(self, name: str, sample: Sample) -> Part:
        return Part(
            name=name,
            **self._doors,
            answers=self.answers,
            waiting=self.waiting,
            sample=sample,
            population=self._measured.population,
        )


def _day(day_ms: int) -> str:
    """
    Return a day's name.

    >>> _day(1_800_000_000_000 // DAY_MS * DAY_MS)
    '2027-01-15'
    """
    return datetime.fromtimestamp(day_ms / 1000, UTC).date().isoformat()
