"""The guidelines of the labels, shown beside the answers: the user's Markdown file, the shipped file, or a bundle's labels in words."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from tagstream.model_export.bundle import bundle
from tagstream.model_export.data.own.labels import of_record
from tagstream.model_export.data.reader import RowsError

SHIPPED = bundle.DEFAULT_BUNDLE.parents[1] / "corpus" / "guidelines.md"
MOST_BYTES = 256 * 1024
# A page already has headings of the first and the second level.
LEVELS_BELOW = 2
LEAST_IMPORTANT = 6


class GuidelinesError(Exception):
    """The file cannot be shown. The message gives the fault and the next step."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Guidelines:
    """
    The meaning of labels.

    Attributes:
        text: The guidelines as HTML; empty if there are no guidelines.
        labels: The labels that the text is about; None for any labels.
        opened: True for short guidelines, which are shown before a person asks for them.
    """

    text: Markup
    labels: frozenset[str] | None = None
    opened: bool = False

    def about(self, labels: Iterable[str]) -> Markup:
        """Return the text for an item with these labels; empty if the text is about other labels."""
        return self.text if self.labels is None or self.labels == frozenset(labels) else Markup()


NONE = Guidelines(text=Markup())


def shipped() -> Guidelines:
    """
    Return the guidelines by which the shipped bundle's rows were labelled, for items with the bundle's labels.

    Raises:
        BundleError: The shipped bundle is damaged.
        GuidelinesError: The shipped file is missing or damaged.
    """
    return Guidelines(text=read(SHIPPED), labels=frozenset(bundle.read(bundle.DEFAULT_BUNDLE).manifest.labels))


def of_bundle(folder: Path) -> Guidelines | None:
    """Return the sentences about labels that a bundle was begun with (`model start`); None without such a bundle, which is optional."""
    try:
        manifest, _ = bundle.read_manifest(folder)
        said = of_record(manifest.training, folder).labels
    except (bundle.BundleError, RowsError):
        return None
    line = Markup('<p dir="auto"><b><bdi>{}</bdi></b> {}</p>')
    text = Markup().join(line.format(label, words.about) for label, words in said.items())
    return Guidelines(text=text, labels=frozenset(said), opened=True)


def read(path: Path) -> Markup:
    """
    Return the guidelines as HTML, from CommonMark with tables. HTML in the file is shown as text, and pictures are left out.

    Raises:
        GuidelinesError: The file cannot be read, is not UTF-8, is empty, or is larger than 256 KiB.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
        text = raw.decode()
    except OSError as error:
        raise _refused(path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _refused(path, f"is not UTF-8 at byte {error.start}") from error
    if len(raw) > MOST_BYTES or not text.strip():
        raise _refused(path, f"is larger than {MOST_BYTES:,} bytes" if text.strip() else "is empty")
    return rendered(text)


def rendered(text: str) -> Markup:
    r"""
    Return Markdown as HTML for a page of the console.

    >>> print(rendered("# Labels\n`bug` is <b>not</b> a wish."), end="")
    <h3>Labels</h3>
    <p><code>bug</code> is &lt;b&gt;not&lt;/b&gt; a wish.</p>
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    tokens = parser.parse(text)
    for token in tokens:
        # A column's alignment would be an inline style, which the pages' Content-Security-Policy forbids.
        token.attrs.pop("style", None)
        if token.tag.startswith("h") and token.tag[1:].isdigit():
            token.tag = f"h{min(int(token.tag[1:]) + LEVELS_BELOW, LEAST_IMPORTANT)}"
        token.children = None if token.children is None else _without_relative_links(token.children)
    # The renderer escapes all text of the file, so no tag in the file becomes a tag of the page.
    return Markup(parser.renderer.render(tokens, parser.options, {}))  # noqa: S704


def _without_relative_links(tokens: Iterable[Token]) -> list[Token]:
    """Return the tokens without links to files beside the guidelines, which the console does not serve. The links' words stay."""
    kept, dropped = [], False
    for token in tokens:
        if token.type == "link_open":
            dropped = not urlsplit(str(token.attrs.get("href", ""))).scheme
        if not (dropped and token.type in {"link_open", "link_close"}):
            kept.append(token)
    return kept


def _refused(path: Path, fault: str) -> GuidelinesError:
    return GuidelinesError(f"the guidelines {path} {fault}. Next: give a Markdown file, or leave --guidelines out.")
