//! Weights on a device: matrices split by rows where a device cannot bind them whole, vectors as f32.

use std::ops::Range;
use std::sync::Arc;

use doppler_kernels::{GemmA8, GemmHalf, HalfRows, Int8Rows, MatMul, linear};
use doppler_rdrr::{DType, Model, TensorEntry, dequantize};

use crate::gpu::Uploads;
use crate::tensor::MappedPiece;
use crate::{Device, Error, Recorder, Tensor};

/// A matrix `[rows, cols]` in one or more parts of whole rows.
#[derive(Debug)]
pub(crate) struct Matrix {
    pub rows: usize,
    pub cols: usize,
    pub dtype: DType,
    pub parts: Vec<Part>,
}

/// Consecutive rows of a matrix.
#[derive(Debug)]
pub(crate) struct Part {
    pub first_row: usize,
    pub rows: usize,
    pub tensor: Tensor,
}

impl Matrix {
    /// Takes the tensor `name` of shape `[rows, cols]` from the model; on a GPU with the help of `uploads`, which are still to
    /// be run.
    ///
    /// # Errors
    /// A missing tensor, another shape, padded rows, and what the device says to the size.
    pub fn load(
        device: &Device,
        model: &Arc<Model>,
        name: &str,
        rows: usize,
        cols: usize,
        uploads: &mut Uploads,
    ) -> Result<Matrix, Error> {
        let entry = model.tensor(name)?;
        let row_bytes = dense_row_bytes(entry, rows, cols)?;
        warn_if_turned(entry);
        let dtype = entry.read_dtype();
        let ranges = match device.gpu() {
            Some(_) => rows_within(device.max_binding_bytes(), rows, row_bytes),
            None => rows_of_spans(model, entry, rows, row_bytes),
        };
        let parts = ranges
            .into_iter()
            .map(|range| {
                let piece = MappedPiece {
                    model: model.clone(),
                    name: name.into(),
                    bytes: range.start * row_bytes..range.end * row_bytes,
                };
                let tensor = device.weight(name, &[range.len(), cols], dtype, piece, uploads)?;
                Ok(Part { first_row: range.start, rows: range.len(), tensor })
            })
            .collect::<Result<_, Error>>()?;
        Ok(Matrix { rows, cols, dtype, parts })
    }

    /// Takes several matrices of equal columns as one on a GPU, the rows of each behind those of the one before, besides
    /// each alone; `None` for the whole where their formats or the device do not allow that.
    ///
    /// # Errors
    /// As [`Matrix::load`].
    pub fn load_stacked(
        device: &Device,
        model: &Arc<Model>,
        names: &[(String, usize)],
        cols: usize,
        uploads: &mut Uploads,
    ) -> Result<(Vec<Matrix>, Option<Tensor>), Error> {
        let mut pieces = Vec::new();
        let mut dtypes = Vec::new();
        for (name, rows) in names {
            let entry = model.tensor(name)?;
            let row_bytes = dense_row_bytes(entry, *rows, cols)?;
            dtypes.push(entry.read_dtype());
            pieces.push(MappedPiece { model: model.clone(), name: name.as_str().into(), bytes: 0..rows * row_bytes });
        }
        let dtype = dtypes[0];
        let stacked = if dtypes.iter().all(|d| *d == dtype) {
            device.stacked_weights(&names[0].0, cols, dtype, pieces, uploads)?
        } else {
            None
        };
        let Some((whole, tensors)) = stacked else {
            let each = |(name, rows): &(String, usize)| Matrix::load(device, model, name, *rows, cols, uploads);
            return Ok((names.iter().map(each).collect::<Result<_, _>>()?, None));
        };
        for (name, _) in names {
            warn_if_turned(model.tensor(name)?);
        }
        let alone = |((_, rows), tensor): (&(String, usize), Tensor)| Matrix {
            rows: *rows,
            cols,
            dtype,
            parts: vec![Part { first_row: 0, rows: *rows, tensor }],
        };
        Ok((names.iter().zip(tensors).map(alone).collect(), Some(whole)))
    }

    /// The one tensor that it is, if it is not split.
    pub fn whole(&self) -> Option<&Tensor> {
        if let [part] = self.parts.as_slice() { Some(&part.tensor) } else { None }
    }

    /// Records `y = x · weightᵀ` for `rows` rows of `x`; in f16 on matrix units, or in int8, where `x` came in that form, too.
    pub fn record(&self, recorder: &mut Recorder, rows: usize, x: &Input<'_>, y: &Tensor) -> Result<(), Error> {
        self.parts.iter().try_for_each(|part| {
            let kernel = MatMul {
                rows,
                out_features: part.rows,
                in_features: self.cols,
                weight: self.dtype,
                y_stride: self.rows,
                y_offset: part.first_row,
            };
            match x.rounded {
                Some(Rounded::Half(half)) if GemmHalf::takes(self.dtype, self.cols) => {
                    recorder.record(GemmHalf { of: kernel, parts: 1 }, &[&half.rows, &part.tensor, y, &half.scale])
                }
                Some(Rounded::Int8(int8)) if GemmA8::takes(self.dtype, self.cols) => {
                    recorder.record(GemmA8(kernel), &[int8, &part.tensor, y])
                }
                _ => recorder.record(kernel, &[x.plain, &part.tensor, y]),
            }
        })
    }
}

/// The input of products: rows as f32 and, where products of so many rows take them so, rounded.
pub(crate) struct Input<'a> {
    pub plain: &'a Tensor,
    pub rounded: Option<&'a Rounded>,
}

/// Rows as products of many rows take them besides f32: in f16 on matrix units, in int8 on a GPU without.
pub(crate) enum Rounded {
    Half(Half),
    Int8(Tensor),
}

impl Rounded {
    /// Room for `rows` rows of `cols`, if so many are rounded; to int8 for matrices that are `packed` only.
    pub fn new(device: &Device, rows: usize, cols: usize, packed: bool) -> Result<Option<Rounded>, Error> {
        if device.gpu().is_none() || device.exact() || rows <= linear::MOST_ROWS {
            Ok(None)
        } else if on_matrix_units(device, rows) {
            cols.is_multiple_of(32).then(|| Half::new(device, rows, cols).map(Rounded::Half)).transpose()
        } else if packed && linear::takes_cols(cols) {
            Ok(Some(Rounded::Int8(device.alloc("int8", &[rows, cols], DType::A8)?)))
        } else {
            Ok(None)
        }
    }
}

/// Whether products of so many rows, and their attention, run in f16 on matrix units.
pub(crate) fn on_matrix_units(device: &Device, rows: usize) -> bool {
    let units = device.gpu().is_some_and(|gpu| gpu.tier.cooperative_matrix);
    units && !device.exact() && rows > linear::MOST_ROWS
}

/// Rows in f16 and their scales.
#[derive(Debug)]
pub(crate) struct Half {
    pub rows: Tensor,
    pub scale: Tensor,
}

impl Half {
    /// Room for `rows` rows of `cols`.
    pub fn new(device: &Device, rows: usize, cols: usize) -> Result<Half, Error> {
        let alloc = |label, shape: &[usize], dtype| device.alloc(label, shape, dtype);
        Ok(Half { rows: alloc("half", &[rows, cols], DType::F16)?, scale: alloc("half_scale", &[rows], DType::F32)? })
    }

    /// Records the rounding of `x` into it.
    pub fn fill(&self, recorder: &mut Recorder, x: &Tensor) -> Result<(), Error> {
        let [rows, cols] = self.shape();
        recorder.record(HalfRows { rows, cols }, &[x, &self.rows, &self.scale])
    }

    /// Records its product with a whole matrix, in as many parts as `y` has room for.
    pub fn product(&self, recorder: &mut Recorder, weight: &Tensor, y: &Tensor) -> Result<(), Error> {
        let [rows, in_features] = self.shape();
        let out_features = weight.len() / in_features;
        let weights = weight.dtype();
        let of = MatMul { rows, out_features, in_features, weight: weights, y_stride: out_features, y_offset: 0 };
        let parts = y.len() / (rows * out_features);
        recorder.record(GemmHalf { of, parts }, &[&self.rows, weight, y, &self.scale])
    }

    fn shape(&self) -> [usize; 2] {
        let [rows, cols] = *self.rows.shape() else { unreachable!("rows and columns") };
        [rows, cols]
    }
}

impl<'a> Input<'a> {
    /// Records what `x` still needs to be an input.
    pub fn new(recorder: &mut Recorder, x: &'a Tensor, rounded: Option<&'a Rounded>) -> Result<Input<'a>, Error> {
        match rounded {
            Some(Rounded::Half(half)) => half.fill(recorder, x)?,
            Some(Rounded::Int8(int8)) => {
                let [rows, cols] = *int8.shape() else { unreachable!("rows and columns") };
                recorder.record(Int8Rows { rows, cols }, &[x, int8])?;
            }
            None => {}
        }
        Ok(Input { plain: x, rounded })
    }
}

/// Bytes of a row of a matrix `[rows, cols]` without padding.
fn dense_row_bytes(entry: &TensorEntry, rows: usize, cols: usize) -> Result<usize, Error> {
    expect_shape(entry, &[rows, cols])?;
    let row_bytes = entry.read_dtype().row_bytes(cols).ok_or_else(|| wrong_shape(entry, &[rows, cols]))?;
    if entry.transposed || entry.row_bytes == row_bytes {
        Ok(row_bytes)
    } else {
        Err(Error::PaddedRows { name: entry.name.clone(), actual: entry.row_bytes, expected: row_bytes })
    }
}

fn warn_if_turned(entry: &TensorEntry) {
    if entry.transposed {
        let (name, stored, as_read, bytes) = (&entry.name, entry.dtype, entry.read_dtype(), entry.read_bytes());
        tracing::warn!(
            %name, %stored, %as_read, bytes,
            "a matrix is stored column by column: it is turned while it is loaded; convert the model again in row layout"
        );
    }
}

/// Takes a vector of `len` elements as f32 (widening is exact), each through `change`.
pub(crate) fn load_vector(
    device: &Device,
    model: &Arc<Model>,
    name: &str,
    len: usize,
    change: impl Fn(f32) -> f32,
) -> Result<Tensor, Error> {
    let mut values = read_vector(model, name, len)?;
    values.iter_mut().for_each(|value| *value = change(*value));
    let tensor = device.alloc_once(name, &[len], DType::F32)?;
    device.write(&tensor, bytemuck::cast_slice(&values))?;
    Ok(tensor)
}

/// The `len` elements of a vector as f32.
pub(crate) fn read_vector(model: &Model, name: &str, len: usize) -> Result<Vec<f32>, Error> {
    let entry = model.tensor(name)?;
    expect_shape(entry, &[len])?;
    let mut values = vec![0.0; len];
    dequantize(entry.dtype, &model.bytes(entry), &mut values)?;
    Ok(values)
}

fn rows_within(limit: u64, rows: usize, row_bytes: usize) -> Vec<Range<usize>> {
    // A row over the limit stays one part: the device's error then names the tensor.
    let most = usize::try_from(limit / row_bytes as u64).unwrap_or(usize::MAX).max(1);
    (0..rows).step_by(most).map(|first| first..rows.min(first.saturating_add(most))).collect()
}

/// One part for each span of the file, when spans are whole rows; else one part that will be gathered.
fn rows_of_spans(model: &Model, entry: &TensorEntry, rows: usize, row_bytes: usize) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut first = 0;
    if entry.transposed {
        return std::iter::once(0..rows).collect();
    }
    for span in model.spans(entry) {
        if span.len() % row_bytes != 0 {
            return std::iter::once(0..rows).collect();
        }
        let end = first + span.len() / row_bytes;
        ranges.push(first..end);
        first = end;
    }
    ranges
}

fn expect_shape(entry: &TensorEntry, expected: &[usize]) -> Result<(), Error> {
    if entry.shape == expected { Ok(()) } else { Err(wrong_shape(entry, expected)) }
}

fn wrong_shape(entry: &TensorEntry, expected: &[usize]) -> Error {
    Error::WeightShape { name: entry.name.clone(), actual: entry.shape.clone(), expected: expected.to_vec() }
}
