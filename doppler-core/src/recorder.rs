//! Recordings: lists of kernels over tensors, checked while recorded. Data, not calls.

use doppler_kernels::{Access, Kernel};
use doppler_rdrr::DType;

use crate::{Error, Tensor, gpu::GpuStep, host};

/// One kernel with its operands.
#[derive(Debug)]
pub struct Step {
    /// The kernel at its sizes.
    pub kernel: Box<dyn Kernel>,
    /// In the kernel's operand order.
    pub operands: Vec<Tensor>,
}

/// Collects steps.
#[derive(Debug, Default)]
pub struct Recorder {
    steps: Vec<Step>,
}

/// Steps that a device has made ready to run, any number of times.
#[derive(Debug)]
pub struct Recording {
    pub(crate) steps: Vec<Step>,
    /// Compute pipelines and bind groups, on a GPU.
    pub(crate) gpu: Vec<GpuStep>,
    /// What can run at the same time, on the host.
    pub(crate) host: Vec<host::Level>,
}

impl Recorder {
    /// An empty recorder.
    #[must_use]
    pub fn new() -> Recorder {
        Recorder::default()
    }

    /// Appends a kernel; needs no GPU.
    ///
    /// # Errors
    /// [`Error::OperandCount`], [`Error::OperandShape`] (a tensor may have other dimensions when the number of elements
    /// and the last dimension's blocks agree) and [`Error::OperandAlias`].
    pub fn record(&mut self, kernel: impl Kernel + 'static, operands: &[&Tensor]) -> Result<(), Error> {
        let expected = kernel.operands();
        if expected.len() != operands.len() {
            return Err(Error::OperandCount {
                kernel: kernel.name(),
                expected: expected.len(),
                actual: operands.len(),
            });
        }
        for (i, (wanted, tensor)) in expected.iter().zip(operands).enumerate() {
            let same_size = wanted.len() == tensor.len()
                && (wanted.dtype.block_len() == 1 || wanted.shape.last() == tensor.shape().last());
            if !same_size || wanted.dtype != tensor.dtype() {
                return Err(Error::OperandShape {
                    kernel: kernel.name(),
                    operand: wanted.name,
                    expected: wanted.shape.clone(),
                    expected_dtype: wanted.dtype,
                    actual: tensor.shape().to_vec(),
                    actual_dtype: tensor.dtype(),
                });
            }
            let aliased = |other: usize| tensor.same(operands[other]);
            if wanted.access != Access::Read && (0..operands.len()).any(|other| other != i && aliased(other)) {
                return Err(Error::OperandAlias { kernel: kernel.name(), operand: wanted.name });
            }
        }
        let operands = operands.iter().map(|&tensor| tensor.clone()).collect();
        self.steps.push(Step { kernel: Box::new(kernel), operands });
        Ok(())
    }

    /// The steps so far.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    pub(crate) fn into_steps(self) -> Vec<Step> {
        self.steps
    }
}

/// A kernel's name, with its packed type where it has one: what variants are told by.
pub(crate) fn kernel_key(kernel: &dyn Kernel) -> String {
    let packed = kernel.operands().into_iter().map(|o| o.dtype).find(|d| !matches!(d, DType::F32 | DType::U32));
    packed.map_or(kernel.name().to_owned(), |dtype| format!("{}/{dtype}", kernel.name()))
}

/// The same with the shape of its weights, where it has some: what time is spent on.
pub(crate) fn profile_key(kernel: &dyn Kernel) -> String {
    let key = kernel_key(kernel);
    let weight = kernel.operands().into_iter().find(|o| o.name == "weight");
    weight.map_or(key, |w| {
        format!(
            "{} {}/{}",
            kernel.name(),
            w.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("×"),
            w.dtype
        )
    })
}
