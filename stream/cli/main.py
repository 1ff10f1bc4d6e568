"""The `tagstream` command: verbs only. Each reads the settings, calls one function, prints, and gives an exit code.

Heavy modules are imported inside the verbs, so that `--help` answers at once. Data goes to stdout, talk to stderr.
"""

import math
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from stream.terminal import output

if TYPE_CHECKING:
    from stream.contract.dead_letter import Selection
    from stream.settings.settings import Loaded, Settings

EXIT_FAILED, EXIT_USAGE, EXIT_BROKER, EXIT_CONTRACT = 1, 2, 3, 4

app = typer.Typer(
    name="tagstream",
    help="Tag machine-learning content on a Kafka topic; ask a person where the model is unsure; lose nothing.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    rich_markup_mode=None,
    epilog="Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 broker unreachable, 4 contract violated. A worker's: "
    "0 stopped, 1 bundle refused, circuit breaker opened, or not stopped in time, 70 it gave up and is to be started again.",
)
config = typer.Typer(help="Look at the settings.", no_args_is_help=True, rich_markup_mode=None)
model = typer.Typer(help="Make and inspect model bundles.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(config, name="config")
drift_app = typer.Typer(help="Look for drift in what the stream was and is.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(model, name="model")
app.add_typer(drift_app, name="drift")
dlq_app = typer.Typer(help="Look at dead letters, and send them again.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(dlq_app, name="dlq")


def _finite(given: float | None) -> float | None:
    # A bound does not keep out what compares with nothing, and a wait of it has no end.
    if given is not None and not math.isfinite(given):
        msg = f"{given} is no finite number. Next: give one, or leave the option out."
        raise typer.BadParameter(msg)
    return given


Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Brokers = Annotated[str | None, typer.Option(help="Kafka brokers, host:port, comma-separated.", metavar="HOST:PORT")]
BundleFolder = Annotated[Path | None, typer.Option(help="Folder of the model bundle.", metavar="FOLDER")]
# The values of stream.demo.shifts.Shift, which would be too heavy to import here.
Drift = Literal["none", "class-mix", "new-topic", "language", "no-description", "confidence"]
# The values of stream.kafka.rights.Role.
AclRole = Literal["worker", "producer", "consumer", "reviewer", "operator", "creator"]
DeciderOption = Annotated[
    Literal["model", "rules"] | None, typer.Option(help="rules: no model; keywords guess, and every event goes to review.")
]
ThresholdOption = Annotated[float | None, typer.Option(help="Ask a person below this confidence.", metavar="0..1")]


def _print_version(asked: bool) -> None:  # noqa: FBT001 - typer calls it so
    if asked:
        from importlib.metadata import version

        typer.echo(f"tagstream {version('tagstream')}")
        raise typer.Exit


@app.callback()
def _of_all_verbs(
    _version: Annotated[
        bool, typer.Option("--version", help="Print name and version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command()
def worker(
    brokers: Brokers = None,
    bundle: BundleFolder = None,
    group: Annotated[str | None, typer.Option(help="Consumer group.")] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Port of /metrics; 0 takes a free one.")] = None,
    threshold: ThresholdOption = None,
    decider: DeciderOption = None,
) -> None:
    """Read events, tag them, publish; run until stopped."""
    settings = _settings(
        brokers=brokers,
        bundle=bundle,
        group=group,
        metrics_port=metrics_port,
        confidence_threshold=threshold,
        decider=decider,
    )
    from stream.worker import main as run

    run.main(settings)


@app.command()
def classify(
    what: Annotated[
        str, typer.Argument(help="A text, or a CSV or JSON Lines file, or - for standard input.", metavar="TEXT|FILE")
    ],
    json: Json = False,
    bundle: BundleFolder = None,
    threshold: ThresholdOption = None,
    decider: DeciderOption = None,
) -> None:
    """Tag a text or a file, without Kafka."""
    settings = _settings(bundle=bundle, confidence_threshold=threshold, decider=decider)
    from stream.batch import classify as run
    from stream.batch import rows
    from stream.batch.show import print_outcome
    from stream.contract.events import Rejected
    from stream.terminal import console

    is_file = rows.is_file(what)
    if not is_file and rows.looks_like_a_path(what):
        _note(f"{console.visible(what)} is taken for a text, since there is no such file")
    given = rows.rows_of(what) if is_file else iter([rows.Row(1, rows.of_text(what))])
    rejected = done = no_json = 0
    with console.progress(f"classifying {what}", shown=is_file) as advance:
        for classified in run.classify(run.load_pipeline(settings), given):
            done += 1
            if isinstance(classified.outcome, Rejected):
                rejected += 1
                no_json += classified.outcome.reason in run.NOT_JSON_LINES
            if json:
                sys.stdout.buffer.write(classified.line + b"\n")
            else:
                print_outcome(classified.outcome, line=classified.begins if is_file else None)
            advance()
    sys.stdout.flush()
    if not done:
        _note(f"{'standard input' if what == '-' else what} has no row: nothing is classified")
    if rejected and not is_file:
        _fail("the text cannot be classified: the output says why. Next: give another one.", EXIT_FAILED)
    if rejected:
        form = f" {run.FORM}" if no_json else ""
        _fail(
            f"{rejected} of {done} rows cannot be classified: the output says why at their place, and which they are (lines are "
            f"counted from 1, rows from 0 and without header and blank lines). Next: correct them and run again.{form}",
            EXIT_FAILED,
        )


@app.command()
def send(
    what: Annotated[
        str | None, typer.Argument(help="A CSV or JSON Lines file, or - for standard input.", metavar="FILE|-")
    ] = None,
    brokers: Brokers = None,
    topic: Annotated[str | None, typer.Option(help="Topic; `content` of the settings unless given.")] = None,
    rate: Annotated[
        float | None, typer.Option(help="Events a second; as fast as it goes unless given.", min=0.001, callback=_finite)
    ] = None,
    samples: Annotated[
        bool, typer.Option("--samples", help="Send the demo's events until stopped, 20/s unless given.")
    ] = False,
    drift: Annotated[Drift, typer.Option(help="How the samples drift.")] = "none",
    drift_after: Annotated[float, typer.Option(help="When they begin to, in seconds.", min=0, callback=_finite)] = 0.0,
) -> None:
    """Send the rows of a file as events; done when the broker has confirmed all."""
    settings = _settings(brokers=brokers)
    from stream.batch import rows
    from stream.demo.producer import produce
    from stream.demo.shifts import Shift
    from stream.kafka import clients
    from stream.kafka.admin import require
    from stream.kafka.rights import Operation
    from stream.terminal import console

    if (what is None) != samples or (drift != "none" and not samples):
        _fail("`send` takes a file, or --samples, perhaps with --drift. Next: give one of the two.", EXIT_USAGE)
    name = topic or settings.topics.content
    # The file before the brokers: it is quick to look at, and they may be waited for.
    values = iter(()) if what is None else rows.begun(what)
    require(settings, {"content": name}, operations={"content": Operation.WRITE})
    if what is None:
        sent = produce(settings, topic=name, rate=rate or 20.0, drift=Shift(drift), after_seconds=drift_after, say=console.talk)
        console.talk(f"{sent} events in {name}, confirmed by the broker")
        return
    with clients.sender(settings) as sender, console.progress(f"sending {what}", shown=True) as advance:
        try:
            for value in clients.pace(values, rate):
                sender.send(name, key=None, value=value)
                advance()
        except rows.RowsError as error:
            sender.flush()
            msg = (
                f"{error} The {sender.acknowledged} events above it are in {name}, confirmed by the broker: a run of the whole file "
                f"sends them again."
            )
            raise rows.RowsError(msg) from error
        sender.flush()
    console.talk(f"{sender.acknowledged} events in {name}, confirmed by the broker")


@app.command()
def tail(
    topic: Annotated[str, typer.Argument(help="content, tagged, review, dlq, ... or any topic's name.")],
    brokers: Brokers = None,
    json: Json = False,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="Start at the oldest record.")] = False,
    max_records: Annotated[int | None, typer.Option("--max", help="Stop after so many records.", min=1)] = None,
    idle: Annotated[
        float | None, typer.Option(help="Stop when nothing came for so many seconds.", min=0.1, callback=_finite)
    ] = None,
    at_least: Annotated[int, typer.Option(help="Fail when fewer records came.", min=0)] = 0,
    distinct: Annotated[
        bool, typer.Option("--distinct", help="Show each outcome once; say how many duplicates came; exit 4 on a conflict.")
    ] = False,
) -> None:
    """Show the records of a topic as they come."""
    settings = _settings(brokers=brokers)
    from stream.cli import tail as run

    shown = run.tail(
        settings,
        topic,
        as_json=json,
        from_beginning=from_beginning,
        max_records=max_records,
        idle_seconds=idle,
        distinct=distinct,
    )
    if shown < at_least:
        _fail(f"{shown} records of {topic} came, {at_least} were to come. Next: does anything send to it?", EXIT_FAILED)


@app.command()
def demo(
    seconds: Annotated[
        float | None,
        typer.Option(help="Stop by itself; until Ctrl-C unless given.", envvar="DEMO_SECONDS", min=1, callback=_finite),
    ] = None,
    rate: Annotated[float, typer.Option(help="Sample events a second.", min=0.1, max=2000, callback=_finite)] = 20.0,
    drift: Annotated[Drift, typer.Option(help="How the samples drift.")] = "language",
    drift_after: Annotated[float, typer.Option(help="When they begin to, in seconds.", min=0, callback=_finite)] = 75.0,
) -> None:
    """Start a broker, a worker and a producer of sample events that drift after a while, and watch."""
    from rich.console import Console

    from stream.demo.run import Drift as Moves
    from stream.demo.run import demo as run
    from stream.demo.shifts import Shift

    moves = Moves(shift=Shift(drift), after_seconds=drift_after)
    raise typer.Exit(run(seconds=seconds, rate=rate, settings=_settings(), console=Console(), drift=moves))


@app.command()
def top(
    urls: Annotated[
        list[str] | None,
        typer.Argument(help="Metrics of the workers; the settings' own worker unless given.", metavar="[HOST:PORT|URL]..."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Print one frame and end.")] = False,
    json: Json = False,
    every: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.2, max=60, callback=_finite)] = 1.0,
) -> None:
    """Watch running workers: flow, latency, confidence, drift, alarms."""
    from rich.console import Console

    from monitoring.top import top as run
    from stream.settings.metrics_address import own_address

    addresses = [run.address(url) for url in urls or [own_address(_settings())]]
    run.top(addresses, once=once, as_json=json, every_seconds=every, console=Console(highlight=False))


@app.command()
def doctor(
    brokers: Brokers = None,
    bundle: BundleFolder = None,
    create_topics: Annotated[bool, typer.Option("--create-topics", help="Make the topics that do not exist.")] = False,
    acls: Annotated[
        str | None,
        typer.Option("--acls", help="Print the commands that give a user the least rights; ask nobody.", metavar="USER"),
    ] = None,
    role: Annotated[AclRole, typer.Option("--role", help="What that user is.")] = "worker",
    json: Json = False,
) -> None:
    """Check all that a worker needs; say what to do."""
    settings = _settings(brokers=brokers, bundle=bundle)
    from stream.doctor import examine as run
    from stream.doctor.show import finding
    from stream.kafka import rights
    from stream.terminal import console

    if acls is not None:
        console.print_lines(rights.lines(settings, rights.Role(role), acls), as_json=json)
        return
    report = run.examine(settings, create_topics=create_topics, say=finding(settings, as_json=json))
    if not report.broker_reachable:
        raise typer.Exit(EXIT_BROKER)
    if report.failed:
        raise typer.Exit(EXIT_FAILED)


DataFolder = Annotated[Path | None, typer.Option(help="Folder with dataset.csv and holdout.csv.", metavar="FOLDER")]
TrainFolder = Annotated[
    Path,
    typer.Argument(
        help="Folder to write the bundle to; with --all, to write bundle, networks and report to.", metavar="FOLDER"
    ),
]
OutFolder = Annotated[Path, typer.Argument(help="Folder to write the bundle to.", metavar="FOLDER")]
BundleArgument = Annotated[
    Path | None, typer.Argument(help="Folder of the bundle; the settings' unless given.", metavar="FOLDER")
]
Checkpoint = Annotated[Path | None, typer.Option(help="Keep the trained network in this file.", metavar="FILE")]
Against = Annotated[list[str] | None, typer.Option(help="Another bundle on the same rows.", metavar="[NAME=]FOLDER")]
Rivals = Annotated[
    list[str] | None,
    typer.Option("--checkpoint", help="A network that `train --checkpoint` kept, on the same rows.", metavar="[NAME=]FILE"),
]
Report = Annotated[Path | None, typer.Option(help="Write a Markdown and an HTML report here.", metavar="FOLDER")]
MultilabelOption = Annotated[
    bool, typer.Option("--multilabel", help="Add a second head: decisions say in `tags` what else a text is about.")
]
Precision = Annotated[
    float, typer.Option(help="Share right that the thresholds shall reach.", min=0.5, max=1.0, callback=_finite)
]


@model.command("train")
def model_train(
    folder: TrainFolder = Path("trained"),
    everything: Annotated[
        bool, typer.Option("--all", help="Keep teacher and student, train the simpler rivals, and report on all of them.")
    ] = False,
    data: DataFolder = None,
    checkpoint: Checkpoint = None,
    precision: Precision = 0.95,
    corpus_only: Annotated[bool, typer.Option("--corpus-only", help="Train on the authored corpus alone.")] = False,
    multilabel: MultilabelOption = False,
    seed: Annotated[
        int | None, typer.Option(help="Draw otherwise than the shipped bundle was drawn: what do seeds alone move?", min=0)
    ] = None,
) -> None:
    """Train a model, prove it, and write its bundle (needs the extra `export`)."""
    from stream.cli import model as modelling

    _note_replaced(folder / "bundle" if everything else folder)
    modelling.train(
        _settings(data=data),
        folder=folder,
        everything=everything,
        checkpoint=checkpoint,
        precision=precision,
        corpus_only=corpus_only,
        multilabel=multilabel,
        seed=seed,
    )


@model.command("export")
def model_export(
    checkpoint: Annotated[Path, typer.Argument(help="A network that `train --checkpoint` kept.", metavar="FILE")],
    folder: OutFolder,
    data: DataFolder = None,
    precision: Precision = 0.95,
) -> None:
    """Make a bundle of a trained network (needs the extra `export`)."""
    from stream.cli import model as modelling

    _note_replaced(folder)
    modelling.export(_settings(data=data), checkpoint=checkpoint, folder=folder, precision=precision)


@model.command("refit")
def model_refit(
    folder: OutFolder,
    data: DataFolder = None,
    bundle: BundleFolder = None,
    precision: Precision = 0.95,
    multilabel: MultilabelOption = False,
    keep_head: Annotated[
        bool, typer.Option("--keep-head", help="Keep the head too: learn the n-grams beside it alone.")
    ] = False,
) -> None:
    """Keep a bundle's encoder; fit its head and n-grams anew to the labels of today (needs the extra `export`)."""
    from stream.cli import model as modelling

    settings = _settings(data=data, bundle=bundle)
    _refuse_no_bundles([settings.bundle])
    _note_replaced(folder)
    modelling.refit(settings, folder=folder, precision=precision, multilabel=multilabel, keep_head=keep_head)


@model.command("calibrate")
def model_calibrate(
    out: Annotated[Path, typer.Option(help="Folder to write the new bundle to.", metavar="FOLDER")],
    folder: BundleArgument = None,
    data: DataFolder = None,
    precision: Precision = 0.95,
) -> None:
    """Keep a bundle's network; do its temperature, thresholds, reference and metrics anew (needs the extra `export`)."""
    from stream.cli import model as modelling

    settings = _settings(data=data, bundle=folder)
    _refuse_no_bundles([settings.bundle])
    _note_replaced(out)
    modelling.calibrate(settings, folder=out, precision=precision)


def _refuse_no_bundles(folders: Iterable[Path]) -> None:
    """Before the data, which may have to be fetched first: a mistyped folder need not wait for a network."""
    from model_export import commands

    for folder in folders:
        commands.inspect(folder)


def _note_replaced(folder: Path) -> None:
    """Before the work, which takes minutes: whoever meant another folder can still stop."""
    from model_export.bundle import bundle

    if not (folder / bundle.MANIFEST).exists():
        return
    try:
        there = bundle.read(folder)
        what = f"the bundle {there.manifest.name} {there.manifest.version}, digest {there.digest[:12]}"
    except bundle.BundleError:
        what = "a bundle that does not verify"
    _note(f"{folder} holds {what}: it is replaced when the new one is done; Ctrl-C until then keeps it")


@model.command("evaluate")
def model_evaluate(
    folder: BundleArgument = None,
    data: DataFolder = None,
    baselines: Annotated[bool, typer.Option("--baselines", help="Train and measure the simpler rivals too.")] = False,
    against: Against = None,
    checkpoint: Rivals = None,
    report: Report = None,
    json: Json = False,
) -> None:
    """Measure a bundle, and what is put beside it, on rows that it never saw: figures, slices, behaviour, speed (needs the extra `export`)."""
    from stream.cli import model as modelling

    settings = _settings(data=data, bundle=folder)
    _refuse_no_bundles([settings.bundle, *(modelling.named(other).path for other in against or ())])
    modelling.evaluate(
        settings,
        baselines=baselines,
        against=against or (),
        checkpoints=checkpoint or (),
        report=report,
        as_json=json,
    )


@model.command("verify")
def model_verify(folder: BundleArgument = None, json: Json = False) -> None:
    """Check every byte of a bundle, its golden texts, and that no prediction depends on its batch."""
    from stream.cli import model as modelling

    modelling.verify(_settings(bundle=folder), as_json=json)


@model.command("inspect")
def model_inspect(folder: BundleArgument = None, json: Json = False) -> None:
    """Show what a bundle is, its thresholds and what it was made of; with --json the whole manifest."""
    from stream.cli import model as modelling

    modelling.inspect(_settings(bundle=folder), as_json=json)


EventsFile = Annotated[
    str, typer.Argument(help="JSON Lines of events, tagged or review records; - for standard input.", metavar="FILE|-")
]


@drift_app.command("reference")
def drift_reference(
    what: EventsFile,
    out: Annotated[Path, typer.Option(help="File to write the reference to.", metavar="FILE")],
    bundle: BundleFolder = None,
    allow_few: Annotated[bool, typer.Option("--allow-few", help="Take fewer than 5,000 events.")] = False,
) -> None:
    """Make the reference that windows are compared with, of events from a time when nothing was wrong."""
    from stream.cli import drift as drifting

    drifting.reference(_settings(bundle=bundle), what, out=out, allow_few=allow_few)


@drift_app.command("calibrate")
def drift_calibrate(
    what: EventsFile,
    bundle: BundleFolder = None,
    run: Annotated[int, typer.Option(help="Events between false alarms of a detector.", min=1000, max=1_000_000)] = 100_000,
) -> None:
    """Find thresholds by replaying events from a time when nothing was wrong; prints lines for tagstream.toml."""
    from stream.cli import drift as drifting

    drifting.calibration(_settings(bundle=bundle), what, run_events=run)


@drift_app.command("tail")
def drift_tail(
    brokers: Brokers = None,
    json: Json = False,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="Start at the oldest finding.")] = False,
    max_records: Annotated[int | None, typer.Option("--max", help="Stop after so many findings.", min=1)] = None,
    idle: Annotated[
        float | None, typer.Option(help="Stop when nothing came for so many seconds.", min=0.1, callback=_finite)
    ] = None,
) -> None:
    """Show drift findings as they come: what moved, and events to look at."""
    from stream.cli import drift as drifting

    drifting.follow(
        _settings(brokers=brokers), as_json=json, from_beginning=from_beginning, max_records=max_records, idle_seconds=idle
    )


Code = Annotated[str | None, typer.Option(help="Only of this code, as `list` prints it.")]
StageOption = Annotated[str | None, typer.Option("--stage", help="Only of this stage: decode, validate, infer, produce.")]
Since = Annotated[str | None, typer.Option(help="Only written since: 90s, 15m, 2h, 7d, or an RFC 3339 time.", metavar="WHEN")]
Partition = Annotated[int | None, typer.Option(help="Only of this partition of the dead letters' topic.", min=0)]
MaxLetters = Annotated[int | None, typer.Option("--max", help="No more than so many, by partition and offset.", min=1)]


@dlq_app.command("list")
def dlq_list(
    brokers: Brokers = None,
    code: Code = None,
    stage: StageOption = None,
    since: Since = None,
    partition: Partition = None,
    max_letters: MaxLetters = None,
    count: Annotated[bool, typer.Option("--count", help="Only how many of each code.")] = False,
    json: Json = False,
) -> None:
    """List dead letters: where they lie, where they come from, why; never their text."""
    settings = _settings(brokers=brokers)
    from stream.dead_letters import choose, show

    found = choose.select(settings, _selection(code=code, stage=stage, since=since, partition=partition, most=max_letters))
    (show.print_counts if count else show.print_list)(found, as_json=json)


@dlq_app.command("show")
def dlq_show(
    where: Annotated[str, typer.Argument(help="Place of a dead letter, as `list` prints it.", metavar="PARTITION/OFFSET")],
    brokers: Brokers = None,
    raw: Annotated[bool, typer.Option("--raw", help="Write the original bytes and nothing else.")] = False,
    json: Json = False,
) -> None:
    """Show one dead letter: its headers, key and bytes, escaped."""
    if raw and json:
        _fail("--raw writes the value's own bytes, which are no JSON. Next: give one of --raw and --json.", EXIT_USAGE)
    settings = _settings(brokers=brokers)
    from stream.contract import dead_letter
    from stream.dead_letters import choose, show

    show.print_letter(choose.at(settings, dead_letter.place(where)), raw=raw, as_json=json)


@dlq_app.command("replay")
def dlq_replay(
    where: Annotated[
        list[str] | None,
        typer.Argument(help="Places; all that the filters take unless given.", metavar="[PARTITION/OFFSET]..."),
    ] = None,
    brokers: Brokers = None,
    to: Annotated[str | None, typer.Option(help="Topic to send to; `content` unless given.", metavar="TOPIC")] = None,
    code: Code = None,
    stage: StageOption = None,
    since: Since = None,
    partition: Partition = None,
    max_letters: MaxLetters = None,
    most_replays: Annotated[int, typer.Option(help="Refuse what was replayed so often.", min=1, max=9999)] = 3,
    again: Annotated[bool, typer.Option("--again", help="Send also what was replayed before; needs places.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Send nothing; show what would be sent.")] = False,
    json: Json = False,
) -> None:
    """Send dead letters again, each once however often this is called."""
    settings = _settings(brokers=brokers)
    import dataclasses

    from stream.dead_letters import replay, show
    from stream.terminal import console

    selection = _selection(code=code, stage=stage, since=since, partition=partition, most=max_letters, places=where or ())
    if again and not selection.places:
        _fail(
            "--again would replay everything a second time. Next: name the places, as `tagstream dlq list` prints them.",
            EXIT_USAGE,
        )
    plan = replay.Plan(
        selection=selection,
        target=replay.target_of(settings, to),
        most_replays=most_replays,
        again=again,
        refused=show.refused,
        say=console.talk,
    )
    if dry_run:
        report = replay.preview(settings, plan, show=lambda letter, record: show.print_planned(letter, record, as_json=json))
    else:
        with console.progress("replaying", shown=True) as advance:
            report = replay.replay(settings, dataclasses.replace(plan, advance=advance))
    show.print_report(report, dry_run=dry_run, as_json=json)
    if report.refusals:
        raise typer.Exit(EXIT_FAILED)


def _selection(*, since: str | None, places: Sequence[str] = (), **filters: Any) -> "Selection":
    import time

    from stream.contract import dead_letter
    from stream.dead_letters import choose

    choose.check_filters(code=filters["code"], stage=filters["stage"])
    now_ms = int(time.time() * 1000)
    return dead_letter.Selection(
        since_ms=None if since is None else dead_letter.since_ms(since, now_ms),
        places=tuple(dead_letter.place(text) for text in places),
        **filters,
    )


@config.command("show")
def config_show(
    sources: Annotated[bool, typer.Option("--sources", help="Say where each value comes from.")] = False,
    json: Json = False,
) -> None:
    """Print every setting, its value and what it means."""
    from stream.cli.config import print_settings

    print_settings(_loaded(), sources=sources, as_json=json)


def _loaded(**flags: Any) -> "Loaded":
    from stream.settings.settings import load

    return load(os.environ, flags)


def _settings(**flags: Any) -> "Settings":
    return _loaded(**flags).settings


def _note(message: str) -> None:
    typer.echo(f"tagstream: {message}", err=True)


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(f"tagstream: {message}", err=True)
    raise typer.Exit(code)


def main() -> None:
    """Run the command; turn our errors into a sentence and an exit code."""
    output.own()
    try:
        try:
            app()
        finally:
            # What is still held back is refused here or at the interpreter's end, where it would be no sentence.
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output (head, less) has gone; nothing is left to say to it.
        output.let_go()
        sys.exit(EXIT_FAILED)
    # Errors that are a sentence for the person at the terminal carry their exit code; everything else is a bug and keeps its trace.
    except Exception as error:
        code = getattr(error, "exit_code", None)
        if isinstance(error, output.OutputError):
            output.let_go()
        if not isinstance(code, int):
            raise
        typer.echo(f"tagstream: {error}", err=True)
        sys.exit(code)


if __name__ == "__main__":
    main()
