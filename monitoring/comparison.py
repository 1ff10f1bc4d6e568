"""The two distances between a live distribution and its reference, as in the recording rules of Prometheus."""

import math
from collections.abc import Mapping

# Keeps the logarithm finite if a share is 0. The recording rules use the same value.
EPSILON = 0.0001


def psi_terms(share: Mapping[str, float], reference: Mapping[str, float]) -> dict[str, float]:
    """
    Return the term of each label in the population stability index. A label that is missing on one side has no term, as in PromQL.

    >>> psi_terms({"a": 0.5, "b": 0.5}, {"a": 0.5, "b": 0.5})
    {'a': 0.0, 'b': 0.0}
    """
    return {
        label: (live - reference[label]) * math.log((live + EPSILON) / (reference[label] + EPSILON))
        for label, live in share.items()
        if label in reference
    }


def psi(share: Mapping[str, float], reference: Mapping[str, float]) -> float | None:
    """
    Return the population stability index: 0 for equal mixes, above 0.2 for clearly different mixes; None without a common label.

    >>> round(psi({"a": 0.1, "b": 0.3, "c": 0.2, "d": 0.4}, {"a": 0.4, "b": 0.3, "c": 0.2, "d": 0.1}), 2)
    0.83
    """
    terms = psi_terms(share, reference)
    return sum(terms.values()) if terms else None


def ks(cdf: Mapping[str, float], reference: Mapping[str, float]) -> float | None:
    """
    Return the Kolmogorov-Smirnov distance at the common edges, a lower bound of the true distance; None without a common edge.

    >>> ks({"0.5": 0.2, "+Inf": 1.0}, {"0.5": 0.5, "+Inf": 1.0})
    0.3
    """
    return max((abs(share - reference[edge]) for edge, share in cdf.items() if edge in reference), default=None)
