"""Remakes doppler-core/tests/fixtures/text: what Hugging Face makes of texts and conversations.

    python xtask/scripts/text_fixtures.py --models DIR [--work DIR] [--program FILE]

From the repository root; needs what text_compare.py needs, and in DIR the SmolLM2 and Qwen2.5-Coder GGUF files.

    <name>.json      a real vocabulary cut down to what the texts use, as a GGUF file has it, and the ids that Hugging
                     Face's tokenizers gives for the equally cut tokenizer.json
    templates.json   the chat templates of the catalog's models and transformers' renderings
"""

import argparse
import json
import pathlib

from text_compare import ORIGINALS, Program, fetch
from text_corpus import TEXTS, conversations
from text_gguf import vocabulary
from text_reference import render

ROOT = pathlib.Path("doppler-core/tests/fixtures/text")
# Licences: Mistral, Qwen and DeepSeek let their vocabularies be passed on; the others are compared, not kept.
KEPT = {"llama2": "mistral", "qwen3": "qwen3"}


def cut(tokenizer, texts):
    """The tokenizer with the tokens that these texts come to, what those are merged from, and nothing else."""
    from tokenizers import Tokenizer

    model = tokenizer["model"]
    merges = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
    parents = {}
    for left, right in merges:
        parents.setdefault(left + right, (left, right))
    whole = Tokenizer.from_str(json.dumps(tokenizer))
    added = [token["content"] for token in tokenizer["added_tokens"]]
    kept = {token for token in model["vocab"] if len(token) == 1 and ord(token) < 0x180 or token.startswith("<0x")}
    kept |= {token for token in model["vocab"] if token in added} | {"\u2581"} & model["vocab"].keys()
    pending = [token for text in texts for token in whole.encode(text, add_special_tokens=False).tokens]
    while pending:
        token = pending.pop()
        if token not in kept and token in model["vocab"]:
            kept.add(token)
            pending += parents.get(token, ())
    order = sorted(kept, key=model["vocab"].get)
    vocab = {token: number for number, token in enumerate(order)}
    numbers = dict(vocab)
    for token in tokenizer["added_tokens"]:
        numbers.setdefault(token["content"], len(numbers))
    return {
        **tokenizer,
        "model": {**model, "vocab": vocab,
                  "merges": [list(m) for m in merges if {m[0], m[1], m[0] + m[1]} <= vocab.keys()]},
        "added_tokens": [{**token, "id": numbers[token["content"]]} for token in tokenizer["added_tokens"]],
    }


def tokenizer_fixture(name, tokenizer, pre):
    from tokenizers import Tokenizer

    texts = [text for text in TEXTS if len(text) < 130]
    small = cut(tokenizer, texts)
    theirs = Tokenizer.from_str(json.dumps(small))
    cases = []
    for text in texts:
        ids = theirs.encode(text, add_special_tokens=False).ids
        decoded = theirs.decode(ids)
        cases.append([text, ids] if decoded == text else [text, ids, decoded])
    special = [token["content"] for token in tokenizer["added_tokens"] if token["special"]]
    write(f"{name}.json", {**vocabulary(small, pre), "special": special, "cases": cases})


def write(name, content):
    ROOT.mkdir(parents=True, exist_ok=True)
    (ROOT / name).write_text(json.dumps(content, ensure_ascii=True, separators=(",", ":")).replace("],[", "],\n[") + "\n")
    print(name, (ROOT / name).stat().st_size, "bytes")


def template_fixture(originals, program, models):
    templates = {}
    for name, file in [("smollm2", "smollm2-135m-instruct-q4_1.gguf"), ("qwen2.5-coder", "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf")]:
        answer = program.ask({"tokenizer": str(models / file), "texts": []})
        templates[name] = [answer["chat_template"], answer["bos_token"], answer["eos_token"]]
    config = json.loads((originals["gemma3"] / "tokenizer_config.json").read_text())
    templates["gemma3"] = [config["chat_template"], config["bos_token"], config["eos_token"]]
    cases = conversations()
    found = []
    for name, (source, bos, eos) in templates.items():
        rendered = [render(source, bos, eos, case["request"]).get("text") for case in cases]
        found.append({"name": name, "template": source, "bos_token": bos, "eos_token": eos, "rendered": rendered})
    write("templates.json", {"conversations": cases, "templates": found})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, default="target/text")
    parser.add_argument("--program", default="target/release/examples/text")
    parser.add_argument("--models", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    originals, _ = fetch(arguments.work)
    for name, kept in KEPT.items():
        tokenizer_fixture(kept, json.loads((originals[name] / "tokenizer.json").read_text()), ORIGINALS[name])
    template_fixture(originals, Program(arguments.program), arguments.models)


if __name__ == "__main__":
    main()
