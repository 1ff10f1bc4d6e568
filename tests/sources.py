"""Python files as syntax trees, for tests of how the project is written."""

import ast

TRIES = 10


def parsed(source: str | bytes) -> ast.Module:
    """
    Parse the text of a file.

    CPython 3.11 raises SystemError if other code is parsed within a parse (python/cpython#106905): the garbage that is collected within it
    may log a traceback, and a traceback parses the lines that it shows. The next try finds that garbage gone.
    """
    for _ in range(TRIES - 1):
        try:
            return ast.parse(source)  # noqa: TID251
        except SystemError:
            continue
    return ast.parse(source)  # noqa: TID251
