//! What a kernel is: sizes, operands, parameters, grid, and its two CPU forms.

use std::fmt::Debug;

use doppler_rdrr::{DType, dequantize};

use crate::{Instructions, Variant};

/// One GPU operation at fixed sizes. The fields of the implementing struct are those sizes.
pub trait Kernel: Debug + Send + Sync {
    /// Folder name, registry key and prefix of GPU labels.
    fn name(&self) -> &'static str;

    /// Best first; the last one runs on the WebGPU default limits, but perhaps for the number of storage buffers.
    fn variants(&self) -> Vec<Variant>;

    /// In `@binding` order; the uniform `Params`, if any, is bound after the last of them.
    fn operands(&self) -> Vec<Operand>;

    /// The bytes of WGSL `struct Params` (4-byte fields); empty when the shader has none.
    fn params(&self) -> Vec<u8>;

    /// Number of workgroups in each dimension.
    fn workgroups(&self, variant: &Variant) -> [u32; 3];

    /// Multiply-adds of one run, roughly, in a context of `positions`: what bounds how much is submitted at once. 0 for
    /// kernels that do a few operations an element, which are never the longer part of a prompt.
    fn multiply_adds(&self, _positions: usize) -> u64 {
        0
    }

    /// The definition: plain loops with f64 accumulation. `inputs` are the operands with [`Access::Read`] or
    /// [`Access::ReadWrite`] in operand order, as numbers (packed weights dequantized, u32 as f32); the result has one
    /// entry for each operand but those with [`Access::Read`], in operand order; of [`Access::Scratch`] it is not looked at.
    fn reference(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>>;

    /// The same on the CPU at speed, over the operands' own bytes (4-byte aligned): `reads` are the operands with
    /// [`Access::Read`], `writes` the others, each in operand order.
    fn host(&self, reads: &[&[u8]], writes: &mut [&mut [u8]]);

    /// The most bytes that [`Kernel::host`] and [`Kernel::host_int8`] take besides the operands, on so many threads; what
    /// does not grow with sizes is left out.
    fn host_scratch_bytes(&self, _threads: usize) -> usize {
        0
    }

    /// Whether [`Kernel::host_int8`] is something else than [`Kernel::host`].
    fn has_int8(&self) -> bool {
        false
    }

    /// [`Kernel::host`] with activations rounded to int8 in blocks of 32, where that is much faster: in products with
    /// packed weights. All `instructions` give the same integers; of those that the CPU does not have, plain loops are
    /// taken instead. Not within the tolerance of [`Kernel::reference`], but of [`Kernel::reference_int8`].
    fn host_int8(&self, _instructions: Instructions, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
        self.host(reads, writes);
    }

    /// The definition of [`Kernel::host_int8`]: [`Kernel::reference`] of the rounded activations.
    fn reference_int8(&self, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
        self.reference(inputs)
    }
}

/// What a kernel does with an operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reads it.
    Read,
    /// Writes every element, without reading.
    Write,
    /// Reads it and changes some of it in place.
    ReadWrite,
    /// Uses it for itself: what is there before and after means nothing.
    Scratch,
}

impl Access {
    /// Whether what an operand holds before means something.
    #[must_use]
    pub fn has_input(self) -> bool {
        matches!(self, Access::Read | Access::ReadWrite)
    }
}

/// One tensor that a kernel takes: one binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operand {
    /// The name of the WGSL variable.
    pub name: &'static str,
    /// Outermost first.
    pub shape: Vec<usize>,
    /// How its elements are stored.
    pub dtype: DType,
    /// What the kernel does with it.
    pub access: Access,
}

impl Operand {
    /// An operand that is read.
    #[must_use]
    pub fn read(name: &'static str, shape: &[usize], dtype: DType) -> Operand {
        Operand { name, shape: shape.to_vec(), dtype, access: Access::Read }
    }

    /// An operand that is wholly written.
    #[must_use]
    pub fn write(name: &'static str, shape: &[usize], dtype: DType) -> Operand {
        Operand { access: Access::Write, ..Operand::read(name, shape, dtype) }
    }

    /// An operand that is changed in place.
    #[must_use]
    pub fn read_write(name: &'static str, shape: &[usize], dtype: DType) -> Operand {
        Operand { access: Access::ReadWrite, ..Operand::read(name, shape, dtype) }
    }

    /// What a product of `columns` columns writes: `y`, `[rows, stride]`; where that has other columns, they are left.
    pub(crate) fn product(rows: usize, columns: usize, stride: usize) -> Operand {
        let access = if columns == stride { Access::Write } else { Access::ReadWrite };
        Operand { access, ..Operand::write("y", &[rows, stride], DType::F32) }
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Elements of a row: the last dimension.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// The elements in `bytes`, row by row.
    ///
    /// # Errors
    /// Bytes of another number than [`Operand::bytes`].
    pub(crate) fn numbers(&self, bytes: &[u8]) -> Result<Vec<f32>, doppler_rdrr::Error> {
        let mut values = vec![0.0; self.len()];
        if !matches!(self.dtype, DType::A8 | DType::C8) || self.shape.len() < 2 {
            return dequantize(self.dtype, bytes, &mut values).map(|()| values);
        }
        let cols = self.cols();
        let row_bytes = bytes.len() / (self.len() / cols);
        for (bytes, values) in bytes.chunks(row_bytes).zip(values.chunks_mut(cols)) {
            dequantize(self.dtype, bytes, values)?;
        }
        Ok(values)
    }

    /// Bytes of its elements.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.dtype.tensor_bytes(&self.shape).expect("a kernel's rows are whole blocks: checked where it is recorded")
    }
}

/// The grid for `count` workgroups of a one-dimensional kernel, folded so that no dimension passes WebGPU's 65 535.
/// The shader recovers the index as `group.x + group.y * num_workgroups.x` and must ignore indices ≥ `count`.
#[must_use]
pub(crate) fn grid(count: usize) -> [u32; 3] {
    const MAX: usize = 65_535;
    let rows = count.div_ceil(MAX).max(1);
    [count.div_ceil(rows) as u32, rows as u32, 1]
}

/// [`Kernel::host`] for kernels that only a GPU's recordings contain: the reference over the operands' numbers.
pub(crate) fn host_by_reference(kernel: &dyn Kernel, reads: &[&[u8]], writes: &mut [&mut [u8]]) {
    let operands = kernel.operands();
    let numbers = |operand: &Operand, bytes: &[u8]| operand.numbers(bytes).expect("operands have their sizes");
    let (mut reads, mut written) = (reads.iter(), 0);
    let mut inputs = Vec::new();
    for operand in &operands {
        match operand.access {
            Access::Read => inputs.extend(reads.next().map(|bytes| numbers(operand, bytes))),
            Access::ReadWrite => inputs.push(numbers(operand, writes[written])),
            Access::Write | Access::Scratch => {}
        }
        written += usize::from(operand.access != Access::Read);
    }
    let outputs = kernel.reference(&inputs.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let outputs = operands.iter().filter(|o| o.access != Access::Read).zip(outputs);
    for ((operand, values), bytes) in outputs.zip(writes).filter(|((o, _), _)| o.access != Access::Scratch) {
        let stored = match operand.dtype {
            DType::A8 => crate::quantize::rows(&values, operand.cols()),
            DType::C8 => crate::quantize::cache_rows(&values, operand.cols()),
            DType::F16 => values.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect(),
            DType::U32 => values.iter().flat_map(|&v| (v as u32).to_le_bytes()).collect(),
            _ => bytemuck::cast_slice(&values).to_vec(),
        };
        bytes.copy_from_slice(&stored);
    }
}
