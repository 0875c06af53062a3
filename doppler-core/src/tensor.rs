//! A tensor is a handle: shape, element type, label, and storage that only its device touches.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use doppler_rdrr::{DType, Model};

use crate::gpu::PooledBuffer;

/// A tensor on a [`crate::Device`]. Cloning copies the handle; the storage is freed (or returned to the pool) with the
/// last one.
#[derive(Clone)]
pub struct Tensor(Arc<Inner>);

struct Inner {
    label: String,
    shape: Vec<usize>,
    dtype: DType,
    storage: Storage,
}

/// Where the elements are.
pub(crate) enum Storage {
    Gpu(PooledBuffer),
    /// Some rows of another tensor on a GPU, from a byte on that can be bound.
    GpuRows {
        of: Tensor,
        offset: u64,
    },
    /// Bytes in u32 words, for alignment.
    Host(RwLock<Vec<u32>>),
    /// A piece of a tensor in a memory-mapped model file: never copied.
    Mapped(MappedPiece),
    /// Numbers, whatever the dtype; rounded to it when written.
    Oracle(RwLock<Vec<f32>>),
}

/// Some bytes of a tensor of an opened model.
#[derive(Clone, Debug)]
pub(crate) struct MappedPiece {
    pub model: Arc<Model>,
    pub name: Arc<str>,
    pub bytes: Range<usize>,
}

impl MappedPiece {
    /// Borrowed where they lie together in the file as they are wanted, else gathered, or turned (see
    /// [`Model::read_rows`]).
    pub fn bytes(&self, within: Range<usize>) -> Cow<'_, [u8]> {
        let entry = self.model.tensor(&self.name).expect("the tensor was there when its piece was made");
        let range = self.bytes.start + within.start..self.bytes.start + within.end;
        if !entry.transposed {
            return self.model.byte_range(entry, range);
        }
        let row_bytes = entry.cols() * entry.read_dtype().block_bytes();
        let first = range.start / row_bytes;
        let rows = self.model.read_rows(entry, first..range.end.div_ceil(row_bytes));
        Cow::Owned(rows[range.start - first * row_bytes..][..range.len()].to_vec())
    }

    /// The bytes in place.
    pub fn in_place(&self) -> Option<&[u8]> {
        match self.bytes(0..self.bytes.len()) {
            Cow::Borrowed(bytes) => Some(bytes),
            Cow::Owned(_) => None,
        }
    }
}

impl std::fmt::Debug for Tensor {
    /// Without the elements, which may be millions.
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{} {} {:?}", self.label(), self.dtype(), self.shape())
    }
}

impl Tensor {
    pub(crate) fn new(label: String, shape: &[usize], dtype: DType, storage: Storage) -> Tensor {
        Tensor(Arc::new(Inner { label, shape: shape.to_vec(), dtype, storage }))
    }

    /// What it is, for messages.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.0.label
    }

    /// Outermost first.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    /// How its elements are stored.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.0.dtype
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.shape.iter().product()
    }

    /// Whether it has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of its elements.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.dtype().tensor_bytes(self.shape()).expect("a tensor's rows are whole blocks: checked when it was made")
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.0.storage
    }

    /// Equal for handles of the same tensor.
    pub(crate) fn key(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }

    pub(crate) fn same(&self, other: &Tensor) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Reads a lock; a panic elsewhere while it was held does not matter for plain numbers.
pub(crate) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Writes a lock; see [`read`].
pub(crate) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
