"""
The demo's second model, in two acts: people answer until kinds of items are certified; then the second model settles these.

`tagstream second`, its proofs and `tagstream second status` are real. The endpoint that it asks is a script of known skill, people are a script
that answers fast, the promise is lower than usual, and more of what is settled is audited, so that the demo takes minutes instead of weeks.
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path

from tagstream.model_export.bundle import bundle as bundles
from tagstream.stream.broker.processes import Processes
from tagstream.stream.demo.endpoint import MODEL, RIGHT, endpoint
from tagstream.stream.demo.program import Program
from tagstream.stream.demo.story import STOP_SECONDS, StoppedError, Story, StoryError
from tagstream.stream.settings.second import Second
from tagstream.stream.settings.settings import Settings

# A second model that agrees with 19 of 20 answers to a kind of items proves this with 60 to 80 of them.
PROMISE = 0.75
AUDIT = 0.2
ENOUGH_SETTLED = 150
# The script answers at once and costs nothing.
REQUESTS_A_MINUTE, CALLS_A_DAY = 60_000.0, 1_000_000
OPINIONS, SETTLED = "tagstream_second_opinions_total", "tagstream_second_settled_total"


class SecondStory(Story):
    """The acts of a second model."""

    # An item that waits for its answer counts as wrong, so that answers must come as fast as items.
    answer_seconds = 0.0

    def __init__(self, settings: Settings, known: Mapping[str, str], *, folder: Path, processes: Processes) -> None:
        """
        Store the parts; see `Story`.

        Args:
            settings: The settings of the worker.
            known: The right answer by title.
            folder: The demo's folder, for logs.
            processes: Starts processes, and ends them if this process is killed.
        """
        super().__init__(settings, folder=folder, processes=processes)
        self._known = known
        self.phase = "1 of 2: people answer"

    def _acts(self) -> None:
        labels = bundles.read_manifest(self._settings.bundle)[0].labels
        with endpoint(self._known, labels) as url:
            self._settings = with_second(self._settings, url)
            self._tell(
                f"A second model settles a kind of items once people's answers prove that it is right on {PROMISE:.0%} of them or more: the promise of "
                f"this demo, below the usual {Second().precision:.0%}. The second model is a script on loopback that is right in {RIGHT:.0%} of "
                f"the samples. People are a script that answers without a pause, one in twenty wrong. {AUDIT:.0%} of what is "
                "settled is audited. Commands and proofs are real."
            )
            self._tell("$ tagstream second")
            second = self._program("second", "second")
            with contextlib.suppress(StoppedError):
                self._until(lambda: self._settled(1, second) > 0, "a certificate", second)
                self._tell(
                    "A kind of items is certified. From now on the second model settles such items, and people see the audited ones."
                )
                self._until(lambda: self._settled(2, second) >= ENOUGH_SETTLED, f"{ENOUGH_SETTLED} settled items", second)
            self.phase = "the second model ends"
            self._stop(second)
        self._tell("$ tagstream second status")
        status = self._command("second", "status")
        if not status.wait(STOP_SECONDS):
            msg = f"`tagstream second status` did not end within {STOP_SECONDS:.0f} s"
            raise StoryError(msg)
        self._tell_output(status, "tagstream second status")

    def _settled(self, act: int, second: Program) -> int:
        """Show how far the second model is, and return the number of items that it has settled."""
        opinions, settled = (int(sum(second.figures(name).values())) for name in (OPINIONS, SETTLED))
        self.phase = f"{act} of 2: {opinions} opinions of the second model, {settled} items settled"
        return settled


def with_second(settings: Settings, url: str) -> Settings:
    """Return the settings of `tagstream second` for an endpoint of the demo; the settings' own second model is not asked."""
    second = Second(
        endpoint=url,
        model=MODEL,
        precision=PROMISE,
        audit=AUDIT,
        requests_a_minute=REQUESTS_A_MINUTE,
        calls_a_day=CALLS_A_DAY,
    )
    return settings.model_copy(update={"second": second})
