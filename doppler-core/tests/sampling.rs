//! The choice of tokens: the same wherever it is made, and at the price of four bytes a token on a GPU.
#![allow(clippy::unwrap_used)] // clippy knows tests, not the functions that they call

#[path = "common/tiny.rs"]
mod tiny;

use doppler_core::DeviceChoice;
use doppler_core::prelude::*;
use futures_util::StreamExt;
use pollster::block_on;
use tiny::{devices, load, model, open};

#[test]
fn sampling_is_the_same_for_the_same_seed() {
    let (_folder, path) = model();
    for device in devices() {
        let mut pipeline = load(&device, &path).unwrap();
        let tokenizer = Tokenizer::of(pipeline.model()).unwrap();
        let mut run = |seed| {
            let sampler = Sampler::new(seed).temperature(1.5).top_k(0);
            let options = GenerateOptions { ignore_eos: true, max_tokens: 24, sampler, ..GenerateOptions::default() };
            let pieces = generate(&mut pipeline, &tokenizer, &[9, 8], options);
            block_on(pieces.map(|piece| piece.unwrap().id).collect::<Vec<_>>())
        };
        let first = run(1);
        assert_eq!(first, run(1));
        assert_ne!(first, run(2));
    }
}

fn samplers() -> [Sampler; 6] {
    [
        Sampler::greedy(),
        Sampler::new(7).temperature(1.3),
        Sampler::new(u64::MAX).top_k(9).temperature(2.0),
        Sampler::new(1 << 33).top_p(0.9),
        Sampler::new(3).top_k(40).top_p(0.95).min_p(0.05).temperature(0.8),
        Sampler::new(4).temperature(1.2).repeat_penalty(1.3),
    ]
}

/// Whoever chooses, the device with steps in flight or the CPU from logits: the token is the same.
#[test]
fn the_device_chooses_what_the_cpu_would() {
    let (_folder, path) = model();
    let mut texts = Vec::new();
    for device in devices() {
        let mut pipeline = load(&device, &path).unwrap();
        let name = device.report().executor;
        let mut tokens = Vec::new();
        block_on(async {
            for sampler in samplers() {
                pipeline.rewind(0).unwrap();
                pipeline.forward(&[11, 12, 13], 1).await.unwrap();
                for _ in 0..20 {
                    pipeline.next(&sampler).await.unwrap();
                }
                let text = pipeline.tokens().to_vec();
                pipeline.rewind(0).unwrap();
                let mut logits = pipeline.forward(&text[..3], 1).await.unwrap();
                for at in 3..text.len() {
                    let expected = sampler.sample(&mut logits.values, &text[..at], at as u64).unwrap();
                    assert_eq!(text[at], expected, "{name}: {sampler:?}, token {at}");
                    logits = pipeline.forward(&[expected], 1).await.unwrap();
                }
                tokens.push(text);
            }
        });
        texts.push((name, tokens));
    }
    for (name, tokens) in &texts[1..] {
        assert_eq!(*tokens, texts[0].1, "{name}");
    }
}

/// Steps in flight were chosen in one way; asked for another, the pipeline does not hand them out.
#[test]
fn another_sampler_takes_over_at_once() {
    let (_folder, path) = model();
    for device in devices() {
        let mut pipeline = load(&device, &path).unwrap();
        block_on(async {
            pipeline.forward(&[11, 12, 13], 0).await.unwrap();
            for _ in 0..2 {
                for sampler in samplers() {
                    pipeline.next(&sampler).await.unwrap();
                    pipeline.next(&sampler).await.unwrap();
                }
            }
            let text = pipeline.tokens().to_vec();
            pipeline.rewind(2).unwrap();
            for (i, &token) in text[3..].iter().enumerate() {
                let mut logits = pipeline.forward(&text[i + 2..i + 3], 1).await.unwrap();
                let sampler = &samplers()[i / 2 % 6];
                let at = i + 3;
                assert_eq!(sampler.sample(&mut logits.values, &text[..at], at as u64).unwrap(), token, "token {at}");
            }
        });
    }
}

/// What is read back and why is told, and counted.
#[test]
#[cfg(feature = "gpu-tests")]
fn a_token_costs_one_submission_and_four_bytes() {
    let (_folder, path) = model();
    let device = devices().pop().unwrap();
    let mut pipeline = load(&device, &path).unwrap();
    for (wanted, sampler) in (16..).zip(samplers()) {
        block_on(async {
            let vocab_size = pipeline.config().vocab_size as u64;
            pipeline.rewind(0).unwrap();
            pipeline.forward(&[5, 6, 7], 1).await.unwrap();
            // The first tokens fill the flight.
            for _ in 0..4 {
                pipeline.next(&sampler).await.unwrap();
            }
            let before = device.counters();
            for _ in 0..wanted {
                pipeline.next(&sampler).await.unwrap();
            }
            let after = device.counters();
            let read = after.readback_bytes - before.readback_bytes;
            assert_eq!(after.submissions - before.submissions, wanted, "{sampler:?}");
            match pipeline.why_logits_are_read(&sampler) {
                None => assert_eq!((read, after.buffers), (4 * wanted, before.buffers), "{sampler:?}"),
                Some(why) => {
                    assert!(why.contains("penalties"), "{why}");
                    assert_eq!(read, 4 * vocab_size * wanted);
                }
            }
        });
    }
}

#[test]
fn the_cpu_says_that_it_reads_logits() {
    let (_folder, path) = model();
    let host = load(&open(DeviceChoice::Host), &path).unwrap();
    assert_eq!(host.why_logits_are_read(&Sampler::greedy()), None);
    assert_eq!(host.why_logits_are_read(&Sampler::new(0)), Some("not on a GPU"));
}
