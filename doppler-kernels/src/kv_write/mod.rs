//! Appending keys or values to the cache.

mod cases;

use doppler_rdrr::DType;

use crate::kernel::grid;
use crate::{Entry, Kernel, Operand, Tier, Variant};

/// `cache[start + r] = x[r]`, rounded to the cache's type.
///
/// | operand | shape                | dtype      |
/// |---------|----------------------|------------|
/// | `x`     | `[rows, kv_dim]`     | f32        |
/// | `start` | `[1]`                | u32        |
/// | `cache` | `[capacity, kv_dim]` | f32 or f16 |
///
/// Values beyond the range of f16 become ±65504. Rows beyond the capacity are not written.
#[derive(Debug, Clone, PartialEq)]
pub struct KvWrite {
    /// Rows of `x`.
    pub rows: usize,
    /// Elements of a row; even.
    pub kv_dim: usize,
    /// Rows of the cache.
    pub capacity: usize,
    /// F32 or F16.
    pub dtype: DType,
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "kv_write",
    edge_cases: cases::edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::strategy,
};

/// The range of f16.
const F16_MAX: f32 = 65_504.0;

impl KvWrite {
    /// The rows of `x` that fit, and where the first goes.
    fn fitting(&self, start: usize) -> usize {
        self.rows.min(self.capacity.saturating_sub(start))
    }
}

impl Kernel for KvWrite {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        let store = match self.dtype {
            DType::F16 => include_str!("kv_write_f16.wgsl"),
            _ => include_str!("kv_write_f32.wgsl"),
        };
        let files = vec![store, include_str!("kv_write.wgsl")];
        vec![Variant { name: "portable", needs: Tier::PORTABLE, consts: vec![("WG", 128)], files }]
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("x", &[self.rows, self.kv_dim], DType::F32),
            Operand::read("start", &[1], DType::U32),
            Operand::read_write("cache", &[self.capacity, self.kv_dim], self.dtype),
        ]
    }

    fn params(&self) -> Vec<u8> {
        [self.rows, self.kv_dim, self.capacity].iter().flat_map(|n| (*n as u32).to_le_bytes()).collect()
    }

    fn workgroups(&self, variant: &Variant) -> [u32; 3] {
        grid((self.rows * self.kv_dim / 2).div_ceil(variant.constant("WG") as usize))
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        let (x, start, mut cache) = (inputs[0], inputs[1][0] as usize, inputs[2].to_vec());
        for row in 0..self.fitting(start) {
            for i in 0..self.kv_dim {
                let value = x[row * self.kv_dim + i];
                cache[(start + row) * self.kv_dim + i] = match self.dtype {
                    DType::F16 => half::f16::from_f32(value.clamp(-F16_MAX, F16_MAX)).to_f32(),
                    _ => value,
                };
            }
        }
        vec![cache]
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        let x: &[f32] = bytemuck::cast_slice(reads[0]);
        let start = bytemuck::cast_slice::<u8, u32>(reads[1])[0] as usize;
        let x = &x[..self.fitting(start) * self.kv_dim];
        let at = start.min(self.capacity) * self.kv_dim;
        match self.dtype {
            DType::F16 => {
                let cache: &mut [half::f16] = bytemuck::cast_slice_mut(writes[0]);
                for (y, v) in cache[at..][..x.len()].iter_mut().zip(x) {
                    *y = half::f16::from_f32(v.clamp(-F16_MAX, F16_MAX));
                }
            }
            _ => bytemuck::cast_slice_mut::<u8, f32>(writes[0])[at..][..x.len()].copy_from_slice(x),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let write = KvWrite { rows: 2, kv_dim: 2, capacity: 3, dtype: DType::F16 };
        let cache = write.reference(&[&[1.0, 1e9, 3.0, 4.0], &[2.0], &[0.0; 6]]);
        assert_eq!(cache[0], [0.0, 0.0, 0.0, 0.0, 1.0, 65504.0]);
    }
}
