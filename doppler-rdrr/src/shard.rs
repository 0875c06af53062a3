//! Shards: the binary files of a model. Their records in the manifest, their memory maps and their digests.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::Mmap;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::Error;
use crate::json::{Object, brief};

/// Largest shard that is written; readers take any size.
pub(crate) const SHARD_BYTES: u64 = 64 << 20;
const MAX_SHARDS: usize = 100_000;

/// The function that the manifest's digests are made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashAlgorithm {
    /// SHA-256.
    Sha256,
    /// BLAKE3, 256 bits.
    Blake3,
}

impl HashAlgorithm {
    /// The name in manifests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            HashAlgorithm::Sha256 => "sha256",
            HashAlgorithm::Blake3 => "blake3",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        [HashAlgorithm::Sha256, HashAlgorithm::Blake3].into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// One shard as the manifest lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shard {
    /// Name of its file in the model's folder.
    pub filename: String,
    /// Bytes of the file.
    pub size: u64,
    /// The digest by the manifest's algorithm, in hexadecimal.
    pub digest: String,
}

/// Reads the manifest's `shards`. Real manifests give the same value as `hash` and `blake3` whatever made it, so the
/// manifest's algorithm decides which field counts, never the field's name alone.
pub(crate) fn parse_list(manifest: Object<'_>, algorithm: HashAlgorithm) -> Result<Vec<Shard>, Error> {
    let list = manifest.list("shards")?;
    if list.len() > MAX_SHARDS {
        let what = "the number of shards".to_owned();
        return Err(Error::TooLarge { what, size: list.len() as u64, limit: MAX_SHARDS as u64 });
    }
    let mut end = 0_u64;
    let mut names = HashSet::new();
    let mut shards = Vec::new();
    for (index, value) in list.iter().enumerate() {
        let at = format!("shards[{index}]");
        let Some(map) = value.as_object() else {
            return Err(Error::InvalidField { field: at, expected: "an object", found: brief(value) });
        };
        let object = Object::new(map, &at);
        let shard = parse_shard(object, index, end, algorithm)?;
        if !names.insert(shard.filename.clone()) {
            let (field, name) = (object.path("filename"), shard.filename);
            return Err(Error::InvalidField { field, expected: "a file name used once", found: name });
        }
        end = end.checked_add(shard.size).ok_or_else(|| Error::InvalidField {
            field: object.path("size"),
            expected: "a size that can be added up",
            found: shard.size.to_string(),
        })?;
        shards.push(shard);
    }
    let total = manifest.whole("totalSize")?;
    if total != end {
        return Err(Error::TotalSize { expected: total, actual: end });
    }
    Ok(shards)
}

fn parse_shard(object: Object<'_>, index: usize, end: u64, algorithm: HashAlgorithm) -> Result<Shard, Error> {
    if let Some(value) = object.maybe("index").filter(|value| value.as_u64() != Some(index as u64)) {
        return Err(object.invalid("index", "the position in the list", value));
    }
    if let Some(value) = object.maybe("offset").filter(|value| value.as_u64() != Some(end)) {
        return Err(object.invalid("offset", "the sum of the sizes before it", value));
    }
    let key = if object.map.contains_key("fileName") { "fileName" } else { "filename" };
    let filename = object.string(key)?;
    check_filename(object.path(key), filename)?;
    let size = object.whole("size")?;
    if size == 0 {
        return Err(object.invalid("size", "a whole number above 0", &Value::from(0)));
    }
    let order = match algorithm {
        HashAlgorithm::Sha256 => ["hash", "blake3"],
        HashAlgorithm::Blake3 => ["blake3", "hash"],
    };
    let field = order.into_iter().find(|name| object.maybe(name).is_some()).unwrap_or("hash");
    let digest = object.string(field)?;
    if digest.len() > 64 {
        return Err(object.invalid(field, "64 hexadecimal digits", &Value::from(digest)));
    }
    Ok(Shard { filename: filename.to_owned(), size, digest: digest.to_ascii_lowercase() })
}

/// Accepts nothing that could name a file outside the model's folder on any operating system.
pub(crate) fn check_filename(field: String, name: &str) -> Result<(), Error> {
    let plain = !name.is_empty()
        && name.len() <= 255
        && !name.starts_with('.')
        && !name.ends_with(['.', ' '])
        && !is_device(name)
        && !name.chars().any(|c| c.is_control() || matches!(c, '/' | '\\' | ':'));
    if plain { Ok(()) } else { Err(Error::FileName { field, name: name.chars().take(60).collect() }) }
}

/// Whether Windows takes the name for a device, in any folder and with any extension.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let port = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$")
        || port.is_some_and(|number| {
            matches!(number, "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³")
        })
}

pub(crate) fn to_json(index: usize, offset: u64, size: u64, digests: &Digests) -> Value {
    json!({
        "index": index,
        "filename": filename(index),
        "size": size,
        "offset": offset,
        "hash": digests.sha256,
        "blake3": digests.blake3,
    })
}

/// The file name of shard `index` in models written here.
pub(crate) fn filename(index: usize) -> String {
    format!("shard_{index:05}.bin")
}

/// Opens and maps a shard's file once its size is right.
pub(crate) fn map(folder: &Path, shard: &Shard) -> Result<Mmap, Error> {
    let path = folder.join(&shard.filename);
    let io_error = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => Error::MissingShard { path: path.clone() },
        _ => Error::Io { path: path.clone(), source },
    };
    // Asked before opening: opening a named pipe would wait for ever.
    let metadata = std::fs::metadata(&path).map_err(io_error)?;
    if !metadata.is_file() {
        return Err(Error::MissingShard { path });
    }
    if metadata.len() != shard.size {
        return Err(Error::ShardSize { path, expected: shard.size, actual: metadata.len() });
    }
    let file = File::open(&path).map_err(io_error)?;
    let map = map_file(&file).map_err(io_error)?;
    // The file may have changed since its size was asked.
    if map.len() as u64 != shard.size {
        return Err(Error::ShardSize { path, expected: shard.size, actual: map.len() as u64 });
    }
    Ok(map)
}

/// The one place where a file becomes memory; every other reader of the crate takes byte slices.
#[allow(unsafe_code)]
pub(crate) fn map_file(file: &File) -> io::Result<Mmap> {
    // SAFETY: the map is read-only. Model files are written once, under another name, and renamed into place; nothing
    // here changes one afterwards. Another program that cuts a file short while it is mapped can end this process with
    // a bus error, as with any memory map, but cannot make it write anywhere.
    unsafe { Mmap::map(file) }
}

/// Both digests of a shard, in hexadecimal.
#[derive(Debug, Clone)]
pub(crate) struct Digests {
    pub(crate) sha256: String,
    pub(crate) blake3: String,
}

/// Makes both digests at once while a shard is written.
#[derive(Default)]
pub(crate) struct Hashers {
    sha256: Sha256,
    blake3: blake3::Hasher,
}

impl Hashers {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.blake3.update(bytes);
    }

    pub(crate) fn finish(self) -> Digests {
        Digests { sha256: hex(&self.sha256.finalize()), blake3: self.blake3.finalize().to_hex().to_string() }
    }
}

/// The digest of `bytes` in hexadecimal; `progress` is told the number of bytes after each piece.
pub(crate) fn digest(algorithm: HashAlgorithm, bytes: &[u8], mut progress: impl FnMut(u64)) -> String {
    let pieces = bytes.chunks(4 << 20);
    match algorithm {
        HashAlgorithm::Sha256 => {
            let mut hasher = Sha256::new();
            pieces.for_each(|piece| {
                hasher.update(piece);
                progress(piece.len() as u64);
            });
            hex(&hasher.finalize())
        }
        HashAlgorithm::Blake3 => {
            let mut hasher = blake3::Hasher::new();
            pieces.for_each(|piece| {
                hasher.update(piece);
                progress(piece.len() as u64);
            });
            hasher.finalize().to_hex().to_string()
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names() {
        for name in ["shard_00000.bin", "model-00001-of-2.x", "a", "console", "com10", "com.x", "nul_1.bin"] {
            assert!(check_filename("f".into(), name).is_ok(), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "../x",
            "/etc/passwd",
            "a/b",
            "a\\b",
            "C:x",
            "a\0b",
            ".hidden",
            "a.",
            "a ",
            "NUL",
            "con.bin",
            "Aux .x",
            "COM1",
            "lpt9.tar.gz",
        ] {
            assert!(check_filename("f".into(), name).is_err(), "{name}");
        }
    }

    #[test]
    fn digests_of_abc() {
        let mut hashers = Hashers::default();
        hashers.update(b"a");
        hashers.update(b"bc");
        let both = hashers.finish();
        assert_eq!(both.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(both.sha256, digest(HashAlgorithm::Sha256, b"abc", |_| {}));
        assert_eq!(both.blake3, digest(HashAlgorithm::Blake3, b"abc", |_| {}));
        assert!(both.blake3.starts_with("6437b3ac38465133ffb63b75273a8db5"));
    }
}
