"""Writes a tokenizer.json's vocabulary as a GGUF file without tensors, in the way of llama.cpp's converter."""

import struct

UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6


def string(text):
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def key(name, kind, body):
    return string(name) + struct.pack("<I", kind) + body


def strings(items):
    return struct.pack("<IQ", STRING, len(items)) + b"".join(map(string, items))


def vocabulary(tokenizer, pre):
    """What the converter writes: byte-level BPE, or SentencePiece's where `pre`, llama.cpp's name of the pre-tokenizer,
    is `default`. SentencePiece's scores of learned tokens are their ids, counted down."""
    spm = pre == "default"
    model = tokenizer["model"]
    names = {number: token for token, number in model["vocab"].items()}
    kinds = dict.fromkeys(names, NORMAL)
    for token in tokenizer["added_tokens"]:
        text = token["content"]
        special = token["special"] or (text.startswith("<|") and text.endswith("|>"))
        kinds[token["id"]] = CONTROL if special else USER_DEFINED
        names[token["id"]] = text.replace("\u2581", " ") if spm and not special else text
    for number, token in names.items() if spm else []:
        if len(token) == 6 and token.startswith("<0x"):
            kinds[number] = BYTE
        elif token == "<unk>":
            kinds[number] = UNKNOWN
    size = max(names) + 1
    tokens = [names.get(number, f"[PAD{number}]") for number in range(size)]
    types = [kinds.get(number, UNUSED) for number in range(size)]
    template = str(tokenizer["post_processor"])
    first = [token["id"] for token in tokenizer["added_tokens"]
             if "TemplateProcessing" in template and repr(token["content"]) in template]
    found = {"model": "llama" if spm else "gpt2", "pre": pre, "tokens": tokens, "types": types, "bos": (first or [None])[0]}
    if not spm:
        return found | {"merges": [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]}
    first_learned = 1 + max(number for number, kind in kinds.items() if kind == BYTE)
    scores = [float(first_learned - number) if kind == NORMAL else 0.0 for number, kind in enumerate(types)]
    # Runs of spaces come last with Llama 2 and Mistral.
    scores = [-1e9 if kind == NORMAL and len(token) > 1 and not token.strip("\u2581") else score
              for token, kind, score in zip(tokens, types, scores)]
    return found | {"scores": scores, "space_prefix": "'Prepend'" in str(tokenizer["normalizer"])}


def write_vocabulary(tokenizer, pre, path):
    found = vocabulary(tokenizer, pre)
    size = len(found["tokens"])
    keys = [
        key("general.architecture", STRING, string("llama")),
        key("tokenizer.ggml.model", STRING, string(found["model"])),
        key("tokenizer.ggml.pre", STRING, string(pre)),
        key("tokenizer.ggml.tokens", ARRAY, strings(found["tokens"])),
        key("tokenizer.ggml.token_type", ARRAY, struct.pack(f"<IQ{size}i", INT32, size, *found["types"])),
        key("tokenizer.ggml.add_bos_token", BOOL, struct.pack("<?", found["bos"] is not None)),
    ]
    if "merges" in found:
        keys.append(key("tokenizer.ggml.merges", ARRAY, strings(found["merges"])))
    else:
        keys.append(key("tokenizer.ggml.scores", ARRAY, struct.pack(f"<IQ{size}f", FLOAT32, size, *found["scores"])))
        keys.append(key("tokenizer.ggml.add_space_prefix", BOOL, struct.pack("<?", found["space_prefix"])))
    if found["bos"] is not None:
        keys.append(key("tokenizer.ggml.bos_token_id", UINT32, struct.pack("<I", found["bos"])))
    header = b"GGUF" + struct.pack("<IQQ", 3, 0, len(keys))
    path.write_bytes(header + b"".join(keys))
