//! The splitting rules behind the names that GGUF files give under `tokenizer.ggml.pre`: what each model's own
//! tokenizer does to a text before merging. A name that is not here is an error, never a guess.

use serde_json::{Value as Json, json};

/// How a named pre-tokenizer treats a text.
pub(super) struct PreTokenizer {
    names: &'static [&'static str],
    steps: &'static [Step],
    /// The text is brought to Unicode's normal form C first.
    pub nfc: bool,
    /// A piece that is a token as a whole is taken without merging.
    pub ignore_merges: bool,
    /// A sequence begins with the BOS token unless the file says otherwise.
    pub adds_bos: bool,
}

/// One pass over the pieces of the pass before.
enum Step {
    /// Each match becomes a piece of its own.
    Split(&'static str),
    /// Each digit becomes a piece of its own.
    Digits,
    /// Runs of digits become pieces.
    DigitRuns,
    /// Runs of punctuation become pieces.
    Punctuation,
    /// GPT-2's rule: words, numbers and punctuation, each with the space before it.
    Gpt2,
}

use Step::{DigitRuns, Digits, Gpt2, Punctuation, Split};

const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN_2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT_4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const DEEPSEEK_3: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;
const IDEOGRAPHS: &str = "[\u{4e00}-\u{9fa5}\u{0800}-\u{4e00}\u{ac00}-\u{d7ff}]+";
const KANA_AND_HAN: &str = "[\u{4e00}-\u{9fa5}\u{3040}-\u{309f}\u{30a0}-\u{30ff}]+";

const PLAIN: PreTokenizer =
    PreTokenizer { names: &[], steps: &[Gpt2], nfc: false, ignore_merges: false, adds_bos: false };

static PRE_TOKENIZERS: &[PreTokenizer] = &[
    PreTokenizer { names: &["gpt-2", "phi-2", "jais", "roberta-bpe"], ..PLAIN },
    PreTokenizer { names: &["mpt", "olmo"], nfc: true, ..PLAIN },
    PreTokenizer {
        names: &["smollm", "starcoder", "refact", "codeshell", "minerva-7b"],
        steps: &[Digits, Gpt2],
        ..PLAIN
    },
    PreTokenizer { names: &["command-r"], steps: &[Digits, Gpt2], nfc: true, ..PLAIN },
    PreTokenizer {
        names: &["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "lfm2"],
        steps: &[Split(LLAMA_3)],
        ignore_merges: true,
        adds_bos: true,
        ..PLAIN
    },
    PreTokenizer { names: &["dbrx", "smaug-bpe", "glm4", "chatglm-bpe"], steps: &[Split(LLAMA_3)], ..PLAIN },
    PreTokenizer {
        names: &["qwen2", "deepseek-r1-qwen", "stablelm2", "megrez"],
        steps: &[Split(QWEN_2)],
        nfc: true,
        ..PLAIN
    },
    PreTokenizer { names: &["tekken"], steps: &[Split(TEKKEN)], ignore_merges: true, adds_bos: true, ..PLAIN },
    PreTokenizer { names: &["gpt-4o", "llama4"], steps: &[Split(GPT_4O)], ..PLAIN },
    PreTokenizer {
        names: &["deepseek-coder"],
        steps: &[Split(r"[\r\n]"), Split(r"\s?\p{L}+"), Split(r"\s?\p{P}+"), Split(IDEOGRAPHS), Digits],
        ..PLAIN
    },
    PreTokenizer {
        names: &["deepseek-v3"],
        steps: &[Split(r"\p{N}{1,3}"), Split(KANA_AND_HAN), Split(DEEPSEEK_3)],
        ..PLAIN
    },
    PreTokenizer {
        names: &["falcon", "default"],
        steps: &[Punctuation, Gpt2, DigitRuns, Split("[0-9][0-9][0-9]")],
        ..PLAIN
    },
];

impl PreTokenizer {
    pub(super) fn named(name: &str) -> Option<&'static PreTokenizer> {
        PRE_TOKENIZERS.iter().find(|pre| pre.names.contains(&name))
    }

    /// As `tokenizer.json` has it. Bytes are mapped to GPT-2's letters by the step that does its splitting, else last.
    pub(super) fn to_json(&self) -> Json {
        let byte_level = |use_regex| json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex });
        let mut steps: Vec<Json> = self
            .steps
            .iter()
            .map(|step| match step {
                Split(regex) => {
                    json!({ "type": "Split", "pattern": { "Regex": regex }, "behavior": "Isolated", "invert": false })
                }
                Digits => json!({ "type": "Digits", "individual_digits": true }),
                DigitRuns => json!({ "type": "Digits", "individual_digits": false }),
                Punctuation => json!({ "type": "Punctuation", "behavior": "Contiguous" }),
                Gpt2 => byte_level(true),
            })
            .collect();
        if !self.steps.iter().any(|step| matches!(step, Gpt2)) {
            steps.push(byte_level(false));
        }
        json!({ "type": "Sequence", "pretokenizers": steps })
    }
}
