//! Bytes on their way back from the GPU.

use std::sync::mpsc;

use super::pool::lock;
use super::{Gpu, TIMEOUT};
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
        let unmapped = |message: String| Error::Gpu { adapter: gpu.adapter.name.clone(), message };
        // Another thread that polls may have passed the answer on, or be about to.
        let mut mapped = self.mapped.try_recv().ok();
        if !matches!(mapped, Some(Ok(()))) {
            gpu.wait(self.index)?;
            mapped = mapped.or_else(|| self.mapped.recv_timeout(TIMEOUT).ok());
        }
        gpu.check()?;
        match mapped {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(unmapped(error.to_string())),
            None => return Err(unmapped("a readback was not mapped after its submission".to_owned())),
        }
        let reading = gpu.polling.read();
        let view = self.staging.get_mapped_range(..).map_err(|error| unmapped(error.to_string()))?;
        let bytes = view[..self.bytes].to_vec();
        drop(view);
        self.staging.unmap();
        drop(reading);
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

#[cfg(all(test, feature = "gpu-tests"))]
mod tests {
    use super::*;
    use crate::{DeviceCache, DeviceOptions};

    /// Threads that wait for the same device take each other's answers from the driver, and lose none.
    #[test]
    fn several_threads_read_at_once() {
        let options = DeviceOptions { cache: DeviceCache::Off, ..DeviceOptions::default() };
        let gpu = Gpu::open(&options, |_| true).unwrap().expect("an adapter");
        std::thread::scope(|scope| {
            for thread in 0..4u32 {
                let gpu = &gpu;
                scope.spawn(move || {
                    for i in 0..200u32 {
                        let bytes = [thread, i].map(u32::to_le_bytes).concat();
                        let buffer = gpu.filled("numbers", &bytes, wgpu::BufferUsages::COPY_SRC);
                        assert_eq!(gpu.read_raw(&buffer, 8).unwrap(), bytes);
                    }
                });
            }
        });
    }
}
