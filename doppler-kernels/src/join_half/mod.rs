//! The residual stream between two products on matrix units: what a branch adds, the next norm, rows of f16.

mod cases;

use doppler_rdrr::DType;

use crate::half_rows::half_row;
use crate::kernel::{grid, host_by_reference};
use crate::{Entry, Kernel, Operand, RmsNorm, Tier, Variant, shared};

/// `hidden += branch_scale · branch`, the branch through an RMS norm of its own first if it has one, then
/// [`crate::HalfRows`] of the RMS norm of `hidden`.
///
/// | operand         | shape                 | dtype                                     |
/// |-----------------|-----------------------|-------------------------------------------|
/// | `hidden`        | `[rows, cols]`        | f32, changed in place unless `parts` is 0 |
/// | `norm_weight`   | `[cols]`              | f32                                       |
/// | `y`             | `[rows, cols]`        | f16                                       |
/// | `scale`         | `[rows]`              | f32                                       |
/// | `branch`        | `[parts, rows, cols]` | f32; only if `parts` is not 0             |
/// | `branch_weight` | `[cols]`              | f32; only with a branch that is normed    |
#[derive(Debug, Clone, PartialEq)]
pub struct JoinHalf {
    /// Rows.
    pub rows: usize,
    /// Columns; a multiple of 4.
    pub cols: usize,
    /// Partial sums that the branch comes in; 0: there is no branch.
    pub parts: usize,
    /// Whether the branch has a norm of its own.
    pub branch_norm: bool,
    /// Of what is added.
    pub branch_scale: f32,
    /// Added to the mean squares.
    pub eps: f32,
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "join_half",
    edge_cases: cases::edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::strategy,
};

impl JoinHalf {
    /// Whether the branch is there and has a norm.
    fn normed(&self) -> bool {
        self.parts > 0 && self.branch_norm
    }
}

impl Kernel for JoinHalf {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        const BRANCH: &str = include_str!("branch.wgsl");
        let branch = match (self.parts, self.branch_norm) {
            (0, _) => vec![include_str!("no_branch.wgsl")],
            (_, false) => vec![BRANCH, include_str!("plain.wgsl")],
            (_, true) => vec![BRANCH, include_str!("normed.wgsl")],
        };
        let variant = |name, needs, wg, reduce| Variant {
            name,
            needs,
            consts: vec![("WG", wg), ("IN_FEATURES", self.cols as u32), ("PARTS", self.parts as u32)],
            files: [&[reduce, shared::HALF_SCALE, include_str!("join_half.wgsl")], &branch[..]].concat(),
        };
        let subgroup = |invocations| Tier { invocations, ..Tier::SUBGROUP };
        vec![
            variant("subgroup_512", subgroup(512), 512, shared::REDUCE_SUBGROUP),
            variant("subgroup_1024", subgroup(1024), 1024, shared::REDUCE_SUBGROUP),
            variant("subgroup", subgroup(256), 256, shared::REDUCE_SUBGROUP),
            variant("portable", Tier::PORTABLE, 256, shared::REDUCE),
        ]
    }

    fn operands(&self) -> Vec<Operand> {
        let shape = [self.rows, self.cols];
        let hidden = if self.parts == 0 { Operand::read } else { Operand::read_write };
        let mut operands = vec![
            hidden("hidden", &shape, DType::F32),
            Operand::read("norm_weight", &[self.cols], DType::F32),
            Operand::write("y", &shape, DType::F16),
            Operand::write("scale", &[self.rows], DType::F32),
        ];
        if self.parts > 0 {
            operands.push(Operand::read("branch", &[self.parts, self.rows, self.cols], DType::F32));
        }
        if self.normed() {
            operands.push(Operand::read("branch_weight", &[self.cols], DType::F32));
        }
        operands
    }

    fn params(&self) -> Vec<u8> {
        bytemuck::cast_slice(&[self.rows as u32, self.eps.to_bits(), self.branch_scale.to_bits()]).to_vec()
    }

    fn workgroups(&self, _: &Variant) -> [u32; 3] {
        grid(self.rows)
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        let [before, norm_weight, branch @ ..] = inputs else { unreachable!("two inputs at least") };
        let norm = RmsNorm { rows: self.rows, cols: self.cols, eps: self.eps };
        let mut hidden = before.to_vec();
        if let [parts, weight @ ..] = branch {
            let mut branch = sum_of_parts(parts, self.parts);
            if let [weight] = weight {
                branch = norm.reference(&[&branch, weight]).remove(0);
            }
            hidden.iter_mut().zip(branch).for_each(|(h, b)| *h += self.branch_scale * b);
        }
        let normed = norm.reference(&[&hidden, norm_weight]).remove(0);
        let (rows, scales): (Vec<_>, Vec<_>) = normed.chunks_exact(self.cols).map(half_row).unzip();
        let halves = [rows.concat(), scales];
        if self.parts == 0 { halves.into() } else { [vec![hidden], halves.into()].concat() }
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        host_by_reference(self, reads, writes);
    }
}

/// Element by element, of so many tensors one behind the other.
pub(crate) fn sum_of_parts(x: &[f32], parts: usize) -> Vec<f32> {
    let len = x.len() / parts;
    (0..len).map(|i| x[i..].iter().step_by(len).map(|v| f64::from(*v)).sum::<f64>() as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let kernel = JoinHalf { rows: 1, cols: 4, parts: 2, branch_norm: false, branch_scale: 0.5, eps: 0.0 };
        let (hidden, weight): ([f32; 4], [f32; 4]) = ([1.0, 0.0, 0.0, -1.0], [1.0, 1.0, 1.0, 3.0]);
        let branch = [1.0, 0.0, 4.0, 0.0, 1.0, 0.0, -4.0, -2.0];
        let joined = kernel.reference(&[&hidden, &weight, &branch]);
        // The mean square of (2, 0, 0, -2) is 2.
        let y = [2f32.sqrt(), 0.0, 0.0, -3.0 * 2f32.sqrt()].map(|v| half::f16::from_f32(v * 256.0).to_f32());
        assert_eq!(joined, [vec![2.0, 0.0, 0.0, -2.0], y.to_vec(), vec![1.0 / 256.0]]);
        // (2, 0, 0, -2) normed is (√2, 0, 0, -√2); without a branch only the norm is left.
        let normed = JoinHalf { branch_norm: true, branch_scale: 2.0, ..kernel.clone() };
        let joined = normed.reference(&[&hidden, &weight, &branch, &[1.0, 1.0, 1.0, 0.0]]);
        assert_eq!(joined[0][1..], [0.0, 0.0, -1.0]);
        assert!((joined[0][0] - 1.0 - 2.0 * 2f32.sqrt()).abs() < 1e-6);
        let alone = JoinHalf { parts: 0, ..kernel };
        assert_eq!(alone.reference(&[&[2.0, 0.0, 0.0, -2.0], &weight]), [y.to_vec(), vec![1.0 / 256.0]]);
    }
}
