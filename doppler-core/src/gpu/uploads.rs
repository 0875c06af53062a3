//! Weights on their way to a GPU: their tensors are made first, so that kernels can be recorded and compiled over them while
//! what they hold is still being uploaded.

use doppler_kernels::layout;

use super::Gpu;
use crate::tensor::MappedPiece;
use crate::{Error, Tensor};

/// Bytes of weights written at once.
const CHUNK: usize = 16 << 20;
/// Bytes of weights on their way before the way is waited for.
pub(crate) const MOST_QUEUED_BYTES: u64 = 6 * CHUNK as u64;

/// Tensors on a GPU, and the piece of a model's file that each is still to hold.
#[derive(Debug, Default)]
pub(crate) struct Uploads(Vec<(Tensor, MappedPiece)>);

impl Uploads {
    /// Has `to` hold what `piece` does.
    pub fn add(&mut self, to: &Tensor, piece: MappedPiece) {
        self.0.push((to.clone(), piece));
    }

    /// Uploads everything, waiting now and then so that host staging stays small; the last of it arrives before what is
    /// submitted later. `progress` hears bytes done and in total.
    ///
    /// Other threads may use the device meanwhile, for all that does not read these tensors.
    ///
    /// # Errors
    /// What the device reports.
    pub fn run(self, gpu: &Gpu, mut progress: impl FnMut(u64, u64)) -> Result<(), Error> {
        let total = self.0.iter().map(|(_, piece)| piece.bytes.len() as u64).sum();
        let (mut done, mut queued) = (0, 0);
        for (tensor, piece) in self.0 {
            let cols = tensor.shape().last().copied().unwrap_or(1);
            let group = tensor.dtype().row_bytes(cols).unwrap_or(1).max(1) * layout::GROUP_ROWS;
            let chunk = (CHUNK / group).max(1) * group;
            for start in (0..piece.bytes.len()).step_by(chunk) {
                let end = piece.bytes.len().min(start + chunk);
                gpu.write(&tensor, start as u64, &layout::on_gpu(tensor.dtype(), &piece.bytes(start..end), cols))?;
                queued += (end - start) as u64;
                if queued + chunk as u64 > MOST_QUEUED_BYTES {
                    gpu.wait(gpu.enqueue(None))?;
                    queued = 0;
                }
                done += (end - start) as u64;
                progress(done, total);
            }
        }
        // So that it sets out at once, and a device that was lost says so here.
        gpu.enqueue(None);
        gpu.check()
    }
}
