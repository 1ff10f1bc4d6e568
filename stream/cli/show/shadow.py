"""Runs a follower of the stream with a second bundle, serves its metrics, and prints what it has seen."""

import asyncio
import contextlib
import sys
from collections.abc import Iterator

import typer

from tagstream.monitoring.metrics.shadow import ShadowMetrics
from tagstream.stream import logs
from tagstream.stream.cli.exits import EXIT_CONTRACT, note, stopping
from tagstream.stream.cli.show.metrics import metrics_at
from tagstream.stream.deliver import fatal
from tagstream.stream.logs import logger
from tagstream.stream.replay import ends, words
from tagstream.stream.replay.shadow import Shadow, ShadowOrder, follow
from tagstream.stream.settings.settings import Settings
from tagstream.stream.terminal import console
from tagstream.stream.terminal.text import counted

log = logger("tagstream.shadow")


def shadow(settings: Settings, bundle: str, order: ShadowOrder, *, metrics_port: int, as_json: bool) -> None:
    """Raises as `follow` and `ends.decider_named`."""
    logs.configure(level=settings.log_level, form=settings.log_format)
    challenger = ends.decider_named(settings, bundle)

    @contextlib.contextmanager
    def served(metrics: ShadowMetrics) -> Iterator[None]:
        with metrics_at(settings, metrics_port, metrics) as address:
            log.info("shadow_serves", address=address)
            yield

    with stopping() as stop:
        found = asyncio.run(follow(settings, order, challenger, stop, serve=served))
    _show(found, new=ends.named_model(challenger), as_json=as_json)
    different = found.tally.different
    if different:
        note(
            f"{counted(different, 'decision')} of the champion differ here from what was published; the log names the places. Next: run this "
            "with the workers' settings, on the same kind of processor, and compare `tagstream rollout status`."
        )
    code = EXIT_CONTRACT if different else 0
    if found.challenger.hangs:
        sys.stdout.flush()
        # The interpreter's own end would wait for the thread in which the model hangs.
        fatal.end(code, lambda: log.critical("challenger_hangs", consequence="this process ends without it"))
    if code:
        raise typer.Exit(code)


def _show(found: Shadow, *, new: str, as_json: bool) -> None:
    tally = found.tally
    if as_json:
        console.show_json(
            {
                **tally.counts.as_json(),
                "failures": tally.failures,
                "asked": tally.asked,
                "published": {"equal": tally.equal, "different": tally.different, "unchecked": tally.unchecked},
            }
        )
        return
    for table in words.tables(tally.counts):
        console.show_table(table.title, table.head, table.rows, note=table.note)
    for sentence in words.sentences(tally.counts, new=new, old="the champion"):
        console.show(sentence)
    if tally.failures:
        console.show(
            "The challenger failed: " + ", ".join(f"{kind} {events:,}" for kind, events in tally.failures.items()) + "."
        )
    console.show(f"People are asked about {counted(tally.asked, 'disagreement')}.")
    console.show(
        f"The champion here beside what was published: {tally.equal:,} equal to the byte, {tally.different:,} different, "
        f"{tally.unchecked:,} not found."
    )
