"""Kernel ridge regression on a label's indicator, and what it says of a text without the text's group, in closed form.

The kernel adds two: a Gaussian of the distance between the texts' vectors, and the cosine of their words, weighted by TF-IDF. The first
knows what a text is about; the second knows names of tools and methods that the encoder has not seen.

One factorisation gives all fits. If G is the inverse of (kernel + ridge / weights), the residuals of a group's texts by the fit without
the group are the group's coefficients, divided by the group's block of G (as in leave-one-out, Rifkin and Lippert 2007, for blocks).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import Tensor

# Rows of the kernel that are computed at once.
BLOCK = 1024
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelRecipe:
    """
    The numbers of the regression.

    Attributes:
        sharpness: The factor of the squared distance of two unit vectors, in the exponent.
        words: The share of the kernel of words, 0 to 1.
        ridge: Added to the kernel's diagonal for a text of weight 1.
    """

    sharpness: float = 1.5
    words: float = 0.2
    ridge: float = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """Texts with their unit vectors, [texts, width]."""

    texts: Sequence[str]
    vectors: Vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """
    The regression's scores of every label, about 0 to 1.

    Attributes:
        known: Of the texts that it learned from, each by the fit without the text's group, [texts, labels].
        others: Of the further texts, by the whole fit, [texts, labels].
    """

    known: Tensor
    others: Tensor


def regress(
    known: Texts, others: Texts, *, targets: Tensor, weights: Tensor, groups: Sequence[str], recipe: KernelRecipe
) -> Scores:
    """
    Fit the regression, and score both kinds of texts. For n texts it takes 8 n² bytes of memory.

    Args:
        known: The texts to learn from.
        others: Further texts to score.
        targets: The indicator of each text's label, [texts, labels].
        weights: The weight of each text, above 0; 1 on average.
        groups: The group of each text.
        recipe: The numbers of the regression.
    """
    words = TfidfVectorizer(sublinear_tf=True, min_df=2, dtype=np.float32)
    tokens = words.fit_transform(known.texts)
    # Scores start from the labels' shares: a text that resembles none gets them.
    shares = (targets * weights[:, None]).sum(dim=0) / weights.sum()
    ridged = _kernel(known.vectors, tokens, known.vectors, tokens, recipe)
    ridged.diagonal().add_(recipe.ridge / weights)
    factor = torch.linalg.cholesky(ridged, out=ridged)
    coefficients = torch.cholesky_solve(targets - shares, factor)
    inverse = torch.cholesky_inverse(factor, out=factor)
    left_out = targets - _residuals(inverse, coefficients, groups)
    del ridged, factor, inverse
    found = torch.zeros(len(others.texts), targets.shape[1])
    if len(others.texts):
        unseen = words.transform(others.texts)
        for start in range(0, len(others.texts), BLOCK):
            part = slice(start, start + BLOCK)
            found[part] = _kernel(others.vectors[part], unseen[part], known.vectors, tokens, recipe) @ coefficients
    return Scores(known=left_out, others=found + shares)


def _residuals(inverse: Tensor, coefficients: Tensor, groups: Sequence[str]) -> Tensor:
    """Return each text's target less its score by the fit without its group, [texts, labels]."""
    _names, numbers, counts = np.unique(np.array(groups), return_inverse=True, return_counts=True)
    found = coefficients / inverse.diagonal()[:, None]
    order = np.argsort(numbers, kind="stable")
    for places in np.split(order, np.cumsum(counts)[:-1]):
        if len(places) > 1:
            at = torch.from_numpy(places)
            found[at] = torch.linalg.solve(inverse[at][:, at], coefficients[at])
    return found


def _kernel(left: Vectors, left_words: csr_matrix, right: Vectors, right_words: csr_matrix, recipe: KernelRecipe) -> Tensor:
    """Return the kernel of two lists of texts, [left, right]."""
    found = torch.empty(len(left), len(right))
    other, other_words = torch.from_numpy(right).T, right_words.T.tocsr()
    for start in range(0, len(left), BLOCK):
        part = slice(start, start + BLOCK)
        near = torch.exp(-2 * recipe.sharpness * (1 - torch.from_numpy(left[part]) @ other))
        same = torch.from_numpy((left_words[part] @ other_words).toarray())
        found[part] = torch.lerp(near, same, recipe.words)
    return found
