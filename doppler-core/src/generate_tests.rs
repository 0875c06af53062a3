//! Generation over a pipeline that says what a script tells it to.

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

    fn scripted(&self) -> u32 {
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
        values[self.scripted() as usize] = 50.0;
        Ok(Logits { values, vocab_size: 257 })
    }

    async fn next(&mut self, _: &Sampler) -> Result<u32, Error> {
        let id = self.scripted();
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
    let pieces: Vec<Piece> =
        pollster::block_on(generate(pipeline, &tokenizer, &[1, 2], options).map(Result::unwrap).collect::<Vec<_>>());
    let text = pieces.iter().map(|p| p.text.as_str()).collect();
    (text, pieces.iter().map(|p| p.id).collect(), pieces.last().and_then(|p| p.finish_reason))
}

#[test]
fn ends_where_the_model_ends_with_whole_characters() {
    for sampler in [Sampler::greedy(), Sampler::new(1).temperature(0.8)] {
        let (text, ids, reason) = run(&mut Scripted::new("é 東🦀"), GenerateOptions { sampler, ..Default::default() });
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
    let stream = generate(&mut pipeline, &tokenizer, &prompt, GenerateOptions { max_tokens: 1, ..Default::default() });
    assert_eq!(pollster::block_on(stream.collect::<Vec<_>>()).len(), 1);
    assert_eq!(pipeline.forwarded, 1, "only the new token");
}

#[test]
fn an_empty_prompt_is_an_error() {
    let (mut pipeline, tokenizer) = (Scripted::new(""), bytes_tokenizer());
    let results =
        pollster::block_on(generate(&mut pipeline, &tokenizer, &[], GenerateOptions::default()).collect::<Vec<_>>());
    assert!(matches!(results[..], [Err(Error::EmptyPrompt)]));
}
