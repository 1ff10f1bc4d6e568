"""One labelled text from any file."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """
    One labelled text.

    Attributes:
        text: The composed text that a model reads.
        tag: The label. `corpus.NOT_ML` for a text that is not about machine learning; empty for an unlabelled text.
        source: The kind of file that the text comes from. Recipes set the sampling share of each source.
        topic: The subject. All rows of one topic are in the same part of the data.
        described: The text has a description beside its title.
        title: The title alone.
        register: One of `corpus.REGISTERS`, for authored rows only.
        tags: All labels of the text, including `tag`. Empty if `tag` is the only label.
        answered: The label is a person's answer about an event. The answer names one label and does not exclude others. Models are
            trained on such a row but not calibrated or measured on it, because a model chose the events that people answer.
        columns: Further columns of a user's file, as name and value. Figures can be sliced by these columns.
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
