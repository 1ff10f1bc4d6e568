"""The warranty of a second opinion in plain lines."""

from collections.abc import Iterator, Mapping

from tagstream.stream.second.warranty import CellStatus, WarrantyStatus
from tagstream.stream.terminal.text import counted


def lines(status: WarrantyStatus, silent: Mapping[str, int]) -> Iterator[str]:
    """
    Yield what is certified, what is missing, what was settled, how right it is, and what people were saved.

    Args:
        status: What is known.
        silent: The number of items without an opinion, by reason.
    """
    if status.fingerprint is None:
        yield "no opinion yet: nothing is certified, and every item goes to people"
        return
    certified = sum(one.certified for one in status.cells)
    yield (
        f"second {status.fingerprint} may settle {certified} of {counted(len(status.cells), 'kind')} of items without a person; "
        f"promise: {status.promise:.4g} of these are right"
    )
    for one in sorted(status.cells, key=lambda one: not one.certified):
        yield f"  {_name(one, status.bands)}: {_standing(one)}"
    reasons = ", ".join(f"{reason.replace('_', ' ')} {count:,}" for reason, count in sorted(silent.items()))
    without = f"; without an opinion: {status.no_opinion:,} ({reasons})" if status.no_opinion else ""
    yield f"items: {status.items:,}{without}"
    if status.right is None:
        yield "settled: none"
        return
    low, high = status.right
    yield (
        f"settled: {status.settled:,}; audits: {status.audits:,} drawn, {status.answered:,} answered, "
        f"{status.agreed:,} of these right; of all settled {100 * low:.1f} to {100 * high:.1f} % are right"
    )
    yield (
        f"saved people {status.saved:,} items, {100 * status.fewer:.1f} % of all, audits counted as work; "
        f"{status.saved_right[0]:,} to {status.saved_right[1]:,} of these are right"
    )


def spent(calls: int, cost: float) -> Iterator[str]:
    """Yield what the opinions took, if an endpoint gave any."""
    if calls:
        yield f"requests to the endpoint: {calls:,}, which cost {cost:,.2f} at the prices of the settings"


def _name(one: CellStatus, bands: tuple[float, ...]) -> str:
    name = f"{one.cell.label}, {'as' if one.cell.agrees else 'unlike'} the model"
    if not bands:
        return name
    band = one.cell.band
    return f"{name}, score {f'below {bands[0]:g}' if band == 0 else f'from {bands[band - 1]:g}'}"


def _standing(one: CellStatus) -> str:
    answers = f"{one.right:,} right, {one.wrong:,} wrong, {one.unanswered:,} unanswered"
    withdrawn = f", withdrawn by audits {counted(one.withdrawn, 'time')}" if one.withdrawn else ""
    if one.certified:
        state = "certified"
    elif one.right + one.wrong == 0:
        state = "no answer yet"
    elif one.missing_answers is None:
        state = "out of reach with answers like these"
    else:
        state = f"about {counted(one.missing_answers, 'answer')} missing{_days(one.missing_days)}"
    return f"{state} ({answers}{withdrawn})"


def _days(days: float | None) -> str:
    if days is None:
        return ""
    return ", less than a day" if days < 1 else f", about {counted(round(days), 'day')}"
