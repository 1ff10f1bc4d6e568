"""A worker that also counts its tags by hour: a part in one file, with no change in tagstream.

    python examples/library/tags_by_hour.py counts.json

It takes the settings of `tagstream worker`. Once a minute, and at its end, it writes the number of outcomes that it has published, by hour
(UTC) and label. A repeated event counts again, as in the worker's own metrics. Each worker needs its own file.
"""

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tagstream.monitoring.observer import Observation
from tagstream.stream.cli import worker_process
from tagstream.stream.settings.loading import load
from tagstream.stream.worker.part import WorkerPart

EVERY_SECONDS = 60.0


class TagsByHour(WorkerPart):
    """Counts since the start of the worker."""

    def __init__(self, file: Path) -> None:
        """Write to this file."""
        self._file = file
        self._counts: Counter[tuple[str, str]] = Counter()

    def published(self, observations: Sequence[Observation], now_ms: int) -> None:
        """Count what the broker has acknowledged; a dead letter has no label."""
        hour = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y-%m-%dT%H")
        self._counts.update((hour, one.label) for one in observations if one.label is not None)

    async def run(self) -> None:
        """Write once a minute."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            self._write()

    async def leave(self) -> None:
        """Write the last counts."""
        self._write()

    def _write(self) -> None:
        by_hour: dict[str, dict[str, int]] = {}
        for (hour, label), count in sorted(self._counts.items()):
            by_hour.setdefault(hour, {})[label] = count
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(by_hour, indent=2) + "\n", encoding="utf-8")
        new.replace(self._file)


if __name__ == "__main__":
    counts = Path(sys.argv[1])
    worker_process.main(load(os.environ).settings, parts=[lambda _: TagsByHour(counts)])
