"""The parts that the pages work with."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from stream.review.console.doors.access import Access
from stream.review.console.guidelines import NONE, Guidelines
from stream.review.console.measuring import Measuring
from stream.review.console.pages import Pages
from stream.review.saving import Saving
from stream.review.store.store import Store


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000


def _filled() -> bool:
    return True


def _no_trouble() -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """
    What the application needs.

    Attributes:
        store: The queue.
        saving: Where answers and reports go.
        access: Who is behind a request.
        measuring: Live quality.
        pages: The templates.
        guidelines: What each label means, for beside the answers.
        now_ms: Unix milliseconds.
        filled: Whether the store knows all answers that were given before the start; until then no item is shown.
        trouble: Why the console is not ready, as a sentence; None while it is.
    """

    store: Store
    saving: Saving
    access: Access
    measuring: Measuring
    pages: Pages = field(default_factory=Pages)
    guidelines: Guidelines = NONE
    now_ms: Callable[[], int] = _unix_ms
    filled: Callable[[], bool] = _filled
    trouble: Callable[[], str | None] = _no_trouble
