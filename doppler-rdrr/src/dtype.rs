//! Element and block formats of tensors: names, sizes, nothing about files.

use crate::Error;

/// How the elements of a tensor are stored.
///
/// The `Q…` formats are GGUF's packed blocks, byte for byte: a row of `cols` elements is `cols / block_len` consecutive
/// blocks of [`DType::block_bytes`] bytes each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(non_camel_case_types, missing_docs)]
pub enum DType {
    F32,
    F16,
    BF16,
    U32,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4_K,
    Q5_K,
    Q6_K,
    /// Activations, never weights, and in no file: a row is its int8 elements, then for each 32 of them an f32 scale and the
    /// sums of both halves as i16. The elements are in four planes: of each 64 the first sixteen, the second, the third and the
    /// last, so that lanes that have 64 each read what lies together.
    A8,
    /// Keys and values, never weights, and in no file: Q8_0 with a row's int8 elements first and then its scales, which are f32,
    /// so that every row is whole words.
    C8,
}

impl DType {
    /// Every format a weight matrix can have.
    pub const WEIGHTS: &[DType] = &[
        DType::F32,
        DType::F16,
        DType::BF16,
        DType::Q4_0,
        DType::Q4_1,
        DType::Q5_0,
        DType::Q5_1,
        DType::Q8_0,
        DType::Q4_K,
        DType::Q5_K,
        DType::Q6_K,
    ];

    /// The name in manifests and reports, as GGUF spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            DType::F32 => "F32",
            DType::F16 => "F16",
            DType::BF16 => "BF16",
            DType::U32 => "U32",
            DType::Q4_0 => "Q4_0",
            DType::Q4_1 => "Q4_1",
            DType::Q5_0 => "Q5_0",
            DType::Q5_1 => "Q5_1",
            DType::Q8_0 => "Q8_0",
            DType::Q4_K => "Q4_K",
            DType::Q5_K => "Q5_K",
            DType::Q6_K => "Q6_K",
            DType::A8 => "A8",
            DType::C8 => "C8",
        }
    }

    /// Elements in a block; 1 for the unpacked formats.
    #[must_use]
    pub const fn block_len(self) -> usize {
        match self {
            DType::F32 | DType::F16 | DType::BF16 | DType::U32 => 1,
            DType::Q4_0 | DType::Q4_1 | DType::Q5_0 | DType::Q5_1 | DType::Q8_0 | DType::C8 => 32,
            DType::A8 => 64,
            DType::Q4_K | DType::Q5_K | DType::Q6_K => 256,
        }
    }

    /// Bytes in a block.
    #[must_use]
    pub const fn block_bytes(self) -> usize {
        match self {
            DType::F32 | DType::U32 => 4,
            DType::F16 | DType::BF16 => 2,
            DType::Q4_0 => 18,
            DType::Q4_1 => 20,
            DType::Q5_0 => 22,
            DType::Q5_1 => 24,
            DType::Q8_0 => 34,
            DType::Q4_K => 144,
            DType::Q5_K => 176,
            DType::Q6_K => 210,
            DType::C8 => 36,
            DType::A8 => 80,
        }
    }

    /// Bytes of a row of `cols` elements; `None` when the row is not whole blocks or the size overflows.
    #[must_use]
    pub fn row_bytes(self, cols: usize) -> Option<usize> {
        if !cols.is_multiple_of(self.block_len()) {
            return None;
        }
        (cols / self.block_len()).checked_mul(self.block_bytes())
    }

    /// Bytes of a dense tensor of `shape` (outermost first; blocks run along the last dimension).
    #[must_use]
    pub fn tensor_bytes(self, shape: &[usize]) -> Option<usize> {
        let (cols, rows) = shape.split_last()?;
        rows.iter().try_fold(self.row_bytes(*cols)?, |bytes, n| bytes.checked_mul(*n))
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for DType {
    type Err = Error;

    /// Case does not matter; `Q4_K_M` (the name of a mix that RDRR manifests use for its main format) reads as `Q4_K`.
    fn from_str(name: &str) -> Result<Self, Error> {
        let upper = name.to_ascii_uppercase();
        if upper == "Q4_K_M" {
            return Ok(DType::Q4_K);
        }
        DType::WEIGHTS
            .iter()
            .chain(&[DType::U32])
            .copied()
            .find(|dtype| dtype.name() == upper)
            .ok_or_else(|| Error::UnknownDType { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_names() {
        for &dtype in DType::WEIGHTS {
            assert_eq!(dtype.name().to_lowercase().parse::<DType>().unwrap(), dtype);
            assert_eq!(dtype.row_bytes(512), Some(512 / dtype.block_len() * dtype.block_bytes()));
        }
        assert_eq!(DType::Q4_1.tensor_bytes(&[576, 576]), Some(576 * 18 * 20));
        assert_eq!(DType::C8.tensor_bytes(&[5, 3, 96]), Some(5 * 3 * (96 + 12)));
        assert_eq!(DType::Q4_K.row_bytes(100), None);
        assert_eq!(DType::F32.tensor_bytes(&[usize::MAX, 2]), None);
        assert_eq!("Q4_K_M".parse::<DType>().unwrap(), DType::Q4_K);
        assert!("IQ2_XS".parse::<DType>().is_err());
    }
}
