//! Models from the Hugging Face hub, streamed into the cache and continued where an interruption left them.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use futures_util::StreamExt;
use hf_hub::{HFClient, HFError};

use super::Entry;
use super::fetch::{Phase, Report};
use crate::Error;

/// For the first answer: a machine without a way to the hub shall not wait longer before it tries the next source.
const ANSWER: Duration = Duration::from_secs(5);

/// For each further step.
const STEP: Duration = Duration::from_secs(30);

/// Repository, revision and path of a file.
type Place<'a> = (&'a str, &'a str, &'a str);

/// Downloads a file to `partial`, after what is in it already.
pub fn download(entry: &Entry, place: Place, partial: &Path, report: Report) -> Result<(), Error> {
    let (sender, received) = mpsc::channel();
    // The client needs an asynchronous runtime. It gets a thread of its own, since a caller may have a runtime that must
    // not be blocked or entered twice.
    std::thread::scope(|scope| {
        let worker = scope.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|source| Error::HubRuntime { source })?;
            let result = runtime.block_on(stream(entry, place, partial, &sender));
            // A name look-up that hangs must not hold up the next source.
            runtime.shutdown_background();
            result
        });
        for bytes in received {
            report(Phase::Downloading, bytes);
        }
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

async fn stream(entry: &Entry, place: Place<'_>, partial: &Path, done: &mpsc::Sender<u64>) -> Result<(), Error> {
    let (repo, revision, file) = place;
    let failed = |source: HFError| Error::Hub { repo: repo.to_owned(), source: Box::new(source) };
    let late = |after: Duration| Error::HubSilent { repo: repo.to_owned(), seconds: after.as_secs() };
    let io = |source| Error::Cache { path: partial.to_owned(), source };

    // Retries belong to the next run, which continues; now the next source is better.
    let client = HFClient::builder().retry_max_attempts(0).build().map_err(failed)?;
    let (owner, name) = repo.split_once('/').unwrap_or(("", repo));
    let repository = client.model(owner, name);
    let exists = repository.file_exists().filename(file).revision(revision).send();
    if !tokio::time::timeout(ANSWER, exists).await.map_err(|_| late(ANSWER))?.map_err(failed)? {
        return Err(Error::HubFile { repo: repo.to_owned(), file: file.to_owned() });
    }

    let mut start = fs::metadata(partial).map_or(0, |m| m.len());
    if start >= entry.bytes {
        start = 0;
    }
    let range = (start > 0).then_some(start..entry.bytes);
    let request = repository.download_file_stream().filename(file).revision(revision).maybe_range(range).send();
    let (length, mut chunks) = tokio::time::timeout(STEP, request).await.map_err(|_| late(STEP))?.map_err(failed)?;
    if length == Some(entry.bytes) {
        // The whole comes, asked for or not.
        start = 0;
    }
    let mut out = File::options().create(true).truncate(false).write(true).open(partial).map_err(io)?;
    out.set_len(start).map_err(io)?;
    std::io::Seek::seek(&mut out, std::io::SeekFrom::Start(start)).map_err(io)?;
    while let Some(chunk) = tokio::time::timeout(STEP, chunks.next()).await.map_err(|_| late(STEP))? {
        let chunk = chunk.map_err(failed)?;
        start = start.saturating_add(chunk.len() as u64);
        if start > entry.bytes {
            return Err(Error::DownloadSize { file: file.to_owned(), expected: entry.bytes, actual: start });
        }
        out.write_all(&chunk).map_err(io)?;
        // Nobody listening is no reason to stop.
        let _ = done.send(start);
    }
    if start < entry.bytes {
        return Err(Error::HubShort { repo: repo.to_owned(), expected: entry.bytes, actual: start });
    }
    Ok(())
}
