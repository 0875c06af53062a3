//! Sizes and caps that the cap is tested at.

use super::SoftCap;
use crate::cases::{Case, Tolerance, random_f32};

/// Values in units of about four caps, so that both ends of the curve are there.
fn case(label: &'static str, len: usize, cap: f32, seed: u64) -> Case {
    let x: Vec<f32> = random_f32(len, seed).iter().map(|x| x * 4.0 * cap).collect();
    let tolerance = Tolerance { atol: 4e-6 * f64::from(cap), rtol: 4e-6, nmse: 1e-10 };
    Case::new(label, Box::new(SoftCap { len, cap }), tolerance).input_f32(&x)
}

/// One, around the workgroup size, and values far outside the cap.
pub fn edge_cases() -> Vec<Case> {
    let mut cases: Vec<Case> = [1, 255, 256, 257, 4099].iter().map(|&len| case("edge", len, 30.0, 1)).collect();
    let far = SoftCap { len: 4, cap: 5.0 };
    let tolerance = Tolerance { atol: 1e-5, rtol: 1e-6, nmse: 1e-10 };
    cases.push(Case::new("far", Box::new(far), tolerance).input_f32(&[1e30, -1e30, 1e-30, 0.0]));
    cases
}

/// Random sizes, caps and values.
#[cfg(feature = "testing")]
pub fn strategy() -> proptest::strategy::BoxedStrategy<Case> {
    use proptest::prelude::*;
    (1usize..5000, 0.5f32..100.0, any::<u32>())
        .prop_map(|(len, cap, seed)| case("random", len, cap, u64::from(seed)))
        .boxed()
}
