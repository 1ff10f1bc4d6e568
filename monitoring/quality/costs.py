"""What people's time and the model's mistakes cost, from the file `costs.toml` in the working directory."""

import difflib
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tagstream.monitoring.quality.sample import Floats

COSTS_FILE = "costs.toml"
MINUTE, WRONG, CURRENCY = "person_minute", "wrong_publication", "currency"
MOST_CHARACTERS = 8


class CostsError(Exception):
    """`costs.toml` cannot be used: the message has the file, the reason and the next step."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """
    Prices in one currency.

    Attributes:
        source: The file, for messages.
        currency: The currency's name; empty if the file does not name it.
        person_minute: A minute of a person.
        wrong_publication: A wrong decision that was published: one price for all, or by the label that was published.
    """

    source: str
    currency: str
    person_minute: float
    wrong_publication: float | Mapping[str, float]

    def of_labels(self, labels: Sequence[str]) -> Floats:
        """
        Return the price of a wrong publication of each label, [K].

        Raises:
            CostsError: A label has no price.
        """
        if not isinstance(self.wrong_publication, Mapping):
            return np.full(len(labels), self.wrong_publication)
        for label in labels:
            if label not in self.wrong_publication:
                strangers = [name for name in self.wrong_publication if name not in labels]
                said = f"; {', '.join(strangers)} is no label of the stream" if strangers else ""
                msg = (
                    f"{self.source} has no price of a wrong publication of {label}{said}. "
                    f"Next: give each label a line under [{WRONG}] ({', '.join(labels)}), or all labels one price: {WRONG} = 5."
                )
                raise CostsError(msg)
        return np.array([self.wrong_publication[label] for label in labels])


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
    path = folder / COSTS_FILE
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror}). Next: make it readable, or remove it."
        raise CostsError(msg) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{path} is not TOML ({error}). Next: correct it."
        raise CostsError(msg) from error
    return _costs(str(path), table)


def _costs(source: str, table: Mapping[str, Any]) -> Costs:
    known = (MINUTE, WRONG, CURRENCY)
    for name in table:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, 1)
            said = f"The nearest price is {nearest[0]}" if nearest else f"The file has {', '.join(known)}"
            msg = f"{source}: {name} is not known. {said}. Next: correct or remove it."
            raise CostsError(msg)
    wrong = table.get(WRONG)
    if isinstance(wrong, Mapping):
        prices: float | dict[str, float] = {label: _price(source, f"{WRONG}.{label}", price) for label, price in wrong.items()}
    else:
        prices = _price(source, WRONG, wrong)
    currency = table.get(CURRENCY, "")
    if not isinstance(currency, str) or not currency.isprintable() or len(currency) > MOST_CHARACTERS:
        msg = f"{source}: {CURRENCY} is not a text of at most {MOST_CHARACTERS} characters. Next: write a name, such as EUR."
        raise CostsError(msg)
    return Costs(
        source=source, currency=currency, person_minute=_price(source, MINUTE, table.get(MINUTE)), wrong_publication=prices
    )


def _price(source: str, name: str, value: Any) -> float:
    if value is None:
        msg = f"{source} has no {name}. Next: add a line with a price, such as {name} = 0.5."
        raise CostsError(msg)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        msg = f"{source}: {name} = {value!r} is not a price. Next: give a number that is 0 or more."
        raise CostsError(msg)
    return float(value)
