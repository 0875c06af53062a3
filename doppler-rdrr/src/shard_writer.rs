//! The thread that writes shards: it digests and stores bytes while the caller prepares the next ones.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;

use crate::Error;
use crate::shard::{self, Digests, Hashers};

/// Bytes handed to the thread at once.
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks that may wait for the thread.
const QUEUE: usize = 4;

/// A shard whose bytes are on the disk.
#[derive(Debug, Clone)]
pub(crate) struct WrittenShard {
    pub(crate) size: u64,
    pub(crate) digests: Digests,
}

enum Message {
    Bytes(Vec<u8>),
    NextShard,
}

/// Writes `shard_00000.bin`, `shard_00001.bin`, … into a folder.
#[derive(Debug)]
pub(crate) struct ShardWriter {
    folder: PathBuf,
    chunk: Vec<u8>,
    /// Chunks that the thread is done with, to be filled again.
    spare: mpsc::Receiver<Vec<u8>>,
    sender: Option<mpsc::SyncSender<Message>>,
    thread: Option<JoinHandle<Result<Vec<WrittenShard>, Error>>>,
}

impl ShardWriter {
    pub(crate) fn new(folder: &Path) -> Result<Self, Error> {
        let (sender, receiver) = mpsc::sync_channel(QUEUE);
        let (spare_sender, spare) = mpsc::channel();
        let (folder, for_thread) = (folder.to_owned(), folder.to_owned());
        let run = move || write_shards(&for_thread, &receiver, &spare_sender);
        let thread = std::thread::Builder::new().name("doppler-shards".to_owned()).spawn(run);
        let thread = Some(thread.map_err(|source| Error::Io { path: folder.clone(), source })?);
        Ok(ShardWriter { folder, chunk: Vec::new(), spare, sender: Some(sender), thread })
    }

    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK_BYTES - self.chunk.len()));
            self.chunk.extend_from_slice(now);
            bytes = later;
            if self.chunk.len() == CHUNK_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// The bytes that follow go into a new file.
    pub(crate) fn next_shard(&mut self) -> Result<(), Error> {
        self.flush()?;
        self.send(Message::NextShard)
    }

    /// Waits until all is on the disk.
    pub(crate) fn finish(&mut self) -> Result<Vec<WrittenShard>, Error> {
        self.flush()?;
        self.join()
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let mut empty = self.spare.try_recv().unwrap_or_default();
        empty.clear();
        empty.reserve_exact(CHUNK_BYTES);
        let full = std::mem::replace(&mut self.chunk, empty);
        self.send(Message::Bytes(full))
    }

    fn send(&mut self, message: Message) -> Result<(), Error> {
        let sent = self.sender.as_ref().is_some_and(|sender| sender.send(message).is_ok());
        // The thread ends early only because of an error, which it returns.
        if sent { Ok(()) } else { self.join().and_then(|_| Err(self.gone())) }
    }

    fn join(&mut self) -> Result<Vec<WrittenShard>, Error> {
        self.sender = None;
        let thread = self.thread.take().ok_or_else(|| self.gone())?;
        thread.join().unwrap_or_else(|_| Err(self.gone()))
    }

    fn gone(&self) -> Error {
        let source = io::Error::new(io::ErrorKind::BrokenPipe, "an earlier write to this folder went wrong");
        Error::Io { path: self.folder.clone(), source }
    }
}

impl Drop for ShardWriter {
    /// Ends the thread, so that no file is open when the folder is removed.
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // Whatever it returns, nobody asks any more.
            let _ = thread.join();
        }
    }
}

struct OpenShard {
    path: PathBuf,
    file: File,
    size: u64,
    hashers: Hashers,
}

impl OpenShard {
    fn create(folder: &Path, index: usize) -> Result<Self, Error> {
        let path = folder.join(shard::filename(index));
        let file = File::create_new(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
        Ok(OpenShard { path, file, size: 0, hashers: Hashers::default() })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(|source| Error::Io { path: self.path.clone(), source })?;
        self.hashers.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    fn finish(self) -> Result<WrittenShard, Error> {
        self.file.sync_all().map_err(|source| Error::Io { path: self.path.clone(), source })?;
        Ok(WrittenShard { size: self.size, digests: self.hashers.finish() })
    }
}

fn write_shards(
    folder: &Path,
    messages: &mpsc::Receiver<Message>,
    spare: &mpsc::Sender<Vec<u8>>,
) -> Result<Vec<WrittenShard>, Error> {
    let mut done = Vec::new();
    let mut open: Option<OpenShard> = None;
    for message in messages {
        match message {
            Message::Bytes(bytes) => {
                let shard = match &mut open {
                    Some(shard) => shard,
                    None => open.insert(OpenShard::create(folder, done.len())?),
                };
                shard.write(&bytes)?;
                // The other end may be gone already; then nobody needs the chunk.
                let _ = spare.send(bytes);
            }
            Message::NextShard => done.extend(open.take().map(OpenShard::finish).transpose()?),
        }
    }
    done.extend(open.map(OpenShard::finish).transpose()?);
    Ok(done)
}
