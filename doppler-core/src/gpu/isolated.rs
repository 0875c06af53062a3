//! One kernel outside of any recording: for the self-test and for timing.

use std::cell::Cell;
use std::time::{Duration, Instant};

use doppler_kernels::{Access, Case, Variant, layout};

use super::compute::{GpuStep, whole_words};
use super::{Gpu, Readback};
use crate::Error;
use crate::timing::copies;

/// Bytes before and after each operand that must stay as they were.
const GUARD: u64 = 256;
const POISON: u8 = 0xA5;
/// Weights are bound in rotation over this much memory, so that no cache holds them.
const ROTATION_BYTES: usize = 512 << 20;
/// Dispatches in a submission, about.
const SUBMITTED: usize = 64;
const USAGE: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_SRC).union(wgpu::BufferUsages::COPY_DST);

struct Bound {
    step: GpuStep,
    /// Each operand's buffer and the size of its binding, in operand order.
    buffers: Vec<(wgpu::Buffer, u64)>,
}

/// The same dispatch over several copies of its operands.
pub(crate) struct Rotation {
    steps: Vec<GpuStep>,
    /// The copy that is next.
    next: Cell<usize>,
}

impl Gpu {
    /// Runs `variant` of a case's kernel; the bytes of its written operands.
    ///
    /// The error is in words: a driver's message, or a guard word that was overwritten.
    pub fn run_case(&self, case: &Case, variant: &Variant) -> Result<Vec<Vec<u8>>, String> {
        let Bound { step, buffers } = self.bind_case(case, variant)?;
        self.submit(std::slice::from_ref(&step), None).map_err(|e| e.to_string())?;
        let mut outputs = Vec::new();
        for (operand, (buffer, size)) in case.kernel.operands().iter().zip(&buffers) {
            if operand.access == Access::Read {
                continue;
            }
            let bytes = self.read_raw(buffer, size + 2 * GUARD).map_err(|e| e.to_string())?;
            let (before, rest) = bytes.split_at(GUARD as usize);
            let (data, after) = rest.split_at(*size as usize);
            if before.iter().chain(after).any(|b| *b != POISON) {
                return Err(format!("`{}`: memory beside it was overwritten", operand.name));
            }
            outputs.push(data[..operand.bytes()].to_vec());
        }
        Ok(outputs)
    }

    /// `variant` bound to copies of the case's operands, ready to be timed.
    pub fn bind_rotation(&self, case: &Case, variant: &Variant) -> Result<Rotation, String> {
        let bound = (0..copies(case, ROTATION_BYTES)).map(|_| Ok(self.bind_case(case, variant)?.step));
        let bound = bound.collect::<Result<Vec<GpuStep>, String>>()?;
        // Few copies come around again within one submission, so that its cost is shared by many dispatches.
        let steps = bound.iter().cycle().take(SUBMITTED.next_multiple_of(bound.len())).cloned().collect();
        Ok(Rotation { steps, next: Cell::new(0) })
    }

    /// The time of `runs` dispatches, the gaps between them included: many in one submission, one wait.
    pub fn time_rotation(&self, rotation: &Rotation, runs: u64) -> Result<Duration, String> {
        let started = Instant::now();
        let mut left = runs as usize;
        while left > 0 {
            let steps = &rotation.steps[rotation.next.get()..];
            let steps = &steps[..left.min(steps.len())];
            self.submit(steps, None).map_err(|e| e.to_string())?;
            rotation.next.set((rotation.next.get() + steps.len()) % rotation.steps.len());
            left -= steps.len();
        }
        self.wait(self.enqueue(None)).map_err(|e| e.to_string())?;
        Ok(started.elapsed())
    }

    fn bind_case(&self, case: &Case, variant: &Variant) -> Result<Bound, String> {
        let kernel = case.kernel.as_ref();
        let pipeline = self.pipeline(kernel, variant).map_err(|e| e.to_string())?;
        let mut inputs = case.inputs.iter();
        let mut buffers = Vec::new();
        for operand in kernel.operands() {
            // What is written ends where its last word does, so that the guard is seen.
            let size = match operand.access {
                Access::Read => whole_words(operand.bytes() as u64) as usize,
                _ => operand.bytes().next_multiple_of(4),
            };
            let mut contents = vec![POISON; size + 2 * GUARD as usize];
            if operand.access.has_input() {
                let input = inputs.next().ok_or("the case lacks an input")?;
                let input = layout::on_gpu(operand.dtype, input, operand.cols());
                contents[GUARD as usize..][..input.len()].copy_from_slice(&input);
                contents[GUARD as usize..][input.len()..size].fill(0);
            }
            buffers.push((self.filled(operand.name, &contents, USAGE), size as u64));
        }
        let params = kernel.params();
        let uniform = (!params.is_empty()).then(|| self.uniform(&params));
        let resources = buffers.iter().map(|(buffer, size)| {
            let size = std::num::NonZeroU64::new(*size);
            wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset: GUARD, size })
        });
        let uniform = uniform.as_ref().map(wgpu::Buffer::as_entire_binding);
        let bindings = self.bind(pipeline.layout(), resources.chain(uniform));
        let step = GpuStep::new(pipeline, bindings, kernel.workgroups(variant));
        Ok(Bound { step, buffers })
    }

    pub(super) fn read_raw(&self, buffer: &wgpu::Buffer, bytes: u64) -> Result<Vec<u8>, Error> {
        let staging = self.staging(bytes);
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, bytes);
        let index = self.enqueue([encoder.finish()]);
        Readback::start(staging, bytes as usize, index).wait(self)
    }
}
