"""The list of verbs in `--help` (in groups, each verb with its whole first sentence), and verbs that are imported on first use."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib import import_module
from inspect import getdoc
from typing import Any

import typer
from typer.core import TyperGroup
from typer.models import DefaultPlaceholder

# Characters of a sentence; more than any sentence has, so that the formatter wraps a sentence and Click does not cut it.
WHOLE = 1_000


class Verbs(TyperGroup):
    """A command with verbs. A verb's group in the help is its `rich_help_panel`. Groups come in the order of their first verbs."""

    def sentences(self) -> Iterator[tuple[str, str, str]]:
        """Yield each verb's name, group and first sentence."""
        for name, verb in self.commands.items():
            panel = getattr(verb, "rich_help_panel", None)
            yield name, panel if isinstance(panel, str) else "Commands", verb.get_short_help_str(WHOLE)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of verbs. Click calls this method."""
        del ctx
        groups: dict[str, list[tuple[str, str]]] = {}
        # The same columns in all groups.
        columns = max((len(name) for name in self.commands), default=0)
        for name, panel, sentence in self.sentences():
            groups.setdefault(panel, []).append((name.ljust(columns), sentence))
        for title, verbs in groups.items():
            with formatter.section(title):
                formatter.write_dl(verbs)


class _Imported(Mapping[str, Any]):
    """The verbs by name. A verb's module is imported when the verb is looked up, so that a worker loads no other verb."""

    def __init__(self, places: Mapping[str, Mapping[str, str]]) -> None:
        self._places = {name: (panel, place) for panel, verbs in places.items() for name, place in verbs.items()}
        self._found: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._found:
            panel, place = self._places[name]
            self._found[name] = _verb_at(place, name, panel)
        return self._found[name]

    def sentences(self) -> Iterator[tuple[str, str, str]]:
        """As `Verbs.sentences`, but from the verbs' docstrings. Building all verbs with their options would take most of a call's time."""
        for name, (panel, place) in self._places.items():
            verb = _declared_at(place)
            told = verb.info.help if isinstance(verb, typer.Typer) else getdoc(verb)
            first, period, _ = " ".join((told or "").split()).partition(". ")
            yield name, panel, first + period.rstrip()

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _declared_at(place: str) -> Any:
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)


def _verb_at(place: str, name: str, panel: str) -> Any:
    verb = _declared_at(place)
    holder = typer.Typer(rich_markup_mode=None)
    if isinstance(verb, typer.Typer):
        holder.add_typer(
            verb,
            name=name,
            cls=Verbs if isinstance(verb.info.cls, DefaultPlaceholder) else verb.info.cls,
            rich_help_panel=panel,
        )
    else:
        holder.command(name, rich_help_panel=panel)(verb)
    return typer.main.get_group(holder).commands[name]


def verbs_at(places: Mapping[str, Mapping[str, str]]) -> type[Verbs]:
    """
    Return a command class for `typer.Typer(cls=...)` that imports a verb when the verb is looked up.

    Args:
        places: Title of a group in `--help` -> verb -> `module:name` of the verb's function or, for a group of verbs, of its `typer.Typer`.
    """

    class Imported(Verbs):
        @cached_property
        def _verbs(self) -> _Imported:
            return _Imported(places)

        @property
        def commands(self) -> Any:
            """The verbs by name."""
            return self._verbs

        @commands.setter
        def commands(self, _: Any) -> None:
            """Ignore the value: Click sets the application's own verbs, and the application has none."""

        def sentences(self) -> Iterator[tuple[str, str, str]]:
            """As `Verbs.sentences`."""
            return self._verbs.sentences()

    return Imported
