//! From a name to a model that can be opened: fetched and converted when it has to be, once.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use doppler_rdrr::convert::{ConvertOptions, convert};

use crate::Error;
use crate::catalog::{self, FetchOptions};

/// What takes its time.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// A model of the catalog comes in.
    Fetch(catalog::Progress),
    /// A model in another format becomes RDRR.
    Convert {
        /// Bytes of weights done.
        bytes: u64,
        /// Bytes of weights.
        total: u64,
    },
}

/// The RDRR folder of `model`: a path to one, or a GGUF file, a Hugging Face folder or an id of the catalog, which are
/// converted into `cache_dir` (the user's cache folder when `None`) the first time.
///
/// Blocks while it fetches and converts.
/// # Errors
/// An unknown name, sources that all fail, and whatever is wrong with the model's files.
pub fn locate(model: &str, cache_dir: Option<&Path>, mut progress: impl FnMut(Progress)) -> Result<PathBuf, Error> {
    let cache_dir = || cache_dir.map_or_else(catalog::default_cache_dir, |dir| Ok(dir.to_owned()));
    let (source, name) = match catalog::resolve(model)? {
        catalog::Model::Path(path) if path.join("manifest.json").is_file() => return Ok(path),
        catalog::Model::Path(path) => {
            let name = converted_name(&path)?;
            (path, name)
        }
        catalog::Model::Entry(entry) => {
            // The digest ties the folder to the catalog's bytes.
            let name = format!("{}-{}", entry.id, &entry.sha256[..12]);
            let converted = cache_dir()?.join(format!("{name}.rdrr"));
            if converted.join("manifest.json").is_file() {
                return Ok(converted);
            }
            let fetched = catalog::fetch(entry, &cache_dir()?, &FetchOptions::default(), &mut |p| {
                progress(Progress::Fetch(p));
            })?;
            (fetched, name)
        }
    };
    let cache_dir = cache_dir()?;
    let converted = cache_dir.join(format!("{name}.rdrr"));
    if converted.join("manifest.json").is_file() {
        return Ok(converted);
    }
    fs::create_dir_all(&cache_dir).map_err(|source| Error::Cache { path: cache_dir.clone(), source })?;
    let outcome = convert(&source, &converted, &ConvertOptions::default(), |p| {
        progress(Progress::Convert { bytes: p.bytes_done, total: p.bytes_total });
    });
    match outcome {
        Ok(_) => Ok(converted),
        // Another process was faster.
        Err(_) if converted.join("manifest.json").is_file() => Ok(converted),
        Err(error) => Err(error.into()),
    }
}

/// A name for the converted form that changes with the source's place, size and time.
fn converted_name(path: &Path) -> Result<String, Error> {
    let unreadable = |source| Error::Cache { path: path.to_owned(), source };
    let place = fs::canonicalize(path).map_err(unreadable)?;
    let mut hasher = DefaultHasher::new();
    place.hash(&mut hasher);
    let files = if place.is_dir() {
        let entries = fs::read_dir(&place).map_err(unreadable)?;
        let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.sort();
        files
    } else {
        vec![place.clone()]
    };
    for file in files {
        let metadata = fs::metadata(&file).map_err(unreadable)?;
        let modified = metadata.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
        (file, metadata.len(), modified).hash(&mut hasher);
    }
    let stem = place.file_stem().map_or("model".into(), |stem| stem.to_string_lossy());
    Ok(format!("{stem}-{:016x}", hasher.finish()))
}
