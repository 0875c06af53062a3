//! A variant is constants and WGSL files, concatenated. No templates, no conditionals: another file is chosen instead.

use std::fmt::Write;

use crate::Tier;

/// One way to run a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// Unique within its kernel at one set of dtypes; reported, and named in overrides.
    pub name: &'static str,
    /// What the device must have.
    pub needs: Tier,
    /// WGSL `const NAME: u32 = VALUE;` lines.
    pub consts: Vec<(&'static str, u32)>,
    /// WGSL texts; order does not matter to WGSL. The entry point is `main`.
    pub files: Vec<&'static str>,
}

impl Variant {
    /// The complete shader.
    #[must_use]
    pub fn source(&self) -> String {
        let mut source = String::new();
        // naga knows subgroup operations without an `enable` and rejects `enable subgroups` (wgpu #5555).
        if self.needs.f16 {
            source.push_str("enable f16;\n");
        }
        if self.needs.cooperative_matrix {
            source.push_str("enable wgpu_cooperative_matrix;\n");
        }
        for (name, value) in &self.consts {
            writeln!(source, "const {name}: u32 = {value}u;").expect("writing to a String cannot fail");
        }
        for file in &self.files {
            source.push_str(file);
            source.push('\n');
        }
        source
    }

    /// This variant at whatever sizes: what a measurement or a test of it is kept by. Constants that only repeat the sizes of
    /// operands are left out.
    #[must_use]
    pub fn without_sizes(&self) -> Variant {
        let consts = self
            .consts
            .iter()
            .filter(|(name, _)| !["IN_FEATURES", "OUT_FEATURES", "WEIGHT_ROWS"].contains(name))
            .copied()
            .collect();
        Variant { consts, ..self.clone() }
    }

    /// The value of a constant of this variant.
    #[must_use]
    pub fn constant(&self, name: &str) -> u32 {
        let found = self.consts.iter().find(|(n, _)| *n == name);
        found.expect("a kernel asks only for constants that its variants define").1
    }
}
