//! RMS norm on the CPU.

use rayon::prelude::*;

use crate::isa::{self, Isa, WithIsa};

/// Elements that a thread takes at a time; fewer are not worth one.
const PIECE: usize = 1 << 14;

pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32, y: &mut [f32]) {
    let piece = weight.len() * (PIECE / weight.len()).max(1);
    let pieces = x.par_chunks(piece).zip(y.par_chunks_mut(piece));
    pieces.for_each(|(x, y)| isa::run(Norm { x, weight, eps, y }));
}

struct Norm<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    eps: f32,
    y: &'a mut [f32],
}

impl WithIsa for Norm<'_> {
    type Output = ();

    #[inline(always)]
    fn with<I: Isa>(self, isa: I) {
        let cols = self.weight.len();
        for (row, out) in self.x.chunks_exact(cols).zip(self.y.chunks_exact_mut(cols)) {
            let (chunks, rest) = row.as_chunks::<16>();
            let mut sums = [isa.splat(0.0); 2];
            for chunk in chunks {
                let [a, b]: [[f32; 8]; 2] = bytemuck::cast(*chunk);
                let (a, b) = (isa.floats(a), isa.floats(b));
                sums = [isa.mul_add(a, a, sums[0]), isa.mul_add(b, b, sums[1])];
            }
            let sum = isa.total(isa.add(sums[0], sums[1])) + rest.iter().map(|v| v * v).sum::<f32>();
            let scale = 1.0 / (sum / cols as f32 + self.eps).sqrt();
            for ((out, v), w) in out.iter_mut().zip(row).zip(self.weight) {
                *out = v * scale * w;
            }
        }
    }
}
