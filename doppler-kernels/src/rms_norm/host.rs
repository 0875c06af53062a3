//! RMS norm on the CPU.

pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32, y: &mut [f32]) {
    let cols = weight.len();
    for (row, out) in x.chunks_exact(cols).zip(y.chunks_exact_mut(cols)) {
        // Sixteen running sums let the compiler use vector registers.
        let mut sums = [0f32; 16];
        let (chunks, rest) = row.as_chunks::<16>();
        for chunk in chunks {
            sums.iter_mut().zip(chunk).for_each(|(sum, v)| *sum += v * v);
        }
        let sum = sums.iter().sum::<f32>() + rest.iter().map(|v| v * v).sum::<f32>();
        let scale = 1.0 / (sum / cols as f32 + eps).sqrt();
        for ((out, v), w) in out.iter_mut().zip(row).zip(weight) {
            *out = v * scale * w;
        }
    }
}
