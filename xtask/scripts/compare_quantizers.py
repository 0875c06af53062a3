"""Compares our quantizers with llama.cpp's on the weights of a real model, by root-mean-square error.

    pip install gguf numpy
    cargo run --release --bin convert -- MODEL.gguf OUT --quantize q4_k
    python xtask/scripts/compare_quantizers.py LIBGGML_BASE.so MODEL.gguf OUT

LIBGGML_BASE.so is llama.cpp's shared library (`libggml-base.so`). Both quantizers start from the numbers that MODEL.gguf
holds, so a model in F16 or Q8_0 tells most. "weighted" counts each error by rms(block) + |x|, the measure that both
minimize.
"""

import ctypes
import json
import pathlib
import sys

import gguf
import numpy as np


def main(library, source, folder):
    ggml = ctypes.CDLL(library)
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    ggml.ggml_quantize_chunk.argtypes = [ctypes.c_int] + [ctypes.c_void_p] * 2 + [ctypes.c_int64] * 3 + [ctypes.c_void_p]
    folder = pathlib.Path(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    shards = [np.memmap(folder / shard["filename"], np.uint8, "r") for shard in manifest["shards"]]
    reader = gguf.GGUFReader(source)
    heads = {key: reader.fields[f"llama.attention.head_count{key}"].contents() for key in ("", "_kv")}
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 1000)
    tensors = {names.get_name(name, (".weight",)): entry for name, entry in manifest["tensors"].items()}
    totals = {}
    for tensor in reader.tensors:
        entry = tensors.get(tensor.name)
        name = entry and entry["dtype"].replace("Q4_K_M", "Q4_K")
        if name not in ("Q4_K", "Q8_0") or name == tensor.tensor_type.name:
            continue
        dtype = gguf.GGMLQuantizationType[name]
        x = gguf.dequantize(tensor.data, tensor.tensor_type)
        if "attn_q." in tensor.name or "attn_k." in tensor.name:
            rows, count = x.shape[0], heads["" if "attn_q." in tensor.name else "_kv"]
            x = x.reshape(count, rows // count // 2, 2, -1).swapaxes(1, 2).reshape(rows, -1)
        x = np.ascontiguousarray(x, np.float32)
        spans = entry.get("spans") or [entry]
        ours = np.concatenate([
            shards[span.get("shard", span.get("shardIndex"))][span["offset"]:span["offset"] + span["size"]] for span in spans
        ])
        theirs = np.zeros_like(ours)
        ggml.ggml_quantize_chunk(int(dtype), x.ctypes.data, theirs.ctypes.data, 0, *x.shape, None)
        blocks = x.reshape(-1, 32).astype(np.float64)
        weight = np.sqrt((blocks**2).mean(1, keepdims=True)) + abs(blocks)
        sums = totals.setdefault(name, np.zeros(6))
        for at, packed in enumerate((theirs, ours)):
            y = gguf.dequantize(packed.reshape(x.shape[0], -1), dtype).reshape(-1, 32)
            sums[at] += ((y - blocks) ** 2).sum()
            sums[2 + at] += (weight * (y - blocks) ** 2).sum()
        sums[4:] += x.size, weight.sum()
    for name, (theirs, ours, theirs_weighted, ours_weighted, count, weights) in totals.items():
        print(f"{name}: {int(count)} weights")
        for label, a, b, n in (("RMSE", theirs, ours, count), ("weighted", theirs_weighted, ours_weighted, weights)):
            print(f"  {label}: llama.cpp {np.sqrt(a / n):.6g}, ours {np.sqrt(b / n):.6g} ({np.sqrt(b / a):.4f})")


main(*sys.argv[1:4])
