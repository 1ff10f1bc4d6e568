"""What a bundle costs by its prices, in words."""

from tagstream.model_export.bundle.promise.promise import Money, Priced

# From this amount on, nobody reads decimals.
LARGE = 1000


def lines(found: Priced) -> list[str]:
    """Return the prices and the expected cost of 10,000 events, as lines of text."""
    unit = f" {found.currency}" if found.currency else ""
    parts = f"mistakes {_money(found.mistakes)}, people {_money(found.people)}; {found.published:.1%} are published"
    return [
        f"thresholds by prices: a wrong publication {_wrong(found)}{unit}, an item for a person {_number(found.item)}{unit}",
        f"10,000 events like the {found.rows:,} calibration rows that chose no threshold cost {_money(found.cost)}{unit}: {parts}",
        f"everything to people {_number(found.everything)}{unit}, nothing to people {_money(found.nothing)}{unit}",
    ]


def _wrong(found: Priced) -> str:
    wrong = found.wrong_publication
    if isinstance(wrong, float):
        return _number(wrong)
    said = []
    for label, price in wrong.items():
        if isinstance(price, dict):
            said.append(f"of {label} {', '.join(f'{_number(own)} (in truth {truth})' for truth, own in price.items())}")
        else:
            said.append(f"of {label} {_number(price)}")
    return "; ".join(said)


def _money(found: Money) -> str:
    return f"{_number(found.value)} [{_number(found.low)}, {_number(found.high)}]"


def _number(value: float) -> str:
    """
    Return an amount with as many digits as are of use.

    >>> _number(12345.678), _number(12.346), _number(0.5), _number(20.0)
    ('12,346', '12.35', '0.5', '20')
    """
    return f"{value:,.0f}" if value >= LARGE else f"{value:.4g}"
