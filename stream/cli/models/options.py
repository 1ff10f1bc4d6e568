"""Options that several verbs of `tagstream model` share: folders of bundles, columns of a file of rows, name and promise of a bundle."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tagstream.stream.cli.exits import EXIT_USAGE, fail
from tagstream.stream.cli.options import DescriptionColumn, TitleColumn, finite, not_empty, path

if TYPE_CHECKING:
    from tagstream.model_export.bundle.promise.promise import Promise
    from tagstream.model_export.data.own.read import OwnColumns
    from tagstream.model_export.make.recipe import BundleRecipe

# The layers of the base encoder. Equals `base_model.LAYERS`, which cannot be imported here: it needs the extra `export`.
MOST_LAYERS = 6

# The most characters of a bundle's name and of its version.
MOST_NAME = 100

BundleArgument = Annotated[
    Path | None,
    typer.Argument(help="Folder of the bundle; the settings' bundle unless given.", metavar="FOLDER", parser=path),
]
OutFolder = Annotated[Path, typer.Argument(help="Folder to write the bundle to.", metavar="FOLDER", parser=path)]
DataFolder = Annotated[
    Path | None, typer.Option(help="Folder with dataset.csv and holdout.csv.", metavar="FOLDER", parser=path)
]
MultilabelOption = Annotated[
    bool, typer.Option("--multilabel", help="Add a second head, which gives every label that a text is about (`tags`).")
]
Answers = Annotated[
    Path | None,
    typer.Option(
        help="Learn from people's answers too: a file of `tagstream review --export FILE --form rows`.",
        metavar="FILE",
        parser=path,
    ),
]
TagColumn = Annotated[
    str | None, typer.Option("--tag", help="Column of the label; `label` is found too.", metavar="NAME", parser=not_empty)
]
SourceColumn = Annotated[
    str | None, typer.Option("--source", help="Column of the kind of text.", metavar="NAME", parser=not_empty)
]


def _of_base(given: int | None) -> int | None:
    """
    Refuse a number of layers that cannot be cut from the base encoder.

    Raises:
        BadParameter: The number is below 1, or the base encoder has fewer layers.
    """
    if given is not None and not 1 <= given <= MOST_LAYERS:
        msg = (
            f"a network of {given} layers cannot be cut from the base encoder, all-MiniLM-L6-v2, which has {MOST_LAYERS}. "
            f"Next: give 1 to {MOST_LAYERS}."
        )
        raise typer.BadParameter(msg)
    return given


Layers = Annotated[
    int | None,
    typer.Option(
        help=f"Layers of the network, 1 to {MOST_LAYERS}: more layers are slower and more often right. Unless given, three or "
        "the bundle's number.",
        callback=_of_base,
    ),
]
Gold = Annotated[Path | None, typer.Option(help="Rows that are used only to measure.", metavar="FILE", parser=path)]
Base = Annotated[
    Literal["english", "multilingual"] | None,
    typer.Option(
        "--base", help="The encoder that learns: english unless given; multilingual needs --quick and the extra of its name."
    ),
]
# The value of --base for rows in languages other than English.
MULTILINGUAL = "multilingual"
Strict = Annotated[bool, typer.Option("--strict", help="Refuse rows with warnings too, and write nothing.")]
Allow = Annotated[
    list[str] | None,
    typer.Option(help="A kind of warning that --strict lets pass; can be repeated.", metavar="KIND", parser=not_empty),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnOptions:
    """The column names of the fields in a file of labelled rows. None means that the column has the field's own name."""

    title: TitleColumn = None
    description: DescriptionColumn = None
    tag: TagColumn = None
    split: Annotated[
        str | None,
        typer.Option("--split", help="Column of the part: train, calibration or test.", metavar="NAME", parser=not_empty),
    ] = None
    group: Annotated[
        str | None,
        typer.Option("--group", help="Column of the group, whose rows stay in one part.", metavar="NAME", parser=not_empty),
    ] = None
    source: SourceColumn = None

    def of_file(self, id: str | None = None) -> "OwnColumns":  # noqa: A002 - the field's name
        """Return the column names for the reader of a file."""
        from tagstream.model_export.data.own.read import OwnColumns

        return OwnColumns(
            title=self.title,
            description=self.description,
            tag=self.tag,
            split=self.split,
            group=self.group,
            source=self.source,
            id=id,
        )


def _short(given: str | None) -> str | None:
    """
    Refuse a name or a version that is empty, too long for a terminal's line or a record, or not printable.

    Raises:
        BadParameter: The name or the version is refused.
    """
    if given is not None and (len(given) > MOST_NAME or not given.isprintable()):
        msg = f"it has {len(given)} characters, or some that cannot be printed. Next: give at most {MOST_NAME} printable ones."
        raise typer.BadParameter(msg)
    return not_empty(given)


@dataclass(frozen=True, slots=True, kw_only=True)
class NameOptions:
    """The name and the version of a new bundle. Each decision of the bundle carries both."""

    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            help="Name of the bundle; the folder's name, or the shipped model's, unless given.",
            metavar="NAME",
            parser=_short,
        ),
    ] = None
    version: Annotated[
        str | None,
        typer.Option(
            "--version",
            help="Version of the bundle; counted up, or the shipped model's, unless given.",
            metavar="TEXT",
            parser=_short,
        ),
    ] = None

    def on(self, recipe: "BundleRecipe") -> "BundleRecipe":
        """Return the recipe with the given name and version; a value that is not given stays as it is."""
        return replace(recipe, name=self.name or recipe.name, version=self.version or recipe.version)


DataVersion = Annotated[
    str | None,
    typer.Option(
        "--data-version",
        help="Name of this version of the rows for the bundle's manifest, such as a date or a commit.",
        metavar="TEXT",
        parser=_short,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamesOptions(NameOptions):
    """The names of a new bundle and of its rows."""

    data_version: DataVersion = None

    def on(self, recipe: "BundleRecipe") -> "BundleRecipe":
        """Return the recipe with the given names; a name that is not given stays as it is."""
        rows = recipe.rows if self.data_version is None else replace(recipe.rows, version=self.data_version)
        # A class with slots is made anew, so `super()` without arguments would not find it.
        return replace(NameOptions.on(self, recipe), rows=rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseOptions:
    """The promise of a bundle: a precision of all published decisions, of each label, or the precision that a review budget buys."""

    precision: Annotated[
        float, typer.Option(help="Share of published decisions that must be right.", min=0.5, max=1.0, callback=finite)
    ] = 0.95
    promise: Annotated[
        Literal["overall", "per-label", "both"],
        typer.Option(help="Promise the precision of all published decisions together, of each label, or of both."),
    ] = "overall"
    floor: Annotated[
        float,
        typer.Option(
            help="With --promise overall: the precision that no label may be seen to miss; with --costs: the precision of each label "
            "that is certified.",
            min=0.0,
            max=1.0,
            callback=finite,
        ),
    ] = 0.9
    review_budget: Annotated[
        float | None,
        typer.Option(
            help="Let people see this share of events, and certify the precision that this buys.",
            metavar="0..1",
            min=0.0,
            max=1.0,
            callback=finite,
        ),
    ] = None

    costs: Annotated[
        Path | None,
        typer.Option(
            help="Choose each label's threshold by the prices in this file, as in costs.toml, where --floor of the label is certified.",
            metavar="FILE",
            parser=path,
        ),
    ] = None

    def asked(self) -> "Promise":
        """
        Return the promise that the options ask for.

        Raises:
            CostsError: The file of prices cannot be used.
        """
        from tagstream.model_export.bundle.promise.promise import Promise

        if self.costs is not None:
            return self._by_costs(self.costs)
        return Promise(kind=self.promise, precision=self.precision, floor=self.floor, review_budget=self.review_budget)

    def _by_costs(self, file: Path) -> "Promise":
        from tagstream.model_export.calibrate.priced_promise import PricedPromise
        from tagstream.monitoring.quality import costs

        if replace(self, costs=None, floor=PromiseOptions().floor) != PromiseOptions():
            fail(
                "--costs chooses each label's threshold by its price, in place of one promise. Next: leave out --precision, --promise "
                "and --review-budget, or --costs; --floor is the precision that each label has in any case.",
                EXIT_USAGE,
            )
        if not 0.0 < self.floor < 1.0:
            fail(
                f"no label's precision can be certified to be {self.floor:g}. Next: give a --floor between 0 and 1; at 0.01 the prices "
                "decide almost alone.",
                EXIT_USAGE,
            )
        found = costs.read_file(file)
        found.of_item()
        return PricedPromise(kind="per-label", precision=self.floor, floor=self.floor, costs=found)
