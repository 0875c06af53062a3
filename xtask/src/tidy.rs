//! `cargo xtask tidy`: the crates' edges and the house rules that no compiler knows. It reads text and metadata only.

use std::path::Path;

use anyhow::{Result, bail};

use crate::workspace::{Metadata, files, metadata, root};

/// Each package, those of this repository that it may depend on, and those that only its tests and benches may.
const EDGES: &[(&str, &[&str], &[&str])] = &[
    ("doppler-core", &["doppler-kernels", "doppler-rdrr", "doppler-sampling"], &[]),
    ("doppler-kernels", &["doppler-rdrr", "doppler-sampling"], &["doppler-core"]),
    ("doppler-rdrr", &[], &[]),
    ("doppler-sampling", &[], &[]),
    ("examples", &["doppler-core"], &[]),
    ("xtask", &["doppler-core", "doppler-kernels", "doppler-rdrr"], &[]),
];
/// The one package that may know the GPU API.
const GPU_PACKAGE: &str = "doppler-core";

/// Longest `.rs` and `.wgsl` by the style guide: a guide, not a gate.
const LONG: &[(&str, usize)] = &[("rs", 400), ("wgsl", 300)];
const ARCHITECTURE_LINES: usize = 200;
/// Larger files are data.
const TEXT_BYTES: u64 = 1 << 20;
/// First labels of the hosts of package registries and their mirrors. Where packages come from is a setting of the
/// machine; an address in the tree would override or betray it.
const REGISTRY_LABELS: &[&str] =
    &["crates", "deb", "files", "index", "mirror", "mirrors", "pypi", "registry", "static"];

/// What was found; warnings do not fail.
#[derive(Default)]
struct Findings {
    errors: Vec<String>,
    warnings: Vec<String>,
}

/// Runs every check and prints what it finds.
///
/// # Errors
/// When a rule is broken.
pub fn run() -> Result<String> {
    let mut findings = Findings::default();
    edges(&metadata()?, &mut findings);
    let mut texts = 0;
    for file in files()? {
        let path = root().join(&file);
        if path.metadata().is_ok_and(|metadata| metadata.len() <= TEXT_BYTES)
            && let Ok(text) = std::fs::read_to_string(&path)
        {
            texts += 1;
            check_file(&file, &text, &mut findings);
        }
    }
    let read = |name: &str| std::fs::read_to_string(root().join(name)).unwrap_or_default();
    documents(&read("CHANGELOG.md"), &read("ARCHITECTURE.md"), &mut findings);
    kernels(&read("doppler-kernels/src/lib.rs"), &mut findings);
    findings.warnings.iter().for_each(|warning| println!("warning: {warning}"));
    findings.errors.iter().for_each(|error| println!("error: {error}"));
    match findings.errors.len() {
        0 => Ok(format!("{texts} files, {} warnings", findings.warnings.len())),
        count => bail!("{count} house rules broken; they are listed above"),
    }
}

/// The graph of ARCHITECTURE.md, and nothing else.
fn edges(metadata: &Metadata, findings: &mut Findings) {
    for package in &metadata.packages {
        let name = &package.name;
        let Some((_, normal, dev)) = EDGES.iter().find(|(package, ..)| package == name) else {
            findings.errors.push(format!("package `{name}` has no line in EDGES; add one to xtask/src/tidy.rs"));
            continue;
        };
        for dependency in &package.dependencies {
            let to = dependency.name.as_str();
            let is_dev = dependency.kind.as_deref() == Some("dev");
            let allowed = normal.contains(&to) || (is_dev && dev.contains(&to));
            if dependency.path.is_some() && !allowed {
                findings.errors.push(format!("edge `{name}` -> `{to}` is not in ARCHITECTURE.md; take another way"));
            }
            if to.starts_with("wgpu") && name != GPU_PACKAGE {
                findings.errors.push(format!("`{name}` depends on `{to}`; only {GPU_PACKAGE} knows the GPU API"));
            }
        }
    }
}

fn check_file(file: &Path, text: &str, findings: &mut Findings) {
    let name = file.display();
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if extension == "rs" && !text.starts_with("//!") {
        findings.errors.push(format!("{name} does not begin with //!; say what it is and what it must not know"));
    }
    let lines = text.lines().count();
    if let Some((_, long)) = LONG.iter().find(|(long, limit)| *long == extension && lines > *limit) {
        findings.warnings.push(format!("{name} has {lines} lines, the guide is {long}; split it by idea"));
    }
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(path) = machine_path(line) {
            findings.errors.push(format!("{name}:{number} holds the machine path `{path}`; make it relative"));
        }
        if let Some(host) = registry_host(line) {
            findings.errors.push(format!("{name}:{number} names the registry host `{host}`; name the package alone"));
        }
    }
}

/// An absolute path that can only be one of somebody's machine.
fn machine_path(line: &str) -> Option<&'static str> {
    // In pieces, so that this file passes.
    let paths = [concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/tm", "p/w")];
    paths.into_iter().find(|path| {
        line.match_indices(path).any(|(at, _)| {
            // Inside a longer path or address it is somebody else's folder.
            !line[..at].ends_with(|before: char| before.is_alphanumeric() || "._-~}".contains(before))
        })
    })
}

/// The host of an address that begins like a package registry's.
fn registry_host(line: &str) -> Option<&str> {
    line.match_indices("://").find_map(|(at, separator)| {
        let host =
            line[at + separator.len()..].split(|c: char| !(c.is_alphanumeric() || c == '.' || c == '-')).next()?;
        let (label, _) = host.split_once('.')?;
        REGISTRY_LABELS.contains(&label).then_some(host)
    })
}

fn documents(changelog: &str, architecture: &str, findings: &mut Findings) {
    if !changelog.lines().any(|line| line.trim_end() == "## [Unreleased]") {
        findings.errors.push("CHANGELOG.md has no line `## [Unreleased]`; add it above the newest release".to_owned());
    }
    let lines = architecture.lines().count();
    if !(1..=ARCHITECTURE_LINES).contains(&lines) {
        let message = format!("ARCHITECTURE.md has {lines} lines; it must have 1 to {ARCHITECTURE_LINES}");
        findings.errors.push(message);
    }
}

/// Every kernel folder is in the registry, which tests, self-test, benches and tuner go by.
fn kernels(library: &str, findings: &mut Findings) {
    let Ok(folders) = std::fs::read_dir(root().join("doppler-kernels/src")) else { return };
    for folder in folders.flatten().filter(|entry| entry.path().join("cases.rs").is_file()) {
        let name = folder.file_name().to_string_lossy().into_owned();
        if !library.contains(&format!("{name}::ENTRY")) {
            findings.errors.push(format!("kernel `{name}` is not in KERNELS; add {name}::ENTRY to doppler-kernels"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::{Dependency, Package};

    fn package(name: &str, dependencies: &[(&str, Option<&str>, bool)]) -> Package {
        let dependencies = dependencies.iter().map(|(name, kind, here)| Dependency {
            name: (*name).to_owned(),
            kind: kind.map(str::to_owned),
            path: here.then(|| Path::new("here").to_path_buf()),
        });
        Package { name: name.to_owned(), dependencies: dependencies.collect(), features: Default::default() }
    }

    fn errors_of(package: Package) -> Vec<String> {
        let mut findings = Findings::default();
        edges(&Metadata { packages: vec![package] }, &mut findings);
        findings.errors
    }

    #[test]
    fn drawn_edges_pass() {
        assert!(errors_of(package("doppler-core", &[("doppler-rdrr", None, true), ("wgpu", None, false)])).is_empty());
        assert!(errors_of(package("doppler-kernels", &[("doppler-core", Some("dev"), true)])).is_empty());
        assert!(errors_of(package("doppler-rdrr", &[("serde", None, false)])).is_empty());
    }

    #[test]
    fn other_edges_fail() {
        assert_eq!(errors_of(package("doppler-kernels", &[("doppler-core", None, true)])).len(), 1);
        assert_eq!(errors_of(package("doppler-kernels", &[("doppler-core", Some("build"), true)])).len(), 1);
        assert_eq!(errors_of(package("doppler-rdrr", &[("doppler-sampling", Some("dev"), true)])).len(), 1);
        assert_eq!(errors_of(package("examples", &[("wgpu", None, false)])).len(), 1);
        assert_eq!(errors_of(package("doppler-kernels", &[("wgpu-types", Some("dev"), false)])).len(), 1);
        assert_eq!(errors_of(package("doppler-new", &[])).len(), 1);
    }

    #[test]
    fn machine_paths_are_found() {
        for (before, after) in [("at ", "main"), ("\"", "x\""), ("", ""), ("file://", "x")] {
            for path in [concat!("/wo", "rk/"), concat!("/ho", "me/")] {
                assert_eq!(machine_path(&format!("{before}{path}{after}")), Some(path));
            }
        }
        for harmless in ["crates/work/mod.rs", "a/home/b", "~/home/", "work/", "${x}/work/", "/tmp/other"] {
            assert_eq!(machine_path(harmless), None, "{harmless}");
        }
    }

    #[test]
    fn registry_hosts_are_found() {
        for label in REGISTRY_LABELS {
            let address = format!("see https{}{label}.example/simple", "://");
            assert_eq!(registry_host(&address), Some(format!("{label}.example").as_str()));
        }
        for harmless in ["https://wgpu.rs", "https://arxiv.org/abs/1910.07467", "static.rs", "x://", "https://index"] {
            assert_eq!(registry_host(harmless), None, "{harmless}");
        }
    }

    #[test]
    fn files_open_with_what_they_are() {
        let check = |file: &str, text: &str| {
            let mut findings = Findings::default();
            check_file(Path::new(file), text, &mut findings);
            (findings.errors.len(), findings.warnings.len())
        };
        assert_eq!(check("a.rs", "//! A.\n"), (0, 0));
        assert_eq!(check("a.rs", "fn a() {}\n"), (1, 0));
        assert_eq!(check("a.rs", &format!("//! A.\n{}", "\n".repeat(400))), (0, 1));
        assert_eq!(check("a.wgsl", &"\n".repeat(300)), (0, 0));
        assert_eq!(check("a.md", &"\n".repeat(1000)), (0, 0));
    }

    #[test]
    fn documents_are_there() {
        let check = |changelog: &str, architecture: &str| {
            let mut findings = Findings::default();
            documents(changelog, architecture, &mut findings);
            findings.errors.len()
        };
        assert_eq!(check("# Changelog\n## [Unreleased]\n", "# Architecture\n"), 0);
        assert_eq!(check("# Changelog\n", ""), 2);
        assert_eq!(check("## [Unreleased]", &"line\n".repeat(201)), 1);
    }
}
