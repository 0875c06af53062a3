//! From a name to a model that can be opened: fetched and converted when it has to be, once.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use doppler_rdrr::convert::{CONVERTER_VERSION, ConvertOptions, convert};
use sha2::{Digest as _, Sha256};

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
            let name = Name::of_path(&path)?;
            (path, name)
        }
        catalog::Model::Entry(entry) => {
            let name = Name::new(entry.id, entry.id.as_bytes(), entry.sha256.as_bytes());
            let converted = cache_dir()?.join(name.folder());
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
    let converted = cache_dir.join(name.folder());
    if converted.join("manifest.json").is_file() {
        return Ok(converted);
    }
    fs::create_dir_all(&cache_dir).map_err(|source| Error::Cache { path: cache_dir.clone(), source })?;
    let outcome = convert(&source, &converted, &ConvertOptions::default(), |p| {
        progress(Progress::Convert { bytes: p.bytes_done, total: p.bytes_total });
    });
    match outcome {
        Ok(_) => {
            name.remove_superseded(&cache_dir);
            Ok(converted)
        }
        // Another process was faster.
        Err(_) if converted.join("manifest.json").is_file() => Ok(converted),
        Err(error) => Err(error.into()),
    }
}

/// What the converted form of a model is called in the cache.
struct Name {
    stem: String,
    /// Which model: its place, or its id in the catalog.
    which: String,
    /// Which state of it, and what converted it.
    state: String,
}

impl Name {
    fn new(stem: &str, which: &[u8], state: &[u8]) -> Name {
        let state = [&CONVERTER_VERSION.to_le_bytes(), state].concat();
        Name { stem: stem.to_owned(), which: short_digest(which), state: short_digest(&state) }
    }

    /// Changes with the source's place, size and time.
    fn of_path(path: &Path) -> Result<Name, Error> {
        let unreadable = |source| Error::Cache { path: path.to_owned(), source };
        let place = fs::canonicalize(path).map_err(unreadable)?;
        let files = if place.is_dir() {
            let entries = fs::read_dir(&place).map_err(unreadable)?;
            let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
            files.sort();
            files
        } else {
            vec![place.clone()]
        };
        let mut state = Vec::new();
        for file in files {
            let metadata = fs::metadata(&file).map_err(unreadable)?;
            let modified = metadata.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
            let name = file.file_name().unwrap_or_default().as_encoded_bytes();
            // The lengths keep apart what stands side by side.
            state.extend((name.len() as u64).to_le_bytes());
            state.extend(name);
            state.extend(metadata.len().to_le_bytes());
            state.extend(modified.unwrap_or_default().as_nanos().to_le_bytes());
        }
        let stem = place.file_stem().map_or("model".into(), |stem| stem.to_string_lossy());
        Ok(Name::new(&stem, place.as_os_str().as_encoded_bytes(), &state))
    }

    fn folder(&self) -> String {
        format!("{}-{}-{}.rdrr", self.stem, self.which, self.state)
    }

    /// Removes what the same model was converted to before it or the converter changed. A folder that is in use where
    /// such cannot be removed stays until the next time.
    fn remove_superseded(&self, cache_dir: &Path) {
        let prefix = format!("{}-{}-", self.stem, self.which);
        for entry in fs::read_dir(cache_dir).into_iter().flatten().filter_map(Result::ok) {
            let name = entry.file_name().to_string_lossy().into_owned();
            let state = name.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(".rdrr"));
            let of_this_model = |state: &str| state.len() == 16 && state.bytes().all(|b| b.is_ascii_hexdigit());
            if state.is_some_and(|state| of_this_model(state) && state != self.state)
                && let Err(error) = fs::remove_dir_all(entry.path())
            {
                tracing::debug!(%error, path = %entry.path().display(), "a superseded model cannot be removed");
            }
        }
    }
}

/// Enough of a SHA-256 to name something; the same in every version of this program and of its compiler.
fn short_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_source_replaces_its_old_form_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, source) = (folder.path().join("cache"), folder.path().join("model.gguf"));
        fs::write(&source, "one").unwrap();
        let old = Name::of_path(&source).unwrap();
        assert_eq!(old.folder(), Name::of_path(&source).unwrap().folder());
        fs::write(&source, "another").unwrap();
        let new = Name::of_path(&source).unwrap();
        assert_eq!((&old.which, old.state == new.state), (&new.which, false));
        let elsewhere = Name::new("model", b"elsewhere", b"");
        let others = [new.folder(), elsewhere.folder(), format!("model-{}-notes.rdrr", new.which), "model.rdrr".into()];
        for name in others.iter().chain([&old.folder()]) {
            fs::create_dir_all(cache.join(name)).unwrap();
        }
        new.remove_superseded(&cache);
        assert!(!cache.join(old.folder()).exists());
        others.iter().for_each(|name| assert!(cache.join(name).exists(), "{name}"));
    }

    #[test]
    fn names_do_not_depend_on_the_compiler() {
        assert_eq!(short_digest(b"abc"), "ba7816bf8f01cfea");
    }
}
