"""The parse that tests of the project's own files use."""

import ast
import gc

from tests.sources import parsed

MANY_NODES = "x = [" + ",".join(f"f({number})" for number in range(500)) + "]"


class Garbage:
    """Parses from another depth when it is collected, as a traceback that is logged then does."""

    def __init__(self) -> None:
        """Be garbage that only the collector finds."""
        self.cycle = self

    def __del__(self) -> None:
        """Parse some frames deeper."""

        def parse(depth: int) -> None:
            if depth:
                parse(depth - 1)
            else:
                ast.parse("x = 1")  # noqa: TID251

        parse(20)


def test_a_parse_within_a_parse_does_no_harm() -> None:
    """CPython 3.11 raises SystemError in the outer one, which is tried again."""
    thresholds = gc.get_threshold()
    gc.collect()
    try:
        gc.set_threshold(100)
        Garbage()
        assert isinstance(parsed(MANY_NODES).body[0], ast.Assign)
    finally:
        gc.set_threshold(*thresholds)
