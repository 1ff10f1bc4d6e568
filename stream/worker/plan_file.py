"""Remembers, beyond the death of a worker, which plan it was loading: a bundle that kills its worker is tried once, and not at each start."""

import contextlib
from collections.abc import Iterator

from tagstream.stream.decide.rolled import NotReadyError
from tagstream.stream.deliver.crash.crash_file import CrashFile, left_behind
from tagstream.stream.deliver.state_folder import stem_of
from tagstream.stream.logs import logger
from tagstream.stream.settings.settings import Settings

# The name of a topic, and the number of an epoch.
PAYLOAD_BYTES = 512

log = logger("tagstream.rollout")


class PlanFile:
    """The plans that workers of this machine were loading when they died, by files in `state_folder`. For one event loop."""

    def __init__(self, settings: Settings) -> None:
        """Look at nothing yet."""
        self._folder = settings.state_folder.expanduser()
        self._stem = f"{stem_of(settings)}.plan"
        self._topic = settings.rollout.topic

    @contextlib.contextmanager
    def loading(self, epoch: int, *, waited: bool) -> Iterator[None]:
        """
        Remember a plan until the block is over.

        Args:
            epoch: Its number.
            waited: It was there before this process began. Without a folder it is then not known whether one before died of it.

        Raises:
            NotReadyError: A process died while it loaded this plan, or may have.
        """
        wanted = f"{self._topic} {epoch}".encode()
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            died = self._died_of(wanted)
            file = None if died else CrashFile(self._folder, stem=self._stem, payload_bytes=PAYLOAD_BYTES)
            if file is not None:
                file.write(wanted)
        except OSError as error:
            if waited:
                msg = (
                    f"this worker began while the plan of epoch {epoch} waited, and one before it may have ended by it: state_folder {self._folder} "
                    f"cannot be used ({error.strerror or error}). Next: promote again, or name a folder that survives the worker."
                )
                raise NotReadyError(msg) from error
            log.warning("rollout_plan_unmarked", why=f"{self._folder}: {error.strerror or error}", epoch=epoch)
            yield
            return
        if file is None:
            msg = (
                f"a worker ended while it loaded this, for epoch {epoch}. Next: see the end of its log, and its memory limit; "
                "promote again if it was ended by something else."
            )
            raise NotReadyError(msg)
        try:
            yield
        finally:
            file.close(remove=True)

    def _died_of(self, wanted: bytes) -> bool:
        """Whether a dead process was loading this plan. What is left of others is removed."""
        found = False
        for left in left_behind(self._folder, stem=self._stem):
            if left.payload == wanted:
                found = True
                left.release()
            else:
                left.remove()
        return found
