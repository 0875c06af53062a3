//! What the GPU spends its time on, and what the CPU asks of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::compute::GpuStep;
use super::{Gpu, Readback};
use crate::Error;

/// How often each kernel (with the shape and format of its weights, or its packed type) ran, and how long all its runs took.
pub type KernelTimes = BTreeMap<String, (usize, Duration)>;

/// What a query set holds.
const MOST_TIMESTAMPS: usize = 4096;

/// Counts since the device was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GpuCounters {
    /// Submissions of recordings.
    pub submissions: u64,
    /// Dispatches in them.
    pub dispatches: u64,
    /// Bytes read back.
    pub readback_bytes: u64,
    /// Buffers made, of every kind.
    pub buffers: u64,
    /// CPU time of encoding and submitting.
    pub encoding: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    submissions: AtomicU64,
    dispatches: AtomicU64,
    readback_bytes: AtomicU64,
    buffers: AtomicU64,
    encoding_ns: AtomicU64,
}

impl Counters {
    /// Counts a buffer that is made.
    pub fn buffer(&self) {
        self.buffers.fetch_add(1, Ordering::Relaxed);
    }

    pub fn count(&self, dispatches: usize, readback_bytes: u64, encoding: Duration) {
        self.submissions.fetch_add(1, Ordering::Relaxed);
        self.dispatches.fetch_add(dispatches as u64, Ordering::Relaxed);
        self.readback_bytes.fetch_add(readback_bytes, Ordering::Relaxed);
        self.encoding_ns.fetch_add(encoding.as_nanos() as u64, Ordering::Relaxed);
    }
}

impl Gpu {
    /// Counts so far.
    pub fn counters(&self) -> GpuCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        GpuCounters {
            submissions: read(&self.counters.submissions),
            dispatches: read(&self.counters.dispatches),
            readback_bytes: read(&self.counters.readback_bytes),
            buffers: read(&self.counters.buffers),
            encoding: Duration::from_nanos(read(&self.counters.encoding_ns)),
        }
    }

    /// Runs steps once in one pass with a timestamp after each; the time of each, from the one before. `None` where the device
    /// has no timestamps inside passes.
    pub fn profile(&self, steps: &[GpuStep]) -> Result<Option<Vec<Duration>>, Error> {
        if !self.device.features().contains(wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES) {
            return Ok(None);
        }
        let mut times = Vec::new();
        for steps in steps.chunks(MOST_TIMESTAMPS - 1) {
            let ticks = self.timestamps(1 + steps.len() as u32, |encoder, queries| {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                pass.write_timestamp(queries, 0);
                for (i, step) in steps.iter().enumerate() {
                    step.encode(&mut pass);
                    pass.write_timestamp(queries, i as u32 + 1);
                }
            })?;
            times.extend(ticks.windows(2).map(|pair| self.between(pair[0], pair[1])));
        }
        Ok(Some(times))
    }

    /// Runs lists of steps once, each list in a pass between two timestamps; the time of each. `None` where the device has
    /// no timestamps.
    pub fn profile_passes(&self, passes: &[&[GpuStep]]) -> Result<Option<Vec<Duration>>, Error> {
        if !self.device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return Ok(None);
        }
        let mut times = Vec::new();
        for passes in passes.chunks(MOST_TIMESTAMPS / 2) {
            let ticks = self.timestamps(2 * passes.len() as u32, |encoder, queries| {
                for (i, steps) in passes.iter().enumerate() {
                    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                        label: None,
                        timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                            query_set: queries,
                            beginning_of_pass_write_index: Some(2 * i as u32),
                            end_of_pass_write_index: Some(2 * i as u32 + 1),
                        }),
                    });
                    steps.iter().for_each(|step| step.encode(&mut pass));
                }
            })?;
            times.extend(ticks.chunks_exact(2).map(|pair| self.between(pair[0], pair[1])));
        }
        Ok(Some(times))
    }

    /// Submits what `encode` encodes and waits for it; the `count` timestamps that it wrote, in the device's ticks.
    fn timestamps(
        &self,
        count: u32,
        encode: impl FnOnce(&mut wgpu::CommandEncoder, &wgpu::QuerySet),
    ) -> Result<Vec<u64>, Error> {
        let (label, ty) = (Some("profile"), wgpu::QueryType::Timestamp);
        let queries = self.device.create_query_set(&wgpu::QuerySetDescriptor { label, ty, count });
        let bytes = u64::from(count) * 8;
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let resolved = self.filled("timestamps", &vec![0; bytes as usize], usage);
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encode(&mut encoder, &queries);
        encoder.resolve_query_set(&queries, 0..count, &resolved, 0);
        let staging = self.staging(bytes);
        encoder.copy_buffer_to_buffer(&resolved, 0, &staging, 0, bytes);
        let index = self.enqueue([encoder.finish()]);
        let bytes = Readback::start(staging, bytes as usize, index).wait(self)?;
        Ok(bytes.chunks_exact(8).map(bytemuck::pod_read_unaligned).collect())
    }

    /// Subtracted as ticks: since its zero there may be more of them than an f64 tells apart.
    fn between(&self, from: u64, to: u64) -> Duration {
        Duration::from_nanos((to.saturating_sub(from) as f64 * f64::from(self.queue.get_timestamp_period())) as u64)
    }

    /// The same by the clock on the wall, each list in a submission that is waited for.
    pub fn time_passes(&self, passes: &[&[GpuStep]]) -> Result<Vec<Duration>, Error> {
        let timed = passes.iter().map(|steps| {
            let started = Instant::now();
            self.submit(*steps, None)?;
            self.wait(self.enqueue(None))?;
            Ok(started.elapsed())
        });
        timed.collect()
    }
}
