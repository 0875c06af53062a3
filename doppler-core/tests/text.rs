//! Tokenizers and chat templates against what Hugging Face makes of the same texts and conversations.
//!
//! `xtask/scripts/text_fixtures.py` remakes the fixtures; `xtask/scripts/text_compare.py` compares whole vocabularies.

#![allow(clippy::unwrap_used)] // clippy knows tests, not the functions that they call

use std::time::{Duration, UNIX_EPOCH};

use doppler_core::Error;
use doppler_core::chat_template::{ChatOptions, ChatTemplate};
use doppler_core::rdrr::convert::gguf::Gguf;
use doppler_core::rdrr::tokenizer::from_gguf;
use doppler_core::text::{Detokenizer, Tokenizer};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A vocabulary as a GGUF file has it, with texts and their ids, and their decoded form where it is another.
#[derive(Deserialize)]
struct Vocabulary {
    model: String,
    pre: String,
    tokens: Vec<String>,
    types: Vec<i32>,
    #[serde(default)]
    merges: Vec<String>,
    #[serde(default)]
    scores: Vec<f32>,
    #[serde(default)]
    space_prefix: bool,
    bos: Option<u32>,
    #[serde(default)]
    cases: Vec<Vec<Value>>,
}

impl Vocabulary {
    fn read(json: &str) -> Self {
        serde_json::from_str(json).unwrap()
    }

    /// SentencePiece's kind: byte tokens, then learned tokens in the order of their scores, then others with their types.
    fn sentencepiece(learned: &[&str], others: &[(&str, i32)], space_prefix: bool) -> Self {
        let mut tokens: Vec<String> = (0..256).map(|byte| format!("<0x{byte:02X}>")).collect();
        tokens.extend(learned.iter().map(|token| (*token).to_owned()));
        tokens.extend(others.iter().map(|(token, _)| (*token).to_owned()));
        let types =
            [[6].repeat(256), [1].repeat(learned.len()), others.iter().map(|(_, kind)| *kind).collect()].concat();
        let scores = (0..tokens.len()).map(|id| if id < 256 { 0.0 } else { 256.0 - id as f32 }).collect();
        let (model, pre) = ("llama".to_owned(), "default".to_owned());
        Vocabulary { model, pre, tokens, types, merges: vec![], scores, space_prefix, bos: None, cases: vec![] }
    }

    fn gguf(&self) -> Vec<u8> {
        const BOOL: u32 = 7;
        const STRING: u32 = 8;
        const ARRAY: u32 = 9;
        let string = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
        let array = |kind: u32, length: usize, items: Vec<u8>| {
            [&kind.to_le_bytes()[..], &(length as u64).to_le_bytes(), &items].concat()
        };
        let strings =
            |items: &[String]| array(STRING, items.len(), items.iter().flat_map(|text| string(text)).collect());
        let types = self.types.iter().flat_map(|kind| kind.to_le_bytes()).collect();
        let scores = self.scores.iter().flat_map(|score| score.to_le_bytes()).collect();
        let mut keys = vec![
            ("tokenizer.ggml.model", STRING, string(&self.model)),
            ("tokenizer.ggml.pre", STRING, string(&self.pre)),
            ("tokenizer.ggml.tokens", ARRAY, strings(&self.tokens)),
            ("tokenizer.ggml.token_type", ARRAY, array(5, self.types.len(), types)),
            ("tokenizer.ggml.merges", ARRAY, strings(&self.merges)),
            ("tokenizer.ggml.scores", ARRAY, array(6, self.scores.len(), scores)),
            ("tokenizer.ggml.add_space_prefix", BOOL, vec![u8::from(self.space_prefix)]),
            ("tokenizer.ggml.add_bos_token", BOOL, vec![u8::from(self.bos.is_some())]),
        ];
        if let Some(bos) = self.bos {
            keys.push(("tokenizer.ggml.bos_token_id", 4, bos.to_le_bytes().to_vec()));
        }
        let mut file = [&b"GGUF"[..], &3u32.to_le_bytes(), &0u64.to_le_bytes()].concat();
        file.extend((keys.len() as u64).to_le_bytes());
        for (name, kind, value) in keys {
            file.extend([string(name), kind.to_le_bytes().to_vec(), value].concat());
        }
        file
    }

    fn tokenizer(&self) -> Tokenizer {
        let file = self.gguf();
        Tokenizer::from_json(&from_gguf(&Gguf::parse(&file).unwrap()).unwrap().tokenizer_json).unwrap()
    }

    fn check(&self) {
        let tokenizer = self.tokenizer();
        assert!(self.cases.len() > 100);
        for case in &self.cases {
            let text = case[0].as_str().unwrap();
            let expected: Vec<u32> = serde_json::from_value(case[1].clone()).unwrap();
            assert_eq!(tokenizer.encode(text, false).unwrap(), expected, "{text:?}");
            let decoded = case.get(2).unwrap_or(&case[0]).as_str().unwrap();
            assert_eq!(tokenizer.decode(&expected).unwrap(), decoded, "{text:?}");
            let with_special = tokenizer.encode(text, true).unwrap();
            assert_eq!(with_special, [self.bos.as_slice(), &expected].concat(), "{text:?}");
        }
    }
}

/// The tokens of `text`, as the vocabulary writes them.
fn tokens(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
    tokenizer.encode(text, false).unwrap().iter().map(|id| tokenizer.id_to_token(*id).unwrap()).collect()
}

const MISTRAL: &str = include_str!("fixtures/text/mistral.json");
const QWEN_3: &str = include_str!("fixtures/text/qwen3.json");

#[test]
fn mistral_gives_hugging_faces_ids() {
    Vocabulary::read(MISTRAL).check();
}

#[test]
fn qwen3_gives_hugging_faces_ids() {
    Vocabulary::read(QWEN_3).check();
}

/// SentencePiece's own ids, for vocabularies as llama.cpp's converter writes them.
fn check_unigram(gguf: &[u8], cases: &str) {
    let parts = from_gguf(&Gguf::parse(gguf).unwrap()).unwrap();
    assert_eq!((parts.eos_token.as_deref(), parts.bos_id), (Some("</s>"), None));
    let tokenizer = Tokenizer::from_json(&parts.tokenizer_json).unwrap();
    let told: Value = serde_json::from_str(cases).unwrap();
    let cases = told["cases"].as_array().unwrap();
    assert!(cases.len() > 100);
    for case in cases {
        let text = case[0].as_str().unwrap();
        let expected: Vec<u32> = serde_json::from_value(case[1].clone()).unwrap();
        assert_eq!(tokenizer.encode(text, false).unwrap(), expected, "{text:?}");
        // These models end every text.
        assert_eq!(tokenizer.encode(text, true).unwrap(), [expected.as_slice(), &[1]].concat(), "{text:?}");
        // SentencePiece writes ⁇ for what it does not know, this library nothing.
        if !expected.contains(&2) {
            assert_eq!(tokenizer.decode(&expected).unwrap(), case[2].as_str().unwrap(), "{text:?}");
        }
    }
}

#[test]
fn unigram_gives_sentencepieces_ids() {
    check_unigram(include_bytes!("fixtures/text/unigram.gguf"), include_str!("fixtures/text/unigram.json"));
}

#[test]
fn unigram_with_byte_tokens_and_every_space() {
    check_unigram(include_bytes!("fixtures/text/unigram_bytes.gguf"), include_str!("fixtures/text/unigram_bytes.json"));
}

#[test]
fn unigram_without_a_space_in_front() {
    check_unigram(include_bytes!("fixtures/text/unigram_bare.gguf"), include_str!("fixtures/text/unigram_bare.json"));
}

/// Gemma 4 writes spaces as the older ones do, and lists its merges.
#[test]
fn listed_merges_over_spaces() {
    let mut vocabulary = Vocabulary::sentencepiece(&["ab", "▁ab", "▁", "a", "b", "▁▁"], &[("<bos>", 2)], false);
    vocabulary.model = "gemma4".to_owned();
    vocabulary.merges = ["a b", "▁ ▁", "▁ ab"].map(str::to_owned).to_vec();
    let tokenizer = vocabulary.tokenizer();
    assert_eq!(tokens(&tokenizer, "ab ab  abé"), ["ab", "▁ab", "▁▁", "ab", "<0xC3>", "<0xA9>"]);
    assert_eq!(tokenizer.decode(&tokenizer.encode(" ab abé", false).unwrap()).unwrap(), " ab abé");
}

/// Gemma's runs of spaces are the user's own tokens. llama.cpp's converter writes them as spaces and gives them the worst
/// score; they are found among the other merges all the same, the best of them.
#[test]
fn gemmas_runs_of_spaces_are_merged() {
    let runs = [("  ", 4), ("   ", 4), ("\n\n", 4), ("<bos>", 3)];
    let mut vocabulary = Vocabulary::sentencepiece(&["aa", "▁a", "▁", "a", "\n"], &runs, false);
    vocabulary.scores[261..264].fill(-1000.0);
    let tokenizer = vocabulary.tokenizer();
    assert_eq!(tokens(&tokenizer, "a a  a   a    a"), ["a", "▁a", "▁▁", "a", "▁▁▁", "a", "▁▁▁", "▁a"]);
    assert_eq!(tokens(&tokenizer, "a\n\n\n"), ["a", "\n\n", "\n"]);
    assert_eq!(tokenizer.decode(&tokenizer.encode("  a   ", false).unwrap()).unwrap(), "  a   ");
}

/// A space is put before each stretch of text, or only where the text begins if the turns have tokens.
#[test]
fn mistrals_turns_keep_their_single_space() {
    let learned = ["▁a", "▁", "a"];
    let older = Vocabulary::sentencepiece(&learned, &[("<s>", 3)], true).tokenizer();
    assert_eq!(tokens(&older, "a<s>a<s> a"), ["▁a", "<s>", "▁a", "<s>", "▁", "▁a"]);
    let newer = Vocabulary::sentencepiece(&learned, &[("<s>", 3), ("[INST]", 3)], true).tokenizer();
    assert_eq!(tokens(&newer, "a<s>a[INST] a"), ["▁a", "<s>", "a", "[INST]", "▁a"]);
    assert_eq!(newer.decode(&newer.encode("a a", false).unwrap()).unwrap(), "a a");
}

/// Phi-3's tokens take the white space behind them along.
#[test]
fn phis_turns_swallow_line_ends() {
    let others = [("<s>", 3), ("</s>", 4), ("<|end|>", 3), ("<|assistant|>", 3), ("<|endoftext|>", 3)];
    let tokenizer = Vocabulary::sentencepiece(&["▁a", "▁", "a", "\n"], &others, true).tokenizer();
    assert_eq!(
        tokens(&tokenizer, "<|assistant|> \n\na<|end|>\n<s>\n"),
        ["<|assistant|>", "▁a", "<|end|>", "<s>", "▁", "\n"]
    );
    assert_eq!(tokens(&tokenizer, "</s> a<|endoftext|> a"), ["</s>", "▁a", "<|endoftext|>", "▁", "▁a"]);
}

/// Converters fill ids without a token with texts that must not be found.
#[test]
fn filled_ids_are_no_tokens() {
    for kind in [2, 3, 4, 5] {
        let others = [("[PAD259]", kind), ("[PAD7]", 4)];
        let tokenizer = Vocabulary::sentencepiece(&["▁a", "▁", "a"], &others, false).tokenizer();
        assert!(!tokenizer.encode("[PAD259]", false).unwrap().contains(&259), "{kind}");
        assert_eq!(tokenizer.encode("[PAD7]", false).unwrap(), [260]);
    }
}

/// A tokenizer.json that is valid, to be spoilt.
fn tokenizer_file() -> Value {
    let replace = |from: &str, to: &str| json!({"type": "Replace", "pattern": {"String": from}, "content": to});
    json!({
        "version": "1.0",
        "added_tokens": [{"id": 3, "content": "<s>", "special": true, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false}],
        "normalizer": {"type": "Sequence", "normalizers": [replace(" ", "▁")]},
        "pre_tokenizer": {"type": "Split", "pattern": {"String": "▁"}, "behavior": "MergedWithNext", "invert": false},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [3], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [replace("▁", " "), {"type": "Fuse"}]},
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]], "unk_token": null,
            "continuing_subword_prefix": null, "end_of_word_suffix": null},
    })
}

#[test]
fn tokenizer_files_that_would_panic_are_errors() {
    let valid = tokenizer_file();
    let tokenizer = Tokenizer::from_json(valid.to_string().as_bytes()).unwrap();
    assert_eq!(tokenizer.encode("abba", true).unwrap(), [3, 2, 1, 0]);
    for (place, value) in [
        ("/post_processor/special_tokens", json!({})),
        ("/model/continuing_subword_prefix", "#".repeat(50).into()),
        ("/normalizer/normalizers/0/pattern/String", json!("")),
        ("/pre_tokenizer/pattern/String", json!("")),
        ("/decoder/decoders/0/pattern/String", json!("")),
    ] {
        let mut file = valid.clone();
        *file.pointer_mut(place).unwrap() = value;
        let error = Tokenizer::from_json(file.to_string().as_bytes()).unwrap_err();
        assert!(matches!(error, Error::TokenizerFile { .. }), "{place}: {error}");
    }
}

/// Replaces the value at the `n`th place of a document, counted depth first.
fn replace(value: &mut Value, n: &mut usize, new: &Value) {
    if *n == 0 {
        *value = new.clone();
    }
    *n = n.wrapping_sub(1);
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, n, new)),
        Value::Object(map) => map.values_mut().for_each(|item| replace(item, n, new)),
        _ => {}
    }
}

proptest! {
    /// Whatever stands in a tokenizer.json, reading and using it gives a value or an error.
    #[test]
    fn changed_tokenizer_files_never_panic(places in prop::collection::vec((0_usize..80, 0_usize..9), 1..4)) {
        let odd = [json!(null), json!(""), json!("\u{0}é"), json!(-1), json!(u32::MAX), json!([]), json!({}), json!(true), json!("▁")];
        let mut file = tokenizer_file();
        places.iter().for_each(|(place, new)| replace(&mut file, &mut place.clone(), &odd[*new]));
        if let Ok(tokenizer) = Tokenizer::from_json(file.to_string().as_bytes()) {
            let _ = (tokenizer.encode("ab<s> a b é", true), tokenizer.decode(&[0, 1, 2, 3, 9, u32::MAX]));
        }
    }
}

#[derive(Deserialize)]
struct Templates {
    conversations: Vec<Conversation>,
    templates: Vec<Rendered>,
}

#[derive(Deserialize)]
struct Conversation {
    name: String,
    request: Request,
}

#[derive(Deserialize)]
struct Request {
    messages: Vec<Value>,
    #[serde(default)]
    tools: Vec<Value>,
    #[serde(default)]
    variables: Map<String, Value>,
    add_generation_prompt: bool,
    now: u64,
}

#[derive(Deserialize)]
struct Rendered {
    name: String,
    template: String,
    bos_token: Option<String>,
    eos_token: Option<String>,
    /// One for each conversation; none where the library refuses.
    rendered: Vec<Option<String>>,
}

#[test]
fn the_catalogs_templates_render_as_transformers_does() {
    let fixture: Templates = serde_json::from_str(include_str!("fixtures/text/templates.json")).unwrap();
    assert_eq!(fixture.templates.len(), 3);
    for model in &fixture.templates {
        let template =
            ChatTemplate::new(&model.template, model.bos_token.as_deref(), model.eos_token.as_deref()).unwrap();
        assert!(model.rendered.iter().flatten().count() > 20, "{}", model.name);
        for (conversation, expected) in fixture.conversations.iter().zip(&model.rendered) {
            let request = &conversation.request;
            let options = ChatOptions {
                add_generation_prompt: request.add_generation_prompt,
                tools: request.tools.clone(),
                variables: request.variables.clone(),
                now: UNIX_EPOCH + Duration::from_secs(request.now),
            };
            let text = template.render_json(&request.messages, &options).ok();
            assert_eq!(&text, expected, "{}, {}", model.name, conversation.name);
        }
    }
}

proptest! {
    /// Whatever the text, both kinds give it back: at once, and token by token.
    #[test]
    fn texts_come_back(text in "([ab ]|[\\t\\n\\r]|[0-9]|[a-zA-Z'.,;é漢字😀]|\\PC|\\u{200d}|.){0,40}") {
        thread_local! {
            static TOKENIZERS: [Tokenizer; 2] = [MISTRAL, QWEN_3].map(|json| Vocabulary::read(json).tokenizer());
        }
        TOKENIZERS.with(|[mistral, qwen]| {
            for tokenizer in [mistral, qwen] {
                let ids = tokenizer.encode(&text, false).unwrap();
                // Special tokens that stand in a text are no text any more.
                prop_assume!(!ids.iter().any(|id| tokenizer.is_special(*id)));
                let mut detokenizer = Detokenizer::new(tokenizer);
                let pieces: String = ids.iter().map(|id| detokenizer.push(*id).unwrap()).collect();
                let decoded = tokenizer.decode(&ids).unwrap();
                prop_assert_eq!(pieces + &detokenizer.finish().unwrap(), decoded.clone());
                // SentencePiece writes a space as `▁` and cannot tell them apart afterwards. Qwen composes characters,
                // and what it composes encodes as the text did.
                if std::ptr::eq(tokenizer, mistral) {
                    prop_assert_eq!(decoded, text.replace('▁', " "));
                } else {
                    prop_assert_eq!(tokenizer.encode(&decoded, false).unwrap(), ids);
                }
            }
            Ok(())
        })?;
    }
}
