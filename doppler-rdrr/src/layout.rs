//! Matrices that a file holds transposed. Knows a tensor's entry, and turns its columns back to rows.

use std::ops::Range;

use serde_json::Value;

use crate::json::{Object, brief};
use crate::{DType, Error, Model, TensorEntry, dequantize};

/// What a manifest says for tensors that do not say it themselves.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Defaults {
    /// `quantizationInfo.layout`: packed matrices are transposed.
    pub packed_transposed: bool,
    /// `defaultWeightLayout` is there and not `row`. Its own readers ignore it, so it is not known what it means.
    pub unclear: bool,
}

impl Defaults {
    pub fn read(root: Object<'_>) -> Result<Defaults, Error> {
        let packed = root.maybe("quantizationInfo").and_then(|info| info.get("layout"));
        Ok(Defaults {
            packed_transposed: packed.map(|value| is_column("quantizationInfo.layout", value)).transpose()?
                == Some(true),
            unclear: root.maybe("defaultWeightLayout").is_some_and(|layout| layout.as_str() != Some("row")),
        })
    }
}

/// `row`, or the two spellings of `column`.
fn is_column(field: &str, layout: &Value) -> Result<bool, Error> {
    match layout.as_str() {
        Some("column" | "col") => Ok(true),
        Some("row") => Ok(false),
        None if layout.is_null() => Ok(false),
        _ => {
            let (field, found) = (field.to_owned(), brief(layout));
            Err(Error::InvalidField { field, expected: "row or column", found })
        }
    }
}

/// Whether the file holds the transposed matrix; the shape of an entry of `dims` dimensions.
pub(crate) fn is_transposed(object: Object<'_>, dtype: DType, dims: usize, defaults: Defaults) -> Result<bool, Error> {
    let unsupported =
        |found: &Value, what| Err(Error::UnsupportedField { field: object.path("layout"), found: brief(found), what });
    let column = match object.maybe("layout") {
        Some(layout) => is_column(&object.path("layout"), layout)?,
        None if dims == 2 && defaults.unclear => {
            return unsupported(&Value::Null, "a defaultWeightLayout in place of a layout for each matrix is");
        }
        None => dtype.block_len() > 1 && dims == 2 && defaults.packed_transposed,
    };
    if column && dims > 2 {
        return unsupported(&"column".into(), "columns of tensors with more than two dimensions are");
    }
    // A vector is its own transpose.
    Ok(column && dims == 2)
}

/// Rows of a matrix whose transpose is stored: numbers as they are, packed blocks as f32.
pub(crate) fn rows(model: &Model, entry: &TensorEntry, rows: Range<usize>) -> Vec<u8> {
    let (dtype, cols, count) = (entry.dtype, entry.cols(), rows.len());
    let size = entry.read_dtype().block_bytes();
    let mut out = vec![0; count * cols * size];
    // Whole blocks around the wanted elements of each stored row.
    let blocks = rows.start / dtype.block_len()..rows.end.div_ceil(dtype.block_len());
    let skipped = rows.start - blocks.start * dtype.block_len();
    let mut numbers = vec![0.0; blocks.len() * dtype.block_len()];
    for col in 0..cols {
        let start = col * entry.row_bytes;
        let stored = model
            .byte_range(entry, start + blocks.start * dtype.block_bytes()..start + blocks.end * dtype.block_bytes());
        let places = out.chunks_exact_mut(size).skip(col).step_by(cols);
        if dtype.block_len() == 1 {
            places.zip(stored.chunks_exact(size)).for_each(|(place, element)| place.copy_from_slice(element));
        } else {
            dequantize(dtype, &stored, &mut numbers).expect("the range is whole blocks");
            let wanted = numbers.iter().skip(skipped);
            places.zip(wanted).for_each(|(place, number)| place.copy_from_slice(&number.to_le_bytes()));
        }
    }
    out
}
