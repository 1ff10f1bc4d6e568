"""How often one to three invisible characters change a decision, before and after the text is normalised.

The four families of Boucher et al. ("Bad Characters", IEEE S&P 2022) at random places, against the default bundle:
`python -m benchmarks.hostile` prints the table of docs/hostile-input.md; TAGSTREAM_DATA adds the holdout.
"""

import argparse
import os
import random
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, read
from tagstream.model_export.bundle.confusables import LOOKALIKES
from tagstream.model_export.bundle.model import Classifier, OnnxClassifier
from tagstream.model_export.bundle.text import normalize
from tagstream.model_export.data.splits import load

SEED = 2022
BUDGETS = (1, 2, 3)
TRIALS = 10
ITEMS = 300
INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u2063\u034f\u3164"
# Like enough for a reader in a hurry, and not among Unicode's confusables with ASCII.
CYRILLIC = {"k": "\u043a", "t": "\u0442", "m": "\u043c", "h": "\u043d", "b": "\u0432", "n": "\u043f"}
LATIN = {"l": "\u0142", "i": "\u0131", "d": "\u0111", "t": "\u0167", "h": "\u0127", "o": "\u00f8", "b": "\u0180", "n": "\u0273"}

Attack = Callable[[list[str], random.Random], None]


def invisible(characters: list[str], chance: random.Random) -> None:
    """Put one in that has no width."""
    characters.insert(chance.randint(0, len(characters)), chance.choice(INVISIBLE))


def homoglyph(characters: list[str], chance: random.Random) -> None:
    """Replace one by a letter that Unicode calls confusable with it."""
    _replace(characters, chance, _IMITATIONS)


def near_cyrillic(characters: list[str], chance: random.Random) -> None:
    """Replace one by a Cyrillic letter that is only similar, which no table knows."""
    _replace(characters, chance, {letter: [similar] for letter, similar in CYRILLIC.items()})


def near_latin(characters: list[str], chance: random.Random) -> None:
    """Replace one by a Latin letter with a stroke or hook, which is some language's own."""
    _replace(characters, chance, {letter: [similar] for letter, similar in LATIN.items()})


def misspelling(characters: list[str], chance: random.Random) -> None:
    """Swap two neighbours visibly, which no normalisation can undo, for comparison."""
    at = chance.randrange(max(1, len(characters) - 1))
    characters[at : at + 2] = reversed(characters[at : at + 2])


def reordering(characters: list[str], chance: random.Random) -> None:
    """Swap two neighbours, and show them in the right order by directional overrides."""
    at = chance.randrange(max(1, len(characters) - 1))
    first, second = characters[at], "".join(characters[at + 1 : at + 2])
    characters[at : at + 2] = ["\u202d\u2066\u202e\u2066", second, "\u2069\u2066", first, "\u2069\u202c\u2069\u202c"]


def deletion(characters: list[str], chance: random.Random) -> None:
    """Put a letter in, and the backspace that takes it back."""
    at = chance.randint(0, len(characters))
    characters[at:at] = [chance.choice(string.ascii_letters), "\b"]


ATTACKS: dict[str, Attack] = {
    "invisible": invisible,
    "homoglyphs": homoglyph,
    "reorderings": reordering,
    "deletions": deletion,
    "similar Cyrillic": near_cyrillic,
    "similar Latin": near_latin,
    "plain misspelling": misspelling,
}
_IMITATIONS: dict[str, list[str]] = {}
for _imitation, _letter in LOOKALIKES.items():
    _IMITATIONS.setdefault(_letter, []).append(_imitation)


def _replace(characters: list[str], chance: random.Random, imitations: dict[str, list[str]]) -> None:
    places = [at for at, character in enumerate(characters) if character in imitations]
    if places:
        at = chance.choice(places)
        characters[at] = chance.choice(imitations[characters[at]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Shares, 0 to 1: of all trials, and of texts with the best of the attacker's trials."""

    before: float
    after: float
    flagged: float
    unseen: float
    best_before: float
    best_unseen: float


class Asker:
    """The classifier's tags, each text asked once."""

    def __init__(self, classifier: Classifier) -> None:
        """No text was tried yet."""
        self._classifier = classifier
        self._known: dict[str, str] = {}

    def tags(self, texts: Sequence[str]) -> list[str]:
        """One tag a text, in order."""
        missing = list(dict.fromkeys(text for text in texts if text not in self._known))
        self._known |= {text: found.label for text, found in zip(missing, self._classifier.classify(missing), strict=True)}
        return [self._known[text] for text in texts]


def measure(texts: Sequence[str], attack: Attack, budget: int, *, asker: Asker, trials: int, seed: int = SEED) -> Result:
    """Attack every text `trials` times with `budget` injections at random places."""
    chance = random.Random(f"{seed}-{budget}")  # noqa: S311 - repeatable, not secret
    attacked = [_attacked(text, attack, budget, chance) for text in texts for _ in range(trials)]
    read = [normalize(text) for text in attacked]
    flagged = [bool(found.flags) for found in read]
    expected = [tag for tag in asker.tags(texts) for _ in range(trials)]
    normal = [tag for tag in asker.tags([normalize(text).text for text in texts]) for _ in range(trials)]
    flips_before = [a != b for a, b in zip(asker.tags(attacked), expected, strict=True)]
    flips_after = [a != b for a, b in zip(asker.tags([found.text for found in read]), normal, strict=True)]
    unseen = [flips and not flag for flips, flag in zip(flips_after, flagged, strict=True)]
    return Result(
        before=_share(flips_before),
        after=_share(flips_after),
        flagged=_share(flagged),
        unseen=_share(unseen),
        best_before=_share(_any_of(flips_before, trials)),
        best_unseen=_share(_any_of(unseen, trials)),
    )


def _attacked(text: str, attack: Attack, budget: int, chance: random.Random) -> str:
    characters = list(text)
    for _ in range(budget):
        attack(characters, chance)
    return "".join(characters)


def _share(found: Sequence[bool]) -> float:
    return sum(found) / len(found)


def _any_of(found: Sequence[bool], trials: int) -> list[bool]:
    return [any(found[start : start + trials]) for start in range(0, len(found), trials)]


def table(texts: Sequence[str], asker: Asker, trials: int) -> str:
    """Markdown: a line for each attack and budget."""
    columns = (
        "attack",
        "injections",
        "tag changes, text as it came",
        "after normalisation",
        "flagged",
        "changed and not flagged",
        f"best of {trials}, as it came",
        f"best of {trials}, not flagged",
    )
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name, attack in ATTACKS.items():
        for budget in BUDGETS:
            found = measure(texts, attack, budget, asker=asker, trials=trials)
            shares = (found.before, found.after, found.flagged, found.unseen, found.best_before, found.best_unseen)
            lines.append(f"| {name} | {budget} | " + " | ".join(f"{share:.1%}" for share in shares) + " |")
    return "\n".join(lines)


def main() -> None:
    """Print a table for the corpus test split, and for the holdout where there is one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=ITEMS, help="texts drawn from each set")
    parser.add_argument("--trials", type=int, default=TRIALS, help="attacks on each text")
    parser.add_argument("--only", choices=("corpus", "holdout"), help="one set alone")
    asked = parser.parse_args()
    folder = os.environ.get("TAGSTREAM_DATA")
    splits = load(Path(folder) if folder else None)
    asker = Asker(OnnxClassifier(read(DEFAULT_BUNDLE)))
    for name, rows in (("corpus test split", splits.corpus_test), ("holdout", splits.holdout)):
        if not rows or not name.startswith(asked.only or ""):
            continue
        texts = [row.text for row in rows]
        chosen = random.Random(SEED).sample(texts, min(asked.items, len(texts)))  # noqa: S311 - repeatable, not secret
        flagged = sum(bool(normalize(text).flags) for text in texts)
        print(f"\n{name}: {len(chosen)} of {len(texts)} texts, {flagged} of all flagged without an attack\n")
        print(table(chosen, asker, asked.trials), flush=True)


if __name__ == "__main__":
    main()
