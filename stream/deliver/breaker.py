"""When dead letters are too many to be events' faults, a person is asked and the worker stops. Knows no Kafka.

`Breaker` counts, purely. `Opened` remembers on disk that it has opened, so that the worker that is started next does not make as
many dead letters again before it stops: it waits, outside the group, until a person has answered.
"""

import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from monitoring.observer import Observation, Reason
from stream.deliver.crash_guard import stem_of
from stream.logs import logger
from stream.settings.settings import Settings

log = logger("tagstream.breaker")

# A ratio has at most so many decimals that matter; its product with a window may fall short of a whole number by less than this.
ROUNDING = 1e-9
# Dead letters of events that could be read, and that the model then failed on.
OF_THE_MODEL = frozenset({Reason.MODEL_RAISED, Reason.CRASHES_WORKER})


class Breaker:
    """
    Looks at the last `window` outcomes, and at none before there are so many.

    >>> from monitoring.observer import Destination
    >>> dead = Observation(destination=Destination.DLQ, created_ms=0, rejection=Reason.INVALID_JSON)
    >>> breaker = Breaker(window=4, dead_letter_ratio=0.5, model_failure_ratio=1.0)
    >>> breaker.trips([dead] * 3), breaker.trips([dead])
    (None, '4 of the last 4 events are dead letters, more than 0.5 of them (breaker_dead_letter_ratio)')
    """

    def __init__(self, *, window: int, dead_letter_ratio: float, model_failure_ratio: float) -> None:
        """A ratio of 1 is never exceeded."""
        self._window = window
        self._dead_letter_ratio = dead_letter_ratio
        self._model_failure_ratio = model_failure_ratio
        self._seen: deque[tuple[bool, bool]] = deque()
        self._dead = self._failed = 0

    def trips(self, observations: Sequence[Observation]) -> str | None:
        """Take these outcomes in; in words why the worker must stop before they are sent, None if it need not."""
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
    So many of a window are no more than this ratio.

    >>> _most(0.29, 100), 0.29 * 100
    (29, 28.999999999999996)
    """
    return math.floor(ratio * window + ROUNDING)


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """What the file says: why it opened, and under what. Another release, bundle or limit is a person's answer."""

    why: str
    release: str
    window: int
    dead_letter_ratio: float
    model_failure_ratio: float
    opened_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """
    What lies in the file's place.

    Attributes:
        why: Why the breaker opened, or why that cannot be known.
        since: When, Unix seconds; None where the file cannot be read.
        answered: Another release or limit than the file's is in force: the next worker that starts removes it.
    """

    why: str
    since: float | None = None
    answered: bool = False


class Opened:
    """The file that says that the breaker of this group is open."""

    def __init__(self, settings: Settings, *, release: str) -> None:
        """`release`: what decides, program and bundle."""
        # The rules have a file of their own: while they stand in, the model's answer is still due.
        who = "" if settings.decider == "model" else f".{settings.decider}"
        self.path: Path = settings.state_folder.expanduser() / f"{stem_of(settings)}{who}.breaker"
        self._settings = settings
        self._release = release

    def write(self, why: str) -> bool:
        """Say so; whether it could be said."""
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
        """Why it is open; None if it is not. A file that was written under another release or limit is removed."""
        found = self.look()
        if found is None or not found.answered:
            return None if found is None else found.why
        log.info("circuit_breaker_closed", because="the release, the bundle or a limit is another one", was_open_for=found.why)
        self.path.unlink(missing_ok=True)
        return None

    def look(self) -> Found | None:
        """What the file says; None if there is none. Changes nothing, unlike `why`."""
        try:
            found = msgspec.json.decode(self.path.read_bytes(), type=Opening)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            return Found(why=f"{self.path} cannot be read: {error.strerror}")
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Found(why=f"{self.path} cannot be read")
        answered = found != self._opening(found.why, found.opened_at)
        return Found(why=found.why, since=found.opened_at, answered=answered)

    def _opening(self, why: str, at: float) -> Opening:
        return Opening(
            why=why,
            release=self._release,
            window=self._settings.breaker_window_events,
            dead_letter_ratio=self._settings.breaker_dead_letter_ratio,
            model_failure_ratio=self._settings.breaker_model_failure_ratio,
            opened_at=at,
        )
