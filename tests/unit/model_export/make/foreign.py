"""Classifiers as other teams have them: small ones of four architectures, tuned on the example tickets, in folders of transformers."""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
)

from tagstream.model_export.bundle.model import Prediction
from tagstream.model_export.data.own.read import read_own
from tagstream.model_export.data.row import Row
from tagstream.model_export.data.splits import Splits

# Tests run side by side: threads of torch that wait for each other on two cores take minutes.
torch.set_num_threads(1)

TICKETS = Path(__file__).parents[4] / "examples" / "tickets"
LENGTH = 64
LEARNED = 360
MOST_WORDS = 1200
# Of a tokenizer of scored pieces: its sign for a space, and the score of a character alone.
SPACE, RARE = "\u2581", -20.0
KINDS = ("bert", "distilbert", "roberta", "deberta")


@cache
def tickets() -> Splits:
    """The example tickets: rows that the models learn from, rows that they have not seen, and the gold set."""
    rows = sorted(
        (own.row for own in read_own(TICKETS / "rows.csv").rows), key=lambda row: hashlib.sha256(row.text.encode()).digest()
    )
    return Splits(
        train=tuple(rows[:LEARNED]),
        calibration=tuple(rows[LEARNED:]),
        holdout=tuple(own.row for own in read_own(TICKETS / "gold.csv").rows),
        corpus_test=(),
        unlabelled=(),
        near_duplicates_removed=0,
    )


@cache
def tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """A tokenizer of the architecture's kind; the trainers of two kinds give another vocabulary each time, so theirs is of words and characters."""
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"] if kind == "roberta" else ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = Counter(word for row in tickets().train for word in pieces_of(row.text))
    known = sorted(words, key=lambda word: (-words[word], word))[:MOST_WORDS]
    characters = sorted(set("".join(words)))
    start, pad, end, unknown, mask = names
    if kind == "roberta":
        made = Tokenizer(models.BPE())
        made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=MOST_WORDS, special_tokens=names, initial_alphabet=alphabet, show_progress=False
        )
        made.train_from_iterator([row.text for row in tickets().train], trainer)
    else:
        pad, unknown, start, end, mask = names
        if kind == "deberta":
            total = sum(words.values())
            scores = {f"{SPACE}{word}": math.log(words[word] / total) for word in known}
            scores = dict.fromkeys(names, 0.0) | scores | dict.fromkeys([SPACE, *characters], RARE)
            made = Tokenizer(models.Unigram(list(scores.items()), unk_id=names.index(unknown)))
            made.normalizer, made.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Metaspace()
        else:
            tokens = dict.fromkeys([*names, *known, *characters, *(f"##{character}" for character in characters)])
            made = Tokenizer(models.WordPiece({token: place for place, token in enumerate(tokens)}, unk_token=unknown))
            made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(each, names.index(each)) for each in (start, end)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token=pad, unk_token=unknown, cls_token=start, sep_token=end, mask_token=mask
    )


def pieces_of(text: str) -> list[str]:
    """The words of a text and its signs, in small letters."""
    return re.findall(r"\w+|[^\w\s]", text.lower())


def config(kind: str, labels: Sequence[str], **other: object) -> PreTrainedConfig:
    """A small configuration of an architecture."""
    names = dict(enumerate(labels))
    said = {"num_labels": len(labels), "id2label": names, "label2id": {label: place for place, label in names.items()}}
    vocabulary = len(tokenizer(kind))
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, **said, **other}
    if kind == "bert":
        return BertConfig(vocab_size=vocabulary, max_position_embeddings=LENGTH, **sizes)
    if kind == "distilbert":
        return DistilBertConfig(
            vocab_size=vocabulary,
            dim=64,
            hidden_dim=128,
            n_layers=2,
            n_heads=4,
            max_position_embeddings=LENGTH,
            **said,
            **other,
        )
    if kind == "roberta":
        return RobertaConfig(
            vocab_size=vocabulary,
            # Positions begin behind that of the padding.
            max_position_embeddings=LENGTH + 2,
            type_vocab_size=1,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=2,
            **sizes,
        )
    return DebertaV2Config(
        vocab_size=vocabulary,
        max_position_embeddings=LENGTH,
        relative_attention=True,
        pos_att_type=["c2p", "p2c"],
        type_vocab_size=0,
        position_buckets=16,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        **sizes,
    )


def untrained(kind: str, labels: Sequence[str], **other: object) -> PreTrainedModel:
    """A classifier with random weights."""
    torch.manual_seed(1)
    model: PreTrainedModel = AutoModelForSequenceClassification.from_config(config(kind, labels, **other))
    return model.eval()


def tuned(kind: str, *, epochs: int = 20) -> PreTrainedModel:
    """A classifier that has learned from the tickets."""
    rows, labels = tickets().train, tickets().labels
    model, reader = untrained(kind, labels), tokenizer(kind)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    targets = torch.tensor([labels.index(row.tag) for row in rows])
    generator = torch.Generator().manual_seed(0)
    model.train()
    for _ in range(epochs):
        for places in torch.randperm(len(rows), generator=generator).split(32):
            inputs = reader(
                [rows[place].text for place in places.tolist()],
                padding=True,
                truncation=True,
                max_length=LENGTH,
                return_tensors="pt",
                return_token_type_ids=False,
            )
            loss = nn.functional.cross_entropy(model(**inputs).logits, targets[places])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model.eval()


def saved(folder: Path, model: PreTrainedModel, kind: str) -> Path:
    """The folder of a classifier, as `save_pretrained` writes it."""
    model.save_pretrained(folder)
    tokenizer(kind).save_pretrained(folder)
    return folder


def is_label(found: Prediction, own: str) -> bool:
    """Whether a prediction gives this label, or another one whose score is the same once it is rounded as it is published."""
    return found.probabilities[own] == found.confidence


def own_labels(folder: Path, rows: Sequence[Row]) -> list[str]:
    """The labels that transformers gives, by its own tokenizer and its own batches."""
    from transformers import AutoTokenizer

    model, reader = AutoModelForSequenceClassification.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    found: list[str] = []
    for start in range(0, len(rows), 32):
        texts = [row.text for row in rows[start : start + 32]]
        inputs = reader(
            texts, padding=True, truncation=True, max_length=LENGTH, return_tensors="pt", return_token_type_ids=False
        )
        with torch.no_grad():
            found += [model.config.id2label[place] for place in model(**inputs).logits.argmax(dim=1).tolist()]
    return found
