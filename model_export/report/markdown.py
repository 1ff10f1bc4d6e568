"""A report as Markdown, with its pictures as files beside it."""

from model_export.report.report import Block, Document, Gallery, Listing, Paragraph, Table, Tiles

# What a cell or a sentence must not mean by accident.
_ESCAPED = str.maketrans({character: f"\\{character}" for character in "\\|*_`<>[]"})


def render(document: Document) -> str:
    """The document as one Markdown text."""
    parts = [f"# {_text(document.title)}", f"Bundle `{document.digest}`"]
    for section in document.sections:
        if section.title:
            parts.append(f"## {_text(section.title)}")
        parts += [_block(block) for block in section.blocks]
    return "\n\n".join(parts) + "\n"


def _block(block: Block) -> str:
    match block:
        case Paragraph():
            return _text(block.text)
        case Tiles():
            return "\n".join(f"- {_text(tile.name)}: **{_text(tile.figure)}** ({_text(tile.note)})" for tile in block.tiles)
        case Table():
            return _table(block)
        case Listing():
            points = "\n".join(f"- {_text(point)}" for point in block.points)
            return f"**{_text(block.folded)}**\n\n{points}" if block.folded else points
        case Gallery():
            return "\n\n".join(
                f"**{_text(shown.title)}**\n\n![{_text(shown.picture.sentence)}]({shown.picture.name}.svg)"
                for shown in block.pictures
            )


def _table(table: Table) -> str:
    lines = [f"**{_text(table.title)}**", "", _row(table.head), _row(("---", *["---:"] * (len(table.head) - 1)))]
    for number, row in enumerate(table.rows):
        cells = [_text(cell) for cell in row]
        lines.append(_row([f"**{cells[0]}**", *cells[1:]] if number == table.strong else cells))
    return "\n".join(lines)


def _row(cells: "tuple[str, ...] | list[str]") -> str:
    return f"| {' | '.join(cells)} |"


def _text(text: str) -> str:
    return text.translate(_ESCAPED)
