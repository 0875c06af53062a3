//! Opening a model's folder: every file is there and has its size, every tensor lies where it can. Reads weights
//! through memory maps and never copies them unasked.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use memmap2::Mmap;

use crate::json::MAX_JSON_BYTES;
use crate::manifest::Manifest;
use crate::tensor::{self, TensorEntry};
use crate::{Error, ModelConfig, layout, shard, writer};

const MANIFEST: &str = "manifest.json";

/// An opened RDRR folder.
pub struct Model {
    path: PathBuf,
    manifest: Manifest,
    config: ModelConfig,
    shards: Vec<Mmap>,
    tensors: Vec<TensorEntry>,
    by_name: HashMap<String, usize>,
}

impl std::fmt::Debug for Model {
    /// In one line; the manifest alone may have thousands.
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{} in {}, {} tensors", self.manifest.model_id(), self.path.display(), self.tensors.len())
    }
}

impl Model {
    /// Opens the model in the folder `path` and checks all but the shards' digests ([`Model::verify`] does those).
    ///
    /// # Errors
    /// The first thing that is missing, wrong or not supported, by name.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let path = path.to_owned();
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Err(Error::NotAFolder { path }),
            Err(source) => return Err(Error::Io { path, source }),
        }
        if writer::is_unfinished(&path) {
            return Err(Error::Unfinished { path });
        }
        let bytes = read_capped(&path.join(MANIFEST)).map_err(|error| match error {
            Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Error::NoManifest { path: path.clone() }
            }
            other => other,
        })?;
        let manifest = Manifest::parse(&bytes)?;
        let config = manifest.config()?;
        let external = manifest.tensors_file().map(|file| read_capped(&path.join(file))).transpose()?;
        let tensors = manifest.tensors(external.as_deref())?;
        if tensors.is_empty() {
            return Err(Error::NoTensors { path });
        }
        let shards = manifest.shards().iter().map(|s| shard::map(&path, s)).collect::<Result<Vec<_>, _>>()?;
        let by_name = tensor::index_by_name(&tensors);
        Ok(Model { path, manifest, config, shards, tensors, by_name })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The model's manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The numbers of the decoder.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// All tensors in the manifest's order.
    #[must_use]
    pub fn tensors(&self) -> &[TensorEntry] {
        &self.tensors
    }

    /// The tensor of that name.
    ///
    /// # Errors
    /// [`Error::MissingTensor`].
    pub fn tensor(&self, name: &str) -> Result<&TensorEntry, Error> {
        let index = self.by_name.get(name).copied();
        index.and_then(|i| self.tensors.get(i)).ok_or_else(|| Error::MissingTensor { tensor: name.to_owned() })
    }

    /// Checks that every tensor that the config calls for is there, in its shape.
    ///
    /// # Errors
    /// [`Error::MissingTensor`], [`Error::UnexpectedShape`].
    pub fn check_tensors(&self) -> Result<(), Error> {
        let mut expected = crate::families::expected_tensors(&self.config);
        expected.try_for_each(|(name, shape)| self.tensor_of_shape(&name, &shape).map(drop))
    }

    /// The tensor of that name, which must have that shape.
    ///
    /// # Errors
    /// [`Error::MissingTensor`], [`Error::UnexpectedShape`].
    pub fn tensor_of_shape(&self, name: &str, shape: &[usize]) -> Result<&TensorEntry, Error> {
        let entry = self.tensor(name)?;
        if entry.shape == shape {
            return Ok(entry);
        }
        let (expected, actual) = (shape.to_vec(), entry.shape.clone());
        Err(Error::UnexpectedShape { tensor: name.to_owned(), expected, actual })
    }

    /// The tensor's stored bytes, piece by piece, straight from the memory map.
    ///
    /// # Panics
    /// Never for an entry of this model; an entry of another one may reach beyond its shards.
    pub fn spans<'a>(&'a self, entry: &'a TensorEntry) -> impl ExactSizeIterator<Item = &'a [u8]> {
        entry.spans.iter().map(|span| self.piece(span.shard, span.offset, span.size))
    }

    /// The tensor's stored bytes in one piece: borrowed where they lie together, copied where they do not.
    ///
    /// # Panics
    /// Never for an entry of this model; an entry of another one may reach beyond its shards.
    #[must_use]
    pub fn bytes<'a>(&'a self, entry: &'a TensorEntry) -> Cow<'a, [u8]> {
        let joined = entry.spans.windows(2).all(|pair| match pair {
            [a, b] => a.shard == b.shard && a.offset + a.size == b.offset,
            _ => true,
        });
        match entry.spans.first() {
            Some(first) if joined => Cow::Borrowed(self.piece(first.shard, first.offset, entry.num_bytes())),
            _ => Cow::Owned(self.spans(entry).collect::<Vec<_>>().concat()),
        }
    }

    /// Some stored bytes of the tensor: borrowed where they lie together, copied where they do not.
    ///
    /// # Panics
    /// Never for an entry of this model; an entry of another one may reach beyond its shards.
    #[must_use]
    pub fn byte_range<'a>(&'a self, entry: &'a TensorEntry, range: Range<usize>) -> Cow<'a, [u8]> {
        let mut start = 0;
        let mut gathered = Vec::new();
        for span in self.spans(entry) {
            let within = range.start.saturating_sub(start)..range.end.saturating_sub(start).min(span.len());
            if within.len() == range.len() {
                return Cow::Borrowed(span.get(within).unwrap_or_default());
            }
            gathered.extend_from_slice(span.get(within).unwrap_or_default());
            start += span.len();
        }
        Cow::Owned(gathered)
    }

    /// Some rows of the tensor in its [`TensorEntry::read_dtype`]: stored bytes where rows are stored, else turned.
    ///
    /// # Panics
    /// Never for rows of an entry of this model.
    #[must_use]
    pub fn read_rows<'a>(&'a self, entry: &'a TensorEntry, rows: Range<usize>) -> Cow<'a, [u8]> {
        if entry.transposed {
            Cow::Owned(layout::rows(self, entry, rows))
        } else {
            self.byte_range(entry, rows.start * entry.row_bytes..rows.end * entry.row_bytes)
        }
    }

    fn piece(&self, shard: usize, offset: u64, size: u64) -> &[u8] {
        let range = usize::try_from(offset).ok().zip(usize::try_from(size).ok());
        self.shards
            .get(shard)
            .zip(range)
            .and_then(|(map, (start, length))| map.get(start..)?.get(..length))
            .expect("spans lie inside their shards: checked in open")
    }

    /// The bytes of the model's `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::NoTokenizer`] when the file is absent, [`Error::UnsupportedField`] for another kind of tokenizer.
    pub fn tokenizer_json(&self) -> Result<Vec<u8>, Error> {
        let path = self.path.join(self.manifest.tokenizer_file()?);
        read_capped(&path).map_err(|error| match error {
            Error::Io { source, path } if source.kind() == io::ErrorKind::NotFound => Error::NoTokenizer { path },
            other => other,
        })
    }

    /// The chat template, where the model has one: a Jinja text in Hugging Face's dialect.
    #[must_use]
    pub fn chat_template(&self) -> Option<&str> {
        self.manifest.chat_template()
    }

    /// Text of the token that begins a sequence, for the chat template.
    #[must_use]
    pub fn bos_token(&self) -> Option<&str> {
        self.manifest.bos_token()
    }

    /// Text of the token that ends a sequence, for the chat template.
    #[must_use]
    pub fn eos_token(&self) -> Option<&str> {
        self.manifest.eos_token()
    }

    /// Compares the digest of every shard with the manifest's. `progress` is told the bytes done and their total.
    ///
    /// # Errors
    /// [`Error::ShardDigest`] for the first shard that differs.
    pub fn verify(&self, mut progress: impl FnMut(u64, u64)) -> Result<(), Error> {
        let total = self.manifest.total_size();
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(self.shards.len());
        let next = AtomicUsize::new(0);
        let (sender, receiver) = mpsc::channel();
        let mut corrupt: Option<(usize, String)> = None;
        std::thread::scope(|scope| {
            for _ in 0..threads {
                let (sender, next) = (sender.clone(), &next);
                scope.spawn(move || self.verify_shards(next, &sender));
            }
            drop(sender);
            let mut done = 0;
            for report in receiver {
                match report {
                    Report::Bytes(bytes) => {
                        done += bytes;
                        progress(done, total);
                    }
                    Report::Corrupt(index, digest) => {
                        if corrupt.as_ref().is_none_or(|(first, _)| index < *first) {
                            corrupt = Some((index, digest));
                        }
                    }
                }
            }
        });
        let Some((shard, actual)) = corrupt.and_then(|(i, actual)| Some((self.manifest.shards().get(i)?, actual)))
        else {
            return Ok(());
        };
        let path = self.path.join(&shard.filename);
        let algorithm = self.manifest.hash_algorithm().name();
        Err(Error::ShardDigest { path, algorithm, expected: shard.digest.clone(), actual })
    }

    /// One thread's part: takes the next shard until there are none.
    fn verify_shards(&self, next: &AtomicUsize, reports: &mpsc::Sender<Report>) {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let (Some(bytes), Some(shard)) = (self.shards.get(index), self.manifest.shards().get(index)) else {
                return;
            };
            // A closed channel means that nobody waits for the answer any more.
            let digest = shard::digest(self.manifest.hash_algorithm(), bytes, |n| {
                let _ = reports.send(Report::Bytes(n));
            });
            if digest != shard.digest {
                let _ = reports.send(Report::Corrupt(index, digest));
            }
        }
    }
}

enum Report {
    Bytes(u64),
    Corrupt(usize, String),
}

/// Reads a whole file of at most [`MAX_JSON_BYTES`].
fn read_capped(path: &Path) -> Result<Vec<u8>, Error> {
    let io_error = |source| Error::Io { path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(io_error)?;
    if !metadata.is_file() {
        return Err(io_error(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file")));
    }
    let too_large = |size| Error::TooLarge { what: path.display().to_string(), size, limit: MAX_JSON_BYTES };
    if metadata.len() > MAX_JSON_BYTES {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(io_error)?;
    file.take(MAX_JSON_BYTES + 1).read_to_end(&mut bytes).map_err(io_error)?;
    if bytes.len() as u64 > MAX_JSON_BYTES { Err(too_large(bytes.len() as u64)) } else { Ok(bytes) }
}
