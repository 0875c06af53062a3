//! The only place that touches wgpu: buffers, compute pipelines, submissions, readback.

mod adapter;
mod choose;
mod compute;
mod isolated;
mod paced;
mod pipeline_cache;
mod pool;
mod profile;
mod readback;
mod uploads;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use doppler_kernels::{Entry, KERNELS, Tier};
use parking_lot::{RwLock, RwLockWriteGuard};

pub use adapter::AdapterReport;
use adapter::{Failure, Opened};
pub(crate) use compute::GpuStep;
pub(crate) use paced::pieces;
use pool::{Pool, size_class};
pub(crate) use pool::{PooledBuffer, lock};
pub use profile::{GpuCounters, KernelTimes};
pub(crate) use readback::Readback;
pub(crate) use uploads::{MOST_QUEUED_BYTES, Uploads};

use crate::learned::Learned;
use crate::{DeviceOptions, Error, Tensor};

/// How long a submission may take before it counts as hung.
const TIMEOUT: Duration = Duration::from_secs(300);
/// And how long other threads may have to wait before they submit or read.
const SLICE: Duration = Duration::from_millis(1);

/// An opened GPU.
pub(crate) struct Gpu {
    pub adapter: AdapterReport,
    pub tier: Tier,
    pub max_binding_bytes: u64,
    device: wgpu::Device,
    queue: wgpu::Queue,
    failure: Arc<Mutex<Option<Failure>>>,
    pool: Arc<Pool>,
    pub budget: Option<u64>,
    overrides: BTreeMap<String, String>,
    /// Compute pipelines by shader source.
    pipelines: Mutex<HashMap<String, Arc<compute::ComputePipeline>>>,
    /// The driver's cache of compiled pipelines.
    pipeline_cache: Option<wgpu::PipelineCache>,
    /// The kernels whose cases test variants before their first use.
    pub kernels: &'static [Entry],
    pub learned: Learned,
    /// Kernels at their sizes, written out → what was chosen for them.
    chosen: Mutex<HashMap<String, Arc<choose::Chosen>>>,
    /// The variants that were chosen, by kernel and dtype.
    choices: Mutex<BTreeMap<String, String>>,
    staging: Mutex<Vec<wgpu::Buffer>>,
    /// One thread polls, and nobody submits or reads mapped bytes meanwhile; held for reading by these. A submission
    /// takes finished work away as a poll does, and a wait of wgpu's whose time ends just then panics: its queue is empty,
    /// yet what it read of the fence before is too old. And whoever polls a lost device frees what others have mapped.
    polling: RwLock<()>,
    counters: profile::Counters,
    /// Multiply-adds in one submission of a prompt.
    pub most_work: u64,
    /// Submissions of prompts that may not have ended, oldest first.
    paced: Mutex<VecDeque<wgpu::SubmissionIndex>>,
    /// The last submission of a recording.
    newest: Mutex<Option<wgpu::SubmissionIndex>>,
}

impl Drop for Gpu {
    fn drop(&mut self) {
        if let Some(cache) = &self.pipeline_cache
            && !lock(&self.pipelines).is_empty()
        {
            pipeline_cache::save(cache, &self.learned);
        }
    }
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gpu").field("adapter", &self.adapter).field("tier", &self.tier).finish_non_exhaustive()
    }
}

/// Names of all adapters, best first.
pub(crate) fn list() -> Vec<AdapterReport> {
    adapter::adapters(adapter::instance()).iter().map(|a| AdapterReport::new(&a.get_info())).collect()
}

impl Gpu {
    /// Opens the best adapter that `accept`s; `None` when there is none.
    pub fn open(options: &DeviceOptions, accept: impl Fn(&AdapterReport) -> bool) -> Result<Option<Gpu>, Error> {
        let instance = adapter::instance();
        let adapters = adapter::adapters(instance);
        let Some(adapter) = adapters.iter().find(|a| accept(&AdapterReport::new(&a.get_info()))) else {
            return Ok(None);
        };
        let Opened { adapter, device, queue, tier, failure } = adapter::open(adapter, options)?;
        let limits = device.limits();
        // In whole words of 16 bytes, as bindings are.
        let limit = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size) / 16 * 16;
        let most_work = options.submission_work.unwrap_or_else(|| paced::most_work(&adapter, &tier)).max(1);
        let learned = Learned::open(&options.cache, options.untuned, &adapter);
        Ok(Some(Gpu {
            kernels: KERNELS,
            pipeline_cache: pipeline_cache::open(&device, &learned),
            learned,
            chosen: Mutex::default(),
            adapter,
            tier,
            max_binding_bytes: options.max_binding_bytes.map_or(limit, |asked| asked.min(limit)),
            device,
            queue,
            failure,
            pool: Arc::default(),
            budget: options.memory_budget,
            overrides: options.kernel_overrides.clone(),
            pipelines: Mutex::default(),
            choices: Mutex::default(),
            staging: Mutex::default(),
            polling: RwLock::default(),
            counters: profile::Counters::default(),
            most_work,
            paced: Mutex::default(),
            newest: Mutex::default(),
        }))
    }

    /// A storage buffer of at least `bytes`; `keep` says whether buffers of that size will be wanted again. A size that
    /// is not there frees all that nobody uses.
    pub fn alloc(&self, label: &str, bytes: u64, keep: bool) -> Result<PooledBuffer, Error> {
        if bytes > self.max_binding_bytes {
            let (adapter, label) = (self.adapter.name.clone(), label.to_owned());
            return Err(Error::BindingTooLarge { adapter, label, bytes, limit: self.max_binding_bytes });
        }
        let size = compute::whole_words(if keep { size_class(bytes).min(self.max_binding_bytes) } else { bytes });
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        if keep && let Some(buffer) = self.pool.take(size, usage) {
            return Ok(buffer);
        }
        // Other sizes are wanted now than before: what is free would only be kept for nobody.
        self.pool.trim();
        if self.budget.is_some_and(|budget| self.pool.bytes() + size > budget) {
            return Err(self.out_of_memory(label, size));
        }
        let descriptor = wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
        let buffer = match self.create_buffer(&descriptor) {
            Some(buffer) => buffer,
            None => {
                // Memory of freed buffers comes back when the GPU has done what uses them.
                self.wait(self.enqueue(None))?;
                self.create_buffer(&descriptor).ok_or_else(|| self.out_of_memory(label, size))?
            }
        };
        self.check()?;
        Ok(self.pool.adopt(buffer, keep))
    }

    /// `None` when there is no memory for it.
    fn create_buffer(&self, descriptor: &wgpu::BufferDescriptor) -> Option<wgpu::Buffer> {
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        self.counters.buffer();
        let buffer = self.device.create_buffer(descriptor);
        // On native the scope's result is there at once.
        pollster::block_on(scope.pop()).is_none().then_some(buffer)
    }

    fn out_of_memory(&self, label: &str, needed: u64) -> Error {
        let (adapter, label) = (self.adapter.name.clone(), label.to_owned());
        Error::OutOfMemory { adapter, label, needed, in_use: self.pool.bytes(), budget: self.budget }
    }

    /// Queues bytes for a tensor, from a multiple of 4 on: they arrive before the next submission.
    pub fn write(&self, tensor: &Tensor, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let (buffer, first) = compute::gpu_place(tensor)?;
        let (offset, whole) = (first + offset, bytes.len() / 4 * 4);
        self.queue.write_buffer(buffer, offset, &bytes[..whole]);
        if whole < bytes.len() {
            let mut tail = [0u8; 4];
            tail[..bytes.len() - whole].copy_from_slice(&bytes[whole..]);
            self.queue.write_buffer(buffer, offset + whole as u64, &tail);
        }
        Ok(())
    }

    /// Offsets of bindings are multiples of this.
    pub fn binding_alignment(&self) -> u64 {
        u64::from(self.device.limits().min_storage_buffer_offset_alignment)
    }

    /// Copies the first `bytes` of one buffer to another.
    pub fn copy(&self, from: &PooledBuffer, to: &PooledBuffer, bytes: u64) {
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(from.buffer(), 0, to.buffer(), 0, bytes.next_multiple_of(4));
        self.enqueue([encoder.finish()]);
    }

    fn enqueue(&self, commands: impl IntoIterator<Item = wgpu::CommandBuffer>) -> wgpu::SubmissionIndex {
        let _submitting = self.polling.read();
        self.queue.submit(commands)
    }

    fn poll(&self, how: wgpu::PollType) -> Result<wgpu::PollStatus, wgpu::PollError> {
        let polling = self.polling.write();
        let status = self.device.poll(how);
        // To whoever waits, before a thread that polls again and again.
        RwLockWriteGuard::unlock_fair(polling);
        status
    }

    fn wait(&self, index: wgpu::SubmissionIndex) -> Result<(), Error> {
        let started = Instant::now();
        let waited = loop {
            let waited =
                self.poll(wgpu::PollType::Wait { submission_index: Some(index.clone()), timeout: Some(SLICE) });
            if !matches!(waited, Err(wgpu::PollError::Timeout)) || started.elapsed() > TIMEOUT {
                break waited;
            }
        };
        self.check()?;
        match waited {
            Ok(_) => Ok(()),
            Err(wgpu::PollError::WrongSubmissionIndex(..)) => {
                // Nothing was submitted: a device that was lost in between says so when it is polled.
                let _ = self.poll(wgpu::PollType::Poll);
                self.check()?;
                let message = "a submission was not taken".to_owned();
                Err(Error::Gpu { adapter: self.adapter.name.clone(), message })
            }
            Err(wgpu::PollError::Timeout) => {
                Err(Error::GpuTimeout { adapter: self.adapter.name.clone(), seconds: TIMEOUT.as_secs() })
            }
        }
    }

    /// The error that made this device unusable, if one did.
    pub fn check(&self) -> Result<(), Error> {
        let adapter = self.adapter.name.clone();
        if matches!(*lock(&self.failure), Some(Failure::Unexpected(_))) {
            // A lost device fails every validation, and says that it is lost only when it is polled.
            let _ = self.poll(wgpu::PollType::Poll);
        }
        match lock(&self.failure).clone() {
            None => Ok(()),
            Some(Failure::Lost(reason)) => Err(Error::DeviceLost { adapter, reason }),
            Some(Failure::OutOfMemory) => Err(self.out_of_memory("a driver object", 0)),
            Some(Failure::Unexpected(message)) => Err(Error::Gpu { adapter, message }),
        }
    }

    /// The variants in use: kernel and dtype → variant and why.
    pub fn choices(&self) -> BTreeMap<String, String> {
        lock(&self.choices).clone()
    }

    /// The most bytes that buffers ever took.
    pub fn peak_bytes(&self) -> u64 {
        self.pool.peak()
    }

    /// Destroys the device, as a driver reset would: for tests of recovery.
    pub fn destroy(&self) {
        self.device.destroy();
    }
}
