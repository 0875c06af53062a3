//! One prompt, streamed: the SDK in a hundred lines.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser;
use doppler_core::prelude::*;
use examples::{Answer, ModelArgs, SamplingArgs, end, peak_resident_bytes, say};
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
    let why_read = pipeline.why_logits_are_read(&sampler);
    let options = GenerateOptions { max_tokens, sampler, ignore_eos, ..GenerateOptions::default() };
    let mut answer = Answer::default();
    let each = |text: &str| if args.json { Ok(true) } else { say(text).map(|()| true) };
    answer.stream(&mut pipeline, &tokenizer, &prompt, options, each).await?;

    let (device, total) = (pipeline.device(), started.elapsed());
    let peak = peak_resident_bytes().unwrap_or(0).max(device.peak_gpu_bytes());
    let (prefill_tok_s, decode_tok_s) = (answer.prefill_tok_s(prompt.len()), answer.decode_tok_s());
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let (load, first_token, decode, total) = (ms(load), ms(answer.first_token), ms(answer.decode), ms(total));
    if args.json {
        let report = device.report();
        let object = json!({
            "model": pipeline.model().manifest().model_id(), "adapter": report.adapter, "executor": report.executor,
            "kernel_variants": device.kernel_variants(), "logits_are_read": why_read, "prompt_ids": prompt, "token_ids": answer.ids,
            "text": answer.text, "finish_reason": answer.finish_reason.map(FinishReason::name), "top_logits": top_logits,
            "timings_ms": { "load": load, "first_token": first_token, "decode": decode, "total": total },
            "prefill_tok_s": prefill_tok_s, "decode_tok_s": decode_tok_s,
            "peak_memory_bytes": peak, "peak_gpu_bytes": device.peak_gpu_bytes(),
        });
        println!("{object}");
        return Ok(());
    }
    println!();
    why_read.iter().for_each(|why| eprintln!("logits are read for each token: {why}"));
    top_logits.iter().for_each(|pair| eprintln!("logit {pair}"));
    let (prompt, tokens, peak) = (prompt.len(), answer.ids.len(), peak as f64 / 1e6);
    eprint!("load {load:.0} ms, first token {first_token:.0} ms, prefill {prefill_tok_s:.1} tok/s ({prompt} tokens), ");
    eprintln!("decode {decode_tok_s:.1} tok/s ({tokens} tokens), peak memory {peak:.0} MB");
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
