"""Lets a second bundle decide past or live events of the stream, and prints or writes the comparison."""

import asyncio
import contextlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer

from tagstream.model_export.compare.comparison import Comparison
from tagstream.model_export.report import comparison
from tagstream.monitoring.metrics.shadow import ShadowMetrics
from tagstream.monitoring.quality.words import QualityTable
from tagstream.stream import logs
from tagstream.stream.cli.exits import EXIT_CONTRACT, EXIT_FAILED, EXIT_USAGE, fail, note, stopping
from tagstream.stream.cli.show.metrics import metrics_at
from tagstream.stream.decide.from_settings import decider_of
from tagstream.stream.decide.pipeline import Decider
from tagstream.stream.deliver import fatal
from tagstream.stream.logs import logger
from tagstream.stream.settings.settings import Settings
from tagstream.stream.shadow import decision_sources
from tagstream.stream.shadow.decision_sources import BundleSource, DecisionSource
from tagstream.stream.shadow.live_shadow import Shadow, ShadowOrder, follow
from tagstream.stream.shadow.past import Past, PastOrder, PastState, begun, fresh
from tagstream.stream.shadow.span import Span, bound_of, span_of
from tagstream.stream.terminal import console, progress
from tagstream.stream.terminal.text import counted

BEGINNING = "beginning"
STOPPED = "stopped before the end: the counts are of the part that was decided"

log = logger("tagstream.shadow")


def past(settings: Settings, order: PastOrder, *, html: Path | None, as_json: bool) -> None:
    """Compare over the past. Raises the errors of `span_of`, `decision_sources.bundle_of`, `decision_sources.recorded` and `Past.run`."""
    if html is not None:
        _require_pages()
    if order.against == decision_sources.RECORDED:
        settings = decision_sources.as_workers_decide(settings)
    span = span_of(
        settings,
        None if order.since in {None, BEGINNING} else bound_of(order.since, "--since"),
        None if order.until is None else bound_of(order.until, "--until"),
    )
    if span.gone:
        note(
            f"{span.gone:,} offsets of --since are not in {settings.topics.content} any more: the range begins with the oldest event"
        )
    new = decision_sources.decider_named(settings, order.bundle)
    old = _old_source(settings, order, new, span)
    asked = _asked(settings, order, new, old)
    state = begun(order.state, asked) or fresh(span, asked)
    known = decision_sources.answers(settings)
    if known.why:
        note(f"no answers of people are counted: {known.why}")
    run = Past(settings, order, new=new, old=old, sample=decision_sources.Sample(settings, order.sample), answers=known)
    with stopping() as stop, progress.rows("shadow", size=float(span.offsets)) as told:
        asyncio.run(run.run(state, stop, told=told))
    _show_past(state, new, old, html=html, as_json=as_json)
    if not state.is_finished:
        goes_on = "the same command goes on" if order.state is not None else "with --state FILE the same command would go on"
        fail(f"{STOPPED}; {goes_on}.", EXIT_FAILED)


def _old_source(settings: Settings, order: PastOrder, new: Decider, span: Span) -> DecisionSource:
    if order.against == decision_sources.RECORDED:
        found = decision_sources.recorded(settings, span.since_ms, decision_sources.Sample(settings, order.sample))
        if found.unreadable:
            note(
                f"{counted(found.unreadable, 'record')} of the topics of decisions cannot be read as decisions, and are left out"
            )
        return found
    chosen = settings.model_copy(update={"decider": "model"})
    old = decider_of(chosen) if order.against is None else decision_sources.decider_named(settings, order.against)
    decision_sources.require_same_labels(new, old)
    return BundleSource(settings, old)


def _asked(settings: Settings, order: PastOrder, new: Decider, old: DecisionSource) -> dict[str, str]:
    given: dict[str, Any] = {
        "brokers": settings.brokers,
        "topics.content": settings.topics.content,
        "the new bundle": new.model.identity,
        "the old end": old.identity,
        "confidence_threshold": settings.confidence_threshold,
        "--since": order.since,
        "--until": order.until,
        "--sample": order.sample,
        "--rows": order.rows,
        "--with-text": order.with_text,
    }
    return {name: str(value) for name, value in given.items() if value is not None}


def _show_past(state: PastState, new: Decider, old: DecisionSource, *, html: Path | None, as_json: bool) -> None:
    found = state.comparison
    said = comparison.sentences(found, new=decision_sources.named_model(new), old=old.name)
    if not state.is_finished:
        said = [f"{STOPPED[0].upper()}{STOPPED[1:]}.", *said]
    made = comparison.tables(found)
    if as_json:
        console.show_json(_record(state, found, new, old))
    else:
        _print(made, said)
    if html is not None:
        title = f"{new.model.name} {new.model.version}: shadow over the past"
        _write(html, comparison.page(title, new.model.digest, said, made))


def _print(tables: Sequence[QualityTable], sentences: Sequence[str]) -> None:
    for table in tables:
        console.show_table(table.title, table.head, table.rows, note=table.note)
    for sentence in sentences:
        console.show(sentence)


def _record(state: PastState, found: Comparison, new: Decider, old: DecisionSource) -> dict[str, Any]:
    return {
        "new": new.model,
        "old": old.identity,
        "first": state.first,
        "last": state.last,
        "finished": state.is_finished,
        **found.as_json(),
    }


def _require_pages() -> None:
    if importlib.util.find_spec("jinja2") is None:
        from tagstream.model_export.extras import install

        fail(f"a page needs the extra `review`, and jinja2 is not installed. Next: {install('review')}", EXIT_USAGE)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(
            f"{path} cannot be written: {error.strerror}. Next: name a file in a folder that this user may write to.",
            EXIT_FAILED,
        )
    console.talk(f"wrote {path}")


def beside(settings: Settings, bundle: str, order: ShadowOrder, *, metrics_port: int, as_json: bool) -> None:
    """Compare beside the stream. Raises the errors of `follow` and `decision_sources.decider_named`."""
    logs.configure(level=settings.log_level, form=settings.log_format)
    challenger = decision_sources.decider_named(settings, bundle)

    @contextlib.contextmanager
    def served(metrics: ShadowMetrics) -> Iterator[None]:
        with metrics_at(settings, metrics_port, metrics) as address:
            log.info("shadow_serves", address=address)
            yield

    with stopping() as stop:
        found = asyncio.run(follow(settings, order, challenger, stop, serve=served))
    _show_beside(found, new=decision_sources.named_model(challenger), as_json=as_json)
    different = found.tally.different
    if different:
        note(
            f"{counted(different, 'decision')} of the champion differ here from what was published; the log names the places. Next: run this "
            "with the workers' settings, on the same kind of processor, and compare `tagstream rollout status`."
        )
    code = EXIT_CONTRACT if different else 0
    if found.challenger.hangs:
        sys.stdout.flush()
        # A normal exit of the interpreter would wait for the thread in which the model hangs.
        fatal.end(code, lambda: log.critical("challenger_hangs", consequence="this process ends without it"))
    if code:
        raise typer.Exit(code)


def _show_beside(found: Shadow, *, new: str, as_json: bool) -> None:
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
    said = comparison.sentences(tally.counts, new=new, old="the champion")
    if tally.failures:
        failed = ", ".join(f"{kind} {events:,}" for kind, events in tally.failures.items())
        said.append(f"The challenger failed: {failed}.")
    said += [
        f"People are asked about {counted(tally.asked, 'disagreement')}.",
        (
            f"The champion here beside what was published: {tally.equal:,} equal to the byte, {tally.different:,} different, "
            f"{tally.unchecked:,} not found."
        ),
    ]
    _print(comparison.tables(tally.counts), said)
