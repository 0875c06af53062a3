//! Where the repository is, what cargo says about it, and which files belong to it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// What `cargo metadata` says of the workspace's own packages.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    pub packages: Vec<Package>,
}

/// One package of the workspace.
#[derive(Debug, Deserialize)]
pub struct Package {
    pub name: String,
    pub dependencies: Vec<Dependency>,
    pub features: BTreeMap<String, Vec<String>>,
}

/// One line of a package's dependency tables.
#[derive(Debug, Deserialize)]
pub struct Dependency {
    pub name: String,
    /// `dev` or `build`; absent for a normal dependency.
    pub kind: Option<String>,
    /// Present for a package of this repository.
    pub path: Option<PathBuf>,
}

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The cargo that started this program, in the root.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(root());
    command
}

pub fn metadata() -> Result<Metadata> {
    let output = cargo()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .stderr(Stdio::inherit())
        .output()
        .context("cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata ended with {}", output.status);
    serde_json::from_slice(&output.stdout).context("the output of cargo metadata")
}

impl Metadata {
    /// `package/feature` for every package that has the feature.
    pub fn with_feature(&self, feature: &str) -> Vec<String> {
        let having = self.packages.iter().filter(|package| package.features.contains_key(feature));
        having.map(|package| format!("{}/{feature}", package.name)).collect()
    }
}

/// Every file that is tracked, or would be after `git add`, relative to the root.
pub fn files() -> Result<Vec<PathBuf>> {
    let listed = Command::new("git")
        .current_dir(root())
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .stderr(Stdio::null())
        .output();
    let mut files = match listed {
        Ok(output) if output.status.success() => {
            let names = String::from_utf8(output.stdout).context("git lists a file whose name is not UTF-8")?;
            let files = names.split_terminator('\0').map(PathBuf::from);
            // A file that was removed but not yet staged is listed too.
            files.filter(|file| root().join(file).is_file()).collect()
        }
        // An archive of the sources, or no git.
        _ => walk()?,
    };
    files.sort();
    Ok(files)
}

fn walk() -> Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![root().to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            if kind.is_dir() && !matches!(entry.file_name().to_str(), Some("target" | ".git")) {
                folders.push(path);
            } else if kind.is_file() {
                files.push(path.strip_prefix(root())?.to_path_buf());
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_have_their_features() {
        let metadata = metadata().unwrap();
        assert!(metadata.packages.iter().any(|package| package.name == "xtask"));
        assert!(metadata.with_feature("gpu-tests").contains(&"doppler-core/gpu-tests".to_owned()));
        assert!(metadata.with_feature("no-such-feature").is_empty());
    }

    #[test]
    fn both_ways_find_the_sources() {
        let this = Path::new("xtask/src/workspace.rs");
        for files in [files().unwrap(), walk().unwrap()] {
            assert!(files.iter().any(|file| file == this));
            assert!(!files.iter().any(|file| file.starts_with("target") || file.starts_with(".git/")));
        }
    }
}
