"""Observations of a challenger for tests: events, some of them disagreements, and people's answers on these."""

from collections.abc import Iterable

from tagstream.stream.contract.rollout_records import Guards
from tagstream.stream.rollout.evidence import Answered, Evidence, Observation, Shadowed

GUARDS = Guards(asked_at_least=0.5)


def event(
    number: int,
    challenger: str = "mlops",
    *,
    asks: tuple[bool, bool] = (False, False),
    probability: float | None = None,
    slices: frozenset[str] = frozenset(),
) -> Shadowed:
    """An event that the champion tags `mlops`; `asks` says whether champion and challenger send it to people."""
    return Shadowed(
        event_id=str(number),
        champion="mlops",
        challenger=challenger,
        champion_asks=asks[0],
        challenger_asks=asks[1],
        probability=probability,
        slices=slices,
    )


def answered(number: int, tag: str, *, version: int = 1, denies: bool = False, drawn: bool = True) -> Answered:
    """A person's answer on an event; it denies the published tag or not."""
    return Answered(event_id=str(number), tag=tag, denies=denies, order=(version, 0, "", tag), drawn=drawn)


def stream(  # each argument is a count of one kind
    *, events: int, won: int = 0, lost: int = 0, neither: int = 0, silent: int = 0, slices: frozenset[str] = frozenset()
) -> list[Observation]:
    """Events with asked disagreements: those that the challenger won or lost, that neither won, and that nobody answers."""
    tags = ["other"] * won + ["mlops"] * lost + ["computer-vision"] * neither
    asked = [event(number, "other", probability=1.0, slices=slices) for number in range(len(tags) + silent)]
    agreed = [event(number, slices=slices) for number in range(len(asked), events)]
    return [*asked, *agreed, *(answered(number, tag) for number, tag in enumerate(tags))]


def evidence(observations: Iterable[Observation] = (), *, guards: Guards = GUARDS, share: float | None = None) -> Evidence:
    """What these come to."""
    found = Evidence(guards=guards, labels=4, share=share)
    for one in observations:
        found.take(one)
    return found
