"""The output `strangeness` of a file: how unlike the texts of the labels a text is, by its vector and its words.

A column is a score that separates the texts of one label, or of all labels, from all other texts. The largest column is the familiarity
of a text, and `strangeness` is its negative, in logit units:

    column       vector @ line + bias, and with words + sum of weights / sqrt(sum of squared rarities) * step
    strangeness  -max(columns), and with centres - max(vector @ centres)

The vector is the input of the network's head, and the lines are rounded as the head is. The words are the network's own tokens. Each
token has a row in a table: a weight for each column, and the squared rarity. All sums over tokens are sums of integers, so a text's
strangeness depends neither on the other texts of the batch nor on padding.

A line separates the texts of a label from all other texts, but does not bound the region of the label. Centres bound it: each column has
some, the means of groups of its texts (k-means), as further lines of the vector.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from tagstream.model_export.bundle.model import STRANGENESS
from tagstream.model_export.onnx import export, heads
from tagstream.model_export.train.head import NEVER, Head

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

INT8_MAX = 127
# The end of a fit of the columns, as in scikit-learn: the largest gradient, and the least gain of a step.
SLOPE, GAIN = 1e-4, 64 * float(np.finfo(np.float64).eps)
CENTRE_STEPS = 20
TINY = float(np.finfo(np.float32).tiny)
# The names of this module's nodes and constants begin with this prefix.
PREFIX = f"{STRANGENESS}."


@dataclass(frozen=True, slots=True, kw_only=True)
class StrangenessRecipe:
    """
    The fit of the columns.

    Attributes:
        strength: The inverse regularisation of each logistic regression, scikit-learn's C.
        words: The columns use the words in addition to the vector.
        least_texts: A token in fewer texts has no weight.
        rare_count: A token without weight has the largest rarity, so that it reduces the influence of the other tokens; else it is ignored.
        centres: The most centres of a column; 0 for none.
        centre_share: The standard deviation of the centres' part over the familiar texts, as a multiple of the columns'.
        iterations: The largest number of iterations of a fit.
    """

    strength: float = 10.0
    words: bool = True
    least_texts: int = 2
    rare_count: bool = False
    centres: int = 0
    centre_share: float = 0.5
    iterations: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """
    The words' part of the columns.

    Attributes:
        table: The table, of shape (vocabulary, columns + 1); the last column is the squared rarity.
        step: The size of one unit of the table's weights, in logit units, after the division.
    """

    table: npt.NDArray[np.int8]
    step: float

    def columns(self, rows: Sequence[Sequence[int]]) -> Floats:
        """Return the words' part of each column for tokenised texts, [texts, columns], as the file computes it."""
        sums = np.array([self.table[np.asarray(row, dtype=np.int64)].sum(axis=0, dtype=np.int64) for row in rows])
        found: Floats = sums[:, :-1] / np.sqrt(np.maximum(sums[:, -1:], 1)) * self.step
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """
    Fitted columns.

    Attributes:
        lines: The weight of shape (columns, width) and the bias of shape (columns,).
        words: The words' part; None if the columns use the vector alone.
        centres: The centres in logit units, [centres, width]; None without centres.
    """

    lines: Head
    words: Words | None
    centres: Floats | None = None

    def strangeness(self, vectors: Floats, rows: Sequence[Sequence[int]]) -> Floats:
        """
        Return the strangeness of texts as the file computes it, except for the rounding of the lines, without a runtime.

        Args:
            vectors: The vectors of the texts from `heads.embed`, [texts, width].
            rows: By text, the numbers of its tokens.
        """
        columns = vectors @ self.lines.weight.T + self.lines.bias
        if self.words is not None:
            columns += self.words.columns(rows)
        found: Floats = -columns.max(axis=1)
        if self.centres is not None:
            found -= (vectors @ self.centres.T).max(axis=1)
        return found


def counts(rows: Sequence[Sequence[int]], vocabulary: int) -> sparse.csr_matrix:
    """
    Count how often each text has each token, [texts, vocabulary].

    Args:
        rows: By text, the numbers of its tokens.
        vocabulary: The number of tokens that the tokenizer has.

    >>> counts([[1, 2, 1]], 4).toarray().tolist()
    [[0.0, 2.0, 1.0, 0.0]]
    """
    where = (np.repeat(np.arange(len(rows)), [len(row) for row in rows]), np.concatenate([np.asarray(row) for row in rows]))
    found = sparse.csr_matrix((np.ones(len(where[0])), where), shape=(len(rows), vocabulary))
    found.sum_duplicates()
    return found


def fit(
    vectors: Floats, tokens: sparse.csr_matrix, familiar: Flags, recipe: StrangenessRecipe, like: Columns | None = None
) -> Columns:
    """
    Fit every column, with the words as the file computes them: with rounded rarities.

    Args:
        vectors: The vectors of the texts from `heads.embed`, [texts, width].
        tokens: The tokens of the texts from `counts`.
        familiar: The texts that each column separates from all others, [texts, columns].
        recipe: The numbers of the procedure.
        like: The fit to all texts, if this fit is to a part of them. The centres get the same scale, so that figures of both fits compare.
    """
    if recipe.words:
        found = _with_words(vectors, tokens, familiar, recipe)
    else:
        found = Columns(lines=_lines(vectors, familiar, recipe), words=None)
    if not recipe.centres:
        return found
    centres, texts = _centres(vectors, familiar, recipe), vectors[familiar.any(axis=1)]
    if like is not None and like.centres is not None:
        factor = float(np.linalg.norm(like.centres[0]))
    else:
        spread = [side.max(axis=1).std() for side in (texts @ found.lines.weight.T + found.lines.bias, texts @ centres.T)]
        factor = max(recipe.centre_share * spread[0] / max(spread[1], TINY), TINY)
    return replace(found, centres=centres * factor)


def _with_words(vectors: Floats, tokens: sparse.csr_matrix, familiar: Flags, recipe: StrangenessRecipe) -> Columns:
    texts = np.asarray((tokens > 0).sum(axis=0)).ravel()
    rarity = (np.log((1 + len(vectors)) / (1 + texts)) + 1) ** 2
    known = texts >= recipe.least_texts
    squared = np.maximum(np.round(rarity / (max(rarity[known].max(initial=0.0), 1.0) / INT8_MAX)), 1)
    squared[~known] = INT8_MAX if recipe.rare_count else 0
    used = np.flatnonzero(known)
    norm = np.sqrt(np.maximum(tokens @ squared, 1))
    words = (sparse.diags(1 / norm) @ tokens[:, used] @ sparse.diags(np.sqrt(squared[used]))).tocsr()
    both = _lines(vectors, familiar, recipe, words)
    by_word = both.weight[:, : len(used)] * np.sqrt(squared[used])
    step = max(float(np.abs(by_word).max(initial=0.0)), TINY) / INT8_MAX
    table = np.zeros((tokens.shape[1], len(both.bias) + 1), dtype=np.int8)
    table[used, :-1] = np.round(by_word / step).T
    table[:, -1] = squared
    return Columns(lines=Head(weight=both.weight[:, len(used) :], bias=both.bias), words=Words(table=table, step=step))


def _lines(vectors: Floats, familiar: Flags, recipe: StrangenessRecipe, words: sparse.csr_matrix | None = None) -> Head:
    """
    Fit a line for each column, by logistic regression of its texts against all others. In the result, the words' weights come first.

    All columns are fitted at once, because fits are repeated without some labels: a fit of 20 columns takes a tenth of the time of 20 fits.
    """
    spare = 0 if words is None else words.shape[1]
    rows, several = familiar.shape
    target, ridge = familiar.astype(np.float64), 1 / (recipe.strength * rows)

    def loss(flat: Floats) -> tuple[float, Floats]:
        found = flat.reshape(-1, several)
        logits = vectors @ found[spare:-1] + found[-1]
        if words is not None:
            logits += words @ found[:spare]
        gap = (expit(logits) - target) / rows
        slope = np.empty_like(found)
        slope[spare:-1], slope[-1] = vectors.T @ gap, gap.sum(axis=0)
        if words is not None:
            slope[:spare] = words.T @ gap
        slope[:-1] += ridge * found[:-1]
        value = (np.logaddexp(0, logits) - target * logits).sum() / rows + ridge / 2 * (found[:-1] ** 2).sum()
        return float(value), slope.ravel()

    begin = np.zeros((spare + vectors.shape[1] + 1, several))
    done = minimize(
        loss, begin.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": recipe.iterations, "gtol": SLOPE, "ftol": GAIN}
    )
    found = done.x.reshape(begin.shape)
    # If a fold holds back all texts of a column, the column finds no text familiar.
    empty = ~familiar.any(axis=0)
    found[:, empty] = 0
    found[-1, empty] = NEVER
    return Head(weight=found[:-1].T.copy(), bias=found[-1].copy())


def _centres(vectors: Floats, familiar: Flags, recipe: StrangenessRecipe) -> Floats:
    """Return the centres of each column's texts, scaled to unit length."""
    found = []
    # Several threads would add in a varying order.
    with threadpool_limits(1):
        for known in familiar.T:
            texts = np.unique(vectors[known], axis=0)
            if len(texts):
                several = min(recipe.centres, len(texts))
                found.append(KMeans(several, n_init=1, max_iter=CENTRE_STEPS, random_state=0).fit(texts).cluster_centers_)
    centres = np.concatenate(found)
    unit: Floats = centres / np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), TINY)
    return unit


def add(model: bytes, columns: Columns, labels: Sequence[str]) -> bytes:
    """
    Return the file with the output `strangeness`, [batch, 1]. An older output of this name is replaced.

    Args:
        model: The network's file.
        columns: The columns.
        labels: The labels in the order of the logits.

    Raises:
        HeadError: The head in the file does not have the structure that `quantize` writes.
        ExportError: The result is not valid ONNX.
    """
    graph = export.load(model)
    drop(graph)
    heads.add_product(graph, columns.lines, f"{PREFIX}lines")
    if columns.centres is not None:
        heads.add_product(graph, Head(weight=columns.centres, bias=np.zeros(len(columns.centres))), f"{PREFIX}centres")
    _append(graph.graph, columns)
    graph.graph.output.append(helper.make_tensor_value_info(STRANGENESS, TensorProto.FLOAT, ["batch", 1]))
    return export.finish(graph, labels)


def is_in(model: bytes) -> bool:
    """Whether the file has the output `strangeness`."""
    return any(output.name == STRANGENESS for output in export.load(model).graph.output)


def drop(graph: onnx.ModelProto) -> None:
    """Remove the output `strangeness` and the nodes that only it needs, if there are any."""
    for kept in (graph.graph.output, graph.graph.node, graph.graph.initializer):
        for item in [item for item in kept if item.name == STRANGENESS or item.name.startswith(PREFIX)]:
            kept.remove(item)


def _append(graph: onnx.GraphProto, columns: Columns) -> None:
    constants: dict[str, npt.NDArray[Any]] = {"along": np.array([1])}
    nodes: list[tuple[str, str, str, dict[str, int]]] = []
    if columns.words is not None:
        constants |= {
            "table": columns.words.table,
            "across": np.array([2]),
            "sizes": np.array([columns.words.table.shape[1] - 1, 1]),
            "one": np.array(1, dtype=np.float32),
            "step": np.array(columns.words.step, dtype=np.float32),
        }
        nodes += [
            ("Cast", "attention_mask", "mask", {"to": TensorProto.INT32}),
            ("Unsqueeze", "mask across", "seen", {}),
            ("Gather", "table input_ids", "rows", {}),
            ("Cast", "rows", "rows_wide", {"to": TensorProto.INT32}),
            ("Mul", "rows_wide seen", "rows_seen", {}),
            ("ReduceSum", "rows_seen along", "sums", {"keepdims": 0}),
            ("Cast", "sums", "sums_real", {"to": TensorProto.FLOAT}),
            ("Split", "sums_real sizes", "weights rarity", {"axis": 1}),
            ("Max", "rarity one", "rarity_positive", {}),
            ("Sqrt", "rarity_positive", "norm", {}),
            ("Div", "weights norm", "normed", {}),
            ("Mul", "normed step", "words", {}),
            ("Add", "lines words", "columns", {}),
        ]
    read = "lines" if columns.words is None else "columns"
    nodes += [("ReduceMax", f"{read} along", "familiarity", {"keepdims": 1})]
    if columns.centres is not None:
        nodes += [
            ("ReduceMax", "centres along", "nearness", {"keepdims": 1}),
            ("Add", "familiarity nearness", "both", {}),
        ]
    nodes += [("Neg", "familiarity" if columns.centres is None else "both", STRANGENESS, {})]
    graph.initializer.extend(numpy_helper.from_array(value, PREFIX + name) for name, value in constants.items())
    graph.node.extend(_node(*node) for node in nodes)


def _node(kind: str, inputs: str, outputs: str, attributes: dict[str, int]) -> onnx.NodeProto:
    """Return one operator. All names get the prefix of this module, except the network's inputs and the output."""

    def full(name: str) -> str:
        return name if name in {*export.INPUTS, STRANGENESS} else PREFIX + name

    where = [full(name) for name in outputs.split()]
    return helper.make_node(kind, [full(name) for name in inputs.split()], where, where[0], **attributes)
