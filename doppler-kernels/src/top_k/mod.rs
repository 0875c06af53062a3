//! The k largest values of rows.

mod cases;

use doppler_rdrr::DType;

use crate::kernel::grid;
use crate::{Entry, Kernel, Operand, Tier, Variant, shared};

/// The k largest values of each row and their indices, in descending order; the lower index comes first among equals.
/// NaNs are passed over, so a row must have k numbers.
///
/// | operand  | shape          | dtype |
/// |----------|----------------|-------|
/// | `x`      | `[rows, cols]` | f32   |
/// | `values` | `[rows, k]`    | f32   |
/// | `ids`    | `[rows, k]`    | u32   |
#[derive(Debug, Clone, PartialEq)]
pub struct TopK {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// At most `cols`; each costs a pass over the row.
    pub k: usize,
}

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "top_k",
    edge_cases: cases::edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::strategy,
};

impl TopK {
    fn of_row(&self, row: &[f32]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..row.len()).filter(|i| !row[*i].is_nan()).collect();
        // A stable sort keeps equal values in the order of their indices; −0 equals 0.
        order.sort_by(|a, b| row[*b].partial_cmp(&row[*a]).unwrap_or(std::cmp::Ordering::Equal));
        order.truncate(self.k);
        order
    }
}

impl TopK {
    /// As [`TopK::of_row`], in one pass: what is not larger than the k-th so far is passed over.
    fn best_of_row(&self, row: &[f32]) -> Vec<u32> {
        // Descending, the lower index first among equals.
        let order = |a: &u32, b: &u32| {
            let (x, y) = (row[*a as usize], row[*b as usize]);
            y.partial_cmp(&x).unwrap_or(std::cmp::Ordering::Equal).then(a.cmp(b))
        };
        let mut best: Vec<u32> = Vec::with_capacity(2 * self.k);
        let mut floor = f32::NEG_INFINITY;
        for (i, &value) in row.iter().enumerate() {
            // Later equals lose to earlier ones; until there are k, everything but NaN counts.
            if value > floor || (best.len() < self.k && !value.is_nan()) {
                best.push(i as u32);
                if best.len() == 2 * self.k {
                    best.select_nth_unstable_by(self.k - 1, order);
                    best.truncate(self.k);
                    floor = best.iter().map(|i| row[*i as usize]).fold(f32::INFINITY, f32::min);
                }
            }
        }
        best.sort_unstable_by(order);
        best.truncate(self.k);
        best
    }
}

impl Kernel for TopK {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        let files = vec![shared::REDUCE_BEST, include_str!("top_k.wgsl")];
        vec![Variant { name: "portable", needs: Tier::PORTABLE, consts: vec![("WG", 256)], files }]
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("x", &[self.rows, self.cols], DType::F32),
            Operand::write("values", &[self.rows, self.k], DType::F32),
            Operand::write("ids", &[self.rows, self.k], DType::U32),
        ]
    }

    fn params(&self) -> Vec<u8> {
        [self.rows, self.cols, self.k].iter().flat_map(|n| (*n as u32).to_le_bytes()).collect()
    }

    fn workgroups(&self, _: &Variant) -> [u32; 3] {
        grid(self.rows)
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        let (mut values, mut ids) = (Vec::new(), Vec::new());
        for row in inputs[0].chunks_exact(self.cols) {
            let order = self.of_row(row);
            values.extend(order.iter().map(|i| row[*i]));
            ids.extend(order.iter().map(|i| *i as f32));
        }
        vec![values, ids]
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        let x: &[f32] = bytemuck::cast_slice(reads[0]);
        let (values, ids) = writes.split_at_mut(1);
        let values: &mut [f32] = bytemuck::cast_slice_mut(values[0]);
        let ids: &mut [u32] = bytemuck::cast_slice_mut(ids[0]);
        let outputs = values.chunks_exact_mut(self.k).zip(ids.chunks_exact_mut(self.k));
        for (row, (values, ids)) in x.chunks_exact(self.cols).zip(outputs) {
            for (n, i) in self.best_of_row(row).into_iter().enumerate() {
                (values[n], ids[n]) = (row[i as usize], i);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let top = TopK { rows: 1, cols: 4, k: 3 }.reference(&[&[2.0, 5.0, -1.0, 5.0]]);
        assert_eq!((&top[0][..], &top[1][..]), (&[5.0, 5.0, 2.0][..], &[1.0, 3.0, 0.0][..]));
    }
}
