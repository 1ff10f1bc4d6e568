"""Options that several verbs share, a decorator that makes a verb of a record of options, and the settings that flags change."""

import inspect
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_type_hints

import typer

from tagstream.stream.cli.exits import EXIT_USAGE, fail

if TYPE_CHECKING:
    from tagstream.stream.settings.loading import Loaded
    from tagstream.stream.settings.settings import Settings


Record = TypeVar("Record")


def verb(record: type[Record]) -> Callable[[Callable[[Record], None]], Callable[..., None]]:
    """
    Return a decorator that makes a verb of a function with one argument, a record of options.

    The record is a dataclass. Each of its fields becomes an option or an argument with the field's default. A field that holds a record is
    replaced by the fields of that record.

    >>> from dataclasses import make_dataclass
    >>> Options = make_dataclass("Options", [("name", Annotated[str, typer.Option(help="Whom to greet.")], "Ada")])
    >>> greet = verb(Options)(lambda options: print(f"Hello {options.name}"))
    >>> greet(name="Grace")
    Hello Grace
    >>> inspect.signature(greet).parameters["name"].default
    'Ada'
    """
    parameters = list(_parameters(record))

    def of_record(run: Callable[[Record], None]) -> Callable[..., None]:
        @wraps(run)
        def taking(**given: Any) -> None:
            run(_filled(record, given))

        signature = inspect.Signature(parameters, return_annotation=None)
        annotations = {each.name: each.annotation for each in parameters}
        # Typer reads the options from these two attributes.
        vars(taking).update(__signature__=signature)
        taking.__annotations__ = annotations
        return taking

    return of_record


def given_of(options: object, mark: str) -> list[str]:
    """Return the names of the options that have this mark beside their type and that the user gave. A switch that is off was not given."""
    hints = get_type_hints(type(options), include_extras=True)
    named: list[str] = []
    for field in fields(options):  # type: ignore[arg-type] # any dataclass
        if mark not in getattr(hints[field.name], "__metadata__", ()):
            continue
        value = getattr(options, field.name)
        within = (
            {each.name: getattr(value, each.name) for each in fields(value)} if is_dataclass(value) else {field.name: value}
        )
        named += [name for name, found in within.items() if found is not None and found is not False and found != []]
    return [f"--{name.replace('_', '-')}" for name in named]


def _parameters(record: type[Any]) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(record, include_extras=True)
    for field in fields(record):
        hint = hints[field.name]
        nested = _record_of(hint)
        if nested is not None:
            yield from _parameters(nested)
            continue
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        yield inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def _filled(record: type[Record], given: Mapping[str, Any]) -> Record:
    values: dict[str, Any] = {}
    hints = get_type_hints(record, include_extras=True)
    for field in fields(record):  # type: ignore[arg-type] # any dataclass
        nested = _record_of(hints[field.name])
        if nested is not None:
            values[field.name] = _filled(nested, given)
        elif field.name in given:
            values[field.name] = given[field.name]
    return record(**values)


def _record_of(hint: Any) -> type[Any] | None:
    """Return the record class of a field's type; None if the field holds a plain value."""
    plain = getattr(hint, "__origin__", hint)
    return plain if isinstance(plain, type) and is_dataclass(plain) else None


def finite(given: float | None) -> float | None:
    """
    Refuse `nan` and `inf`. An option's `min` and `max` accept `nan`, and a wait of `inf` seconds never ends.

    Raises:
        BadParameter: The number is not finite.
    """
    if given is not None and not math.isfinite(given):
        msg = f"{given} is no finite number. Next: give one, or leave the option out."
        raise typer.BadParameter(msg)
    return given


def not_empty(given: str | None) -> str | None:
    """
    Refuse an empty name. An unset shell variable gives an empty name: `--group "$GROUP"`, `model inspect "$BUNDLE"`.

    Raises:
        BadParameter: The name is empty.
    """
    if given == "":
        msg = "it is empty. Next: give a name, or leave it out."
        raise typer.BadParameter(msg)
    return given


def path(given: str) -> Path:
    """
    Return the path that an option or argument names. An empty name is refused, because it would mean the working directory.

    Raises:
        BadParameter: The name is empty.
    """
    return Path(not_empty(given) or given)


Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Brokers = Annotated[str | None, typer.Option(help="Kafka brokers, host:port, comma-separated.", metavar="HOST:PORT")]
BundleFolder = Annotated[Path | None, typer.Option(help="Folder of the model bundle.", metavar="FOLDER", parser=path)]
ContentTopic = Annotated[
    str | None,
    typer.Option("--topic", help="Topic of events, if workers read several; topics.content unless given.", metavar="NAME"),
]
Decider = Annotated[
    Literal["model", "rules"] | None,
    typer.Option(help="model, or rules: keywords guess the tag, and every event goes to review."),
]
Threshold = Annotated[
    float | None,
    typer.Option(help="Confidence below which a person is asked; the bundle's thresholds unless given.", metavar="0..1"),
]
AsOf = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        help="Decide by the stream's champion of now, a time or an epoch, as `rollout log` has it.",
        metavar="now|TIME|EPOCH",
        callback=not_empty,
    ),
]
Idle = Annotated[
    float | None, typer.Option(help="Stop after this number of seconds without a record.", min=0.1, callback=finite)
]
TitleColumn = Annotated[str | None, typer.Option("--title", help="Column or field of the title.", metavar="NAME")]
DescriptionColumn = Annotated[
    str | None, typer.Option("--description", help="Column or field of the description.", metavar="NAME")
]
IdColumn = Annotated[str | None, typer.Option("--id", help="Column or field of the id.", metavar="NAME")]
# The values of tagstream.stream.demo.shifts.Shift, which is not imported, so that `--help` stays fast.
DriftKind = Annotated[
    Literal["none", "class-mix", "new-topic", "language", "no-description", "confidence"],
    typer.Option(help="How the samples drift."),
]
DriftAfter = Annotated[float, typer.Option(help="Seconds until the samples begin to drift.", min=0, callback=finite)]


def loaded(**flags: Any) -> "Loaded":
    """
    Load the settings and the origin of each setting. A flag that is None was not given.

    Raises:
        SettingsError: A value or a key is wrong.
    """
    from tagstream.stream.settings.loading import load

    return load(os.environ, flags)


def settings(**flags: Any) -> "Settings":
    """Load the settings. Flags take precedence over the environment, the file and the defaults."""
    return loaded(**flags).settings


def of_content(chosen: "Settings", topic: str | None) -> "Settings":
    """Return the settings of one topic of events, by default `topics.content`. End the command if workers do not read the topic."""
    if topic is not None and topic not in chosen.content_topics:
        known = ", ".join(chosen.content_topics)
        fail(
            f"workers read no topic {topic!r}. Next: name one of {known}, or set it in `contents` (docs/producers.md).",
            EXIT_USAGE,
        )
    return chosen.of_content(topic or chosen.topics.content)
