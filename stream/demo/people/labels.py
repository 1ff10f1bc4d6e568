"""The labels of the sample events, which the scripted reviewer knows."""

from collections import defaultdict

import msgspec

from model_export.data.corpus import CORPUS, NOT_ML, CorpusLine
from stream.contract.answers import OFF_SUBJECT


def known_labels() -> dict[str, str]:
    """
    The right answer for each title of the corpus: a label, or `off_subject` for texts that are not about machine learning.

    The events that were written for the demo have no label, and a title that stands under two labels has no one answer: neither is
    among these.
    """
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path in sorted(CORPUS.glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            row = msgspec.json.decode(line, type=CorpusLine)
            found[" ".join(row.title.split())].add(OFF_SUBJECT if row.tag == NOT_ML else row.tag)
    return {title: tag for title, (tag, *others) in found.items() if not others}
