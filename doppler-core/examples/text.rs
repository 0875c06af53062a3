//! What this library makes of texts and chat templates, for comparison with other programs: requests as lines of JSON
//! in, answers as lines of JSON out. Knows no model and no device.
//!
//! - `{"tokenizer": "file.gguf or tokenizer.json", "texts": ["…"], "add_special": false}` gives
//!   `{"ids": [[…]], "decoded": ["…"], "load_ms": 1.0, "encode_ms": 1.0, "chat_template": "…", "bos_token": "…",
//!   "eos_token": "…", "eos_ids": […], "special_ids": […]}`; a text without ids has `null`.
//! - `{"template": "…", "messages": […], "tools": […], "variables": {…}, "bos_token": "…", "eos_token": "…",
//!   "add_generation_prompt": true, "now": 0}` gives `{"text": "…"}`.
//!
//! Either gives `{"error": "…"}` when it cannot. `xtask/scripts/text_compare.py` is the other side.

use std::error::Error;
use std::io::{BufRead, Write};
use std::time::{Duration, Instant, UNIX_EPOCH};

use doppler_core::chat_template::{ChatOptions, ChatTemplate};
use doppler_core::rdrr::convert::gguf::Gguf;
use doppler_core::rdrr::tokenizer::{TextParts, from_gguf};
use doppler_core::text::Tokenizer;
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        let answer = if request.get("template").is_some() { render(&request) } else { tokenize(&request) };
        let answer = answer.unwrap_or_else(|error| {
            let mut message = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                message = format!("{message}: {cause}");
                source = cause.source();
            }
            json!({ "error": message })
        });
        writeln!(out, "{answer}")?;
    }
    Ok(())
}

fn text<'a>(request: &'a Value, key: &str) -> Option<&'a str> {
    request.get(key).and_then(Value::as_str)
}

fn list(request: &Value, key: &str) -> Vec<Value> {
    request.get(key).and_then(Value::as_array).cloned().unwrap_or_default()
}

fn tokenize(request: &Value) -> Result<Value, Box<dyn Error>> {
    let path = text(request, "tokenizer").ok_or("a request has `tokenizer` or `template`")?;
    let file = std::fs::read(path)?;
    let started = Instant::now();
    let parts = if file.starts_with(b"GGUF") {
        from_gguf(&Gguf::parse(&file)?)?
    } else {
        let mut parts = TextParts::default();
        parts.tokenizer_json = file;
        parts
    };
    let converted = started.elapsed();
    let tokenizer = Tokenizer::from_json(&parts.tokenizer_json)?;
    let loaded = started.elapsed();
    let add_special = request.get("add_special").and_then(Value::as_bool).unwrap_or(false);
    let texts = list(request, "texts");
    let ids: Vec<Option<Vec<u32>>> =
        texts.iter().map(|text| tokenizer.encode(text.as_str().unwrap_or_default(), add_special).ok()).collect();
    let encoded = started.elapsed();
    let decoded: Vec<_> = ids.iter().map(|ids| ids.as_ref().and_then(|ids| tokenizer.decode(ids).ok())).collect();
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    Ok(json!({
        "ids": ids,
        "decoded": decoded,
        "convert_ms": ms(converted),
        "load_ms": ms(loaded - converted),
        "encode_ms": ms(encoded - loaded),
        "json_bytes": parts.tokenizer_json.len(),
        "chat_template": parts.chat_template,
        "bos_token": parts.bos_token,
        "eos_token": parts.eos_token,
        "eos_ids": parts.eos_ids,
        "special_ids": (0..tokenizer.vocab_size() as u32).filter(|id| tokenizer.is_special(*id)).collect::<Vec<u32>>(),
    }))
}

fn render(request: &Value) -> Result<Value, Box<dyn Error>> {
    let source = text(request, "template").unwrap_or_default();
    let template = ChatTemplate::new(source, text(request, "bos_token"), text(request, "eos_token"))?;
    let options = ChatOptions {
        add_generation_prompt: request.get("add_generation_prompt").and_then(Value::as_bool).unwrap_or(true),
        tools: list(request, "tools"),
        variables: request.get("variables").and_then(Value::as_object).cloned().unwrap_or_default(),
        now: UNIX_EPOCH + Duration::from_secs(request.get("now").and_then(Value::as_u64).unwrap_or(0)),
    };
    Ok(json!({ "text": template.render_json(&list(request, "messages"), &options)? }))
}
