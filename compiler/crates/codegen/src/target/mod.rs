//! Targets: what a processor can run and how much memory it has, from `configs/targets/*.toml`.

mod accelerator;

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

pub use accelerator::{Accelerator, Memory};

use secateur_base::limits::MAX_TEXT_BYTES;
use secateur_base::{Error, Result, files};

/// Targets that come with the tool: name and text of `configs/targets/NAME.toml`.
const BUILT_IN: &[(&str, &str)] = &[
    ("host", include_str!("../../../../../configs/targets/host.toml")),
    ("npu-4x8", include_str!("../../../../../configs/targets/npu-4x8.toml")),
    ("npu-4x8-axi4", include_str!("../../../../../configs/targets/npu-4x8-axi4.toml")),
    ("npu-4x16", include_str!("../../../../../configs/targets/npu-4x16.toml")),
    ("npu-8x8", include_str!("../../../../../configs/targets/npu-8x8.toml")),
    ("npu-8x16", include_str!("../../../../../configs/targets/npu-8x16.toml")),
    ("npu-8x16-d2", include_str!("../../../../../configs/targets/npu-8x16-d2.toml")),
    ("npu-16x16", include_str!("../../../../../configs/targets/npu-16x16.toml")),
    ("npu-16x16-axi16", include_str!("../../../../../configs/targets/npu-16x16-axi16.toml")),
];

/// A checked target description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub name: String,
    pub description: String,
    /// Tensors in the arena and constants in the artefact start at multiples of this many bytes.
    pub align: usize,
    /// Memory for the arena, in bytes.
    pub arena_limit: Option<usize>,
    /// Memory for the artefact, in bytes.
    pub artefact_limit: Option<usize>,
    /// Order of weights in the artefact.
    pub weights: WeightOrder,
    /// The accelerator that runs the network, with a processor beside it.
    pub accelerator: Option<Accelerator>,
    /// Operators that the target runs, as `info` names those of an int8 network; `None`: all.
    operators: Option<BTreeSet<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    #[serde(default)]
    description: String,
    align: usize,
    arena_limit: Option<usize>,
    artefact_limit: Option<usize>,
    #[serde(default)]
    weights: WeightOrder,
    accelerator: Option<Accelerator>,
    operators: Operators,
}

/// In which order a target's kernels want constants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightOrder {
    /// Weight after weight, as the reference kernels read them.
    #[default]
    Dense,
    /// In pairs of 16 bits, biases and requantisation among them: Cortex-M4 and Cortex-M7
    /// ([`secateur_runtime::kernels::packed`]). Layers that have no such form stay dense.
    Armv7em,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Operators {
    Word(String),
    List(Vec<String>),
}

impl Target {
    /// A built-in target by name, or any target file by its path (ending in `.toml`).
    pub fn load(name_or_path: &str) -> Result<Self> {
        if let Some((name, text)) = BUILT_IN.iter().find(|(name, _)| *name == name_or_path) {
            return Self::parse(Path::new(&format!("configs/targets/{name}.toml")), text);
        }
        if !name_or_path.ends_with(".toml") {
            let known: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
            return Err(Error::new("unknown target")
                .found(name_or_path)
                .allowed(format!("{}, or a path ending in .toml", known.join(", ")))
                .help("targets are described in configs/targets/*.toml"));
        }
        let path = Path::new(name_or_path);
        let bytes = files::read_limited(path, MAX_TEXT_BYTES)?;
        let text = String::from_utf8(bytes)
            .map_err(|e| Error::new(format!("not UTF-8 text: {}", e.utf8_error())).file(path))?;
        Self::parse(path, &text)
    }

    /// Reads and checks a target file's text; `path` is for messages.
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        let file: File = files::parse_toml(path, text)?;
        let fail = |what: &str| Error::new(format!("target file: {what}")).file(path);
        if file.name.is_empty() || !file.name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        {
            return Err(fail("bad name").found(format!("{:?}", file.name)).allowed("letters, digits, - _ ."));
        }
        if !file.align.is_power_of_two() || !(16..=4096).contains(&file.align) {
            return Err(fail("bad alignment")
                .found(format!("align = {}", file.align))
                .allowed("a power of two from 16 to 4096"));
        }
        for (key, limit) in [("arena_limit", file.arena_limit), ("artefact_limit", file.artefact_limit)] {
            if limit == Some(0) {
                return Err(fail("no memory at all")
                    .found(format!("{key} = 0"))
                    .allowed("a positive number of bytes")
                    .help(format!("leave {key} out if there is no limit")));
            }
        }
        if file.accelerator.is_some() && file.weights != WeightOrder::Dense {
            return Err(fail("an accelerator's processor has dense weights")
                .found(format!("weights = {:?}", file.weights).to_lowercase())
                .allowed("weights = \"dense\"")
                .help("leave weights out"));
        }
        if let Some(accelerator) = &file.accelerator {
            accelerator.check().map_err(|e| e.file(path))?;
        }
        let operators = match file.operators {
            Operators::Word(word) if word == "all" => None,
            Operators::Word(word) => {
                return Err(fail("bad operators")
                    .found(format!("{word:?}"))
                    .allowed("\"all\" or a list of operators: conv, maxpool, route …"));
            }
            Operators::List(list) => Some(list.into_iter().collect()),
        };
        Ok(Self {
            name: file.name,
            description: file.description,
            align: file.align,
            arena_limit: file.arena_limit,
            artefact_limit: file.artefact_limit,
            weights: file.weights,
            accelerator: file.accelerator,
            operators,
        })
    }

    /// Returns true if the target runs operators of this name (`conv`, `maxpool` …).
    pub fn runs(&self, section: &str) -> bool {
        self.operators.as_ref().is_none_or(|set| set.contains(section))
    }

    /// The operators that the target runs, for messages; `None`: all.
    pub fn operators(&self) -> Option<impl Iterator<Item = &str>> {
        self.operators.as_ref().map(|set| set.iter().map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_target_is_valid_and_named_as_its_file() {
        for (name, _) in BUILT_IN {
            assert_eq!(Target::load(name).unwrap().name, *name);
        }
    }

    #[test]
    fn every_file_in_configs_is_built_in() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../configs/targets");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            assert!(BUILT_IN.iter().any(|(name, _)| *name == stem), "{} is not built in", path.display());
        }
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let cases = [
            ("name = \"x\"\nalign = 24\noperators = \"all\"", "align = 24"),
            ("name = \"x\"\nalign = 16\noperators = \"some\"", "\"some\""),
            ("name = \"x\"\nalign = 16\narena_limit = 0\noperators = \"all\"", "arena_limit = 0"),
            ("name = \"a b\"\nalign = 16\noperators = \"all\"", "a b"),
            ("name = \"x\"\nalign = 16\ncolour = 3\noperators = \"all\"", "t.toml:3"),
            ("name = \"x\"\nalign = -16\noperators = \"all\"", "t.toml:2"),
            ("name = \"x\"\nalign = 16\nweights = \"sparse\"\noperators = \"all\"", "t.toml:3"),
            ("name = ", "t.toml:1"),
        ];
        for (text, expected) in cases {
            let message = format!("{:?}", Target::parse(Path::new("t.toml"), text).unwrap_err());
            assert!(message.contains(expected), "{text:?} gave {message}");
        }
    }

    #[test]
    fn weights_are_dense_unless_the_file_says_otherwise() {
        assert_eq!(Target::load("host").unwrap().weights, WeightOrder::Dense);
        let text = "name = \"x\"\nalign = 16\nweights = \"armv7em\"\noperators = \"all\"";
        assert_eq!(Target::parse(Path::new("t.toml"), text).unwrap().weights, WeightOrder::Armv7em);
    }

    #[test]
    fn a_list_of_operators_limits_the_target() {
        let text = "name = \"x\"\nalign = 16\noperators = [\"conv\", \"yolo\"]";
        let target = Target::parse(Path::new("t.toml"), text).unwrap();
        assert!(target.runs("conv") && !target.runs("maxpool"));
        assert!(Target::load("host").unwrap().runs("maxpool"));
    }

    #[test]
    fn unknown_names_list_the_known_ones() {
        let error = Target::load("moon").unwrap_err();
        assert!(error.to_string().contains("host"), "{error}");
    }
}
