"""What a page shows, ready for its template: texts and figures as they are printed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a person is asked; `kind` is a class of the style."""

    name: str
    sentence: str
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """
    One button: the tag that it sends and how it looks.

    Attributes:
        tag: The value that is sent.
        name: The text.
        key: The key that presses it; empty from the tenth label on.
        probability: The model's; None where it is hidden.
        guess: The model's own tag.
        stands: The answer that stands.
        apart: Not a label of the bundle.
    """

    tag: str
    name: str
    key: str
    probability: float | None = None
    guess: bool = False
    stands: bool = False
    apart: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Where an item's link leads, and its text: the host first."""

    address: str
    shown: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A reader's report, as the page shows it."""

    by: str
    tag: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """An event that is like the item; with a tag and a likeness if people have decided it."""

    event_id: str
    title: str
    tag: str = ""
    likeness: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemView:
    """All that the page of an item shows; `left_out` characters of its text are not on the page."""

    event_id: str
    token: str
    title: str
    description: str
    rest: str
    left_out: int
    source: str | None
    link: Link | None
    created_on: str | None
    reasons: tuple[Reason, ...]
    said: str
    choices: tuple[Choice, ...]
    note: str
    earlier: str
    may_skip: bool
    reports: tuple[Reported, ...]
    neighbours: tuple[Near, ...]
    twins: tuple[Near, ...]

    @property
    def rest_characters(self) -> str:
        """How much more there is to read."""
        return f"{len(self.rest):,}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The header's figures."""

    waiting: str
    oldest: str
    pace: str
    total: str
    agreement: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """The reviewer's newest answer, and what the model had said."""

    event_id: str
    title: str
    tag: str
    model: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnAnswer:
    """A row of the reviewer's answers."""

    title: str
    tag: str
    model: str
    note: str
    ago: str
    address: str
