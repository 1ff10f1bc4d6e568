"""The part of a crash guard that the delivery uses, and the stand-in for a worker without one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from stream.contract.publication import Decide, Publication
from stream.contract.record import Record
from stream.contract.refusal import Refusal


class DecideOrRefuse(Protocol):
    """One publication for each event, in their order; see `Pipeline.publications`."""

    def __call__(self, events: Sequence[Record], refusal: Refusal | None = None, /) -> list[Publication]:
        """Decide the events; given a refusal, read none of them and make a dead letter of each."""
        ...


class Report(Protocol):
    """Is told of the guard's state; never raises."""

    def __call__(self, *, active: bool, suspects: int) -> None:
        """Whether it works, and how many suspects it knows."""
        ...


def unreported(*, active: bool, suspects: int) -> None:
    """Report to no one."""


class Guard(Protocol):
    """The part of a crash guard that the delivery uses."""

    def suspects(self, partition: int, offset: int) -> bool:
        """Must this event be tried, with no other event in the model?"""
        ...

    def tried(self, event: Record, wanted: Callable[[], bool]) -> bool:
        """
        Try a suspect, so that `guarded` knows its outcome. Blocks, with a bound.

        Args:
            event: The suspect.
            wanted: Asked about ten times a second; once it says no, the trial is given up and counts for nothing.

        Returns:
            Whether its batch may begin; not if the trial was given up, because of `wanted` or because this process ends.
        """
        ...

    def guarded(self, decide: DecideOrRefuse) -> Decide:
        """`decide`, which first writes down the events that it is given, and does not read one that was tried. For several threads at once."""
        ...

    def excuse(self) -> None:
        """The process ends, and no event is to blame. From now on no event is written down."""
        ...

    def committed(self, offsets: Mapping[int, int]) -> None:
        """The group's offsets by partition: events before them are suspects no longer."""
        ...

    def close(self) -> None:
        """The process ends in good order."""
        ...


class Unguarded:
    """Implements `Guard` without a file: no event is written down, and none is a suspect."""

    def suspects(self, partition: int, offset: int) -> bool:  # noqa: ARG002
        """No."""
        return False

    def tried(self, event: Record, wanted: Callable[[], bool]) -> bool:  # noqa: ARG002
        """Yes."""
        return True

    def guarded(self, decide: DecideOrRefuse) -> Decide:
        """Return `decide` as it is."""
        return decide

    def excuse(self) -> None:
        """Do nothing."""

    def committed(self, offsets: Mapping[int, int]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
