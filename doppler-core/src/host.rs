//! The CPU executor: each step through [`doppler_kernels::Kernel::host`], weights straight from the memory map.

use crate::Error;
use crate::device::only_read;
use crate::recorder::Step;
use crate::tensor::{Storage, read, write};

/// Bytes in words, for alignment.
pub(crate) fn words(bytes: &[u8]) -> Vec<u32> {
    let mut words = vec![0u32; bytes.len().div_ceil(4)];
    bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
    words
}

pub(crate) fn run(step: &Step) -> Result<(), Error> {
    let accesses: Vec<_> = step.kernel.operands().into_iter().map(|operand| operand.access).collect();
    let (mut read_guards, mut write_guards) = (Vec::new(), Vec::new());
    for (tensor, access) in step.operands.iter().zip(&accesses) {
        match tensor.storage() {
            Storage::Host(words) if only_read(*access) => read_guards.push(Some(read(words))),
            Storage::Host(words) => write_guards.push((write(words), tensor.bytes())),
            Storage::Mapped(_) if only_read(*access) => read_guards.push(None),
            _ => return Err(Error::ForeignTensor { label: tensor.label().to_owned() }),
        }
    }
    let read_tensors = step.operands.iter().zip(&accesses).filter(|(_, access)| only_read(**access));
    let reads: Vec<&[u8]> = read_tensors
        .zip(&read_guards)
        .map(|((tensor, _), guard)| match (guard, tensor.storage()) {
            (Some(words), _) => &bytemuck::cast_slice(words)[..tensor.bytes()],
            (None, Storage::Mapped(piece)) => piece.in_place().unwrap_or_default(),
            (None, _) => &[],
        })
        .collect();
    let mut writes: Vec<&mut [u8]> =
        write_guards.iter_mut().map(|(words, bytes)| &mut bytemuck::cast_slice_mut(words)[..*bytes]).collect();
    step.kernel.host(&reads, &mut writes);
    Ok(())
}
