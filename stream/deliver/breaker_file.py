"""
The file that remembers, for one consumer group, that its circuit breaker has opened.

Without it, each restart would make one window of dead letters before the breaker opens again. With it, a worker that starts waits
outside the group until a person has answered: by another release, bundle or limit, or by removing the file.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from stream.deliver.state_folder import stem_of
from stream.logs import logger
from stream.settings.settings import Settings

log = logger("tagstream.breaker")


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """The file's content: why the breaker opened, when (Unix seconds), and under which release and limits."""

    why: str
    release: str
    window: int
    dead_letter_ratio: float
    model_failure_ratio: float
    opened_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """
    What `BreakerFile.look` found.

    Attributes:
        why: Why the breaker opened, or why the file cannot be read.
        since: When it opened, in Unix seconds; None if the file cannot be read.
        answered: Is another release or limit in force than the file names? Then the next worker that starts removes the file.
    """

    why: str
    since: float | None = None
    answered: bool = False


class BreakerFile:
    """The file that says that the breaker of this group is open."""

    def __init__(self, settings: Settings, *, release: str) -> None:
        """
        Name the file; nothing is read or written yet.

        Args:
            settings: The state folder, the group, and the limits that are in force.
            release: The version of the program with the digest of the bundle.
        """
        # The rules have a file of their own: while they stand in for the model, its breaker is still unanswered.
        decider = "" if settings.decider == "model" else f".{settings.decider}"
        self.path: Path = settings.state_folder.expanduser() / f"{stem_of(settings)}{decider}.breaker"
        self._settings = settings
        self._release = release

    def write(self, why: str) -> bool:
        """Write the file; False, with a warning in the log, if it cannot be written."""
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

    def look(self) -> Found | None:
        """Read the file; None if there is none. Unlike `why`, this never removes it."""
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
