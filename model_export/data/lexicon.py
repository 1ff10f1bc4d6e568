"""Plain training titles from a lexicon of subjects, as repositories, surveys and tutorials are usually called.

The authored rows are varied and borderline on purpose; real streams are mostly plain. `corpus/lexicon.toml` names the
subjects of each class as noun phrases, and frames ("{C}: a survey") that all classes share: only the subject tells the
class. The same file gives the same rows each time, and they are only ever learned from.
"""

import random
import tomllib
from dataclasses import dataclass
from pathlib import Path

import msgspec

LEXICON = Path(__file__).parents[1] / "corpus" / "lexicon.toml"
SEED = 5
ROWS_PER_SUBJECT = 3
# The share of rows that are a title alone.
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
    """One made title, perhaps with a description, the class of its subject and the group that the subject is in."""

    title: str
    description: str | None
    tag: str
    topic: str


def rows(path: Path = LEXICON, *, per_subject: int = ROWS_PER_SUBJECT) -> list[PlainRow]:
    """
    Every subject in a few frames; the first is always the bare subject as a title.

    Raises:
        OSError: The file cannot be read.
        msgspec.ValidationError: It has another shape, or a group has fewer than two subjects.
    """
    lexicon = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File)
    made = []
    for group in lexicon.group:
        subjects = [subject for part in group.subjects.split(";") if (subject := " ".join(part.split()))]
        if len(set(subjects)) < max(2, len(subjects)):
            msg = f"group {group.topic!r} needs two subjects or more, each once"
            raise msgspec.ValidationError(msg)
        for subject in subjects:
            # A seed of the subject's own: a new subject changes only the rows that name it.
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
