"""
Runs a worker that notes when each event came to which stage, for `benchmarks.tail`.

    PEERS_STAGES=FILE python -m benchmarks.peers.staged

At SIGUSR1, and when the worker ends, the notes so far replace the file: a JSON object a line.
"""

import gc
import json
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.open_loop import intended_of
from tagstream.stream.deliver import batch, delivery
from tagstream.stream.worker import consumer

FILE = "PEERS_STAGES"
Place = tuple[str, int, int]


class Notes:
    """The moments of each event, Unix seconds, by its place in the log; and the collections of garbage."""

    def __init__(self) -> None:
        """Begin with none."""
        self.events: dict[Place, dict[str, float]] = {}
        # Begin and end, Unix seconds, and the processor seconds of each.
        self.garbage: list[tuple[float, float, float]] = []
        self._collecting = (0.0, 0.0)

    def polled(self, message: Any) -> None:
        """Faust has a record of aiokafka."""
        record = batch.record_of(message)
        intended = intended_of(record)
        if intended is not None:
            place = (record.topic, record.partition, record.offset)
            self.events[place] = {"intended": intended / 1000, "sent": record.timestamp_ms / 1000, "polled": time.time()}

    def at(self, events: Sequence[Any], **moments: float) -> None:
        """Note these moments of some records."""
        for one in events:
            found = self.events.get((one.topic, one.partition, one.offset))
            if found is not None:
                found |= moments

    def collecting(self, phase: str, _: dict[str, int]) -> None:
        """A callback of the garbage collector."""
        if phase == "start":
            self._collecting = time.time(), time.thread_time()
        else:
            begun, processor = self._collecting
            self.garbage.append((begun, time.time(), time.thread_time() - processor))

    def write(self, file: Path) -> None:
        """Replace the file."""
        partial = file.with_suffix(".partial")
        lines = [json.dumps(one) for one in list(self.events.values()) if "confirmed" in one]
        partial.write_text("\n".join([json.dumps({"garbage": self.garbage}), *lines]), encoding="ascii")
        partial.replace(file)


def note(notes: Notes) -> None:
    """Put the notes between the stages."""
    to_message, confirmed = consumer.Consumer._to_message, delivery.Delivery._confirmed  # noqa: SLF001
    decide: Callable[..., Any] = batch.Inference.publications

    def noting_message(self: Any, tp: Any, record: Any) -> Any:
        message = to_message(self, tp, record)
        notes.polled(message)
        return message

    async def noting_decision(self: Any, records: Sequence[Any]) -> Any:
        notes.at(records, begun=time.time())
        real: Callable[..., Any] = self._decide

        def in_thread(some: Sequence[Any]) -> Any:
            started, processor = time.time(), time.thread_time()
            found = real(some)
            notes.at(some, thread=started, decided=time.time(), processor=time.thread_time() - processor)
            return found

        once = _Once(self, in_thread)
        return await decide(once, records)

    async def noting_confirmation(self: Any, events: Sequence[Any], *rest: Any) -> Any:
        notes.at([event.message for event in events], back=time.time())
        found = await confirmed(self, events, *rest)
        notes.at([event.message for event in events], confirmed=time.time())
        return found

    # Classes of a worker, of which each gets another method.
    fetching: Any = consumer.Consumer
    deciding: Any = batch.Inference
    confirming: Any = delivery.Delivery
    fetching._to_message = noting_message  # noqa: SLF001
    deciding.publications = noting_decision
    confirming._confirmed = noting_confirmation  # noqa: SLF001
    gc.callbacks.append(notes.collecting)


class _Once:
    """The pool of the worker, with another function to decide by."""

    def __init__(self, inference: Any, decide: Callable[..., Any]) -> None:
        self._inference, self._decide = inference, decide

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inference, name)


def main() -> None:
    """Note, and run a worker."""
    notes, file = Notes(), Path(os.environ[FILE])
    note(notes)
    signal.signal(signal.SIGUSR1, lambda *_: notes.write(file))
    sys.argv = ["tagstream", "worker"]
    runpy.run_module("tagstream.stream.cli.main", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
