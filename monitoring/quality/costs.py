"""What people's time and the model's mistakes cost, from a file such as `costs.toml` in the working directory."""

import difflib
import reprlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tagstream.monitoring.quality.sample import Floats
from tagstream.monitoring.vocabulary import OFF_SUBJECT

COSTS_FILE = "costs.toml"
MINUTE, ITEM, WRONG, CURRENCY = "person_minute", "item", "wrong_publication", "currency"
MOST_CHARACTERS = 8
MOST_PRICE = 1_000_000_000_000

# One price; or by the published label, one price or a price for each other label that may be the truth.
WrongPublication = float | Mapping[str, float | Mapping[str, float]]


class CostsError(Exception):
    """The file of prices cannot be used: the message has the file, the reason and the next step."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """
    Prices in one currency.

    Attributes:
        source: The file, for messages.
        currency: The currency's name; empty if the file does not name it.
        person_minute: A minute of a person; None if an item has a price of its own.
        item: An item for a person, however long it takes; None if minutes have a price.
        wrong_publication: A wrong decision that was published.
    """

    source: str
    currency: str
    person_minute: float | None = None
    item: float | None = None
    wrong_publication: WrongPublication

    def of_item(self) -> float:
        """
        Return the price of an item for a person, where nobody has measured how long an item takes.

        Raises:
            CostsError: The file has a price of minutes only.
        """
        if self.item is None:
            msg = (
                f"{self.source} has {MINUTE}, and how many minutes an item takes is not known here. "
                f"Next: give the price of an item in place of {MINUTE}, such as {ITEM} = 0.5."
            )
            raise CostsError(msg)
        return self.item

    def of_mistakes(self, labels: Sequence[str]) -> Floats:
        """
        Return the price of each published decision by its label and the truth, [K, K + 1]. The last truth is none of the labels.

        A decision that is right costs nothing. Where each truth has its own price, none of the labels has the price `off_subject`, or
        else the dearest of the label's.

        Raises:
            CostsError: A label or a confusion has no price, or a label has a price of being published for itself.
        """
        found = np.zeros((len(labels), len(labels) + 1))
        for number, label in enumerate(labels):
            found[number] = self._of_label(label, labels)
            found[number, number] = 0.0
        return found

    def _of_label(self, label: str, labels: Sequence[str]) -> Sequence[float] | float:
        if not isinstance(self.wrong_publication, Mapping):
            return self.wrong_publication
        own = self.wrong_publication.get(label)
        if own is None:
            said = _strangers(self.wrong_publication, labels)
            msg = (
                f"{self.source} has no price of a wrong publication of {label}{said}. "
                f"Next: give each label a line under [{WRONG}] ({', '.join(labels)}), or all labels one price: {WRONG} = 5."
            )
            raise CostsError(msg)
        if not isinstance(own, Mapping):
            return own
        if label in own:
            msg = (
                f"{self.source}: {WRONG}.{label} has a price for the truth {label}, and then {label} is right. "
                f"Next: remove the line {label} from it."
            )
            raise CostsError(msg)
        lacking = [other for other in labels if other != label and other not in own]
        if lacking:
            msg = (
                f"{self.source} has no price of publishing {label} where the truth is {lacking[0]}"
                f"{_strangers(own, (*labels, OFF_SUBJECT))}. "
                f"Next: give [{WRONG}.{label}] a line for each other label, or {label} one price: {label} = 5 under [{WRONG}]."
            )
            raise CostsError(msg)
        dearest = max((own[other] for other in labels if other != label), default=0.0)
        return [*(own.get(other, 0.0) for other in labels), own.get(OFF_SUBJECT, dearest)]


def read(folder: Path) -> Costs | None:
    """
    Read `costs.toml`.

    Args:
        folder: The folder of the file.

    Returns:
        The prices; None if there is no such file.

    Raises:
        CostsError: The file cannot be read, or a value cannot be used.
    """
    try:
        return _read(folder / COSTS_FILE)
    except FileNotFoundError:
        return None


def read_file(path: Path) -> Costs:
    """
    Read a file of prices that must be there.

    Raises:
        CostsError: The file is missing or cannot be read, or a value cannot be used.
    """
    try:
        return _read(path)
    except FileNotFoundError as error:
        msg = f"{path} does not exist. Next: name a file with prices, such as {COSTS_FILE}."
        raise CostsError(msg) from error


def _read(path: Path) -> Costs:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror}). Next: make it readable, or remove it."
        raise CostsError(msg) from error
    except (ValueError, RecursionError) as error:
        msg = f"{path} is not TOML ({error}). Next: correct it."
        raise CostsError(msg) from error
    return _costs(str(path), table)


def _costs(source: str, table: Mapping[str, Any]) -> Costs:
    known = (MINUTE, ITEM, WRONG, CURRENCY)
    for name in table:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, 1)
            said = f"The nearest price is {nearest[0]}" if nearest else f"The file has {', '.join(known)}"
            msg = f"{source}: {name} is not known. {said}. Next: correct or remove it."
            raise CostsError(msg)
    currency = table.get(CURRENCY, "")
    if not isinstance(currency, str) or not currency.isprintable() or len(currency) > MOST_CHARACTERS:
        msg = f"{source}: {CURRENCY} is not a text of at most {MOST_CHARACTERS} characters. Next: write a name, such as EUR."
        raise CostsError(msg)
    if MINUTE in table and ITEM in table:
        msg = f"{source} has {MINUTE} and {ITEM}, which are two prices of the same work. Next: remove one of them."
        raise CostsError(msg)
    if MINUTE not in table and ITEM not in table:
        msg = f"{source} has no {MINUTE} and no {ITEM}. Next: add a line with one of them, such as {MINUTE} = 0.5."
        raise CostsError(msg)
    return Costs(
        source=source,
        currency=currency,
        person_minute=_price(source, MINUTE, table[MINUTE]) if MINUTE in table else None,
        item=_price(source, ITEM, table[ITEM]) if ITEM in table else None,
        wrong_publication=_wrong(source, table.get(WRONG)),
    )


def _wrong(source: str, value: Any) -> WrongPublication:
    if not isinstance(value, Mapping):
        return _price(source, WRONG, value)
    found: dict[str, float | Mapping[str, float]] = {}
    for label, price in value.items():
        named = f"{WRONG}.{label}"
        found[label] = (
            {truth: _price(source, f"{named}.{truth}", each) for truth, each in price.items()}
            if isinstance(price, Mapping)
            else _price(source, named, price)
        )
    return found


def _strangers(prices: Mapping[str, Any], labels: Sequence[str]) -> str:
    strangers = [name for name in prices if name not in labels]
    return f"; {', '.join(strangers)} is no label of the stream" if strangers else ""


def _price(source: str, name: str, value: Any) -> float:
    if value is None:
        msg = f"{source} has no {name}. Next: add a line with a price, such as {name} = 0.5."
        raise CostsError(msg)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST_PRICE:
        msg = f"{source}: {name} = {reprlib.repr(value)} is not a price. Next: give a number from 0 to {MOST_PRICE:,}."
        raise CostsError(msg)
    return float(value)
