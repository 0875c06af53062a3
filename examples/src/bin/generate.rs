//! One prompt, streamed: the SDK in a hundred lines.

use std::io::Write;
use std::pin::pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser;
use doppler_core::prelude::*;
use examples::{ModelArgs, SamplingArgs, end, peak_resident_bytes};
use futures_util::StreamExt;
use serde_json::{Value, json};

/// Continues PROMPT, or answers it by the model's chat template.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// Tokens at most
    #[arg(long, default_value_t = 256)]
    max_tokens: usize,
    /// Take the prompt as it is, with the tokenizer's own BOS rule, instead of the chat template
    #[arg(long)]
    raw: bool,
    /// Go on after the model's end-of-sequence tokens
    #[arg(long)]
    ignore_eos: bool,
    /// One JSON object on stdout, nothing else
    #[arg(long)]
    json: bool,
    /// Report the N largest raw logits of the last prompt position
    #[arg(long, default_value_t = 0, value_name = "N")]
    top_logits: usize,
    prompt: String,
}

fn main() -> ExitCode {
    end(pollster::block_on(run(Args::parse())))
}

async fn run(args: Args) -> Result<()> {
    let started = Instant::now();
    let mut pipeline = args.model.load().await?;
    let tokenizer = Tokenizer::of(pipeline.model())?;
    let load = started.elapsed();
    let prompt = if args.raw {
        tokenizer.encode(&args.prompt, true)?
    } else {
        pipeline.prompt(&tokenizer, &[Message::user(&args.prompt)])?
    };
    let top_logits =
        if args.top_logits > 0 { top_logits(&mut pipeline, &prompt, args.top_logits).await? } else { vec![] };

    let (sampler, max_tokens, ignore_eos) = (args.sampling.sampler(), args.max_tokens, args.ignore_eos);
    let options = GenerateOptions { max_tokens, sampler, ignore_eos, ..GenerateOptions::default() };
    let (mut ids, mut text, mut finish_reason) = (Vec::new(), String::new(), None);
    let (begun, mut first) = (Instant::now(), Duration::ZERO);
    {
        let mut pieces = pin!(generate(&mut pipeline, &tokenizer, &prompt, options));
        while let Some(piece) = pieces.next().await {
            let piece = piece?;
            if ids.is_empty() {
                first = begun.elapsed();
            }
            ids.push(piece.id);
            text.push_str(&piece.text);
            finish_reason = piece.finish_reason.map(FinishReason::name);
            if !args.json {
                print!("{}", piece.text);
                std::io::stdout().flush()?;
            }
        }
    }
    let decode = begun.elapsed() - first;
    let device = pipeline.device();
    let peak = peak_resident_bytes().unwrap_or(0).max(device.peak_gpu_bytes());
    // Nothing was computed when no token was asked for.
    let prefill_tok_s = if ids.is_empty() { 0.0 } else { prompt.len() as f64 / first.as_secs_f64() };
    let decode_tok_s = ids.len().saturating_sub(1) as f64 / decode.as_secs_f64().max(1e-9);
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    if args.json {
        let report = device.report();
        let object = json!({
            "model": pipeline.model().manifest().model_id(), "adapter": report.adapter, "executor": report.executor,
            "kernel_variants": device.kernel_variants(), "prompt_ids": prompt, "token_ids": ids, "text": text,
            "finish_reason": finish_reason, "top_logits": top_logits,
            "timings_ms": { "load": ms(load), "first_token": ms(first), "decode": ms(decode), "total": ms(started.elapsed()) },
            "prefill_tok_s": prefill_tok_s, "decode_tok_s": decode_tok_s,
            "peak_memory_bytes": peak, "peak_gpu_bytes": device.peak_gpu_bytes(),
        });
        println!("{object}");
    } else {
        println!();
        top_logits.iter().for_each(|pair| eprintln!("logit {pair}"));
        eprintln!(
            "load {:.0} ms, first token {:.0} ms, prefill {prefill_tok_s:.1} tok/s ({} tokens), decode {decode_tok_s:.1} tok/s ({} tokens), peak memory {:.0} MB",
            ms(load),
            ms(first),
            prompt.len(),
            ids.len(),
            peak as f64 / 1e6,
        );
    }
    Ok(())
}

/// The largest logits after the prompt, raw; the prompt is computed again by the generation that follows.
async fn top_logits(pipeline: &mut DecoderPipeline, prompt: &[u32], n: usize) -> Result<Vec<Value>> {
    let logits = pipeline.forward(prompt, 1).await?;
    pipeline.rewind(0)?;
    let mut order: Vec<(usize, f32)> = logits.last().iter().copied().enumerate().collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(order.into_iter().take(n).map(|(id, logit)| json!([id, logit])).collect())
}
