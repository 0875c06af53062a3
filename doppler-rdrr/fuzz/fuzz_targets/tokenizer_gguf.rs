//! Any bytes as a GGUF file that is only a tokenizer, and what the tokenizer library makes of it.
#![no_main]

use doppler_rdrr::convert::gguf::Gguf;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(gguf) = Gguf::parse(bytes) else { return };
    let Ok(parts) = doppler_rdrr::tokenizer::from_gguf(&gguf) else { return };
    if let Ok(tokenizer) = tokenizers::Tokenizer::from_bytes(&parts.tokenizer_json) {
        let _ = tokenizer.encode("hello 12\u{e9}\n <|im_end|>", true);
    }
});
