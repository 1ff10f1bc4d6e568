"""
`tagstream second` with a fault, as a program: `python -m tests.integration.second.bad FAULT second ...`.

`acts-first` publishes a decision before its opinion is on `second`. `no-fencing` leaves the process before alone.
"""

import itertools
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from tagstream.stream.cli.main import main
from tagstream.stream.contract.second_opinions import SecondOpinion
from tagstream.stream.kafka.single_writer import SingleWriter
from tagstream.stream.second import process
from tagstream.stream.second.ledger import Due
from tagstream.stream.second.process import SecondProcess

# A kill between the decision and the opinion is likely in this time.
BETWEEN_SECONDS = 0.1


def acts_first() -> None:
    """Publish in a transaction of its own, before the one with the opinion."""
    begin, judged, decisions = SecondProcess._begin, SecondProcess._judged, SecondProcess._decisions
    writers: list[SingleWriter] = []
    number = itertools.count()

    def begins(self: SecondProcess, writer: SingleWriter, *rest: Any) -> None:
        writers.append(writer)
        begin(self, writer, *rest)

    def acts(self: SecondProcess, given: SecondOpinion) -> SecondOpinion:
        opinion = judged(self, given)
        if opinion.settles:
            due = Due(opinion=opinion, item=self._ledger.item(opinion.prediction_id))
            writers[-1].write(list(decisions(self, [due])))
            if next(number) % 2:
                time.sleep(BETWEEN_SECONDS)
        return opinion

    def nothing(_self: SecondProcess, _due: list[Due]) -> Iterator[Any]:
        return iter(())

    SecondProcess._begin, SecondProcess._judged, SecondProcess._decisions = begins, acts, nothing  # type: ignore[method-assign]


def no_fencing() -> None:
    """Write under a transactional id that no other process has; the offsets stay those of the group."""
    single_writer = process.single_writer

    def alone(settings: Any, name: str) -> Any:
        return _Renamed(single_writer(settings, f"{name}-{os.getpid()}"), name)

    process.single_writer = alone


class _Renamed:
    def __init__(self, context: Any, name: str) -> None:
        self._context, self._group = context, name

    def __enter__(self) -> SingleWriter:
        writer: SingleWriter = self._context.__enter__()
        writer._name = self._group
        return writer

    def __exit__(self, *error: Any) -> Any:
        return self._context.__exit__(*error)


FAULTS = {"acts-first": acts_first, "no-fencing": no_fencing}

if __name__ == "__main__":
    FAULTS[sys.argv.pop(1)]()
    main()
