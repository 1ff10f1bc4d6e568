"""The `tagstream` command: its verbs, and the handling of its errors.

A verb reads the settings, calls one function, prints the result, and returns an exit code. The heavy imports are in the verb's body, so
that `--help` answers at once. Data goes to stdout, and sentences for people go to stderr.
"""

import sys
from typing import Annotated

import typer

from tagstream.stream.cli import pages
from tagstream.stream.cli.exits import EXIT_FAILED, EXIT_USAGE, lacking, note
from tagstream.stream.cli.help import verbs_at
from tagstream.stream.terminal import output

# Group in the help -> verb -> place of the verb's function or, for a group of verbs, of its Typer application.
_CLI = "tagstream.stream.cli."
VERBS = {
    "Look at it first": {
        "demo": f"{_CLI}demo:demo",
        "classify": f"{_CLI}classify:classify",
        "doctor": f"{_CLI}worker:doctor",
        "broker": f"{_CLI}broker:broker",
    },
    "Run the stream": {
        "worker": f"{_CLI}worker:worker",
        "review": f"{_CLI}people.review:review",
        "serve": f"{_CLI}doors.serve:serve",
        "tags": f"{_CLI}doors.tags:tags",
        "rollout": f"{_CLI}rollout:app",
    },
    "Events in, decisions out": {
        "send": f"{_CLI}topic:send",
        "tail": f"{_CLI}topic:tail",
        "batch": f"{_CLI}doors.batch:batch",
    },
    "See how it goes": {
        "top": f"{_CLI}worker:top",
        "quality": f"{_CLI}people.quality:quality",
        "drift": f"{_CLI}drift:drift",
    },
    "One event": {
        "lookup": f"{_CLI}people.lookup:lookup",
        "report": f"{_CLI}people.report:report",
        "dlq": f"{_CLI}dlq:app",
    },
    "Make it yours": {
        "model": f"{_CLI}model:app",
        "config": f"{_CLI}config:app",
        "contract": f"{_CLI}doors.contract:app",
    },
}
app = typer.Typer(
    name="tagstream",
    help="Tag machine-learning content on a Kafka topic; ask a person where the model is unsure; lose nothing.",
    cls=verbs_at(VERBS),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    rich_markup_mode=None,
    epilog="Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 broker unreachable, 4 contract violated. A worker's: "
    "0 stopped, 1 bundle refused, circuit breaker opened, or not stopped in time, 70 it gave up, 14 its alarm ended it; both: start it again."
    f"\n\n\b\nPages: docs/NAME.md in a message lies in\n{pages.folder()}",
)


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
    """Run the command. Turn tagstream's own errors into a sentence and an exit code."""
    output.own()
    try:
        try:
            app()
        finally:
            # A full disk may refuse the buffered rest. A flush here gives a sentence; the interpreter's flush at exit gives a traceback.
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output (head, less) has ended. This is not an error to report.
        output.let_go()
        sys.exit(EXIT_FAILED)
    except ModuleNotFoundError as error:
        # A verb that asks brokers, in an installation that only decides.
        from tagstream.model_export.extras import OF_WORKER

        if (error.name or "").partition(".")[0] not in OF_WORKER:
            raise
        note(lacking("this command", error, "worker"))
        sys.exit(EXIT_USAGE)
    # An error with an exit code is a sentence for the user. Every other error is a bug and keeps its traceback.
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
