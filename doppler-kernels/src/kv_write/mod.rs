//! Appending keys or values to the cache.

mod cases;

use doppler_rdrr::DType;

use crate::kernel::grid;
use crate::{Entry, Kernel, Operand, Tier, Variant, quantize};

/// `cache[start + r] = x[r]`, rounded to the cache's type.
///
/// | operand | shape                                       | dtype           |
/// |---------|---------------------------------------------|-----------------|
/// | `x`     | `[rows, num_key_value_heads · head_dim]`    | f32             |
/// | `start` | `[1]`                                       | u32             |
/// | `cache` | `[capacity, num_key_value_heads, head_dim]` | f32, f16 or C8  |
///
/// In f16, values beyond its range become ±65504. A block of C8 has its largest magnitude over 127 for its scale. Rows
/// beyond the capacity are not written.
#[derive(Debug, Clone, PartialEq)]
pub struct KvWrite {
    /// Rows of `x`.
    pub rows: usize,
    /// Key or value heads.
    pub num_key_value_heads: usize,
    /// Elements of a head; even, and of C8 whole blocks of 32.
    pub head_dim: usize,
    /// Rows of the cache.
    pub capacity: usize,
    /// F32, F16 or C8.
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

/// `values` as a cache of `dtype` gives them back; whole blocks.
pub(crate) fn stored(dtype: DType, values: &[f32]) -> Vec<f32> {
    match dtype {
        DType::F16 => values.iter().map(|v| half::f16::from_f32(v.clamp(-F16_MAX, F16_MAX)).to_f32()).collect(),
        DType::C8 => {
            let back = |values| {
                let (quants, scale) = quantize::block(values);
                quants.map(move |q| scale * f32::from(q))
            };
            values.chunks_exact(32).flat_map(back).collect()
        }
        _ => values.to_vec(),
    }
}

impl KvWrite {
    fn kv_dim(&self) -> usize {
        self.num_key_value_heads * self.head_dim
    }

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
        let mut consts = vec![("WG", 128)];
        let files = match self.dtype {
            DType::F16 => vec![include_str!("kv_write_f16.wgsl"), include_str!("kv_write.wgsl")],
            DType::C8 => vec![include_str!("kv_write_c8.wgsl")],
            _ => vec![include_str!("kv_write_f32.wgsl"), include_str!("kv_write.wgsl")],
        };
        if self.dtype == DType::C8 {
            consts.push(("HEAD_DIM", self.head_dim as u32));
        }
        vec![Variant { name: "portable", needs: Tier::PORTABLE, consts, files }]
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("x", &[self.rows, self.kv_dim()], DType::F32),
            Operand::read("start", &[1], DType::U32),
            Operand::read_write("cache", &[self.capacity, self.num_key_value_heads, self.head_dim], self.dtype),
        ]
    }

    fn params(&self) -> Vec<u8> {
        [self.rows, self.kv_dim(), self.capacity].iter().flat_map(|n| (*n as u32).to_le_bytes()).collect()
    }

    fn workgroups(&self, variant: &Variant) -> [u32; 3] {
        let elements = if self.dtype == DType::C8 { 4 } else { 2 };
        grid((self.rows * self.kv_dim() / elements).div_ceil(variant.constant("WG") as usize))
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        let (x, start, mut cache) = (inputs[0], inputs[1][0] as usize, inputs[2].to_vec());
        let len = self.fitting(start) * self.kv_dim();
        let at = start.min(self.capacity) * self.kv_dim();
        cache[at..][..len].copy_from_slice(&stored(self.dtype, &x[..len]));
        vec![cache]
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        let x: &[f32] = bytemuck::cast_slice(reads[0]);
        let start = bytemuck::cast_slice::<u8, u32>(reads[1])[0] as usize;
        let x = &x[..self.fitting(start) * self.kv_dim()];
        let at = start.min(self.capacity) * self.kv_dim();
        match self.dtype {
            DType::F16 => {
                let cache: &mut [half::f16] = bytemuck::cast_slice_mut(writes[0]);
                for (y, v) in cache[at..][..x.len()].iter_mut().zip(x) {
                    *y = half::f16::from_f32(v.clamp(-F16_MAX, F16_MAX));
                }
            }
            DType::C8 => {
                let bytes = quantize::cache_rows(x, self.head_dim);
                writes[0][at / 32 * DType::C8.block_bytes()..][..bytes.len()].copy_from_slice(&bytes);
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
        let write = KvWrite { rows: 2, num_key_value_heads: 1, head_dim: 2, capacity: 3, dtype: DType::F16 };
        let cache = write.reference(&[&[1.0, 1e9, 3.0, 4.0], &[2.0], &[0.0; 6]]);
        assert_eq!(cache[0], [0.0, 0.0, 0.0, 0.0, 1.0, 65504.0]);
    }

    #[test]
    fn blocks_of_int8_by_hand() {
        let write = KvWrite { rows: 1, num_key_value_heads: 2, head_dim: 32, capacity: 1, dtype: DType::C8 };
        let mut x = [0.0; 64];
        (x[0], x[1], x[2]) = (-254.0, 2.9, 3.1);
        let cache = write.reference(&[&x, &[0.0], &[9.0; 64]]);
        // A scale of 2: 2.9 is nearer to 2 than to 4, 3.1 is not; the second head is zeros.
        assert_eq!(cache[0][..4], [-254.0, 2.0, 4.0, 0.0]);
        assert_eq!(cache[0][4..], [0.0; 60]);
    }
}
