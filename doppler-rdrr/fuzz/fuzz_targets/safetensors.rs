//! Any bytes as a safetensors file.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(tensors) = doppler_rdrr::convert::safetensors::parse("fuzz", bytes) {
        for tensor in tensors {
            assert!(bytes.get(tensor.offset..tensor.offset + tensor.bytes).is_some());
        }
    }
});
