//! The chain behind the penalties, in integers: what a GPU computes, bit for bit.
//!
//! The order of tokens is by falling logit, equal ones by rising id. Of this order top-k, top-p and min-p each keep a
//! beginning, and the draw is the first token at which the running sum of the kept weights passes a random number.
//!
//! A vocabulary need not be sorted for that: tokens are counted in buckets by their distance from the best, and only those
//! in the buckets that matter are looked at one by one.

use crate::octaves::{LAST, OCTAVE, Scale, pick, rank, share, weight};
use crate::{order, rng};

/// Buckets that tokens are counted in.
pub const BUCKETS: usize = 256;
/// Octaves of a bucket; the last one holds all that is farther away.
const BUCKET: u32 = OCTAVE / 8;
/// Numbers of [`Chain::words`].
pub const WORDS: usize = 12;
/// Keeps all by min-p.
const NO_LIMIT: u32 = u32::MAX;

/// A sampler's settings as numbers, without what depends on the text before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// Tokens to keep; 0 for all.
    top_k: u32,
    /// Share of the probability to keep, in 2^-32; 0 for all.
    top_p: u32,
    /// Octaves behind the best to keep, at temperature 1.
    min_p: u32,
    /// Of the draw's temperature.
    scale: Scale,
    seed: u64,
}

/// What is in a bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Tokens.
    pub count: u32,
    /// The sum of their weights, as [`Chain::mass`] counts them.
    pub mass: u64,
}

/// The buckets that hold all tokens that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first of them.
    pub first: usize,
    /// The last of them.
    pub last: usize,
    /// What the running sum must pass within them, when they are those of the draw.
    pub target: u64,
    /// The mass of all buckets.
    pub total: u64,
}

/// A token of the order: where its logit stands, its id, the logit.
type Token = (u32, u32, f32);

impl Chain {
    pub(crate) fn new(top_k: usize, top_p: f32, min_p: f32, temperature: f32, seed: u64) -> Chain {
        // No vocabulary has so many tokens.
        let top_k = if top_k < 1 << 24 { top_k as u32 } else { 0 };
        Chain { top_k, top_p: fraction(top_p), min_p: limit(min_p), scale: Scale::of_temperature(temperature), seed }
    }

    /// The chain in numbers below 2^24, as a GPU and an oracle that computes in floats take it.
    #[must_use]
    pub fn words(&self) -> [u32; WORDS] {
        let halves = |x: u32| [x & 0xFFFF, x >> 16];
        let [p0, p1] = halves(self.top_p);
        let [m0, m1] = halves(self.min_p);
        let [c0, c1] = halves(self.scale.multiplier);
        let [s0, s1] = halves(self.seed as u32);
        let [s2, s3] = halves((self.seed >> 32) as u32);
        [self.top_k, p0, p1, m0, m1, c0, c1, (self.scale.exponent + 1024) as u32, s0, s1, s2, s3]
    }

    /// The chain that [`Chain::words`] made these of.
    #[must_use]
    pub fn from_words(words: &[u32; WORDS]) -> Chain {
        let whole = |low: usize| words[low] | words[low + 1] << 16;
        let scale = Scale { multiplier: whole(5), exponent: words[7] as i32 - 1024 };
        let seed = u64::from(whole(8)) | u64::from(whole(10)) << 32;
        Chain { top_k: words[0], top_p: whole(1), min_p: whole(3), scale, seed }
    }

    /// The bucket of a token; a logit that is not finite is in none.
    #[must_use]
    pub fn bucket(best: f32, logit: f32) -> Option<usize> {
        let octaves = || Scale::of_temperature(1.0).octaves(best, logit);
        logit.is_finite().then(|| (octaves() / BUCKET).min(BUCKETS as u32 - 1) as usize)
    }

    /// What a token adds to the mass of its bucket: its weight for the first step of the chain that asks for one.
    #[must_use]
    pub fn mass(&self, best: f32, logit: f32) -> u64 {
        match (self.top_k, self.top_p, self.min_p) {
            (0, 0, NO_LIMIT) => weight(self.scale.octaves(best, logit)),
            (0, 1.., _) => weight(Scale::of_temperature(1.0).octaves(best, logit)),
            _ => 0,
        }
    }

    /// Which buckets hold all that matters to the token at `position`.
    #[must_use]
    pub fn range(&self, buckets: &[Bucket; BUCKETS], position: u64) -> Range {
        let total = buckets.iter().map(|bucket| bucket.mass).sum();
        let end = |reached: &dyn Fn(u64, u64) -> bool| {
            let mut sums = (0, 0);
            let passes = |bucket: &Bucket| {
                sums = (sums.0 + u64::from(bucket.count), sums.1 + bucket.mass);
                reached(sums.0, sums.1)
            };
            buckets.iter().position(passes).unwrap_or(BUCKETS - 1)
        };
        let nearest = (self.min_p / BUCKET).min(BUCKETS as u32 - 1) as usize;
        let (top_k, need) = (u64::from(self.top_k), share(total, self.top_p));
        let (first, last, target) = match (self.top_k, self.top_p, self.min_p) {
            (0, 0, NO_LIMIT) => {
                let target = pick(total, self.random(position));
                let drawn = end(&|_, mass| mass > target);
                (drawn, drawn, target - buckets[..drawn].iter().map(|bucket| bucket.mass).sum::<u64>())
            }
            // The probability of all that top-k keeps is asked for.
            (1.., 1.., _) => (0, end(&|count, _| count >= top_k), 0),
            (1.., 0, _) => (0, end(&|count, _| count >= top_k).min(nearest), 0),
            (0, 1.., _) => (0, end(&|_, mass| mass > need).min(nearest), 0),
            (0, 0, _) => (0, nearest, 0),
        };
        Range { first, last, target, total }
    }

    /// The token at `position`, of those in `range`: ids and logits in any order. `None` when there are none.
    #[must_use]
    pub fn settle(&self, listed: &[(u32, f32)], best: f32, range: &Range, position: u64) -> Option<u32> {
        let mut order: Vec<Token> = listed.iter().map(|&(id, logit)| (rank(logit), id, logit)).collect();
        order.sort_unstable_by_key(|&(rank, id, _)| (rank, id));
        let plain = |token: &Token| Scale::of_temperature(1.0).octaves(best, token.2);
        let drawn = |token: &Token| weight(self.scale.octaves(best, token.2));
        if (self.top_k, self.top_p, self.min_p) == (0, 0, NO_LIMIT) {
            return first_past(&order, drawn, range.target).map(|i| order[i].1);
        }
        if self.top_k > 0 {
            order.truncate(self.top_k as usize);
        }
        if self.top_p > 0 {
            let mass = |token: &Token| weight(plain(token));
            let total = if self.top_k > 0 { order.iter().map(mass).sum() } else { range.total };
            // Without an end the others are beyond min-p.
            if let Some(end) = first_past(&order, mass, share(total, self.top_p)) {
                order.truncate(end + 1);
            }
        }
        order.retain(|token| plain(token) <= self.min_p);
        let target = pick(order.iter().map(drawn).sum(), self.random(position));
        first_past(&order, drawn, target).map(|i| order[i].1)
    }

    /// The token at `position`; `None` when every logit is −∞. Logits hold neither NaN nor +∞.
    #[must_use]
    pub fn choose(&self, logits: &[f32], position: u64) -> Option<u32> {
        let best = crate::softmax::highest(logits);
        if best == f32::NEG_INFINITY {
            return None;
        }
        if self.top_k > 0 {
            let range = Range { first: 0, last: 0, target: 0, total: 0 };
            return self.settle(&order::best(logits, self.top_k as usize), best, &range, position);
        }
        // Any buckets do that are in the order of tokens: here by the one distance that is needed of each.
        let all = (self.top_p, self.min_p) == (0, NO_LIMIT);
        let down = if all { self.scale } else { Scale::of_temperature(1.0) }.down_from(best);
        let mut buckets = [Bucket::default(); BUCKETS];
        let place = |logit: &f32| {
            let octaves = if logit.is_finite() { down.octaves(*logit) } else { return u8::MAX };
            let at = (octaves / BUCKET).min(BUCKETS as u32 - 1);
            buckets[at as usize].count += 1;
            if all || self.top_p > 0 {
                buckets[at as usize].mass += weight(octaves);
            }
            at as u8
        };
        let places: Vec<u8> = logits.iter().map(place).collect();
        let range = self.range(&buckets, position);
        let within =
            |id: usize| (range.first..=range.last).contains(&usize::from(places[id])) && logits[id].is_finite();
        let listed: Vec<_> = (0..logits.len()).filter(|id| within(*id)).map(|id| (id as u32, logits[id])).collect();
        self.settle(&listed, best, &range, position)
    }

    /// The random number of a position.
    #[must_use]
    pub fn random(&self, position: u64) -> u64 {
        rng::bits(self.seed, 0, position)
    }
}

/// The first of `order` at which the running sum of `mass` is more than `target`.
fn first_past(order: &[Token], mass: impl Fn(&Token) -> u64, target: u64) -> Option<usize> {
    let mut sum = 0;
    order.iter().position(|token| {
        sum += mass(token);
        sum > target
    })
}

/// A share of the probability in 2^-32; 0 for 1 and more, which keeps all.
pub(crate) fn fraction(p: f32) -> u32 {
    // Not 0, which would keep all: the least share keeps the best token.
    if p >= 1.0 { 0 } else { ((f64::from(p) * 2f64.powi(32)).round() as u64).max(1) as u32 }
}

/// Octaves behind the best of a token that has `p` times its probability.
pub(crate) fn limit(p: f32) -> u32 {
    let octaves = -f64::from(p.min(1.0)).log2() * f64::from(OCTAVE);
    // Also without a limit, when p is 0 and the octaves are infinite.
    if octaves < f64::from(LAST) { octaves as u32 } else { NO_LIMIT }
}
