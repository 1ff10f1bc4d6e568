"""The form of `audit_rates`: shares by label in one text."""

from tagstream.monitoring.limits import LEAST_INCLUSION


def rates(text: str) -> dict[str, float]:
    """
    The share of each label that the text names.

    >>> rates("mlops=0.1, other=1"), rates("")
    ({'mlops': 0.1, 'other': 1.0}, {})

    Raises:
        ValueError: A part is not a label and a share that can be drawn, or a label comes twice.
    """
    found: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        label, _, share = (word.strip() for word in part.rpartition("="))
        if not label or not _is_share(share):
            msg = f"{part!r} is not LABEL=SHARE with a share of 0, or from {LEAST_INCLUSION:g} to 1"
            raise ValueError(msg)
        if label in found:
            msg = f"the label {label!r} comes twice"
            raise ValueError(msg)
        found[label] = float(share)
    return found


def can_be_drawn(share: float) -> bool:
    """True if decisions can be drawn with this probability: 0, or at least the smallest probability that the estimates of quality use."""
    return share == 0 or LEAST_INCLUSION <= share <= 1


def _is_share(text: str) -> bool:
    try:
        return can_be_drawn(float(text))
    except ValueError:
        return False
