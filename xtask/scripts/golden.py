"""Makes or checks the golden fixtures of a model family: tiny random models and what Hugging Face transformers says.

Called by `cargo xtask golden FAMILY`, from the repository root. Making them needs `pip install torch transformers
safetensors` (about 3 GB); `--check` needs numpy alone. Neither is needed by any test.

Each folder under doppler-core/tests/fixtures/FAMILY holds

    config.json, model.safetensors, tokenizer.json, tokenizer_config.json   a model as the hub would have it
    expected.json    seed and library versions;
                     texts: what the tokenizer makes of them; chat: what its template makes of messages;
                     cases: prompt ids, the logits of the last position, the best five of every position, and 32 greedy
                     ids with their margins (best minus second best logit); all by transformers in fp32, eager attention

Every folder is checked as it is made, and again by `--check`, against a second evaluation in numpy and f64 that shares
nothing with transformers: all logits within 1e-4. The check also asks that the model is worth testing with: logits and
attention far from uniform, and an effect of whatever the fixture is there for (rope scaling, window).
"""

import argparse
import json
import pathlib

import numpy as np

ROOT = pathlib.Path("doppler-core/tests/fixtures")
PROMPT_LENGTHS = [1, 17, 80]
GREEDY_TOKENS = 32
AGREEMENT = 1e-4
FAMILY_BYTES = 2_000_000

# What transformers 4 wrote beside each other, transformers 5 groups under `rope_parameters`. Both are out there, so
# both are here.
BASE = {
    "hidden_act": "silu", "initializer_range": 0.02, "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
    "attention_dropout": 0.0, "use_cache": True,
}
LLAMA = {**BASE, "architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": False,
         "mlp_bias": False}
MISTRAL = {**BASE, "architectures": ["MistralForCausalLM"], "model_type": "mistral"}

# `tokens` is the size of the tokenizer; where vocab_size is larger, the rest is padding, as in many real models.
FAMILIES = {
    "llama": {
        # Llama 3: tied, six query heads on two, scaled so that the three parts of the rule all have a frequency.
        "llama3_scaled": {"seed": 49, "dtype": "float32", "tokens": 307, "chat": "turns", "config": {
            **LLAMA, "vocab_size": 307, "hidden_size": 60, "intermediate_size": 101, "num_hidden_layers": 2,
            "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 10, "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "llama3", "rope_theta": 1000.0, "factor": 8.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
            }}},
        # Llama 2: untied, as many key as query heads, every position divided; no head_dim, as old files have it.
        "llama2_linear": {"seed": 5, "dtype": "float16", "tokens": 291, "chat": "inst", "config": {
            **LLAMA, "vocab_size": 291, "hidden_size": 48, "intermediate_size": 84, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 4, "tie_word_embeddings": False,
            "rope_theta": 10000.0, "rope_scaling": {"type": "linear", "factor": 4.0}}},
        # Mistral: heads wider than hidden_size / num_attention_heads, rows of an odd size, a window of 16.
        "mistral_window": {"seed": 5, "dtype": "bfloat16", "tokens": 309, "chat": "inst", "config": {
            **MISTRAL, "vocab_size": 320, "hidden_size": 57, "intermediate_size": 75, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 22, "tie_word_embeddings": False,
            "rope_theta": 10000.0, "rope_scaling": None, "sliding_window": 16}},
        # Every row is one block of 256, so that all packed formats can hold it.
        "llama_blocks": {"seed": 68, "dtype": "bfloat16", "tokens": 300, "chat": "turns", "config": {
            **LLAMA, "vocab_size": 300, "hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 1,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64, "tie_word_embeddings": True,
            "rope_theta": 10000.0, "rope_scaling": None}},
    },
}

BOS, EOS, START, END = "<|bos|>", "<|eos|>", "<|start|>", "<|end|>"
# ids 0 to 3; the byte alphabet follows.
SPECIAL = [BOS, EOS, START, END]
CHAT = {
    "turns": "{% for m in messages %}{{ '<|start|>' + m['role'] + '\n' + m['content'] | trim + '<|end|>\n' }}"
             "{% endfor %}{% if add_generation_prompt %}{{ '<|start|>assistant\n' }}{% endif %}",
    "inst": "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
            "{% elif m['role'] == 'assistant' %}{{ ' ' + m['content'] + eos_token }}"
            "{% else %}{{ raise_exception('no such role') }}{% endif %}{% endfor %}",
}
MESSAGES = [
    {"role": "user", "content": "What is a shader?"},
    {"role": "assistant", "content": "A small program."},
    {"role": "user", "content": "Où ça? 🦀"},
]
TEXTS = ["The rain in the mountain", " two  spaces,\n\na line\tand 1234 numbers", "Größe, naïveté, 東京, 🦀", ""]
CORPUS = [
    "The rain on the mountain fills the river, and the river runs down to the sea.",
    "A shader is a small program that runs many times at once, on many numbers.",
    "The answer is in the question, and the question is in the mountain.",
    "One and one are two, two and two are four; then there are 10 and 100.",
]


def write_tokenizer(folder, spec):
    """A byte-level BPE of `tokens` entries, trained on the lines above."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=spec["tokens"], special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    assert tokenizer.get_vocab_size() == spec["tokens"], "the corpus is too small for so many tokens"
    begins = spec["chat"] == "inst"
    if begins:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{BOS} $A", pair=f"{BOS} $A {BOS}:1 $B:1", special_tokens=[(BOS, 0)])
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": BOS, "eos_token": EOS, "add_bos_token": begins,
        "clean_up_tokenization_spaces": False, "model_max_length": 128, "chat_template": CHAT[spec["chat"]]})


def random_weights(config, rng):
    """Name to f64 array. Scaled so that attention scores spread by about 2 and logits by about 3."""
    hidden, inner, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    head_dim = config.get("head_dim", hidden // heads)
    kv = config["num_key_value_heads"] * head_dim

    def matrix(rows, cols, gain):
        return rng.standard_normal((rows, cols)) * gain / np.sqrt(cols)

    def norm():
        return 1.0 + 0.2 * rng.standard_normal(hidden)

    # A tied table is also the head, so its rows must be as short as the head's.
    table = 3.0 / np.sqrt(hidden) if config["tie_word_embeddings"] else 1.0
    weights = {"model.embed_tokens.weight": table * rng.standard_normal((config["vocab_size"], hidden))}
    for index in range(config["num_hidden_layers"]):
        layer = {
            "input_layernorm": norm(), "post_attention_layernorm": norm(),
            "self_attn.q_proj": matrix(heads * head_dim, hidden, 1.4),
            "self_attn.k_proj": matrix(kv, hidden, 1.4),
            "self_attn.v_proj": matrix(kv, hidden, 1.0),
            "self_attn.o_proj": matrix(hidden, heads * head_dim, 1.2),
            "mlp.gate_proj": matrix(inner, hidden, 1.5), "mlp.up_proj": matrix(inner, hidden, 1.0),
            "mlp.down_proj": matrix(hidden, inner, 1.0),
        }
        weights |= {f"model.layers.{index}.{part}.weight": values for part, values in layer.items()}
    weights["model.norm.weight"] = norm()
    if not config["tie_word_embeddings"]:
        weights["lm_head.weight"] = matrix(config["vocab_size"], hidden, 3.0)
    return weights


def write_model(folder, spec, rng):
    import torch
    from safetensors.torch import save_file

    dtype = getattr(torch, spec["dtype"])
    weights = {name: torch.from_numpy(values).to(dtype) for name, values in random_weights(spec["config"], rng).items()}
    path = folder / "model.safetensors"
    save_file(weights, str(path), metadata={"format": "pt"})
    path.chmod(0o644)
    write_json(folder / "config.json", {
        **spec["config"], "torch_dtype": spec["dtype"], "bos_token_id": 0, "eos_token_id": [1, 3]})


def transformers_says(folder, spec, rng):
    """The contents of expected.json, by transformers from the files as they are on disk."""
    import safetensors
    import tokenizers
    import torch
    import transformers

    torch.set_num_threads(1)
    model, loading = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    assert not any(loading.values()), loading
    model.eval()
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder)

    def logits_of(ids):
        with torch.no_grad():
            return model(torch.tensor([ids]), use_cache=False).logits[0].numpy()

    texts = [{"text": text, "ids": tokenizer(text)["input_ids"]} for text in TEXTS]
    plain = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert all(plain.encode(entry["text"]).ids == entry["ids"] for entry in texts), "two opinions on the ids"
    cases = []
    for length in PROMPT_LENGTHS:
        prompt = rng.integers(0, spec["config"]["vocab_size"], length).tolist()
        logits = logits_of(prompt)
        best = np.argsort(-logits, axis=1, kind="stable")[:, :5]
        ids, margins = [], []
        for _ in range(GREEDY_TOKENS):
            last = logits_of(prompt + ids)[-1]
            second, first = np.sort(last)[-2:]
            ids.append(int(np.argmax(last)))
            margins.append(first - second)
        cases.append({
            "prompt_ids": prompt, "logits": floats(logits[-1]), "top5_ids": best.tolist(),
            "top5_logits": [floats(row) for row in np.take_along_axis(logits, best, axis=1)],
            "greedy_ids": ids, "greedy_margins": floats(margins)})
    libraries = [torch, transformers, tokenizers, safetensors, np]
    return {
        "seed": spec["seed"], "made_with": {library.__name__: library.__version__ for library in libraries},
        "texts": texts,
        "chat": {"messages": MESSAGES, "rendered": tokenizer.apply_chat_template(
            MESSAGES, tokenize=False, add_generation_prompt=True)},
        "cases": cases}


def floats(values):
    """Nine digits tell any two f32 apart."""
    return [float(f"{x:.9g}") for x in values]


def write_json(path, value):
    """One line a member, and one a case: small files with diffs that can be read."""
    def text(value):
        return json.dumps(value, ensure_ascii=False)

    def member(key, value):
        if key == "cases":
            cases = [",\n   ".join(f"{text(k)}: {text(v)}" for k, v in case.items()) for case in value]
            return '"cases": [\n  {' + "},\n  {".join(cases) + "}\n ]"
        return f"{text(key)}: {text(value)}"

    path.write_text("{\n " + ",\n ".join(member(k, v) for k, v in value.items()) + "\n}\n", encoding="utf-8")


def read_weights(path):
    """A safetensors file as f64 arrays, read without the library."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    weights = {}
    for name, entry in json.loads(data[8:start]).items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        raw = data[start + begin:start + end]
        if entry["dtype"] == "BF16":
            values = (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
        else:
            values = np.frombuffer(raw, {"F32": "<f4", "F16": "<f2"}[entry["dtype"]])
        weights[name] = values.astype(np.float64).reshape(entry["shape"])
    return weights


def inverse_frequencies(config, head_dim):
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    theta = rope.get("rope_theta", config.get("rope_theta"))
    frequencies = theta ** -(np.arange(0, head_dim, 2) / head_dim)
    kind = rope.get("rope_type", rope.get("type"))
    if kind == "linear":
        return frequencies / rope["factor"]
    if kind == "llama3":
        # Turns that a frequency makes over the original context: many stay, few are slowed, between is blended.
        turns = rope["original_max_position_embeddings"] * frequencies / (2 * np.pi)
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        blend = np.clip((turns - low) / (high - low), 0, 1)
        return frequencies * (blend + (1 - blend) / rope["factor"])
    return frequencies


def numpy_logits(config, weights, ids, peaks=None):
    """Logits of all positions in f64. `peaks` collects the largest attention weight of each row of 16 keys or more."""
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    head_dim = config.get("head_dim", config["hidden_size"] // heads)
    positions = np.arange(len(ids))
    angles = positions[:, None] * inverse_frequencies(config, head_dim)
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    back = positions[:, None] - positions
    allowed = (back >= 0) & (back < (config.get("sliding_window") or len(ids)))

    def norm(x, name):
        return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + config["rms_norm_eps"]) * weights[name]

    def linear(x, name):
        return x @ weights[name].T

    def rotate(x):
        left, right = np.split(x, 2, axis=-1)
        return np.concatenate([left * cos - right * sin, right * cos + left * sin], axis=-1)

    hidden = weights["model.embed_tokens.weight"][ids]
    for index in range(config["num_hidden_layers"]):
        name = f"model.layers.{index}.{{}}.weight".format
        x = norm(hidden, name("input_layernorm"))
        q = rotate(linear(x, name("self_attn.q_proj")).reshape(len(ids), heads, head_dim))
        k = rotate(linear(x, name("self_attn.k_proj")).reshape(len(ids), kv_heads, head_dim))
        v = linear(x, name("self_attn.v_proj")).reshape(len(ids), kv_heads, head_dim)
        attended = np.empty_like(q)
        for head in range(heads):
            shared = head // (heads // kv_heads)
            scores = np.where(allowed, q[:, head] @ k[:, shared].T / np.sqrt(head_dim), -np.inf)
            scores = np.exp(scores - scores.max(axis=1, keepdims=True))
            scores /= scores.sum(axis=1, keepdims=True)
            attended[:, head] = scores @ v[:, shared]
            if peaks is not None:
                peaks.extend(scores.max(axis=1)[15:])
        hidden = hidden + linear(attended.reshape(len(ids), -1), name("self_attn.o_proj"))
        x = norm(hidden, name("post_attention_layernorm"))
        gate = linear(x, name("mlp.gate_proj"))
        x = gate / (1 + np.exp(-gate)) * linear(x, name("mlp.up_proj"))
        hidden = hidden + linear(x, name("mlp.down_proj"))
    head = "model.embed_tokens.weight" if config["tie_word_embeddings"] else "lm_head.weight"
    return linear(norm(hidden, "model.norm.weight"), head)


def check(folder):
    """Compares expected.json with numpy; returns a line of figures."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    weights = read_weights(folder / "model.safetensors")
    lengths = [len(case["prompt_ids"]) for case in expected["cases"]]
    assert lengths == PROMPT_LENGTHS, f"{folder}: prompts of {lengths} tokens"
    worst, peaks, spread, margins, kinds = 0.0, [], [], [], []
    for case in expected["cases"]:
        prompt, greedy = case["prompt_ids"], case["greedy_ids"]
        logits = numpy_logits(config, weights, prompt + greedy, peaks)
        at = len(prompt) - 1
        worst = max(worst, np.abs(logits[at] - case["logits"]).max())
        for position, (ids, best) in enumerate(zip(case["top5_ids"], case["top5_logits"], strict=True)):
            assert np.isclose(logits[position].max(), best[0], atol=AGREEMENT), f"{folder}: best of {position}"
            worst = max(worst, np.abs(logits[position][ids] - best).max())
        steps = logits[at:-1]
        assert len(greedy) == GREEDY_TOKENS and (steps.argmax(axis=1) == greedy).all(), f"{folder}: greedy ids"
        second, first = np.sort(steps, axis=1)[:, -2:].T
        worst = max(worst, np.abs(first - second - case["greedy_margins"]).max())
        spread.append(logits.std(axis=1).mean())
        margins.append((first - second).min())
        kinds.append(len(set(greedy)))
    plain = {**config, "rope_scaling": None, "rope_theta": 10000.0, "rope_parameters": None, "sliding_window": None}
    if rope := config.get("rope_parameters"):
        plain["rope_theta"] = rope["rope_theta"]
    effect = np.abs(numpy_logits(plain, weights, prompt)[-1] - case["logits"]).max()
    special = config.get("rope_parameters") or config.get("rope_scaling") or config.get("sliding_window")
    line = (f"{folder.name}: numpy agrees to {worst:.1e}; std of logits {min(spread):.2f}; largest attention weight "
            f"{np.mean(peaks):.2f}; least margin {min(margins):.3f}; distinct greedy ids {kinds}")
    if special:
        line += f"; scaling or window moves a logit by {effect:.2f}"
    assert worst <= AGREEMENT, line
    assert min(spread) >= 2 and 0.25 <= np.mean(peaks) <= 0.9, f"not worth testing with: {line}"
    assert min(margins) >= 0.005 and min(kinds) >= 4 and sum(kinds) >= 24, f"choose another seed: {line}"
    assert effect >= 0.5 or not special, f"too little: {line}"
    return line


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", choices=FAMILIES)
    parser.add_argument("--check", action="store_true", help="only check what is there")
    arguments = parser.parse_args()
    root = ROOT / arguments.family
    for name, spec in FAMILIES[arguments.family].items():
        folder = root / name
        if not arguments.check:
            folder.mkdir(parents=True, exist_ok=True)
            # The stream of a seed may change with the version of numpy, which expected.json records.
            rng = np.random.default_rng(spec["seed"])
            write_model(folder, spec, rng)
            write_tokenizer(folder, spec)
            write_json(folder / "expected.json", transformers_says(folder, spec, rng))
        print(check(folder))
    size = sum(file.stat().st_size for file in root.rglob("*") if file.is_file())
    print(f"{size} bytes in {root}")
    assert size <= FAMILY_BYTES, f"more than {FAMILY_BYTES} bytes"


if __name__ == "__main__":
    main()
