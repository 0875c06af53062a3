"""What Hugging Face transformers says of a GGUF file, as the hf_*.json among doppler-core's test fixtures have it.

    pip install accelerate gguf numpy torch transformers
    python xtask/scripts/reference.py MODEL.gguf REFERENCE.json
    python xtask/scripts/reference.py MODEL.gguf REFERENCE.json --check

Every stored number as fp32, all arithmetic in fp32: four bytes a weight, and twice that while it loads. `--check` writes
nothing: it computes the cases of an existing file again, and ends with status 1 when ids differ or a logit is off by
more than 0.001.
"""

import argparse
import hashlib
import json
import pathlib
import sys

PROMPTS = ["The capital of France is", "def fibonacci(n):\n", "1, 2, 3, 4, 5,"]
GREEDY_TOKENS = 32
# Two versions of torch do not add in the same order.
REPRODUCED_WITHIN = 1e-3


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def engine():
    import torch
    import transformers

    return f"torch {torch.__version__} CPU + transformers {transformers.__version__} gguf_file="


def tokenizer(path):
    import transformers

    return transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)


def transformers_says(path, prompts, words):
    """The cases of one file, of pairs of a prompt and its ids; `words` is the tokenizer that reads the answers."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, attn_implementation="eager").eval()

    def rounded(values):
        return [round(float(value), 6) for value in values]

    cases = []
    with torch.no_grad():
        for prompt, ids in prompts:
            step = model(torch.tensor([ids]), use_cache=True)
            logits = step.logits[0, -1]
            best = torch.topk(logits, 5)
            mean, std, logsumexp = rounded([logits.mean(), logits.std(correction=0), logits.logsumexp(0)])
            case = {"prompt": prompt, "prompt_ids": ids,
                    "top5_ids": best.indices.tolist(), "top5_logits": rounded(best.values),
                    "logits_mean": mean, "logits_std": std, "logits_first8": rounded(logits[:8]),
                    "logsumexp": logsumexp, "greedy_ids": [], "greedy_margins": []}
            for _ in range(GREEDY_TOKENS):
                best = torch.topk(step.logits[0, -1], 2)
                case["greedy_ids"].append(int(best.indices[0]))
                case["greedy_margins"].append(round(float(best.values[0] - best.values[1]), 5))
                step = model(best.indices[:1].view(1, 1), past_key_values=step.past_key_values, use_cache=True)
            case["greedy_text"] = words.decode(case["greedy_ids"])
            cases.append(case)
    return cases


def make(source):
    words = tokenizer(source)
    return {
        "model": source.name,
        "sha256": digest(source),
        "engine": engine(),
        "dequant": "every quantised tensor dequantised to fp32 by gguf-py dequantize(); all matmuls/activations fp32 (no "
                   "activation quantisation), eager attention, KV cache fp32",
        "decode": f"greedy argmax, {GREEDY_TOKENS} tokens, no repetition penalty, EOS not stopping",
        "cases": transformers_says(source, [(prompt, words(prompt).input_ids) for prompt in PROMPTS], words),
    }


def differences(ours, theirs):
    """How far the numbers of two files are apart, and the keys under which anything else differs."""
    furthest, other = 0.0, [] if ours["sha256"] == theirs["sha256"] else ["sha256"]
    for mine, known in zip(ours["cases"], theirs["cases"], strict=True):
        for key, value in mine.items():
            values, expected = (x if isinstance(x, list) else [x] for x in (value, known[key]))
            if isinstance(values[0], float):
                furthest = max(furthest, *(abs(a - b) for a, b in zip(values, expected, strict=True)))
            elif values != expected:
                other.append(f"{key} of {known['prompt']!r}")
    return furthest, other


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path, help="a GGUF file")
    parser.add_argument("reference", type=pathlib.Path, help="the JSON file")
    parser.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
    arguments = parser.parse_args()
    made = make(arguments.model)
    if arguments.check:
        furthest, other = differences(made, json.loads(arguments.reference.read_text(encoding="utf-8")))
        print(f"logits within {furthest:.1e}; differ: {', '.join(other) or 'nothing else'}")
        sys.exit(bool(other) or furthest > REPRODUCED_WITHIN)
    arguments.reference.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
