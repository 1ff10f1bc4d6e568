"""`tagstream classify`: decide on a text or a file, without Kafka."""

import sys
from typing import Annotated

import typer

from stream.cli.exits import EXIT_FAILED, fail, note
from stream.cli.options import BundleFolder, Decider, DescriptionColumn, IdColumn, Json, Threshold, TitleColumn, settings
from stream.terminal.text import counted


def classify(
    what: Annotated[
        str, typer.Argument(help="A text, or a CSV or JSON Lines file, or - for standard input.", metavar="TEXT|FILE")
    ],
    json: Json = False,
    bundle: BundleFolder = None,
    threshold: Threshold = None,
    decider: Decider = None,
    title: TitleColumn = None,
    description: DescriptionColumn = None,
    event_id: IdColumn = None,
) -> None:
    """Tag a text or a file, without Kafka."""
    chosen = settings(bundle=bundle, confidence_threshold=threshold, decider=decider)
    from stream.batch import argument
    from stream.batch import classify as run
    from stream.batch.look import EXPECTED, form
    from stream.batch.rows import files
    from stream.batch.rows.columns import Columns
    from stream.batch.rows.row import Row
    from stream.batch.show import print_outcome
    from stream.contract.refusal import Refusal
    from stream.decide.from_settings import pipeline_of
    from stream.terminal import console

    is_file = argument.is_file(what)
    columns = Columns(title=title, description=description, id=event_id)
    if not is_file and argument.looks_like_a_path(what):
        note(f"{console.visible(what)} is taken for a text, since there is no such file")
    given = files.rows_of(what, columns) if is_file else iter([Row(1, argument.of_text(what))])
    rejected = done = 0
    hint = ""
    with console.progress(f"classifying {what}", shown=is_file) as advance:
        for classified in run.classify(pipeline_of(chosen), given):
            done += 1
            if isinstance(classified.outcome, Refusal):
                rejected += 1
                hint = hint or form(classified.row, classified.outcome)
            if json:
                console.show_json_line(classified.line)
            else:
                print_outcome(classified, of_file=is_file)
            advance()
    sys.stdout.flush()
    if not done:
        note(f"{'standard input' if what == '-' else what} has no row: nothing is classified")
    if rejected and not is_file:
        fail("the text is rejected; the output has the reason. Next: correct the text.", EXIT_FAILED)
    if rejected:
        hint = f"{hint} A plain text is an argument: tagstream classify 'TEXT'." if hint == EXPECTED else hint
        fail(
            f"{rejected} of {counted(done, 'row')} {'is' if rejected == 1 else 'are'} rejected. The output has the line and the reason of each. Next: correct them and run "
            f"again. {hint}".rstrip(),
            EXIT_FAILED,
        )
