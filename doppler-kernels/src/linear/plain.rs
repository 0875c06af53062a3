//! The product alone: queries, keys and values, and the output head.

use doppler_rdrr::DType;

use super::{HALF_OF_A_PROCESSOR, NO_NORM, NORM, STRIP, Shape, cases, product, shape, variants, workgroups};
use crate::kernel::host_by_reference;
use crate::{Entry, Kernel, Operand, Variant};

/// `y[r, y_offset + n] = Σ_k x[r, k] · weight[n, k]`, with the factor that an RMS norm before it still owes:
/// `1 / sqrt(mean(h²) + eps)`.
///
/// | operand  | shape                         | dtype                           |
/// |----------|-------------------------------|---------------------------------|
/// | `x`      | `[rows, in_features]`         | A8                              |
/// | `weight` | `[out_features, in_features]` | packed, see [`super::takes`]    |
/// | `y`      | `[rows, y_stride]`            | f32                             |
/// | `energy` | `[rows, in_features / 32]`    | f32; only if there is an `eps`  |
///
/// Products are exact integers in each block of 32, their sums f32. At most [`super::MOST_ROWS`] rows. As with
/// [`MatMul`](crate::MatMul), the weight may be a part of a matrix that is too large to bind.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// Rows of `x`.
    pub rows: usize,
    /// Rows of `weight`.
    pub out_features: usize,
    /// Columns of `x` and `weight`; whole blocks, a multiple of 64.
    pub in_features: usize,
    /// Format of `weight`.
    pub weight: DType,
    /// Columns of `y`.
    pub y_stride: usize,
    /// First column of `y` that is written.
    pub y_offset: usize,
    /// Of the norm before it, if there is one.
    pub eps: Option<f32>,
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "linear",
    edge_cases: cases::edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::strategy,
};

impl Linear {
    /// A workgroup of `wg` invocations that have so many weight rows at a time: of `lanes` for each, or fewer where there are no
    /// strips for these.
    fn shape(&self, name: &'static str, wg: u32, together: u32, lanes: u32) -> Shape {
        let strips = (self.in_features / STRIP).next_power_of_two() as u32;
        shape(name, wg, together, wg * together / lanes.min(strips.max(4)))
    }
}

impl Kernel for Linear {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        let norm = if self.eps.is_some() {
            [NORM, include_str!("params_4.wgsl")]
        } else {
            [NO_NORM, include_str!("params_3.wgsl")]
        };
        // Rows of weights wait for nothing but each other, so that small workgroups fill a device evenly. Fewer lanes share a
        // long row, or several sums of one, as long as workgroups stay many.
        let many = self.out_features > 16_384;
        let lanes = match (self.rows, self.in_features) {
            (1, 4096..) if many => 16,
            (1, _) => 32,
            _ if many => 8,
            (..=4, _) => 32,
            (_, 4096..) if self.out_features >= 2048 => 8,
            _ => 16,
        };
        let large = self.shape("subgroup_256x1", 256, 1, lanes);
        let (wide, large) = if self.rows > 4 {
            // Of many sums, activations are the more worth sharing. Workgroups of few outputs share out the rows, too, but for
            // those that have few lanes for a long row of weights: smaller ones fill a device more evenly.
            let own = |shape: Shape, all| Shape { rows: if all { shape.rows } else { 4 }, ..shape };
            let large = if lanes == 8 { self.shape("subgroup_192x1", 192, 1, lanes) } else { own(large, false) };
            (own(self.shape("subgroup_256x2", 256, 2, lanes), many), large)
        } else {
            // Four on a processor.
            let small = self.shape("subgroup_128x2", 128, 2, lanes);
            (Shape { staged: HALF_OF_A_PROCESSOR / 2, ..small }, large)
        };
        let blocks = self.shape("subgroup_512x1", 512, 1, 16);
        let shapes = match (self.rows, self.out_features, self.in_features) {
            (_, ..=4096, ..1024) => [blocks, wide, large],
            // But for many workgroups, a row a lane at a time is there sooner.
            (_, ..=16_384, _) => [large, wide, blocks],
            _ => [wide, large, blocks],
        };
        let files = [norm[0], norm[1], include_str!("plain.wgsl")];
        variants(
            [self.rows, self.out_features, self.in_features],
            (self.weight, self.out_features),
            &shapes,
            include_str!("params_plain.wgsl"),
            &files,
        )
    }

    fn operands(&self) -> Vec<Operand> {
        let mut operands = vec![
            Operand::read("x", &[self.rows, self.in_features], DType::A8),
            Operand::read("weight", &[self.out_features, self.in_features], self.weight),
            Operand::product(self.rows, self.out_features, self.y_stride),
        ];
        operands.extend(self.eps.map(|_| Operand::read("energy", &[self.rows, self.in_features / 32], DType::F32)));
        operands
    }

    fn params(&self) -> Vec<u8> {
        let [y_stride, y_offset] = [self.y_stride, self.y_offset].map(|n| n as u32);
        bytemuck::cast_slice(&[y_stride, y_offset, self.eps.unwrap_or(0.0).to_bits()]).to_vec()
    }

    fn workgroups(&self, variant: &Variant) -> [u32; 3] {
        workgroups(variant, self.out_features, variant.constant("RESULTS") as usize)
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        let norm = self.eps.map(|eps| (inputs[inputs.len() - 1], eps));
        let product = product(inputs[0], inputs[1], self.in_features, norm);
        let part = self.y_stride != self.out_features;
        let mut y = if part { inputs[2].to_vec() } else { vec![0.0; product.len()] };
        for (y, product) in y.chunks_exact_mut(self.y_stride).zip(product.chunks_exact(self.out_features)) {
            y[self.y_offset..].iter_mut().zip(product).for_each(|(y, v)| *y = *v as f32);
        }
        vec![y]
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        host_by_reference(self, reads, writes);
    }
}
