"""`tagstream classify`: tags a text or a file, without Kafka."""

import sys
from contextlib import ExitStack
from typing import Annotated

import typer

from tagstream.stream.cli.exits import EXIT_FAILED, fail, note
from tagstream.stream.cli.options import (
    AsOf,
    BundleFolder,
    ContentTopic,
    Decider,
    DescriptionColumn,
    IdColumn,
    Json,
    Threshold,
    TitleColumn,
    of_content,
    settings,
)
from tagstream.stream.terminal.text import counted


def classify(
    what: Annotated[
        str, typer.Argument(help="A text, or a CSV or JSON Lines file, or - for standard input.", metavar="TEXT|FILE")
    ],
    json: Json = False,
    bundle: BundleFolder = None,
    as_of: AsOf = None,
    threshold: Threshold = None,
    decider: Decider = None,
    title: TitleColumn = None,
    description: DescriptionColumn = None,
    event_id: IdColumn = None,
    topic: ContentTopic = None,
) -> None:
    """Tag a text or a file, without Kafka."""
    chosen = of_content(settings(bundle=bundle, confidence_threshold=threshold, decider=decider), topic)
    from tagstream.model_export.data.reader import Columns, InputRow, open_lines
    from tagstream.stream.batch.classify import is_file, looks_like_a_path, of_text, print_outcome
    from tagstream.stream.batch.row_survey import EXPECTED, form
    from tagstream.stream.batch.run import Rejected, decided
    from tagstream.stream.cli.as_of import decider_of_stream
    from tagstream.stream.decide.from_settings import pipeline_of
    from tagstream.stream.terminal import console

    of_file = is_file(what)
    columns = Columns(title=title, description=description, id=event_id)
    if not of_file and looks_like_a_path(what):
        note(f"{console.visible(what)} is taken for a text, since there is no such file")
    in_force = None if as_of is None else decider_of_stream(chosen, as_of, bundle=bundle, threshold=threshold)
    rejected = done = 0
    hint = ""
    with ExitStack() as stack:
        file = stack.enter_context(open_lines(what, columns)) if of_file else None
        as_in_topic = file is not None and file.header is None and not columns.of_file
        given = iter([InputRow(1, of_text(what))]) if file is None else file.rows()
        pipeline = pipeline_of(chosen if as_in_topic else chosen.with_columns, decider=in_force)
        advance = stack.enter_context(console.progress(f"classifying {what}", shown=of_file))
        for found in decided(pipeline, given):
            done += 1
            if isinstance(found, Rejected):
                rejected += 1
                hint = hint or form(found.row, found.refusal)
            if json:
                console.show_json_line(found.answer)
            else:
                print_outcome(found, of_file=of_file)
            advance()
    sys.stdout.flush()
    if not done:
        note(f"{'standard input' if what == '-' else what} has no row: nothing is classified")
    if rejected and not of_file:
        fail("the text is rejected; the output has the reason. Next: correct the text.", EXIT_FAILED)
    if rejected:
        hint = f"{hint} A plain text is an argument: tagstream classify 'TEXT'." if hint == EXPECTED else hint
        fail(
            f"{rejected} of {counted(done, 'row')} {'is' if rejected == 1 else 'are'} rejected. The output has the line and the reason of each. Next: correct them and run "
            f"again. {hint}".rstrip(),
            EXIT_FAILED,
        )
