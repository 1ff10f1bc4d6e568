"""Runs the network of a bundle: texts to predictions.

A prediction must not depend on the other texts of its batch, or a redelivered event could get another decision. A network whose sums
over tokens are exact (model_export/onnx/sums.py) gives a text the same logits at any padding, and its file says so: texts of similar
length share a run, padded to the longest of them. In an older file, the padded length of a text depends on this text alone (its
tokens, rounded up to `LENGTH_STEP`), and texts share a run only if their padded lengths are equal. The rows of a run are independent
arithmetic; the bundle's export gate has shown that they are the same in any batch.
"""

import hashlib
import os
import threading
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

# The tokenizer's own threads would compete with the worker's; one thread is enough for tens of texts.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# The runtime sends telemetry to its vendor unless this is set.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort
from tokenizers import Encoding, Tokenizer

from model_export.bundle.bundle import ANY_PADDING, PADDING_METADATA_KEY, Bundle, BundleError
from model_export.bundle.prediction import Prediction, add_tags, predict
from model_export.bundle.strangeness import unfamiliar_share

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
        # An older bundle has no list.
        self._known_words = frozenset(bundle.manifest.reference.get("known_words", ()))
        self._outputs = _outputs(bundle)
        self._tokenizer = _tokenizer(bundle)
        self._session = _session(bundle)
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

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """
        Predict every text, in order.

        >>> from model_export.bundle.bundle import DEFAULT_BUNDLE, read
        >>> classifier = OnnxClassifier(read(DEFAULT_BUNDLE))
        >>> [p.label for p in classifier.classify(["Translating low-resource languages with back-translation"])]
        ['natural-language-processing']
        """
        encodings = self._tokenizer.encode_batch(list(texts))
        logits = self._logits(encodings)
        return [
            self._prediction(text, encoding, *logits[row])
            for row, (text, encoding) in enumerate(zip(texts, encodings, strict=True))
        ]

    def _logits(self, encodings: Sequence[Encoding]) -> list[tuple[Logits, ...]]:
        """Of every text, in order: the logits, and those of the second head if there is one."""
        found: dict[int, tuple[Logits, ...]] = {}
        for rows in self._runs([len(encoding.ids) for encoding in encodings]):
            inputs = self._inputs([encodings[row].ids for row in rows])
            found |= zip(rows, zip(*self._session.run(self._outputs, inputs), strict=True), strict=True)
        return [found[position] for position in range(len(encodings))]

    def _runs(self, lengths: Sequence[int]) -> list[list[int]]:
        """The texts that share a run, as positions in `lengths`."""
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
        return tokens if self._any_padding else padded_length(tokens, self._bundle.manifest.max_length)

    def _prediction(self, text: str, encoding: Encoding, logits: Logits, label_logits: Logits | None = None) -> Prediction:
        manifest = self._bundle.manifest
        found = predict(
            logits.tolist(),
            labels=self._labels,
            temperature=manifest.temperature,
            offsets=self._offsets,
            tokens=len(encoding.ids),
            truncated=bool(encoding.overflowing),
            unfamiliar=unfamiliar_share(text, self._known_words) if self._known_words else 0.0,
        )
        if manifest.multilabel is None or label_logits is None:
            return found
        return add_tags(found, label_logits.tolist(), manifest.multilabel.thresholds)

    def _check_golden(self) -> str:
        """Compare the predictions for the golden texts with the manifest's; return the digest of their logits."""
        golden, option = self._bundle.manifest.golden, self._bundle.manifest.multilabel
        label_scores = option.golden if option is not None else [()] * len(golden)
        encodings = self._tokenizer.encode_batch([text.text for text in golden])
        try:
            logits = self._logits(encodings)
            predictions = [
                self._prediction(text.text, encoding, *row)
                for text, encoding, row in zip(golden, encodings, logits, strict=True)
            ]
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
        return hashlib.sha256(b"".join(row[0].tobytes() for row in logits)).hexdigest()[:ARITHMETIC_DIGITS]


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


def _outputs(bundle: Bundle) -> list[str]:
    """The names of the network's outputs, by the manifest."""
    return ["logits"] if bundle.manifest.multilabel is None else ["logits", "label_logits"]


def _tokenizer(bundle: Bundle) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_buffer(bundle.tokenizer)
    # The library raises bare `Exception` for a file that it cannot read, and has no narrower type.
    except Exception as error:
        msg = f"bundle {bundle.path} is refused: tokenizer.json is not a tokenizer: {error}. Next: export it again."
        raise BundleError(msg) from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(bundle.manifest.max_length)
    return tokenizer


def open_session(model: bytes) -> ort.InferenceSession:
    """
    A session with the settings of production: one core, in the calling thread.

    Args:
        model: The bytes of an ONNX file. Another format is refused: a file may be both an ONNX file, which the checks of a bundle
            read, and one in the runtime's own format, which it would prefer.
    """
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


def _session(bundle: Bundle) -> ort.InferenceSession:
    try:
        session = open_session(bundle.model)
    # onnxruntime's own exceptions share no base class but `Exception`.
    except Exception as error:
        msg = f"bundle {bundle.path} is refused: the runtime does not load model.onnx: {error}. Next: export it again."
        raise BundleError(msg) from error
    inputs = {node.name for node in session.get_inputs()}
    outputs = [node.name for node in session.get_outputs()]
    widths = [node.shape[-1] for node in session.get_outputs()]
    expected, labels = _outputs(bundle), len(bundle.manifest.labels)
    if inputs != {"input_ids", "attention_mask"} or outputs != expected or set(widths) != {labels}:
        msg = (
            f"bundle {bundle.path} is refused: model.onnx takes {sorted(inputs)} and gives {outputs} of width {widths}; by the manifest "
            f"it would be input_ids and attention_mask, and {expected} of width {labels}. Next: export it again."
        )
        raise BundleError(msg)
    return session
