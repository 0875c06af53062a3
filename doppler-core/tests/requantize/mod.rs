//! SmolLM2's GGUF file in another weight format, as llama.cpp would write it: the caller compares the file's digest with
//! that of the file that llama.cpp's own quantizer wrote, so that nothing here can be wrong unnoticed.
//!
//! # Source
//! `ggml-quants.c` of llama.cpp: the `quantize_row_*_ref` functions, which quantize without an importance matrix.
#![allow(clippy::unwrap_used)] // clippy knows tests, not the functions that they call

mod blocks;

use doppler_core::prelude::*;
use doppler_core::rdrr::convert::gguf::{Gguf, GgufTensor};
use doppler_core::rdrr::dequantize;
use rayon::prelude::*;

/// GGUF's default, which the file keeps.
const ALIGNMENT: usize = 32;
const EMBEDDING: &str = "token_embd.weight";

/// `source`, a whole GGUF file, with its matrices in the format `dtype`.
pub fn requantize(source: &[u8], dtype: DType) -> Vec<u8> {
    let gguf = Gguf::parse(source).unwrap();
    // Header and metadata do not change. They end where the tensor table begins: at the length before its first name.
    let table = gguf.tensors()[0].name.as_ptr() as usize - source.as_ptr() as usize - 8;
    let (mut file, mut tensors) = (source[..table].to_vec(), Vec::new());
    for tensor in gguf.tensors() {
        let to = target(tensor, dtype);
        file.extend((tensor.name.len() as u64).to_le_bytes());
        file.extend(tensor.name.as_bytes());
        file.extend((tensor.shape.len() as u32).to_le_bytes());
        tensor.shape.iter().rev().for_each(|size| file.extend((*size as u64).to_le_bytes()));
        file.extend(number(to).to_le_bytes());
        file.extend((tensors.len() as u64).to_le_bytes());
        pack(tensor, gguf.data(tensor), to, &mut tensors);
        tensors.resize(tensors.len().next_multiple_of(ALIGNMENT), 0);
    }
    file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
    file.extend(tensors);
    file
}

/// Llama.cpp's choice: rows that are no whole number of blocks, and the embedding beside them, take another format.
fn target(tensor: &GgufTensor<'_>, dtype: DType) -> DType {
    let &[_, cols] = &tensor.shape[..] else { return tensor.dtype };
    let instead = match dtype {
        DType::Q4_K => DType::Q5_0,
        DType::Q5_K => DType::Q5_1,
        DType::Q6_K => DType::Q8_0,
        plain => return plain,
    };
    match tensor.name {
        EMBEDDING => DType::Q8_0,
        _ if cols.is_multiple_of(256) => dtype,
        _ => instead,
    }
}

/// GGUF's number for a format.
fn number(dtype: DType) -> u32 {
    match dtype {
        DType::F32 => 0,
        DType::F16 => 1,
        DType::Q4_0 => 2,
        DType::Q4_1 => 3,
        DType::Q5_0 => 6,
        DType::Q5_1 => 7,
        DType::Q8_0 => 8,
        DType::Q4_K => 12,
        DType::Q5_K => 13,
        DType::Q6_K => 14,
        DType::BF16 => 30,
        DType::U32 | DType::A8 | DType::C8 => unreachable!("no format of weights"),
    }
}

fn pack(tensor: &GgufTensor<'_>, bytes: &[u8], to: DType, out: &mut Vec<u8>) {
    let mut values = vec![0.0; tensor.shape.iter().product()];
    dequantize(tensor.dtype, bytes, &mut values).unwrap();
    let start = out.len();
    out.resize(start + values.len() / to.block_len() * to.block_bytes(), 0);
    let blocks = out[start..].par_chunks_exact_mut(to.block_bytes());
    blocks.zip(values.par_chunks_exact(to.block_len())).for_each(|(block, x)| blocks::pack(to, x, block));
}
