//! Any bytes as a GGUF file: header, metadata, tensor table, tokenizer, family, weights.
#![no_main]

use doppler_rdrr::convert::Source;
use libfuzzer_sys::fuzz_target;

/// Room for the weights of the tiny model, so that inputs need not carry them.
const WEIGHTS: usize = 512 << 10;

fuzz_target!(|bytes: &[u8]| {
    let mut file = bytes.to_vec();
    file.resize(bytes.len() + WEIGHTS, 0);
    let _ = Source::from_gguf(file, "fuzz");
});
