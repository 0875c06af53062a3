//! A conversation of many turns. Ctrl-C stops the answer and keeps the session; at the prompt, it ends it.

use std::io::BufRead;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use clap::Parser;
use doppler_core::prelude::*;
use examples::{Answer, ModelArgs, SamplingArgs, end, say};

/// Talks with a model by its own chat template.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// Tokens of an answer at most
    #[arg(long, default_value_t = 512)]
    max_tokens: usize,
    /// What the model is told before the conversation
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
}

fn main() -> ExitCode {
    end(pollster::block_on(run(Args::parse())))
}

async fn run(args: Args) -> Result<()> {
    let mut pipeline = args.model.load().await?;
    let tokenizer = Tokenizer::of(pipeline.model())?;
    let (answering, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    {
        let (answering, stop) = (answering.clone(), stop.clone());
        ctrlc::set_handler(move || {
            if !answering.load(Ordering::SeqCst) {
                std::process::exit(0);
            }
            stop.store(true, Ordering::SeqCst);
        })?;
    }
    let mut messages: Vec<Message> = args.system.iter().map(|text| Message::new("system", text)).collect();
    let mut lines = std::io::stdin().lock().lines();
    loop {
        say("> ")?;
        let Some(line) = lines.next().transpose()? else {
            println!();
            return Ok(());
        };
        if line.trim().is_empty() {
            continue;
        }
        messages.push(Message::user(line));
        let prompt = tokenizer.encode(&pipeline.chat(&messages)?, false)?;
        let (max_tokens, sampler) = (args.max_tokens, args.sampling.sampler());
        let options = GenerateOptions { max_tokens, sampler, ..GenerateOptions::default() };
        stop.store(false, Ordering::SeqCst);
        answering.store(true, Ordering::SeqCst);
        let mut answer = Answer::default();
        let each = |text: &str| say(text).map(|()| !stop.load(Ordering::SeqCst));
        if let Err(error) = answer.stream(&mut pipeline, &tokenizer, &prompt, options, each).await {
            eprintln!("{error:#}");
        }
        answering.store(false, Ordering::SeqCst);
        println!();
        messages.push(Message::new("assistant", answer.text));
    }
}
