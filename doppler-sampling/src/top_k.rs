//! Top-k: the k best tokens.

use crate::order;

/// Masks all but the `k` highest logits; of equal ones the lower ids stay. 0 keeps all.
///
/// ```
/// let mut logits = [1.0, 3.0, 2.0, 3.0];
/// doppler_sampling::top_k(&mut logits, 3);
/// assert_eq!(logits, [f32::NEG_INFINITY, 3.0, 2.0, 3.0]);
/// ```
/// # Source
/// Fan, Lewis and Dauphin 2018, <https://arxiv.org/abs/1805.04833>
pub fn top_k(logits: &mut [f32], k: usize) {
    if k == 0 || k >= logits.len() {
        return;
    }
    if let Some(&last) = order::best(logits, k).iter().max_by(|a, b| order::best_first(a, b)) {
        order::mask_after(logits, last);
    }
}

#[cfg(test)]
mod tests {
    use super::top_k;
    const OUT: f32 = f32::NEG_INFINITY;

    #[test]
    fn ties_and_edges() {
        let cases: [(usize, [f32; 4]); 4] = [
            (0, [1.0, 2.0, 2.0, OUT]),
            (1, [OUT, 2.0, OUT, OUT]),
            (2, [OUT, 2.0, 2.0, OUT]),
            (9, [1.0, 2.0, 2.0, OUT]),
        ];
        for (k, expected) in cases {
            let mut logits = [1.0, 2.0, 2.0, OUT];
            top_k(&mut logits, k);
            assert_eq!(logits, expected, "k = {k}");
        }
    }
}
