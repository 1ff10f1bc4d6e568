"""The model: a bundle's network is loaded and run, its logits become published scores, and a text is found strange or not.

A prediction must not depend on the other texts of its batch, or a redelivered event could get another decision. A network whose sums
over tokens are exact (model_export/onnx/sums.py) gives a text the same logits at any padding, and its file says so: texts of similar
length share a run, padded to the longest of them. In a file that does not say so, the padded length of a text depends on this text alone (its
tokens, rounded up to `LENGTH_STEP`), and texts share a run only if their padded lengths are equal. The rows of a run are independent
arithmetic; the bundle's export gate has shown that they are the same in any batch. Where it has shown that they are not, the manifest
says `alone`, and each text has a run of its own.

A text is unlike the training texts if its energy is high, too many of its words were never learned from, or it is more like the texts of
none of the labels than ordinary texts are. The energy comes from the same logits as the confidence, so a text of which the network is sure
is hardly ever strange by it. A network is sure of texts that it cannot read, too: in a French notice it recognises `images` and little else.
So the words are looked at without the network. The strangeness is a further output of the network that learned from such texts; a bundle
may lack it.

The runtime is imported when a bundle is loaded: what only names predictions stays light, and keyword rules work where it is broken.
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

# The tokenizer's own threads would compete with the worker's; one thread is enough for tens of texts.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# The runtime sends telemetry to its vendor unless this is set.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

SCORE_DECIMALS = 4
# The outputs of a network, beside the logits, that a bundle may have.
LABEL_LOGITS, STRANGENESS = "label_logits", "strangeness"


# A struct and no dataclass: one is made for every event, at an eighth of the time.
class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """
    A classifier's answer for one text.

    Attributes:
        label: The most probable label; the first of the bundle's order (of the rules' own, if they decide) where rounded scores tie.
        confidence: Calibrated probability of `label`, 0 to 1, rounded as published.
        probabilities: Calibrated probability of every label in the bundle's order, rounded as published.
        energy: `-logsumexp(logits)`, in logit units; higher is stranger.
        tokens: Tokens that the network read, special ones included.
        truncated: The text was longer than what the bundle reads, `windows` times `max_length`.
        unfamiliar: The share of the text's words that the training texts lack, 0 to 1 (`text.unfamiliar_share`); 0 where
            the classifier does not know them.
        strangeness: How unlike the texts of the labels it is, in logit units, by a part of the network that learned from texts of none of
            them; None where the bundle has none.
        tags: `label` and the text's other labels, in the bundle's order; empty without the option `multilabel`.
        label_scores: The scores behind `tags`, one for each label, 0 to 1, rounded to four decimals; empty likewise.
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

    `classify` returns one prediction for each text, in their order, and `[]` for no text. A prediction depends on its own text
    alone, not on the rest of the batch. Several threads may call it at once. It may raise any exception; `tagstream.stream.decide.pipeline`
    finds out whether the text or the machine is at fault.
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

    `offsets` are those of the bundle's prior (`manifest.Prior`), one a label; none without a prior.

    It computes with plain floats, one row at a time, since the last digit of a vectorised exponential may depend on the row's place in
    the batch.

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
    Turn the logits of one text into its prediction, with the network's own figure of how strange the text is, if it has one.

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
    The same prediction with `tags`: its own label, and every label whose score, sigmoid(logit), reaches its threshold.

    Args:
        prediction: The prediction of the text.
        label_logits: One logit for each label, in the bundle's order.
        thresholds: The score that a label must reach, compared with the rounded one.

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
        energy: The highest energy of an ordinary text; None where the bundle does not say.
        unfamiliar: The largest share of unfamiliar words in an ordinary text, 0 to 1; None likewise.
        strangeness: The largest strangeness of an ordinary text; None likewise.
    """

    energy: float | None = None
    unfamiliar: float | None = None
    strangeness: float | None = None

    def is_strange(self, prediction: Prediction) -> bool:
        """
        Whether the text is out of distribution by any of the figures.

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
    """The limits in a manifest's reference; a bundle that lacks some finds fewer texts strange."""
    return OodLimits(
        energy=reference.get("ood_energy"),
        unfamiliar=reference.get("ood_unfamiliar"),
        strangeness=reference.get("ood_strangeness"),
    )


LENGTH_STEP = 8
# Of a run, padding included: its activations fit into the cache of a core, and more tokens take no less time each.
TOKENS_PER_RUN = 256
# The time of a run that does not depend on its size is that of about so many tokens.
TOKENS_OF_A_RUN = 16
GOLDEN_TOLERANCE = 0.02
ARITHMETIC_DIGITS = 12
# The longest wait for the other threads' batch, which takes some tenths of a second unless the machine is overloaded.
WARM_UP_SECONDS = 60.0

Ids = npt.NDArray[np.int64]
Logits = npt.NDArray[np.float32]


class OnnxClassifier:
    """
    A loaded bundle. Safe to call from several threads, which share the session and no other state.

    Attributes:
        arithmetic: 12 hexadecimal digits of the golden texts' logits, to the last bit. Two machines with the same one compute
            the same decisions; a processor without fused multiply-add, or another version of the runtime, may have another.
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
        # An imported network's bundle has no list.
        self._known_words = frozenset(bundle.manifest.reference.get("known_words", ()))
        self._tokenizer = _tokenizer(bundle)
        self._session = _session(bundle)
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._any_padding = self._session.get_modelmeta().custom_metadata_map.get(PADDING_METADATA_KEY) == ANY_PADDING
        self.arithmetic = self._check_golden()

    def warm_up(self, threads: int) -> None:
        """
        Decide the largest batches once in this many threads at the same time, so that their memory is allocated now.

        The runtime allocates memory when a batch needs it and never gives it back. Without the warm-up, a worker would reach its memory
        limit under load instead of when it is deployed. The longest texts come first, since a shorter batch does not always fit
        into the memory that a longer one has left.
        """
        longest = self._bundle.manifest.max_length
        lengths = [longest >> halvings for halvings in range(longest.bit_length()) if longest >> halvings >= LENGTH_STEP]
        rows = [max(1, TOKENS_PER_RUN // length) for length in lengths]
        together = threading.Barrier(threads)

        def decide() -> None:
            for length, several in zip(lengths, rows, strict=True):
                together.wait(WARM_UP_SECONDS)
                # The longest text is truncated; in the others, the model adds two tokens.
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
            texts: Any number.
            logits: Gets the network's first output for each text, in order: the check of the golden texts goes the way of every other text.

        >>> from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, read
        >>> classifier = OnnxClassifier(read(DEFAULT_BUNDLE))
        >>> [p.label for p in classifier.classify(["Translating low-resource languages with back-translation"])]
        ['natural-language-processing']
        """
        encodings = self._tokenizer.encode_batch(list(texts))
        windows = [self._windows(encoding) for encoding in encodings]
        ids = [window.ids for several in windows for window in several]
        # By the place in `ids`.
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
        """The parts of a text that are read, each of at most `max_length` tokens."""
        return [encoding, *encoding.overflowing[: self._bundle.manifest.windows - 1]]

    def _of_texts(
        self, said: Sequence[tuple[Logits, ...]], windows: "Sequence[Sequence[Encoding]]"
    ) -> Sequence[tuple[Logits, ...]]:
        """Of every text, in order, its value of each of `_outputs`: that of its window, or the mean over several."""
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
        """The network's inputs, [rows, length]: token ids padded with 0, and a mask that is 1 where there is a token."""
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
        """Compare the predictions for the golden texts with the manifest's; return the digest of their logits."""
        golden, option = self._bundle.manifest.golden, self._bundle.manifest.multilabel
        label_scores = option.golden if option is not None else [()] * len(golden)
        logits: list[Logits] = []
        try:
            predictions = self.classify([text.text for text in golden], logits=logits)
        # The runtime's exceptions share no base class but `Exception`; a weight that is no number gives a ValueError.
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
    """The mean of one output over the windows of a text, which alone decide it; of one window that output itself."""
    return windows[0] if len(windows) == 1 else np.stack(windows).mean(axis=0, dtype=np.float64).astype(np.float32)


def padded_length(tokens: int, max_length: int) -> int:
    """
    The length to which a text of this many tokens is padded in a file whose logits depend on it: a function of the text alone.

    >>> [padded_length(n, 128) for n in (3, 8, 9, 128)]
    [8, 8, 16, 128]
    """
    return min(-(-tokens // LENGTH_STEP) * LENGTH_STEP, max_length)


def cut_into_runs(lengths: Sequence[int]) -> list[list[int]]:
    """
    Put texts of these lengths into runs, each padded to its longest text, so that all together take the least time.

    The time of a run is that of its tokens, padding included, and of `TOKENS_OF_A_RUN` more; it has at most `TOKENS_PER_RUN` tokens,
    or one text. In the order of length, every best cut of the first texts ends in one run behind a best cut of fewer.

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
    The width of each output that the network must have, by the manifest.

    Args:
        bundle: The bundle.
        there: The outputs that it has. That of `STRANGENESS` may be there before a limit is known; with a limit it must be.
    """
    manifest = bundle.manifest
    found = {"logits": len(manifest.labels)}
    if manifest.multilabel is not None:
        found[LABEL_LOGITS] = len(manifest.labels)
    if STRANGENESS in there or limits_in(manifest.reference).strangeness is not None:
        found[STRANGENESS] = 1
    return found


# By the SHA-256 of the file, as long as a classifier has it: bundles that differ in thresholds alone take no more memory than one. A tokenizer
# cuts at a length, so it is one for each length too.
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
    # The library raises bare `Exception` for a file that it cannot read, and has no narrower type.
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
        model: The bytes of an ONNX file. Another format is refused: a file may be both an ONNX file, which the checks of a bundle
            read, and one in the runtime's own format, which it would prefer.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    # One core per call and no spinning, since the worker has threads of its own and the host runs other programs.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # The runtime would keep a plan of memory for every shape that it has seen, and there are a thousand.
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    session = ort.InferenceSession(
        model,
        options,
        providers=["CPUExecutionProvider"],
        # The fused node is slower than the two nodes that it replaces, by 13 to 22 % of the whole network's time.
        disabled_optimizers=["SkipLayerNormFusion"],
    )
    # Kept for a second attempt with other providers, of which there are none here.
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
