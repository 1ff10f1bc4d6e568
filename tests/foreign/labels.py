"""Labels of other people: seven of a support desk, and 77, as many as the intents of a bank's help desk."""

from itertools import product

TICKETS = ("access", "billing", "bug", "data", "feature-request", "how-to", "integration")
_AREAS = ("account", "app", "card", "fee", "limit", "loan", "transfer")
_MATTERS = ("arrival", "cancel", "change", "declined", "delay", "help", "lost", "question", "refund", "status", "wrong")
MANY = tuple(f"{area}-{matter}" for area, matter in product(_AREAS, _MATTERS))
