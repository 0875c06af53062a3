//! The numbers that define a decoder. Families exist only in the converter; the decoder sees nothing but this.

use serde::{Deserialize, Serialize};

/// The hyperparameters of a causal language model, under Hugging Face's names.
///
/// `None` means that the model does not have the feature; there are no hidden defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP's inner layer.
    pub intermediate_size: usize,
    /// Number of decoder layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; divides `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Elements of one head; even.
    pub head_dim: usize,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Longest context the model was made for, in tokens.
    pub max_position_embeddings: usize,
    /// Added to the mean square in every RMS norm.
    pub rms_norm_eps: f64,
    /// Norm weights are stored as an offset from 1: the norm multiplies by `1 + weight`.
    pub rms_norm_weight_offset: bool,
    /// The outputs of attention and MLP are normalized too, each before it joins the residual stream.
    pub sandwich_norms: bool,
    /// Queries and keys have an RMS norm over each head, before the rotation.
    pub qk_norm: bool,
    /// The projections to queries, keys and values have a bias.
    pub attention_bias: bool,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// How the rotary frequencies are stretched for long contexts.
    pub rope_scaling: RopeScaling,
    /// Base of the rotary frequencies in layers with a sliding window, unstretched there; as elsewhere when `None`.
    pub rope_local_base_freq: Option<f64>,
    /// Leading elements of each head that are rotated; even.
    pub rotary_dim: usize,
    /// For each layer, whether it rotates queries and keys at all.
    pub rope_layers: Vec<bool>,
    /// For each layer, what its attention sees.
    pub layer_types: Vec<LayerType>,
    /// The attention scores are multiplied by `1 / sqrt(query_pre_attn_scalar)`; `head_dim` in most models.
    pub query_pre_attn_scalar: f64,
    /// In a layer with a sliding window, each position sees only this many positions, itself included.
    pub sliding_window: Option<usize>,
    /// Scores become `cap · tanh(score / cap)`.
    pub attn_logit_softcapping: Option<f64>,
    /// Logits become `cap · tanh(logit / cap)`.
    pub final_logit_softcapping: Option<f64>,
    /// The gate's activation in the MLP.
    pub hidden_act: Activation,
    /// Embeddings are multiplied by this.
    pub embedding_scale: f64,
    /// What attention and MLP add to the residual stream is multiplied by this.
    pub residual_scale: f64,
    /// What enters the output head is multiplied by this.
    pub logit_input_scale: f64,
    /// The output head is the embedding.
    pub tie_word_embeddings: bool,
    /// First token of every sequence, where the model wants one.
    pub bos_token_id: Option<u32>,
    /// Tokens that end an answer.
    pub eos_token_ids: Vec<u32>,
}

/// The activation of a gated MLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x · sigmoid(x)`.
    Silu,
    /// GELU's tanh approximation.
    GeluTanh,
}

/// What a layer's attention sees; the names are those of Hugging Face's `layer_types`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerType {
    /// Every earlier position.
    FullAttention,
    /// The last `sliding_window` positions.
    SlidingAttention,
}

/// How rotary frequencies are stretched; the formulas are those of Hugging Face's `modeling_rope_utils`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rope_type", rename_all = "snake_case")]
pub enum RopeScaling {
    /// Frequencies as they are.
    None,
    /// Every frequency divided by `factor`.
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Llama 3.1: long wavelengths divided by `factor`, short ones kept, a smooth band between.
    Llama3 {
        /// The divisor of the long wavelengths.
        factor: f64,
        /// Wavelengths above `original / low_freq_factor` are divided.
        low_freq_factor: f64,
        /// Wavelengths below `original / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// The context length before stretching.
        original_max_position_embeddings: usize,
    },
    /// Phi-3: each frequency has divisors of its own, one list for short contexts and one for long.
    /// <https://arxiv.org/abs/2402.13753>
    Longrope {
        /// Divisors for contexts up to the original length; `rotary_dim / 2` of them.
        short_factor: Vec<f64>,
        /// Divisors for longer contexts; as many.
        long_factor: Vec<f64>,
        /// The context length before stretching.
        original_max_position_embeddings: usize,
        /// Rotated elements are multiplied by this, whatever the context.
        attention_factor: f64,
    },
}

impl ModelConfig {
    /// The rotary frequencies of a layer for contexts of up to `max_seq_len` tokens: `rotary_dim / 2` of them, in radians
    /// per position.
    ///
    /// LongRoPE has two sets. Hugging Face changes between them when a sequence outgrows the original length, which
    /// leaves keys of the other set in its cache; here the context that was asked for decides, once.
    #[must_use]
    pub fn rope_frequencies(&self, layer_type: LayerType, max_seq_len: usize) -> Vec<f64> {
        let local = self.rope_local_base_freq.filter(|_| layer_type == LayerType::SlidingAttention);
        let theta = local.unwrap_or(self.rope_theta);
        (0..self.rotary_dim / 2)
            .map(|i| {
                let frequency = theta.powf(-((2 * i) as f64) / self.rotary_dim as f64);
                if local.is_some() { frequency } else { self.rope_scaling.apply(i, frequency, max_seq_len) }
            })
            .collect()
    }

    /// What rotated elements are multiplied by.
    #[must_use]
    pub fn rope_attention_factor(&self) -> f64 {
        match self.rope_scaling {
            RopeScaling::Longrope { attention_factor, .. } => attention_factor,
            _ => 1.0,
        }
    }

    /// The window of a layer's attention.
    #[must_use]
    pub fn window(&self, layer: usize) -> Option<usize> {
        match self.layer_types.get(layer) {
            Some(LayerType::SlidingAttention) => self.sliding_window,
            _ => None,
        }
    }

    /// Elements of all query heads together.
    #[must_use]
    pub fn q_dim(&self) -> usize {
        self.num_attention_heads * self.head_dim
    }

    /// Elements of all key (or value) heads together.
    #[must_use]
    pub fn kv_dim(&self) -> usize {
        self.num_key_value_heads * self.head_dim
    }
}

impl RopeScaling {
    fn apply(&self, index: usize, frequency: f64, max_seq_len: usize) -> f64 {
        match self {
            RopeScaling::None => frequency,
            RopeScaling::Linear { factor } => frequency / factor,
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
                let turns = *original_max_position_embeddings as f64 * frequency / std::f64::consts::TAU;
                let smooth = ((turns - low_freq_factor) / (high_freq_factor - low_freq_factor)).clamp(0.0, 1.0);
                frequency * (smooth + (1.0 - smooth) / factor)
            }
            RopeScaling::Longrope { short_factor, long_factor, original_max_position_embeddings, .. } => {
                let long = max_seq_len > *original_max_position_embeddings;
                let factors = if long { long_factor } else { short_factor };
                frequency / factors.get(index).copied().unwrap_or(1.0)
            }
        }
    }
}
