//! Texts that come token by token, against small vocabularies of both kinds.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// The characters by which byte-level vocabularies write bytes, in the order of the bytes.
fn byte_chars() -> Vec<char> {
    let printable = |b: u32| (0x21..=0x7e).contains(&b) || (0xa1..=0xac).contains(&b) || (0xae..=0xff).contains(&b);
    let mut next = 0x100;
    (0..256)
        .map(|b| {
            let c = if printable(b) { b } else { next };
            next += u32::from(!printable(b));
            char::from_u32(c).unwrap()
        })
        .collect()
}

fn tokenizer(vocab: Vec<String>, merges: &[[String; 2]], parts: Value, special: &str) -> Tokenizer {
    let ids: serde_json::Map<String, Value> = vocab.iter().cloned().zip((0u32..).map(Value::from)).collect();
    let added = json!([{
        "id": vocab.len() as u32, "content": special, "special": true, "single_word": false, "lstrip": false,
        "rstrip": false, "normalized": false
    }]);
    let mut file = json!({
        "version": "1.0", "added_tokens": added, "post_processor": null,
        "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
            "pad_type_id": 0, "pad_token": "!"},
        "model": {"type": "BPE", "vocab": ids, "merges": merges, "byte_fallback": parts["byte_fallback"],
            "unk_token": null, "dropout": null, "fuse_unk": false, "ignore_merges": false,
            "continuing_subword_prefix": null, "end_of_word_suffix": null},
    });
    for part in ["normalizer", "pre_tokenizer", "decoder"] {
        file[part] = parts[part].clone();
    }
    Tokenizer::from_json(file.to_string().as_bytes()).unwrap()
}

/// 256 bytes, and merges that cross the borders of characters.
fn byte_level() -> Tokenizer {
    let chars = byte_chars();
    let mut vocab: Vec<String> = chars.iter().map(char::to_string).collect();
    let spell = |bytes: &[u8]| bytes.iter().map(|b| chars[usize::from(*b)]).collect::<String>();
    // の字 is e3 81 ae e5 ad 97: the second pair ends one character and begins the other.
    let pairs: [(&[u8], &[u8]); 4] = [(b"a", b"b"), (&[0xe3], &[0x81]), (&[0xae], &[0xe5]), (&[0x97], &[0xe3])];
    let merges: Vec<[String; 2]> = pairs.iter().map(|(a, b)| [spell(a), spell(b)]).collect();
    vocab.extend(merges.iter().map(|m| m.concat()));
    let level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    let parts = json!({"byte_fallback": false, "normalizer": null, "pre_tokenizer": level, "decoder": level});
    tokenizer(vocab, &merges, parts, "<|end|>")
}

/// Llama 2's kind: spaces as ▁, one put before the text, other characters as byte tokens.
fn sentencepiece() -> Tokenizer {
    let mut vocab: Vec<String> = (0..256).map(|b| format!("<0x{b:02X}>")).collect();
    vocab.extend(["▁", "a", "b", "▁a", "é"].map(str::to_owned));
    let merges = [["▁".to_owned(), "a".to_owned()]];
    let replace = |from, to| json!({"type": "Replace", "pattern": {"String": from}, "content": to});
    let parts = json!({
        "byte_fallback": true,
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace(" ", "▁")]},
        "pre_tokenizer": null,
        "decoder": {"type": "Sequence", "decoders": [
            replace("▁", " "), {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}
        ]},
    });
    tokenizer(vocab, &merges, parts, "<s>")
}

static BYTE_LEVEL: LazyLock<Tokenizer> = LazyLock::new(byte_level);
static SENTENCEPIECE: LazyLock<Tokenizer> = LazyLock::new(sentencepiece);

fn stream(mut detokenizer: Detokenizer, ids: &[u32]) -> Vec<String> {
    let mut pieces: Vec<String> = ids.iter().map(|id| detokenizer.push(*id).unwrap()).collect();
    pieces.push(detokenizer.finish().unwrap());
    pieces
}

#[test]
fn truncation_and_padding_are_ignored() {
    assert_eq!(BYTE_LEVEL.encode("xyzxyz", true).unwrap().len(), 6);
    assert_eq!(BYTE_LEVEL.encode("x", true).unwrap().len(), 1);
}

#[test]
fn a_character_waits_for_its_last_byte() {
    let tokenizer = &*BYTE_LEVEL;
    let ids = tokenizer.encode("x😀y", false).unwrap();
    assert_eq!(stream(Detokenizer::new(tokenizer), &ids), ["x", "", "", "", "😀", "y", ""]);
    let cut = &ids[..3];
    assert_eq!(stream(Detokenizer::new(tokenizer), cut), ["x", "", "", "\u{fffd}"]);
}

#[test]
fn tokens_across_characters_do_not_hold_back_whole_ones() {
    let tokenizer = &*BYTE_LEVEL;
    let text = "の字".repeat(100);
    let ids = tokenizer.encode(&text, false).unwrap();
    let pieces = stream(Detokenizer::new(tokenizer), &ids);
    assert_eq!(pieces.concat(), text);
    assert!(pieces.last().unwrap().is_empty());
    assert!(pieces.windows(3).all(|three| !three.concat().is_empty()), "{pieces:?}");
}

#[test]
fn spaces_between_words_stay() {
    let tokenizer = &*SENTENCEPIECE;
    let ids = tokenizer.encode("a a é漢 b", false).unwrap();
    assert_eq!(stream(Detokenizer::new(tokenizer), &ids).concat(), "a a é漢 b");
    // The same ids as an answer: its first word is no longer the beginning of a text.
    let (prompt, answer) = ids.split_at(1);
    assert_eq!(stream(Detokenizer::after(tokenizer, prompt).unwrap(), answer).concat(), " a é漢 b");
    let special = tokenizer.token_to_id("<s>").unwrap();
    let prompt = [prompt, &[special]].concat();
    assert_eq!(stream(Detokenizer::after(tokenizer, &prompt).unwrap(), answer).concat(), " a é漢 b");
    assert_eq!(stream(Detokenizer::after(tokenizer, &[special]).unwrap(), answer).concat(), "a é漢 b");
}

#[test]
fn special_and_unknown_ids_have_no_text() {
    for tokenizer in [&*BYTE_LEVEL, &SENTENCEPIECE] {
        let special = *tokenizer.special.iter().next().unwrap();
        let mut ids = tokenizer.encode("a a", false).unwrap();
        ids.splice(1..1, std::iter::repeat_n([special, 9999], 200).flatten());
        let mut detokenizer = Detokenizer::new(tokenizer);
        let text: String = ids.iter().map(|id| detokenizer.push(*id).unwrap()).collect();
        assert_eq!(text + &detokenizer.finish().unwrap(), "a a");
        assert!(detokenizer.window.len() <= MAX_WINDOW);
    }
}

#[test]
fn bytes_that_are_no_text_come_out_soon() {
    for tokenizer in [&*BYTE_LEVEL, &SENTENCEPIECE] {
        let byte = tokenizer.token_to_id("<0x80>").or_else(|| tokenizer.token_to_id(&byte_chars()[0x80].to_string()));
        let mut detokenizer = Detokenizer::new(tokenizer);
        let mut shown = 0;
        for n in 0..500 {
            shown += detokenizer.push(byte.unwrap()).unwrap().chars().count();
            assert!(shown + 1 >= n, "{shown} of {n} shown");
            assert!(detokenizer.window.len() < MAX_HELD);
        }
    }
}

#[test]
fn characters_that_are_never_finished_come_out_too() {
    for tokenizer in [&*BYTE_LEVEL, &SENTENCEPIECE] {
        let byte = tokenizer.token_to_id("<0xE5>").or_else(|| tokenizer.token_to_id("å")).unwrap();
        let mut detokenizer = Detokenizer::new(tokenizer);
        let mut shown = 0;
        for n in 1..500 {
            shown += detokenizer.push(byte).unwrap().chars().count();
            assert!(shown + MAX_HELD >= n, "{shown} of {n} shown");
            assert!(detokenizer.window.len() <= MAX_WINDOW + MAX_HELD);
        }
    }
}

#[test]
fn a_model_may_write_the_replacement_character() {
    let tokenizer = &*BYTE_LEVEL;
    let ids = tokenizer.encode("a\u{fffd}\u{fffd}b", false).unwrap();
    assert_eq!(stream(Detokenizer::new(tokenizer), &ids).concat(), "a\u{fffd}\u{fffd}b");
}

#[test]
fn broken_files_are_errors() {
    for file in ["", "{}", "[]", r#"{"model": {"type": "BPE"}}"#, "\u{0}"] {
        let error = Tokenizer::from_json(file.as_bytes()).unwrap_err();
        assert!(matches!(error, Error::TokenizerFile { .. }), "{error}");
    }
}

proptest! {
    #[test]
    fn pieces_are_the_whole(text in "([ab ]|[a-zé漢の字😀]|\\PC){0,60}", cut in 0usize..30) {
        for tokenizer in [&*BYTE_LEVEL, &SENTENCEPIECE] {
            let ids = tokenizer.encode(&text, false).unwrap();
            let whole = tokenizer.decode(&ids).unwrap();
            let pieces = stream(Detokenizer::new(tokenizer), &ids);
            prop_assert!(whole.contains(REPLACEMENT) || pieces.iter().all(|p| !p.contains(REPLACEMENT)));
            prop_assert_eq!(pieces.concat(), whole.clone());
            // An answer after a prompt is what the whole has more than the prompt.
            let (prompt, answer) = ids.split_at(cut.min(ids.len()));
            let before = tokenizer.decode(prompt).unwrap();
            if !before.is_empty() && !before.ends_with(REPLACEMENT) {
                let pieces = stream(Detokenizer::after(tokenizer, prompt).unwrap(), answer);
                prop_assert_eq!(before + &pieces.concat(), whole);
            }
        }
    }

    #[test]
    fn any_bytes_give_the_decoded_whole(ids in prop::collection::vec(0u32..261, 0..120)) {
        let tokenizer = &*BYTE_LEVEL;
        let pieces = stream(Detokenizer::new(tokenizer), &ids);
        prop_assert_eq!(pieces.concat(), tokenizer.decode(&ids).unwrap());
    }

    #[test]
    fn any_ids_give_some_text(ids in prop::collection::vec(0u32..300, 0..120)) {
        stream(Detokenizer::new(&SENTENCEPIECE), &ids);
    }
}
