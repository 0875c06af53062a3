//! Logits and settings that the draw is tested at: each kernel on what the references of those before it give.

use doppler_sampling::Sampler;

use super::{SampleBuckets, SampleGather, SampleSettle};
use crate::cases::{Case, Tolerance, random_f32};
use crate::{ArgMaxSplit, Kernel};

/// Pieces of the [`ArgMaxSplit`].
const PARTS: usize = 5;

/// What the kernels are run on.
struct Draw {
    label: &'static str,
    x: Vec<f32>,
    settings: Vec<f32>,
    splits: usize,
    /// Of the row that the logits are of.
    start: usize,
}

impl Draw {
    fn new(label: &'static str, x: Vec<f32>, sampler: &Sampler, splits: usize, start: usize) -> Draw {
        let chain = sampler.chain(x.len()).expect("no sampler of the cases is greedy");
        Draw { label, settings: chain.words().iter().map(|word| *word as f32).collect(), x, splits, start }
    }

    fn case_of(&self, kernel: impl Kernel + 'static, inputs: &[&[f32]]) -> Case {
        let operands = kernel.operands();
        let mut case = Case::new(self.label, Box::new(kernel), Tolerance::EXACT);
        let read = operands.iter().filter(|operand| operand.access.has_input());
        for (operand, values) in read.zip(inputs) {
            case = match operand.dtype {
                doppler_rdrr::DType::U32 => case.input_u32(&values.iter().map(|x| *x as u32).collect::<Vec<_>>()),
                _ => case.input_f32(values),
            };
        }
        case
    }

    /// The case of the first, second or third kernel.
    fn case(&self, kernel: usize) -> Case {
        let (cols, splits) = (self.x.len(), self.splits);
        let best = ArgMaxSplit { cols, splits: PARTS }.reference(&[&self.x]);
        let start = [self.start as f32];
        let count = SampleBuckets { cols, splits, parts: PARTS };
        let counting: [&[f32]; 3] = [&self.x, &best[0], &self.settings];
        if kernel == 0 {
            return self.case_of(count, &counting);
        }
        let buckets = count.reference(&counting).remove(0);
        let (values, ids) = (random_f32(cols, 1), vec![7.0; cols]);
        let gather = SampleGather { cols, splits, parts: PARTS };
        let gathering: [&[f32]; 7] = [&self.x, &best[0], &self.settings, &buckets, &start, &values, &ids];
        if kernel == 1 {
            return self.case_of(gather, &gathering);
        }
        let gathered = gather.reference(&gathering);
        let settling: [&[f32]; 7] =
            [&best[1], &best[0], &self.settings, &gathered[0], &gathered[1], &gathered[2], &start];
        self.case_of(SampleSettle { cols, parts: PARTS }, &settling)
    }
}

/// Logits as models give them: most of them small, some far ahead; with ties.
fn logits(len: usize, seed: u64) -> Vec<f32> {
    let coarse = |x: f32| if seed.is_multiple_of(2) { (x * 8.0).round() / 8.0 } else { x };
    random_f32(len, seed).iter().map(|x| coarse(x * x * x * 40.0 + 3.0)).collect()
}

fn samplers() -> [(&'static str, Sampler); 12] {
    let new = |seed| Sampler::new(seed);
    [
        ("pure", new(1)),
        ("cold", new(u64::MAX).temperature(0.03)),
        ("frozen", new(2).temperature(1e-30)),
        ("hot", new(3 << 40).temperature(1e6)),
        ("top-k", new(4).top_k(40)),
        ("top-k and temperature", new(5).top_k(7).temperature(0.6)),
        ("top-p", new(6).top_p(0.9)),
        ("narrow top-p", new(7).top_p(0.01)),
        ("min-p", new(8).min_p(0.05)),
        ("top-k and top-p", new(9).top_k(60).top_p(0.95)),
        ("top-p and min-p", new(10).top_p(0.97).min_p(0.02).temperature(1.5)),
        ("all", new(11).top_k(300).top_p(0.98).min_p(0.001).temperature(0.8)),
    ]
}

fn draws() -> Vec<Draw> {
    let mut draws = Vec::new();
    for (i, (label, sampler)) in samplers().into_iter().enumerate() {
        for (cols, splits) in [(1, 1), (3, 4), (257, 1), (5003, 7)] {
            draws.push(Draw::new(label, logits(cols, (i + cols) as u64), &sampler, splits, i * 1000));
        }
        // More tokens than one weight tells apart, and places that only their ids tell.
        draws.push(Draw::new("all equal", vec![-7.0; 1500], &sampler, 3, 9));
        let mut masked = logits(900, 5);
        masked.iter_mut().skip(3).step_by(2).for_each(|x| *x = f32::NEG_INFINITY);
        draws.push(Draw::new("masked", masked, &sampler, 4, 0));
    }
    let all = &samplers()[11].1;
    for broken in [f32::NAN, f32::INFINITY] {
        let mut x = logits(600, 4);
        x[577] = broken;
        draws.push(Draw::new("broken", x, all, 2, 0));
    }
    draws.push(Draw::new("negative infinities", vec![f32::NEG_INFINITY; 300], all, 2, 0));
    let extremes = [f32::MAX, f32::MIN, 0.0, -0.0, 1e-40, -1e-40, 3e38, f32::MAX];
    for (label, sampler) in samplers() {
        draws.push(Draw::new(label, extremes.repeat(5), &sampler, 2, 1 << 20));
        draws.push(Draw::new(label, extremes[2..6].repeat(70), &sampler, 2, 3));
    }
    draws.push(Draw::new("a large vocabulary", logits(50_021, 8), &samplers()[11].1, 16, 77));
    draws.push(Draw::new("a large vocabulary", logits(50_021, 9), &samplers()[0].1, 16, 78));
    draws
}

fn of(kernel: usize) -> Vec<Case> {
    draws().iter().map(|draw| draw.case(kernel)).collect()
}

/// Every setting alone and all together; one token, fewer than pieces, ties, masks, infinities, NaN, a whole vocabulary.
pub fn edge_cases() -> Vec<Case> {
    of(0)
}

/// As [`edge_cases`].
pub fn gather_edge_cases() -> Vec<Case> {
    of(1)
}

/// As [`edge_cases`].
pub fn settle_edge_cases() -> Vec<Case> {
    of(2)
}

#[cfg(feature = "testing")]
fn random(kernel: usize) -> proptest::strategy::BoxedStrategy<Case> {
    use proptest::prelude::*;
    let k = prop_oneof![Just(0usize), 1usize..900];
    let p = prop_oneof![Just(1f32), 0.01f32..1.0];
    let floor = prop_oneof![Just(0f32), 1e-6f32..1.0];
    (1usize..3000, 1usize..20, k, p, floor, 0.05f32..3.0, any::<u64>(), 0usize..100_000)
        .prop_map(move |(cols, splits, k, p, floor, temperature, seed, start)| {
            let sampler = Sampler::new(seed).top_k(k).top_p(p).min_p(floor).temperature(temperature);
            let mut x = logits(cols, seed);
            // Any bits at all but NaN and +∞ are logits.
            for bits in crate::cases::random_bits(seed).take(cols / 50) {
                let any = f32::from_bits(bits as u32);
                let at = (bits >> 32) as usize % cols;
                x[at] = if any.is_nan() || any == f32::INFINITY { f32::NEG_INFINITY } else { any.min(60.0) };
            }
            Draw::new("random", x, &sampler, splits, start).case(kernel)
        })
        .boxed()
}

/// Random logits, settings and seeds.
#[cfg(feature = "testing")]
pub fn strategy() -> proptest::strategy::BoxedStrategy<Case> {
    random(0)
}

/// As [`strategy`].
#[cfg(feature = "testing")]
pub fn gather_strategy() -> proptest::strategy::BoxedStrategy<Case> {
    random(1)
}

/// As [`strategy`].
#[cfg(feature = "testing")]
pub fn settle_strategy() -> proptest::strategy::BoxedStrategy<Case> {
    random(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The three kernels together are the sampler.
    #[test]
    fn kernels_choose_what_the_sampler_chooses() {
        for draw in draws() {
            let settled = draw.case(2).expected();
            let words: Vec<u32> = draw.settings.iter().map(|word| *word as u32).collect();
            let chain = doppler_sampling::Chain::from_words(words.as_slice().try_into().expect("twelve words"));
            let broken = draw.x.iter().any(|x| x.is_nan() || *x == f32::INFINITY);
            let expected = if broken { None } else { chain.choose(&draw.x, draw.start as u64 + 1) };
            assert_eq!(settled[0], [draw.start as f32 + 1.0]);
            assert_eq!(settled[1], [expected.unwrap_or(u32::MAX) as f32], "{}", draw.label);
        }
    }
}
