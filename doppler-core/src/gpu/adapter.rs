//! Which adapters there are, which one is taken, and what is asked of it.

use std::sync::{Arc, Mutex, OnceLock};

use doppler_kernels::Tier;
use parking_lot::{RwLock, RwLockReadGuard};

use super::pool::lock;
use crate::{DeviceOptions, Error};

/// An adapter that wgpu knows, for people.
#[derive(Debug, Clone)]
pub struct AdapterReport {
    /// As the driver names it.
    pub name: String,
    /// Vulkan, Metal, Dx12.
    pub backend: String,
    /// Discrete, integrated, virtual, cpu (software) or other.
    pub kind: String,
    /// Driver name and version.
    pub driver: String,
    /// Whether it is a software implementation.
    pub software: bool,
}

impl AdapterReport {
    pub(super) fn new(info: &wgpu::AdapterInfo) -> AdapterReport {
        let kind = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => "discrete",
            wgpu::DeviceType::IntegratedGpu => "integrated",
            wgpu::DeviceType::VirtualGpu => "virtual",
            wgpu::DeviceType::Cpu => "cpu",
            wgpu::DeviceType::Other => "other",
        };
        AdapterReport {
            name: info.name.clone(),
            backend: info.backend.to_string(),
            kind: kind.to_owned(),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            software: info.device_type == wgpu::DeviceType::Cpu,
        }
    }
}

/// The one instance of this process; it is never dropped. With the last instance the system unloads the drivers, and a thread
/// that called one crashes if it ends after that (NVIDIA's keeps destructors for its threads).
pub(super) fn instance() -> &'static wgpu::Instance {
    static INSTANCE: OnceLock<wgpu::Instance> = OnceLock::new();
    INSTANCE.get_or_init(|| {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
        // The driver's own memory budget: creation fails with a typed error before the system starts to swap.
        descriptor.memory_budget_thresholds =
            wgpu::MemoryBudgetThresholds { for_resource_creation: Some(97), for_device_loss: None };
        wgpu::Instance::new(descriptor)
    })
}

/// Held alone while adapters are listed and devices opened, and together while kernels are compiled and the driver is given or
/// gives compiled ones: NVIDIA's driver crashes when threads do both at once (<https://github.com/gfx-rs/wgpu/issues/10234>).
static DRIVER: RwLock<()> = RwLock::new(());

/// To be held while something is compiled, or what was compiled goes to the driver or comes from it.
pub(super) fn compiling() -> RwLockReadGuard<'static, ()> {
    DRIVER.read()
}

/// Runs what opens the driver while nothing is compiled; on native it is ready at once.
fn alone<T>(future: impl Future<Output = T>) -> T {
    let _alone = DRIVER.write();
    pollster::block_on(future)
}

/// All adapters, best first: discrete, integrated, virtual, other, software.
pub(super) fn adapters(instance: &wgpu::Instance) -> Vec<wgpu::Adapter> {
    let mut adapters = alone(instance.enumerate_adapters(wgpu::Backends::all()));
    adapters.sort_by_key(|adapter| match adapter.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    });
    adapters
}

/// A device with everything of it that the SDK uses.
pub(super) struct Opened {
    pub adapter: AdapterReport,
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub tier: Tier,
    /// Set once, by the first loss or unexpected error.
    pub failure: Arc<Mutex<Option<Failure>>>,
}

/// Why the device cannot be used any more.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    Lost(String),
    OutOfMemory,
    Unexpected(String),
}

/// Whether the adapter multiplies 16 × 16 × 16 from f16 with f32 sums.
fn has_matrix_units(adapter: &wgpu::Adapter) -> bool {
    use wgpu::CooperativeScalarType::{F16, F32};
    let usable = |p: &wgpu::CooperativeMatrixProperties| {
        (p.m_size, p.n_size, p.k_size) == (16, 16, 16) && p.ab_type == F16 && p.cr_type == F32
    };
    adapter.features().contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX)
        && adapter.cooperative_matrix_properties().iter().any(usable)
}

/// Matrix units are an experiment of wgpu; nothing else of that kind is asked for.
#[expect(unsafe_code, reason = "wgpu asks for it before it grants an experimental feature")]
fn experimental(features: wgpu::Features) -> wgpu::ExperimentalFeatures {
    if features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
        // SAFETY: the feature's known gap is that a matrix may be loaded from beyond a buffer; our shaders load them from
        // workgroup memory only, at places that constants decide.
        unsafe { wgpu::ExperimentalFeatures::enabled() }
    } else {
        wgpu::ExperimentalFeatures::disabled()
    }
}

pub(super) fn open(adapter: &wgpu::Adapter, options: &DeviceOptions) -> Result<Opened, Error> {
    let report = AdapterReport::new(&adapter.get_info());
    let useful = if options.webgpu_limits {
        wgpu::Features::empty()
    } else {
        wgpu::Features::SUBGROUP
            | wgpu::Features::SHADER_F16
            | wgpu::Features::TIMESTAMP_QUERY
            | wgpu::Features::PIPELINE_CACHE
            | wgpu::Features::MEMORY_DECORATION_COHERENT
            | wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES
            | if has_matrix_units(adapter) {
                wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX
            } else {
                wgpu::Features::empty()
            }
    };
    let features = adapter.features() & useful;
    let limits = if options.webgpu_limits { wgpu::Limits::default() } else { adapter.limits() };
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("doppler"),
        required_features: features,
        required_limits: limits,
        experimental_features: experimental(features),
        memory_hints: wgpu::MemoryHints::Performance,
        trace: wgpu::Trace::Off,
    };
    let (device, queue) = alone(adapter.request_device(&descriptor))
        .map_err(|source| Error::DeviceRequest { adapter: report.name.clone(), source })?;
    let failure = Arc::new(Mutex::new(None));
    let lost = failure.clone();
    device.set_device_lost_callback(move |reason, message| {
        // What failed before is a consequence more often than a cause.
        *lock(&lost) = Some(Failure::Lost(format!("{reason:?}: {message}")));
    });
    let uncaught = failure.clone();
    device.on_uncaptured_error(Arc::new(move |error| {
        let error = match error {
            wgpu::Error::OutOfMemory { .. } => Failure::OutOfMemory,
            other => Failure::Unexpected(other.to_string()),
        };
        lock(&uncaught).get_or_insert(error);
    }));
    let limits = device.limits();
    let tier = Tier {
        subgroups: features.contains(wgpu::Features::SUBGROUP),
        subgroup_size: if features.contains(wgpu::Features::SUBGROUP) {
            adapter.get_info().subgroup_min_size
        } else {
            0
        },
        f16: features.contains(wgpu::Features::SHADER_F16),
        cooperative_matrix: features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX),
        workgroup_bytes: limits.max_compute_workgroup_storage_size,
        invocations: limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x),
        // `storageBarrier` orders the whole device's memory on Vulkan. Not so on Metal, and Direct3D is untried.
        coherent: features.contains(wgpu::Features::MEMORY_DECORATION_COHERENT)
            && adapter.get_info().backend == wgpu::Backend::Vulkan,
        storage_buffers: limits.max_storage_buffers_per_shader_stage,
    };
    Ok(Opened { adapter: report, device, queue, tier, failure })
}
