"""A report as one page of HTML that needs nothing else: no script, no font, no address; light or dark as the reader's machine is."""

from html import escape
from pathlib import Path

from model_export.report.plots import colour_rules
from model_export.report.report import Block, Document, Gallery, Listing, Paragraph, Section, Table, Tiles

STYLE = Path(__file__).parent / "page.css"


def render(document: Document) -> str:
    """The document as one page."""
    sections = [_section(number, section) for number, section in enumerate(document.sections)]
    contents = "".join(
        f'<li><a href="#part-{number}">{escape(section.title)}</a></li>'
        for number, section in enumerate(document.sections)
        if section.title
    )
    return "\n".join([
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        # The page shows what was measured and must not be able to do anything.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>{escape(document.title)}</title>",
        f"<style>{colour_rules(':root')}\n{STYLE.read_text(encoding='utf-8')}</style>",
        "</head>",
        "<body>",
        f"<header><h1>{escape(document.title)}</h1><p class=quiet>bundle <code>{escape(document.digest)}</code></p>",
        f'<nav aria-label="Contents"><ul>{contents}</ul></nav></header>',
        "<main>",
        *sections,
        "</main>",
        "</body>",
        "</html>",
        "",
    ])  # fmt: skip


def _section(number: int, section: Section) -> str:
    heading = f"<h2>{escape(section.title)}</h2>" if section.title else ""
    return f'<section id="part-{number}">{heading}{"".join(_block(block) for block in section.blocks)}</section>'


def _block(block: Block) -> str:
    match block:
        case Paragraph():
            return f"<p>{escape(block.text)}</p>"
        case Tiles():
            return _tiles(block)
        case Table():
            return _table(block)
        case Listing():
            points = f"<ul>{''.join(f'<li>{escape(point)}</li>' for point in block.points)}</ul>"
            return f"<details><summary>{escape(block.folded)}</summary>{points}</details>" if block.folded else points
        case Gallery():
            return _gallery(block)


def _tiles(block: Tiles) -> str:
    tiles = "".join(
        f"<div><dt>{escape(tile.name)}</dt><dd>{escape(tile.figure)}</dd><dd class=note>{escape(tile.note)}</dd></div>"
        for tile in block.tiles
    )
    return f"<dl class=tiles>{tiles}</dl>"


def _table(table: Table) -> str:
    head = "".join(f"<th scope=col>{escape(name)}</th>" for name in table.head)
    rows = []
    for number, row in enumerate(table.rows):
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        strong = " class=strong" if number == table.strong else ""
        rows.append(f"<tr{strong}><th scope=row>{escape(row[0])}</th>{cells}</tr>")
    # Reachable by keyboard: on a phone a wide table is scrolled by itself.
    return (
        f'<div class=table tabindex=0 role=region aria-label="{escape(table.title)}"><table><caption>{escape(table.title)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _gallery(block: Gallery) -> str:
    figures = "".join(
        f"<figure><h3>{escape(shown.title)}</h3>{shown.picture.svg}<figcaption>{escape(shown.picture.sentence)}</figcaption></figure>"
        for shown in block.pictures
    )
    return f"<div class=gallery>{figures}</div>"
