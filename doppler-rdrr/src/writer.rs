//! Writing a model's folder: shards as the bytes come, the manifest last, and the folder under its name only when all
//! is on the disk. Holds a few megabytes, never a tensor.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::shard::SHARD_BYTES;
use crate::shard_writer::{ShardWriter, WrittenShard};
use crate::tensor::{self, Span, TensorEntry};
use crate::{DType, Error, Manifest, ModelConfig, inference, shard, tokenizer};

/// Every tensor, and every piece of one, begins at a multiple of this: what GPUs ask of a binding's offset.
const ALIGNMENT: u64 = 256;
/// Ending of the folder that a model is written in; its name begins with a dot. [`crate::Model::open`] refuses such a
/// folder, whatever it holds.
const UNFINISHED: &str = ".partial";
/// A file that the writing process keeps locked, so that another can tell a folder in use from a forgotten one.
const LOCK: &str = "lock";

/// What a model is besides its tensors.
#[derive(Debug, Clone)]
pub struct NewModel {
    /// The model's name.
    pub model_id: String,
    /// The format's word for the kind of model: `transformer`.
    pub model_type: String,
    /// The numbers of the decoder.
    pub config: ModelConfig,
    /// The bytes of its `tokenizer.json`.
    pub tokenizer_json: Vec<u8>,
    /// The chat template, a Jinja text in Hugging Face's dialect.
    pub chat_template: Option<String>,
    /// Text of the token that begins a sequence.
    pub bos_token: Option<String>,
    /// Text of the token that ends a sequence.
    pub eos_token: Option<String>,
    /// Where the model comes from; kept as it is.
    pub source: Value,
}

/// Writes an RDRR folder, tensor by tensor. Dropped before [`Writer::finish`] it leaves nothing behind.
#[derive(Debug)]
pub struct Writer {
    out: PathBuf,
    // Fields drop in order: the files are closed before their folder is removed.
    shards: ShardWriter,
    lock: File,
    folder: TempDir,
    tensors: Vec<TensorEntry>,
    names: HashSet<String>,
    /// Where the next byte goes.
    shard: usize,
    position: u64,
    /// The spans that are still to be filled by the tensor begun last, the next one first.
    open_spans: Vec<Span>,
    /// Bytes written of that tensor.
    written: u64,
}

impl Writer {
    /// Begins the model that will stand in the folder `out`, which must not exist or be empty.
    ///
    /// # Errors
    /// [`Error::OutputExists`]; [`Error::Io`] where the folder beside `out` cannot be made.
    pub fn create(out: &Path) -> Result<Self, Error> {
        let out = out.to_owned();
        let io_error = |source| Error::Io { path: out.clone(), source };
        match fs::read_dir(&out).map(|mut entries| entries.next().is_none()) {
            Ok(true) => {}
            Ok(false) => return Err(Error::OutputExists { path: out }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(Error::OutputExists { path: out });
            }
            Err(error) => return Err(io_error(error)),
        }
        let Some(name) = out.file_name().map(|name| name.to_string_lossy().into_owned()) else {
            return Err(io_error(io::Error::new(io::ErrorKind::InvalidInput, "not a folder's name")));
        };
        let parent = parent_of(&out);
        fs::create_dir_all(parent).map_err(io_error)?;
        let prefix = format!(".{name}.");
        remove_forgotten(parent, &prefix);
        let folder =
            tempfile::Builder::new().prefix(&prefix).suffix(UNFINISHED).tempdir_in(parent).map_err(io_error)?;
        let lock = File::create(folder.path().join(LOCK)).map_err(io_error)?;
        // Where locks do not work a forgotten folder is never removed; nothing else depends on it.
        let _ = lock.try_lock();
        Ok(Writer {
            shards: ShardWriter::new(folder.path())?,
            out,
            lock,
            folder,
            tensors: Vec::new(),
            names: HashSet::new(),
            shard: 0,
            position: 0,
            open_spans: Vec::new(),
            written: 0,
        })
    }

    /// Begins a tensor. Its bytes follow by [`Writer::write`], as many as `dtype` and `shape` need.
    ///
    /// # Errors
    /// [`Error::TensorSize`] when the one before is not complete, [`Error::DuplicateTensor`], [`Error::TensorShape`].
    pub fn begin_tensor(&mut self, name: &str, dtype: DType, shape: &[usize]) -> Result<(), Error> {
        self.check_complete()?;
        tensor::check_name(name)?;
        let dims: Vec<u64> = shape.iter().map(|dim| *dim as u64).collect();
        let bytes = tensor::checked_shape(&dims).and_then(|shape| dtype.tensor_bytes(&shape)).map(|n| n as u64);
        let cols = shape.last().copied().unwrap_or(1);
        let (Some(bytes), Some(row_bytes)) = (bytes, dtype.row_bytes(cols)) else {
            return Err(Error::TensorShape { tensor: name.to_owned(), dtype, shape: dims });
        };
        if !self.names.insert(name.to_owned()) {
            return Err(Error::DuplicateTensor { tensor: name.to_owned() });
        }
        let spans = self.place(bytes, row_bytes as u64, dtype.block_bytes() as u64);
        self.open_spans = spans.iter().rev().copied().collect();
        self.written = 0;
        let role = Some(tensor::role(name, shape).to_owned());
        let (name, shape) = (name.to_owned(), shape.to_vec());
        self.tensors.push(TensorEntry { name, dtype, shape, transposed: false, row_bytes, spans, role });
        Ok(())
    }

    /// Where a tensor goes: whole into one shard if it fits in one, else in pieces of whole rows.
    fn place(&self, bytes: u64, row_bytes: u64, block_bytes: u64) -> Vec<Span> {
        let offset = self.position.next_multiple_of(ALIGNMENT);
        let fits = offset.checked_add(bytes).is_some_and(|end| end <= SHARD_BYTES);
        if fits {
            return vec![Span { shard: self.shard, offset, size: bytes }];
        }
        // A row that is itself longer than a shard can only be cut between blocks.
        let unit = if row_bytes <= SHARD_BYTES { row_bytes } else { block_bytes };
        let piece = SHARD_BYTES / unit * unit;
        let first = if self.position == 0 { self.shard } else { self.shard + 1 };
        let starts = (0..bytes).step_by(usize::try_from(piece).unwrap_or(usize::MAX));
        starts.zip(first..).map(|(at, shard)| Span { shard, offset: 0, size: piece.min(bytes - at) }).collect()
    }

    /// Appends bytes to the tensor begun last.
    ///
    /// # Errors
    /// [`Error::NoTensorBegun`]; [`Error::TensorSize`] when they are too many; [`Error::Io`], for example on a full disk.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        if self.tensors.is_empty() {
            return Err(Error::NoTensorBegun);
        }
        let room: u64 = self.open_spans.iter().map(|span| span.size).sum();
        if bytes.len() as u64 > room {
            return Err(self.wrong_size(self.written + bytes.len() as u64));
        }
        self.written += bytes.len() as u64;
        while let Some(span) = self.open_spans.last_mut().filter(|_| !bytes.is_empty()) {
            if span.shard != self.shard {
                self.shards.next_shard()?;
                (self.shard, self.position) = (span.shard, 0);
            }
            let padding = usize::try_from(span.offset - self.position).unwrap_or(0);
            self.shards.write(&[0; ALIGNMENT as usize][..padding])?;
            let length = bytes.len().min(usize::try_from(span.size).unwrap_or(usize::MAX));
            let (now, later) = bytes.split_at(length);
            self.shards.write(now)?;
            bytes = later;
            span.offset += length as u64;
            span.size -= length as u64;
            self.position = span.offset;
            if span.size == 0 {
                self.open_spans.pop();
            }
        }
        Ok(())
    }

    /// Writes what remains and gives the folder its name.
    ///
    /// # Errors
    /// [`Error::TensorSize`] when the last tensor is not complete, [`Error::NoTensors`], what the reader would say of
    /// the manifest, [`Error::Json`] for the tokenizer, [`Error::Io`]. Nothing is left behind then.
    pub fn finish(mut self, model: NewModel) -> Result<Manifest, Error> {
        self.check_complete()?;
        if self.tensors.is_empty() {
            return Err(Error::NoTensors { path: self.out });
        }
        inference::validate(&model.config)?;
        tokenizer::check_size(&model.tokenizer_json)?;
        serde_json::from_slice::<serde::de::IgnoredAny>(&model.tokenizer_json)
            .map_err(|source| Error::Json { file: "tokenizer.json".to_owned(), source })?;
        let shards = self.shards.finish()?;
        let json = manifest_json(&model, &shards, &self.tensors);
        let bytes = serde_json::to_vec_pretty(&json)
            .map_err(|source| Error::Json { file: "manifest.json".to_owned(), source })?;
        let manifest = Manifest::parse(&bytes)?;
        manifest.config()?;
        write_synced(&self.folder.path().join("tokenizer.json"), &model.tokenizer_json)?;
        let lock = self.folder.path().join(LOCK);
        drop(self.lock);
        fs::remove_file(&lock).map_err(|source| Error::Io { path: lock.clone(), source })?;
        write_synced(&self.folder.path().join("manifest.json"), &bytes)?;
        sync_folder(self.folder.path())?;
        rename(self.folder, &self.out)?;
        Ok(manifest)
    }

    fn check_complete(&self) -> Result<(), Error> {
        if self.open_spans.is_empty() { Ok(()) } else { Err(self.wrong_size(self.written)) }
    }

    fn wrong_size(&self, actual: u64) -> Error {
        match self.tensors.last() {
            Some(TensorEntry { name, dtype, shape, spans, .. }) => Error::TensorSize {
                tensor: name.clone(),
                dtype: *dtype,
                shape: shape.clone(),
                expected: spans.iter().map(|span| span.size).sum(),
                actual,
            },
            None => Error::NoTensorBegun,
        }
    }
}

/// Whether this is the folder of a conversion that has not ended, or never will.
pub(crate) fn is_unfinished(folder: &Path) -> bool {
    // The real name counts: a link to such a folder, or `.` inside one, is the same folder.
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') && name.ends_with(UNFINISHED)
}

/// Removes what interrupted conversions to the same folder left: their lock is nobody's.
fn remove_forgotten(parent: &Path, prefix: &str) {
    // Best effort: whatever cannot be removed is only wasted space.
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        // The random part has no dot, so a model called `a` never touches the folders of one called `a.b`.
        let random = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(UNFINISHED));
        if random.is_some_and(|random| !random.is_empty() && !random.contains('.'))
            && File::open(entry.path().join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok())
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|source| Error::Io { path: path.to_owned(), source })
}

/// Makes the names in a folder as lasting as the files. Other systems than Unix do this by themselves.
fn sync_folder(path: &Path) -> Result<(), Error> {
    if cfg!(unix) {
        let synced = File::open(path).and_then(|folder| folder.sync_all());
        synced.map_err(|source| Error::Io { path: path.to_owned(), source })?;
    }
    Ok(())
}

fn rename(folder: TempDir, out: &Path) -> Result<(), Error> {
    let io_error = |source| Error::Io { path: out.to_owned(), source };
    // Some systems do not rename over a folder, even an empty one. One that is no longer empty stays.
    match fs::remove_dir(out) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            return Err(Error::OutputExists { path: out.to_owned() });
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error(error)),
        _ => {}
    }
    fs::rename(folder.path(), out).map_err(io_error)?;
    // The folder has another name now: there is nothing to remove.
    let _ = folder.keep();
    sync_folder(parent_of(out))
}

fn manifest_json(model: &NewModel, shards: &[WrittenShard], tensors: &[TensorEntry]) -> Value {
    let mut offset = 0;
    let mut list = Vec::new();
    for (index, written) in shards.iter().enumerate() {
        list.push(shard::to_json(index, offset, written.size, &written.digests));
        offset += written.size;
    }
    let config = &model.config;
    let eos = match config.eos_token_ids.as_slice() {
        [] => Value::Null,
        [id] => json!(id),
        ids => json!(ids),
    };
    let weights = main_dtype(tensors, |_| true);
    let embeddings = main_dtype(tensors, |role| role == "embedding");
    let map: Map<String, Value> = tensors.iter().map(|entry| (entry.name.clone(), entry.to_json())).collect();
    json!({
        "version": 1,
        "modelId": model.model_id,
        "modelType": model.model_type,
        "quantization": weights.map(DType::name),
        "quantizationInfo": {
            "weights": weights.map(tag),
            "embeddings": embeddings.map(tag),
            "lmHead": main_dtype(tensors, |role| role == "lm_head").map(tag),
            "layout": "row",
        },
        "hashAlgorithm": "sha256",
        "architecture": inference::architecture_json(config),
        "inference": inference::inference_json(config, model.chat_template.as_deref()),
        "eos_token_id": eos,
        "tokenizer": {
            "type": "bundled",
            "file": "tokenizer.json",
            "vocabSize": config.vocab_size,
            "bosTokenId": config.bos_token_id,
            "eosTokens": config.eos_token_ids,
            "addBosToken": config.bos_token_id.is_some(),
            "addEosToken": false,
            "bosToken": model.bos_token,
            "eosToken": model.eos_token,
        },
        "moeConfig": null,
        "metadata": {
            "writer": concat!("doppler-rdrr ", env!("CARGO_PKG_VERSION")),
            "source": model.source,
            "hasTokenizer": true,
        },
        "totalSize": offset,
        "shards": list,
        "tensorCount": tensors.len(),
        "tensors": map,
    })
}

/// The format that holds the most elements among the tensors of some roles.
fn main_dtype(tensors: &[TensorEntry], of_role: impl Fn(&str) -> bool) -> Option<DType> {
    let chosen = tensors.iter().filter(|entry| entry.role.as_deref().is_some_and(&of_role));
    let mut elements: Vec<(DType, usize)> = Vec::new();
    for entry in chosen {
        let count = entry.rows() * entry.cols();
        match elements.iter_mut().find(|(dtype, _)| *dtype == entry.dtype) {
            Some((_, sum)) => *sum += count,
            None => elements.push((entry.dtype, count)),
        }
    }
    elements.into_iter().max_by_key(|(_, sum)| *sum).map(|(dtype, _)| dtype)
}

/// The format's short word for a dtype: `q4k`, `q8_0`, `f16`.
fn tag(dtype: DType) -> String {
    dtype.name().to_lowercase().replace("_k", "k")
}
