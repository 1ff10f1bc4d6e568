"""Options of the verbs that choose thresholds: the precision is promised of each label, of all together, or by a budget."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from stream.cli.options import finite

if TYPE_CHECKING:
    from model_export.bundle.promise.promise import Promise

PromiseOption = Annotated[
    Literal["overall", "per-label", "both"],
    typer.Option(help="Promise the precision of all published decisions together, of each label, or of both."),
]
Floor = Annotated[
    float,
    typer.Option(
        help="With --promise overall: the precision that no label may be seen to miss.", min=0.0, max=1.0, callback=finite
    ),
]
Budget = Annotated[
    float | None,
    typer.Option(
        help="Let people see this share of events, and certify the precision that this buys.",
        metavar="0..1",
        min=0.0,
        max=1.0,
        callback=finite,
    ),
]


def promise_of(
    kind: Literal["overall", "per-label", "both"], precision: float, floor: float, review_budget: float | None
) -> "Promise":
    """The promise that the options ask for."""
    from model_export.bundle.promise.promise import Promise

    return Promise(kind=kind, precision=precision, floor=floor, review_budget=review_budget)
