"""Makes doppler-core/tests/fixtures/text/unigram*: small unigram tokenizers as llama.cpp's converter writes them, and texts
with SentencePiece's own ids for them.

    python xtask/scripts/make_unigram.py [--work DIR] [--compare FILE]

Needs a Python with `pip install sentencepiece gguf protobuf`. `--compare` names a GGUF vocabulary of the kind `t5`
instead: SentencePiece is given its tables, and our ids for the corpus are compared (with the program of
text_compare.py, built first). No test needs it.
"""

import argparse
import json
import os
import pathlib
import random
import subprocess

os.environ["PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"] = "python"
import gguf
import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as proto

from text_corpus import corpus

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "doppler-core/tests/fixtures/text"
# Ligatures, full-width letters, a soft hyphen that goes, and white space that becomes spaces.
RULES = {"ﬁ": "fi", "ﬂ": "fl", "Ａ": "A", "Ｂ": "B", "！": "!", "…": "...", "\u00ad": "", "\t": " ", "\n": " ", "\u3000": " "}
KINDS = {proto.ModelProto.SentencePiece.Type.Value(name): kind for name, kind in [
    ("NORMAL", 1), ("UNKNOWN", 2), ("CONTROL", 3), ("USER_DEFINED", 4), ("UNUSED", 5), ("BYTE", 6)]}
# name, what the trainer is told, whether the characters are normalized by RULES
MODELS = [
    ("unigram", {"vocab_size": 400, "character_coverage": 0.98}, True),
    ("unigram_bytes", {"vocab_size": 600, "byte_fallback": True, "remove_extra_whitespaces": False}, False),
    ("unigram_bare", {"vocab_size": 400, "add_dummy_prefix": False, "user_defined_symbols": ["<tool>"]}, True),
]


def texts():
    words = [text for text in corpus([]) if "<" not in text and "\0" not in text]
    own = ["", " ", "  a  ", "ﬁne  ﬂow", "ＡＢ！…", "soft\u00adhyphen", "a\tb\nc", "\u3000wide", "▁a ▁ b", "日本語 テスト", "😀 smile", "x" * 300]
    return own + words


def train(name, options, rules, work):
    lines = (ROOT / "ARCHITECTURE.md").read_text() + (ROOT / "README.md").read_text()
    (work / "corpus.txt").write_text(lines)
    if rules:
        hexes = lambda text: " ".join(f"{ord(c):X}" for c in text)
        (work / "rules.tsv").write_text("".join(f"{hexes(a)}\t{hexes(b)}\n" for a, b in RULES.items()))
        options = {**options, "normalization_rule_tsv": str(work / "rules.tsv")}
    else:
        options = {**options, "normalization_rule_name": options.get("normalization_rule_name", "identity")}
    sentencepiece.SentencePieceTrainer.train(
        input=str(work / "corpus.txt"), model_prefix=str(work / name), model_type="unigram", minloglevel=2,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, num_threads=1, hard_vocab_limit=False, **options)
    model = proto.ModelProto()
    model.ParseFromString((work / f"{name}.model").read_bytes())
    return model


def write_gguf(model, path):
    writer = gguf.GGUFWriter(path, "t5")
    # A few ids without a token, as models round their vocabularies up.
    spare = [f"[PAD{len(model.pieces) + i}]" for i in range(3)]
    writer.add_tokenizer_model("t5")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([piece.piece for piece in model.pieces] + spare)
    writer.add_token_scores([piece.score for piece in model.pieces] + [-10000.0] * 3)
    writer.add_token_types([KINDS[piece.type] for piece in model.pieces] + [5] * 3)
    writer.add_add_space_prefix(model.normalizer_spec.add_dummy_prefix)
    writer.add_remove_extra_whitespaces(model.normalizer_spec.remove_extra_whitespaces)
    if model.normalizer_spec.precompiled_charsmap:
        writer.add_precompiled_charsmap(model.normalizer_spec.precompiled_charsmap)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(2)
    writer.add_pad_token_id(0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def read_gguf(path):
    fields = gguf.GGUFReader(path).fields
    get = lambda key: fields[f"tokenizer.ggml.{key}"].contents() if f"tokenizer.ggml.{key}" in fields else None
    kinds = {kind: name for name, kind in KINDS.items()}
    model = proto.ModelProto()
    for text, score, kind in zip(get("tokens"), get("scores"), get("token_type")):
        model.pieces.add(piece=text, score=score, type=kinds[kind])
    model.trainer_spec.model_type = 1
    model.trainer_spec.byte_fallback = 6 in get("token_type")
    model.trainer_spec.unk_id = get("unknown_token_id")
    model.normalizer_spec.add_dummy_prefix = bool(get("add_space_prefix"))
    model.normalizer_spec.remove_extra_whitespaces = bool(get("remove_extra_whitespaces"))
    charsmap = get("precompiled_charsmap")
    if charsmap is not None:
        model.normalizer_spec.precompiled_charsmap = bytes(byte & 255 for byte in charsmap)
    return model


def processor(model):
    return sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())


def compare(path, program):
    model = read_gguf(path)
    reference, asked = processor(model), texts()
    answer = subprocess.run([program], input=json.dumps({"tokenizer": path, "texts": asked}) + "\n", capture_output=True, text=True, check=True)
    answer = json.loads(answer.stdout)
    if "error" in answer:
        raise SystemExit(answer["error"])
    wrong = [(text, ours, reference.encode(text)) for text, ours in zip(asked, answer["ids"]) if ours != reference.encode(text)]
    for text, ours, theirs in wrong[:20]:
        print(repr(text[:80]), ours and [reference.id_to_piece(i) for i in ours][:24], [reference.id_to_piece(i) for i in theirs][:24])
    print(f"{path}: {len(wrong)} of {len(asked)} texts differ")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--work", default="target/unigram", type=pathlib.Path)
    arguments.add_argument("--compare")
    arguments.add_argument("--program", default="target/debug/examples/text")
    arguments = arguments.parse_args()
    if arguments.compare:
        return compare(arguments.compare, arguments.program)
    arguments.work.mkdir(parents=True, exist_ok=True)
    for name, options, rules in MODELS:
        model = train(name, options, rules, arguments.work)
        write_gguf(model, str(FIXTURES / f"{name}.gguf"))
        reference = processor(model)
        chosen = texts()
        chosen = chosen[:12] + random.Random(0).sample(chosen[12:], 120)
        cases = [[text, reference.encode(text), reference.decode(reference.encode(text))] for text in chosen if len(text) < 400]
        (FIXTURES / f"{name}.json").write_text(json.dumps({"cases": cases}, ensure_ascii=False, separators=(",", ":")) + "\n")
        compare(str(FIXTURES / f"{name}.gguf"), arguments.program)


if __name__ == "__main__":
    main()
