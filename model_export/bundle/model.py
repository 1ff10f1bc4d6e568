"""The model: loads and runs a bundle's network, turns its logits into published scores, and finds texts that are out of distribution.

A prediction must not depend on the other texts of its batch, or a redelivered event could get another decision. If a network's sums over
tokens are exact (model_export/onnx/sums.py), a text has the same logits at any padding, and the network's file states this. Texts of similar
length then share a run, padded to the longest text. Otherwise the padded length of a text depends on this text alone (its tokens, rounded up
to `LENGTH_STEP`), and only texts of equal padded length share a run. The rows of a run are independent arithmetic: the bundle's export gate
has shown that they are the same in any batch. If the gate has shown that they are not, the manifest says `alone`, and each text has a run
of its own.

A text is out of distribution if its energy is high, if too many of its words are not in the training texts, or if its strangeness is high.
The energy comes from the same logits as the confidence, so a text of which the network is sure rarely has a high energy. But a network may be
sure of a text that it cannot read: in a French notice it recognises `images` and little else. So the words are counted without the network.
The strangeness is a further output of the network, learned from texts of none of the labels; a bundle may lack it.

The runtime is imported when a bundle is loaded: a module that only names predictions stays light, and keyword rules work without the runtime.
"""

import hashlib
import itertools
import math
import os
import threading
import weakref
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from tagstream.model_export.bundle.bundle import ANY_PADDING, PADDING_METADATA_KEY, Bundle, BundleError
from tagstream.model_export.bundle.text import unfamiliar_share

if TYPE_CHECKING:
    import onnxruntime as ort
    from tokenizers import Encoding, Tokenizer

# The tokenizer's own threads would compete with the worker's threads. One thread is enough for tens of texts.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# The runtime sends telemetry to its vendor unless this is set.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

SCORE_DECIMALS = 4
# The optional outputs of a network beside the logits.
LABEL_LOGITS, STRANGENESS = "label_logits", "strangeness"


# A struct and not a dataclass: a prediction is made for every event, and a struct takes an eighth of the time.
class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """
    A classifier's answer for one text.

    Attributes:
        label: The most probable label. If rounded scores tie, the first label in the order of the bundle, or of the rules.
        confidence: Calibrated probability of `label`, 0 to 1, rounded as published.
        probabilities: Calibrated probability of every label in the bundle's order, rounded as published.
        energy: `-logsumexp(logits)`, in logit units; higher is stranger.
        tokens: Tokens that the network read, special ones included.
        truncated: True if the text was longer than the bundle reads: `windows` times `max_length`.
        unfamiliar: The share of the text's words that the training texts lack, 0 to 1 (`text.unfamiliar_share`); 0 if the classifier does
            not know the words of its training texts.
        strangeness: The distance from the texts of all labels, in logit units, by an output of the network that learned from texts of none
            of the labels; None if the bundle has no such output.
        tags: `label` and the text's other labels, in the bundle's order; empty without the option `multilabel`.
        label_scores: The scores behind `tags`, one for each label, 0 to 1, rounded to four decimals; empty without `multilabel`.
    """

    label: str
    confidence: float
    probabilities: dict[str, float]
    energy: float
    tokens: int
    truncated: bool
    unfamiliar: float = 0.0
    strangeness: float | None = None
    tags: tuple[str, ...] = ()
    label_scores: dict[str, float] = msgspec.field(default_factory=dict)


class Classifier(Protocol):
    """
    A loaded model.

    `classify` returns one prediction for each text, in their order, and `[]` for no text. A prediction depends only on its own text, and not
    on the rest of the batch. Several threads may call `classify` at once. It may raise any exception; `tagstream.stream.decide.pipeline` finds
    out whether the text or the machine is at fault.
    """

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the bundle's order."""
        ...

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """Predict every text."""
        ...


def score(logits: Sequence[float], temperature: float, offsets: Sequence[float] = ()) -> tuple[float, ...]:
    """
    Calibrated probabilities as they are published: softmax(logits / temperature + offsets), rounded to four decimals.

    `offsets` are the offsets of the bundle's prior (`manifest.Prior`), one for each label; empty without a prior.

    The function computes with plain floats, one row at a time, since the last digit of a vectorised exponential may depend on the row's place
    in the batch.

    >>> score([2.0, 0.0], 1.0)
    (0.8808, 0.1192)
    >>> score([2.0, 0.0], 1.0, [-2.0, 0.0])
    (0.5, 0.5)
    """
    scaled = [value / temperature for value in logits]
    if offsets:
        scaled = [value + offset for value, offset in zip(scaled, offsets, strict=True)]
    top = max(scaled)
    exponentials = [math.exp(value - top) for value in scaled]
    total = math.fsum(exponentials)
    return tuple([round(value / total, SCORE_DECIMALS) for value in exponentials])


def energy(logits: Sequence[float]) -> float:
    """
    Negative log of the sum of exponentials, the energy score of Liu et al. (NeurIPS 2020).

    >>> round(energy([0.0, 0.0]), 4)
    -0.6931
    """
    top = max(logits)
    return -(top + math.log(math.fsum([math.exp(value - top) for value in logits])))


def predict(  # noqa: PLR0913 - parts are named arguments
    logits: Sequence[float],
    *,
    labels: Sequence[str],
    temperature: float,
    tokens: int,
    truncated: bool,
    unfamiliar: float = 0.0,
    strangeness: float | None = None,
    offsets: Sequence[float] = (),
) -> Prediction:
    """
    Turn the logits of one text into its prediction, with the network's strangeness if it gives one.

    Raises:
        ValueError: A logit or the strangeness is not a finite number. The network is broken, and a comparison of NaN with a threshold
            means nothing.

    >>> predict([2.0, 0.0], labels=["a", "b"], temperature=1.0, tokens=3, truncated=False, strangeness=-1.23456).strangeness
    -1.2346
    """
    if strangeness is not None and not math.isfinite(strangeness):
        msg = "the network gave a strangeness that is not a finite number"
        raise ValueError(msg)
    if not all(map(math.isfinite, logits)):
        msg = "the network gave a score that is not a finite number"
        raise ValueError(msg)
    probabilities = score(logits, temperature, offsets)
    confidence = max(probabilities)
    return Prediction(
        label=labels[probabilities.index(confidence)],
        confidence=confidence,
        probabilities=dict(zip(labels, probabilities, strict=True)),
        energy=round(energy(logits), SCORE_DECIMALS),
        tokens=tokens,
        truncated=truncated,
        unfamiliar=unfamiliar,
        strangeness=None if strangeness is None else round(strangeness, SCORE_DECIMALS),
    )


def add_tags(prediction: Prediction, label_logits: Sequence[float], thresholds: Mapping[str, float]) -> Prediction:
    """
    The prediction with `tags`: its own label, and every label whose score, sigmoid(logit), reaches its threshold.

    Args:
        prediction: The prediction of the text.
        label_logits: One logit for each label, in the bundle's order.
        thresholds: By label, the least rounded score of a tag.

    Raises:
        ValueError: A logit is not a finite number, so the network is broken.

    >>> one = predict([2.0, 0.0], labels=["a", "b"], temperature=1.0, tokens=3, truncated=False)
    >>> add_tags(one, [-1.0, 2.0], {"a": 0.5, "b": 0.5}).tags, add_tags(one, [1.0, -2.0], {"a": 0.5, "b": 0.5}).tags
    (('a', 'b'), ('a',))
    """
    if not all(map(math.isfinite, label_logits)):
        msg = "the network gave a label score that is not a finite number"
        raise ValueError(msg)
    scores = dict(zip(prediction.probabilities, map(sigmoid, label_logits), strict=True))
    tags = tuple(label for label, found in scores.items() if label == prediction.label or found >= thresholds[label])
    return msgspec.structs.replace(prediction, tags=tags, label_scores=scores)


def sigmoid(logit: float) -> float:
    """
    1 / (1 + exp(-logit)), rounded to four decimals, without overflow.

    >>> sigmoid(0.0), sigmoid(-1000.0), sigmoid(1000.0)
    (0.5, 0.0, 1.0)
    """
    small = math.exp(-abs(logit))
    return round((1.0 if logit >= 0 else small) / (1.0 + small), SCORE_DECIMALS)


@dataclass(frozen=True, slots=True, kw_only=True)
class OodLimits:
    """
    The figures of a bundle above which a text is out of distribution.

    Attributes:
        energy: The highest energy of an ordinary text; None if the bundle has no such limit.
        unfamiliar: The largest share of unfamiliar words in an ordinary text, 0 to 1; None if the bundle has no such limit.
        strangeness: The largest strangeness of an ordinary text; None if the bundle has no such limit.
    """

    energy: float | None = None
    unfamiliar: float | None = None
    strangeness: float | None = None

    def is_strange(self, prediction: Prediction) -> bool:
        """
        True if the text is out of distribution by any of the figures.

        >>> from tagstream.model_export.bundle.model import predict
        >>> read = predict([3.0, 0.0], labels=["a", "b"], temperature=1.0, tokens=3, truncated=False, unfamiliar=0.6)
        >>> OodLimits(energy=-1.5).is_strange(read), OodLimits(energy=-1.5, unfamiliar=0.4).is_strange(read)
        (False, True)
        """
        by_energy = self.energy is not None and prediction.energy > self.energy
        by_words = self.unfamiliar is not None and prediction.unfamiliar > self.unfamiliar
        by_kind = (
            self.strangeness is not None and prediction.strangeness is not None and prediction.strangeness > self.strangeness
        )
        return by_energy or by_words or by_kind


NO_LIMITS = OodLimits()


def limits_in(reference: Mapping[str, Any]) -> OodLimits:
    """The limits in a manifest's reference. A bundle that lacks a limit finds fewer texts strange."""
    return OodLimits(
        energy=reference.get("ood_energy"),
        unfamiliar=reference.get("ood_unfamiliar"),
        strangeness=reference.get("ood_strangeness"),
    )


LENGTH_STEP = 8
# The most tokens of a run, padding included: its activations fit into the cache of a core, and longer runs take as much time per token.
TOKENS_PER_RUN = 256
# The fixed time of a run, in tokens: a run of any size takes as much time as this many tokens more.
TOKENS_OF_A_RUN = 16
GOLDEN_TOLERANCE = 0.02
ARITHMETIC_DIGITS = 12
# The longest wait for the other threads' batch, which takes some tenths of a second unless the machine is overloaded.
WARM_UP_SECONDS = 60.0

Ids = npt.NDArray[np.int64]
Logits = npt.NDArray[np.float32]


class OnnxClassifier:
    """
    A loaded bundle. Thread-safe: threads share only the session.

    Attributes:
        arithmetic: A digest (12 hexadecimal digits) of the golden texts' logits, to the last bit. Two machines with the same arithmetic
            compute the same decisions. It may differ on a processor without fused multiply-add, or with another version of the runtime.
    """

    def __init__(self, bundle: Bundle) -> None:
        """
        Load the network from the verified bytes and compare its predictions for the bundle's golden texts.

        Raises:
            BundleError: The runtime does not accept the network, its inputs or outputs are not the bundle's, or this machine
                does not reproduce the golden texts.
        """
        self._bundle = bundle.without_files()
        self._labels = bundle.manifest.labels
        self._offsets = bundle.manifest.offsets()
        # The bundle of an imported network has no list of known words.
        self._known_words = frozenset(bundle.manifest.reference.get("known_words", ()))
        self._tokenizer = _tokenizer(bundle)
        self._session = _session(bundle)
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._any_padding = self._session.get_modelmeta().custom_metadata_map.get(PADDING_METADATA_KEY) == ANY_PADDING
        self.arithmetic = self._check_golden()

    def warm_up(self, threads: int) -> None:
        """
        Decide the largest batches once in this many threads at the same time, so that their memory is allocated now.

        The runtime allocates memory when a batch needs it, and never frees it. Without the warm-up, a worker would reach its memory limit
        under load instead of at its deployment. The longest texts come first, since a shorter batch does not always fit into the memory that a
        longer batch has left.
        """
        longest = self._bundle.manifest.max_length
        lengths = [longest >> halvings for halvings in range(longest.bit_length()) if longest >> halvings >= LENGTH_STEP]
        rows = [max(1, TOKENS_PER_RUN // length) for length in lengths]
        together = threading.Barrier(threads)

        def decide() -> None:
            for length, several in zip(lengths, rows, strict=True):
                together.wait(WARM_UP_SECONDS)
                # The longest text is truncated. To every other text the model adds two tokens.
                self.classify(["memory " * (length if length == longest else length - 2)] * several)

        with ThreadPoolExecutor(threads, thread_name_prefix="warm-up") as executor:
            for done in [executor.submit(decide) for _ in range(threads)]:
                done.result()

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the bundle's order."""
        return self._labels

    def classify(self, texts: Sequence[str], *, logits: list[Logits] | None = None) -> list[Prediction]:
        """
        Predict every text, in order.

        Args:
            texts: Any number of texts.
            logits: A list that gets the network's first output for each text, in order. The check of the golden texts needs it.

        >>> from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, read
        >>> classifier = OnnxClassifier(read(DEFAULT_BUNDLE))
        >>> [p.label for p in classifier.classify(["Translating low-resource languages with back-translation"])]
        ['natural-language-processing']
        """
        encodings = self._tokenizer.encode_batch(list(texts))
        windows = [self._windows(encoding) for encoding in encodings]
        ids = [window.ids for several in windows for window in several]
        # The outputs of each window, by its place in `ids`.
        said: dict[int, tuple[Logits, ...]] = {}
        for rows in self._runs([len(tokens) for tokens in ids]):
            inputs = self._inputs([ids[row] for row in rows])
            said |= zip(rows, zip(*self._session.run(self._outputs, inputs), strict=True), strict=True)
        values = self._of_texts([said[place] for place in range(len(ids))], windows)
        if logits is not None:
            logits += [row[0] for row in values]
        return [
            self._prediction(text, encoding, parts, row)
            for text, encoding, parts, row in zip(texts, encodings, windows, values, strict=True)
        ]

    def _windows(self, encoding: "Encoding") -> "list[Encoding]":
        """The windows of a text that the network reads, each of at most `max_length` tokens."""
        return [encoding, *encoding.overflowing[: self._bundle.manifest.windows - 1]]

    def _of_texts(
        self, said: Sequence[tuple[Logits, ...]], windows: "Sequence[Sequence[Encoding]]"
    ) -> Sequence[tuple[Logits, ...]]:
        """For every text, in order, the value of each of `_outputs`: the window's value, or the mean over several windows."""
        if self._bundle.manifest.windows == 1:
            return said
        each = iter(said)
        return [tuple(map(_mean, zip(*itertools.islice(each, len(several)), strict=True))) for several in windows]

    def _runs(self, lengths: Sequence[int]) -> list[list[int]]:
        """The texts that share a run, as positions in `lengths`."""
        if self._bundle.manifest.alone:
            return [[position] for position in range(len(lengths))]
        if self._any_padding:
            return cut_into_runs(lengths)
        equal: defaultdict[int, list[int]] = defaultdict(list)
        for position, length in enumerate(lengths):
            equal[self._padded(length)].append(position)
        return [
            [positions[place] for place in run]
            for length, positions in equal.items()
            for run in cut_into_runs([length] * len(positions))
        ]

    def _inputs(self, rows: Sequence[list[int]]) -> dict[str, Ids]:
        """The network's inputs, [rows, length]: token ids padded with 0, and a mask that is 1 for a token and 0 for padding."""
        length = self._padded(max(map(len, rows)))
        ids: Ids = np.zeros((len(rows), length), dtype=np.int64)
        mask: Ids = np.zeros((len(rows), length), dtype=np.int64)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        return {"input_ids": ids, "attention_mask": mask}

    def _padded(self, tokens: int) -> int:
        """The length of a run whose longest text has this many tokens."""
        manifest = self._bundle.manifest
        return tokens if self._any_padding or manifest.alone else padded_length(tokens, manifest.max_length)

    def _prediction(
        self, text: str, encoding: "Encoding", windows: "Sequence[Encoding]", values: tuple[Logits, ...]
    ) -> Prediction:
        manifest, said = self._bundle.manifest, dict(zip(self._outputs, values, strict=True))
        found = predict(
            said["logits"].tolist(),
            labels=self._labels,
            temperature=manifest.temperature,
            offsets=self._offsets,
            tokens=sum(len(window.ids) for window in windows),
            truncated=len(encoding.overflowing) >= len(windows),
            unfamiliar=unfamiliar_share(text, self._known_words) if self._known_words else 0.0,
            strangeness=float(said[STRANGENESS][0]) if STRANGENESS in said else None,
        )
        if manifest.multilabel is None:
            return found
        return add_tags(found, said[LABEL_LOGITS].tolist(), manifest.multilabel.thresholds)

    def _check_golden(self) -> str:
        """Compare the predictions for the golden texts with the manifest. Returns the digest of their logits."""
        golden, option = self._bundle.manifest.golden, self._bundle.manifest.multilabel
        label_scores = option.golden if option is not None else [()] * len(golden)
        logits: list[Logits] = []
        try:
            predictions = self.classify([text.text for text in golden], logits=logits)
        # The runtime's exceptions share no base class but `Exception`. A weight that is not a number gives a ValueError.
        except Exception as error:
            msg = (
                f"bundle {self._bundle.path} is refused: it cannot decide on its golden texts: {error}. Next: export it again."
            )
            raise BundleError(msg) from error
        for text, found, scores in zip(golden, predictions, label_scores, strict=True):
            expected = (*text.probabilities, *scores)
            seen = (*found.probabilities.values(), *found.label_scores.values())
            worst = max(abs(a - b) for a, b in zip(expected, seen, strict=True))
            if worst > GOLDEN_TOLERANCE:
                msg = (
                    f"bundle {self._bundle.path} is refused: this machine's runtime moves a probability of a golden text by "
                    f"{worst:.4f} (at most {GOLDEN_TOLERANCE}): {expected} became {seen}. The processor may "
                    f"saturate int8 products. Next: export the bundle on a machine like this one (tagstream model export)."
                )
                raise BundleError(msg)
        return hashlib.sha256(b"".join(row.tobytes() for row in logits)).hexdigest()[:ARITHMETIC_DIGITS]


def _mean(windows: Sequence[Logits]) -> Logits:
    """The mean of one output over the windows of a text. With one window it is that window's output, unchanged."""
    return windows[0] if len(windows) == 1 else np.stack(windows).mean(axis=0, dtype=np.float64).astype(np.float32)


def padded_length(tokens: int, max_length: int) -> int:
    """
    The length to which a text of this many tokens is padded, if the file's logits depend on padding. It depends on the text alone.

    >>> [padded_length(n, 128) for n in (3, 8, 9, 128)]
    [8, 8, 16, 128]
    """
    return min(-(-tokens // LENGTH_STEP) * LENGTH_STEP, max_length)


def cut_into_runs(lengths: Sequence[int]) -> list[list[int]]:
    """
    Put texts of these lengths into runs, each padded to its longest text, so that all runs together take the least time.

    A run's time is proportional to its tokens, padding included, plus `TOKENS_OF_A_RUN`. A run has at most `TOKENS_PER_RUN` tokens, or one
    text. This is dynamic programming: with texts in the order of length, a best cut of the first n texts is a best cut of fewer texts and
    one more run.

    >>> cut_into_runs([5, 60, 6, 61, 5])
    [[3, 1], [2, 0, 4]]
    """
    order = sorted(range(len(lengths)), key=lambda position: -lengths[position])
    least, begin = [0], [0]
    for end in range(1, len(order) + 1):
        best, start = None, end - 1
        for first in range(end - 1, -1, -1):
            tokens = (end - first) * lengths[order[first]]
            if tokens > TOKENS_PER_RUN and end - first > 1:
                break
            if best is None or least[first] + tokens + TOKENS_OF_A_RUN < best:
                best, start = least[first] + tokens + TOKENS_OF_A_RUN, first
        least.append(best or 0)
        begin.append(start)
    runs, end = [], len(order)
    while end:
        runs.append(order[begin[end] : end])
        end = begin[end]
    return runs[::-1]


def _outputs(bundle: Bundle, there: Collection[str]) -> dict[str, int]:
    """
    The outputs that the network must have by the manifest, each with its width.

    Args:
        bundle: The bundle.
        there: The network's outputs. `STRANGENESS` may be present without a limit in the manifest; with a limit it is required.
    """
    manifest = bundle.manifest
    found = {"logits": len(manifest.labels)}
    if manifest.multilabel is not None:
        found[LABEL_LOGITS] = len(manifest.labels)
    if STRANGENESS in there or limits_in(manifest.reference).strangeness is not None:
        found[STRANGENESS] = 1
    return found


# Shared as long as a classifier uses it, by the SHA-256 of the file: bundles that differ only in thresholds take the memory of one bundle. A
# tokenizer also has a length at which it cuts, so the length is part of the key.
_tokenizers: "weakref.WeakValueDictionary[tuple[bytes, int], Tokenizer]" = weakref.WeakValueDictionary()
_sessions: "weakref.WeakValueDictionary[bytes, ort.InferenceSession]" = weakref.WeakValueDictionary()
_opening = threading.Lock()


def _tokenizer(bundle: Bundle) -> "Tokenizer":
    name = hashlib.sha256(bundle.tokenizer).digest(), bundle.manifest.max_length
    with _opening:
        tokenizer = _tokenizers.get(name)
        if tokenizer is None:
            tokenizer = _tokenizers[name] = _open_tokenizer(bundle)
    return tokenizer


def _open_tokenizer(bundle: Bundle) -> "Tokenizer":
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_buffer(bundle.tokenizer)
    # The library raises a bare `Exception` for a file that it cannot read.
    except Exception as error:
        msg = f"bundle {bundle.path} is refused: tokenizer.json is not a tokenizer: {error}. Next: export it again."
        raise BundleError(msg) from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(bundle.manifest.max_length)
    return tokenizer


def open_session(model: bytes) -> "ort.InferenceSession":
    """
    A session with the settings of production: one core, in the calling thread.

    Args:
        model: The bytes of an ONNX file. Other formats are refused: the same bytes may be an ONNX file, which the checks of a bundle read, and
            a file in the runtime's own format, which the runtime would prefer.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    # One core for each call and no spinning, since the worker has its own threads and the host runs other programs.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # The runtime would keep a memory plan for every shape of input, and there are a thousand shapes.
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    session = ort.InferenceSession(
        model,
        options,
        providers=["CPUExecutionProvider"],
        # The fused node is slower than the two nodes that it replaces, by 13 to 22 % of the network's whole time.
        disabled_optimizers=["SkipLayerNormFusion"],
    )
    # The runtime keeps the bytes for a second attempt with other providers, and there are no other providers here.
    session._model_bytes = None  # noqa: SLF001
    return session


def _session(bundle: Bundle) -> "ort.InferenceSession":
    network = hashlib.sha256(bundle.model).digest()
    try:
        with _opening:
            session = _sessions.get(network)
            if session is None:
                session = _sessions[network] = open_session(bundle.model)
    # onnxruntime's own exceptions share no base class but `Exception`.
    except Exception as error:
        msg = f"bundle {bundle.path} is refused: the runtime does not load model.onnx: {error}. Next: export it again."
        raise BundleError(msg) from error
    inputs = {node.name for node in session.get_inputs()}
    outputs = {node.name: node.shape[-1] for node in session.get_outputs()}
    expected = _outputs(bundle, outputs)
    if inputs != {"input_ids", "attention_mask"} or outputs != expected:
        msg = (
            f"bundle {bundle.path} is refused: model.onnx takes {sorted(inputs)} and gives {outputs} (name and width); by the manifest "
            f"it would be input_ids and attention_mask, and {expected}. Next: export it again."
        )
        raise BundleError(msg)
    return session
