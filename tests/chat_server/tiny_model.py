"""
Writes a model of a few megabytes in GGUF whose weights are set by hand, for a server of chat completions: `python tiny_model.py FILE`.

Each byte is a token. One attention head looks a fixed number of tokens back, so that the model copies the mark of an item into its answer;
all else follows from the last token. Without a grammar it says `x`. Under the grammar of the answer's schema it says
`natural-language-processing` with a score of 1. It runs in the environment of `make chat-server`.
"""

import importlib
import sys
from typing import Any

BYTES = 256
# The tokens after the bytes. Their embeddings are those of bytes that no text has.
START, END = "<|im_start|>", "<|im_end|>"
SPECIAL = {START: 1, END: 2}
TEMPLATE = (
    "{% for message in messages %}"
    f"{START}{{{{ message['role'] }}}}\n{{{{ message['content'] }}}}{END}\n"
    "{% endfor %}"
    # Jinja drops a line break at the end of a template.
    f"{START}assistant{{{{ '\\n' }}}}"
)
MARK, BEFORE_ANSWER = 16, len([END, "\n", START, *"assistant", "\n"])
# From the quotation mark before the answer's mark back to the first character of the mark after `END`.
BACK = len('{"item":"') - 1 + BEFORE_ANSWER + MARK
WIDTH, HEAD = 512, 256
# What follows a token if the grammar permits it: the first of these that it does.
FOLLOWS = {"{": '"', ":": '"1', '"': ":,n", ",": '"', "1": "}", "\n": "x"}
COPIED = "0123456789abcdef"
# A base so small that the head's score falls at the next token already.
ROTATION = 2.0


def names() -> list[str]:
    """The tokens in the form of GPT-2: a character for each byte, of the printable ones itself."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(BYTES, 2 * BYTES))
    return [*(chr(byte) if byte in printable else chr(next(others)) for byte in range(BYTES)), *SPECIAL]


def tensors(np: Any) -> dict[str, Any]:
    """The weights by name."""

    def zeros(*shape: int) -> Any:
        return np.zeros(shape, np.float32)

    embedded, said = zeros(BYTES + len(SPECIAL), WIDTH), zeros(BYTES + len(SPECIAL), WIDTH)
    embedded[range(BYTES), range(BYTES)] = 1
    for at, byte in enumerate(SPECIAL.values(), start=BYTES):
        embedded[at, byte] = 1
    end = BYTES + list(SPECIAL).index(END)
    # By the last token, which has the lower half of the width.
    said[end, :BYTES] = 1
    for last, following in FOLLOWS.items():
        for rank, token in enumerate(following):
            said[ord(token), ord(last)] = 10 - rank
    # By the token that the head copied into the upper half; after the mark comes a quotation mark.
    for token in COPIED:
        said[ord(token), BYTES + ord(token)] = 20
    said[ord('"'), BYTES + SPECIAL[END]] = 20
    value, output = zeros(WIDTH, WIDTH), zeros(WIDTH, WIDTH)
    for byte in (*map(ord, COPIED), SPECIAL[END]):
        value[byte, byte] = 1
        output[BYTES + byte, byte] = 1
    # The score of a token so many tokens back is the sum of cosines of (distance - BACK) times each rotation.
    angles = BACK * ROTATION ** (-2 * np.arange(HEAD // 2) / HEAD)
    query, key = zeros(WIDTH), zeros(WIDTH)
    query[: HEAD // 2], query[HEAD // 2 : HEAD] = 10 * np.cos(angles), -10 * np.sin(angles)
    key[: HEAD // 2] = 10
    ones = np.ones(WIDTH, np.float32)
    layer = {
        "attn_norm.weight": ones,
        "attn_q.weight": zeros(WIDTH, WIDTH),
        "attn_q.bias": query,
        "attn_k.weight": zeros(WIDTH, WIDTH),
        "attn_k.bias": key,
        "attn_v.weight": value,
        "attn_v.bias": zeros(WIDTH),
        "attn_output.weight": output,
        "ffn_norm.weight": ones,
        "ffn_gate.weight": zeros(32, WIDTH),
        "ffn_up.weight": zeros(32, WIDTH),
        "ffn_down.weight": zeros(WIDTH, 32),
    }
    found = {"token_embd.weight": embedded, "output_norm.weight": ones, "output.weight": said}
    return found | {f"blk.0.{name}": weights for name, weights in layer.items()}


def main(path: str) -> None:
    """Write the file."""
    # By name: the writer is no dependency of this project, and the file can be loaded without it.
    gguf, np = importlib.import_module("gguf"), importlib.import_module("numpy")
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_context_length(16_384)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(32)
    writer.add_head_count(WIDTH // HEAD)
    writer.add_head_count_kv(WIDTH // HEAD)
    writer.add_rope_freq_base(ROTATION)
    writer.add_layer_norm_rms_eps(1e-6)
    tokens = names()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * BYTES + [gguf.TokenType.CONTROL] * len(SPECIAL))
    # The format wants a merge: of two bytes that no text has.
    writer.add_token_merges([f"{tokens[0]} {tokens[1]}"])
    writer.add_eos_token_id(tokens.index(END))
    writer.add_bos_token_id(tokens.index(START))
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
    for name, weights in tensors(np).items():
        writer.add_tensor(name, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
