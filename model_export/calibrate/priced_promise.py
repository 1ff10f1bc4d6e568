"""A promise whose thresholds follow prices. It is apart from `prices`, which needs scipy."""

from dataclasses import dataclass

from tagstream.model_export.bundle.promise.promise import Promise
from tagstream.monitoring.quality.costs import Costs


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedPromise(Promise):
    """
    A promise about each label whose threshold is not the lowest that is proved, but of these the one that makes the expected cost least.

    Attributes:
        costs: The prices.
    """

    costs: Costs
