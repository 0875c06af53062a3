//! Generation: prompt in, a stream of text pieces out. Dropping the stream cancels it.

use doppler_sampling::Sampler;
use futures_util::Stream;

use crate::stop::StopMatcher;
use crate::text::{Detokenizer, Tokenizer};
use crate::{Error, Logits, Pipeline};

/// How to choose tokens and when to end.
#[derive(Debug, Clone)]
pub struct GenerateOptions {
    /// Tokens at most; fewer when the context is full.
    pub max_tokens: usize,
    /// How tokens are drawn.
    pub sampler: Sampler,
    /// Texts that end the answer and are not part of it.
    pub stop: Vec<String>,
    /// Tokens that end the answer besides the model's own.
    pub stop_ids: Vec<u32>,
    /// Go on after the model's own end-of-sequence tokens.
    pub ignore_eos: bool,
}

impl Default for GenerateOptions {
    /// Greedy, up to 256 tokens, until the model ends.
    fn default() -> Self {
        GenerateOptions {
            max_tokens: 256,
            sampler: Sampler::greedy(),
            stop: Vec::new(),
            stop_ids: Vec::new(),
            ignore_eos: false,
        }
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended it.
    Eos,
    /// A stop string or stop token came.
    Stop,
    /// `max_tokens` came.
    Length,
    /// The context is full.
    Context,
}

impl FinishReason {
    /// One lower-case word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FinishReason::Eos => "eos",
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
            FinishReason::Context => "context",
        }
    }
}

/// One token's part of the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// The token.
    pub id: u32,
    /// The text that became certain with it: whole characters, nothing that may yet be a stop string. May be empty.
    pub text: String,
    /// Set on the last piece.
    pub finish_reason: Option<FinishReason>,
}

/// Generates after `prompt`, the ids of the whole text so far. What the pipeline's cache shares with its beginning is
/// kept, the rest is computed. A prompt that fills the context exactly still gets one token.
///
/// The stream ends after the piece with a `finish_reason`, or after an error. Dropping it cancels: the pipeline then
/// holds the tokens that were handed out.
pub fn generate<'a, P: Pipeline>(
    pipeline: &'a mut P,
    tokenizer: &'a Tokenizer,
    prompt: &[u32],
    options: GenerateOptions,
) -> impl Stream<Item = Result<Piece, Error>> + use<'a, P> {
    let generation = Generation {
        tokenizer,
        text: Detokenizer::new(tokenizer),
        stop: StopMatcher::new(&options.stop),
        prompt: prompt.to_vec(),
        count: 0,
        drawn: None,
        done: options.max_tokens == 0,
        pipeline,
        options,
    };
    futures_util::stream::unfold(generation, |mut generation| async move {
        if generation.done {
            return None;
        }
        let piece = generation.step().await;
        generation.done = piece.as_ref().map_or(true, |piece| piece.finish_reason.is_some());
        Some((piece, generation))
    })
}

struct Generation<'a, P> {
    pipeline: &'a mut P,
    options: GenerateOptions,
    tokenizer: &'a Tokenizer,
    text: Detokenizer<'a>,
    stop: StopMatcher,
    prompt: Vec<u32>,
    /// Tokens handed out.
    count: usize,
    /// A drawn token that the pipeline has not been given yet.
    drawn: Option<u32>,
    done: bool,
}

impl<P: Pipeline> Generation<'_, P> {
    async fn step(&mut self) -> Result<Piece, Error> {
        let greedy = self.options.sampler.is_greedy();
        let logits = if self.count == 0 {
            self.options.sampler.validate()?;
            self.continue_text()?;
            Some(self.prefill().await?)
        } else if let Some(id) = self.drawn.take() {
            Some(self.pipeline.forward(&[id], 1).await?)
        } else {
            None
        };
        let id = match logits {
            // The pipeline cannot append to a full context; a last token can be drawn all the same.
            Some(logits) if !greedy || self.room() == 0 => {
                let id = self.draw(logits)?;
                self.drawn = Some(id);
                id
            }
            _ => self.pipeline.greedy().await?,
        };
        self.count += 1;
        self.piece(id)
    }

    /// The answer goes on in the middle of the prompt's text. After a special token, where turns begin, it is a text of
    /// its own.
    fn continue_text(&mut self) -> Result<(), Error> {
        if self.prompt.last().is_some_and(|id| !self.tokenizer.is_special(*id)) {
            self.text = Detokenizer::after(self.tokenizer, &self.prompt)?;
        }
        Ok(())
    }

    /// Positions that the context has left, the drawn token counted.
    fn room(&self) -> usize {
        let used = self.pipeline.tokens().len() + usize::from(self.drawn.is_some());
        self.pipeline.max_seq_len().saturating_sub(used)
    }

    /// Computes what the cache does not hold of the prompt; at least its last token, for the logits.
    async fn prefill(&mut self) -> Result<Logits, Error> {
        let Some(last) = self.prompt.len().checked_sub(1) else {
            return Err(Error::EmptyPrompt);
        };
        let shared = self.pipeline.tokens().iter().zip(&self.prompt[..last]).take_while(|(a, b)| a == b).count();
        self.pipeline.rewind(shared)?;
        self.pipeline.forward(&self.prompt[shared..], 1).await
    }

    fn draw(&self, mut logits: Logits) -> Result<u32, Error> {
        // The position of the token selects its random number: the same seed and text give the same draw.
        let position = self.pipeline.tokens().len() as u64;
        Ok(self.options.sampler.sample(&mut logits.values, self.pipeline.tokens(), position)?)
    }

    /// The text that the token makes certain, and whether it is the last.
    fn piece(&mut self, id: u32) -> Result<Piece, Error> {
        let ends = !self.options.ignore_eos && self.pipeline.config().eos_token_ids.contains(&id);
        let stops = self.options.stop_ids.contains(&id);
        let mut text = String::new();
        if !ends && !stops {
            let new = self.text.push(id)?;
            text = self.stop.push(&new);
        }
        let finish_reason = if ends {
            Some(FinishReason::Eos)
        } else if stops || self.stop.stopped() {
            Some(FinishReason::Stop)
        } else if self.count >= self.options.max_tokens {
            Some(FinishReason::Length)
        } else if self.room() == 0 {
            Some(FinishReason::Context)
        } else {
            None
        };
        if finish_reason.is_some() && !self.stop.stopped() {
            let rest = self.text.finish()?;
            text.push_str(&self.stop.push(&rest));
            text.push_str(&self.stop.finish());
        }
        Ok(Piece { id, text, finish_reason })
    }
}

#[cfg(test)]
mod tests {
    use doppler_rdrr::{Activation, ModelConfig, RopeScaling};
    use futures_util::StreamExt;

    use super::*;

    /// Answers with the bytes of a script, whatever it is asked; token n is byte n.
    struct Scripted {
        config: ModelConfig,
        script: Vec<u32>,
        prompt_len: usize,
        tokens: Vec<u32>,
        forwarded: usize,
    }

    impl Scripted {
        fn new(script: &str) -> Scripted {
            let config = ModelConfig {
                hidden_size: 2,
                intermediate_size: 2,
                num_hidden_layers: 0,
                num_attention_heads: 1,
                num_key_value_heads: 1,
                head_dim: 2,
                vocab_size: 257,
                max_position_embeddings: 64,
                rms_norm_eps: 1e-5,
                rms_norm_weight_offset: false,
                sandwich_norms: false,
                qk_norm: false,
                attention_bias: false,
                rope_theta: 1e4,
                rope_scaling: RopeScaling::None,
                rope_local_base_freq: None,
                rotary_dim: 2,
                rope_layers: Vec::new(),
                layer_types: Vec::new(),
                query_pre_attn_scalar: 2.0,
                sliding_window: None,
                attn_logit_softcapping: None,
                final_logit_softcapping: None,
                hidden_act: Activation::Silu,
                embedding_scale: 1.0,
                residual_scale: 1.0,
                logit_input_scale: 1.0,
                tie_word_embeddings: true,
                bos_token_id: None,
                eos_token_ids: vec![256],
            };
            let script = script.bytes().map(u32::from).chain([256]).collect();
            Scripted { config, script, prompt_len: 2, tokens: Vec::new(), forwarded: 0 }
        }

        fn next(&self) -> u32 {
            self.script.get(self.tokens.len() - self.prompt_len).copied().unwrap_or(256)
        }
    }

    impl Pipeline for Scripted {
        fn config(&self) -> &ModelConfig {
            &self.config
        }

        fn max_seq_len(&self) -> usize {
            64
        }

        fn tokens(&self) -> &[u32] {
            &self.tokens
        }

        async fn forward(&mut self, tokens: &[u32], _rows: usize) -> Result<Logits, Error> {
            self.tokens.extend_from_slice(tokens);
            self.forwarded += tokens.len();
            let mut values = vec![0.0; 257];
            values[self.next() as usize] = 50.0;
            Ok(Logits { values, vocab_size: 257 })
        }

        async fn greedy(&mut self) -> Result<u32, Error> {
            let id = self.next();
            self.tokens.push(id);
            Ok(id)
        }

        fn rewind(&mut self, position: usize) -> Result<(), Error> {
            self.tokens.truncate(position);
            Ok(())
        }
    }

    /// A byte-level tokenizer without merges: id n is byte n.
    fn bytes_tokenizer() -> Tokenizer {
        let vocab: serde_json::Map<String, serde_json::Value> = (0u32..256)
            .map(|b| {
                let c = match b {
                    33..=126 | 161..=172 | 174..=255 => char::from_u32(b),
                    0..=32 => char::from_u32(256 + b),
                    127..=160 => char::from_u32(256 + b - 127 + 33),
                    _ => char::from_u32(256 + 67),
                };
                (c.unwrap().to_string(), b.into())
            })
            .collect();
        let json = serde_json::json!({
            "version": "1.0",
            "added_tokens": [{ "id": 256, "content": "<eos>", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false }],
            "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
            "decoder": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
            "model": { "type": "BPE", "vocab": vocab, "merges": [] },
        });
        Tokenizer::from_json(json.to_string().as_bytes()).unwrap()
    }

    fn run(pipeline: &mut Scripted, options: GenerateOptions) -> (String, Vec<u32>, Option<FinishReason>) {
        let tokenizer = bytes_tokenizer();
        let pieces: Vec<Piece> = pollster::block_on(
            generate(pipeline, &tokenizer, &[1, 2], options).map(Result::unwrap).collect::<Vec<_>>(),
        );
        let text = pieces.iter().map(|p| p.text.as_str()).collect();
        (text, pieces.iter().map(|p| p.id).collect(), pieces.last().and_then(|p| p.finish_reason))
    }

    #[test]
    fn ends_where_the_model_ends_with_whole_characters() {
        for sampler in [Sampler::greedy(), Sampler::new(1).temperature(0.8)] {
            let (text, ids, reason) =
                run(&mut Scripted::new("é 東🦀"), GenerateOptions { sampler, ..Default::default() });
            assert_eq!((text.as_str(), reason), ("é 東🦀", Some(FinishReason::Eos)));
            assert_eq!(ids.len(), "é 東🦀".len() + 1);
        }
    }

    #[test]
    fn ends_at_stop_strings_and_lengths() {
        let options = GenerateOptions { stop: vec!["END".to_owned()], ..Default::default() };
        let (text, _, reason) = run(&mut Scripted::new("one ENtwo END three"), options);
        assert_eq!((text.as_str(), reason), ("one ENtwo ", Some(FinishReason::Stop)));

        let options = GenerateOptions { max_tokens: 3, stop: vec!["ceX".to_owned()], ..Default::default() };
        let (text, ids, reason) = run(&mut Scripted::new("ace of"), options);
        assert_eq!((text.as_str(), ids.len(), reason), ("ace", 3, Some(FinishReason::Length)));

        let long = "x".repeat(100);
        let (text, _, reason) = run(&mut Scripted::new(&long), GenerateOptions::default());
        assert_eq!((text.len(), reason), (62, Some(FinishReason::Context)));
    }

    #[test]
    fn a_prompt_that_fills_the_context_gets_one_token() {
        for sampler in [Sampler::greedy(), Sampler::new(1).temperature(0.8)] {
            let (mut pipeline, tokenizer) = (Scripted::new("ab"), bytes_tokenizer());
            pipeline.prompt_len = 64;
            let options = GenerateOptions { sampler, ..Default::default() };
            let stream = generate(&mut pipeline, &tokenizer, &[1; 64], options);
            let pieces: Vec<Piece> = pollster::block_on(stream.map(Result::unwrap).collect());
            let expected = Piece { id: 97, text: "a".to_owned(), finish_reason: Some(FinishReason::Context) };
            assert_eq!(pieces, [expected]);
        }
    }

    #[test]
    fn an_answer_keeps_the_space_before_its_first_word() {
        let json = serde_json::json!({
            "version": "1.0",
            "added_tokens": [{ "id": 256, "content": "<eos>", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false }],
            "normalizer": { "type": "Replace", "pattern": { "String": " " }, "content": "▁" },
            "decoder": { "type": "Sequence", "decoders": [
                { "type": "Replace", "pattern": { "String": "▁" }, "content": " " },
                { "type": "Fuse" },
                { "type": "Strip", "content": " ", "start": 1, "stop": 0 },
            ] },
            "model": { "type": "BPE", "vocab": { "▁a": 97, "b": 98 }, "merges": [] },
        });
        let tokenizer = Tokenizer::from_json(json.to_string().as_bytes()).unwrap();
        let special = tokenizer.token_to_id("<eos>").unwrap();
        for (prompt, expected) in [([98, 98], " a"), ([98, special], "a")] {
            let mut pipeline = Scripted::new("a");
            let stream = generate(&mut pipeline, &tokenizer, &prompt, GenerateOptions::default());
            let text: String = pollster::block_on(stream.map(|piece| piece.unwrap().text).collect());
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn keeps_what_the_cache_shares_and_cancels_when_dropped() {
        let tokenizer = bytes_tokenizer();
        let mut pipeline = Scripted::new("abc");
        {
            let mut stream = std::pin::pin!(generate(&mut pipeline, &tokenizer, &[1, 2], GenerateOptions::default()));
            let first = pollster::block_on(stream.next()).unwrap().unwrap();
            assert_eq!(first.text, "a");
        }
        assert_eq!(pipeline.tokens(), [1, 2, 97]);
        pipeline.forwarded = 0;
        pipeline.prompt_len = 4;
        let prompt = [1, 2, 97, 9];
        let stream =
            generate(&mut pipeline, &tokenizer, &prompt, GenerateOptions { max_tokens: 1, ..Default::default() });
        assert_eq!(pollster::block_on(stream.collect::<Vec<_>>()).len(), 1);
        assert_eq!(pipeline.forwarded, 1, "only the new token");
    }

    #[test]
    fn an_empty_prompt_is_an_error() {
        let (mut pipeline, tokenizer) = (Scripted::new(""), bytes_tokenizer());
        let results = pollster::block_on(
            generate(&mut pipeline, &tokenizer, &[], GenerateOptions::default()).collect::<Vec<_>>(),
        );
        assert!(matches!(results[..], [Err(Error::EmptyPrompt)]));
    }
}
