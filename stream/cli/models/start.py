"""`tagstream model start` makes a bundle of labels that have no labelled rows yet; `grow` makes a better bundle of people's answers."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tagstream.stream.cli.exits import EXIT_USAGE, fail
from tagstream.stream.cli.models.options import MULTILINGUAL, NamesOptions, PromiseOptions
from tagstream.stream.cli.options import DescriptionColumn, TitleColumn, path, verb
from tagstream.stream.terminal import console

if TYPE_CHECKING:
    from tagstream.model_export.bundle.bundle import Bundle
    from tagstream.model_export.data.row import Row
    from tagstream.model_export.make.recipe import BundleRecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """The options of `tagstream model start`."""

    out: Annotated[Path, typer.Argument(help="Folder to write the bundle to.", metavar="OUT", parser=path)]
    labels: Annotated[
        Path,
        typer.Option(
            help="TOML: for each label a table [labels.NAME] with `about`, a sentence or two; keywords and examples may follow.",
            metavar="FILE",
            parser=path,
        ),
    ]
    texts: Annotated[
        Path | None,
        typer.Option(
            help="Texts of the stream without labels (CSV, JSON Lines or Parquet): the live stream is compared with them.",
            metavar="FILE",
            parser=path,
        ),
    ] = None
    title: TitleColumn = None
    description: DescriptionColumn = None
    base: Annotated[
        Literal["english", "multilingual"] | None,
        typer.Option(
            "--base",
            help="The encoder, which later bundles keep: english unless given; multilingual needs the extra of its name.",
        ),
    ] = None
    named: NamesOptions = field(default_factory=NamesOptions)


@verb(StartOptions)
def start(options: StartOptions) -> None:
    """
    Make a first bundle of labels described in words, before there are labelled rows. Needs the extra `export`.

    The bundle publishes nothing: all events go to people, each with a suggestion. `tagstream model grow` makes a better bundle of people's
    answers.
    """
    from tagstream.stream.cli.models.needs import note_replaced, require_export, require_multilingual

    note_replaced(options.out)
    from tagstream.model_export.data.own import labels

    words, texts = labels.read(options.labels), _texts(options)
    multilingual = options.base == MULTILINGUAL
    if multilingual:
        require_multilingual()
    require_export(level="warning")
    from tagstream.model_export.bundle.promise.promise import Promise
    from tagstream.model_export.make import recipe

    of = recipe.started(words, texts, Promise(), name=options.out.resolve().name, multilingual=multilingual)
    made = _make(options.out, options.named.on(of))
    console.show(
        "\n".join(
            [
                _made(made, f"{len(words.labels)} labels in words, {len(texts):,} texts of the stream"),
                "it publishes nothing, since no answer has certified a label: all events go to people, each with a suggestion",
                f"next: tagstream worker --bundle {options.out}",
                "      tagstream review                                            answer sixty or so; the most informative come first",
                "      tagstream review --export answers.jsonl --form rows",
                f"      tagstream model grow {options.out} {_after(options.out)} --answers answers.jsonl",
            ]
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowOptions:
    """The options of `tagstream model grow`."""

    begun: Annotated[Path, typer.Argument(help="A bundle of `model start` or `model grow`.", metavar="BUNDLE", parser=path)]
    out: Annotated[Path, typer.Argument(help="Folder to write the new bundle to.", metavar="OUT", parser=path)]
    answers: Annotated[
        Path,
        typer.Option(
            help="All answers of people: a file of `tagstream review --export FILE --form rows`.", metavar="FILE", parser=path
        ),
    ]
    promise: PromiseOptions = field(default_factory=PromiseOptions)
    named: NamesOptions = field(default_factory=NamesOptions)


@verb(GrowOptions)
def grow(options: GrowOptions) -> None:
    """
    Make a better bundle of labels described in words and of people's answers. Needs the extra `export`.

    The bundle learns from the words and from all answers. It publishes only decisions that the randomly drawn answers certify. The command
    prints for each label the number of answers, and about how many answers are missing.
    """
    from tagstream.stream.cli.models.needs import note_replaced, require_export

    if options.out.resolve() == options.begun.resolve():
        fail(f"{options.out} is the bundle itself. Next: name another folder to write the new one to.", EXIT_USAGE)
    note_replaced(options.out)
    from tagstream.model_export.bundle import bundle
    from tagstream.model_export.data.own import answers, first_answers, labels

    begun = bundle.read(options.begun)
    words = labels.of_record(begun.manifest.training, options.begun)
    said = first_answers.sort_out(words, answers.read(options.answers))
    require_export(level="warning")
    from tagstream.model_export.make import progress, recipe

    of = recipe.grown(begun, words, said, options.promise.asked(), name=options.out.resolve().name)
    made = _make(options.out, options.named.on(of))
    console.show(_made(made, f"{len(words.labels)} labels in words, and {len(said.rows):,} answers"))
    found = progress.table(made.manifest)
    if found is not None:
        console.show_table(found.title, found.head, found.rows, note=found.note)
    if said.none or said.left_out:
        console.show(
            f"{len(said.none):,} answers say none of the labels; {said.left_out:,} repeat others or contradict them, and are left out"
        )
    from tagstream.stream.cli.show.bundle import published

    console.show(published(made.manifest))
    console.show(f"next: tagstream worker --bundle {options.out}; answer sixty more, export all, and grow again")


def _texts(options: StartOptions) -> "tuple[Row, ...]":
    from tagstream.model_export.data.own.none_texts import read_none
    from tagstream.model_export.data.own.read import OwnColumns

    if options.texts is None:
        return ()
    rows = read_none(options.texts, OwnColumns(title=options.title, description=options.description)).rows
    return tuple(own.row for own in rows if own.row.text.strip())


def _make(out: Path, of: "BundleRecipe") -> "Bundle":
    from tagstream.model_export.make import steps
    from tagstream.model_export.train.work import Work
    from tagstream.stream.terminal import progress

    with progress.stages() as tell:
        return steps.make(out, of, Work(None, tell)).bundle


def _made(made: "Bundle", of: str) -> str:
    return f"{made.manifest.name} {made.manifest.version}, digest {made.digest[:12]}, in {made.path}: of {of}"


def _after(out: Path) -> Path:
    """Return a folder for the next bundle."""
    return out.with_name(f"{out.name}-2")
