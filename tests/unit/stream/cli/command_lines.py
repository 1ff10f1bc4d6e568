"""A command line of tagstream, read by its own parser and not carried out."""

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import typer
from typer.core import TyperCommand, TyperGroup

from tagstream.stream.cli.main import app

COMMAND = typer.main.get_command(app)


def parse(words: Sequence[str]) -> str:
    """
    The verb of a command line, without `tagstream` itself.

    Raises:
        TyperException: There is no such verb, option or value.
    """
    return _parse(COMMAND, list(words), "tagstream", None)


def _parse(command: TyperCommand | TyperGroup, words: list[str], name: str, parent: typer.Context | None) -> str:
    with command.make_context(name, words, parent=parent) as context:
        rest = [*context._protected_args, *context.args]
        if not isinstance(command, TyperGroup) or not rest:
            return name
        below = command.get_command(context, rest[0])
        if below is None:
            msg = f"{context.command_path} has no command {rest[0]}"
            raise typer.BadParameter(msg)
        return _parse(below, rest[1:], f"{name} {rest[0]}", context)


def commands_of(page: Path) -> Iterator[list[str]]:
    """
    The words behind `tagstream` of every command line on a page: a line that begins with `$`, `tagstream` in any of its parts.

    Variables before it, a path to it, pipes, redirections and comments are left out.
    """
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in re.findall(r"^\$ (.*\btagstream\b.*)$", text, re.MULTILINE):
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&<>()")
        lexer.whitespace_split = True
        part: list[str] = []
        for word in [*lexer, ";"]:
            if not set(word) <= set("|;&<>()"):
                part.append(word)
                continue
            while part and re.fullmatch(r"\w+=.*", part[0]):
                del part[0]
            if part and part[0].rpartition("/")[2] == "tagstream":
                yield part[1:]
            part = []
