"""How `--help` lists verbs: in groups, each with its whole first sentence; and verbs that are imported once they are asked for."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib import import_module
from inspect import getdoc
from typing import Any

import typer
from typer.core import TyperGroup
from typer.models import DefaultPlaceholder

# Longer than any sentence: the formatter wraps a line, where Click would cut it.
WHOLE = 1_000


class Verbs(TyperGroup):
    """A command with verbs below it. The groups are their `rich_help_panel`, in the order in which each first comes."""

    def sentences(self) -> Iterator[tuple[str, str, str]]:
        """Each verb's name, its group, and its first sentence."""
        for name, verb in self.commands.items():
            panel = getattr(verb, "rich_help_panel", None)
            yield name, panel if isinstance(panel, str) else "Commands", verb.get_short_help_str(WHOLE)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the verbs, as Click calls it."""
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
        """As `Verbs.sentences`, from the verbs' docstrings: to make the verbs with all their options takes longer than all the rest."""
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
    The class of a command, for `typer.Typer(cls=...)`, whose verbs are imported when they are looked up.

    Args:
        places: By title of a group in `--help`, and by verb: `module:name` of its function, or of the `typer.Typer` of its own verbs.
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
            """Take none: Click sets those of the application, which has none of its own."""

        def sentences(self) -> Iterator[tuple[str, str, str]]:
            """As `Verbs.sentences`."""
            return self._verbs.sentences()

    return Imported
