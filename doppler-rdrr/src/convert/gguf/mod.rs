//! GGUF files, versions 2 and 3: header, metadata and tensor table over a byte slice, with every length checked before
//! it is believed. What the keys mean for a model family is no business of the parser.

mod describe;
mod value;

use std::collections::{HashMap, HashSet};

pub(crate) use describe::{ROPE_TENSORS, hf_config, hf_name, string, wrong_type};
use value::Cursor;
pub use value::{Array, Value, ValueType};

use crate::{DType, Error};

const MAX_KEYS: u64 = 1 << 16;
const MAX_KEY_BYTES: u64 = (1 << 16) - 1;
const MAX_TENSORS: u64 = 1_000_000;
const MAX_NAME_BYTES: u64 = 1024;
const MAX_RANK: u32 = 4;
const MAX_ALIGNMENT: u64 = 1 << 20;
const DEFAULT_ALIGNMENT: u64 = 32;

/// A parsed GGUF file. Borrows the file's bytes; tensor data is untouched until it is asked for.
#[derive(Debug)]
pub struct Gguf<'a> {
    bytes: &'a [u8],
    version: u32,
    alignment: u64,
    metadata: Vec<(&'a str, Value<'a>)>,
    keys: HashMap<&'a str, usize>,
    tensors: Vec<GgufTensor<'a>>,
}

/// One entry of the tensor table.
#[derive(Debug, Clone, PartialEq)]
pub struct GgufTensor<'a> {
    /// The name in the file, such as `blk.0.attn_q.weight`.
    pub name: &'a str,
    /// How the elements are stored.
    pub dtype: DType,
    /// The dimensions, outermost first (the file has them innermost first).
    pub shape: Vec<usize>,
    /// Where the data begins, from the start of the file.
    pub offset: usize,
    /// Size of the data.
    pub bytes: usize,
}

impl<'a> Gguf<'a> {
    /// Reads the header, the metadata and the tensor table of a whole file.
    ///
    /// # Errors
    /// One of the `Gguf…` variants of [`Error`], or [`Error::UnsupportedTensorType`], naming the key or the tensor.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut cursor = Cursor::new(bytes);
        let version = header(bytes, &mut cursor)?;
        let tensor_count = count(&mut cursor, "the number of tensors", MAX_TENSORS)?;
        let key_count = count(&mut cursor, "the number of metadata keys", MAX_KEYS)?;
        let mut metadata = Vec::new();
        let mut keys = HashMap::new();
        for index in 0..key_count {
            let key = cursor.string(MAX_KEY_BYTES, ("a metadata key", ""))?;
            if keys.insert(key, index as usize).is_some() {
                return Err(Error::GgufDuplicateKey { key: key.to_owned() });
            }
            metadata.push((key, Value::read(&mut cursor, key)?));
        }
        let mut gguf = Gguf { bytes, version, alignment: DEFAULT_ALIGNMENT, metadata, keys, tensors: Vec::new() };
        gguf.alignment = gguf.read_alignment()?;
        gguf.read_tensors(&mut cursor, tensor_count)?;
        Ok(gguf)
    }

    /// 2 or 3.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The metadata in the order of the file.
    pub fn metadata(&self) -> impl Iterator<Item = (&'a str, Value<'a>)> + '_ {
        self.metadata.iter().copied()
    }

    /// The value of a metadata key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        self.keys.get(key).and_then(|index| self.metadata.get(*index)).map(|(_, value)| *value)
    }

    /// The tensor table in the order of the file.
    #[must_use]
    pub fn tensors(&self) -> &[GgufTensor<'a>] {
        &self.tensors
    }

    /// The stored bytes of a tensor of this file.
    #[must_use]
    pub fn data(&self, tensor: &GgufTensor<'_>) -> &'a [u8] {
        // The table was checked against the file; a tensor of another file yields nothing rather than a panic.
        tensor.offset.checked_add(tensor.bytes).and_then(|end| self.bytes.get(tensor.offset..end)).unwrap_or_default()
    }

    fn read_alignment(&self) -> Result<u64, Error> {
        let alignment = match self.get("general.alignment") {
            None => return Ok(DEFAULT_ALIGNMENT),
            Some(Value::Unsigned(alignment)) => alignment,
            Some(other) => {
                return Err(Error::KeyType {
                    key: "general.alignment".to_owned(),
                    expected: "an unsigned number",
                    found: format!("{other:?}"),
                });
            }
        };
        if !alignment.is_power_of_two() || alignment > MAX_ALIGNMENT {
            return Err(Error::GgufAlignment { alignment });
        }
        Ok(alignment)
    }

    fn read_tensors(&mut self, cursor: &mut Cursor<'a>, count: u64) -> Result<(), Error> {
        let mut names = HashSet::new();
        let mut entries = Vec::new();
        for _ in 0..count {
            let entry = Entry::read(cursor)?;
            if !names.insert(entry.name) {
                return Err(Error::DuplicateSourceTensor { tensor: entry.name.to_owned() });
            }
            entries.push(entry);
        }
        // At most the file's length plus the alignment's cap: no overflow.
        let data_start = cursor.position().next_multiple_of(self.alignment);
        for entry in entries {
            self.tensors.push(entry.place(data_start, self.alignment, self.bytes.len() as u64)?);
        }
        self.check_layout(data_start)
    }

    /// Tensors follow each other in the file without sharing bytes or leaving room for hidden ones.
    fn check_layout(&self, data_start: u64) -> Result<(), Error> {
        let mut order: Vec<&GgufTensor<'_>> = self.tensors.iter().collect();
        order.sort_by_key(|tensor| tensor.offset);
        let mut end = data_start;
        let mut previous = "";
        for tensor in order {
            let offset = tensor.offset as u64;
            if offset < end {
                return Err(Error::GgufOverlap { first: previous.to_owned(), second: tensor.name.to_owned() });
            }
            let gap = offset - end;
            if gap >= self.alignment {
                return Err(Error::GgufGap { tensor: tensor.name.to_owned(), bytes: gap });
            }
            end = offset + tensor.bytes as u64;
            previous = tensor.name;
        }
        Ok(())
    }
}

/// Checks the magic and returns the version.
fn header(bytes: &[u8], cursor: &mut Cursor<'_>) -> Result<u32, Error> {
    let mut found = [0; 4];
    found.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    if &found != b"GGUF" {
        return Err(Error::GgufMagic { found });
    }
    cursor.take(4, ("the magic", ""))?;
    let version = cursor.u32(("the version", ""))?;
    match version {
        2 | 3 => Ok(version),
        _ if (1..=3).contains(&version.swap_bytes()) => Err(Error::GgufBigEndian { version: version.swap_bytes() }),
        _ => Err(Error::GgufVersion { version }),
    }
}

fn count(cursor: &mut Cursor<'_>, what: &'static str, limit: u64) -> Result<u64, Error> {
    let count = cursor.u64((what, ""))?;
    if count > limit {
        return Err(Error::TooLarge { what: what.to_owned(), size: count, limit });
    }
    Ok(count)
}

/// A tensor table entry whose offset still counts from the start of the data.
struct Entry<'a> {
    name: &'a str,
    dtype: DType,
    shape: Vec<u64>,
    offset: u64,
}

impl<'a> Entry<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, Error> {
        let name = cursor.string(MAX_NAME_BYTES, ("a tensor name", ""))?;
        let what = ("the entry of tensor", name);
        let rank = cursor.u32(what)?;
        if !(1..=MAX_RANK).contains(&rank) {
            let what = format!("the rank of tensor `{name}`");
            return Err(Error::TooLarge { what, size: rank.into(), limit: MAX_RANK.into() });
        }
        let mut shape = (0..rank).map(|_| cursor.u64(what)).collect::<Result<Vec<u64>, Error>>()?;
        shape.reverse();
        let number = cursor.u32(what)?;
        let dtype = dtype_of(number).ok_or_else(|| Error::UnsupportedTensorType {
            tensor: name.to_owned(),
            found: type_name(number).map_or_else(|| format!("type {number}"), str::to_owned),
        })?;
        Ok(Entry { name, dtype, shape, offset: cursor.u64(what)? })
    }

    /// Checks size and place against the file.
    fn place(self, data_start: u64, alignment: u64, length: u64) -> Result<GgufTensor<'a>, Error> {
        let Entry { name, dtype, shape, offset } = self;
        let tensor = || name.to_owned();
        let sizes: Option<Vec<usize>> = shape.iter().map(|&n| usize::try_from(n).ok().filter(|n| *n > 0)).collect();
        let Some((bytes, sizes)) = sizes.and_then(|sizes| Some((dtype.tensor_bytes(&sizes)?, sizes))) else {
            return Err(Error::GgufShape { tensor: tensor(), shape, dtype });
        };
        if !offset.is_multiple_of(alignment) {
            return Err(Error::GgufMisaligned { tensor: tensor(), offset, alignment });
        }
        let start = data_start.saturating_add(offset);
        if start.checked_add(bytes as u64).is_none_or(|end| end > length) {
            return Err(Error::GgufBounds { tensor: tensor(), offset: start, bytes: bytes as u64, length });
        }
        Ok(GgufTensor { name, dtype, shape: sizes, offset: start as usize, bytes })
    }
}

fn dtype_of(number: u32) -> Option<DType> {
    let name = type_name(number)?;
    DType::WEIGHTS.iter().copied().find(|dtype| dtype.name() == name)
}

/// GGUF's name of a tensor type; holes in the numbering were types once.
fn type_name(number: u32) -> Option<&'static str> {
    const NAMES: [&str; 43] = [
        "F32",
        "F16",
        "Q4_0",
        "Q4_1",
        "Q4_2",
        "Q4_3",
        "Q5_0",
        "Q5_1",
        "Q8_0",
        "Q8_1",
        "Q2_K",
        "Q3_K",
        "Q4_K",
        "Q5_K",
        "Q6_K",
        "Q8_K",
        "IQ2_XXS",
        "IQ2_XS",
        "IQ3_XXS",
        "IQ1_S",
        "IQ4_NL",
        "IQ3_S",
        "IQ2_S",
        "IQ4_XS",
        "I8",
        "I16",
        "I32",
        "I64",
        "F64",
        "IQ1_M",
        "BF16",
        "Q4_0_4_4",
        "Q4_0_4_8",
        "Q4_0_8_8",
        "TQ1_0",
        "TQ2_0",
        "IQ4_NL_4_4",
        "IQ4_NL_4_8",
        "IQ4_NL_8_8",
        "MXFP4",
        "NVFP4",
        "Q1_0",
        "Q2_0",
    ];
    NAMES.get(number as usize).copied()
}
