"""
Labels that are perhaps wrong: confident learning (Northcutt et al. 2021, https://arxiv.org/abs/1911.00068).

Models that have not seen a row say how probable each label is. The mean probability of a label over the rows that carry it
is the confidence that is usual for it. A row is suspected where another label reaches its own usual confidence and is much
more probable than the label given.

The probabilities are the geometric mean of naive Bayes and of a logistic regression by gradient steps, both on weighted
words: they err on different rows, and both take seconds for ten thousand rows and a hundred labels. docs/findings.md has how
many planted errors they find.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.naive_bayes import MultinomialNB

from tagstream.model_export.data.row import Row

FOLDS = 5
SMOOTHING = 0.1
# A label is suspected where another one is so many times as probable. Of 3 % planted errors among 4,000 authored rows,
# 5, 10 and 20 times found 68, 63 and 43 %, and 67, 81 and 93 % of the rows that they named were errors
# (benchmarks/quality/own_rows.py).
TIMES_AS_PROBABLE = 10.0
# Models that are hardly better than naming the most frequent label know too little to suspect anything: the share of the
# way from there to all right that they must have gone.
LEAST_SKILL = 0.25
# Of the logistic regression: weight of the penalty, and rounds over the rows.
PENALTY, ROUNDS, SEED = 2e-5, 10, 0

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def suspects(rows: Sequence[Row], topics: Sequence[str], labels: Sequence[str]) -> list[tuple[int, str, float]]:
    """
    The rows whose label is perhaps wrong, the surest first.

    Args:
        rows: Labelled rows.
        topics: The topic of each; rows of one topic do not judge each other.
        labels: Their labels, two or more.

    Returns:
        By row, its place, the label that it reads like, and the probability of that label, 0 to 1. None where the labels
        can hardly be told from the words, so that every row would be suspected.
    """
    given = np.array([labels.index(row.tag) for row in rows], dtype=np.int64)
    probable = cross_fitted([row.text for row in rows], topics, given, len(labels))
    guessed, usual = float((probable.argmax(axis=1) == given).mean()), float(np.bincount(given).max()) / len(given)
    if guessed < usual + LEAST_SKILL * (1.0 - usual):
        return []
    return [(place, labels[label], float(probable[place, label])) for place, label in unlikely(probable, given)]


def unlikely(probable: Floats, given: Ints) -> list[tuple[int, int]]:
    """
    Rows whose label is unlikely, and the label that is likely.

    Args:
        probable: Probabilities by row and label, [rows, labels], from models that have not seen the row; all 0 where no model could be made.
        given: The label given to each row, [rows].

    Returns:
        Place and label, the largest difference of the two probabilities first.

    >>> probable = np.array([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.02, 0.98], [0.01, 0.99]])
    >>> unlikely(probable, np.array([0, 0, 1, 1, 0]))
    [(4, 1)]
    """
    places = np.arange(len(given))
    carried = np.zeros_like(probable, dtype=np.bool_)
    carried[places, given] = True
    usual = np.where(carried, probable, 0.0).sum(axis=0) / np.maximum(carried.sum(axis=0), 1)
    likely = np.where((probable >= usual) & (carried.sum(axis=0) > 0), probable, -1.0).argmax(axis=1)
    best, own = probable[places, likely], probable[places, given]
    found = places[(likely != given) & (best >= usual[likely]) & (best > TIMES_AS_PROBABLE * own)]
    return [(int(place), int(likely[place])) for place in found[np.argsort(own[found] - best[found], kind="stable")]]


def cross_fitted(texts: Sequence[str], topics: Sequence[str], given: Ints, labels: int) -> Floats:
    """
    Probabilities by text and label, [texts, labels], each from a model that knows no text of the text's topic.

    Args:
        texts: The texts.
        topics: The topic of each text.
        given: The index of each text's label, shape (texts,).
        labels: The number of labels.
    """
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, strip_accents="unicode")
    try:
        vectors = words.fit_transform(texts)
    except ValueError:
        # No word occurs in two rows, so that no row says anything of another one.
        return np.full((len(texts), labels), 1.0 / labels)
    fold = np.array([hashlib.sha256(topic.encode()).digest()[0] % FOLDS for topic in topics])
    probable = np.zeros((len(texts), labels))
    for number in range(FOLDS):
        seen, asked = fold != number, fold == number
        if asked.any() and len(np.unique(given[seen])) > 1:
            bayes = MultinomialNB(alpha=SMOOTHING).fit(vectors[seen], given[seen])
            steps = SGDClassifier(loss="log_loss", alpha=PENALTY, max_iter=ROUNDS, tol=None, random_state=SEED)
            steps.fit(vectors[seen], given[seen])
            both = np.sqrt(bayes.predict_proba(vectors[asked]) * steps.predict_proba(vectors[asked]))
            probable[np.ix_(asked, bayes.classes_)] = both / np.maximum(both.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    return probable
