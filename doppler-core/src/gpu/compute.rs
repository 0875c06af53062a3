//! Compute pipelines and bind groups: made once, kept, encoded in one pass.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use doppler_kernels::{Access, Kernel, Operand, Variant};

use super::pool::lock;
use super::{Gpu, Readback, adapter};
use crate::recorder::Step;
use crate::tensor::Storage;
use crate::{Error, Tensor};

/// A compiled shader with the layout of its one bind group.
#[derive(Debug)]
pub(crate) struct ComputePipeline {
    pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
}

/// Parameters of the steps of a recording, by their bytes.
type Uniforms = HashMap<Vec<u8>, wgpu::Buffer>;

/// A step that is ready to be encoded.
#[derive(Debug, Clone)]
pub(crate) struct GpuStep {
    pipeline: Arc<ComputePipeline>,
    bindings: wgpu::BindGroup,
    workgroups: [u32; 3],
}

impl GpuStep {
    pub fn new(pipeline: Arc<ComputePipeline>, bindings: wgpu::BindGroup, workgroups: [u32; 3]) -> GpuStep {
        GpuStep { pipeline, bindings, workgroups }
    }

    /// Encodes this step alone.
    pub fn encode(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline.pipeline);
        pass.set_bind_group(0, &self.bindings, &[]);
        let [x, y, z] = self.workgroups;
        pass.dispatch_workgroups(x, y, z);
    }
}

impl ComputePipeline {
    pub fn layout(&self) -> &wgpu::BindGroupLayout {
        &self.layout
    }
}

impl Gpu {
    /// Chooses variants, compiles what is not compiled yet, and binds.
    pub fn prepare(&self, steps: &[Step]) -> Result<Vec<GpuStep>, Error> {
        let mut uniforms = Uniforms::new();
        let chosen = self.chosen(steps)?;
        let prepared = steps
            .iter()
            .zip(chosen)
            .map(|(step, chosen)| self.ready(step, &chosen.variant, chosen.pipeline.clone(), &mut uniforms));
        let prepared = prepared.collect::<Result<_, _>>()?;
        self.check()?;
        Ok(prepared)
    }

    /// A step with a variant of one's own choice.
    pub fn prepare_with(&self, step: &Step, variant: &Variant) -> Result<GpuStep, Error> {
        self.ready(step, variant, self.pipeline(step.kernel.as_ref(), variant)?, &mut Uniforms::new())
    }

    fn ready(
        &self,
        step: &Step,
        variant: &Variant,
        pipeline: Arc<ComputePipeline>,
        uniforms: &mut Uniforms,
    ) -> Result<GpuStep, Error> {
        let workgroups = step.kernel.workgroups(variant);
        let params = step.kernel.params();
        let uniform = (!params.is_empty())
            .then(|| uniforms.entry(params.clone()).or_insert_with(|| self.uniform(&params)) as &wgpu::Buffer);
        let tensors = step.operands.iter().map(binding).collect::<Result<Vec<_>, _>>()?;
        let uniform = uniform.map(wgpu::Buffer::as_entire_binding);
        let bindings = self.bind(&pipeline.layout, tensors.into_iter().chain(uniform));
        Ok(GpuStep { pipeline, bindings, workgroups })
    }

    pub(super) fn pipeline(&self, kernel: &dyn Kernel, variant: &Variant) -> Result<Arc<ComputePipeline>, Error> {
        let source = variant.source();
        if let Some(known) = lock(&self.pipelines).get(&source) {
            return Ok(known.clone());
        }
        let label = format!("doppler.{}.{}", kernel.name(), variant.name);
        let compiling = adapter::compiling();
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let module = self.shader(&label, &source);
        // An explicit layout: the automatic one would drop bindings that the shader does not use.
        let layout = self.layout(&kernel.operands(), !kernel.params().is_empty());
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&label),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&label),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            // Zeroing workgroup memory costs seconds of compile time on software drivers; our shaders initialise it.
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &[],
                zero_initialize_workgroup_memory: false,
            },
            cache: self.pipeline_cache.as_ref(),
        });
        drop(compiling);
        if let Some(error) = pollster::block_on(scope.pop()) {
            let message = format!("{label}: {error}");
            return Err(Error::Gpu { adapter: self.adapter.name.clone(), message });
        }
        let compiled = Arc::new(ComputePipeline { pipeline, layout });
        lock(&self.pipelines).insert(source, compiled.clone());
        Ok(compiled)
    }

    /// A shader without the counters that would bound its loops, which keep drivers from unrolling, and without clamped
    /// indices: together they cost more than half of the speed.
    #[expect(unsafe_code, reason = "wgpu has no safe way to leave the checks out")]
    fn shader(&self, label: &str, source: &str) -> wgpu::ShaderModule {
        let source = wgpu::ShaderSource::Wgsl(source.into());
        let descriptor = wgpu::ShaderModuleDescriptor { label: Some(label), source };
        // SAFETY: only this project's own shaders come here. Their loops end: bounds are constants, the sizes of a kernel or a
        // position below the cache's capacity, and steps are at least 1. Their divisors are sizes, which are not 0, and
        // their indices stay inside operands whose sizes were checked when the kernel was recorded. Of the numbers that come
        // from data, a token id is compared with the vocabulary by the kernel that takes it, and a position lies in the cache
        // and the rotary table because the pipeline reserves both before it writes it or submits a step that moves it on.
        // Property tests run every variant over ugly shapes between guard words.
        unsafe { self.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
    }

    fn layout(&self, operands: &[Operand], has_params: bool) -> wgpu::BindGroupLayout {
        let storage = |o: &Operand| wgpu::BufferBindingType::Storage { read_only: o.access == Access::Read };
        let types = operands.iter().map(storage).chain(has_params.then_some(wgpu::BufferBindingType::Uniform));
        let entries: Vec<_> = types
            .enumerate()
            .map(|(i, ty)| wgpu::BindGroupLayoutEntry {
                binding: i as u32,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
                count: None,
            })
            .collect();
        self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries })
    }

    pub(super) fn uniform(&self, bytes: &[u8]) -> wgpu::Buffer {
        // WGSL rounds the size of a uniform struct up to 16 bytes.
        let mut contents = bytes.to_vec();
        contents.resize(bytes.len().next_multiple_of(16), 0);
        self.filled("params", &contents, wgpu::BufferUsages::UNIFORM)
    }

    /// A buffer with contents. Not wgpu's `create_buffer_init`, which panics when the device is lost.
    pub(super) fn filled(&self, label: &str, contents: &[u8], usage: wgpu::BufferUsages) -> wgpu::Buffer {
        self.counters.buffer();
        let (label, size, usage) = (Some(label), contents.len() as u64, usage | wgpu::BufferUsages::COPY_DST);
        let buffer =
            self.device.create_buffer(&wgpu::BufferDescriptor { label, size, usage, mapped_at_creation: false });
        self.queue.write_buffer(&buffer, 0, contents);
        buffer
    }

    pub(super) fn bind<'a>(
        &self,
        layout: &wgpu::BindGroupLayout,
        resources: impl Iterator<Item = wgpu::BindingResource<'a>>,
    ) -> wgpu::BindGroup {
        let entries: Vec<_> =
            resources.enumerate().map(|(i, resource)| wgpu::BindGroupEntry { binding: i as u32, resource }).collect();
        self.device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries })
    }

    /// Submits all steps in one pass, and the copy of `read` behind them in the same submission.
    pub fn submit<'a>(
        &self,
        steps: impl IntoIterator<Item = &'a GpuStep>,
        read: Option<(&Tensor, u64)>,
    ) -> Result<Option<Readback>, Error> {
        self.check()?;
        let started = Instant::now();
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let mut dispatches = 0;
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            let mut current: Option<&Arc<ComputePipeline>> = None;
            for step in steps {
                if !current.is_some_and(|pipeline| Arc::ptr_eq(pipeline, &step.pipeline)) {
                    pass.set_pipeline(&step.pipeline.pipeline);
                    current = Some(&step.pipeline);
                }
                pass.set_bind_group(0, &step.bindings, &[]);
                let [x, y, z] = step.workgroups;
                pass.dispatch_workgroups(x, y, z);
                dispatches += 1;
            }
        }
        let staging = match read {
            Some((tensor, bytes)) => {
                let staging = self.staging(bytes);
                let (buffer, offset) = gpu_place(tensor)?;
                encoder.copy_buffer_to_buffer(buffer, offset, &staging, 0, bytes.next_multiple_of(4));
                Some((staging, bytes))
            }
            None => None,
        };
        let index = self.enqueue([encoder.finish()]);
        *lock(&self.newest) = Some(index.clone());
        self.counters.count(dispatches, read.map_or(0, |(_, bytes)| bytes), started.elapsed());
        Ok(staging.map(|(staging, bytes)| Readback::start(staging, bytes as usize, index)))
    }
}

/// Where a tensor begins: its buffer, and the byte.
pub(super) fn gpu_place(tensor: &Tensor) -> Result<(&wgpu::Buffer, u64), Error> {
    match tensor.storage() {
        Storage::Gpu(buffer) => Ok((buffer.buffer(), 0)),
        Storage::GpuRows { of, offset } => gpu_place(of).map(|(buffer, first)| (buffer, first + offset)),
        _ => Err(Error::ForeignTensor { label: tensor.label().to_owned() }),
    }
}

/// Bytes of a buffer or binding for so many: shaders read some of what they read in 16 bytes.
pub(super) fn whole_words(bytes: u64) -> u64 {
    bytes.max(4).next_multiple_of(16)
}

fn binding(tensor: &Tensor) -> Result<wgpu::BindingResource<'_>, Error> {
    let (buffer, offset) = gpu_place(tensor)?;
    let size = std::num::NonZeroU64::new(whole_words(tensor.bytes() as u64));
    Ok(wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size }))
}
