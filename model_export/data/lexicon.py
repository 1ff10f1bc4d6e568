"""Plain training titles, generated from a lexicon of subjects. The titles look like usual names of repositories, surveys and tutorials.

The authored rows are varied and borderline on purpose, but real streams are mostly plain. `corpus/lexicon.toml` has the subjects of
each class as noun phrases, and templates ("{C}: a survey"). All classes share the templates, so only the subject tells the class. The
same file always gives the same rows. The rows are only used for training.
"""

import random
import tomllib
from dataclasses import dataclass
from pathlib import Path

import msgspec

LEXICON = Path(__file__).parents[1] / "corpus" / "lexicon.toml"
SEED = 5
ROWS_PER_SUBJECT = 3
# The share of rows without a description.
BARE = 0.45


class _Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    tag: str
    topic: str
    subjects: str


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    titles: tuple[str, ...]
    descriptions: tuple[str, ...]
    group: tuple[_Group, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainRow:
    """
    One generated title.

    Attributes:
        title: The title.
        description: The description; None if the row has only a title.
        tag: The class of the subject.
        topic: `lexicon:` and the group of the subject.
    """

    title: str
    description: str | None
    tag: str
    topic: str


def rows(path: Path = LEXICON, *, per_subject: int = ROWS_PER_SUBJECT) -> list[PlainRow]:
    """
    Generate `per_subject` rows for each subject. The title of the first row is always the bare subject.

    Raises:
        OSError: The file cannot be read.
        msgspec.ValidationError: The file is not a lexicon, or a group has fewer than two distinct subjects.
    """
    lexicon = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File)
    made = []
    for group in lexicon.group:
        subjects = [subject for part in group.subjects.split(";") if (subject := " ".join(part.split()))]
        if len(set(subjects)) < max(2, len(subjects)):
            msg = f"group {group.topic!r} needs two subjects or more, each once"
            raise msgspec.ValidationError(msg)
        for subject in subjects:
            # Each subject has its own seed, so a new subject does not change the rows of other groups.
            chance = random.Random(f"{SEED}:{group.tag}:{subject}")  # noqa: S311 - a draw that repeats, not a secret
            others = [other for other in subjects if other != subject]
            for number in range(per_subject):
                title = chance.choice(lexicon.titles) if number else "{C}"
                another = chance.choice(others)
                description = None if chance.random() < BARE else chance.choice(lexicon.descriptions)
                names = {"c": subject, "C": subject[0].upper() + subject[1:], "d": another}
                made.append(
                    PlainRow(
                        title=title.format(**names),
                        description=description.format(**names) if description else None,
                        tag=group.tag,
                        topic=f"lexicon:{group.topic}",
                    )
                )
    return made
