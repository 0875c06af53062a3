//! Laws that the transforms and the sampler hold for any logits.

use doppler_sampling::{Sampler, argmax, min_p, softmax, temperature, top_k, top_p};
use proptest::prelude::*;

const OUT: f32 = f32::NEG_INFINITY;

/// Peaky and flat logits, with ties and masked tokens among them.
fn logits() -> impl Strategy<Value = Vec<f32>> {
    let logit = prop_oneof![8 => -20f32..20.0, 2 => (-3i8..3).prop_map(f32::from), 1 => Just(OUT)];
    prop::collection::vec(logit, 1..600).prop_filter("one must be possible", |l| l.iter().any(|x| x.is_finite()))
}

fn kept(logits: &[f32]) -> Vec<usize> {
    (0..logits.len()).filter(|&i| logits[i] > OUT).collect()
}

/// Ids by the order that the crate promises, by the plainest means.
fn sorted(logits: &[f32]) -> Vec<usize> {
    let mut ids = kept(logits);
    ids.sort_by(|&a, &b| logits[b].partial_cmp(&logits[a]).expect("no NaN").then(a.cmp(&b)));
    ids
}

fn after(logits: &[f32], transform: impl Fn(&mut [f32])) -> Vec<f32> {
    let mut logits = logits.to_vec();
    transform(&mut logits);
    logits
}

proptest! {
    #[test]
    fn top_k_keeps_the_k_largest(logits in logits(), k in 1usize..700) {
        let mut expected = sorted(&logits);
        expected.truncate(k);
        expected.sort_unstable();
        let cut = after(&logits, |l| top_k(l, k));
        prop_assert_eq!(kept(&cut), expected);
        prop_assert!((0..logits.len()).all(|i| cut[i] == OUT || cut[i] == logits[i]));
    }

    #[test]
    fn top_p_keeps_the_smallest_set(logits in logits(), p in 0.01f32..1.0) {
        let max = logits.iter().copied().fold(OUT, f32::max);
        let weight = |i: usize| f64::from(logits[i] - max).exp();
        let order = sorted(&logits);
        let total: f64 = order.iter().map(|&i| weight(i)).sum();
        let count = kept(&after(&logits, |l| top_p(l, p))).len();
        let mass = |n: usize| order.iter().take(n).map(|&i| weight(i)).sum::<f64>() / total;
        // The crate's exponential is in f32, so a sum that meets p to the seventh digit may go either way.
        prop_assert!(count >= 1 && mass(count) >= f64::from(p) - 1e-6);
        prop_assert!(count == 1 || mass(count - 1) < f64::from(p) + 1e-6);
        let mut expected = order.clone();
        expected.truncate(count);
        expected.sort_unstable();
        prop_assert_eq!(kept(&after(&logits, |l| top_p(l, p))), expected);
    }

    #[test]
    fn min_p_keeps_by_ratio_to_the_best(logits in logits(), p in 0.001f32..1.0) {
        let max = logits.iter().copied().fold(OUT, f32::max);
        let cut = after(&logits, |l| min_p(l, p));
        for i in kept(&logits) {
            let ratio = f64::from(logits[i] - max).exp();
            if (ratio / f64::from(p) - 1.0).abs() > 1e-5 {
                prop_assert_eq!(cut[i] > OUT, ratio > f64::from(p));
            }
        }
    }

    #[test]
    fn no_transform_loses_the_best(logits in logits(), k in 1usize..9, p in 0.01f32..1.0, t in 0.0f32..3.0) {
        let best = argmax(&logits);
        let cut = after(&logits, |l| { top_k(l, k); top_p(l, p); min_p(l, p); temperature(l, t); });
        prop_assert_eq!(argmax(&cut), best);
    }

    #[test]
    fn order_of_the_vocabulary_does_not_matter(
        (logits, order) in prop::collection::hash_set(-3000i16..3000, 2..200).prop_flat_map(|distinct| {
            let logits: Vec<f32> = distinct.into_iter().map(|x| f32::from(x) / 100.0).collect();
            let order: Vec<usize> = (0..logits.len()).collect();
            (Just(logits), Just(order).prop_shuffle())
        }),
        k in 0usize..50, p in 0.3f32..1.0, floor in 0.0f32..0.2, t in 0.1f32..2.0,
    ) {
        let sampler = Sampler::new(0).top_k(k).top_p(p).min_p(floor).temperature(t).presence_penalty(0.5);
        let mut shuffled: Vec<f32> = order.iter().map(|&i| logits[i]).collect();
        let history: Vec<u32> = vec![order[0] as u32, order[1] as u32];
        let mut plain = logits.clone();
        sampler.probabilities(&mut plain, &history).unwrap();
        sampler.probabilities(&mut shuffled, &[0, 1]).unwrap();
        for (place, &id) in order.iter().enumerate() {
            prop_assert!((shuffled[place] - plain[id]).abs() <= 1e-6 * plain[id].max(1e-3));
        }
    }

    #[test]
    fn probabilities_sum_to_one_and_hold_every_draw(logits in logits(), seed: u64, k in 0usize..50, t in 0.0f32..2.0) {
        let sampler = Sampler::new(seed).top_k(k).top_p(0.9).min_p(0.01).temperature(t).repeat_penalty(1.2);
        let chances = sampler.probabilities(&mut logits.clone(), &[0]).unwrap();
        prop_assert!((chances.iter().map(|c| f64::from(c.1)).sum::<f64>() - 1.0).abs() < 1e-5);
        for index in 0..8 {
            let id = sampler.sample(&mut logits.clone(), &[0], index).unwrap();
            prop_assert!(chances.iter().any(|c| c.0 == id), "{id} has no probability");
            prop_assert_eq!(sampler.sample(&mut logits.clone(), &[0], index).unwrap(), id, "the same draw again");
        }
    }

    #[test]
    fn softmax_ignores_a_shift(logits in logits(), shift in -50f32..50.0) {
        let plain = after(&logits, softmax);
        let shifted = after(&logits, |l| { l.iter_mut().for_each(|x| *x += shift); softmax(l); });
        for (a, b) in plain.iter().zip(&shifted) {
            prop_assert!((a - b).abs() < 1e-4);
        }
    }
}

#[test]
fn draws_follow_the_probabilities() {
    let logits: Vec<f32> = (0..20).map(|i| (i * 7 % 20) as f32 * 0.2).collect();
    let sampler = Sampler::new(2026).temperature(0.9).top_k(12).min_p(0.02);
    let chances = sampler.probabilities(&mut logits.clone(), &[]).unwrap();
    assert_eq!(chances.len(), 12);
    const DRAWS: u32 = 100_000;
    let mut counts = [0u32; 20];
    for index in 0..u64::from(DRAWS) {
        counts[sampler.sample(&mut logits.clone(), &[], index).unwrap() as usize] += 1;
    }
    let chi2: f64 = chances
        .iter()
        .map(|&(id, p)| {
            let expected = f64::from(p) * f64::from(DRAWS);
            (f64::from(counts[id as usize]) - expected).powi(2) / expected
        })
        .sum();
    assert_eq!(counts.iter().sum::<u32>(), DRAWS);
    assert!(chi2 < 31.3, "chi² {chi2} is above the 0.1 % point of 11 degrees of freedom");
}

#[test]
fn seeds_differ_and_positions_stand_alone() {
    let draw = |seed, index| Sampler::new(seed).sample(&mut [0.0; 1000], &[], index).unwrap();
    let text = |seed| (0..32).map(|n| draw(seed, n)).collect::<Vec<_>>();
    assert_eq!(text(1), text(1));
    assert_ne!(text(1), text(2));
    // Token 31 is the same whether or not the 31 before it were drawn.
    assert_eq!(draw(1, 31), text(1)[31]);
}

/// The chain by its plain words: the whole vocabulary in order, its beginnings, the running sum.
fn by_sorting(logits: &[f32], seed: u64, k: usize, p: f32, floor: f32, t: f32, position: u64) -> u32 {
    use doppler_sampling::octaves::{OCTAVE, Scale, pick, share, weight};
    let best = logits.iter().copied().fold(OUT, f32::max);
    let (plain, drawn) = (Scale::of_temperature(1.0), Scale::of_temperature(t));
    let mut order = sorted(logits);
    if k > 0 {
        order.truncate(k);
    }
    if p < 1.0 {
        let mass = |i: usize| weight(plain.octaves(best, logits[i]));
        let wanted = share(order.iter().map(|&i| mass(i)).sum(), (f64::from(p) * 2f64.powi(32)).round() as u32);
        let mut sum = 0;
        let end = order.iter().position(|&i| {
            sum += mass(i);
            sum > wanted
        });
        order.truncate(end.map_or(order.len(), |end| end + 1));
    }
    if floor > 0.0 {
        let limit = -f64::from(floor).log2() * f64::from(OCTAVE);
        order.retain(|&i| f64::from(plain.octaves(best, logits[i])) <= limit);
    }
    let mass = |i: usize| weight(drawn.octaves(best, logits[i]));
    let total = order.iter().map(|&i| mass(i)).sum();
    let target = pick(total, doppler_sampling::rng::bits(seed, 0, position));
    let mut sum = 0;
    let chosen = order.iter().find(|&&i| {
        sum += mass(i);
        sum > target
    });
    *chosen.expect("the best has a weight") as u32
}

proptest! {
    #[test]
    fn buckets_choose_as_sorting_does(
        logits in logits(), seed: u64, position in 0u64..1 << 20,
        k in prop_oneof![Just(0usize), 1usize..700], p in prop_oneof![Just(1f32), 0.01f32..1.0],
        floor in prop_oneof![Just(0f32), 1e-8f32..1.0], t in prop_oneof![0.02f32..3.0, Just(1e-9), Just(1e9)],
    ) {
        let sampler = Sampler::new(seed).top_k(k).top_p(p).min_p(floor).temperature(t);
        let chosen = sampler.sample(&mut logits.clone(), &[], position).unwrap();
        prop_assert_eq!(chosen, by_sorting(&logits, seed, k, p, floor, t, position));
        let chain = sampler.chain(logits.len()).unwrap();
        prop_assert!(chain.words().iter().all(|word| *word < 1 << 24));
        prop_assert_eq!(doppler_sampling::Chain::from_words(&chain.words()), chain);
    }

    #[test]
    fn weights_are_those_of_softmax(logits in logits(), t in 0.02f32..3.0) {
        use doppler_sampling::octaves::{Scale, weight};
        let best = logits.iter().copied().fold(OUT, f32::max);
        let scale = Scale::of_temperature(t);
        let weights: Vec<u64> = logits.iter().map(|&l| weight(scale.octaves(best, l))).collect();
        let ideal: Vec<f64> = logits.iter().map(|&l| ((f64::from(l) - f64::from(best)) / f64::from(t)).exp()).collect();
        let (sum, ideal_sum) = (weights.iter().sum::<u64>() as f64, ideal.iter().sum::<f64>());
        let off: f64 = weights.iter().zip(&ideal).map(|(&w, i)| (w as f64 / sum - i / ideal_sum).abs()).sum();
        prop_assert!(off / 2.0 < 1e-6, "{off}");
    }
}

/// The tail of a large vocabulary, each token a millionth of the best one's weight, is not rounded away.
#[test]
fn a_long_flat_tail_keeps_its_weight() {
    use doppler_sampling::octaves::{Scale, WHOLE, weight};
    let scale = Scale::of_temperature(1.0);
    for behind in [5.0, 13.7, 17.3, 20.0f32] {
        let tail = 262_143.0 * weight(scale.octaves(20.0, 20.0 - behind)) as f64 / WHOLE as f64;
        let ideal = 262_143.0 * (-f64::from(20.0f32 - (20.0 - behind))).exp();
        let share = |tail: f64| tail / (1.0 + tail);
        assert!((share(tail) - share(ideal)).abs() < 1e-6, "{behind}: {tail} {ideal}");
    }
}
