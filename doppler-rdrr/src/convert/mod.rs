//! Models in other formats, turned into RDRR: tensor by tensor, so that memory never holds more than a piece of one.

mod from_gguf;
pub mod gguf;
pub mod safetensors;
mod source;

use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;
use serde_json::json;

use crate::{DType, Error, Manifest, NewModel, Writer, dequantize, quantize};
use source::RowOrder;
pub use source::{Source, Weight};

/// Raised whenever the same source becomes other bytes or another manifest than before, so that caches convert again.
pub const CONVERTER_VERSION: u32 = 1;

/// Source bytes that are worked on at once.
const CHUNK_BYTES: usize = 4 << 20;

/// What to do beside changing the container.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConvertOptions {
    /// Pack weight matrices into this type, [`DType::Q8_0`] or [`DType::Q4_K`]. Where Q4_K is asked for, the output head
    /// and rows that are no multiple of 256 take Q8_0 instead, or stay as they are if that is no larger. The manifest
    /// tells what became of each type and why.
    pub quantize: Option<DType>,
    /// The model's id in the manifest; the name of the output folder when absent.
    pub model_id: Option<String>,
}

/// How far a conversion is, told after every few megabytes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// The weight that is being written.
    pub tensor: &'a str,
    /// How the source stores it.
    pub from: DType,
    /// How RDRR will store it.
    pub to: DType,
    /// Source bytes done, of all weights.
    pub bytes_done: u64,
    /// Source bytes of all weights.
    pub bytes_total: u64,
}

/// Turns `input`, a GGUF file or a Hugging Face folder, into the RDRR folder `out`. Packed weights keep their bytes.
///
/// The folder appears under its name only when all of it is written; a conversion that fails or is interrupted leaves
/// nothing that could be taken for a model.
///
/// # Errors
/// Whatever is wrong with the source, naming the tensor or the setting, or what the file system refuses.
pub fn convert(
    input: &Path,
    out: &Path,
    options: &ConvertOptions,
    mut progress: impl FnMut(Progress<'_>),
) -> Result<Manifest, Error> {
    let source = Source::open(input)?;
    let mut plan = Vec::new();
    let mut report: BTreeMap<(DType, DType, &str), usize> = BTreeMap::new();
    for weight in &source.weights {
        let target = Target::choose(weight, &source.config, options.quantize)?;
        *report.entry((weight.dtype, target.dtype, target.why)).or_default() += 1;
        plan.push((weight, target.dtype));
    }
    let bytes_total = source.weights.iter().map(|weight| weight.bytes as u64).sum();
    let mut bytes_done = 0;
    let mut writer = Writer::create(out)?;
    for (weight, to) in plan {
        writer.begin_tensor(&weight.name, to, &weight.shape)?;
        write_weight(&source, weight, to, &mut writer, |bytes| {
            bytes_done += bytes as u64;
            progress(Progress { tensor: &weight.name, from: weight.dtype, to, bytes_done, bytes_total });
        })?;
    }
    let types: Vec<_> = report
        .into_iter()
        .map(|((from, to, why), tensors)| json!({ "tensors": tensors, "from": from.name(), "to": to.name(), "why": why }))
        .collect();
    let mut provenance = source.provenance;
    provenance["quantize"] = options.quantize.map(DType::name).into();
    provenance["types"] = types.into();
    let folder_name = || out.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    writer.finish(NewModel {
        model_id: options.model_id.clone().unwrap_or_else(folder_name),
        model_type: "transformer".to_owned(),
        config: source.config,
        tokenizer_json: source.text.tokenizer_json,
        chat_template: source.text.chat_template,
        bos_token: source.text.bos_token,
        eos_token: source.text.eos_token,
        source: provenance,
    })
}

/// How a weight will be stored, and the reason that the manifest gives for it.
struct Target {
    dtype: DType,
    why: &'static str,
}

impl Target {
    fn choose(weight: &Weight, config: &crate::ModelConfig, asked: Option<DType>) -> Result<Target, Error> {
        let Some(&[_, cols]) = weight.shape.get(..2) else {
            // Widening is exact, and norms are too small for it to matter.
            return Ok(Target { dtype: DType::F32, why: "vectors are kept in F32" });
        };
        let (wanted, why) = match asked {
            None => return Ok(Target { dtype: weight.dtype, why: "as stored" }),
            Some(DType::Q8_0) => (DType::Q8_0, "as asked"),
            Some(DType::Q4_K) if is_head(&weight.name, config) => (DType::Q8_0, "the output head stays precise"),
            Some(DType::Q4_K) if !cols.is_multiple_of(256) => (DType::Q8_0, "rows are no multiple of 256"),
            Some(DType::Q4_K) => (DType::Q4_K, "as asked"),
            Some(dtype) => return Err(Error::QuantizeTarget { dtype }),
        };
        let bits = |dtype: DType| dtype.block_bytes() * 256 / dtype.block_len();
        if Some(wanted) != asked && bits(weight.dtype) <= bits(wanted) {
            return Ok(Target { dtype: weight.dtype, why });
        }
        if wanted.row_bytes(cols).is_none() {
            return Err(Error::QuantizeRow { tensor: weight.name.clone(), cols });
        }
        Ok(Target { dtype: wanted, why })
    }
}

fn is_head(name: &str, config: &crate::ModelConfig) -> bool {
    name == if config.tie_word_embeddings { "model.embed_tokens.weight" } else { "lm_head.weight" }
}

/// Writes a weight in pieces of whole rows; `done` is told the source bytes of each.
fn write_weight(
    source: &Source,
    weight: &Weight,
    to: DType,
    writer: &mut Writer,
    mut done: impl FnMut(usize),
) -> Result<(), Error> {
    let cols = weight.shape.last().copied().unwrap_or(0);
    let block = |dtype: DType| Error::BlockSize { dtype, elements: cols, bytes: weight.bytes };
    let from_row = weight.dtype.row_bytes(cols).filter(|bytes| *bytes > 0).ok_or_else(|| block(weight.dtype))?;
    let to_row = to.row_bytes(cols).filter(|bytes| *bytes > 0).ok_or_else(|| block(to))?;
    let rows = weight.bytes / from_row;
    let step = (CHUNK_BYTES / from_row).max(1);
    let data = source.data(weight);
    let (mut gathered, mut packed) = (Vec::new(), Vec::new());
    for first in (0..rows).step_by(step) {
        let last = rows.min(first + step);
        let piece = if weight.rows == RowOrder::Same {
            data.get(first * from_row..last * from_row).unwrap_or_default()
        } else {
            gathered.clear();
            for row in first..last {
                let start = weight.rows.source_row(row) * from_row;
                gathered.extend_from_slice(data.get(start..start + from_row).unwrap_or_default());
            }
            &gathered
        };
        if to == weight.dtype {
            writer.write(piece)?;
        } else {
            packed.resize((last - first) * to_row, 0);
            packed.fill(0);
            let numbers = || vec![0.0_f32; cols];
            piece
                .par_chunks(from_row)
                .zip(packed.par_chunks_mut(to_row))
                .try_for_each_init(numbers, |numbers, (from, packed)| {
                    repack(weight.dtype, from, numbers, to, packed)
                })?;
            writer.write(&packed)?;
        }
        done(piece.len());
    }
    Ok(())
}

/// One row from one type to another.
fn repack(from: DType, bytes: &[u8], numbers: &mut [f32], to: DType, packed: &mut [u8]) -> Result<(), Error> {
    dequantize(from, bytes, numbers)?;
    if to == DType::F32 {
        packed.as_chunks_mut().0.iter_mut().zip(numbers).for_each(|(bytes, x)| *bytes = x.to_le_bytes());
        return Ok(());
    }
    quantize(to, numbers, packed)
}
