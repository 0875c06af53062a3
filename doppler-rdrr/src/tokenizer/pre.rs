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
const QWEN_3_5: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Letters that have a case, by ranges: the scripts of the model's first training.
const DEEPSEEK_LETTERS: &str = "\\s?[\
    A-Za-z\u{b5}\u{c0}-\u{d6}\u{d8}-\u{f6}\u{f8}-\u{1ba}\u{1bc}-\u{1bf}\u{1c4}-\u{293}\u{295}-\u{2af}\u{370}-\
    \u{373}\u{376}\u{377}\u{37b}-\u{37d}\u{37f}\u{386}\u{388}-\u{38a}\u{38c}\u{38e}-\u{3a1}\u{3a3}-\u{3f5}\
    \u{3f7}-\u{481}\u{48a}-\u{52f}\u{531}-\u{556}\u{10a0}-\u{10c5}\u{13a0}-\u{13f5}\u{13f8}-\u{13fd}\
    \u{1c90}-\u{1cba}\u{1cbd}-\u{1cbf}\u{1d00}-\u{1d2b}\u{1d6b}-\u{1d77}\u{1d79}-\u{1d9a}\u{1e00}-\u{1f15}\
    \u{1f18}-\u{1f1d}\u{1f20}-\u{1f45}\u{1f48}-\u{1f4d}\u{1f50}-\u{1f57}\u{1f59}\u{1f5b}\u{1f5d}\u{1f5f}-\
    \u{1f7d}\u{1f80}-\u{1fb4}\u{1fb6}-\u{1fbc}\u{1fbe}\u{1fc2}-\u{1fc4}\u{1fc6}-\u{1fcc}\u{1fd0}-\u{1fd3}\
    \u{1fd6}-\u{1fdb}\u{1fe0}-\u{1fec}\u{1ff2}-\u{1ff4}\u{1ff6}-\u{1ffc}\u{2102}\u{2107}\u{210a}-\u{2113}\
    \u{2115}\u{2119}-\u{211d}\u{2124}\u{2126}\u{2128}\u{212a}-\u{212d}\u{212f}-\u{2134}\u{2139}\u{213c}-\
    \u{213f}\u{2145}-\u{2149}\u{214e}\u{2183}\u{2184}\u{2c00}-\u{2c7b}\u{2c7e}-\u{2ce4}\u{2ceb}-\u{2cee}\
    \u{2cf2}\u{2cf3}\u{a640}-\u{a66d}\u{a680}-\u{a69b}\u{a722}-\u{a76f}\u{a771}-\u{a787}\u{a78b}-\u{a78e}\
    \u{ab70}-\u{abbf}\u{fb00}-\u{fb06}\u{fb13}-\u{fb17}\u{ff21}-\u{ff3a}\u{ff41}-\u{ff5a}\u{10400}-\u{1044f}\
    \u{104b0}-\u{104d3}\u{104d8}-\u{104fb}\u{10c80}-\u{10cb2}\u{10cc0}-\u{10cf2}\u{118a0}-\u{118df}\
    \u{1e900}-\u{1e943}\
    ]+";
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
    // What llama.cpp calls Llama 3's tokenizer where it adds no BOS token, as SmolLM3's.
    PreTokenizer { names: &["smaug-bpe"], steps: &[Split(LLAMA_3)], ignore_merges: true, ..PLAIN },
    PreTokenizer { names: &["dbrx", "glm4", "chatglm-bpe"], steps: &[Split(LLAMA_3)], ..PLAIN },
    PreTokenizer {
        names: &["qwen2", "deepseek-r1-qwen", "stablelm2", "megrez"],
        steps: &[Split(QWEN_2)],
        nfc: true,
        ..PLAIN
    },
    PreTokenizer { names: &["qwen35"], steps: &[Split(QWEN_3_5)], ..PLAIN },
    PreTokenizer { names: &["tekken"], steps: &[Split(TEKKEN)], ignore_merges: true, adds_bos: true, ..PLAIN },
    PreTokenizer { names: &["gpt-4o", "llama4"], steps: &[Split(GPT_4O)], ..PLAIN },
    PreTokenizer {
        names: &["deepseek-coder"],
        steps: &[Split(r"[\r\n]"), Split(r"\s?\p{L}+"), Split(r"\s?\p{P}+"), Split(IDEOGRAPHS), Digits],
        ..PLAIN
    },
    PreTokenizer {
        names: &["deepseek-llm"],
        steps: &[
            Split(r"[\r\n]"),
            Split(DEEPSEEK_LETTERS),
            Split("\\s?[!-/:-~\u{ff01}-\u{ff0f}\u{ff1a}-\u{ff5e}\u{2018}-\u{201f}\u{3000}-\u{3002}]+"),
            Split(r"\s+$"),
            Split(IDEOGRAPHS),
            Digits,
        ],
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
