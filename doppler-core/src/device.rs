//! Where recordings run: a GPU, the CPU at speed, or the CPU by the references.

mod options;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, RwLock};

use doppler_kernels::{self as kernels, Access, Kernel, layout};
use doppler_rdrr::DType;

use crate::gpu::{self, AdapterReport, Gpu, GpuCounters, KernelTimes, Uploads, lock};
use crate::host::Host;
use crate::recorder::{Step, kernel_key, profile_key};
use crate::tensor::{MappedPiece, Storage, read, write};
use crate::{Error, Recorder, Recording, Tensor, host, oracle};

pub use options::{DeviceChoice, DeviceOptions, DeviceReport};

/// A device; clones share it.
#[derive(Debug, Clone)]
pub struct Device(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    executor: Executor,
    why: String,
    exact: bool,
    /// Kernels of the recordings so far, on the CPU, and what computes them.
    kernels: Mutex<BTreeMap<String, String>>,
}

#[derive(Debug)]
enum Executor {
    Gpu(Box<Gpu>),
    Host(Host),
    Oracle,
}

/// Bytes that a submission will deliver.
#[derive(Debug)]
pub(crate) enum Pending {
    Gpu(gpu::Readback, Device),
    Ready(Vec<u8>),
}

impl Pending {
    /// Waits for the bytes. Native wgpu blocks here; it is the only place that does.
    pub async fn bytes(self) -> Result<Vec<u8>, Error> {
        match self {
            Pending::Ready(bytes) => Ok(bytes),
            Pending::Gpu(readback, device) => match &device.0.executor {
                Executor::Gpu(gpu) => readback.wait(gpu),
                _ => unreachable!("a GPU readback comes from a GPU"),
            },
        }
    }
}

impl Device {
    /// The best device: a real GPU, else the CPU.
    ///
    /// # Errors
    /// [`Error::DeviceRequest`] when there is a GPU that cannot be opened.
    pub async fn new() -> Result<Device, Error> {
        Device::open(&DeviceOptions::default()).await
    }

    /// The device that `options` ask for.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] naming what there is, [`Error::DeviceRequest`], and an override of a kernel that does not exist.
    pub async fn open(options: &DeviceOptions) -> Result<Device, Error> {
        kernels::check_names(options.kernel_overrides.keys())?;
        let with = |executor, why: &str| {
            let (why, exact) = (why.to_owned(), options.exact);
            Ok(Device(Arc::new(Inner { executor, why, exact, kernels: Mutex::default() })))
        };
        let opened = match &options.choice {
            DeviceChoice::Host => return with(Executor::Host(Host::open(options)?), "asked for"),
            DeviceChoice::Oracle => return with(Executor::Oracle, "asked for"),
            DeviceChoice::Auto | DeviceChoice::Gpu => Gpu::open(options, |adapter| !adapter.software)?,
            DeviceChoice::Named(name) => {
                let name = name.to_lowercase();
                // Every name contains the empty one; nobody means that.
                let named = |adapter: &str| !name.is_empty() && adapter.to_lowercase().contains(&name);
                Gpu::open(options, |adapter| named(&adapter.name))?
            }
        };
        let found = async || {
            let names: Vec<_> = gpu::list().into_iter().map(|a| format!("{} ({})", a.name, a.kind)).collect();
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        };
        match (opened, &options.choice) {
            (Some(gpu), choice) => {
                let why = if *choice == DeviceChoice::Auto { "best GPU found" } else { "asked for" };
                with(Executor::Gpu(Box::new(gpu)), why)
            }
            (None, DeviceChoice::Auto) => {
                let why = format!("no real GPU; adapters: {}", found().await);
                with(Executor::Host(Host::open(options)?), &why)
            }
            (None, choice) => {
                let wanted = if let DeviceChoice::Named(name) = choice { name.clone() } else { "gpu".to_owned() };
                Err(Error::NoAdapter { wanted, found: found().await })
            }
        }
    }

    /// All GPU adapters, best first, software ones last.
    pub async fn adapters() -> Vec<AdapterReport> {
        gpu::list()
    }

    /// What was opened, and why.
    #[must_use]
    pub fn report(&self) -> DeviceReport {
        let why = self.0.why.clone();
        let cpu = |executor, driver| DeviceReport {
            executor,
            adapter: format!("CPU ({})", std::env::consts::ARCH),
            driver,
            why: why.clone(),
            tier: None,
            max_binding_bytes: None,
        };
        match &self.0.executor {
            Executor::Gpu(gpu) => DeviceReport {
                executor: "gpu",
                adapter: gpu.adapter.name.clone(),
                driver: format!("{}, {}", gpu.adapter.backend, gpu.adapter.driver),
                why,
                tier: Some(gpu.tier.clone()),
                max_binding_bytes: Some(gpu.max_binding_bytes),
            },
            Executor::Host(host) => cpu("host", format!("{} threads, products in {}", host.threads(), host.products())),
            Executor::Oracle => cpu("oracle", "f64 references".to_owned()),
        }
    }

    /// The kernel variants used so far: kernel (and packed type) → variant and why; on the CPU, how it is computed.
    #[must_use]
    pub fn kernel_variants(&self) -> BTreeMap<String, String> {
        if let Executor::Gpu(gpu) = &self.0.executor { gpu.choices() } else { lock(&self.0.kernels).clone() }
    }

    /// The most GPU memory that buffers took; 0 on the CPU.
    #[must_use]
    pub fn peak_gpu_bytes(&self) -> u64 {
        if let Executor::Gpu(gpu) = &self.0.executor { gpu.peak_bytes() } else { 0 }
    }

    /// What was asked of the GPU so far; zeros on the CPU.
    #[must_use]
    pub fn counters(&self) -> GpuCounters {
        self.gpu().map(Gpu::counters).unwrap_or_default()
    }

    /// Runs recordings once, step by step: how often each kernel runs and how long all of them take.
    /// `None` where the device has no timestamps.
    ///
    /// # Errors
    /// What the device reports.
    pub fn profile(&self, recordings: &[&Recording]) -> Result<Option<KernelTimes>, Error> {
        let Some(gpu) = self.gpu() else { return Ok(None) };
        let mut kernels: KernelTimes = BTreeMap::new();
        for recording in recordings {
            let Some(times) = gpu.profile(&recording.gpu)? else { return Ok(None) };
            for (step, time) in recording.steps.iter().zip(times) {
                let (count, total) = kernels.entry(profile_key(&*step.kernel)).or_default();
                *count += 1;
                *total += time;
            }
        }
        Ok(Some(kernels))
    }

    /// Simulates a driver reset: every later use of the device is [`Error::DeviceLost`]. Does nothing on the CPU.
    pub fn destroy(&self) {
        if let Executor::Gpu(gpu) = &self.0.executor {
            gpu.destroy();
        }
    }

    pub(crate) fn host(&self) -> Option<&Host> {
        if let Executor::Host(host) = &self.0.executor { Some(host) } else { None }
    }

    /// Threads of the CPU; none on a GPU.
    pub(crate) fn threads(&self) -> Option<usize> {
        match &self.0.executor {
            Executor::Gpu(_) => None,
            Executor::Host(host) => Some(host.threads()),
            Executor::Oracle => Some(1),
        }
    }

    /// Whether inputs of products stay in f32.
    pub(crate) fn exact(&self) -> bool {
        self.0.exact
    }

    pub(crate) fn gpu(&self) -> Option<&Gpu> {
        if let Executor::Gpu(gpu) = &self.0.executor { Some(gpu) } else { None }
    }

    /// Bytes that may be taken of the GPU's memory, as far as that was said.
    pub(crate) fn memory_budget(&self) -> Option<u64> {
        self.gpu().and_then(|gpu| gpu.budget)
    }

    pub(crate) fn max_binding_bytes(&self) -> u64 {
        self.gpu().map_or(u64::MAX, |gpu| gpu.max_binding_bytes)
    }

    /// An uninitialised tensor (zeros on the CPU) from the pool.
    pub(crate) fn alloc(&self, label: &str, shape: &[usize], dtype: DType) -> Result<Tensor, Error> {
        self.tensor(label, shape, dtype, true)
    }

    /// The same outside of the pool, for a size that will not be wanted again: freed with its last user.
    pub(crate) fn alloc_once(&self, label: &str, shape: &[usize], dtype: DType) -> Result<Tensor, Error> {
        self.tensor(label, shape, dtype, false)
    }

    fn tensor(&self, label: &str, shape: &[usize], dtype: DType, keep: bool) -> Result<Tensor, Error> {
        let elements: usize = shape.iter().product();
        let bytes = dtype.tensor_bytes(shape).expect("the decoder's tensors are whole blocks");
        let storage = match &self.0.executor {
            Executor::Gpu(gpu) => Storage::Gpu(gpu.alloc(label, bytes as u64, keep)?),
            Executor::Host(_) => Storage::Host(RwLock::new(vec![0; bytes.div_ceil(4)])),
            Executor::Oracle => Storage::Oracle(RwLock::new(vec![0.0; elements])),
        };
        Ok(Tensor::new(label.to_owned(), shape, dtype, storage))
    }

    /// A tensor over a piece of a mapped model: to be uploaded on a GPU, used in place on the CPU.
    pub(crate) fn weight(
        &self,
        label: &str,
        shape: &[usize],
        dtype: DType,
        piece: MappedPiece,
        uploads: &mut Uploads,
    ) -> Result<Tensor, Error> {
        let storage = match &self.0.executor {
            Executor::Gpu(gpu) => {
                let storage = Storage::Gpu(gpu.alloc(label, piece.bytes.len() as u64, false)?);
                let tensor = Tensor::new(label.to_owned(), shape, dtype, storage);
                uploads.add(&tensor, piece);
                return Ok(tensor);
            }
            Executor::Host(_) => {
                let words = match piece.bytes(0..piece.bytes.len()) {
                    Cow::Borrowed(bytes) if bytes.as_ptr().align_offset(4) == 0 => None,
                    // Kernels read 4-byte words; a foreign file may have put the tensor anywhere.
                    bytes => Some(host::words(&bytes)),
                };
                words.map_or(Storage::Mapped(piece), |words| Storage::Host(RwLock::new(words)))
            }
            Executor::Oracle => {
                Storage::Oracle(RwLock::new(oracle::numbers(dtype, &piece.bytes(0..piece.bytes.len()))?))
            }
        };
        Ok(Tensor::new(label.to_owned(), shape, dtype, storage))
    }

    /// Pieces of a mapped model one after the other in one tensor of `cols` columns on a GPU, to be uploaded there, and a tensor
    /// over the rows of each. `None` where this is no GPU, or where one of them would begin where nothing can be bound.
    pub(crate) fn stacked_weights(
        &self,
        label: &str,
        cols: usize,
        dtype: DType,
        pieces: Vec<MappedPiece>,
        uploads: &mut Uploads,
    ) -> Result<Option<(Tensor, Vec<Tensor>)>, Error> {
        let Some(gpu) = self.gpu() else { return Ok(None) };
        let bytes: usize = pieces.iter().map(|piece| piece.bytes.len()).sum();
        let alignment = gpu.binding_alignment().max(4);
        let rows = |bytes: usize| bytes / (cols / dtype.block_len() * dtype.block_bytes());
        let aligned = pieces.iter().all(|piece| {
            // No rows of two pieces lie together.
            let apart = rows(piece.bytes.len()).is_multiple_of(layout::GROUP_ROWS);
            apart && (piece.bytes.len() as u64).is_multiple_of(alignment)
        });
        if !aligned || bytes as u64 > gpu.max_binding_bytes {
            return Ok(None);
        }
        let buffer = gpu.alloc(label, bytes as u64, false)?;
        let all = Tensor::new(label.to_owned(), &[rows(bytes), cols], dtype, Storage::Gpu(buffer));
        let mut offset = 0;
        let mut parts = Vec::new();
        for piece in pieces {
            let (name, bytes) = (piece.name.to_string(), piece.bytes.len());
            let part = Tensor::new(name, &[rows(bytes), cols], dtype, Storage::GpuRows { of: all.clone(), offset });
            uploads.add(&part, piece);
            parts.push(part);
            offset += bytes as u64;
        }
        Ok(Some((all, parts)))
    }

    /// The last rows of a tensor on a GPU, to be read back; they may begin where nothing can be bound.
    pub(crate) fn last_rows(&self, of: &Tensor, rows: usize) -> Tensor {
        let cols = of.shape().last().copied().unwrap_or(1);
        let offset = (of.bytes() - rows * cols * of.dtype().block_bytes()) as u64;
        let storage = Storage::GpuRows { of: of.clone(), offset };
        Tensor::new(of.label().to_owned(), &[rows, cols], of.dtype(), storage)
    }

    /// Sets a tensor's first bytes; seen by everything submitted later.
    pub(crate) fn write(&self, tensor: &Tensor, bytes: &[u8]) -> Result<(), Error> {
        match (&self.0.executor, tensor.storage()) {
            (Executor::Gpu(gpu), _) => gpu.write(tensor, 0, bytes),
            (Executor::Host(_), Storage::Host(words)) => {
                bytemuck::cast_slice_mut(&mut write(words))[..bytes.len()].copy_from_slice(bytes);
                Ok(())
            }
            (Executor::Oracle, Storage::Oracle(values)) => {
                let numbers = oracle::numbers(tensor.dtype(), bytes)?;
                write(values)[..numbers.len()].copy_from_slice(&numbers);
                Ok(())
            }
            _ => Err(Error::ForeignTensor { label: tensor.label().to_owned() }),
        }
    }

    /// Copies the first `elements`, whole rows, of one tensor to another of the same type.
    pub(crate) fn copy(&self, from: &Tensor, to: &Tensor, elements: usize) -> Result<(), Error> {
        let bytes = from.dtype().tensor_bytes(&[elements]).expect("whole rows are copied");
        match (&self.0.executor, from.storage(), to.storage()) {
            (_, _, _) if bytes == 0 => {}
            (Executor::Gpu(gpu), Storage::Gpu(from), Storage::Gpu(to)) => gpu.copy(from, to, bytes as u64),
            (Executor::Host(_), Storage::Host(from), Storage::Host(to)) => {
                let words = bytes.div_ceil(4);
                write(to)[..words].copy_from_slice(&read(from)[..words]);
            }
            (Executor::Oracle, Storage::Oracle(from), Storage::Oracle(to)) => {
                write(to)[..elements].copy_from_slice(&read(from)[..elements]);
            }
            _ => return Err(Error::ForeignTensor { label: from.label().to_owned() }),
        }
        Ok(())
    }

    /// Makes a recording ready: variants, compute pipelines and bind groups on a GPU.
    ///
    /// # Errors
    /// [`Error::Kernel`] when no variant runs, [`Error::Gpu`] when a shader does not compile.
    pub fn compile(&self, recorder: Recorder) -> Result<Recording, Error> {
        let steps = recorder.into_steps();
        let (mut gpu, mut levels) = (Vec::new(), Vec::new());
        let keys = |form: &dyn Fn(&dyn Kernel) -> &'static str| {
            let key = |step: &Step| (kernel_key(&*step.kernel), form(&*step.kernel).to_owned());
            lock(&self.0.kernels).extend(steps.iter().map(key));
        };
        match &self.0.executor {
            Executor::Gpu(device) => gpu = device.prepare(&steps)?,
            Executor::Host(host) => {
                keys(&|kernel| host.form(kernel));
                levels = host::levels(&steps);
            }
            Executor::Oracle => keys(&|_| "reference"),
        }
        Ok(Recording { steps, gpu, host: levels })
    }

    /// Runs recordings one after the other and starts to read the first elements of `read`. Does not wait for a GPU.
    pub(crate) fn submit(
        &self,
        recordings: &[&Recording],
        read: Option<(&Tensor, usize)>,
    ) -> Result<Option<Pending>, Error> {
        let sized = read.map(|(tensor, elements)| (tensor, elements * tensor.dtype().block_bytes()));
        match &self.0.executor {
            Executor::Gpu(gpu) => {
                let steps = recordings.iter().flat_map(|recording| &recording.gpu);
                let readback = gpu.submit(steps, sized.map(|(tensor, bytes)| (tensor, bytes as u64)))?;
                return Ok(readback.map(|readback| Pending::Gpu(readback, self.clone())));
            }
            Executor::Host(host) => recordings.iter().try_for_each(|r| host.run(&r.steps, &r.host))?,
            Executor::Oracle => recordings.iter().flat_map(|r| &r.steps).try_for_each(oracle::run)?,
        }
        sized.map(|(tensor, bytes)| Ok(Pending::Ready(self.peek(tensor, bytes)?))).transpose()
    }

    /// [`Device::submit`] of a prompt that ends at `positions`: to a GPU in as many submissions as its work takes, two of
    /// them on their way at most.
    pub(crate) fn submit_paced(
        &self,
        recording: &Recording,
        read: Option<(&Tensor, usize)>,
        positions: usize,
    ) -> Result<Option<Pending>, Error> {
        let Some(gpu) = self.gpu() else { return self.submit(&[recording], read) };
        let pieces = gpu::pieces(recording.steps.iter().map(|s| s.kernel.multiply_adds(positions)), gpu.most_work);
        let read = read.map(|(tensor, elements)| (tensor, (elements * tensor.dtype().block_bytes()) as u64));
        let readback = gpu.submit_paced(&recording.gpu, &pieces, read)?;
        Ok(readback.map(|readback| Pending::Gpu(readback, self.clone())))
    }

    /// The first bytes of a tensor on the CPU.
    fn peek(&self, tensor: &Tensor, bytes: usize) -> Result<Vec<u8>, Error> {
        match tensor.storage() {
            Storage::Host(words) => Ok(bytemuck::cast_slice(&read(words))[..bytes].to_vec()),
            Storage::Oracle(values) => {
                let mut stored = oracle::stored(tensor.dtype(), &read(values));
                stored.truncate(bytes);
                Ok(stored)
            }
            _ => Err(Error::ForeignTensor { label: tensor.label().to_owned() }),
        }
    }
}

/// Whether a kernel's operand is only read.
pub(crate) fn only_read(access: Access) -> bool {
    access == Access::Read
}

#[cfg(all(test, feature = "gpu-tests"))]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{DecoderPipeline, Pipeline};

    /// Nothing that a pipeline leaves behind keeps the device open, steps in flight included.
    #[test]
    fn a_device_closes_with_its_last_user() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.rdrr");
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llama/llama3_scaled");
        doppler_rdrr::convert::convert(&fixture, &path, &Default::default(), |_| {}).unwrap();
        pollster::block_on(async {
            let choice = DeviceChoice::Named(Device::adapters().await.remove(0).name);
            let device = Device::open(&DeviceOptions { choice, ..DeviceOptions::default() }).await.unwrap();
            let inner = Arc::downgrade(&device.0);
            let mut pipeline = DecoderPipeline::builder(&device, &path).build().await.unwrap();
            drop(device);
            pipeline.forward(&[1, 2, 3], 1).await.unwrap();
            pipeline.greedy().await.unwrap();
            assert!(inner.upgrade().is_some());
            drop(pipeline);
            assert!(inner.upgrade().is_none());
        });
    }
}
