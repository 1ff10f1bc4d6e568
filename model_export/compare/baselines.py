"""The baselines (rivals) of a bundle: keyword rules, TF-IDF, and a head on the frozen base model.

A network must beat the rivals to be worth its latency. The rivals are trained on the same rows with the same sampling shares as the
bundle. No rival is tuned on the rows that measure it.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from tagstream.model_export.bundle.model import SCORE_DECIMALS, Prediction
from tagstream.model_export.bundle.rules import RulesClassifier
from tagstream.model_export.data.row import Row
from tagstream.model_export.train import base_model, batches
from tagstream.model_export.train.examples import Examples, drawing_weights
from tagstream.model_export.train.network import TagNetwork
from tagstream.model_export.train.tuning import TeacherRecipe

TFIDF_STRENGTH = 20.0

Floats = npt.NDArray[np.float64]
Rival = Callable[[Sequence[str]], list[Prediction]]


def rivals(train: Sequence[Row], labels: Sequence[str]) -> dict[str, Rival]:
    """
    Return the trained rivals, by name.

    Args:
        train: The training rows of a bundle.
        labels: The labels of the rows, in the order of the probabilities that a rival returns.

    Raises:
        BaseModelError: The base model of the frozen head is missing.
    """
    rules = RulesClassifier()
    return {
        # Rules for other labels would be wrong on every row, so they are left out.
        **({"rules": rules.classify} if set(rules.labels) == set(labels) else {}),
        "tfidf": tfidf(train, labels),
        "frozen head": frozen_head(train, labels),
    }


def tfidf(train: Sequence[Row], labels: Sequence[str]) -> Rival:
    """Return a logistic regression on TF-IDF features of words and word pairs."""
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, strip_accents="unicode")
    model = make_pipeline(vectorizer, LogisticRegression(C=TFIDF_STRENGTH, max_iter=1000))
    targets = [labels.index(row.tag) for row in train]
    model.fit([row.text for row in train], targets, logisticregression__sample_weight=_weights(train, targets))
    return lambda texts: [_prediction(shares, labels) for shares in model.predict_proba(list(texts))]


def frozen_head(train: Sequence[Row], labels: Sequence[str]) -> Rival:
    """
    Return a logistic regression on the embeddings of the base model, which is not fine-tuned.

    Raises:
        BaseModelError: The base model is missing.
    """
    base = base_model.load()
    tokenizer = batches.load_tokenizer(base.tokenizer)
    network = TagNetwork.from_bert(base.bert, labels=len(labels))

    def embed(texts: Sequence[str]) -> Floats:
        vectors: Floats = batches.embed(network, batches.encode(tokenizer, texts)).double().numpy()
        return vectors

    head = LogisticRegression(C=TeacherRecipe().probe_strength, max_iter=2000)
    targets = [labels.index(row.tag) for row in train]
    head.fit(embed([row.text for row in train]), targets, sample_weight=_weights(train, targets))
    return lambda texts: [_prediction(shares, labels) for shares in head.predict_proba(embed(texts))]


def _weights(train: Sequence[Row], targets: list[int]) -> Floats:
    recipe = TeacherRecipe()
    examples = Examples(rows=[], targets=targets, sources=[row.source for row in train])
    drawn = drawing_weights(examples, recipe.source_shares, recipe.class_levelling)
    weights: Floats = (drawn / drawn.mean()).double().numpy()
    return weights


def _prediction(shares: Floats, labels: Sequence[str]) -> Prediction:
    """Return a prediction without the number of tokens and the energy, because a comparison does not read them."""
    probabilities = {label: round(float(share), SCORE_DECIMALS) for label, share in zip(labels, shares, strict=True)}
    best = max(probabilities, key=lambda label: probabilities[label])
    return Prediction(
        label=best, confidence=probabilities[best], probabilities=probabilities, energy=0.0, tokens=0, truncated=False
    )
