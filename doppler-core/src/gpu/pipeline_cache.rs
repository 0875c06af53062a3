//! Compiled pipelines on disk, where the driver lets the application keep them. It keys them by shader; the folder is the
//! adapter's and driver's, see `learned.rs`.

use super::adapter::compiling;
use crate::learned::Learned;

const FILE: &str = "pipelines.bin";
/// Before the hash and the driver's bytes.
const MAGIC: &[u8; 16] = b"doppler pipes 1\n";
/// A larger file is made anew: drivers never throw anything out of it.
const MOST_BYTES: u64 = 64 << 20;

/// A cache with what an earlier program left; `None` where the device has none or nothing is kept.
pub(super) fn open(device: &wgpu::Device, learned: &Learned) -> Option<wgpu::PipelineCache> {
    if !device.features().contains(wgpu::Features::PIPELINE_CACHE) || learned.folder().is_none() {
        return None;
    }
    let file = learned.read(FILE, MOST_BYTES);
    let data = file.as_deref().and_then(contents);
    if file.is_some() && data.is_none() {
        tracing::warn!("{FILE} is damaged; pipelines are compiled again");
    }
    let descriptor = wgpu::PipelineCacheDescriptor { label: Some("doppler"), data, fallback: true };
    let _compiling = compiling();
    // SAFETY: `data` must come from `PipelineCache::get_data`, of a compatible device. It does: `save` alone writes such
    // files, as a whole, into a folder of the user's own cache that is named by adapter and driver; the hash tells that the
    // bytes are those that were written, and wgpu checks vendor, device and driver in their header. Who can forge the file
    // can write to the user's cache, and so to the driver's own, which is trusted alike.
    #[expect(unsafe_code, reason = "the one way to give a driver its own bytes back")]
    let cache = unsafe { device.create_pipeline_cache(&descriptor) };
    Some(cache)
}

/// Keeps what the driver compiled.
pub(super) fn save(cache: &wgpu::PipelineCache, learned: &Learned) {
    let data = {
        let _compiling = compiling();
        cache.get_data()
    };
    let Some(data) = data else { return };
    let bytes = [MAGIC.as_slice(), blake3::hash(&data).as_bytes(), &data].concat();
    if bytes.len() as u64 <= MOST_BYTES && learned.read(FILE, MOST_BYTES).as_deref() != Some(&bytes) {
        learned.keep(FILE, &bytes);
    }
}

/// The driver's bytes of a file that is whole.
fn contents(file: &[u8]) -> Option<&[u8]> {
    let (hash, data) = file.strip_prefix(MAGIC)?.split_at_checked(blake3::OUT_LEN)?;
    (blake3::hash(data).as_bytes() == hash).then_some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_files_are_given_to_a_driver() {
        let whole = [MAGIC.as_slice(), blake3::hash(b"data").as_bytes(), b"data"].concat();
        assert_eq!(contents(&whole), Some(b"data".as_slice()));
        for len in 0..whole.len() {
            assert_eq!(contents(&whole[..len]), None);
        }
        for i in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[i] ^= 1;
            assert_eq!(contents(&flipped), None);
        }
    }
}
