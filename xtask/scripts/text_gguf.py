"""Writes a tokenizer.json's vocabulary as a GGUF file without tensors, in the way of llama.cpp's converter."""

import struct

UINT32, STRING, ARRAY, BOOL, INT32 = 4, 8, 9, 7, 5
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5


def string(text):
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def key(name, kind, body):
    return string(name) + struct.pack("<I", kind) + body


def strings(items):
    return struct.pack("<IQ", STRING, len(items)) + b"".join(map(string, items))


def write_vocabulary(tokenizer, pre, path):
    """Byte-level BPE only; `pre` is llama.cpp's name of the pre-tokenizer."""
    model = tokenizer["model"]
    names = {number: token for token, number in model["vocab"].items()}
    kinds = dict.fromkeys(names, NORMAL)
    for token in tokenizer["added_tokens"]:
        names[token["id"]] = token["content"]
        special = token["special"] or (token["content"].startswith("<|") and token["content"].endswith("|>"))
        kinds[token["id"]] = CONTROL if special else USER_DEFINED
    size = max(names) + 1
    tokens = [names.get(number, f"[PAD{number}]") for number in range(size)]
    types = [kinds.get(number, UNUSED) for number in range(size)]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    template = str(tokenizer["post_processor"])
    first = [token for token in tokenizer["added_tokens"] if "TemplateProcessing" in template and repr(token["content"]) in template]
    keys = [
        key("general.architecture", STRING, string("llama")),
        key("tokenizer.ggml.model", STRING, string("gpt2")),
        key("tokenizer.ggml.pre", STRING, string(pre)),
        key("tokenizer.ggml.tokens", ARRAY, strings(tokens)),
        key("tokenizer.ggml.token_type", ARRAY, struct.pack(f"<IQ{size}i", INT32, size, *types)),
        key("tokenizer.ggml.merges", ARRAY, strings(merges)),
        key("tokenizer.ggml.add_bos_token", BOOL, struct.pack("<?", bool(first))),
    ]
    if first:
        keys.append(key("tokenizer.ggml.bos_token_id", UINT32, struct.pack("<I", first[0]["id"])))
    header = b"GGUF" + struct.pack("<IQQ", 3, 0, len(keys))
    path.write_bytes(header + b"".join(keys))
