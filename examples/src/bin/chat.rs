//! A conversation of many turns. Ctrl-C stops the answer and keeps the session; at the prompt, it ends it.

use std::io::BufRead;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use clap::Parser;
use doppler_core::prelude::*;
use examples::{Answer, ModelArgs, SamplingArgs, end, say};

/// Talks with a model by its own chat template. `/reset` begins a new conversation.
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

static ANSWERING: AtomicBool = AtomicBool::new(false);
static STOP: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    end(pollster::block_on(run(Args::parse())))
}

async fn run(args: Args) -> Result<()> {
    let mut pipeline = args.model.load().await?;
    let tokenizer = Tokenizer::of(pipeline.model())?;
    ctrlc::set_handler(|| {
        if !ANSWERING.load(Ordering::SeqCst) {
            std::process::exit(0);
        }
        STOP.store(true, Ordering::SeqCst);
    })?;
    let mut messages: Vec<Message> = args.system.iter().map(|text| Message::new("system", text)).collect();
    let begin = messages.len();
    let mut lines = std::io::stdin().lock().lines();
    loop {
        say("> ")?;
        let Some(line) = lines.next().transpose()? else {
            println!();
            return Ok(());
        };
        match line.trim() {
            "" => continue,
            "/reset" => messages.truncate(begin),
            _ => messages.push(Message::user(line)),
        }
        if messages.len() == begin {
            continue;
        }
        STOP.store(false, Ordering::SeqCst);
        ANSWERING.store(true, Ordering::SeqCst);
        let answered = answer(&mut pipeline, &tokenizer, &messages, &args).await;
        ANSWERING.store(false, Ordering::SeqCst);
        match answered {
            Ok(text) => messages.push(Message::new("assistant", text)),
            Err(error) => {
                // The turn that got no answer must not stand in the way of the next.
                messages.pop();
                eprintln!("error: {error:#}; the message is forgotten, /reset forgets all");
            }
        }
    }
}

/// Streams the answer, and says why when it was cut.
async fn answer(
    pipeline: &mut DecoderPipeline,
    tokenizer: &Tokenizer,
    messages: &[Message],
    args: &Args,
) -> Result<String> {
    let prompt = pipeline.prompt(tokenizer, messages)?;
    let (max_tokens, sampler) = (args.max_tokens, args.sampling.sampler());
    let options = GenerateOptions { max_tokens, sampler, ..Default::default() };
    let mut answer = Answer::default();
    let each = |text: &str| say(text).map(|()| !STOP.load(Ordering::SeqCst));
    answer.stream(pipeline, tokenizer, &prompt, options, each).await?;
    if let Some(reason @ (FinishReason::Length | FinishReason::Context)) = answer.finish_reason {
        eprint!(" [cut: {}; a larger --max-tokens or --max-seq-len, or /reset, makes room]", reason.name());
    }
    println!();
    Ok(answer.text)
}
