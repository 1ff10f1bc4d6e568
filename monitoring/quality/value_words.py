"""What a stream is worth as text tables, for the terminal and the console's page."""

from tagstream.monitoring.quality.amounts import LEAST_TIMES, Amount
from tagstream.monitoring.quality.costs import COSTS_FILE
from tagstream.monitoring.quality.value import EVERYTHING, NOTHING, NOW, Line, ValueReport, Way
from tagstream.monitoring.quality.words import QualityTable, percent

UNKNOWN = "not known"
_WAYS = {NOW: "as it is", EVERYTHING: "everything to people", NOTHING: "nothing to people"}


def headline(found: ValueReport, *, days: float) -> str:
    """
    Return the sentences to read first.

    Args:
        found: The figures.
        days: The length of the window, in days.
    """
    whole = found.whole
    said = f"Of {whole.events:,} events of these {days:.0f} days, {whole.alone:.1%} needed no person."
    if whole.saved_minutes is None:
        return (
            f"{said} People's minutes are not known: that takes {LEAST_TIMES} answers with a time, and there are {found.times}."
        )
    said = f"{said} Beside everything to people, {_saved(whole.saved_minutes, 'minutes')}."
    if not found.priced:
        return f"{said} Money is not shown: {found.unpriced}."
    more = next(way.more_cost for way in found.ways if way.name == EVERYTHING)
    return said if more is None else f"{said} In money, {_saved(more, found.currency, 2)}."


def tables(found: ValueReport) -> tuple[QualityTable, ...]:
    """Return the tables in reading order."""
    seconds = UNKNOWN if found.seconds is None else f"{_number(found.seconds, 1)} seconds"
    left_out = (
        f" Mistakes of {found.unmeasured:,} published decisions are left out: they are of rules, or of models with other labels."
        if found.unmeasured
        else ""
    )
    ways = QualityTable(
        title="What it is worth",
        head=("way", "items for people", "minutes", "wrong publications", *_money(found, "cost", "cost less that of as it is")),
        rows=tuple(_way(found, way) for way in found.ways),
        note=f"An item counts the median time of an answer: {seconds}, from {found.times:,} answers. Items that wait count too. "
        f"People's answers are taken as right.{left_out}",
    )
    return ways, _lines(found, "By day", "day (UTC)", found.days), _lines(found, "By bundle", "bundle", found.bundles)


def _way(found: ValueReport, way: Way) -> tuple[str, ...]:
    return (
        _WAYS[way.name],
        f"{way.items:,}",
        _number(way.minutes),
        _number(way.wrong),
        *_money(found, _number(way.cost, 2), "" if way.name == NOW else _number(way.more_cost, 2)),
    )


def _lines(found: ValueReport, title: str, first: str, lines: tuple[Line, ...]) -> QualityTable:
    return QualityTable(
        title=title,
        head=(
            first,
            "events",
            "no person",
            "answers",
            "waiting",
            "minutes",
            "saved",
            "published right",
            *_money(found, "cost"),
        ),
        rows=tuple(
            (
                line.name,
                f"{line.events:,}",
                f"{line.alone:.1%}",
                f"{line.answers:,}",
                f"{line.waiting:,}",
                _estimate(line.minutes),
                _estimate(line.saved_minutes),
                percent(line.right),
                *_money(found, _number(line.cost, 2)),
            )
            for line in lines
        ),
        note="The minutes are those of the answers about the line's decisions, whenever they came, and those saved beside everything to people."
        + (f" The cost is in {found.currency}, by {COSTS_FILE}." if found.currency else ""),
    )


def _money(found: ValueReport, *cells: str) -> tuple[str, ...]:
    """Return the cells of columns in money; none without prices."""
    return cells if found.priced else ()


def _saved(found: Amount, unit: str, digits: int = 0) -> str:
    """
    Say whether something is saved, as far as the interval says it.

    >>> _saved(Amount(value=12, low=8, high=16), "EUR"), _saved(Amount(value=-5, low=-9, high=-1), "EUR")
    ('it saved 12 (8 to 16) EUR', 'it took 5 (1 to 9) EUR more')
    >>> _saved(Amount(value=2, low=-3, high=7), "EUR")
    'it is not known whether it saved anything: 2 (-3 to 7) EUR'
    """
    if found.high < 0:
        lost = Amount(value=-found.value, low=-found.high, high=-found.low)
        return f"it took {_number(lost, digits)} {unit}".strip() + " more"
    said = f"{_number(found, digits)} {unit}".strip()
    return f"it saved {said}" if found.low >= 0 else f"it is not known whether it saved anything: {said}"


def _estimate(found: Amount | None) -> str:
    """Return a number without its interval, which is that of the median time in each line."""
    return UNKNOWN if found is None else f"{found.value:,.0f}"


def _number(found: Amount | None, digits: int = 0) -> str:
    """
    Return a number with its interval.

    >>> _number(Amount(value=1234.4, low=1200, high=1300)), _number(Amount(value=0, low=0, high=0)), _number(None)
    ('1,234 (1,200 to 1,300)', '0', 'not known')
    """
    if found is None:
        return UNKNOWN
    value, low, high = (f"{one:,.{digits}f}" for one in (found.value, found.low, found.high))
    return value if low == value == high else f"{value} ({low} to {high})"
