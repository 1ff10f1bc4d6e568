"""`tagstream batch`: every row of a source through the one pipeline into a sink that knows what it holds.

A row that is in the output already is not decided again, so a batch that was killed goes on by the same command. Rows that are no event
go to the side file. At no time are more rows in memory than a chunk, and what the sink gathers for its next part.
"""

import time
from collections.abc import Callable

from stream.batch.sinks.rejects import rejected_line
from stream.batch.sinks.sink import Decided, Sink
from stream.batch.sinks.tally import Tally
from stream.batch.sources.source import Chunk, Source
from stream.contract.record import Record
from stream.contract.refusal import Refusal
from stream.decide.pipeline import Pipeline

Told = Callable[[Chunk, int], None]


def run(pipeline: Pipeline, source: Source, sink: Sink, *, told: Told = lambda *_: None) -> Tally:
    """
    Decide what is missing in the sink, and make the output whole.

    Args:
        pipeline: Decides.
        source: The rows.
        sink: The output.
        told: Told of each chunk that was read, and how many of its rows were decided now.

    Returns:
        The counts of the whole output, earlier runs included.

    Raises:
        RowsError: The source cannot be read on; what was read before is decided, and kept for the next run.
        BatchError: The sink cannot be written, or is of another command.
        Exception: The machine is broken; see `Pipeline.decide`.
    """
    first = 0
    for read in source.chunks():
        chunk = read.numbered(first)
        missing = sink.missing(chunk)
        if missing is not None:
            _decide(pipeline, sink, missing)
        first += len(chunk.rows)
        told(chunk, 0 if missing is None else len(missing.rows))
    sink.finish()
    return sink.tally


def _decide(pipeline: Pipeline, sink: Sink, chunk: Chunk) -> None:
    places = [place for place, row in enumerate(chunk.rows) if row.fault is None]
    now = time.time()
    publications = pipeline.publications(
        [Record(key=None, value=chunk.rows[place].value) for place in places], clock=lambda: now
    )
    decided: list[Decided] = []
    refusals: dict[int, Refusal] = {}
    for place, publication in zip(places, publications, strict=True):
        outcome = publication.outcome
        if isinstance(outcome, Refusal):
            refusals[place] = outcome
            continue
        row = chunk.rows[place]
        decided.append(Decided(place=place, row=row, publication=publication, outcome=outcome, decided_at=now))
    rejected = [
        rejected_line(chunk.source, row, chunk.numbers[place], refusals.get(place))
        for place, row in enumerate(chunk.rows)
        if row.fault is not None or place in refusals
    ]
    sink.put(chunk, decided, rejected)
