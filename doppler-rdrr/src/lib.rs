//! The RDRR model format of DOPPLER.
//!
//! A model is a folder: `manifest.json`, `tokenizer.json` and shards of at most 64 MiB. [`Model`] opens one and lends out
//! its weights from a memory map, [`Writer`] makes one. Knows files and numbers, nothing of GPUs.
//!
//! ```no_run
//! use doppler_rdrr::Model;
//!
//! let model = Model::open("smollm2.rdrr".as_ref())?;
//! model.verify(|done, total| eprint!("\r{done} of {total} bytes"))?;
//! for tensor in model.tensors() {
//!     eprintln!("{} {} {:?}", tensor.name, tensor.dtype, tensor.shape);
//! }
//! # Ok::<(), doppler_rdrr::Error>(())
//! ```
//!
//! # Layouts
//!
//! Matrices are written row by row, `layout` row. Those that a file holds transposed (`layout` column or col, or for packed
//! ones without a layout of their own `quantizationInfo.layout`) are read too: [`Model::read_rows`] turns them. Their `shape`
//! is that of the matrix, unless `originalShape` gives it and `shape` is that of the transpose. F32, F16 and BF16 keep
//! their bits. Packed blocks run along a column then and cannot be turned as they are: they come out as F32, exactly, in
//! the memory that [`TensorEntry::read_bytes`] tells.
//!
//! # Fields of the manifest
//!
//! Every field is kept as it is; these are the ones that are written, and understood when read. `null` (or `false`, or a
//! neutral number) means "off". A field that asks for anything else that is not in this table is an error that names it.
//!
//! | section | fields |
//! |---|---|
//! | top | `version` 1, `modelId`, `modelType` "transformer", `quantization`, `hashAlgorithm` sha256 or blake3, `eos_token_id`, `totalSize`, `tensorCount`, `metadata` |
//! | `architecture` | `numLayers`, `hiddenSize`, `intermediateSize`, `numAttentionHeads`, `numKeyValueHeads`, `headDim`, `vocabSize`, `maxSeqLen` |
//! | `inference.attention` | `queryPreAttnScalar` (√headDim of the first converters is read as headDim), `attnLogitSoftcapping`, `slidingWindow`, `queryKeyNorm` (by head), `attentionBias` (queries, keys, values), `causal` true |
//! | `inference.normalization` | `rmsNormEps`, `rmsNormWeightOffset`, `postAttentionNorm`, `preFeedforwardNorm` and `postFeedforwardNorm` together |
//! | `inference.ffn` | `activation` silu, swiglu, gelu or geglu; `gatedActivation` true |
//! | `inference.rope` | `ropeTheta`, `ropeLocalTheta` (sliding layers), `partialRotaryFactor`, `ropeScalingType` linear, llama3 or longrope with their numbers; of this project `ropeLayers` (which layers rotate) and `longropeAttentionFactor` |
//! | `inference.output` | `tieWordEmbeddings`, `finalLogitSoftcapping`, `scaleEmbeddings` (√hiddenSize), `embeddingScale`, `logitInputScale`, `embeddingVocabSize` |
//! | `inference.layerPattern` | `type` uniform, alternating (`globalPattern` odd, even), every_n (`period`, `offset`) or custom (`layerTypes`); `residualBranchScale` |
//! | `inference.chatTemplate` | `template`: Jinja text, of this project |
//! | `tokenizer` | `type` bundled, `file`, `bosToken`, `eosToken`, `bosTokenId`, `eosTokens`, `addBosToken` |
//! | `shards` | `filename`, `size`, `hash` or `blake3` by the manifest's `hashAlgorithm`, `offset` |
//! | `tensors` or `tensorsFile` | `shape`, `dtype`, `shard` with `offset` and `size`, or `spans`; `role` and `group` are written and not needed; `layout` row, or column when read |

mod blocks;
mod config;
pub mod convert;
mod dtype;
mod error;
pub mod families;
mod inference;
mod json;
mod layout;
mod manifest;
mod quantize;
mod reader;
mod shard;
mod shard_writer;
mod tensor;
pub mod tokenizer;
mod writer;

pub use blocks::dequantize;
pub use config::{Activation, LayerType, ModelConfig, RopeScaling};
pub use dtype::DType;
pub use error::Error;
pub use manifest::Manifest;
pub use quantize::quantize;
pub use reader::Model;
pub use shard::{HashAlgorithm, Shard};
pub use tensor::{Span, TensorEntry};
pub use writer::{NewModel, Writer};
