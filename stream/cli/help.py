"""How `--help` lists verbs: in groups, each with its whole first sentence; and groups that are imported once they are asked for."""

from collections.abc import MutableMapping
from functools import cache
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

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


def imported_later(module: str) -> type[Verbs]:
    """
    The group of a module's verbs, for `typer.Typer.add_typer`; the module is imported when one of them is looked for.

    Args:
        module: Its name; its `app` has the verbs.
    """

    @cache
    def verbs() -> MutableMapping[str, Any]:
        group: Any = typer.main.get_group(import_module(module).app)
        return dict(group.commands)

    class Later(Verbs):
        @property
        def commands(self) -> MutableMapping[str, Any]:
            """The verbs by name."""
            return verbs()

        @commands.setter
        def commands(self, _: MutableMapping[str, Any]) -> None:
            """Take none: Click sets those of the empty application that stands in for the module's."""

    return Later
