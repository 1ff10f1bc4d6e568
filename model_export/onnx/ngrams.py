"""The reader of n-grams in a bundle's file: logistic regression on TF-IDF of tokens and of pairs of adjacent tokens.

A small network makes mistakes where single words decide; a model of words makes mistakes where the sentence decides. A mix of both logits
is right more often than either. The reader is a table with one row for each token and one row for each bucket of hashed pairs. A row has
a weight for each label, and the squared rarity. For a text

    logits = sum of weights / sqrt(sum of squared rarities) * step + bias

All sums are sums of integers. So a text's logits do not depend on the other texts of the batch, on padding, or on the order of addition.
The reader costs one lookup for each token and each pair; the network costs millions of products.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from tagstream.model_export.calibrate import temperature
from tagstream.model_export.onnx import export, parity
from tagstream.model_export.train.examples import Examples, drawing_weights
from tagstream.model_export.train.head import every_label
from tagstream.model_export.train.tuning import TeacherRecipe

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Table = npt.NDArray[np.int8]

# The bucket of a pair is (first * FIRST + second * SECOND) mod buckets. The factors are primes, so that both tokens matter.
FIRST, SECOND = 7_919, 104_729
INT8_MAX = 127
LOSS_DECIMALS = 6
# The names of the reader's nodes and constants begin with PREFIX. In a file with a reader, the network's own logits are called
# NETWORK_LOGITS.
PREFIX = "ngrams."
NETWORK_LOGITS = f"{PREFIX}network_logits"


@dataclass(frozen=True, slots=True, kw_only=True)
class NgramRecipe:
    """
    The numbers that determine the reader and its share.

    Attributes:
        strength: The inverse regularisation of the logistic regression, scikit-learn's C.
        buckets: The number of the table's rows for pairs.
        least_texts: A token or bucket in fewer training texts has no weight.
        shares: The candidates for the reader's share in the mixed logits, 0 to 1. The calibration rows choose; 0 leaves the reader out.
        source_shares: By source, the share of draws.
        class_levelling: See `examples.drawing_weights`.
        iterations: The largest number of iterations of the fit.
    """

    strength: float = 40.0
    buckets: int = 1 << 18
    least_texts: int = 2
    shares: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
    source_shares: dict[str, float] = field(default_factory=lambda: dict(TeacherRecipe().source_shares))
    class_levelling: float = TeacherRecipe().class_levelling
    iterations: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ngrams:
    """
    A fitted reader.

    Attributes:
        table: The table, of shape (vocabulary + buckets, labels + 1); the last column is the squared rarity.
        vocabulary: The number of rows for tokens, which come first.
        step: The size of one unit of weight, in logit units, after the division.
        bias: A constant logit for each label.
    """

    table: Table
    vocabulary: int
    step: float
    bias: tuple[float, ...]

    @property
    def buckets(self) -> int:
        """The number of rows for pairs."""
        return len(self.table) - self.vocabulary

    def logits(self, rows: Sequence[Sequence[int]]) -> Floats:
        """Return the logits of tokenised texts, [rows, labels], as the file computes them, without a runtime."""
        sums = np.array([self.table[places(row, self.vocabulary, self.buckets)].sum(axis=0, dtype=np.int64) for row in rows])
        found: Floats = sums[:, :-1] / np.sqrt(np.maximum(sums[:, -1:], 1)) * self.step + np.array(self.bias)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """A reader, its share in the mixed logits (0 leaves it out), and the record of both for the manifest."""

    ngrams: Ngrams
    share: float
    record: dict[str, Any]


def places(row: Sequence[int], vocabulary: int, buckets: int) -> Ints:
    """
    Return the places of a text's rows in the table: first its tokens, then its pairs.

    Args:
        row: The numbers of the text's tokens, in their order.
        vocabulary: The number of tokens that the tokenizer has.
        buckets: The number of rows for pairs; a hash selects the row of a pair.

    >>> places([5, 7], vocabulary=10, buckets=100).tolist()
    [5, 7, 108]
    """
    tokens = np.asarray(row, dtype=np.int64)
    return np.concatenate([tokens, vocabulary + (tokens[:-1] * FIRST + tokens[1:] * SECOND) % buckets])


def learn(
    model: bytes, *, train: Examples, calibration: Examples, vocabulary: int, recipe: NgramRecipe | None = None
) -> Learned:
    """
    Fit a reader, and choose its share in the logits that are mixed with a network's.

    Args:
        model: The network's file, without a reader.
        train: The rows that the reader learns from.
        calibration: The rows on which the share is chosen, by log loss after temperature scaling. Every source has the same weight.
        vocabulary: The number of tokens.
        recipe: The numbers of the procedure; None for the defaults.
    """
    recipe = recipe or NgramRecipe()
    theirs = parity.run(model, calibration.rows)
    ngrams = fit(train, vocabulary, recipe, theirs.shape[1])
    ours = ngrams.logits(calibration.rows)
    targets, level = np.array(calibration.targets), temperature.level_sources(calibration.sources)
    losses: dict[float, float] = {}
    for share in recipe.shares:
        mixed = (1 - share) * theirs + share * ours
        losses[share] = temperature.log_loss(mixed, targets, temperature.fit_temperature(mixed, targets, level), level)
    best = min(losses, key=lambda share: losses[share])
    logger.info("ngrams_learned share=%s calibration_losses=%s", best, losses)
    record = asdict(recipe) | {
        "share": best,
        "calibration_losses": {str(share): round(loss, LOSS_DECIMALS) for share, loss in losses.items()},
        "rows_in_use": int(np.count_nonzero(ngrams.table[:, -1])),
    }
    return Learned(ngrams=ngrams, share=best, record=record)


def fit(train: Examples, vocabulary: int, recipe: NgramRecipe, labels: int) -> Ngrams:
    """
    Fit a logistic regression to the features as the file computes them, with rounded rarities; then round the weights.

    Args:
        train: The training texts.
        vocabulary: The number of tokens that the tokenizer has.
        recipe: The settings of the reader.
        labels: The number of labels.
    """
    counts = _counts(train.rows, vocabulary, recipe.buckets)
    texts = np.asarray((counts > 0).sum(axis=0)).ravel()
    rarity = (np.log((1 + len(train.rows)) / (1 + texts)) + 1) ** 2
    rarity[texts < recipe.least_texts] = 0
    unit = rarity.max() / INT8_MAX
    squared = np.maximum(np.round(rarity / unit), rarity > 0)
    used = np.flatnonzero(squared)
    norm = np.sqrt(np.maximum(counts @ squared, 1))
    scaled = sparse.diags(1 / norm) @ counts[:, used] @ sparse.diags(np.sqrt(squared[used]))
    weights = drawing_weights(train, recipe.source_shares, recipe.class_levelling)
    regression = LogisticRegression(C=recipe.strength, max_iter=recipe.iterations)
    regression.fit(scaled.tocsr(), train.targets, sample_weight=(weights / weights.mean()).double().numpy())
    lines = every_label(regression, labels)
    column = lines.weight * np.sqrt(squared[used])
    step = float(np.abs(column).max()) / INT8_MAX
    table = np.zeros((vocabulary + recipe.buckets, len(column) + 1), dtype=np.int8)
    table[used, :-1] = np.round(column / step).T
    table[:, -1] = squared
    return Ngrams(table=table, vocabulary=vocabulary, step=step, bias=tuple(lines.bias.tolist()))


def _counts(rows: Sequence[Sequence[int]], vocabulary: int, buckets: int) -> sparse.csr_matrix:
    """Count how often each text has each row of the table, [texts, table rows]."""
    found = [places(row, vocabulary, buckets) for row in rows]
    where = (np.repeat(np.arange(len(found)), [len(one) for one in found]), np.concatenate(found))
    counts = sparse.csr_matrix((np.ones(len(where[0])), where), shape=(len(rows), vocabulary + buckets))
    counts.sum_duplicates()
    return counts


def add(model: bytes, learned: Learned, labels: Sequence[str]) -> bytes:
    """
    Return the file with the reader added to its network; with a share of 0, without a reader.

    Args:
        model: The network's file. An older reader in it is replaced.
        learned: The reader and its share.
        labels: The labels in the order of the logits.

    Raises:
        ExportError: The result is not valid ONNX.
    """
    graph = export.load(model)
    drop(graph)
    if learned.share:
        _take_over(graph, export.OUTPUT, NETWORK_LOGITS)
        _append(graph.graph, learned.ngrams, learned.share)
    return export.finish(graph, labels)


def without(model: bytes, labels: Sequence[str]) -> bytes:
    """Return the file without a reader."""
    graph = export.load(model)
    drop(graph)
    return export.finish(graph, labels)


def drop(graph: onnx.ModelProto) -> None:
    """Remove the reader from the graph, if there is one."""
    for kept in (graph.graph.node, graph.graph.initializer):
        for item in [item for item in kept if item.name.startswith(PREFIX)]:
            kept.remove(item)
    _take_over(graph, NETWORK_LOGITS, export.OUTPUT)


def _take_over(graph: onnx.ModelProto, before: str, after: str) -> None:
    """Rename an output of a node."""
    for node in graph.graph.node:
        node.output[:] = [after if name == before else name for name in node.output]


def _append(graph: onnx.GraphProto, ngrams: Ngrams, share: float) -> None:
    labels = ngrams.table.shape[1] - 1
    step, bias = (np.asarray(value, dtype=np.float32) for value in (share * ngrams.step, share * np.array(ngrams.bias)))
    constants: dict[str, npt.NDArray[Any]] = {
        "table": ngrams.table,
        "first": np.array(FIRST),
        "second": np.array(SECOND),
        "buckets": np.array(ngrams.buckets),
        "vocabulary": np.array(ngrams.vocabulary),
        "start": np.array([0]),
        "next": np.array([1]),
        "last": np.array([-1]),
        "end": np.array([np.iinfo(np.int64).max]),
        "along": np.array([1]),
        "across": np.array([2]),
        "sizes": np.array([labels, 1]),
        "one": np.array(1, dtype=np.float32),
        "step": step,
        "bias": bias,
        "network_share": np.array(1 - share, dtype=np.float32),
    }
    graph.initializer.extend(numpy_helper.from_array(value, PREFIX + name) for name, value in constants.items())
    for line in (
        ("Slice", "input_ids start last along", "left"),
        ("Slice", "input_ids next end along", "right"),
        ("Mul", "left first", "left_hashed"),
        ("Mul", "right second", "right_hashed"),
        ("Add", "left_hashed right_hashed", "hashed"),
        ("Mod", "hashed buckets", "bucket"),
        ("Add", "bucket vocabulary", "pairs"),
        ("Concat", "input_ids pairs", "places", {"axis": 1}),
        # A pair is padding if its second token is: padding comes last.
        ("Slice", "attention_mask next end along", "pair_mask"),
        ("Concat", "attention_mask pair_mask", "places_mask", {"axis": 1}),
        ("Cast", "places_mask", "seen_flat", {"to": TensorProto.INT32}),
        ("Unsqueeze", "seen_flat across", "seen"),
        ("Gather", "table places", "rows"),
        ("Cast", "rows", "rows_wide", {"to": TensorProto.INT32}),
        ("Mul", "rows_wide seen", "rows_seen"),
        ("ReduceSum", "rows_seen along", "sums", {"keepdims": 0}),
        ("Cast", "sums", "sums_real", {"to": TensorProto.FLOAT}),
        ("Split", "sums_real sizes", "weights rarity", {"axis": 1}),
        ("Max", "rarity one", "rarity_positive"),
        ("Sqrt", "rarity_positive", "norm"),
        ("Div", "weights norm", "normed"),
        ("Mul", "normed step", "stepped"),
        ("Add", "stepped bias", "said"),
        ("Mul", "network_logits network_share", "network_said"),
        ("Add", "network_said said", export.OUTPUT),
    ):
        kind, inputs, outputs, *attributes = line
        graph.node.append(_node(str(kind), str(inputs), str(outputs), *attributes))


def _node(kind: str, inputs: str, outputs: str, attributes: dict[str, int] | None = None) -> onnx.NodeProto:
    """Return one operator. All names get the reader's prefix, except the network's inputs and output."""

    def full(name: str) -> str:
        return name if name in {*export.INPUTS, export.OUTPUT} else PREFIX + name

    where = outputs.split()
    return helper.make_node(
        kind, [full(name) for name in inputs.split()], [full(name) for name in where], PREFIX + where[0], **(attributes or {})
    )


def recorded(training: dict[str, object], learned: Learned) -> dict[str, object]:
    """Return the training record of a manifest with the reader's record added."""
    return training | {"ngrams": learned.record}
