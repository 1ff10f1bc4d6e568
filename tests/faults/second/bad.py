"""
`tagstream second` with a fault: `python -m tests.faults.second.bad FAULT second ...`.

A fault run must fail with each of them, or a clean one says little. `FAULTS` says what each does.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tagstream.stream.contract.event import Record
from tagstream.stream.contract.second_opinions import SecondOpinion, write_opinion
from tagstream.stream.kafka.reading.reader import Place, Reader
from tagstream.stream.kafka.single_writer import SingleWriter
from tagstream.stream.second import process
from tagstream.stream.second.ledger import Due
from tagstream.stream.second.process import SecondProcess
from tagstream.stream.second.reading import SecondReading
from tests.faults.second.struck import StruckWriter, main, settling
from tests.replacing import replace


def acts_first() -> None:
    """Publishes decisions in a transaction before the one with their opinions."""
    begin, judged, decisions = SecondProcess._begin, SecondProcess._judged, SecondProcess._decisions
    writers: list[SingleWriter] = []

    def begins(self: SecondProcess, writer: SingleWriter, *rest: Any) -> None:
        writers.append(writer)
        begin(self, writer, *rest)

    def acts(self: SecondProcess, given: SecondOpinion) -> SecondOpinion:
        opinion = judged(self, given)
        if opinion.settles:
            due = Due(opinion=opinion, item=self._ledger.item(opinion.prediction_id))
            writers[-1].write(list(decisions(self, [due])))
        return opinion

    def nothing(_self: SecondProcess, _due: list[Due]) -> Iterator[Record]:
        return iter(())

    SecondProcess._begin, SecondProcess._judged, SecondProcess._decisions = begins, acts, nothing  # type: ignore[method-assign]


def no_fencing() -> None:
    """Writes under a transactional id that no other process has; the offsets stay those of the group."""
    single_writer = process.single_writer

    class Alone:
        def __init__(self, settings: Any, name: str) -> None:
            self._context, self._name = single_writer(settings, f"{name}-{os.getpid()}"), name

        def __enter__(self) -> SingleWriter:
            writer = self._context.__enter__()
            writer._name = self._name
            return writer

        def __exit__(self, *error: object) -> Any:
            return self._context.__exit__(*error)

    process.single_writer = Alone  # type: ignore[assignment]


def forgets_to_act() -> None:
    """Takes it that earlier processes have acted on all opinions that they wrote."""

    def acted(_self: SingleWriter, places: Sequence[Place]) -> dict[Place, int]:
        return dict.fromkeys(places, 1 << 62)

    SingleWriter.acted = acted  # type: ignore[method-assign]


def forgets_opinions() -> None:
    """Does not take the opinions of earlier processes, and so asks about their items anew."""
    to_ends = SecondReading.to_ends

    def forgetting(self: SecondReading, reader: Reader, acted: Mapping[Place, int]) -> Iterator[SecondOpinion]:
        ledger: Any = self._ledger
        ledger.take_opinion = lambda *_, **__: None
        yield from to_ends(self, reader, acted)
        del ledger.take_opinion

    SecondReading.to_ends = forgetting  # type: ignore[method-assign]


def writes_twice() -> None:
    """Writes an opinion that settles once more, in the form of an answer to a question that is asked again."""
    write = StruckWriter.write

    def twice(self: StruckWriter, records: Sequence[Record], after: Mapping[Place, int] | None = None) -> None:
        again = [
            replace(one, value=write_opinion(replace(opinion, settles=False, audit_probability=None, audited=False)))
            for one in records
            if one.topic == self._settings.topics.second and (opinion := settling(one))
        ]
        write(self, [*records, *again[:1]], after)

    StruckWriter.write = twice  # type: ignore[method-assign]


FAULTS = {
    "acts-first": acts_first,
    "no-fencing": no_fencing,
    "forgets-to-act": forgets_to_act,
    "forgets-opinions": forgets_opinions,
    "writes-twice": writes_twice,
}

if __name__ == "__main__":
    FAULTS[sys.argv.pop(1)]()
    main()
