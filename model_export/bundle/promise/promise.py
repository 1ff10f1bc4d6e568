"""The promise of a bundle in its manifest: thresholds with their certificates, the prior, and the other bargains."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

# The threshold of a label that the model never decides alone: the smallest published number above every confidence.
ALWAYS_ASK = 1.0001
# A certificate that needs more labelled rows than this is out of reach.
MOST_LABELS = 100_000
# The default of `Promise.floor`, for a promise about all labels together.
FLOOR = 0.90

# No cost is negative.
Cost = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Rows = Annotated[int, msgspec.Meta(ge=0)]
PromiseKind = Literal["per-label", "overall", "both"]
PriorSource = Literal["balanced", "rows", "given", "labels", "decisions"]


# The limit of every promise: a confidence says which of the labels a text is about, provided that it is about one of them.
FOR_TEXTS = "for texts about these labels"


def certainty(level: float) -> str:
    """
    A level of certainty as a text, rounded down, so that it never reads 100 %.

    >>> certainty(0.95), certainty(0.959459), certainty(0.999999), certainty(1.0)
    ('95.00%', '95.94%', '99.99%', '99.99%')
    """
    return f"{min(math.floor(level * 1e4 + 1e-6), 9999) / 1e4:.2%}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """
    The promise that a bundle must prove.

    Attributes:
        kind: `per-label` for a promise about each label, `overall` about all published decisions together, or `both`.
        precision: The share of right decisions to prove, 0 to 1.
        floor: The least observed precision of each label, if the promise is `overall`; `both` takes `precision`.
        review_budget: The share of events that people can look at, 0 to 1. It determines one confidence for all labels, and so the precision.
            None if `precision` determines the confidence.
    """

    kind: PromiseKind = "overall"
    precision: float = 0.95
    floor: float = FLOOR
    review_budget: float | None = None

    @property
    def least(self) -> float:
        """The least observed precision of each label."""
        return self.precision if self.kind == "both" else min(self.floor, self.precision)


# Defaults are not written: a new option leaves the bytes of bundles without it.
class Threshold(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """
    One confidence for all labels together and the evidence for it. A bundle without `thresholds` routes by this confidence.

    Attributes:
        confidence: The confidence from which the model decides, 0 to 1.
        target_precision: The share of right decisions that was asked for.
        precision: The share of right decisions among the calibration rows at `confidence` or more. If `certified`, the share among the rows
            that the `thresholds` publish, weighted to the bundle's prior.
        precision_lower_bound: The one-sided bound of `precision`, at `bound_level`.
        bound_level: The level of the bound, 0 to 1.
        coverage: The share of the calibration rows over which `precision` is computed.
        rows: The number of calibration rows.
        promise: `overall` if the precision is promised of all published decisions together, `both` if it is promised of each label too;
            None if it is promised only of each label.
        certified: True if the bound for all published decisions together reaches the target.
        floor: The least observed precision of each label, if the promise is about all labels together; None otherwise.
        review_budget: The share of events for people, 0 to 1, that determined the confidence; None if the target determined it.
    """

    confidence: float
    target_precision: float
    precision: float
    precision_lower_bound: float
    bound_level: float
    coverage: float
    rows: int
    promise: Literal["overall", "both"] | None = None
    certified: bool = False
    floor: Share | None = None
    review_budget: Share | None = None

    def sentence(self) -> str:
        """The promise about all published decisions together, in words."""
        seen = f"{self.precision:.4f} of the {self.coverage:.1%} of calibration rows that are published"
        if not self.certified:
            return f"all labels: nothing is certified of all published decisions together; {seen} are right"
        asked = (
            f"a precision of {self.target_precision} is certified for all published decisions together"
            if self.review_budget is None
            else f"people see {self.review_budget:.0%} of events, and that buys a certified precision of {self.target_precision}"
        )
        floor = "" if self.floor is None else f". No label is seen below {self.floor}"
        return (
            f"all labels: {asked}, {FOR_TEXTS}. {seen} are right; with {certainty(self.bound_level)} certainty the precision is "
            f"{self.precision_lower_bound:.4f} or more{floor}"
        )


class LabelThreshold(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    The threshold of one predicted label and its certificate.

    Attributes:
        confidence: The confidence from which the model decides; below it a person is asked. `ALWAYS_ASK` if a person is always asked.
        target_precision: The share of right decisions that was asked for.
        precision: The share of right decisions among the `rows`; None if there are no rows.
        precision_lower_bound: The one-sided exact binomial bound of `precision`.
        bound_level: The level of the bound, for this label alone. The certificates of all labels hold together at the level
            `1 - labels * (1 - bound_level)`.
        rows: The number of calibration rows with this predicted label at `confidence` or more.
        label_rows: The number of calibration rows with this predicted label at any confidence.
        certified: True if the bound reaches the target. If not, `confidence` promises nothing for this label.
        labels_needed: The number of further rows with this predicted label that must be labelled to certify the target, if their precision
            stays the same; None if the target is certified, or if `MOST_LABELS` rows would not be enough.
        dear: True if the target can be certified, and people cost less than the mistakes of any certified threshold; left out otherwise.
    """

    confidence: Annotated[float, msgspec.Meta(ge=0, le=ALWAYS_ASK)]
    target_precision: Share
    precision: Share | None
    precision_lower_bound: Share
    bound_level: Share
    rows: Rows
    label_rows: Rows
    certified: bool
    labels_needed: Annotated[int, msgspec.Meta(gt=0)] | None = None
    dear: bool | msgspec.UnsetType = msgspec.UNSET

    def sentence(self, label: str) -> str:
        """The certificate of `label` in words, or why there is none."""
        where = f"{self.rows} calibration rows at {self.confidence} or more"
        if self.certified:
            return (
                f"{label}: from confidence {self.confidence} on, a precision of {self.target_precision} is certified, {FOR_TEXTS}. "
                f"Of {where}, {self.precision:.4f} are right; with {certainty(self.bound_level)} certainty the precision "
                f"is {self.precision_lower_bound:.4f} or more"
            )
        if self.dear:
            return f"{label}: a person is asked about all of it: people cost less than the mistakes of any certified threshold"
        needed = (
            f"{self.labels_needed:,} more labels of {label} needed"
            if self.labels_needed is not None
            else f"not even {MOST_LABELS:,} more labels of {label} would do, if they are like these"
        )
        return f"{label}: {self.target_precision} is not certified: {needed}. Until then {self._meanwhile(where)}"

    def _meanwhile(self, where: str) -> str:
        if self.confidence == ALWAYS_ASK:
            return "a person is asked about all of it: too little of it is known to be right"
        seen = (
            "there are no calibration rows so sure"
            if self.precision is None
            else f"{self.precision:.4f} of {where} are right, at least {self.precision_lower_bound:.4f}"
        )
        return f"its threshold {self.confidence} is no promise for it: {seen}"


class Prior(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    How often each label is expected, before a text is read.

    Attributes:
        shares: The expected share of each label; together 1.
        offsets: The number that is added to each label's logit after the division by the temperature, in natural logarithms. It replaces the
            shares that the network learned from its training rows by `shares`.
        source: The source of the shares: equal shares (`balanced`), the training rows, or the calibration rows of an imported classifier
            (`rows`), given shares, other labelled rows (`labels`), or unlabelled decisions.
        record: The evidence for shares that were estimated.
    """

    shares: dict[str, Share]
    offsets: dict[str, float]
    source: PriorSource
    record: dict[str, Any] = {}


class Trade(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    A precision that could be promised for all published decisions together, and its price.

    Attributes:
        target_precision: The precision.
        confidence: The confidence from which decisions would be published; None if the precision cannot be certified.
        published: The share of calibration rows, weighted to the bundle's prior, that would be published.
    """

    target_precision: Share
    confidence: float | None
    published: Share


class Money(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A cost of 10,000 events, and its 95 % interval."""

    value: Cost
    low: Cost
    high: Cost


class Priced(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    Prices that chose the thresholds, and what 10,000 events are expected to cost by them.

    Attributes:
        wrong_publication: The price of a wrong publication: one for all, or by published label, or by published label and truth.
        item: The price of an item for a person.
        currency: The name of the currency; empty if it has none.
        rows: The number of calibration rows on which the cost was measured; the others chose the thresholds.
        published: The share of events that is published.
        cost: Mistakes and people together.
        mistakes: Wrong publications.
        people: Items for people.
        everything: The cost if people see everything.
        nothing: The cost if people see nothing.
    """

    wrong_publication: Cost | dict[str, Cost | dict[str, Cost]]
    item: Cost
    currency: str
    rows: Rows
    published: Share
    cost: Money
    mistakes: Money
    people: Money
    everything: Cost
    nothing: Money


def is_sound(found: LabelThreshold) -> bool:
    """True if there is a precision only with rows, and a certificate only with a bound that reaches the target."""
    if (found.precision is None) != (found.rows == 0) or found.rows > found.label_rows:
        return False
    reached = found.rows > 0 and reaches(found)
    return not found.certified or (reached and found.labels_needed is None)


def reaches(found: LabelThreshold | Threshold) -> bool:
    """True if the bound reaches the target."""
    return found.precision_lower_bound >= round(found.target_precision, 6)
