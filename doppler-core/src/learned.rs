//! What was learned about one adapter with one driver, in memory and in a folder of the user's cache: which variants are
//! the fastest, and which ones compute rightly. Knows no GPU API.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use doppler_kernels::tuning::{Read, text_hash};
use doppler_kernels::{Kernel, Tuned, Tuning};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::gpu::{AdapterReport, lock};

/// Tables that come with the crate.
const SHIPPED: &[&str] =
    &[include_str!("../tuning/llvmpipe-mesa-22.3.6.json"), include_str!("../tuning/nvidia-h200.json")];

/// The form of the file of checks.
const CHECKS_SCHEMA: u32 = 1;
/// The most that is read of a table or of the checks.
const MOST_BYTES: u64 = 4 << 20;

/// Where a device keeps what it learns about an adapter: measurements, self-tests, compiled pipelines.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum DeviceCache {
    /// The user's cache folder, by the rules of the platform; nowhere without the feature `catalog`.
    #[default]
    User,
    /// This folder.
    Folder(PathBuf),
    /// Nowhere: it is forgotten with the device.
    Off,
}

/// Outcomes of self-tests: kernel, variant and source hash, see [`check_id`].
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Checks {
    schema: u32,
    adapter: String,
    driver: String,
    passed: BTreeSet<String>,
    /// By how much.
    missed: BTreeMap<String, String>,
}

/// What is known about the adapter of a device.
#[derive(Debug)]
pub(crate) struct Learned {
    folder: Option<PathBuf>,
    /// Whether measurements count.
    tuned: bool,
    tuning: Mutex<Tuning>,
    checks: Mutex<Checks>,
    /// Self-tests since the device was opened.
    tests: AtomicU64,
}

/// How an outcome is told from others: by all that decides it on one adapter and driver.
pub(crate) fn check_id(kernel_key: &str, variant: &str, source_hash: &str) -> String {
    format!("{kernel_key} {variant} {source_hash}")
}

impl Learned {
    /// Reads what is there. What cannot be read is told and forgotten.
    pub fn open(cache: &DeviceCache, untuned: bool, adapter: &AdapterReport) -> Learned {
        let (name, driver) = (&adapter.name, format!("{}, {}", adapter.backend, adapter.driver));
        let folder = folder(cache).map(|folder| folder.join(folder_name(name, &driver)));
        let mut tuning = Tuning::new(name, &driver);
        let own = folder.as_ref().and_then(|folder| read(&folder.join("tuning.json"), MOST_BYTES));
        for json in SHIPPED.iter().map(|json| json.as_bytes()).chain(own.as_deref()) {
            match Tuning::read(json) {
                Ok(Read { tuning: read, .. }) if read.adapter != *name || read.driver != driver => {}
                Ok(Read { tuning: read, unknown }) => {
                    if !unknown.is_empty() {
                        tracing::warn!("the tuning table has kernels that this version does not have: {unknown:?}");
                    }
                    tuning.extend(read);
                }
                Err(error) => tracing::warn!("the tuning table of {name} is not used: {error}"),
            }
        }
        let fresh =
            || Checks { schema: CHECKS_SCHEMA, adapter: name.clone(), driver: driver.clone(), ..Checks::default() };
        let checks = folder.as_ref().and_then(|folder| read(&folder.join("checks.json"), MOST_BYTES));
        let checks = checks.map(|json| serde_json::from_slice::<Checks>(&json));
        let checks = match checks {
            Some(Ok(checks)) if (checks.schema, &checks.adapter, &checks.driver) == (CHECKS_SCHEMA, name, &driver) => {
                checks
            }
            Some(Err(error)) => {
                tracing::warn!("the self-tests of {name} are run again: {error}");
                fresh()
            }
            _ => fresh(),
        };
        Learned {
            folder,
            tuned: !untuned,
            tuning: Mutex::new(tuning),
            checks: Mutex::new(checks),
            tests: AtomicU64::new(0),
        }
    }

    /// The folder of this adapter, if anything is kept.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// A file of this adapter's folder, if there is one that is not too large.
    pub fn read(&self, name: &str, most_bytes: u64) -> Option<Vec<u8>> {
        read(&self.folder.as_ref()?.join(name), most_bytes)
    }

    /// What was measured of a kernel, where that counts.
    pub fn tuned(&self, kernel: &dyn Kernel) -> Option<Tuned> {
        if self.tuned { lock(&self.tuning).find(kernel).cloned() } else { None }
    }

    /// All that was measured.
    pub fn tuning(&self) -> Tuning {
        lock(&self.tuning).clone()
    }

    /// Adds measurements of this adapter, and keeps them.
    ///
    /// # Errors
    /// [`Error::TuningAdapter`] for those of another adapter or driver.
    pub fn add_tuning(&self, other: Tuning) -> Result<(), Error> {
        let mut tuning = lock(&self.tuning);
        if (&tuning.adapter, &tuning.driver) != (&other.adapter, &other.driver) {
            let name = |tuning: &Tuning| format!("{} ({})", tuning.adapter, tuning.driver);
            return Err(Error::TuningAdapter { expected: name(&tuning), actual: name(&other) });
        }
        other.kernels().iter().for_each(|tuned| tuning.insert(tuned.clone()));
        let json = tuning.to_json();
        drop(tuning);
        self.keep("tuning.json", json.as_bytes());
        Ok(())
    }

    /// What a self-test gave: `Ok`, or by how much it missed.
    pub fn outcome(&self, id: &str) -> Option<Result<(), String>> {
        let checks = lock(&self.checks);
        let missed = checks.missed.get(id).cloned().map(Err);
        missed.or_else(|| checks.passed.contains(id).then_some(Ok(())))
    }

    /// Notes what a self-test gave; [`Learned::save_checks`] keeps it.
    pub fn note(&self, id: String, outcome: Result<(), String>) {
        self.tests.fetch_add(1, Ordering::Relaxed);
        let mut checks = lock(&self.checks);
        match outcome {
            Ok(()) => drop(checks.passed.insert(id)),
            Err(miss) => {
                checks.passed.remove(&id);
                checks.missed.insert(id, miss);
            }
        }
    }

    /// Self-tests since the device was opened.
    pub fn tests(&self) -> u64 {
        self.tests.load(Ordering::Relaxed)
    }

    /// What missed: kernel, variant and source hash → by how much.
    pub fn missed(&self) -> BTreeMap<String, String> {
        lock(&self.checks).missed.clone()
    }

    /// Keeps the outcomes of self-tests.
    pub fn save_checks(&self) {
        let json = serde_json::to_vec_pretty(&*lock(&self.checks)).expect("texts are JSON");
        self.keep("checks.json", &json);
    }

    /// Writes a file of this adapter's folder. A device works without it: what hinders it is only told.
    pub fn keep(&self, name: &str, bytes: &[u8]) {
        if let Some(folder) = &self.folder
            && let Err(error) = write(folder, name, bytes)
        {
            tracing::warn!("{} is not kept: {error}", folder.join(name).display());
        }
    }
}

fn folder(cache: &DeviceCache) -> Option<PathBuf> {
    match cache {
        DeviceCache::Off => None,
        DeviceCache::Folder(folder) => Some(folder.clone()),
        #[cfg(feature = "catalog")]
        DeviceCache::User => crate::catalog::default_cache_dir().ok().map(|folder| folder.join("devices")),
        #[cfg(not(feature = "catalog"))]
        DeviceCache::User => None,
    }
}

/// A name for people with a hash for the machine: adapters and drivers may have any characters in theirs.
fn folder_name(adapter: &str, driver: &str) -> String {
    let plain: String = adapter.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
    format!("{plain}-{}", &text_hash(&[adapter, driver])[..16])
}

/// A file of a sensible size, if there is one.
fn read(path: &Path, most_bytes: u64) -> Option<Vec<u8>> {
    (fs::metadata(path).ok()?.len() <= most_bytes).then(|| fs::read(path).ok()).flatten()
}

/// Writes a file as a whole or not at all, whoever else writes or reads it.
fn write(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    fs::create_dir_all(folder)?;
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let temporary = folder.join(format!("{name}.{}-{count}.part", std::process::id()));
    let written = (|| {
        let mut file = fs::File::create_new(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&temporary, folder.join(name))
    })();
    if written.is_err() {
        drop(fs::remove_file(&temporary));
    }
    written
}

#[cfg(test)]
mod tests {
    use doppler_kernels::MatMul;
    use doppler_rdrr::DType;

    use super::*;

    const GEMV: MatMul =
        MatMul { rows: 1, out_features: 8, in_features: 64, weight: DType::F32, y_stride: 8, y_offset: 0 };

    fn adapter(driver: &str) -> AdapterReport {
        let [name, backend, kind] = ["A/B: c", "vulkan", "discrete"].map(str::to_owned);
        AdapterReport { name, backend, kind, driver: driver.to_owned(), software: false }
    }

    #[test]
    fn what_is_learned_is_there_the_next_time_on_the_same_driver_only() {
        let folder = tempfile::tempdir().unwrap();
        let cache = DeviceCache::Folder(folder.path().to_owned());
        let learned = Learned::open(&cache, false, &adapter("1"));
        let mut tuning = learned.tuning();
        let us = [("gemv", 1.0), ("gemm", 2.0)].map(|(name, us)| (name.to_owned(), us));
        tuning.insert(Tuned::new(&GEMV, "gemv", BTreeMap::from(us)));
        learned.add_tuning(tuning.clone()).unwrap();
        learned.note("matmul gemv 0".to_owned(), Ok(()));
        learned.note("matmul gemm 0".to_owned(), Err("off".to_owned()));
        learned.save_checks();

        let again = Learned::open(&cache, false, &adapter("1"));
        assert_eq!(again.tuned(&GEMV).unwrap().variant, "gemv");
        assert_eq!(again.outcome("matmul gemv 0"), Some(Ok(())));
        assert_eq!(again.outcome("matmul gemm 0"), Some(Err("off".to_owned())));
        assert!(Learned::open(&cache, true, &adapter("1")).tuned(&GEMV).is_none());
        let other = Learned::open(&cache, false, &adapter("2"));
        assert_eq!((other.tuned(&GEMV), other.outcome("matmul gemv 0")), (None, None));
        assert!(matches!(other.add_tuning(tuning), Err(Error::TuningAdapter { .. })));
        assert!(Learned::open(&DeviceCache::Off, false, &adapter("1")).tuned(&GEMV).is_none());
    }

    #[test]
    fn broken_files_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let cache = DeviceCache::Folder(folder.path().to_owned());
        let learned = Learned::open(&cache, false, &adapter("1"));
        learned.note("matmul gemv 0".to_owned(), Ok(()));
        learned.save_checks();
        for name in ["tuning.json", "checks.json"] {
            fs::write(learned.folder().unwrap().join(name), "{").unwrap();
        }
        assert_eq!(Learned::open(&cache, false, &adapter("1")).outcome("matmul gemv 0"), None);
    }

    #[test]
    fn shipped_tables_can_be_read() {
        for json in SHIPPED {
            let Read { tuning, unknown } = Tuning::read(json.as_bytes()).unwrap();
            assert!(unknown.is_empty() && !tuning.kernels().is_empty(), "{}", tuning.adapter);
        }
    }
}
