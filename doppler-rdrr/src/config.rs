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
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// How the rotary frequencies are stretched for long contexts.
    pub rope_scaling: RopeScaling,
    /// The attention scores are multiplied by `1 / sqrt(query_pre_attn_scalar)`; `head_dim` in most models.
    pub query_pre_attn_scalar: f64,
    /// Each position sees only this many positions, itself included.
    pub sliding_window: Option<usize>,
    /// Scores become `cap · tanh(score / cap)`.
    pub attn_logit_softcapping: Option<f64>,
    /// Logits become `cap · tanh(logit / cap)`.
    pub final_logit_softcapping: Option<f64>,
    /// The gate's activation in the MLP.
    pub hidden_act: Activation,
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

/// How rotary frequencies are stretched; the formulas are those of Hugging Face's `modeling_rope_utils`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
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
}

impl ModelConfig {
    /// The rotary frequencies, `head_dim / 2` of them, in radians per position.
    #[must_use]
    pub fn rope_frequencies(&self) -> Vec<f64> {
        let half = self.head_dim / 2;
        (0..half)
            .map(|i| self.rope_theta.powf(-((2 * i) as f64) / self.head_dim as f64))
            .map(|frequency| self.rope_scaling.apply(frequency))
            .collect()
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
    fn apply(self, frequency: f64) -> f64 {
        match self {
            RopeScaling::None => frequency,
            RopeScaling::Linear { factor } => frequency / factor,
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
                let turns = original_max_position_embeddings as f64 * frequency / std::f64::consts::TAU;
                let smooth = ((turns - low_freq_factor) / (high_freq_factor - low_freq_factor)).clamp(0.0, 1.0);
                frequency * (smooth + (1.0 - smooth) / factor)
            }
        }
    }
}
