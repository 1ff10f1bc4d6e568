"""The `tagstream` command: its verbs, and how it ends.

A verb reads the settings, calls one function, prints, and gives an exit code. Its heavy imports are in its body, so
that `--help` answers at once. Data goes to stdout, sentences for people to stderr.
"""

import sys
from typing import Annotated

import typer

from stream.cli import classify, config, demo, dlq, drift, model, topic, worker
from stream.cli.doors import batch, contract, serve, tags
from stream.cli.exits import EXIT_FAILED, note
from stream.cli.people import lookup, quality, report, review
from stream.terminal import output

app = typer.Typer(
    name="tagstream",
    help="Tag machine-learning content on a Kafka topic; ask a person where the model is unsure; lose nothing.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    rich_markup_mode=None,
    epilog="Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 broker unreachable, 4 contract violated. A worker's: "
    "0 stopped, 1 bundle refused, circuit breaker opened, or not stopped in time, 70 it gave up, 14 its alarm ended it; both: start it again.",
)
for verb in (
    worker.worker,
    classify.classify,
    batch.batch,
    serve.serve,
    topic.send,
    topic.tail,
    report.report,
    lookup.lookup,
    tags.tags,
    quality.quality,
    demo.demo,
    worker.top,
    worker.doctor,
):
    app.command()(verb)
for name, group in (
    ("review", review.app),
    ("config", config.app),
    ("model", model.app),
    ("drift", drift.app),
    ("dlq", dlq.app),
    ("contract", contract.app),
):
    app.add_typer(group, name=name)


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
