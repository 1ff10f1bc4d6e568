"""`tagstream drift --from`: makes a drift reference, and drift thresholds, from a file of past events."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from tagstream.model_export.bundle.bundle import read as read_bundle
from tagstream.model_export.data.reader import can_be_read_twice, in_chunks, rows_of
from tagstream.monitoring.drift import baseline
from tagstream.monitoring.drift.calibration import Calibrated, calibrate, require
from tagstream.monitoring.observer import Observation
from tagstream.stream.contract.event import Record
from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.settings.settings import Settings
from tagstream.stream.terminal import console


class DriftError(Exception):
    """The command failed; the message has the reason and the next step."""

    exit_code = 2


def reference(settings: Settings, what: str, *, out: Path, allow_few: bool, run_events: int | None = None) -> None:
    """
    Make a drift reference from a file of events, and write it to `out`.

    Args:
        settings: The bundle, how events are decided, and the windows of the drift watch.
        what: The file, or `-` for standard input.
        out: The output file, which is replaced.
        allow_few: Accept fewer events than a reference needs.
        run_events: Also find drift thresholds with this mean number of events between two false alarms of a detector, on an ordinary
            stream. The thresholds go to stdout as TOML lines, their table to stderr. None: no thresholds.

    Raises:
        DriftError: There are too few events, `out` cannot be written, or thresholds are wanted and drift is switched off.
        TooFewError: There are too few events for thresholds.
        RowsError: The file cannot be read.
    """
    bundle = read_bundle(settings.bundle)
    if run_events is not None:
        _require_windows(settings, what)
    learning, kept = baseline.Learning(), list[Observation]()
    for batch in _observations(settings, what):
        learning.add(batch)
        if run_events is not None:
            kept += batch
    if not learning.events:
        msg = (
            f"{what} holds no event that can be decided: nothing can be learnt from it. Next: give events of the stream, an object "
            f"with a `title` in each line (`tagstream tail content --json`)."
        )
        raise DriftError(msg)
    if learning.events < baseline.LEAST_EVENTS and not allow_few:
        msg = (
            f"{what} holds {learning.events} events that can be decided, and a reference needs {baseline.LEAST_EVENTS}: with "
            f"fewer, ordinary words look new. Next: give more of the stream (`tagstream tail content --json`), or --allow-few to "
            f"take what there is."
        )
        raise DriftError(msg)
    found = [] if run_events is None else calibrate(kept, plan=settings.drift_plan, run_events=run_events)
    made = learning.baseline(model=bundle.digest)
    try:
        out.write_bytes(baseline.render(made))
    except OSError as error:
        msg = f"{out} cannot be written: {error.strerror}. Next: give --out a file in a folder that exists and may be written."
        raise DriftError(msg) from error
    console.talk(
        f"{out}: {made.events} events, {len(made.words)} words, {len(made.sources)} sources, digest {made.digest[:12]}. "
        f"Next: TAGSTREAM_DRIFT_REFERENCE={out} for every worker."
    )
    if run_events is not None:
        _show_thresholds(found, events=len(kept), run_events=run_events)


def _require_windows(settings: Settings, what: str) -> None:
    """
    Require that thresholds can be found. Deciding takes minutes, so a file with too few rows is refused beforehand.

    Raises:
        DriftError: Drift is switched off.
        TooFewError: The file has too few rows.
        RowsError: The file cannot be read.
    """
    if not settings.drift_window_events:
        msg = "drift_window_events is 0: there is nothing to calibrate. Next: set it to the size of window that is to be used."
        raise DriftError(msg)
    if can_be_read_twice(what):
        require(sum(1 for _ in rows_of(what)), settings.drift_plan, of="rows")


def _show_thresholds(found: Sequence[Calibrated], *, events: int, run_events: int) -> None:
    """Print thresholds as TOML lines to stdout, and their table to stderr."""
    console.talk(f"{'detector':<26}{'threshold':>12}{'shipped':>12}{'alarms':>8}{'events':>10}   events between false alarms")
    for row in found:
        console.talk(_row(row))
    lines = {row.setting: row.threshold for row in found}
    console.show(f"# tagstream drift --from: {events} events, one false alarm of a detector in {run_events} or more")
    for setting, threshold in lines.items():
        console.show(f"{setting} = {threshold!r}")
    missed = [row.detector for row in found if not row.reached]
    if missed:
        console.talk(
            f"not reached: {', '.join(missed)}. This data has changes of its own, so it is not stable, or it moves with the hour. "
            f"Next: look at it, or give a larger drift_window_events."
        )


def _row(found: Calibrated) -> str:
    run = f"{found.run:,.0f}" if found.alarms else f"more than {found.run:,.0f}"
    return (
        f"{found.detector:<26}{found.threshold:>12g}{found.shipped:>12g}{found.alarms:>8}{found.events:>10}   "
        f"{run}{'' if found.reached else '  not reached'}"
    )


def _observations(settings: Settings, what: str) -> Iterator[list[Observation]]:
    """
    Yield the observations of the bundle's decisions on the events of a file, a few hundred at a time.

    Records of `content`, `tagged` and `review` all have the event's fields. Lines of `tagstream tail --json` have such a record as their
    `value`. A decision in a record is ignored: another bundle may have made it.
    """
    pipeline = pipeline_of(settings)
    with console.progress(f"deciding {what}", shown=True) as advance:
        for rows in in_chunks(rows_of(what)):
            records = [Record(key=None, value=_value(row.value)) for row in rows]
            yield [publication.observation for publication in pipeline.publications(records)]
            for _ in records:
                advance()


def _value(line: bytes) -> bytes:
    """Return the event in a line of a file. Any other line is returned as it is, and the decoder refuses it."""
    try:
        found = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return line
    if "value" in found and "offset" in found and "title" not in found:
        return bytes(found["value"])
    return line
