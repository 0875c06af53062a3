"""Writes one real model in every weight format that a GGUF file may have here, and what transformers says of each.

    pip install accelerate gguf numpy torch transformers
    python xtask/scripts/requantize.py FOLDER --make LIBGGML_BASE.so SmolLM2-135M-Instruct.Q4_1.gguf
    python xtask/scripts/requantize.py FOLDER --check target/release/generate [--device llvmpipe --tokens 3]

FOLDER takes 2 GB. LIBGGML_BASE.so is llama.cpp's shared library (`libggml-base.so`): it does the quantizing, so that no
byte of the weights comes from our code. Nor does the reference: transformers reads each file with gguf-py, which must
give the same numbers as llama.cpp's own dequantizer. The reference is requantized.json among doppler-core's fixtures:
each format with the digest of its file, and cases as in the hf_*.json files beside it. `--check` holds the program
`generate` against it, needs no package, and ends with status 1 when a logit or a greedy token is too far off. The test
`every_weight_format` does that without this script: it writes files of the same digests itself.
"""

import argparse
import collections
import ctypes
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from reference import GREEDY_TOKENS, digest, engine, tokenizer, transformers_says

REFERENCE = pathlib.Path("doppler-core/tests/fixtures/reference/requantized.json")
REFERENCE_BYTES = 200_000
PROMPTS = ["The capital of France is", "def fibonacci(n):\n"]
# What a case has beside its logits of the last position and its greedy tokens; the file has 22 of them.
LEFT_OUT = "logits_mean", "logits_std", "logsumexp", "greedy_text"
# The tolerance of this project, by the type of the key-value cache.
TOLERANCE = {"f32": 0.05, "f16": 0.15}

# Each format, and what holds the rows that are no whole number of its blocks: llama.cpp's choice. In this model only
# the rows of down_proj (1536) are blocks of 256; all others are of 576.
FORMATS = dict.fromkeys(["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
FORMATS |= {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}


def file_name(model, kind):
    """`Model.Q4_1.gguf` in another format."""
    return f"{model.removesuffix('.gguf').rsplit('.', 1)[0]}.{kind}.gguf"


class TypeTraits(ctypes.Structure):
    """The beginning of ggml_type_traits."""
    _fields_ = [("name", ctypes.c_char_p), ("block_size", ctypes.c_int64), ("interleave", ctypes.c_int64),
                ("type_size", ctypes.c_size_t), ("is_quantized", ctypes.c_bool),
                ("to_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64))]


class Ggml:
    """llama.cpp's quantizers and dequantizers."""

    def __init__(self, path):
        library = ctypes.CDLL(path)
        self.quantize_chunk, self.type_traits = library.ggml_quantize_chunk, library.ggml_get_type_traits
        self.quantize_chunk.restype, self.type_traits.restype = ctypes.c_size_t, ctypes.POINTER(TypeTraits)
        self.quantize_chunk.argtypes = [ctypes.c_int, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 3, ctypes.c_void_p]

    def quantize(self, values, kind):
        import gguf
        import numpy as np

        packed = np.zeros(gguf.quants.quant_shape_to_byte_shape(values.shape, kind), np.uint8)
        pointers = values.ctypes.data, packed.ctypes.data
        size = self.quantize_chunk(int(kind), *pointers, 0, *values.shape, None)
        assert size == packed.nbytes, f"{kind.name}: {size} bytes of {packed.nbytes}"
        return packed

    def dequantize(self, packed, kind, shape):
        """By gguf-py, as transformers does it. llama.cpp must say the same: the reference is not gguf-py's alone."""
        import gguf
        import numpy as np

        values = np.ascontiguousarray(gguf.dequantize(packed, kind), np.float32).reshape(shape)
        to_float = self.type_traits(int(kind)).contents.to_float
        if to_float:  # F32 has none
            packed, theirs = np.ascontiguousarray(packed), np.empty_like(values)
            to_float(packed.ctypes.data, theirs.ctypes.data, values.size)
            assert np.array_equal(values, theirs), f"{kind.name}: off by {np.abs(values - theirs).max()}"
        return values


def write_model(ggml, source, path, name):
    """`source` in the format `name`; returns how many tensors are of which type."""
    import gguf

    wanted, blocks = gguf.GGMLQuantizationType[name], gguf.GGML_QUANT_SIZES
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(path, reader.fields["general.architecture"].contents())
    for key, field in reader.fields.items():
        if key != "general.architecture" and not key.startswith("GGUF."):  # the writer's own
            element = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(key, field.contents(), field.types[0], element)
    kinds, errors = collections.Counter(), []
    for tensor in reader.tensors:
        shape = [int(size) for size in reversed(tensor.shape)]
        kind, packed = tensor.tensor_type, tensor.data
        if len(shape) == 2:
            kind = wanted
            if tensor.name == "token_embd.weight" and FORMATS[name]:
                kind = gguf.GGMLQuantizationType.Q8_0
            elif shape[1] % blocks[kind][0]:
                kind = gguf.GGMLQuantizationType[FORMATS[name]]
            values = ggml.dequantize(tensor.data, tensor.tensor_type, shape)
            packed = ggml.quantize(values, kind)
            # What is lost shows that the format is what it says it is.
            lost = ggml.dequantize(packed, kind, shape) - values
            if kind == wanted:
                errors.append(float((lost**2).sum() / (values**2).sum()) ** 0.5)
        writer.add_tensor(tensor.name, packed, raw_dtype=kind)
        kinds[kind.name] += 1
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{path.name}: {dict(kinds)}, relative error of {name} at most {max(errors):.1e}", flush=True)
    return dict(kinds)


def make(folder, library, source):
    folder.mkdir(parents=True, exist_ok=True)
    ggml = Ggml(library)
    words = tokenizer(source)
    prompts = [(prompt, words(prompt).input_ids) for prompt in PROMPTS]
    reference = {
        "model": source.name,
        "sha256": digest(source),
        "engine": engine(),
        "quantize": "ggml_quantize_chunk of llama.cpp's libggml-base, from the fp32 values of the model, no imatrix",
        "dequant": "gguf-py dequantize(), equal to libggml-base's to_float in every bit; all matmuls, activations and "
                   "the KV cache fp32, eager attention",
        "decode": f"greedy argmax, {GREEDY_TOKENS} tokens, no repetition penalty, EOS not stopping",
        "formats": {},
    }
    for name in FORMATS:
        path = folder / file_name(source.name, name)
        kinds = write_model(ggml, source, path, name)
        cases = transformers_says(path, prompts, words)
        cases = [{key: value for key, value in case.items() if key not in LEFT_OUT} for case in cases]
        reference["formats"][name] = {"sha256": digest(path), "tensors": kinds, "cases": cases}
    REFERENCE.write_text(json.dumps(reference, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{REFERENCE.stat().st_size} bytes in {REFERENCE}")
    assert REFERENCE.stat().st_size <= REFERENCE_BYTES, f"more than {REFERENCE_BYTES} bytes"


def generate(program, path, prompt, arguments, cache):
    """What `generate` says of one prompt. The conversion goes to `cache`, not among the user's models."""
    command = [program, "--model", path, "--device", arguments.device, "--kv-dtype", arguments.kv_dtype, "--json",
               "--raw", "--temperature", "0", "--ignore-eos", "--max-tokens", str(arguments.tokens),
               "--top-logits", "1000000", prompt]
    done = subprocess.run(command, env={**os.environ, "XDG_CACHE_HOME": cache}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{path.name}: {done.stderr}")
    return json.loads(done.stdout)


def compare(case, said, tokens, tolerance):
    """The cells of one row, and whether it is well."""
    logits = dict(said["top_logits"])
    expected = [*zip(case["top5_ids"], case["top5_logits"], strict=True), *enumerate(case["logits_first8"])]
    worst = max(abs(logits[id] - logit) for id, logit in expected)
    same_top = [id for id, _ in said["top_logits"][:5]] == case["top5_ids"]
    well = said["prompt_ids"] == case["prompt_ids"] and worst <= tolerance and len(said["token_ids"]) == tokens
    parting, greedy = "-", zip(said["token_ids"], case["greedy_ids"], case["greedy_margins"], strict=False)
    for step, (ours, theirs, margin) in enumerate(greedy):
        if ours != theirs:
            parting, well = f"token {step}, margin {margin:.3f}", well and margin <= tolerance
            break
    return f"{worst:.1e}", "same" if same_top else "differ", parting, well


def check(folder, program, arguments):
    reference = json.loads(REFERENCE.read_text(encoding="utf-8"))
    tolerance, all_well = TOLERANCE[arguments.kv_dtype], True
    row = "{:6} {:28} {:>9} {:7} {:24} {:5} {}".format
    print(row("format", "prompt", "|Δlogit|", "top 5", "greedy parts at", "", "matmul"))
    for name in arguments.formats or reference["formats"]:
        said_of = reference["formats"][name]
        path = folder / file_name(reference["model"], name)
        assert digest(path) == said_of["sha256"], f"{path.name} is not the file of the reference; make both again"
        with tempfile.TemporaryDirectory() as cache:
            for case in said_of["cases"]:
                said = generate(program, path, case["prompt"], arguments, cache)
                *cells, well = compare(case, said, arguments.tokens, tolerance)
                # A format that was converted to another must not pass for itself. The plain matmul is F32's.
                ran = [kernel for kernel in said["kernel_variants"] if kernel.startswith("matmul")]
                well = well and ("matmul" if name == "F32" else f"matmul/{name}") in ran
                print(row(name, json.dumps(case["prompt"]), *cells, "" if well else "WRONG", " ".join(ran)), flush=True)
                all_well = all_well and well
    print(f"{said['adapter']}, {arguments.kv_dtype} cache, {arguments.tokens} tokens, tolerance {tolerance}")
    return 0 if all_well else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="of the files, one for each format")
    parser.add_argument("--make", nargs=2, metavar=("LIBGGML_BASE", "MODEL"), help="write the files and the reference")
    parser.add_argument("--check", metavar="GENERATE", help="compare this program with the reference")
    parser.add_argument("--device", default="host", help="of `generate`")
    parser.add_argument("--kv-dtype", default="f32", choices=TOLERANCE, help="of `generate`")
    parser.add_argument("--tokens", type=int, default=GREEDY_TOKENS, help="greedy tokens to compare")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, help="check these only")
    arguments = parser.parse_args()
    if arguments.make:
        library, source = arguments.make
        make(arguments.folder, library, pathlib.Path(source))
    if arguments.check:
        sys.exit(check(arguments.folder, arguments.check, arguments))


if __name__ == "__main__":
    main()
