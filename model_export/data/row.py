"""One labelled text, from whichever file it was read."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """
    One labelled text.

    Attributes:
        text: The composed text that a model reads.
        tag: Its label; `corpus.NOT_ML` for a text that is not about machine learning, empty for one that nobody labelled.
        source: The kind of file that it comes from; recipes set the share of draws by source.
        topic: The subject; all rows of one topic fall into the same part of the data.
        described: The text is more than a title.
        title: The title alone.
        register: One of `corpus.REGISTERS`, for authored rows only.
        tags: Every label that it carries, `tag` among them; empty where it carries `tag` alone.
        answered: It is a person's answer about an event, which says one label of it and nothing of others. It is learned from, and
            nothing is calibrated or measured on it: a model chose which events people were asked about.
        columns: Further columns of a user's file, as name and value; figures can be sliced by them.
    """

    text: str
    tag: str
    source: str
    topic: str
    described: bool = True
    title: str = ""
    register: str | None = None
    tags: tuple[str, ...] = ()
    answered: bool = False
    columns: tuple[tuple[str, str], ...] = ()
