"""The `tagstream` command: its verbs, and how it ends.

A verb reads the settings, calls one function, prints, and gives an exit code. Its heavy imports are in its body, so
that `--help` answers at once. Data goes to stdout, sentences for people to stderr.
"""

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from tagstream.stream.cli import broker, classify, demo, pages, topic, worker
from tagstream.stream.cli.doors import batch, serve, tags
from tagstream.stream.cli.exits import EXIT_FAILED, note
from tagstream.stream.cli.help import Verbs, imported_later
from tagstream.stream.cli.people import lookup, quality, report, review
from tagstream.stream.terminal import output

app = typer.Typer(
    name="tagstream",
    help="Tag machine-learning content on a Kafka topic; ask a person where the model is unsure; lose nothing.",
    cls=Verbs,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    rich_markup_mode=None,
    epilog="Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 broker unreachable, 4 contract violated. A worker's: "
    "0 stopped, 1 bundle refused, circuit breaker opened, or not stopped in time, 70 it gave up, 14 its alarm ended it; both: start it again."
    f"\n\n\b\nPages: docs/NAME.md in a message lies in\n{pages.folder()}",
)


def _group(words: str) -> typer.Typer:
    """A group of verbs, of which the help is known before its module is imported."""
    return typer.Typer(help=words, no_args_is_help=True, rich_markup_mode=None)


# The module of a group is imported once one of its verbs is looked for: a worker loads no verb of a rollout.
LATER = {
    "rollout": imported_later("tagstream.stream.cli.rollout"),
    "drift": imported_later("tagstream.stream.cli.drift"),
    "dlq": imported_later("tagstream.stream.cli.dlq"),
    "model": imported_later("tagstream.stream.cli.model"),
    "config": imported_later("tagstream.stream.cli.config"),
    "contract": imported_later("tagstream.stream.cli.doors.contract"),
}
# Verb or group of verbs -> its function or application, by what a person wants to do.
VERBS: dict[str, dict[str, Callable[..., None] | typer.Typer]] = {
    "Look at it first": {"demo": demo.demo, "classify": classify.classify, "doctor": worker.doctor, "broker": broker.broker},
    "Run the stream": {
        "worker": worker.worker,
        "review": review.app,
        "serve": serve.serve,
        "tags": tags.tags,
        "rollout": _group("Change the model of a running stream, and see which one decides."),
    },
    "Events in, decisions out": {"send": topic.send, "tail": topic.tail, "batch": batch.batch},
    "See how it goes": {
        "top": worker.top,
        "quality": quality.quality,
        "drift": _group("Learn what is ordinary; show drift findings."),
    },
    "One event": {
        "lookup": lookup.lookup,
        "report": report.report,
        "dlq": _group("Look at dead letters, correct them, and send them again."),
    },
    "Make it yours": {
        "model": _group("Make and inspect model bundles."),
        "config": _group("Look at the settings."),
        "contract": _group("The contract of the topics."),
    },
}
for panel, verbs in VERBS.items():
    for name, verb in verbs.items():
        if isinstance(verb, typer.Typer):
            app.add_typer(verb, name=name, cls=LATER.get(name, Verbs), rich_help_panel=panel)
        else:
            app.command(name, rich_help_panel=panel)(verb)


def _print_version(asked: bool) -> None:  # noqa: FBT001 - typer calls it so
    if asked:
        from tagstream.stream.cli.version import version

        typer.echo(f"tagstream {version()}")
        raise typer.Exit


@app.callback()
def _of_all_verbs(
    _version: Annotated[
        bool, typer.Option("--version", help="Print name and version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command; turn our errors into a sentence and an exit code."""
    output.own()
    try:
        try:
            app()
        finally:
            # A full disk may refuse the buffered rest: a sentence here, a traceback at the interpreter's end.
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output (head, less) has ended, which is no error to report.
        output.let_go()
        sys.exit(EXIT_FAILED)
    # Errors that carry an exit code are a sentence for the user; every other error is a bug and keeps its traceback.
    except Exception as error:
        code = getattr(error, "exit_code", None)
        if isinstance(error, output.OutputError):
            output.let_go()
        if not isinstance(code, int):
            raise
        note(str(error))
        sys.exit(code)


if __name__ == "__main__":
    main()
