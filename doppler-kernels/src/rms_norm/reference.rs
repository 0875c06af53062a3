//! The definition of RMS norm, in f64.

pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32) -> Vec<f32> {
    let mut y = Vec::with_capacity(x.len());
    for row in x.chunks_exact(weight.len()) {
        let mean_square = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / row.len() as f64;
        let scale = 1.0 / (mean_square + f64::from(eps)).sqrt();
        y.extend(row.iter().zip(weight).map(|(&v, &w)| (f64::from(v) * scale * f64::from(w)) as f32));
    }
    y
}

#[cfg(test)]
mod tests {
    #[test]
    fn by_hand() {
        // mean square of (3, 4) is 12.5; eps 3.5 makes it 16, so the scale is 1/4.
        assert_eq!(super::rms_norm(&[3.0, 4.0], &[1.0, -2.0], 3.5), vec![0.75, -2.0]);
    }
}
