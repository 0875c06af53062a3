//! Any JSON object as config.json: the family and the hyperparameters that it gives.
#![no_main]

use doppler_rdrr::LayerType;
use doppler_rdrr::families::{Family, HfConfig, expected_tensors};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(serde_json::Value::Object(settings)) = serde_json::from_slice(bytes) else { return };
    let hf = HfConfig::new(settings);
    let Ok(family) = Family::of(&hf) else { return };
    if let Ok(config) = family.read(&hf) {
        assert!(expected_tensors(&config).count() < 100_000);
        for layer_type in [LayerType::FullAttention, LayerType::SlidingAttention] {
            assert!(config.rope_frequencies(layer_type, 4096).len() == config.rotary_dim / 2);
        }
    }
});
