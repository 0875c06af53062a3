//! Everything that can be wrong with model files.

use std::path::PathBuf;

/// What is wrong with a model file, which part of it, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A dtype name that is neither a float nor one of the packed formats.
    #[error(
        "unknown tensor type `{name}`; supported are F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K and Q6_K"
    )]
    UnknownDType {
        /// The name as found.
        name: String,
    },
    /// A buffer whose length does not fit the number of elements and their format.
    #[error("{dtype}: {elements} elements do not fit {bytes} bytes; a row must be whole blocks of {} elements", dtype.block_len())]
    BlockSize {
        /// The packed format.
        dtype: crate::DType,
        /// Number of elements wanted.
        elements: usize,
        /// Number of bytes at hand.
        bytes: usize,
    },
    /// A GGUF file does not begin with the four letters.
    #[error(
        "not a GGUF file: it begins with {found:02x?} instead of `GGUF`; give a .gguf file or a folder with config.json"
    )]
    GgufMagic {
        /// The first four bytes, zeros where the file is shorter.
        found: [u8; 4],
    },
    /// A GGUF file of a big-endian machine.
    #[error("GGUF version {version} is stored big-endian; convert the model again on a little-endian machine")]
    GgufBigEndian {
        /// The version, once swapped.
        version: u32,
    },
    /// A GGUF version that is not read.
    #[error(
        "GGUF version {version} is not supported, only 2 and 3 are; convert the model again with a current llama.cpp"
    )]
    GgufVersion {
        /// The version as found.
        version: u32,
    },
    /// A GGUF file ends too early.
    #[error("the file has {length} bytes, but {what} needs {needed} more at offset {offset}; fetch the file again")]
    GgufTruncated {
        /// What was being read.
        what: String,
        /// Where it begins.
        offset: u64,
        /// The bytes it needs from there.
        needed: u64,
        /// The bytes of the file.
        length: u64,
    },
    /// A metadata value of a type that GGUF does not have.
    #[error("metadata `{key}` has the unknown type {found}; the file is corrupt, fetch it again")]
    GgufValueType {
        /// The metadata key.
        key: String,
        /// The type number as found.
        found: u32,
    },
    /// Arrays of arrays of arrays.
    #[error("metadata `{key}` nests arrays deeper than {limit}; the file is corrupt, fetch it again")]
    GgufNesting {
        /// The metadata key.
        key: String,
        /// The deepest accepted.
        limit: usize,
    },
    /// A string that is not UTF-8.
    #[error("{what} is not UTF-8; the file is corrupt, fetch it again")]
    NotUtf8 {
        /// Which string.
        what: String,
    },
    /// A truth value that is neither 0 nor 1.
    #[error("metadata `{key}` holds {found} as a truth value; the file is corrupt, fetch it again")]
    GgufBool {
        /// The metadata key.
        key: String,
        /// The byte as found.
        found: u8,
    },
    /// The same metadata key twice.
    #[error("metadata `{key}` is there twice; the file is ambiguous, convert the model again")]
    GgufDuplicateKey {
        /// The metadata key.
        key: String,
    },
    /// The same tensor twice.
    #[error("tensor `{tensor}` is there twice; the file is ambiguous, convert the model again")]
    DuplicateSourceTensor {
        /// The tensor's name.
        tensor: String,
    },
    /// An alignment that is not a power of two between 1 and 1 MiB.
    #[error("alignment {alignment} is not a power of two up to 1 MiB; the file is corrupt, fetch it again")]
    GgufAlignment {
        /// `general.alignment` as found.
        alignment: u64,
    },
    /// A tensor type that is not read.
    #[error(
        "tensor `{tensor}` is stored as {found}, which is not supported; use a file in F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K or Q6_K"
    )]
    UnsupportedTensorType {
        /// The tensor's name.
        tensor: String,
        /// The name of its type, or its number.
        found: String,
    },
    /// A shape that no tensor can have.
    #[error("tensor `{tensor}` has the impossible shape {shape:?} for {dtype}; the file is corrupt, fetch it again")]
    GgufShape {
        /// The tensor's name.
        tensor: String,
        /// Its dimensions, outermost first.
        shape: Vec<u64>,
        /// Its type.
        dtype: crate::DType,
    },
    /// A tensor that lies beyond the end of the file.
    #[error(
        "tensor `{tensor}` needs {bytes} bytes at offset {offset}, but the file ends at {length}; fetch the file again"
    )]
    GgufBounds {
        /// The tensor's name.
        tensor: String,
        /// Where it begins in the file, or would.
        offset: u64,
        /// Its size.
        bytes: u64,
        /// The bytes of the file.
        length: u64,
    },
    /// A tensor whose offset is not aligned.
    #[error(
        "tensor `{tensor}` begins at {offset}, which is no multiple of the alignment {alignment}; the file is corrupt, fetch it again"
    )]
    GgufMisaligned {
        /// The tensor's name.
        tensor: String,
        /// Its offset as found.
        offset: u64,
        /// The file's alignment.
        alignment: u64,
    },
    /// Two tensors that share bytes.
    #[error("tensors `{first}` and `{second}` overlap; the file is corrupt, fetch it again")]
    GgufOverlap {
        /// The tensor that begins first.
        first: String,
        /// The one that begins inside it.
        second: String,
    },
    /// Bytes between tensors that belong to none.
    #[error("{bytes} bytes before tensor `{tensor}` belong to no tensor; the file is corrupt, fetch it again")]
    GgufGap {
        /// The tensor after the gap.
        tensor: String,
        /// Size of the gap.
        bytes: u64,
    },
    /// A setting that the model's own description must have.
    #[error("the model's description has no `{key}`; the file is incomplete, fetch it again")]
    MissingKey {
        /// Its name in config.json or in the GGUF metadata.
        key: String,
    },
    /// A setting of the wrong type or out of range.
    #[error("`{key}` is {found}, expected {expected}; correct the model's description")]
    KeyType {
        /// Its name in config.json or in the GGUF metadata.
        key: String,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// A model family that is not read.
    #[error("architecture `{found}` is not supported; supported are {}", supported.join(", "))]
    UnknownArchitecture {
        /// The name as found.
        found: String,
        /// The names that are read.
        supported: Vec<&'static str>,
    },
    /// A setting whose mathematics the decoder does not have.
    #[error("`{key}` = {found} is not supported; use a model without it")]
    UnsupportedSetting {
        /// Its name in config.json or in the GGUF metadata.
        key: String,
        /// Its value.
        found: String,
    },
    /// A weight that the model's description calls for is not in the source.
    #[error("tensor `{tensor}` is missing; the file is incomplete, fetch it again")]
    SourceTensorMissing {
        /// The name in RDRR, which is Hugging Face's for Llama.
        tensor: String,
    },
    /// A weight that the model's description has no place for.
    #[error(
        "tensor `{tensor}` has no place in this architecture; the model has a feature that is not supported, use another"
    )]
    SourceTensorUnexpected {
        /// The name in the source.
        tensor: String,
    },
    /// A weight whose shape contradicts the model's description.
    #[error("tensor `{tensor}` has shape {actual:?}, its description says {expected:?}; fetch the model again")]
    SourceTensorShape {
        /// The name in RDRR.
        tensor: String,
        /// By the description, outermost first.
        expected: Vec<usize>,
        /// As stored, outermost first.
        actual: Vec<usize>,
    },
    /// A tokenizer kind that cannot be turned into a tokenizer.json.
    #[error(
        "tokenizer kind `{found}` is not supported, only `gpt2`, `llama`, `gemma4` and `t5` are; use the model's Hugging Face folder"
    )]
    UnknownTokenizer {
        /// `tokenizer.ggml.model` as found.
        found: String,
    },
    /// A pre-tokenizer whose splitting rules are not known.
    #[error(
        "pre-tokenizer `{found}` is not known; use the model's Hugging Face folder, which brings its own tokenizer.json"
    )]
    UnknownPreTokenizer {
        /// `tokenizer.ggml.pre` as found.
        found: String,
    },
    /// Tables of a tokenizer that do not fit each other.
    #[error("`{key}` has {actual} entries where {expected} fit; the file is corrupt, fetch it again")]
    TokenizerLength {
        /// The table.
        key: String,
        /// The number of tokens, or of rows in the embedding.
        expected: usize,
        /// Its entries.
        actual: usize,
    },
    /// A token that appears under two ids.
    #[error("token {text:?} is there as {first} and as {second}; the tokenizer is ambiguous, fetch the file again")]
    DuplicateToken {
        /// The token.
        text: String,
        /// The lower id.
        first: u32,
        /// The higher id.
        second: u32,
    },
    /// A merge rule that joins what the vocabulary does not have.
    #[error(
        "merge {index} ({merge:?}) does not join two tokens into a third; the tokenizer is corrupt, fetch the file again"
    )]
    TokenizerMerge {
        /// Its place in the table.
        index: usize,
        /// The rule as found.
        merge: String,
    },
    /// A table of character replacements that cannot be followed.
    #[error("`{key}` {what}; the tokenizer is corrupt, fetch the file again")]
    Charsmap {
        /// The table.
        key: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A token id beyond the vocabulary.
    #[error("`{key}` is {id}, but there are only {tokens} tokens; the tokenizer is corrupt, fetch the file again")]
    TokenId {
        /// The setting.
        key: String,
        /// Its value.
        id: u64,
        /// Size of the vocabulary.
        tokens: usize,
    },
    /// A safetensors file whose header does not fit it.
    #[error("{file}: a header of {header} bytes does not fit a file of {length}; fetch the file again")]
    SafetensorsHeader {
        /// The file's name.
        file: String,
        /// The header's length as found.
        header: u64,
        /// The bytes of the file.
        length: u64,
    },
    /// A safetensors entry without a dtype, shape and pair of offsets.
    #[error("{file}: the entry of tensor `{tensor}` lacks a valid dtype, shape or data_offsets; fetch the file again")]
    SafetensorsEntry {
        /// The file's name.
        file: String,
        /// The tensor's name.
        tensor: String,
    },
    /// A safetensors entry whose offsets do not hold its shape.
    #[error("{file}: tensor `{tensor}` needs {expected} bytes, its offsets span {actual}; fetch the file again")]
    SafetensorsSize {
        /// The file's name.
        file: String,
        /// The tensor's name.
        tensor: String,
        /// By dtype and shape.
        expected: u64,
        /// By the offsets.
        actual: u64,
    },
    /// Safetensors data with an overlap, a gap or a missing end.
    #[error("{file}: the data of {what} begins or ends at {actual} instead of {expected}; fetch the file again")]
    SafetensorsLayout {
        /// The file's name.
        file: String,
        /// The tensor, or the whole file.
        what: String,
        /// Where it should.
        expected: u64,
        /// Where it does.
        actual: u64,
    },
    /// The index of a sharded model contradicts its shards.
    #[error("tensor `{tensor}` and `{file}` do not agree with model.safetensors.index.json; fetch the model again")]
    SafetensorsIndex {
        /// The tensor's name.
        tensor: String,
        /// The shard that has it unlisted, or lacks it.
        file: String,
    },
    /// A file that a model's folder must have.
    #[error("`{path}` is missing; fetch the model's folder completely, or give a GGUF file")]
    MissingSourceFile {
        /// The file.
        path: PathBuf,
    },
    /// A type that weights cannot be quantized to.
    #[error("weights cannot be quantized to {dtype}; use Q8_0 or Q4_K")]
    QuantizeTarget {
        /// The type asked for.
        dtype: crate::DType,
    },
    /// A row that no quantized type can hold.
    #[error(
        "tensor `{tensor}` has rows of {cols} elements, no multiple of 32, and cannot be quantized; convert the model without it"
    )]
    QuantizeRow {
        /// The tensor's name.
        tensor: String,
        /// Elements of its rows.
        cols: usize,
    },
    /// A weight that is infinite or no number.
    #[error(
        "element {index} is infinite or not a number and cannot be quantized; the weights are corrupt, fetch them again"
    )]
    NotFinite {
        /// Its position among the values given.
        index: usize,
    },
    // ---- RDRR folders ----
    /// The operating system refused a file.
    #[error("cannot use `{path}`; check the path, its permissions and the free space")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A model's path that is no folder.
    #[error("`{path}` is not a folder; give the folder that holds manifest.json")]
    NotAFolder {
        /// The path as given.
        path: PathBuf,
    },
    /// A folder without a manifest.
    #[error("`{path}` has no manifest.json; give an RDRR folder, or convert the model first")]
    NoManifest {
        /// The folder.
        path: PathBuf,
    },
    /// The folder of a conversion that has not ended.
    #[error("`{path}` is an unfinished conversion; delete it and convert again")]
    Unfinished {
        /// The folder.
        path: PathBuf,
    },
    /// A file, list or name is longer than any model needs.
    #[error("{what} is {size}, at most {limit} is accepted; the file is corrupt, fetch it again")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its size.
        size: u64,
        /// The largest accepted.
        limit: u64,
    },
    /// A file is not JSON.
    #[error("{file} is not valid JSON; fetch it again")]
    Json {
        /// The file's name.
        file: String,
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
    /// A key stands twice in one JSON object.
    #[error("{file} has the key `{key}` twice in one object; remove one or fetch the file again")]
    DuplicateKey {
        /// The file's name.
        file: String,
        /// The repeated key.
        key: String,
    },
    /// A required field of the manifest is absent.
    #[error("the manifest has no field `{field}`; write null where a feature is off, or convert the model again")]
    MissingField {
        /// Path of the field, such as `inference.attention.queryPreAttnScalar`.
        field: String,
    },
    /// A field of the manifest has a value of the wrong kind or range.
    #[error("the manifest's field `{field}` is {found}, expected {expected}; correct it or convert the model again")]
    InvalidField {
        /// Path of the field.
        field: String,
        /// What may stand there.
        expected: &'static str,
        /// What stands there, shortened.
        found: String,
    },
    /// The model needs something that this version cannot do.
    #[error("`{field}` is {found}: {what} not supported yet; use another model or a newer version")]
    UnsupportedField {
        /// Path of the manifest's field, or name of the tensor.
        field: String,
        /// Its value, shortened.
        found: String,
        /// The feature it asks for, with its verb: "query and key norms are".
        what: &'static str,
    },
    /// A file name of the manifest would lead out of the model's folder.
    #[error("`{field}` names the file `{name}`; only a plain file name inside the model's folder is accepted")]
    FileName {
        /// Path of the manifest's field.
        field: String,
        /// The name as found.
        name: String,
    },
    /// A shard's file is absent.
    #[error("the shard `{path}` is missing; fetch it again")]
    MissingShard {
        /// The file.
        path: PathBuf,
    },
    /// A shard's file has another size than the manifest says.
    #[error("the shard `{path}` has {actual} bytes, the manifest says {expected}; fetch it again")]
    ShardSize {
        /// The file.
        path: PathBuf,
        /// Bytes by the manifest.
        expected: u64,
        /// Bytes of the file.
        actual: u64,
    },
    /// A shard's bytes are not those that were written.
    #[error("the shard `{path}` is corrupt: {algorithm} {actual}, the manifest says {expected}; fetch it again")]
    ShardDigest {
        /// The file.
        path: PathBuf,
        /// `sha256` or `blake3`.
        algorithm: &'static str,
        /// Digest by the manifest.
        expected: String,
        /// Digest of the file.
        actual: String,
    },
    /// The sizes of the shards do not add up.
    #[error("the manifest's totalSize is {expected}, its shards have {actual} bytes; fetch the manifest again")]
    TotalSize {
        /// `totalSize`.
        expected: u64,
        /// Sum of the shards.
        actual: u64,
    },
    /// The number of tensors is not `tensorCount`.
    #[error("the manifest's tensorCount is {expected}, but {actual} tensors are listed; fetch the model again")]
    TensorCount {
        /// `tensorCount`.
        expected: u64,
        /// Number of entries.
        actual: u64,
    },
    /// A model without tensors.
    #[error("the model in `{path}` has no tensors; convert it again")]
    NoTensors {
        /// The folder.
        path: PathBuf,
    },
    /// A tensor's type is not one that can be computed with.
    #[error("tensor `{tensor}` has the type `{dtype}`, which is not supported; convert the model to another type")]
    TensorDType {
        /// The tensor.
        tensor: String,
        /// The type as found.
        dtype: String,
    },
    /// A tensor's shape is impossible: no dimension, a zero, too many, too large, or rows that are no whole blocks.
    #[error("tensor `{tensor}` of type {dtype} cannot have the shape {shape:?}; convert the model again")]
    TensorShape {
        /// The tensor.
        tensor: String,
        /// Its type.
        dtype: crate::DType,
        /// The shape as found.
        shape: Vec<u64>,
    },
    /// A tensor is stored in another number of bytes than its type and shape need.
    #[error(
        "tensor `{tensor}` ({dtype} {shape:?}) is stored in {actual} bytes, expected {expected}; fetch the model again"
    )]
    TensorSize {
        /// The tensor.
        tensor: String,
        /// Its type.
        dtype: crate::DType,
        /// Its shape.
        shape: Vec<usize>,
        /// Bytes that type and shape need.
        expected: u64,
        /// Bytes by the manifest, or written so far.
        actual: u64,
    },
    /// A tensor lies in a shard that does not exist.
    #[error("tensor `{tensor}` lies in shard {shard}, but there are {num_shards} shards; fetch the manifest again")]
    ShardIndex {
        /// The tensor.
        tensor: String,
        /// The index as found.
        shard: u64,
        /// Number of shards.
        num_shards: usize,
    },
    /// A tensor reaches beyond the end of its shard.
    #[error(
        "tensor `{tensor}` ends beyond shard {shard}: {size} bytes at {offset} of {shard_size}; fetch the manifest again"
    )]
    SpanBounds {
        /// The tensor.
        tensor: String,
        /// Index of the shard.
        shard: usize,
        /// Where the piece begins.
        offset: u64,
        /// Bytes of the piece.
        size: u64,
        /// Bytes of the shard.
        shard_size: u64,
    },
    /// Two tensors share bytes.
    #[error("tensors `{tensor}` and `{other}` overlap in shard {shard}; fetch the manifest again")]
    Overlap {
        /// The tensor that begins later.
        tensor: String,
        /// The one that begins earlier.
        other: String,
        /// Index of the shard.
        shard: usize,
    },
    /// The model has no tensor of that name.
    #[error("the model has no tensor `{tensor}`; convert it again from complete files")]
    MissingTensor {
        /// The name asked for.
        tensor: String,
    },
    /// A tensor has another shape than the model's numbers ask for.
    #[error("tensor `{tensor}` has the shape {actual:?}, the model's config asks for {expected:?}; convert it again")]
    UnexpectedShape {
        /// The tensor.
        tensor: String,
        /// Shape by the config.
        expected: Vec<usize>,
        /// Shape as stored.
        actual: Vec<usize>,
    },
    /// The model's folder has no tokenizer.
    #[error("`{path}` is missing; add the model's tokenizer.json or convert the model again")]
    NoTokenizer {
        /// Where it should be.
        path: PathBuf,
    },
    /// A model is to be written over something.
    #[error("`{path}` already exists; choose another folder or delete it first")]
    OutputExists {
        /// The folder.
        path: PathBuf,
    },
    /// A tensor is written twice.
    #[error("tensor `{tensor}` is written twice; each name may be used once")]
    DuplicateTensor {
        /// The tensor.
        tensor: String,
    },
    /// Bytes are written outside any tensor.
    #[error("bytes are written before `begin_tensor`; begin a tensor first")]
    NoTensorBegun,
}
