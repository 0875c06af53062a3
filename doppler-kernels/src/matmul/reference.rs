//! The definition of a matrix product, in f64.

use super::MatMul;

pub fn matmul(m: &MatMul, x: &[f32], weight: &[f32], mut y: Vec<f32>) -> Vec<f32> {
    for (x, y) in x.chunks_exact(m.in_features).zip(y.chunks_exact_mut(m.y_stride)) {
        for (n, w) in weight.chunks_exact(m.in_features).enumerate() {
            let sum: f64 = x.iter().zip(w).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
            y[m.y_offset + n] = sum as f32;
        }
    }
    y
}

#[cfg(test)]
mod tests {
    use doppler_rdrr::DType;

    use super::MatMul;

    #[test]
    fn by_hand() {
        let m = MatMul { rows: 2, out_features: 2, in_features: 3, weight: DType::F32, y_stride: 3, y_offset: 1 };
        let x = [1.0, 2.0, 3.0, -1.0, 0.0, 1.0];
        let w = [1.0, 0.0, 0.0, 2.0, 1.0, -1.0];
        assert_eq!(super::matmul(&m, &x, &w, vec![9.0; 6]), [9.0, 1.0, 1.0, 9.0, -1.0, -3.0]);
    }
}
