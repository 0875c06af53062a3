"""Makes or checks the golden fixtures of a model family: tiny random models and what Hugging Face transformers says.

Called by `cargo xtask golden FAMILY`, from the repository root. Making them needs `pip install torch transformers
safetensors` (about 3 GB); `--check` needs numpy alone. Neither is needed by any test.

Each folder under doppler-core/tests/fixtures/FAMILY holds

    config.json, model.safetensors, tokenizer.json, tokenizer_config.json   a model as the hub would have it
    expected.json    seed and library versions;
                     texts: what the tokenizer makes of them; chat: what its template makes of messages;
                     cases: prompt ids, the logits of the last position, the best five of every position, and 32 greedy
                     ids with their margins (best minus second best logit), with LongRoPE also max_seq_len, the context
                     to choose the factors for; all by transformers in fp32, eager attention

Every folder is checked as it is made, and again by `--check`, against a second evaluation in numpy and f64 that shares
nothing with transformers: all logits within 1e-4. The check also asks that the model is worth testing with: logits and
attention far from uniform, and an effect of everything that sets the model apart (rope scaling, window, softcap, ...).
"""

import argparse
import dataclasses
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
COMMON = {
    "initializer_range": 0.02, "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "attention_dropout": 0.0,
    "use_cache": True,
}
BASE = {"hidden_act": "silu", **COMMON}
LLAMA = {**BASE, "architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": False,
         "mlp_bias": False}
MISTRAL = {**BASE, "architectures": ["MistralForCausalLM"], "model_type": "mistral"}
# Where Gemma's files say nothing about tied embeddings, they are tied.
GEMMA = {**COMMON, "hidden_activation": "gelu_pytorch_tanh", "rms_norm_eps": 1e-6, "attention_bias": False,
         "pad_token_id": 0}
GEMMA2 = {**GEMMA, "architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2"}
GEMMA3 = {**GEMMA, "architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text",
          "attn_logit_softcapping": None, "final_logit_softcapping": None}
QWEN2 = {**BASE, "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "rms_norm_eps": 1e-6}
QWEN3 = {**QWEN2, "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "attention_bias": False}
PHI3 = {**BASE, "architectures": ["Phi3ForCausalLM"], "model_type": "phi3", "attention_bias": False,
        "embd_pdrop": 0.0, "resid_pdrop": 0.0, "pad_token_id": 1}
SMOLLM3 = {**LLAMA, "architectures": ["SmolLM3ForCausalLM"], "model_type": "smollm3", "rms_norm_eps": 1e-6,
           "pad_token_id": 1}
SLIDING, FULL = "sliding_attention", "full_attention"

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
    "gemma2": {
        # As on the hub: the layers alternate without the file saying so. Scores are divided by less than their size.
        "gemma2_alternating": {"seed": 2, "dtype": "bfloat16", "tokens": 309, "chat": "gemma", "config": {
            **GEMMA2, "hidden_act": "gelu_pytorch_tanh", "vocab_size": 320, "hidden_size": 66,
            "intermediate_size": 91, "num_hidden_layers": 4, "num_attention_heads": 6, "num_key_value_heads": 2,
            "head_dim": 14, "query_pre_attn_scalar": 10, "rope_theta": 10000.0, "sliding_window": 24,
            "attn_logit_softcapping": 7.0, "final_logit_softcapping": 8.0}},
        # As transformers 5 writes it. Scores are divided by more than their size.
        "gemma2_typed": {"seed": 2, "dtype": "float32", "tokens": 297, "chat": "gemma", "config": {
            **GEMMA2, "vocab_size": 297, "hidden_size": 63, "intermediate_size": 80, "num_hidden_layers": 3,
            "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 10, "query_pre_attn_scalar": 21,
            "tie_word_embeddings": True, "use_bidirectional_attention": None,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}, "sliding_window": 20,
            "layer_types": [SLIDING, FULL, SLIDING],
            "attn_logit_softcapping": 5.0, "final_logit_softcapping": 10.0}},
    },
    "gemma3": {
        # As on the hub (4B): five layers with a window and the local theta, one without and with the scaled global one.
        "gemma3_linear": {"seed": 1, "dtype": "bfloat16", "tokens": 311, "chat": "gemma", "config": {
            **GEMMA3, "vocab_size": 320, "hidden_size": 60, "intermediate_size": 77, "num_hidden_layers": 7,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 22, "query_pre_attn_scalar": 22,
            "rope_theta": 1000000, "rope_local_base_freq": 10000,
            "rope_scaling": {"rope_type": "linear", "factor": 8.0}, "sliding_window": 16,
            "sliding_window_pattern": 6}},
        # As transformers 5 writes it; another pattern, one key head, and scores that are not divided by their size.
        "gemma3_typed": {"seed": 1, "dtype": "float32", "tokens": 293, "chat": "gemma", "config": {
            **GEMMA3, "vocab_size": 293, "hidden_size": 57, "intermediate_size": 70, "num_hidden_layers": 4,
            "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 18, "query_pre_attn_scalar": 11,
            "tie_word_embeddings": True, "use_bidirectional_attention": False, "sliding_window": 16,
            "layer_types": [SLIDING, SLIDING, FULL, SLIDING],
            "rope_parameters": {
                SLIDING: {"rope_type": "default", "rope_theta": 10000.0},
                FULL: {"rope_type": "default", "rope_theta": 1000000.0},
            }}},
    },
    "qwen2": {
        # As on the hub: a window that is switched off, no head_dim, and not a word of the biases.
        "qwen2_tied": {"seed": 4, "dtype": "bfloat16", "tokens": 303, "chat": "turns", "config": {
            **QWEN2, "vocab_size": 320, "hidden_size": 60, "intermediate_size": 101, "num_hidden_layers": 3,
            "num_attention_heads": 6, "num_key_value_heads": 2, "tie_word_embeddings": True,
            "rope_theta": 1000000.0, "sliding_window": 16, "use_sliding_window": False, "max_window_layers": 2}},
        "qwen2_untied": {"seed": 1, "dtype": "float16", "tokens": 289, "chat": "turns", "config": {
            **QWEN2, "vocab_size": 289, "hidden_size": 56, "intermediate_size": 75, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": False,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}, "sliding_window": None,
            "use_sliding_window": False, "max_window_layers": 28, "layer_types": [FULL, FULL]}},
    },
    "qwen3": {
        "qwen3_tied": {"seed": 6, "dtype": "bfloat16", "tokens": 301, "chat": "turns", "config": {
            **QWEN3, "vocab_size": 320, "hidden_size": 48, "intermediate_size": 83, "num_hidden_layers": 3,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 18, "tie_word_embeddings": True,
            "rope_theta": 1000000, "rope_scaling": None, "sliding_window": None, "use_sliding_window": False,
            "max_window_layers": 28}},
        # Heads that are together narrower than the model, and one key head.
        "qwen3_untied": {"seed": 1, "dtype": "float32", "tokens": 287, "chat": "turns", "config": {
            **QWEN3, "vocab_size": 287, "hidden_size": 57, "intermediate_size": 71, "num_hidden_layers": 2,
            "num_attention_heads": 5, "num_key_value_heads": 1, "head_dim": 10, "tie_word_embeddings": False,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0}, "sliding_window": None,
            "use_sliding_window": False, "max_window_layers": 28, "layer_types": [FULL, FULL]}},
    },
    "phi3": {
        # Phi-3 mini 4k: a window.
        "phi3_window": {"seed": 2, "dtype": "float16", "tokens": 295, "chat": "inst", "config": {
            **PHI3, "vocab_size": 295, "hidden_size": 60, "intermediate_size": 75, "num_hidden_layers": 2,
            "num_attention_heads": 6, "num_key_value_heads": 6, "tie_word_embeddings": False,
            "original_max_position_embeddings": 128, "rope_theta": 10000.0, "rope_scaling": None,
            "sliding_window": 20}},
        # As transformers 5 writes it: half of each head turns.
        "phi3_partial": {"seed": 1, "dtype": "bfloat16", "tokens": 305, "chat": "turns", "config": {
            **PHI3, "vocab_size": 320, "hidden_size": 72, "intermediate_size": 89, "num_hidden_layers": 2,
            "num_attention_heads": 6, "num_key_value_heads": 2, "tie_word_embeddings": False,
            "original_max_position_embeddings": 128,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5},
            "sliding_window": None}},
        # Phi-4 mini: tied, 12 of 16 elements turn, each pair slowed by a factor of its own, one of two lists.
        "phi3_longrope": {"seed": 3, "dtype": "float32", "tokens": 299, "chat": "turns", "config": {
            **PHI3, "vocab_size": 299, "hidden_size": 64, "intermediate_size": 85, "num_hidden_layers": 3,
            "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True,
            "max_position_embeddings": 256, "original_max_position_embeddings": 64, "rope_theta": 10000.0,
            "partial_rotary_factor": 0.75, "sliding_window": 262144, "rope_scaling": {
                "type": "longrope", "short_factor": [1.0, 1.037, 1.21, 1.484, 1.93, 2.42],
                "long_factor": [1.118, 1.83, 3.72, 9.25, 20.5, 31.06]}}},
    },
    "smollm3": {
        # Every fourth layer does without positions.
        "smollm3_nope": {"seed": 2, "dtype": "bfloat16", "tokens": 310, "chat": "turns", "config": {
            **SMOLLM3, "vocab_size": 320, "hidden_size": 60, "intermediate_size": 79, "num_hidden_layers": 5,
            "num_attention_heads": 6, "num_key_value_heads": 2, "tie_word_embeddings": True,
            "rope_theta": 5000000.0, "rope_scaling": None, "sliding_window": None, "use_sliding_window": False,
            "max_window_layers": 28, "layer_types": [FULL] * 5, "no_rope_layers": [1, 1, 1, 0, 1],
            "no_rope_layer_interval": 4}},
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
    "gemma": "{{ bos_token }}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
             "{{ raise_exception('roles must alternate') }}{% endif %}"
             "{% if m['role'] == 'assistant' %}{% set role = 'model' %}{% else %}{% set role = m['role'] %}{% endif %}"
             "{{ '<|start|>' + role + '\n' + m['content'] | trim + '<|end|>\n' }}{% endfor %}"
             "{% if add_generation_prompt %}{{ '<|start|>model\n' }}{% endif %}",
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
    begins = spec["chat"] != "turns"
    if begins:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{BOS} $A", pair=f"{BOS} $A {BOS}:1 $B:1", special_tokens=[(BOS, 0)])
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": BOS, "eos_token": EOS, "add_bos_token": begins,
        "clean_up_tokenization_spaces": False, "model_max_length": spec["config"]["max_position_embeddings"],
        "chat_template": CHAT[spec["chat"]]})


def head_size(config):
    return config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])


def is_gemma(config):
    return config["model_type"].startswith("gemma")


def is_tied(config):
    return config.get("tie_word_embeddings", is_gemma(config))


def random_weights(config, rng):
    """Name to f64 array. Scaled so that attention scores spread by about 2 and logits by about 3."""
    hidden, inner, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    head_dim, model_type, gemma = head_size(config), config["model_type"], is_gemma(config)
    kv = config["num_key_value_heads"] * head_dim

    def matrix(rows, cols, gain):
        return rng.standard_normal((rows, cols)) * gain / np.sqrt(cols)

    def norm(size=hidden, gain=1.0):
        weight = gain * (1.0 + 0.2 * rng.standard_normal(size))
        return weight - 1.0 if gemma else weight

    # A tied table is also the head, so its rows must be as short as the head's. Gemma multiplies what it looks up, and
    # norms what it adds to it, which must be more than that, or every token would repeat itself.
    table = 3.0 / np.sqrt(hidden) if is_tied(config) else 1.0
    added = 7.0 if gemma else 1.0
    # A cap flattens attention.
    sharp = 2.2 if config.get("attn_logit_softcapping") else 1.4
    weights = {"model.embed_tokens.weight": table * rng.standard_normal((config["vocab_size"], hidden))}
    for index in range(config["num_hidden_layers"]):
        layer = {
            "input_layernorm": norm(), "post_attention_layernorm": norm(gain=added),
            "self_attn.q_proj": matrix(heads * head_dim, hidden, sharp),
            "self_attn.k_proj": matrix(kv, hidden, sharp),
            "self_attn.v_proj": matrix(kv, hidden, 1.0),
            "self_attn.o_proj": matrix(hidden, heads * head_dim, 1.2),
            "mlp.gate_proj": matrix(inner, hidden, 1.5), "mlp.up_proj": matrix(inner, hidden, 1.0),
            "mlp.down_proj": matrix(hidden, inner, 1.0),
        }
        if gemma:
            layer |= {"pre_feedforward_layernorm": norm(), "post_feedforward_layernorm": norm(gain=added)}
        if model_type in ["gemma3_text", "qwen3"]:
            layer |= {"self_attn.q_norm": norm(head_dim, 1.4), "self_attn.k_norm": norm(head_dim, 1.4)}
        if model_type == "phi3":
            layer["self_attn.qkv_proj"] = np.concatenate([layer.pop(f"self_attn.{x}_proj") for x in "qkv"])
            layer["mlp.gate_up_proj"] = np.concatenate([layer.pop(f"mlp.{x}_proj") for x in ["gate", "up"]])
        weights |= {f"model.layers.{index}.{part}.weight": values for part, values in layer.items()}
        if model_type == "qwen2":
            weights |= {f"model.layers.{index}.self_attn.{x}_proj.bias": gain * rng.standard_normal(size)
                        for x, size, gain in [("q", heads * head_dim, 0.7), ("k", kv, 0.7), ("v", kv, 0.3)]}
    weights["model.norm.weight"] = norm()
    if not is_tied(config):
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
    original = spec["config"].get("original_max_position_embeddings")
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
        # Here the factors follow the length of each call; within a case, all calls are on the same side of `original`.
        short = original and length + GREEDY_TOKENS <= original
        limit = {"max_seq_len": original if short else spec["config"]["max_position_embeddings"]}
        cases.append({
            "prompt_ids": prompt, **(limit if is_longrope(spec["config"]) else {}),
            "logits": floats(logits[-1]), "top5_ids": best.tolist(),
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


def is_longrope(config):
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return rope.get("rope_type", rope.get("type")) == "longrope"


@dataclasses.dataclass
class Decoder:
    """What a config.json means, whatever its family calls it. What the tensors tell by their names is not in here."""
    heads: int
    kv_heads: int
    head_dim: int
    eps: float
    tied: bool
    activation: str
    score_scale: float
    embedding_scale: float
    norm_offset: float
    windows: list  # of each layer; None sees everything before
    ropes: list  # of each layer: what `inverse_frequencies` reads; None does not turn
    rope_magnitude: float
    score_cap: float | None
    logit_cap: float | None


def decoder(config, max_seq_len=0):
    layers, head_dim, gemma = config["num_hidden_layers"], head_size(config), is_gemma(config)
    window = config.get("sliding_window") if config.get("use_sliding_window", True) else None
    if window and window >= config["max_position_embeddings"]:
        window = None
    # Gemma has a pattern; elsewhere the window is every layer's.
    period = {"gemma2": 2, "gemma3_text": config.get("sliding_window_pattern", 6)}.get(config["model_type"], layers + 1)
    types = config.get("layer_types") or [FULL if index % period == 0 else SLIDING for index in range(1, layers + 1)]

    given = config.get("rope_parameters") or config.get("rope_scaling") or {}
    original = config.get("original_max_position_embeddings")

    def rope(kind):
        settings = {"rope_theta": config.get("rope_theta"),
                    "partial_rotary_factor": config.get("partial_rotary_factor", 1.0), **given.get(kind, given)}
        if kind == SLIDING and "rope_local_base_freq" in config:
            settings = {"rope_theta": config["rope_local_base_freq"], "partial_rotary_factor": 1.0}
        if is_longrope(config):
            settings["long"] = max_seq_len > original
        return {**settings, "rope_type": settings.get("rope_type", settings.get("type", "default"))}

    turning = config.get("no_rope_layers", [1] * layers)
    ropes = [rope(kind) if turns else None for kind, turns in zip(types, turning, strict=True)]
    magnitude = 1.0
    if is_longrope(config):
        magnitude = np.sqrt(1 + np.log(config["max_position_embeddings"] / original) / np.log(original))
    return Decoder(
        heads=config["num_attention_heads"], kv_heads=config["num_key_value_heads"], head_dim=head_dim,
        eps=config["rms_norm_eps"], tied=is_tied(config),
        activation=config["hidden_activation"] if gemma else config["hidden_act"],
        score_scale=config.get("query_pre_attn_scalar", head_dim) ** -0.5,
        embedding_scale=np.sqrt(config["hidden_size"]) if gemma else 1.0, norm_offset=1.0 if gemma else 0.0,
        windows=[window if kind == SLIDING else None for kind in types], ropes=ropes, rope_magnitude=magnitude,
        score_cap=config.get("attn_logit_softcapping"), logit_cap=config.get("final_logit_softcapping"))


def inverse_frequencies(rope, head_dim):
    """Of the part of each head that turns."""
    turning = int(head_dim * rope["partial_rotary_factor"])
    frequencies = rope["rope_theta"] ** -(np.arange(0, turning, 2) / turning)
    kind = rope["rope_type"]
    if kind == "linear":
        return frequencies / rope["factor"]
    if kind == "longrope":
        return frequencies / rope["long_factor" if rope["long"] else "short_factor"]
    if kind == "llama3":
        # Turns that a frequency makes over the original context: many stay, few are slowed, between is blended.
        turns = rope["original_max_position_embeddings"] * frequencies / (2 * np.pi)
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        blend = np.clip((turns - low) / (high - low), 0, 1)
        return frequencies * (blend + (1 - blend) / rope["factor"])
    return frequencies


def activate(x, activation):
    if activation == "gelu_pytorch_tanh":
        return x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3))) / 2
    return x / (1 + np.exp(-x))


def soft_cap(x, cap):
    return cap * np.tanh(x / cap) if cap else x


def numpy_logits(model, weights, ids, peaks=None):
    """Logits of all positions in f64. `peaks` collects the largest attention weight of each row of 16 keys or more."""
    positions = np.arange(len(ids))
    back = positions[:, None] - positions

    def norm(x, name):
        scaled = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + model.eps)
        return scaled * (weights[f"{name}.weight"] + model.norm_offset)

    def norm_if_any(x, name):
        return norm(x, name) if f"{name}.weight" in weights else x

    def linear(x, name):
        return x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", 0.0)

    def rotate(x, rope):
        if rope is None:
            return x
        angles = positions[:, None, None] * inverse_frequencies(rope, model.head_dim)
        cos, sin = np.cos(angles) * model.rope_magnitude, np.sin(angles) * model.rope_magnitude
        half = angles.shape[-1]
        left, right, rest = np.split(x, [half, 2 * half], axis=-1)
        return np.concatenate([left * cos - right * sin, right * cos + left * sin, rest], axis=-1)

    hidden = weights["model.embed_tokens.weight"][ids] * model.embedding_scale
    for index, (rope, window) in enumerate(zip(model.ropes, model.windows, strict=True)):
        name = f"model.layers.{index}.{{}}".format

        def heads(x, part, count):
            return linear(x, name(f"self_attn.{part}_proj")).reshape(len(ids), count, model.head_dim)

        x = norm(hidden, name("input_layernorm"))
        q = rotate(norm_if_any(heads(x, "q", model.heads), name("self_attn.q_norm")), rope)
        k = rotate(norm_if_any(heads(x, "k", model.kv_heads), name("self_attn.k_norm")), rope)
        v = heads(x, "v", model.kv_heads)
        allowed = (back >= 0) & (back < (window or len(ids)))
        attended = np.empty_like(q)
        for head in range(model.heads):
            shared = head // (model.heads // model.kv_heads)
            scores = soft_cap(q[:, head] @ k[:, shared].T * model.score_scale, model.score_cap)
            scores = np.where(allowed, scores, -np.inf)
            scores = np.exp(scores - scores.max(axis=1, keepdims=True))
            scores /= scores.sum(axis=1, keepdims=True)
            attended[:, head] = scores @ v[:, shared]
            if peaks is not None:
                peaks.extend(scores.max(axis=1)[15:])
        x = linear(attended.reshape(len(ids), -1), name("self_attn.o_proj"))
        # With four norms a layer, two of them are of what is added; `post_attention_layernorm` is a name for both uses.
        four = name("pre_feedforward_layernorm.weight") in weights
        hidden = hidden + (norm(x, name("post_attention_layernorm")) if four else x)
        x = norm(hidden, name("pre_feedforward_layernorm" if four else "post_attention_layernorm"))
        gate = activate(linear(x, name("mlp.gate_proj")), model.activation)
        x = linear(gate * linear(x, name("mlp.up_proj")), name("mlp.down_proj"))
        hidden = hidden + norm_if_any(x, name("post_feedforward_layernorm"))
    head = "model.embed_tokens" if model.tied else "lm_head"
    return soft_cap(linear(norm(hidden, "model.norm"), head), model.logit_cap)


def unfused(model, weights):
    """Each matrix under its own name."""
    q, kv = model.heads * model.head_dim, model.kv_heads * model.head_dim
    separate = {}
    for name, values in weights.items():
        if "qkv_proj" in name:
            parts, values = ["q_proj", "k_proj", "v_proj"], np.split(values, [q, q + kv])
            separate |= {name.replace("qkv_proj", part): value for part, value in zip(parts, values, strict=True)}
        elif "gate_up_proj" in name:
            parts, values = ["gate_proj", "up_proj"], np.split(values, 2)
            separate |= {name.replace("gate_up_proj", part): value for part, value in zip(parts, values, strict=True)}
        else:
            separate[name] = values
    return separate


def mistakes(config, model, weights, ids):
    """Name, model and weights for each way to get wrong what sets this model apart from plain Llama."""
    def each(change):
        return [rope and {**rope, **change(rope)} for rope in model.ropes]

    turning = [rope for rope in model.ropes if rope]
    unlimited = [rope for rope, window in zip(model.ropes, model.windows, strict=True) if not window]
    main = (unlimited or turning)[0]
    layers = len(model.ropes)
    window = config.get("sliding_window")
    changes = {
        "no window": {"windows": [None] * layers},
        "window in all layers": {"windows": [window if window and window < len(ids) else None] * layers},
        "window off by one": {"windows": [window and window + 1 for window in model.windows]},
        "layers shifted": {"windows": np.roll(model.windows, -1).tolist(), "ropes": np.roll(model.ropes, -1).tolist()},
        "one rope": {"ropes": each(lambda rope: main)},
        "one rope scaling": {"ropes": each(lambda rope: {**main, "rope_theta": rope["rope_theta"]})},
        "rope in all layers": {"ropes": [rope or turning[0] for rope in model.ropes]},
        "rope not scaled": {"ropes": each(lambda rope: {"rope_type": "default"})},
        "rope of whole heads": {"ropes": each(lambda rope: {} if "long" in rope else {"partial_rotary_factor": 1.0})},
        "the other factors": {"ropes": each(lambda rope: {"long": not rope["long"]} if "long" in rope else {})},
        "no rope magnitude": {"rope_magnitude": 1.0},
        "scores by head_dim": {"score_scale": model.head_dim ** -0.5},
        "no score cap": {"score_cap": None},
        "no logit cap": {"logit_cap": None},
        "embedding not scaled": {"embedding_scale": 1.0},
        "norms without 1": {"norm_offset": 0.0},
        "silu": {"activation": "silu"},
    }
    for name, change in changes.items():
        wrong = dataclasses.replace(model, **change)
        if wrong != model:
            yield name, wrong, weights
    for name, end in [("no bias", ".bias"), ("no q norm", ".q_norm.weight"), ("no k norm", ".k_norm.weight")]:
        if any(tensor.endswith(end) for tensor in weights):
            yield name, model, {tensor: values for tensor, values in weights.items() if not tensor.endswith(end)}


def check(folder):
    """Compares expected.json with numpy; returns a line of figures."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    weights = unfused(decoder(config), read_weights(folder / "model.safetensors"))
    lengths = [len(case["prompt_ids"]) for case in expected["cases"]]
    assert lengths == PROMPT_LENGTHS, f"{folder}: prompts of {lengths} tokens"
    worst, peaks, spread, margins, kinds = 0.0, [], [], [], []
    for case in expected["cases"]:
        prompt, greedy = case["prompt_ids"], case["greedy_ids"]
        model = decoder(config, case.get("max_seq_len", 0))
        assert is_longrope(config) == ("max_seq_len" in case), f"{folder}: max_seq_len"
        logits = numpy_logits(model, weights, prompt + greedy, peaks)
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
    effects = {name: np.abs(numpy_logits(wrong, wrong_weights, prompt)[-1] - case["logits"]).max()
               for name, wrong, wrong_weights in mistakes(config, model, weights, prompt)}
    line = (f"{folder.name}: numpy agrees to {worst:.1e}; std of logits {min(spread):.2f}; largest attention weight "
            f"{np.mean(peaks):.2f}; least margin {min(margins):.3f}; distinct greedy ids {kinds}")
    if effects:
        line += "; by how much a mistake moves a logit: " + ", ".join(f"{x} {by:.2f}" for x, by in effects.items())
    assert worst <= AGREEMENT, line
    assert min(spread) >= 2 and 0.25 <= np.mean(peaks) <= 0.9, f"not worth testing with: {line}"
    assert min(margins) >= 0.005 and min(kinds) >= 4 and sum(kinds) >= 24, f"choose another seed: {line}"
    assert all(effect >= 0.5 for effect in effects.values()), f"too little: {line}"
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
