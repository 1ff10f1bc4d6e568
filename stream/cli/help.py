"""How `--help` lists verbs: in groups, each with its whole first sentence; and verbs that are imported once they are asked for."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.models import DefaultPlaceholder

# Longer than any sentence: the formatter wraps a line, where Click would cut it.
WHOLE = 1_000


class Verbs(TyperGroup):
    """A command with verbs below it. The groups are their `rich_help_panel`, in the order in which each first comes."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the verbs, as Click calls it."""
        del ctx
        groups: dict[str, list[tuple[str, str]]] = {}
        # The same columns in all groups.
        columns = max((len(name) for name in self.commands), default=0)
        for name, verb in self.commands.items():
            panel = getattr(verb, "rich_help_panel", None)
            group = groups.setdefault(panel if isinstance(panel, str) else "Commands", [])
            group.append((name.ljust(columns), verb.get_short_help_str(WHOLE)))
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

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _verb_at(place: str, name: str, panel: str) -> Any:
    module, _, attribute = place.partition(":")
    verb = getattr(import_module(module), attribute)
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

    return Imported
