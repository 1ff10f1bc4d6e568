"""The simpler rivals of a bundle, measured on the same rows: keyword rules, TF-IDF, and a head on the frozen base model.

A network that does not beat them is not worth its milliseconds. They learn from the same training rows, drawn in the same shares;
nothing is tuned on what they are measured on.
"""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from model_export import base_model, batches
from model_export.data import LABELS, Row
from model_export.network import TagNetwork
from model_export.prediction import SCORE_DECIMALS, Prediction
from model_export.train import Examples, Recipe, drawing_weights

RULES = Path(__file__).parent / "rules.toml"
TFIDF_STRENGTH = 20.0
NOTHING_FOUND = "other"

Floats = npt.NDArray[np.float64]
Rival = Callable[[Sequence[str]], list[Prediction]]


def rivals(train: Sequence[Row]) -> dict[str, Rival]:
    """
    Every rival, ready to predict, by name.

    Args:
        train: The rows that a bundle learns from.

    Raises:
        BaseModelError: The base model of the frozen head is missing.
    """
    return {"rules": rules(), "tfidf": tfidf(train), "frozen head": frozen_head(train)}


def rules(path: Path = RULES) -> Rival:
    """Count keywords: the label with most of them; its share of all that were found is the confidence."""
    words: Mapping[str, Sequence[str]] = tomllib.loads(path.read_text(encoding="utf-8"))["words"]
    patterns = {label: [_pattern(word) for word in words[label]] for label in words}

    def predict(texts: Sequence[str]) -> list[Prediction]:
        found = []
        for text in texts:
            hits = {label: sum(pattern.search(text) is not None for pattern in each) for label, each in patterns.items()}
            total = sum(hits.values())
            hits = hits if total else {label: int(label == NOTHING_FOUND) for label in hits}
            best = max(hits, key=lambda label: hits[label])
            shares = np.array([hits[label] / max(1, total) for label in LABELS])
            found.append(_prediction(shares, label=best))
        return found

    return predict


def tfidf(train: Sequence[Row]) -> Rival:
    """Logistic regression on words and pairs of words, weighted by how rare they are."""
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, strip_accents="unicode")
    model = make_pipeline(vectorizer, LogisticRegression(C=TFIDF_STRENGTH, max_iter=1000))
    model.fit(
        [row.text for row in train],
        [LABELS.index(row.tag) for row in train],
        logisticregression__sample_weight=_weights(train),
    )
    return lambda texts: [_prediction(shares) for shares in model.predict_proba(list(texts))]


def frozen_head(train: Sequence[Row]) -> Rival:
    """Logistic regression on the vectors of the base model, which is not tuned."""
    base = base_model.load()
    tokenizer = batches.load_tokenizer(base.tokenizer)
    network = TagNetwork.from_bert(base.bert, labels=len(LABELS))

    def embed(texts: Sequence[str]) -> Floats:
        vectors: Floats = batches.embed(network, batches.encode(tokenizer, texts)).double().numpy()
        return vectors

    head = LogisticRegression(C=Recipe().probe_strength, max_iter=2000)
    head.fit(embed([row.text for row in train]), [LABELS.index(row.tag) for row in train], sample_weight=_weights(train))
    return lambda texts: [_prediction(shares) for shares in head.predict_proba(embed(texts))]


def _weights(train: Sequence[Row]) -> Floats:
    recipe = Recipe()
    examples = Examples(rows=[], targets=[LABELS.index(row.tag) for row in train], sources=[row.source for row in train])
    drawn = drawing_weights(examples, recipe.source_shares, recipe.class_levelling)
    weights: Floats = (drawn / drawn.mean()).double().numpy()
    return weights


def _pattern(word: str) -> re.Pattern[str]:
    ending = r"\w*" if word.endswith("*") else ""
    return re.compile(rf"(?<!\w){re.escape(word.removesuffix('*'))}{ending}(?!\w)", re.IGNORECASE)


def _prediction(shares: Floats, label: str | None = None) -> Prediction:
    """A rival has no tokens and no energy: nothing here reads them."""
    probabilities = {name: round(float(share), SCORE_DECIMALS) for name, share in zip(LABELS, shares, strict=True)}
    best = label or max(probabilities, key=lambda name: probabilities[name])
    return Prediction(
        label=best, confidence=probabilities[best], probabilities=probabilities, energy=0.0, tokens=0, truncated=False
    )
