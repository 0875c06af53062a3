//! Sees to it that a Vulkan driver is present, so that the shaders really run; a software one will do.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::steps;

const LOADER: &str = "libvulkan.so.1";
const DEBIAN: &[&str] = &["mesa-vulkan-drivers", "libvulkan1"];
const ELSEWHERE: &str = "Debian and Ubuntu: `apt-get install mesa-vulkan-drivers libvulkan1`; Fedora: `dnf install \
    mesa-vulkan-drivers vulkan-loader`; Arch: `pacman -S vulkan-swrast vulkan-icd-loader`; Alpine: `apk add \
    mesa-vulkan-swrast vulkan-loader`; or name a driver's manifest in VK_DRIVER_FILES";

/// Finds a driver, or installs Debian's software one; says which drivers there are.
///
/// # Errors
/// When there is none and none can or may be installed; the message says what to install.
pub fn provide(install: bool) -> Result<String> {
    if cfg!(any(target_os = "macos", target_os = "windows")) {
        return Ok("not needed: Metal or Direct3D 12 comes with the system".to_owned());
    }
    let Err(missing) = Places::of_system().drivers() else { return found("found") };
    let apt = Path::new("/usr/bin/apt-get");
    ensure!(install, "{missing}, and the shaders must really run; leave out --no-install or install it. {ELSEWHERE}");
    ensure!(apt.exists(), "{missing}, and the shaders must really run; install it. {ELSEWHERE}");
    println!("{missing}: installing {}", DEBIAN.join(" "));
    apt_get(apt, &["update"])?;
    apt_get(apt, &[&["install", "--yes", "--no-install-recommends"], DEBIAN].concat())?;
    found("installed")
}

fn found(how: &str) -> Result<String> {
    match Places::of_system().drivers() {
        Ok(drivers) => Ok(format!("{how} {}", drivers.join(", "))),
        Err(missing) => bail!("{missing}, even after installing {}. {ELSEWHERE}", DEBIAN.join(" ")),
    }
}

/// As root, else through sudo where it asks no password.
fn apt_get(apt: &Path, arguments: &[&str]) -> Result<()> {
    let id = Command::new("id").arg("-u").output().context("cannot start id")?;
    let mut command = if id.stdout.trim_ascii() == b"0" {
        Command::new("env")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "env"]);
        sudo
    };
    command.arg("DEBIAN_FRONTEND=noninteractive").arg(apt).args(arguments);
    steps::run(&mut command)
        .with_context(|| format!("apt-get {} needs root; run it by hand. {ELSEWHERE}", arguments.join(" ")))?;
    Ok(())
}

/// Where loader and drivers may lie.
struct Places {
    /// Folders of shared libraries.
    libraries: Vec<PathBuf>,
    /// Manifests of drivers.
    manifests: BTreeSet<PathBuf>,
}

impl Places {
    /// Those in which the Vulkan loader looks, its variables included: they say what is installed, and change nothing
    /// of what is tested.
    fn of_system() -> Self {
        let variable = |name: &str| {
            let paths = std::env::var_os(name).unwrap_or_default();
            std::env::split_paths(&paths).filter(|path| !path.as_os_str().is_empty()).collect::<Vec<_>>()
        };
        let mut libraries = variable("LD_LIBRARY_PATH");
        let fixed = ["/usr/local/lib", "/usr/lib64", "/lib64", "/usr/lib", "/lib", "/run/opengl-driver/lib"];
        for folder in fixed.map(PathBuf::from) {
            // Debian keeps libraries one level deeper, in a folder for each architecture.
            let below = list(&folder).into_iter().filter(|path| path.is_dir());
            libraries.extend(below);
            libraries.push(folder);
        }
        let chosen = [variable("VK_DRIVER_FILES"), variable("VK_ICD_FILENAMES")].concat();
        let manifests = if chosen.is_empty() {
            let roots = ["/etc", "/usr/local/etc", "/usr/local/share", "/usr/share", "/run/opengl-driver/share"];
            let home = variable("HOME").into_iter().flat_map(|home| [home.join(".config"), home.join(".local/share")]);
            roots.map(PathBuf::from).into_iter().chain(home).flat_map(|root| list(&root.join("vulkan/icd.d"))).collect()
        } else {
            chosen.into_iter().flat_map(|path| if path.is_dir() { list(&path) } else { vec![path] }).collect()
        };
        Places { libraries, manifests }
    }

    /// Names of the drivers whose library is there, or what is missing.
    fn drivers(&self) -> Result<Vec<String>, &'static str> {
        if !self.has(LOADER) {
            return Err("the Vulkan loader libvulkan.so.1 is missing");
        }
        let drivers: Vec<_> = self.manifests.iter().filter(|manifest| self.works(manifest)).collect();
        if drivers.is_empty() {
            return Err("no Vulkan driver is installed");
        }
        Ok(drivers.iter().filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned())).collect())
    }

    fn has(&self, library: &str) -> bool {
        self.libraries.iter().any(|folder| folder.join(library).exists())
    }

    /// Whether a manifest names a library that exists. A container often has the manifest of its host's driver alone.
    fn works(&self, manifest: &Path) -> bool {
        let read = |path| serde_json::from_slice::<Value>(&std::fs::read(path).ok()?).ok();
        let library = read(manifest).and_then(|json| Some(json.get("ICD")?.get("library_path")?.as_str()?.to_owned()));
        match (library, manifest.parent()) {
            // A path is relative to the manifest; a bare name is looked up like any library.
            (Some(library), Some(folder)) if library.contains('/') => folder.join(library).exists(),
            (Some(library), _) => self.has(&library),
            (None, _) => false,
        }
    }
}

/// What is in a folder; nothing where there is none.
fn list(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(folder: &Path, manifests: &[(&str, &str)]) -> Places {
        let manifests = manifests.iter().map(|(name, text)| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path
        });
        Places { libraries: vec![folder.to_path_buf()], manifests: manifests.collect() }
    }

    #[test]
    fn loader_and_a_whole_driver_are_needed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let bare = ("bare.json", r#"{"ICD": {"library_path": "libdriver.so"}}"#);
        let relative = ("relative.json", r#"{"ICD": {"library_path": "./near.so"}}"#);
        let broken = ("broken.json", r#"{"ICD": 3}"#);
        let places = places(folder.path(), &[bare, relative, broken, ("text.json", "no JSON")]);
        assert_eq!(places.drivers(), Err("the Vulkan loader libvulkan.so.1 is missing"));
        std::fs::write(at(LOADER), "").unwrap();
        assert_eq!(places.drivers(), Err("no Vulkan driver is installed"));
        std::fs::write(at("libdriver.so"), "").unwrap();
        assert_eq!(places.drivers(), Ok(vec!["bare".to_owned()]));
        std::fs::write(at("near.so"), "").unwrap();
        assert_eq!(places.drivers(), Ok(vec!["bare".to_owned(), "relative".to_owned()]));
    }
}
