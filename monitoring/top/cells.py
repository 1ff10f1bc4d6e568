"""Parts of a terminal line: a bar, a text of fixed width, two texts at the ends of a line."""

from rich.cells import cell_len, set_cell_size
from rich.text import Text

FULL, EMPTY, MARK = "━", "─", "┃"
# Dim rather than bright black, which some colour schemes give the colour of the background.
QUIET = "dim"


def bar(value: float | None, mark: float | None, most: float, columns: int, style: str) -> Text:
    """A bar with a mark at the reference or the limit."""
    filled = min(columns, round((value or 0.0) / most * columns))
    drawn = Text.assemble((FULL * filled, style), (EMPTY * (columns - filled), QUIET))
    if mark is None:
        return drawn
    at = min(columns - 1, round(mark / most * columns))
    return Text.assemble(drawn[:at], (MARK, "bold"), drawn[at + 1 :])


def fitted(text: str, columns: int) -> str:
    """A text in exactly this many columns, with an ellipsis if it was cut."""
    columns = max(1, columns)
    return set_cell_size(text if cell_len(text) <= columns else set_cell_size(text, columns - 1) + "…", columns)


def cut(line: Text, columns: int) -> Text:
    """A copy of a line in exactly this many columns."""
    short = line.copy()
    short.truncate(columns, overflow="ellipsis", pad=True)
    return short


def ends(left: Text, right: Text, width: int) -> Text:
    """Two texts at the ends of a line; if they do not fit, the left one is cut."""
    room = max(0, width - cell_len(right.plain) - 1)
    return Text.assemble(cut(left, room), " ", right)
