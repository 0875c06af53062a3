//! The oracle: each step through its kernel's f64 reference. Slow, and the definition of right.

use doppler_kernels::Access;
use doppler_rdrr::{DType, dequantize};

use crate::Error;
use crate::recorder::Step;
use crate::tensor::{Storage, read, write};

/// The numbers in `bytes`.
pub(crate) fn numbers(dtype: DType, bytes: &[u8]) -> Result<Vec<f32>, Error> {
    let mut numbers = vec![0.0; bytes.len() / dtype.block_bytes() * dtype.block_len()];
    dequantize(dtype, bytes, &mut numbers)?;
    Ok(numbers)
}

/// The bytes of numbers in an unpacked format.
pub(crate) fn stored(dtype: DType, numbers: &[f32]) -> Vec<u8> {
    match dtype {
        DType::F16 => numbers.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect(),
        DType::BF16 => numbers.iter().flat_map(|&v| half::bf16::from_f32(v).to_le_bytes()).collect(),
        DType::U32 => numbers.iter().flat_map(|&v| (v as u32).to_le_bytes()).collect(),
        _ => bytemuck::cast_slice(numbers).to_vec(),
    }
}

pub(crate) fn run(step: &Step) -> Result<(), Error> {
    let operands = step.kernel.operands();
    let storage = |i: usize| match step.operands[i].storage() {
        Storage::Oracle(values) => Ok(values),
        _ => Err(Error::ForeignTensor { label: step.operands[i].label().to_owned() }),
    };
    let outputs = {
        let guards = (0..operands.len())
            .filter(|&i| operands[i].access.has_input())
            .map(|i| Ok(read(storage(i)?)))
            .collect::<Result<Vec<_>, Error>>()?;
        step.kernel.reference(&guards.iter().map(|guard| guard.as_slice()).collect::<Vec<_>>())
    };
    let written = (0..operands.len()).filter(|&i| operands[i].access != Access::Read);
    for (i, mut output) in written.zip(outputs).filter(|(i, _)| operands[*i].access != Access::Scratch) {
        if operands[i].dtype == DType::F16 {
            output.iter_mut().for_each(|v| *v = half::f16::from_f32(*v).to_f32());
        }
        *write(storage(i)?) = output;
    }
    Ok(())
}
