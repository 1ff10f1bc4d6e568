"""
Find probable label errors by confident learning (Northcutt et al. 2021, https://arxiv.org/abs/1911.00068).

Cross-validation gives each row's probability of each label, from models that were not trained on the row. A label's usual confidence is
its mean probability over the rows with this label. A row is suspect if another label reaches that label's usual confidence and is much
more probable than the given label.

The probabilities are the geometric mean of naive Bayes and of a logistic regression by gradient descent, both on TF-IDF features. The
two models err on different rows, and both take seconds for 10,000 rows and 100 labels. docs/findings.md reports the share of planted
errors that they find.
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
# The least ratio of the other label's probability to the given label's. With 3 % planted errors among 4,000 authored rows, the ratios
# 5, 10 and 20 have a recall of 68, 63 and 43 % and a precision of 67, 81 and 93 % (benchmarks/quality/own_rows.py).
TIMES_AS_PROBABLE = 10.0
# The least skill of the models. Skill 0 is the accuracy of always predicting the most frequent label; skill 1 is an accuracy of 1.
# Below this skill, no label is suspected.
LEAST_SKILL = 0.25
# Logistic regression: the weight of the penalty, the number of epochs, and the seed.
PENALTY, ROUNDS, SEED = 2e-5, 10, 0

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def suspects(rows: Sequence[Row], topics: Sequence[str], labels: Sequence[str]) -> list[tuple[int, str, float]]:
    """
    Return the rows whose label is probably wrong, the most certain first.

    Args:
        rows: Labelled rows.
        topics: The topic of each row. Rows of one topic do not judge each other.
        labels: All labels of the rows, two or more.

    Returns:
        For each suspect row: its index, the more probable label, and the probability of that label, 0 to 1. Empty if the words hardly
        predict the labels: then every row would be suspect.
    """
    given = np.array([labels.index(row.tag) for row in rows], dtype=np.int64)
    probable = cross_fitted([row.text for row in rows], topics, given, len(labels))
    guessed, usual = float((probable.argmax(axis=1) == given).mean()), float(np.bincount(given).max()) / len(given)
    if guessed < usual + LEAST_SKILL * (1.0 - usual):
        return []
    return [(place, labels[label], float(probable[place, label])) for place, label in unlikely(probable, given)]


def unlikely(probable: Floats, given: Ints) -> list[tuple[int, int]]:
    """
    Return the rows whose given label is unlikely, each with its likely label.

    Args:
        probable: Probabilities, shape (rows, labels), from models that were not trained on the row. All 0 for a row without a model.
        given: The index of each row's given label, shape (rows,).

    Returns:
        The indices of the row and of the likely label. The largest difference of the two labels' probabilities comes first.

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
    Return probabilities, shape (texts, labels). The model for a text was not trained on texts of the same topic.

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
        # No word occurs in two texts, so no text predicts another text's label.
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
