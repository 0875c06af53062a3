//! What follows the logits of a decode step: the choice of the next token, which the next step embeds.

use doppler_kernels::{ArgMax, ArgMaxReduce, ArgMaxSplit, SampleBuckets, SampleGather, SampleSettle};
use doppler_rdrr::DType;
use doppler_sampling::{BUCKETS, WORDS};

use crate::{Device, Error, Recorder, Recording, Tensor};

/// Pieces of the vocabulary that are searched for the likeliest token.
const PARTS: usize = 64;
/// Tokens of a piece of the vocabulary whose tokens are counted and listed.
const PIECE: usize = 4096;
/// These pieces at most: each reads what all of them counted.
const MOST_SPLITS: usize = 32;

/// Recordings of a choice. Each writes `next` and, on a GPU, moves `start` on: steps that follow each other need nothing
/// from the CPU.
#[derive(Debug)]
pub(crate) struct NextToken {
    /// The likeliest token.
    pub greedy: Recording,
    /// The one that a sampler draws by its settings; on a GPU.
    pub drawn: Option<Recording>,
}

/// What a choice works on besides the logits.
pub(crate) struct Places<'a> {
    /// The position of the step's row, u32 `[1]`.
    pub start: &'a Tensor,
    /// Gets the token, u32 `[1]`.
    pub next: &'a Tensor,
    /// The sampler's, u32 `[12]`.
    pub settings: &'a Tensor,
}

/// Pieces of a vocabulary.
fn splits(vocab_size: usize) -> usize {
    vocab_size.div_ceil(PIECE).clamp(1, MOST_SPLITS)
}

impl NextToken {
    /// Records the choices after one row of logits.
    pub fn record(device: &Device, logits: &Tensor, places: &Places<'_>) -> Result<NextToken, Error> {
        let (cols, Places { start, next, settings }) = (logits.len(), places);
        let mut greedy = Recorder::new();
        if device.gpu().is_none() {
            greedy.record(ArgMax { rows: 1, cols }, &[logits, next])?;
            return Ok(NextToken { greedy: device.compile(greedy)?, drawn: None });
        }
        let values = device.alloc("best_values", &[PARTS], DType::F32)?;
        let ids = device.alloc("best_ids", &[PARTS], DType::U32)?;
        let best = ArgMaxSplit { cols, splits: PARTS };
        greedy.record(best.clone(), &[logits, &values, &ids])?;
        greedy.record(ArgMaxReduce { splits: PARTS }, &[&values, &ids, start, next])?;

        let (mut drawn, splits) = (Recorder::new(), splits(cols));
        let buckets = device.alloc("token_buckets", &[splits, BUCKETS, 4], DType::U32)?;
        let found = device.alloc("found_tokens", &[SampleGather::FOUND], DType::U32)?;
        let listed = device.alloc("listed_values", &[cols], DType::F32)?;
        let listed_ids = device.alloc("listed_ids", &[cols], DType::U32)?;
        drawn.record(best, &[logits, &values, &ids])?;
        let count = SampleBuckets { cols, splits, parts: PARTS };
        drawn.record(count, &[logits, &values, settings, &buckets])?;
        let gather = SampleGather { cols, splits, parts: PARTS };
        drawn.record(gather, &[logits, &values, settings, &buckets, start, &found, &listed, &listed_ids])?;
        let settle = SampleSettle { cols, parts: PARTS };
        drawn.record(settle, &[&ids, &values, settings, &found, &listed, &listed_ids, start, next])?;
        Ok(NextToken { greedy: device.compile(greedy)?, drawn: Some(device.compile(drawn)?) })
    }

    /// Bytes that the choice takes on a GPU.
    pub fn bytes(vocab_size: usize) -> u64 {
        4 * (2 * vocab_size + splits(vocab_size) * BUCKETS * 4 + 2 * PARTS + SampleGather::FOUND + WORDS) as u64
    }
}
