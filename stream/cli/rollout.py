"""`tagstream rollout`: changes the model of a running stream at a point in its log, goes back to an earlier model, and shows the state."""

import contextlib
import signal
from collections.abc import Coroutine, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from tagstream.stream.cli import shadow
from tagstream.stream.cli.options import Brokers, Json, path, settings

if TYPE_CHECKING:
    from tagstream.stream.contract.rollout_records import GuardedSlice, RequiredOutcome

T = TypeVar("T")

app = typer.Typer(
    help="Change the model of a running stream, and see which one decides.", no_args_is_help=True, rich_markup_mode=None
)

NewBundle = Annotated[Path, typer.Argument(help="Folder of the new bundle.", metavar="BUNDLE", parser=path)]
WithoutWorkers = Annotated[
    bool,
    typer.Option(
        "--without-workers", help="Change the model though the group has no worker that says whether it can load the bundle."
    ),
]
Why = Annotated[str, typer.Option(help="A reason, for people; it is written to the topic.")]


class Unit(StrEnum):
    """The unit by which a share draws events: all events of a record's key together, or each event by its id."""

    KEY = "key"
    ID = "id"


def _guarded(named: Sequence[str]) -> "tuple[GuardedSlice, ...]":
    """
    Parse slices with their margins: `SLICE` or `SLICE=MARGIN`.

    Raises:
        RolloutError: A margin is not a number from 0 to 0.5, or a slice is named twice.
    """
    import msgspec

    from tagstream.stream.contract.rollout_records import GuardedSlice
    from tagstream.stream.rollout.errors import RolloutError

    found: dict[str, GuardedSlice] = {}
    for one in named:
        name, given, margin = one.rpartition("=")
        try:
            wanted = {"name": name, "margin": float(margin)} if given else {"name": one}
            guard = msgspec.convert(wanted, GuardedSlice)
        except (ValueError, msgspec.ValidationError) as error:
            msg = f"--guard {one} is not a slice with a margin from 0 to 0.5: {error}. Next: give it as in --guard 'source: web=0.02'."
            raise RolloutError(msg) from error
        if guard.name in found:
            msg = f"--guard names {guard.name!r} twice. Next: leave one out."
            raise RolloutError(msg)
        found[guard.name] = guard
    return tuple(found.values())


def _required(named: Sequence[str]) -> "tuple[RequiredOutcome, ...]":
    """
    Parse required outcomes with their margins: `outcome:NAME` or `outcome:NAME=MARGIN`, with a `-` before the name if less is better.

    Raises:
        RolloutError: A word is not of this form, a name is named twice, or there are too many.
    """
    import msgspec

    from tagstream.stream.contract.rollout_records import MAX_OUTCOMES, RequiredOutcome
    from tagstream.stream.rollout.errors import RolloutError

    found: dict[str, RequiredOutcome] = {}
    for one in named:
        kind, _, rest = one.partition(":")
        name, given, margin = rest.partition("=")
        wanted = {"name": name.removeprefix("-"), "less": name.startswith("-")}
        try:
            required = msgspec.convert(wanted | ({"margin": float(margin)} if given else {}), RequiredOutcome)
        except (ValueError, msgspec.ValidationError):
            required = None
        if required is None or kind != "outcome":
            msg = (
                f"--require {one} is not outcome:NAME or outcome:NAME=MARGIN, with a name of 1 to 64 letters, digits, '_', '.' and '-', and a "
                "margin from 0 to 0.5. Next: give it as in --require outcome:clicks=0.05."
            )
            raise RolloutError(msg)
        if required.name in found or len(found) == MAX_OUTCOMES:
            msg = f"--require names {required.name!r} twice, or more than {MAX_OUTCOMES} outcomes. Next: leave one out."
            raise RolloutError(msg)
        found[required.name] = required
    return tuple(found.values())


def _changed(change: Coroutine[Any, Any, T]) -> T:
    """
    Run a change of the model. A signal does not leave the change half done.

    Raises:
        EndedBySignalError: A signal ended the change before an epoch was closed; its plan is given up.
    """
    import asyncio

    from tagstream.stream.rollout.errors import EndedBySignalError

    try:
        return asyncio.run(_until_told(change, signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    except asyncio.CancelledError as error:
        raise EndedBySignalError from error


async def _until_told(work: Coroutine[Any, Any, T], *signs: signal.Signals) -> T:
    """Run a task until it ends, or until one of these signals cancels it."""
    import asyncio

    task = asyncio.ensure_future(work)
    for sign in signs:
        asyncio.get_running_loop().add_signal_handler(sign, task.cancel)
    return await task


@app.command("promote")
def promote(
    bundle: NewBundle,
    brokers: Brokers = None,
    ask_people: Annotated[
        bool,
        typer.Option("--ask-people", help="Send every event to a person, with the bundle's tag, until a promotion without it."),
    ] = False,
    without_workers: WithoutWorkers = False,
    why: Why = "",
) -> None:
    """
    Let a bundle decide all events from a point in the log on, without a restart.

    Workers find the bundle by its digest in rollout.bundles, load it beside the running bundle, and say whether they are ready. If a worker
    refuses, or if there is no worker, nothing changes. The new model also decides events that wait in the log and that no worker has begun.
    """
    from tagstream.stream.cli.show import rollout as shown
    from tagstream.stream.rollout import change

    known = settings(brokers=brokers)
    shown.trying(bundle)
    shown.begun(_changed(change.promote(known, bundle, asks_people=ask_people, without_workers=without_workers, why=why)))


@app.command("canary")
def canary(
    bundle: NewBundle,
    share: Annotated[
        float, typer.Option(help="Share of the events that the bundle decides: 0.05 is one in twenty.", min=0.0, max=1.0)
    ],
    brokers: Brokers = None,
    unit: Annotated[
        Unit | None,
        typer.Option(
            help="Draw all events of a record's key, or each event by its id. Unless given: key, or the running canary's unit."
        ),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            help="Only events of this source; may be given several times. Unless given: all sources, or the running canary's."
        ),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(help="By how much less often the bundle may be right, of all events, 0.01 unless set.", min=0.0, max=0.5),
    ] = None,
    days: Annotated[
        float | None, typer.Option(help="Days after which the bundle is not proven, 14 unless set.", max=365.0)
    ] = None,
    ask: Annotated[
        float | None,
        typer.Option(
            help="Least share of the disagreements about which people are asked, 0.02 unless set.", min=0.001, max=1.0
        ),
    ] = None,
    guard: Annotated[
        list[str] | None,
        typer.Option(
            help="A slice in which the bundle must not be worse either, and its margin, 0.03 unless set; may be given several times.",
            metavar="SLICE[=MARGIN]",
        ),
    ] = None,
    require: Annotated[
        list[str] | None,
        typer.Option(
            help="An outcome whose mean must not be worse, and by which part of the champion's it may be, 0.05 unless set; "
            "outcome:-NAME if less is better; may be given several times.",
            metavar="outcome:NAME[=MARGIN]",
        ),
    ] = None,
    without_workers: WithoutWorkers = False,
    why: Why = "",
) -> None:
    """
    Let a bundle decide a share of the events, beside the champion.

    The command first prints how many of the newest events the bundle would have decided. If the share is raised later, the bundle keeps
    every key that it has. The bundle's own thresholds apply. `rollback` ends the canary, `promote` lets the bundle decide all events, and
    `watch` does one of the two once there is a proof.
    """
    import msgspec

    from tagstream.stream.cli.show import rollout as shown
    from tagstream.stream.contract.rollout_records import Guards
    from tagstream.stream.rollout import change
    from tagstream.stream.rollout.errors import RolloutError

    audience = change.Audience(
        share=share, unit=None if unit is None else unit.value, sources=tuple(sorted(set(source))) if source else None
    )
    if days is not None and days <= 0:
        msg = f"--days is above 0, and not {days:g}"
        raise RolloutError(msg)
    given = {
        "margin": margin,
        "max_days": days,
        "asked_at_least": ask,
        "slices": _guarded(guard or ()),
        "outcomes": _required(require or ()) or None,
    }
    guards = msgspec.structs.replace(Guards(), **{name: value for name, value in given.items() if value is not None})
    known = settings(brokers=brokers)
    shown.trying(bundle)
    begun = change.canary(
        known,
        bundle,
        audience,
        guards=None if guards == Guards() else guards,
        without_workers=without_workers,
        why=why,
        tell=shown.arm,
    )
    shown.begun(_changed(begun))


@app.command("watch")
def watch(
    brokers: Brokers = None,
    every: Annotated[float, typer.Option(help="Seconds between two looks.", min=1.0)] = 60.0,
    metrics_port: Annotated[
        int, typer.Option(help="Port of the watch's own /metrics; 0 takes a free one.", min=0, max=65535)
    ] = 9110,
) -> None:
    """
    Promote the challenger once it is proved to be as good as the champion; roll it back once it is proved to be worse, or does harm.

    Without a proof within the days of its plan, the challenger is rolled back as not proven. The command ends with SIGTERM or Ctrl-C.
    Several watches may run; one at a time acts.
    """
    import asyncio

    from tagstream.monitoring.metrics.controller import ControllerMetrics
    from tagstream.stream.cli.show import rollout as shown
    from tagstream.stream.cli.show.metrics import metrics_at
    from tagstream.stream.rollout import watch as watching
    from tagstream.stream.rollout.verdict import RolloutStep

    known = settings(brokers=brokers)
    metrics = ControllerMetrics.alone(tuple(RolloutStep))
    turns = shown.WatchTurns(metrics)
    with metrics_at(known, metrics_port, metrics) as address:
        shown.metrics(address)
        work = watching.watch(known, every_seconds=every, tell=turns.judged, began=turns.begun, failed=turns.failed)
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(_until_told(work, signal.SIGINT, signal.SIGTERM))


@app.command("rollback")
def rollback(brokers: Brokers = None, why: Why = "") -> None:
    """
    End a canary, or without a canary let the previous model decide again.

    The command first prints which model will decide; `status` prints it too. That model decides all new events, and events in the log
    that no worker has begun. Earlier decisions do not change. A second rollback goes back further: after models A, B and A again, it goes
    to the model before the first A.
    """
    from tagstream.stream.cli.show import rollout as shown
    from tagstream.stream.rollout import change

    shown.begun(_changed(change.rollback(settings(brokers=brokers), why=why, tell=shown.rolls_back)))


@app.command("finish")
def finish(brokers: Brokers = None) -> None:
    """
    Begin an epoch that a command left closing, give up an abandoned plan, list new partitions, and change nothing else.

    Run it after partitions were added to `content`, and when an epoch hangs.
    """
    from tagstream.stream.cli.show import rollout as shown
    from tagstream.stream.rollout import change

    shown.finished(_changed(change.finish(settings(brokers=brokers))))


@app.command("status")
def status(
    brokers: Brokers = None,
    verdict: Annotated[
        bool,
        typer.Option(
            "--verdict",
            help="Judge the challenger by the records of the topics, those of the last 30 s left out: people's answers on the models' "
            "disagreements, and the other gates.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Show the deciding model, the plan, and the state of each worker; or with --verdict the evidence about a challenger."""
    import asyncio

    from tagstream.stream.cli.show import rollout as shown

    known = settings(brokers=brokers)
    if verdict:
        from tagstream.stream.rollout.watch import Watch

        shown.verdict(known, asyncio.run(Watch(known).look()), as_json=json)
        return
    from tagstream.stream.rollout.standing import standing_of

    shown.standing(known, asyncio.run(standing_of(known)), as_json=json)


@app.command("log")
def log(
    brokers: Brokers = None,
    at: Annotated[
        str | None,
        typer.Option(
            help="Show the newest epoch at this time, such as 2026-01-31T12:00Z, and the first events from then on. A time "
            "without a zone is UTC."
        ),
    ] = None,
    partition: Annotated[
        int | None, typer.Option(help="Show the first event of this partition; of all unless set.", min=0)
    ] = None,
    json: Json = False,
) -> None:
    """
    Show every record of the rollout, or with --at which model decided at that time.

    The answer depends on the times of the records in the topic, so no later change alters it. For a time before the first record, the
    answer is not known, and the exit code is 1.
    """
    import asyncio

    from tagstream.stream.cli.show import rollout as shown
    from tagstream.stream.rollout.history import decided_at, history, moment_of

    known = settings(brokers=brokers)
    entries, epochs = asyncio.run(history(known))
    if at is None:
        shown.log(entries, as_json=json)
    else:
        shown.decided_at(decided_at(known, entries, epochs, moment_of(at), partition), as_json=json)


@app.command("store")
def store(bundle: NewBundle) -> None:
    """Copy a bundle to the place where workers find it, and change nothing yet."""
    from tagstream.stream.cli.show import rollout as shown
    from tagstream.stream.rollout import change

    known = settings()
    shown.stored(known, change.store(known, bundle))


app.command("shadow")(shadow.shadow)
