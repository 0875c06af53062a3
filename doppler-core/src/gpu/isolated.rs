//! One kernel outside of any recording: for the self-test and for timing.

use std::time::{Duration, Instant};

use doppler_kernels::{Access, Case, Variant};

use super::compute::GpuStep;
use super::{Gpu, Readback};
use crate::Error;

/// Bytes before and after each operand that must stay as they were.
const GUARD: u64 = 256;
const POISON: u8 = 0xA5;
/// Weights are bound in rotation over this much memory, so that no cache holds them.
const ROTATION_BYTES: u64 = 512 << 20;
const USAGE: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_SRC).union(wgpu::BufferUsages::COPY_DST);

struct Bound {
    step: GpuStep,
    /// Each operand's buffer and the size of its binding, in operand order.
    buffers: Vec<(wgpu::Buffer, u64)>,
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

    /// Seconds of one dispatch of `variant`, the gap to the next included: many in one submission, after a warm-up.
    pub fn time_case(&self, case: &Case, variant: &Variant) -> Result<f64, String> {
        let read_bytes: usize = case.inputs.iter().map(Vec::len).sum();
        let copies = (ROTATION_BYTES / read_bytes.max(1) as u64).clamp(1, 16);
        let bound = (0..copies).map(|_| self.bind_case(case, variant)).collect::<Result<Vec<_>, _>>()?;
        let steps: Vec<GpuStep> = bound.into_iter().map(|bound| bound.step).collect();
        let run = |passes: usize| {
            let started = Instant::now();
            for _ in 0..passes {
                self.submit(&steps, None).map_err(|e| e.to_string())?;
            }
            self.wait(self.queue.submit([])).map_err(|e| e.to_string())?;
            Ok::<_, String>(started.elapsed())
        };
        // An idle GPU runs at a fraction of its clock: the same work warms it up.
        let mut passes = 1;
        let mut elapsed = run(1)?;
        while elapsed < Duration::from_millis(150) && passes < 1 << 14 {
            passes *= 2;
            elapsed = run(passes)?;
        }
        Ok(run(passes)?.as_secs_f64() / (passes as u64 * copies) as f64)
    }

    fn bind_case(&self, case: &Case, variant: &Variant) -> Result<Bound, String> {
        let kernel = case.kernel.as_ref();
        let pipeline = self.pipeline(kernel, variant).map_err(|e| e.to_string())?;
        let mut inputs = case.inputs.iter();
        let mut buffers = Vec::new();
        for operand in kernel.operands() {
            let size = operand.bytes().next_multiple_of(4);
            let mut contents = vec![POISON; size + 2 * GUARD as usize];
            if operand.access != Access::Write {
                let input = inputs.next().ok_or("the case lacks an input")?;
                contents[GUARD as usize..][..input.len()].copy_from_slice(input);
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

    fn read_raw(&self, buffer: &wgpu::Buffer, bytes: u64) -> Result<Vec<u8>, Error> {
        let staging = self.staging(bytes);
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, bytes);
        let index = self.queue.submit([encoder.finish()]);
        Readback::start(staging, bytes as usize, index).wait(self)
    }
}
