"""The form of `audit_rates`: shares by label in one text."""


def rates(text: str) -> dict[str, float]:
    """
    The share of each label that the text names.

    >>> rates("mlops=0.1, other=1"), rates("")
    ({'mlops': 0.1, 'other': 1.0}, {})

    Raises:
        ValueError: A part is not a label and a number from 0 to 1, or a label comes twice.
    """
    found: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        label, _, share = (word.strip() for word in part.rpartition("="))
        if not label or not _is_share(share):
            msg = f"{part!r} is not LABEL=SHARE with a share from 0 to 1"
            raise ValueError(msg)
        if label in found:
            msg = f"the label {label!r} comes twice"
            raise ValueError(msg)
        found[label] = float(share)
    return found


def _is_share(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False
