//! GPU memory: buffers in size classes that are kept for the next taker, counted against a budget.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Locks; a panic elsewhere while it was held does not matter for plain maps.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A buffer that goes back to its pool when dropped.
#[derive(Debug)]
pub(crate) struct PooledBuffer {
    buffer: wgpu::Buffer,
    pool: Arc<Pool>,
    /// Weights have sizes that nothing else will ask for: they are freed, not kept.
    keep: bool,
}

impl PooledBuffer {
    pub fn buffer(&self) -> &wgpu::Buffer {
        &self.buffer
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        if self.keep {
            self.pool.give_back(self.buffer.clone());
        } else {
            lock(&self.pool.state).bytes -= self.buffer.size();
        }
    }
}

/// Free buffers by size, and the count of bytes.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    free: HashMap<(u64, wgpu::BufferUsages), Vec<wgpu::Buffer>>,
    bytes: u64,
    peak: u64,
}

/// Rounds up to a size class: at most an eighth is wasted, and weights of equal shape share classes anyway.
pub(crate) fn size_class(bytes: u64) -> u64 {
    let step = (bytes.next_power_of_two() / 16).max(256);
    bytes.max(4).next_multiple_of(step)
}

impl Pool {
    pub fn take(self: &Arc<Self>, size: u64, usage: wgpu::BufferUsages) -> Option<PooledBuffer> {
        let buffer = lock(&self.state).free.get_mut(&(size, usage))?.pop()?;
        Some(PooledBuffer { buffer, pool: self.clone(), keep: true })
    }

    /// Takes a new buffer into the count; `keep` says whether it will serve again.
    pub fn adopt(self: &Arc<Self>, buffer: wgpu::Buffer, keep: bool) -> PooledBuffer {
        let mut state = lock(&self.state);
        state.bytes += buffer.size();
        state.peak = state.peak.max(state.bytes);
        PooledBuffer { buffer, pool: self.clone(), keep }
    }

    fn give_back(&self, buffer: wgpu::Buffer) {
        lock(&self.state).free.entry((buffer.size(), buffer.usage())).or_default().push(buffer);
    }

    /// Destroys the buffers that nobody uses.
    pub fn trim(&self) {
        let mut state = lock(&self.state);
        let freed: Vec<_> = state.free.drain().flat_map(|(_, buffers)| buffers).collect();
        for buffer in freed {
            state.bytes -= buffer.size();
            buffer.destroy();
        }
    }

    /// Bytes of all buffers, free ones included.
    pub fn bytes(&self) -> u64 {
        lock(&self.state).bytes
    }

    /// The most bytes there ever were.
    pub fn peak(&self) -> u64 {
        lock(&self.state).peak
    }
}

#[cfg(test)]
mod tests {
    use super::size_class;

    #[test]
    fn size_classes() {
        assert_eq!(size_class(1), 256);
        assert_eq!(size_class(257), 512);
        for bytes in [1000, 123_456, 98_362_432, 1 << 31] {
            let class = size_class(bytes);
            assert!(class >= bytes && class <= bytes + bytes / 8 + 256 && class.is_multiple_of(256));
            assert_eq!(size_class(class), class);
        }
    }
}
