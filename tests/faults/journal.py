"""The journal of a fault run on disk: a run that is cut off goes on where it was.

FOLDER/inputs.json     where the broker keeps each planted record, in the order of planting
FOLDER/answers.json    the same of the answers
FOLDER/journal.jsonl   samples, strikes, exits and records that were added, as they come
FOLDER/environment.json  TAGSTREAM_* of the run: the names of its topics and group
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tagstream.monitoring.vocabulary import Destination
from tests.faults.faults import Fault
from tests.faults.inputs import Input, Planted
from tests.faults.verdict.evidence import Sample
from tests.faults.worker.fleet import Exit


class Strike(msgspec.Struct, kw_only=True):
    """
    One fault: when it struck, and how many events waited for its victim.

    `recovered_seconds` is how long it took until all was well again; None while it is not. `moved_seconds`, where one worker was killed:
    from the last look before its end to the first at which every partition of it that had work has moved on.
    """

    fault: Fault
    at_seconds: float
    waiting: int
    recovered_seconds: float | None = None
    moved_seconds: float | None = None


class Journal:
    """
    Appends, and reads the entries of an earlier process.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> Journal(folder).saw(Sample(at_seconds=1.0, committed={0: 5}, written={(Destination.TAGGED, 0): 4}))
    >>> next(Journal(folder).samples()).written
    {(<Destination.TAGGED: 'tagged'>, 0): 4}
    """

    def __init__(self, folder: Path) -> None:
        """Prepare to append to the files of the folder."""
        self._inputs = folder / "inputs.json"
        self._answers = folder / "answers.json"
        self._journal = folder / "journal.jsonl"
        self._environment = folder / "environment.json"

    def sent(self, inputs: Sequence[Input], answers: Sequence[Input]) -> None:
        """Keep the complete ledgers of inputs and of answers."""
        _keep(self._answers, answers)
        _keep(self._inputs, inputs)

    def inputs(self, planted: Sequence[Planted]) -> list[Input] | None:
        """
        The ledger of an earlier process; None if there is none.

        Raises:
            ValueError: It is of another number of records.
        """
        return _kept(self._inputs, planted)

    def answers(self, planted: Sequence[Planted]) -> list[Input]:
        """
        The answers of an earlier process whose inputs are known.

        Raises:
            ValueError: They are of another number.
        """
        return _kept(self._answers, planted) or []

    def environment(self, fresh: Mapping[str, str]) -> dict[str, str]:
        """The environment of an earlier process with the addresses of `fresh`, else `fresh`, which is then kept."""
        if self._environment.exists():
            return {**json.loads(self._environment.read_text()), "TAGSTREAM_BROKERS": fresh["TAGSTREAM_BROKERS"]}
        self._environment.write_text(json.dumps(dict(fresh)))
        return dict(fresh)

    def added(self, *, partition: int, first: int, inputs: Sequence[Input]) -> None:
        """Records were sent to a partition that was added; `first` is the number in their first id."""
        places = [(one.partition, one.offset) for one in inputs]
        self._append({"added": {"partition": partition, "first": first, "places": places}})

    def additions(self) -> list[dict[str, Any]]:
        """All such additions so far, as `added` was told of them."""
        return list(self._lines("added"))

    def saw(self, sample: Sample) -> None:
        """Keep one look."""
        written = [(destination.value, partition, end) for (destination, partition), end in sample.written.items()]
        self._append({"sample": [sample.at_seconds, list(sample.committed.items()), written, list(sample.answered.items())]})

    def struck(self, strike: Strike) -> None:
        """Keep one strike when it is known how it ended."""
        self._append({"strike": msgspec.to_builtins(strike)})

    def ended(self, exits: Sequence[Exit]) -> None:
        """Keep exits."""
        for one in exits:
            self._append({"exit": [one.number, one.code, one.worked, one.asked_seconds]})

    def samples(self) -> Iterator[Sample]:
        """All looks so far."""
        for line in self._lines("sample"):
            at_seconds, committed, written, answered = line
            yield Sample(
                at_seconds=at_seconds,
                committed=dict(committed),
                written={(Destination(destination), partition): end for destination, partition, end in written},
                answered=dict(answered),
            )

    def strikes(self) -> list[Strike]:
        """All strikes so far."""
        return [msgspec.convert(line, Strike) for line in self._lines("strike")]

    def exits(self) -> list[Exit]:
        """All exits so far."""
        return [
            Exit(number=number, code=code, worked=worked, asked_seconds=asked)
            for number, code, worked, asked in self._lines("exit")
        ]

    def _append(self, fact: dict[str, object]) -> None:
        with self._journal.open("a") as journal:
            journal.write(json.dumps(fact) + "\n")

    def _lines(self, kind: str) -> Iterator[Any]:
        if not self._journal.exists():
            return
        with self._journal.open() as journal:
            for line in journal:
                # The last line of a process that was killed may be half a line.
                if line.endswith("\n") and kind in (fact := json.loads(line)):
                    yield fact[kind]


def _keep(path: Path, inputs: Sequence[Input]) -> None:
    made = path.with_suffix(".new")
    made.write_text(json.dumps([(one.partition, one.offset) for one in inputs]))
    made.replace(path)


def _kept(path: Path, planted: Sequence[Planted]) -> list[Input] | None:
    if not path.exists():
        return None
    pairs = zip(planted, json.loads(path.read_text()), strict=True)
    return [Input(planted=one, partition=partition, offset=offset) for one, (partition, offset) in pairs]
