//! The keys and values of several new positions, for an attention that does not make those that it sees of other rows itself.

use super::{APART, AttentionDecode, HEADS, TOGETHER, cases, reference};
use crate::kernel::host_by_reference;
use crate::{Entry, Kernel, Operand, Variant};

/// Bias, norm and rotation of new keys, and writing of keys and values, of the rows that an [`AttentionDecode`] of several
/// rows then attends with. Its operands without the partials.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionAppend(pub AttentionDecode);

/// Registry entry.
pub const ENTRY: Entry = Entry {
    name: "attention_append",
    edge_cases: cases::append_edge_cases,
    #[cfg(feature = "testing")]
    strategy: cases::append_strategy,
};

impl Kernel for AttentionAppend {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn variants(&self) -> Vec<Variant> {
        let bindings = if self.0.values_apart {
            [include_str!("append_apart.wgsl"), APART]
        } else {
            [include_str!("append_together.wgsl"), TOGETHER]
        };
        self.0.variants_with(&bindings, &[HEADS, include_str!("append.wgsl")], 0)
    }

    fn operands(&self) -> Vec<Operand> {
        let mut operands = self.0.operands();
        operands.retain(|operand| operand.name != "partials");
        operands
    }

    fn params(&self) -> Vec<u8> {
        self.0.params()
    }

    fn workgroups(&self, _: &Variant) -> [u32; 3] {
        let a = &self.0.attention;
        [a.num_key_value_heads as u32, a.rows as u32, 1]
    }

    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        reference::append(&self.0, inputs)
    }

    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        host_by_reference(self, reads, writes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operands_are_those_of_the_attention_without_its_result() {
        let names = |kernel: &dyn Kernel| kernel.operands().iter().map(|o| o.name).collect::<Vec<_>>();
        for case in cases::append_edge_cases() {
            assert_eq!(names(&*case.kernel)[..6], ["qkv", "vectors", "table", "start", "k", "v"]);
        }
    }
}
