"""Rows of many labels from templates and a seed: eleven things of a bank's customers, with seven troubles each.

The rows measure time and memory. How right a model is on them says little: templates are easier than people.
"""

import random
from itertools import product

from tagstream.model_export.bundle.text import compose
from tagstream.model_export.data.row import Row

SEED = 20261128
THINGS = {
    "card": ("card", "debit card", "bank card", "plastic"),
    "transfer": ("transfer", "bank transfer", "wire", "payment to another bank"),
    "top-up": ("top-up", "top up", "deposit by card", "reload"),
    "cash": ("cash withdrawal", "ATM withdrawal", "cash from the machine", "withdrawal"),
    "account": ("account", "profile", "current account", "membership"),
    "savings": ("savings pot", "savings account", "pot", "money box"),
    "exchange": ("currency exchange", "exchange", "euros to pounds", "conversion"),
    "refund": ("refund", "money back", "reimbursement", "return of my payment"),
    "loan": ("loan", "credit", "instalment plan", "overdraft"),
    "app": ("app", "mobile app", "banking app", "application on my phone"),
    "statement": ("statement", "monthly statement", "list of payments", "account record"),
}
TROUBLES = {
    "late": ("is late", "has not arrived yet", "is still pending", "takes forever", "should have been here days ago"),
    "fee": ("cost me extra", "came with a fee", "was charged for", "has a charge that I do not understand", "is too expensive"),
    "refused": ("was declined", "was refused", "does not go through", "failed twice", "is rejected every time"),
    "lost": ("is lost", "was stolen", "has disappeared", "is gone", "cannot be found anywhere"),
    "limit": ("has a limit", "is capped", "reached its maximum", "may not be larger", "stops at a certain amount"),
    "how": (
        "how does it work",
        "where do I start",
        "how can I set it up",
        "what do I have to do first",
        "please explain the steps",
    ),
    "close": ("I want to cancel it", "please close it", "how do I end it", "I no longer need it", "stop it for good"),
}
OPENINGS = (
    "",
    "Hello,",
    "Hi team,",
    "Quick question:",
    "Since yesterday,",
    "I am travelling and",
    "Urgent:",
    "Sorry to ask again,",
)
CLOSINGS = (
    "",
    "Thanks.",
    "What can I do?",
    "Please help.",
    "This is the second time.",
    "My order number is {number}.",
    "Can you check?",
)
LABELS = tuple(f"{thing}-{trouble}" for thing, trouble in product(THINGS, TROUBLES))


def rows(count: int, labels: int = len(LABELS), *, seed: int = SEED) -> list[Row]:
    """
    Different rows of the first `labels` labels, every label as often as the others.

    >>> made = rows(10, 2)
    >>> sorted({row.tag for row in made}), len({row.text for row in made})
    (['card-fee', 'card-late'], 10)
    """
    drawn = random.Random(seed)  # noqa: S311 - the same rows each time
    found: dict[str, Row] = {}
    while len(found) < count:
        label = LABELS[len(found) % labels]
        row = _row(label, drawn)
        found.setdefault(row.text, row)
    return list(found.values())


def _row(label: str, drawn: random.Random) -> Row:
    thing, trouble = next((one, other) for one, other in product(THINGS, TROUBLES) if f"{one}-{other}" == label)
    words = [
        drawn.choice(OPENINGS),
        f"my {drawn.choice(THINGS[thing])}",
        drawn.choice(TROUBLES[trouble]) + ".",
        drawn.choice(CLOSINGS).format(number=drawn.randrange(10_000, 99_999)),
    ]
    if drawn.random() < 0.3:  # noqa: PLR2004 - a third of the texts names a second thing in passing
        words.insert(3, f"It began after I looked at my {drawn.choice(THINGS[drawn.choice(tuple(THINGS))])}.")
    title = _mistyped(" ".join(word for word in words if word), drawn)
    return Row(text=compose(title, None), tag=label, source="own", topic=title, described=False, title=title)


def _mistyped(text: str, drawn: random.Random) -> str:
    """The text with two letters swapped in every fourth."""
    if drawn.random() >= 0.25:  # noqa: PLR2004 - every fourth
        return text
    place = drawn.randrange(len(text) - 1)
    return text[:place] + text[place + 1] + text[place] + text[place + 2 :]
