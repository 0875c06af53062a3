//! What was measured: which variant of a kernel is the fastest, at which sizes, on one adapter with one driver.
//!
//! A table is plain JSON, to be kept, carried and shipped. Knows no GPU API; whoever has one measures.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Error, KERNELS, Kernel, Variant};

/// The form of a table; one of another form is refused.
const SCHEMA: u32 = 1;
/// The most that is read of a table, in bytes, entries and bytes of a text.
const MOST_BYTES: usize = 4 << 20;
const MOST_ENTRIES: usize = 4096;
const MOST_TEXT: usize = 1024;

/// What was measured on one adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuning {
    schema: u32,
    /// As the driver names it.
    pub adapter: String,
    /// Graphics API, driver and version.
    pub driver: String,
    kernels: Vec<Tuned>,
}

/// What was measured of one kernel at one set of sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuned {
    /// The kernel's name.
    pub kernel: String,
    /// Its sizes, as [`sizes`] writes them.
    pub sizes: String,
    /// [`source_hash`] of its variants: the measurement is void when a shader changes.
    pub source: String,
    /// The variant to take.
    pub variant: String,
    /// Microseconds that one run of each variant took.
    pub us: BTreeMap<String, f64>,
}

/// A table that was read, and what of it means nothing here.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// What can be used.
    pub tuning: Tuning,
    /// The names of its kernels that do not exist in this version; their entries were left out.
    pub unknown: BTreeSet<String>,
}

impl Tuning {
    /// An empty table.
    #[must_use]
    pub fn new(adapter: &str, driver: &str) -> Tuning {
        Tuning { schema: SCHEMA, adapter: adapter.to_owned(), driver: driver.to_owned(), kernels: Vec::new() }
    }

    /// Reads a table from anywhere.
    ///
    /// # Errors
    /// [`Error::TuningSize`], [`Error::TuningFormat`], [`Error::TuningSchema`], [`Error::TuningEntry`].
    pub fn read(json: &[u8]) -> Result<Read, Error> {
        let within = |what, actual, limit| {
            if actual > limit { Err(Error::TuningSize { what, actual, limit }) } else { Ok(()) }
        };
        within("bytes", json.len(), MOST_BYTES)?;
        let mut tuning: Tuning = serde_json::from_slice(json)
            .map_err(|error| Error::TuningFormat { line: error.line(), column: error.column() })?;
        if tuning.schema != SCHEMA {
            return Err(Error::TuningSchema { expected: SCHEMA, actual: tuning.schema });
        }
        within("entries", tuning.kernels.len(), MOST_ENTRIES)?;
        let mut seen = BTreeSet::new();
        for Tuned { kernel, sizes, source, variant, us } in &tuning.kernels {
            let names = us.keys().chain([kernel, sizes, source, variant]);
            names.map(String::len).try_for_each(|len| within("bytes of a text", len, MOST_TEXT))?;
            let wrong = |problem| Err(Error::TuningEntry { kernel: kernel.clone(), sizes: sizes.clone(), problem });
            if !us.contains_key(variant) {
                return wrong("takes a variant that was not measured");
            } else if !us.values().all(|us| us.is_finite() && *us > 0.0) {
                return wrong("has a time that is no positive number");
            } else if !seen.insert((kernel, sizes, source)) {
                return wrong("occurs twice");
            }
        }
        let is_unknown = |tuned: &Tuned| KERNELS.iter().all(|entry| entry.name != tuned.kernel);
        let unknown = tuning.kernels.iter().filter(|tuned| is_unknown(tuned)).map(|t| t.kernel.clone()).collect();
        tuning.kernels.retain(|tuned| !is_unknown(tuned));
        Ok(Read { tuning, unknown })
    }

    /// The table as text, the same for the same measurements.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut sorted = self.clone();
        sorted.kernels.sort_by(|a, b| (&a.kernel, &a.sizes, &a.source).cmp(&(&b.kernel, &b.sizes, &b.source)));
        let mut json = serde_json::to_string_pretty(&sorted).expect("texts and finite numbers are JSON");
        json.push('\n');
        json
    }

    /// What was measured of a kernel at its sizes and with the sources that it has now.
    #[must_use]
    pub fn find(&self, kernel: &dyn Kernel) -> Option<&Tuned> {
        if self.kernels.iter().all(|tuned| tuned.kernel != kernel.name()) {
            return None;
        }
        let (sizes, source) = (sizes(kernel), source_hash(&kernel.variants()));
        self.kernels
            .iter()
            .find(|tuned| tuned.kernel == kernel.name() && tuned.sizes == sizes && tuned.source == source)
    }

    /// Adds a measurement, in the place of older ones of the kernel at its sizes, whatever its sources were then.
    pub fn insert(&mut self, tuned: Tuned) {
        self.kernels.retain(|old| (&old.kernel, &old.sizes) != (&tuned.kernel, &tuned.sizes));
        self.kernels.push(tuned);
    }

    /// Adds everything of another table, in the place of what is here of the same sources.
    pub fn extend(&mut self, other: Tuning) {
        let key = |t: &Tuned| [t.kernel.clone(), t.sizes.clone(), t.source.clone()];
        let keys: BTreeSet<_> = other.kernels.iter().map(key).collect();
        self.kernels.retain(|old| !keys.contains(&key(old)));
        self.kernels.extend(other.kernels);
    }

    /// All measurements.
    #[must_use]
    pub fn kernels(&self) -> &[Tuned] {
        &self.kernels
    }
}

impl Tuned {
    /// A measurement of a kernel.
    #[must_use]
    pub fn new(kernel: &dyn Kernel, variant: &str, us: BTreeMap<String, f64>) -> Tuned {
        let (sizes, source) = (sizes(kernel), source_hash(&kernel.variants()));
        Tuned { kernel: kernel.name().to_owned(), sizes, source, variant: variant.to_owned(), us }
    }

    /// What speaks for the variant: its time, and that of the one that would be taken otherwise.
    pub(crate) fn why(&self, otherwise: &str) -> String {
        let time = |name: &str| self.us.get(name).map_or_else(|| "?".to_owned(), |us| format!("{us:.1} µs"));
        let rival = if otherwise == self.variant {
            let others = self.us.iter().filter(|(name, _)| **name != self.variant);
            others.min_by(|a, b| a.1.total_cmp(b.1)).map(|(name, _)| name.as_str())
        } else {
            Some(otherwise)
        };
        let against = rival.map_or_else(String::new, |name| format!(" against {} of {name}", time(name)));
        format!("tuned: {}{against}", time(&self.variant))
    }
}

/// A kernel's sizes as far as they decide which variant is the fastest: rows are rounded up to a power of four, and what
/// grows with the context is left out, since a model meets every number of both.
#[must_use]
pub fn sizes(kernel: &dyn Kernel) -> String {
    let text = format!("{kernel:?}");
    let mut field = "";
    let words = text.split(' ').map(|word| {
        let digits = word.trim_end_matches(|c: char| !c.is_ascii_digit());
        let rest = &word[digits.len()..];
        let rounded = match (field, digits.parse::<usize>()) {
            ("rows:", Ok(rows)) => format!("{}{rest}", rounded_rows(rows)),
            ("capacity:" | "positions:" | "splits:", Ok(_)) => format!("_{rest}"),
            _ => word.to_owned(),
        };
        field = word;
        rounded
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The power of four that [`sizes`] rounds rows up to.
fn rounded_rows(rows: usize) -> usize {
    let mut power = 1usize;
    while power < rows {
        power = power.saturating_mul(4);
    }
    power
}

/// A hash of the shaders of a kernel's variants, and of their names.
#[must_use]
pub fn source_hash(variants: &[Variant]) -> String {
    let sources: Vec<String> = variants.iter().map(|variant| variant.without_sizes().source()).collect();
    let texts: Vec<&str> = variants.iter().zip(&sources).flat_map(|(v, source)| [v.name, source]).collect();
    text_hash(&texts)
}

/// A hash of texts, in hexadecimal.
#[must_use]
pub fn text_hash(texts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for text in texts {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use doppler_rdrr::DType;

    use super::*;
    use crate::{Attention, MatMul, RmsNorm};

    fn gemv(rows: usize) -> MatMul {
        MatMul { rows, out_features: 576, in_features: 1536, weight: DType::Q4_1, y_stride: 576, y_offset: 0 }
    }

    fn table(kernel: &dyn Kernel) -> Tuning {
        let mut tuning = Tuning::new("a", "d");
        let us = BTreeMap::from([("gemv".to_owned(), 2.0), ("gemm".to_owned(), 9.5)]);
        tuning.insert(Tuned::new(kernel, "gemv", us));
        tuning
    }

    #[test]
    fn sizes_that_a_model_meets_by_the_hundred_are_rounded() {
        let attention = |rows, capacity| Attention {
            rows,
            num_attention_heads: 9,
            num_key_value_heads: 3,
            head_dim: 64,
            capacity,
            scale: 0.125,
            softcap: None,
            sliding_window: Some(5),
            kv: DType::F16,
        };
        assert_eq!(sizes(&attention(300, 512)), sizes(&attention(512, 4096)));
        assert_ne!(sizes(&attention(256, 512)), sizes(&attention(257, 512)));
        assert!(sizes(&attention(3, 7)).starts_with("Attention { rows: 4, num_attention_heads: 9, "));
        assert!(sizes(&attention(3, 7)).contains("capacity: _, scale: 0.125, "));
        assert_eq!([1, 2, 4, 5, 16, 17, 512].map(rounded_rows), [1, 4, 4, 16, 16, 64, 1024]);
    }

    #[test]
    fn a_table_goes_there_and_back() {
        let tuning = table(&gemv(1));
        let Read { tuning: read, unknown } = Tuning::read(tuning.to_json().as_bytes()).unwrap();
        assert_eq!((&read, unknown.len()), (&tuning, 0));
        assert_eq!(read.find(&gemv(1)).unwrap().variant, "gemv");
        assert_eq!(read.find(&gemv(1)).unwrap().why("gemm"), "tuned: 2.0 µs against 9.5 µs of gemm");
        assert_eq!(read.find(&gemv(1)).unwrap().why("gemv"), "tuned: 2.0 µs against 9.5 µs of gemm");
        assert!(read.find(&gemv(2)).is_none());
        assert!(read.find(&RmsNorm { rows: 1, cols: 576, eps: 0.0 }).is_none());
    }

    #[test]
    fn an_old_table_hides_no_newer_one_and_goes_with_a_new_measurement() {
        let (shipped, mut own) = (table(&gemv(1)), table(&gemv(1)));
        own.kernels[0].source = "old".to_owned();
        let mut both = shipped.clone();
        both.extend(own);
        assert_eq!((both.kernels().len(), both.find(&gemv(1))), (2, shipped.kernels().first()));
        both.insert(shipped.kernels()[0].clone());
        assert_eq!(both, shipped);
    }

    #[test]
    fn another_source_makes_a_measurement_void() {
        let mut tuning = table(&gemv(1));
        tuning.kernels[0].source = source_hash(&RmsNorm { rows: 1, cols: 1, eps: 0.0 }.variants());
        assert!(tuning.find(&gemv(1)).is_none());
    }

    #[test]
    fn foreign_tables_end_in_errors_that_say_what() {
        let json = table(&gemv(1)).to_json();
        let says = |json: &str, word: &str| {
            let error = Tuning::read(json.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(word), "{error:?} does not name {word:?}");
        };
        says("", "line 1");
        says(&json.replace("\"gemv\",", "\"gemw\","), "not measured");
        says(&json.replace("2.0", "-2.0"), "positive");
        says(&json.replace("2.0", "1e999"), "line");
        says(&json.replace("\"schema\": 1", "\"schema\": 2"), "form 2");
        says(&json.replace("\"us\"", "\"extra\": 1, \"us\""), "line");
        says(&json.replace("Q4_1", &"x".repeat(2000)), "bytes of a text");
        says(&" ".repeat(5 << 20), "bytes");
        let entry = json[json.find('[').unwrap() + 1..json.rfind(']').unwrap()].to_owned();
        says(&json.replace(&entry, &format!("{entry},{entry}")), "twice");
        says(&json.replace(&entry, &vec![entry.as_str(); 5000].join(",")), "entries");
        let read = Tuning::read(json.replace("\"matmul\"", "\"flux\"").as_bytes()).unwrap();
        assert_eq!(
            (read.unknown.into_iter().collect::<Vec<_>>(), read.tuning.kernels().len()),
            (vec!["flux".into()], 0)
        );
    }
}
