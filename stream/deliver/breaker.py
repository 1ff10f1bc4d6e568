"""Decides when dead letters are too many to be the fault of single events: then the worker stops and asks a person. Pure."""

import math
from collections import deque
from collections.abc import Sequence

from monitoring.observer import Observation
from monitoring.vocabulary import Reason

# A ratio has at most so many decimals that matter; its product with a window may miss a whole number by less than this.
ROUNDING = 1e-9
# Dead letters of events that could be read and on which the model then failed.
OF_THE_MODEL = frozenset({Reason.MODEL_RAISED, Reason.CRASHES_WORKER})


class Breaker:
    """
    Looks at the last `window` outcomes; never trips before it has seen so many.

    >>> from monitoring.vocabulary import Destination
    >>> dead = Observation(destination=Destination.DLQ, created_ms=0, rejection=Reason.INVALID_JSON)
    >>> breaker = Breaker(window=4, dead_letter_ratio=0.5, model_failure_ratio=1.0)
    >>> breaker.trips([dead] * 3), breaker.trips([dead])
    (None, '4 of the last 4 events are dead letters, more than 0.5 of them (breaker_dead_letter_ratio)')
    """

    def __init__(self, *, window: int, dead_letter_ratio: float, model_failure_ratio: float) -> None:
        """
        Begin with no outcomes.

        Args:
            window: How many outcomes are looked at.
            dead_letter_ratio: Trips when more than this share of them are dead letters; never at 1.
            model_failure_ratio: Trips when the model failed on more than this share of them; never at 1.
        """
        self._window = window
        self._dead_letter_ratio = dead_letter_ratio
        self._model_failure_ratio = model_failure_ratio
        self._seen: deque[tuple[bool, bool]] = deque()
        self._dead = self._failed = 0

    def trips(self, observations: Sequence[Observation]) -> str | None:
        """Add these outcomes; return a sentence that says why the worker must stop before it sends them, None if it need not."""
        for seen in observations:
            self._add(seen.rejection is not None, seen.rejection in OF_THE_MODEL)
        if len(self._seen) < self._window:
            return None
        if self._dead > _most(self._dead_letter_ratio, self._window):
            return (
                f"{self._dead} of the last {self._window} events are dead letters, more than "
                f"{self._dead_letter_ratio:g} of them (breaker_dead_letter_ratio)"
            )
        if self._failed > _most(self._model_failure_ratio, self._window):
            return (
                f"the model failed on {self._failed} of the last {self._window} events, more than "
                f"{self._model_failure_ratio:g} of them (breaker_model_failure_ratio)"
            )
        return None

    def _add(self, dead: bool, failed: bool) -> None:  # noqa: FBT001
        self._seen.append((dead, failed))
        self._dead += dead
        self._failed += failed
        if len(self._seen) > self._window:
            was_dead, had_failed = self._seen.popleft()
            self._dead -= was_dead
            self._failed -= had_failed


def _most(ratio: float, window: int) -> int:
    """
    The largest number of outcomes in a window that does not exceed the ratio.

    >>> _most(0.29, 100), 0.29 * 100
    (29, 28.999999999999996)
    """
    return math.floor(ratio * window + ROUNDING)
