"""
The circuit breaker: if there are too many dead letters to blame single events, the worker stops and asks a person.

A file remembers, for one consumer group, that its breaker has opened. Without it, each restart would make one window of dead letters
before the breaker opens again. With it, a worker that starts waits outside the group until a person has answered: by another release,
bundle or limit, or by removing the file.
"""

import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tagstream.monitoring.observer import Observation
from tagstream.monitoring.vocabulary import AtFault, Reason, at_fault
from tagstream.stream.deliver.state_folder import stem_of
from tagstream.stream.logs import logger
from tagstream.stream.settings.settings import Settings

log = logger("tagstream.breaker")

# The floating-point product of a ratio and a window may miss a whole number by less than this.
ROUNDING = 1e-9
# Dead letters of events that could be read and on which the model then failed.
OF_THE_MODEL = frozenset(reason for reason in Reason if at_fault(reason) is AtFault.MODEL)


class Breaker:
    """
    Looks at the last `window` outcomes. Never trips before it has seen `window` outcomes.

    >>> from tagstream.monitoring.vocabulary import Destination
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
        """Add these outcomes. Returns why the worker must stop before it sends them, as a sentence, or None if it need not stop."""
        if self._dead or any(seen.rejection is not None for seen in observations):
            for seen in observations:
                self._add(seen.rejection is not None, seen.rejection in OF_THE_MODEL)
        else:
            # There are no dead letters in the window or among these outcomes, so all outcomes are equal.
            self._seen.extend([(False, False)] * min(len(observations), self._window - len(self._seen)))
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


class BreakerOpening(msgspec.Struct, frozen=True, kw_only=True):
    """The file's content: why the breaker opened, when (Unix seconds), and under which release and limits."""

    why: str
    release: str
    window: int
    dead_letter_ratio: float
    model_failure_ratio: float
    opened_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBreaker:
    """
    A breaker that was open once, as its file says.

    Attributes:
        why: Why the breaker opened, or why the file cannot be read.
        since: When it opened, in Unix seconds; None if the file cannot be read.
        answered: True if the release or a limit differs from the file's. The next worker that starts then removes the file.
    """

    why: str
    since: float | None = None
    answered: bool = False


class BreakerFile:
    """
    The file of a group's open breaker.

    Attributes:
        release: The version of the program with the digest of the bundle that decides.
    """

    def __init__(self, settings: Settings, *, release: str) -> None:
        """
        Name the file; nothing is read or written yet.

        Args:
            settings: The state folder, the group, and the limits that are in force.
            release: The version of the program with the digest of the bundle that decides.
        """
        # The rules have a file of their own: while they stand in for the model, the model's breaker stays open.
        decider = "" if settings.decider == "model" else f".{settings.decider}"
        self.path: Path = settings.state_folder.expanduser() / f"{stem_of(settings)}{decider}.breaker"
        self._settings = settings
        self.release = release

    def write(self, why: str) -> bool:
        """Write the file. Returns False, with a warning in the log, if it cannot be written."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.write_bytes(msgspec.json.encode(self._opening(why, time.time())))
        except OSError as error:
            log.warning(
                "circuit_breaker_not_remembered",
                why=str(error),
                consequence="each restart makes dead letters of one window before it stops again",
            )
            return False
        return True

    def why(self) -> str | None:
        """Why the breaker is open; None if it is closed. Removes a file that was written under another release or limit."""
        found = self.look()
        if found is None or not found.answered:
            return None if found is None else found.why
        log.info("circuit_breaker_closed", because="the release, the bundle or a limit is another one", was_open_for=found.why)
        self.path.unlink(missing_ok=True)
        return None

    def look(self) -> OpenBreaker | None:
        """Read the file; None if there is none. Unlike `why`, this never removes it."""
        try:
            found = msgspec.json.decode(self.path.read_bytes(), type=BreakerOpening)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            return OpenBreaker(why=f"{self.path} cannot be read: {error.strerror}")
        except (msgspec.DecodeError, UnicodeDecodeError):
            return OpenBreaker(why=f"{self.path} cannot be read")
        answered = found != self._opening(found.why, found.opened_at)
        return OpenBreaker(why=found.why, since=found.opened_at, answered=answered)

    def _opening(self, why: str, at: float) -> BreakerOpening:
        return BreakerOpening(
            why=why,
            release=self.release,
            window=self._settings.breaker_window_events,
            dead_letter_ratio=self._settings.breaker_dead_letter_ratio,
            model_failure_ratio=self._settings.breaker_model_failure_ratio,
            opened_at=at,
        )
