//! Any bytes as an RDRR manifest.
#![no_main]

use doppler_rdrr::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = Manifest::parse(bytes) {
        let _ = manifest.config();
    }
});
