//! Whether a file is the one that the catalog means.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

use super::Entry;
use crate::Error;

/// Checks size and SHA-256 of a file; `progress` gets the bytes read so far.
pub fn verify(entry: &Entry, path: &Path, progress: &mut dyn FnMut(u64)) -> Result<(), Error> {
    let io = |source| Error::Cache { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    if size != entry.bytes {
        return Err(Error::DownloadSize { file: entry.file_name.to_owned(), expected: entry.bytes, actual: size });
    }
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut done = 0;
    loop {
        let count = file.read(&mut buffer).map_err(io)?;
        let Some(part) = buffer.get(..count).filter(|part| !part.is_empty()) else { break };
        hasher.update(part);
        done += count as u64;
        progress(done);
    }
    let actual: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if actual == entry.sha256 {
        return Ok(());
    }
    Err(Error::DownloadDigest { file: entry.file_name.to_owned(), expected: entry.sha256.to_owned(), actual })
}

/// Notes beside `path` that its bytes were checked, with what would change if someone changed them: hashing a large
/// model on every start would take longer than loading it. The note is a convenience, so failing to write it is none.
pub fn remember(entry: &Entry, path: &Path) {
    if let Some(text) = note(entry, path)
        && let Err(error) = fs::write(note_path(path), text)
    {
        tracing::debug!(%error, path = %path.display(), "the check of a cached model cannot be noted");
    }
}

/// Whether `path` was checked and has not changed since.
pub fn is_remembered(entry: &Entry, path: &Path) -> bool {
    let noted = fs::read_to_string(note_path(path)).ok();
    noted.is_some() && noted == note(entry, path)
}

fn note(entry: &Entry, path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(format!("sha256 {} size {} modified {}\n", entry.sha256, metadata.len(), modified.as_nanos()))
}

fn note_path(path: &Path) -> PathBuf {
    super::fetch::beside(path, ".verified")
}
