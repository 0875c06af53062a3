//! Bytes on their way back from the GPU.

use std::sync::mpsc;

use super::Gpu;
use super::pool::lock;
use crate::Error;

/// A copy that was submitted; the bytes can be collected later, while more work runs.
#[derive(Debug)]
pub(crate) struct Readback {
    staging: wgpu::Buffer,
    bytes: usize,
    index: wgpu::SubmissionIndex,
    mapped: mpsc::Receiver<Result<(), wgpu::BufferAsyncError>>,
}

impl Readback {
    pub(super) fn start(staging: wgpu::Buffer, bytes: usize, index: wgpu::SubmissionIndex) -> Readback {
        let (send, mapped) = mpsc::channel();
        // The receiver may be gone: the generation was cancelled.
        staging.map_async(wgpu::MapMode::Read, .., move |result| drop(send.send(result)));
        Readback { staging, bytes, index, mapped }
    }

    /// Waits for the submission and takes the bytes.
    pub fn wait(self, gpu: &Gpu) -> Result<Vec<u8>, Error> {
        gpu.wait(self.index)?;
        let unmapped = |message: String| Error::Gpu { adapter: gpu.adapter.name.clone(), message };
        match self.mapped.try_recv() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(unmapped(error.to_string())),
            Err(_) => return Err(unmapped("a readback was not mapped after its submission".to_owned())),
        }
        let view = self.staging.get_mapped_range(..).map_err(|error| unmapped(error.to_string()))?;
        let bytes = view[..self.bytes].to_vec();
        drop(view);
        self.staging.unmap();
        lock(&gpu.staging).push(self.staging);
        Ok(bytes)
    }
}

impl Gpu {
    /// A staging buffer of at least `bytes`, reused when one fits well.
    pub(super) fn staging(&self, bytes: u64) -> wgpu::Buffer {
        let size = bytes.max(4).next_power_of_two();
        let mut free = lock(&self.staging);
        if let Some(i) = free.iter().position(|buffer| buffer.size() == size) {
            return free.swap_remove(i);
        }
        self.counters.buffer();
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("readback"),
            size,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    }
}
