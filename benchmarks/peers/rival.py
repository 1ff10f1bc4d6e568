"""The model that the other arms run: all six layers in dynamic int8, by the runtime's own defaults. Loading it needs no torch."""

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer

from benchmarks.peers.texts import Outcome

# The variable of the environment with the folder of its files.
FOLDER = "PEERS_RIVAL"
MAX_LENGTH = 128
NETWORK, TOKENIZER, LABELS, WEIGHTS = "dynamic-int8.onnx", "tokenizer.json", "labels.txt", "network.safetensors"


class Rival:
    """Tokenizer and session as a tutorial has them: padding to the longest of a batch, the runtime's default threads."""

    def __init__(self, folder: Path) -> None:
        """Load the files that `make_rival` has made."""
        self.labels = (folder / LABELS).read_text(encoding="utf-8").split()
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self._tokenizer.enable_truncation(MAX_LENGTH)
        self._tokenizer.enable_padding()
        self._session = ort.InferenceSession(str(folder / NETWORK), providers=["CPUExecutionProvider"])
        # The tokenizer may not be used by two threads at once.
        self._lock = threading.Lock()

    def tags(self, texts: Sequence[str]) -> list[str]:
        """A label for each text."""
        with self._lock:
            encodings = self._tokenizer.encode_batch(list(texts))
        ids = np.array([encoding.ids for encoding in encodings], dtype=np.int64)
        mask = np.array([encoding.attention_mask for encoding in encodings], dtype=np.int64)
        (logits,) = self._session.run(["logits"], {"input_ids": ids, "attention_mask": mask})
        return [self.labels[place] for place in logits.argmax(axis=1)]

    def outcomes(self, ids: Sequence[str], texts: Sequence[str]) -> list[Outcome]:
        """The outcomes of some events."""
        return [Outcome(id=event, tag=tag) for event, tag in zip(ids, self.tags(texts), strict=True)]
