"""Facts about second opinions: what the second said of an item and what followed, and what people said."""

from dataclasses import dataclass

Place = tuple[int, str]
"""Where an item is in the order: the time of its opinion, in milliseconds, and its event's id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """
    A kind of opinions that is certified by itself.

    Attributes:
        label: The second's label.
        agrees: Whether it is the model's label too.
        band: The band of the second's score, 0 for the lowest.
    """

    label: str
    agrees: bool
    band: int = 0


@dataclass(frozen=True, slots=True)
class Cells:
    """
    All cells. They are fixed before the first answer: the risk is divided by their number.

    Attributes:
        labels: The labels that the second may give.
        bands: The scores at which a new band begins, ascending, above 0 and at most 1; none if the second gives no scores.
    """

    labels: tuple[str, ...]
    bands: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """
        Check the labels and the bands.

        Raises:
            ValueError: There are fewer than two labels, a label is there twice, or the bands do not ascend from 0 to 1.
        """
        if len(set(self.labels)) != len(self.labels) or len(self.labels) < 2:  # noqa: PLR2004
            msg = f"the labels {list(self.labels)} make no cells: give two or more, each once"
            raise ValueError(msg)
        if list(self.bands) != sorted(set(self.bands)) or not all(0 < band <= 1 for band in self.bands):
            msg = f"the score bands {list(self.bands)} do not ascend between 0 and 1: give such as [0.8, 0.95]"
            raise ValueError(msg)

    def __len__(self) -> int:
        """Return the number of cells."""
        return 2 * len(self.labels) * (len(self.bands) + 1)

    def of(self, label: str, *, agrees: bool, score: float | None = None) -> Cell:
        """
        Return the cell of an opinion. Without a score it is in the lowest band.

        >>> Cells(("a", "b"), bands=(0.8, 0.95)).of("a", agrees=False, score=0.9).band
        1
        """
        return Cell(label=label, agrees=agrees, band=0 if score is None else sum(score >= band for band in self.bands))

    def every(self) -> tuple[Cell, ...]:
        """Return all cells, by label, agreement and band."""
        bands = range(len(self.bands) + 1)
        return tuple(
            Cell(label=label, agrees=agrees, band=band) for label in self.labels for agrees in (True, False) for band in bands
        )

    def __contains__(self, cell: Cell) -> bool:
        """Return whether it is one of the cells."""
        return cell.label in self.labels and 0 <= cell.band <= len(self.bands)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """
    One opinion of the second, and what followed from it.

    Attributes:
        event_id: The event's id.
        at_ms: The time that the opinion's record says, in milliseconds.
        fingerprint: Which second gave it.
        cell: Its cell; None if the second gave no opinion, and the item went to people.
        settled: Whether the item was settled without waiting for a person.
        probability: The probability with which people are asked about the item: 1 if it was not settled, else that of an audit.
        asked: Whether people are asked.
    """

    event_id: str
    at_ms: int
    fingerprint: str
    cell: Cell | None
    settled: bool = False
    probability: float = 1.0
    asked: bool = True

    @property
    def place(self) -> Place:
        """Where the item is in the order."""
        return self.at_ms, self.event_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """
    One answer of a person.

    Attributes:
        event_id: The event's id.
        at_ms: The time that the answer's record says, in milliseconds.
        label: The label that the person gave; None for none of the labels.
        version: The answer's version. Of several answers of one event the highest counts, then the latest.
        is_blind: False for a correction: its person may have seen the opinion. It counts only if no other answer is known.
    """

    event_id: str
    at_ms: int
    label: str | None
    version: int = 1
    is_blind: bool = True

    @property
    def rank(self) -> tuple[bool, int, int, str]:
        """The place among the answers on the event: the greatest counts."""
        return self.is_blind, self.version, self.at_ms, self.label or ""
