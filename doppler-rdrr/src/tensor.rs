//! Entries of the manifest's tensor map: what each tensor is and where its bytes lie. Knows the shards' sizes, not
//! their bytes.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::json::{Object, brief, whole};
use crate::layout::{self, Defaults};
use crate::shard::{SHARD_BYTES, Shard};
use crate::{DType, Error};

const MAX_TENSORS: usize = 1_000_000;
const MAX_NAME_BYTES: usize = 1024;
/// Spans of a tensor above one for each shard's worth of bytes: readers look through all of them for each.
const SPARE_SPANS: u64 = 64;
pub(crate) const MAX_RANK: usize = 8;

/// A run of a tensor's bytes in one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Index of the shard.
    pub shard: usize,
    /// First byte in the shard; any alignment in foreign models, a multiple of 256 in models written here.
    pub offset: u64,
    /// Number of bytes.
    pub size: u64,
}

/// One tensor of a model: a matrix of rows, packed along the last dimension of what is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TensorEntry {
    /// Its name, for example `model.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// How its elements are stored.
    pub dtype: DType,
    /// Outermost dimension first; empty for a scalar. Of the matrix itself, also where its transpose is stored.
    pub shape: Vec<usize>,
    /// Whether the file holds the transpose (`layout` column): its rows are this matrix's columns.
    pub transposed: bool,
    /// Stored bytes of one stored row. More than [`DType::row_bytes`] gives where a foreign writer padded rows to whole blocks.
    pub row_bytes: usize,
    /// Where the bytes lie, in order.
    pub spans: Vec<Span>,
    /// What the tensor is for (`embedding`, `norm`, `matmul`, …), where the manifest says so.
    pub role: Option<String>,
}

impl TensorEntry {
    /// Elements of a row: the last dimension.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Number of rows: all dimensions but the last.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.shape.split_last().map_or(1, |(_, rows)| rows.iter().product())
    }

    /// Stored bytes.
    #[must_use]
    pub fn num_bytes(&self) -> u64 {
        self.spans.iter().map(|span| span.size).sum()
    }

    /// How its elements are stored once its rows are read: as they are, but f32 where packed blocks run across the rows
    /// (a transposed matrix) and must be unpacked.
    #[must_use]
    pub fn read_dtype(&self) -> DType {
        if self.transposed && self.dtype.block_len() > 1 { DType::F32 } else { self.dtype }
    }

    /// Bytes of all rows once read: those stored, but for a transposed matrix, which is turned and perhaps unpacked.
    #[must_use]
    pub fn read_bytes(&self) -> u64 {
        if self.transposed {
            // No overflow: the number of elements was checked to be below 2^48.
            self.shape.iter().map(|dim| *dim as u64).product::<u64>() * self.read_dtype().block_bytes() as u64
        } else {
            self.num_bytes()
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut entry = Map::new();
        if let [span] = self.spans.as_slice() {
            entry.insert("shard".into(), span.shard.into());
            entry.insert("offset".into(), span.offset.into());
        } else {
            let span = |s: &Span| json!({ "shardIndex": s.shard, "offset": s.offset, "size": s.size });
            entry.insert("spans".into(), self.spans.iter().map(span).collect());
        }
        entry.insert("size".into(), self.num_bytes().into());
        entry.insert("shape".into(), self.shape.clone().into());
        entry.insert("dtype".into(), self.dtype.name().into());
        entry.insert("role".into(), self.role.clone().into());
        entry.insert("group".into(), group(&self.name).into());
        if self.transposed || self.dtype.block_len() > 1 {
            entry.insert("layout".into(), if self.transposed { "column" } else { "row" }.into());
        }
        Value::Object(entry)
    }
}

/// Reads a tensor map (the manifest's, or that of tensors.json); every span lies inside its shard, none overlap.
pub(crate) fn parse_map(
    map: &Map<String, Value>,
    shards: &[Shard],
    defaults: Defaults,
) -> Result<Vec<TensorEntry>, Error> {
    if map.len() > MAX_TENSORS {
        return Err(Error::TooLarge {
            what: "the number of tensors".to_owned(),
            size: map.len() as u64,
            limit: MAX_TENSORS as u64,
        });
    }
    let entry = |(name, value): (&String, &Value)| parse_entry(name, value, shards, defaults);
    let entries = map.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    check_overlaps(&entries)?;
    Ok(entries)
}

fn parse_entry(name: &str, value: &Value, shards: &[Shard], defaults: Defaults) -> Result<TensorEntry, Error> {
    check_name(name)?;
    let at = format!("tensors.{name}");
    let Some(map) = value.as_object() else {
        return Err(Error::InvalidField { field: at, expected: "an object", found: brief(value) });
    };
    let object = Object::new(map, &at);
    check_storage(object)?;
    let dtype_name = object.string("dtype")?;
    let dtype: DType = dtype_name
        .parse()
        .map_err(|_| Error::TensorDType { tensor: name.to_owned(), dtype: dtype_name.chars().take(60).collect() })?;
    let mut shape = parse_shape(name, dtype, object, "shape")?;
    let transposed = layout::is_transposed(object, dtype, shape.len(), defaults)?;
    if transposed && let Some(original) = object.maybe("originalShape") {
        // `shape` is then that of the transpose, else that of the matrix.
        shape.reverse();
        if parse_shape(name, dtype, object, "originalShape")? != shape {
            return Err(object.invalid("originalShape", "the shape backwards, as the layout is column", original));
        }
    }
    let mut stored_shape = shape.clone();
    if transposed {
        stored_shape.reverse();
    }
    let size = object.whole("size")?;
    let row_bytes = stored_row_bytes(name, dtype, &stored_shape, size, &at)?;
    let spans = parse_spans(name, object, size, shards)?;
    let stored: u64 = spans.iter().map(|span| span.size).sum();
    if stored != size {
        return Err(Error::TensorSize { tensor: name.to_owned(), dtype, shape, expected: size, actual: stored });
    }
    let role = object.maybe_string("role")?.map(str::to_owned);
    let entry = TensorEntry { name: name.to_owned(), dtype, shape, transposed, row_bytes, spans, role };
    if usize::try_from(entry.read_bytes()).is_err() {
        let shape = entry.shape.iter().map(|dim| *dim as u64).collect();
        return Err(Error::TensorShape { tensor: entry.name, dtype, shape });
    }
    Ok(entry)
}

pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        let what = format!("the length of the tensor name `{}…`", name.chars().take(60).collect::<String>());
        return Err(Error::TooLarge { what, size: name.len() as u64, limit: MAX_NAME_BYTES as u64 });
    }
    Ok(())
}

/// Rejects ways of storing that would read as plausible but wrong numbers.
fn check_storage(object: Object<'_>) -> Result<(), Error> {
    let unsupported = |name: &str, value: &Value, what| {
        Err(Error::UnsupportedField { field: object.path(name), found: brief(value), what })
    };
    if let Some(transform) = object.maybe("sourceTransform") {
        return unsupported("sourceTransform", transform, "weights that must be transformed when read are");
    }
    if let Some(storage) = object.maybe("storage") {
        let packing = storage.get("packing").and_then(Value::as_str);
        let companions = storage.get("companions").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
        if companions || !matches!(packing, None | Some("dense" | "q4k" | "q4_0" | "gguf-block-v2")) {
            let found = storage.get("packing").unwrap_or(storage);
            return unsupported("storage", found, "weights whose scales are stored in other tensors are");
        }
    }
    Ok(())
}

fn parse_shape(name: &str, dtype: DType, object: Object<'_>, field: &str) -> Result<Vec<usize>, Error> {
    let list = object.list(field)?;
    let dims = list.iter().map(|dim| whole(dim).ok_or_else(|| object.invalid(field, "a list of whole numbers", dim)));
    let dims = dims.collect::<Result<Vec<u64>, Error>>()?;
    checked_shape(&dims).ok_or_else(|| Error::TensorShape {
        tensor: name.to_owned(),
        dtype,
        shape: dims.into_iter().take(MAX_RANK + 1).collect(),
    })
}

/// At most eight dimensions, none 0, and a number of elements that can be counted.
pub(crate) fn checked_shape(dims: &[u64]) -> Option<Vec<usize>> {
    if dims.len() > MAX_RANK || dims.contains(&0) {
        return None;
    }
    dims.iter()
        .try_fold(1_u64, |product, dim| product.checked_mul(*dim))
        .filter(|n| *n < 1 << 48 && usize::try_from(*n).is_ok())?;
    dims.iter().map(|dim| usize::try_from(*dim).ok()).collect()
}

/// Bytes of a row as stored. Rows of block formats may be padded to whole blocks, each row by itself.
fn stored_row_bytes(name: &str, dtype: DType, shape: &[usize], size: u64, at: &str) -> Result<usize, Error> {
    let cols = shape.last().copied().unwrap_or(1);
    let rows: usize = shape.split_last().map_or(1, |(_, rows)| rows.iter().product());
    let bytes = |elements: usize| elements.div_ceil(dtype.block_len()).checked_mul(dtype.block_bytes());
    let row_bytes = bytes(cols);
    let expected = row_bytes.and_then(|row| row.checked_mul(rows));
    let (Some(row_bytes), Some(expected)) = (row_bytes, expected) else {
        let shape = shape.iter().map(|dim| *dim as u64).collect();
        return Err(Error::TensorShape { tensor: name.to_owned(), dtype, shape });
    };
    if expected as u64 == size {
        return Ok(row_bytes);
    }
    if rows.checked_mul(cols).and_then(bytes).is_some_and(|packed| packed as u64 == size) {
        return Err(Error::UnsupportedField {
            field: format!("{at}.size"),
            found: size.to_string(),
            what: "weights whose blocks straddle rows are",
        });
    }
    let (tensor, shape) = (name.to_owned(), shape.to_vec());
    Err(Error::TensorSize { tensor, dtype, shape, expected: expected as u64, actual: size })
}

/// Either `shard` and `offset`, or `spans` of `shardIndex` (or `shard`), `offset` and `size`.
fn parse_spans(name: &str, object: Object<'_>, size: u64, shards: &[Shard]) -> Result<Vec<Span>, Error> {
    let Some(spans) = object.maybe("spans") else {
        return Ok(vec![checked_span(name, object.whole("shard")?, object.whole("offset")?, size, shards)?]);
    };
    let at = object.path("spans");
    let list = spans.as_array().filter(|list| !list.is_empty());
    let list = list.ok_or_else(|| object.invalid("spans", "a list of at least one span", spans))?;
    let limit = SPARE_SPANS + size / SHARD_BYTES;
    if list.len() as u64 > limit {
        let what = format!("the number of spans of tensor `{name}`");
        return Err(Error::TooLarge { what, size: list.len() as u64, limit });
    }
    list.iter()
        .map(|span| {
            let map = span.as_object().ok_or_else(|| object.invalid("spans", "a list of objects", span))?;
            let span = Object::new(map, &at);
            let key = if map.contains_key("shardIndex") { "shardIndex" } else { "shard" };
            checked_span(name, span.whole(key)?, span.whole("offset")?, span.whole("size")?, shards)
        })
        .collect()
}

fn checked_span(name: &str, shard: u64, offset: u64, size: u64, shards: &[Shard]) -> Result<Span, Error> {
    let found = usize::try_from(shard).ok().and_then(|index| Some((index, shards.get(index)?.size)));
    let Some((index, shard_size)) = found else {
        return Err(Error::ShardIndex { tensor: name.to_owned(), shard, num_shards: shards.len() });
    };
    if size == 0 || offset.checked_add(size).is_none_or(|end| end > shard_size) {
        return Err(Error::SpanBounds { tensor: name.to_owned(), shard: index, offset, size, shard_size });
    }
    Ok(Span { shard: index, offset, size })
}

fn check_overlaps(entries: &[TensorEntry]) -> Result<(), Error> {
    let mut spans: Vec<(Span, &str)> =
        entries.iter().flat_map(|entry| entry.spans.iter().map(|span| (*span, entry.name.as_str()))).collect();
    spans.sort_unstable_by_key(|(span, _)| (span.shard, span.offset));
    for pair in spans.windows(2) {
        let [(a, other), (b, tensor)] = pair else { continue };
        // No overflow: both were checked against the shard's size.
        if a.shard == b.shard && a.offset + a.size > b.offset {
            return Err(Error::Overlap { tensor: (*tensor).into(), other: (*other).into(), shard: a.shard });
        }
    }
    Ok(())
}

/// What a tensor is for, by its name; the words are the format's.
pub(crate) fn role(name: &str, shape: &[usize]) -> &'static str {
    if name.contains("embed_tokens") {
        "embedding"
    } else if name.starts_with("lm_head") {
        "lm_head"
    } else if name.ends_with("norm.weight") {
        "norm"
    } else if shape.len() >= 2 {
        "matmul"
    } else {
        "other"
    }
}

/// The group a tensor is loaded with: `embed`, `layer.N`, `head` or `other`.
fn group(name: &str) -> String {
    let layer = name.split_once("layers.").and_then(|(_, rest)| rest.split_once('.')?.0.parse::<u32>().ok());
    match layer {
        Some(layer) => format!("layer.{layer}"),
        None if name.contains("embed_tokens") => "embed".to_owned(),
        None if name.starts_with("lm_head") || name == "model.norm.weight" => "head".to_owned(),
        None => "other".to_owned(),
    }
}

/// Where each name stands in `entries`.
pub(crate) fn index_by_name(entries: &[TensorEntry]) -> HashMap<String, usize> {
    entries.iter().enumerate().map(|(i, entry)| (entry.name.clone(), i)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padded_rows() {
        let row = |shape: &[usize], size| stored_row_bytes("t", DType::Q4_K, shape, size, "tensors.t");
        assert_eq!(row(&[2048, 640], 884_736).unwrap(), 3 * 144);
        assert_eq!(row(&[640, 2048], 737_280).unwrap(), 8 * 144);
        assert_eq!(row(&[128, 2816, 704], 155_713_536).unwrap(), 3 * 144);
        assert!(matches!(row(&[2048, 640], 2048 * 640 / 256 * 144), Err(Error::UnsupportedField { .. })));
        assert!(matches!(row(&[2048, 640], 884_737), Err(Error::TensorSize { .. })));
        assert_eq!(stored_row_bytes("t", DType::F32, &[], 4, "").unwrap(), 4);
    }

    #[test]
    fn roles_and_groups() {
        for (name, shape, expected) in [
            ("model.embed_tokens.weight", &[4, 4][..], ("embedding", "embed")),
            ("model.layers.12.input_layernorm.weight", &[4], ("norm", "layer.12")),
            ("model.layers.3.mlp.up_proj.weight", &[4, 4], ("matmul", "layer.3")),
            ("model.norm.weight", &[4], ("norm", "head")),
            ("lm_head.weight", &[4, 4], ("lm_head", "head")),
            ("model.layers.3.self_attn.q_proj.bias", &[4], ("other", "layer.3")),
        ] {
            assert_eq!((role(name, shape), group(name).as_str()), expected, "{name}");
        }
    }
}
