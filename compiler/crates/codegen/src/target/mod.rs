//! Targets: what a processor can run and how much memory it has, from `configs/targets/*.toml`.

mod accelerator;
mod board;
mod processor;
mod soc;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use accelerator::{Accelerator, Memory};
pub use board::{Board, Counter, Emulator, Family, Firmware};
pub use processor::{Processor, Region, Regions};
pub use soc::{Dram, Soc};

use secateur_base::limits::MAX_TEXT_BYTES;
use secateur_base::{Error, Result, files};

/// Targets that come with the tool: name and text of `configs/targets/NAME.toml`.
const BUILT_IN: BuiltIn = BuiltIn {
    kind: "target",
    files: &[
        ("host", include_str!("../../../../../configs/targets/host.toml")),
        ("x86_64", include_str!("../../../../../configs/targets/x86_64.toml")),
        ("cortex-a", include_str!("../../../../../configs/targets/cortex-a.toml")),
        ("cortex-m4", include_str!("../../../../../configs/targets/cortex-m4.toml")),
        ("cortex-m7", include_str!("../../../../../configs/targets/cortex-m7.toml")),
        ("cortex-m33", include_str!("../../../../../configs/targets/cortex-m33.toml")),
        ("cortex-m55", include_str!("../../../../../configs/targets/cortex-m55.toml")),
        ("riscv32imac", include_str!("../../../../../configs/targets/riscv32imac.toml")),
        ("riscv64gc", include_str!("../../../../../configs/targets/riscv64gc.toml")),
        ("npu-4x8", include_str!("../../../../../configs/targets/npu-4x8.toml")),
        ("npu-4x8-axi4", include_str!("../../../../../configs/targets/npu-4x8-axi4.toml")),
        ("npu-4x16", include_str!("../../../../../configs/targets/npu-4x16.toml")),
        ("npu-8x8", include_str!("../../../../../configs/targets/npu-8x8.toml")),
        ("npu-8x16", include_str!("../../../../../configs/targets/npu-8x16.toml")),
        ("npu-8x16-d2", include_str!("../../../../../configs/targets/npu-8x16-d2.toml")),
        ("npu-16x16", include_str!("../../../../../configs/targets/npu-16x16.toml")),
        ("npu-16x16-axi16", include_str!("../../../../../configs/targets/npu-16x16-axi16.toml")),
        ("ulx3s-85f", include_str!("../../../../../configs/targets/ulx3s-85f.toml")),
        ("ecpix5-85f", include_str!("../../../../../configs/targets/ecpix5-85f.toml")),
    ],
};

/// A checked target description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub name: String,
    pub description: String,
    /// Tensors in the arena and constants in the artefact start at multiples of this many bytes.
    pub align: usize,
    /// Order of weights in the artefact.
    pub weights: WeightOrder,
    /// The processor that the network, or what the accelerator leaves of it, runs on.
    pub processor: Option<Processor>,
    /// Memory of a microcontroller; `None`: no limit.
    pub regions: Option<Regions>,
    /// The accelerator that runs the network, with a processor beside it.
    pub accelerator: Option<Accelerator>,
    /// The system that both are built into, on an FPGA.
    pub soc: Option<Soc>,
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
    #[serde(default)]
    weights: WeightOrder,
    processor: Option<Processor>,
    regions: Option<Regions>,
    accelerator: Option<Accelerator>,
    soc: Option<Soc>,
    operators: Operators,
}

/// In which order a target's kernels want constants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightOrder {
    /// Weight after weight, as the reference kernels read them.
    #[default]
    Dense,
    /// In pairs of 16 bits, biases and requantisation among them: processors with the instructions of Armv7E-M's DSP
    /// extension, Cortex-M4, M7, M33 and M55 ([`secateur_runtime::packed`]). Layers that have no such form stay dense.
    Armv7em,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Operators {
    Word(String),
    List(Vec<String>),
}

impl Target {
    /// Names of the targets that come with the tool.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.names()
    }

    /// Names of those among them that are systems on an FPGA.
    pub fn systems() -> impl Iterator<Item = &'static str> {
        Self::names().filter(|name| Self::load(name).is_ok_and(|target| target.soc.is_some()))
    }

    /// A built-in target by name, or any target file by its path (ending in `.toml`).
    pub fn load(name_or_path: &str) -> Result<Self> {
        let (path, text) = BUILT_IN.find(name_or_path)?;
        Self::parse(&path, &text)
    }

    /// Reads and checks a target file's text; `path` is for messages.
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        let file: File = files::parse_toml(path, text)?;
        let fail = |what: &str| Error::new(format!("target file: {what}")).file(path);
        if !is_name(&file.name) {
            return Err(fail("bad name").found(format!("{:?}", file.name)).allowed("letters, digits, - _ ."));
        }
        if !file.align.is_power_of_two() || !(16..=4096).contains(&file.align) {
            return Err(fail("bad alignment")
                .found(format!("align = {}", file.align))
                .allowed("a power of two from 16 to 4096"));
        }
        if let Some(regions) = &file.regions {
            regions.check().map_err(|e| e.file(path))?;
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
        if let Some(soc) = &file.soc {
            soc.check(file.accelerator.as_ref()).map_err(|e| e.file(path))?;
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
            weights: file.weights,
            processor: file.processor,
            regions: file.regions,
            accelerator: file.accelerator,
            soc: file.soc,
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

/// Description files that come with the tool.
struct BuiltIn {
    /// What they describe; `configs` has a folder of that name, in the plural.
    kind: &'static str,
    /// Name and text.
    files: &'static [(&'static str, &'static str)],
}

impl BuiltIn {
    fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.files.iter().map(|(name, _)| *name)
    }

    /// Path and text of a built-in file by name, or of any file by its path.
    fn find(&self, name_or_path: &str) -> Result<(PathBuf, Cow<'static, str>)> {
        let kind = self.kind;
        if let Some((name, text)) = self.files.iter().find(|(name, _)| *name == name_or_path) {
            return Ok((format!("configs/{kind}s/{name}.toml").into(), Cow::Borrowed(text)));
        }
        if !name_or_path.ends_with(".toml") {
            let known: Vec<&str> = self.names().collect();
            return Err(Error::new(format!("unknown {kind}"))
                .found(name_or_path)
                .allowed(format!("{}, or a path ending in .toml", known.join(", ")))
                .help(format!(
                    "`secateur targets list` describes them; {kind}s are described in configs/{kind}s/*.toml"
                )));
        }
        let path = PathBuf::from(name_or_path);
        let bytes = files::read_limited(&path, MAX_TEXT_BYTES)?;
        let text = String::from_utf8(bytes)
            .map_err(|e| Error::new(format!("not UTF-8 text: {}", e.utf8_error())).file(&path))?;
        Ok((path, Cow::Owned(text)))
    }

    /// Every file of the folder in `configs` is there.
    #[cfg(test)]
    fn assert_complete(&self, folder: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../configs").join(folder);
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            assert!(self.names().any(|name| name == stem), "{} is not built in", path.display());
        }
    }
}

/// Returns true if `name` may name a target or a board.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_target_is_valid_and_named_as_its_file() {
        for name in Target::names() {
            assert_eq!(Target::load(name).unwrap().name, name);
        }
    }

    #[test]
    fn every_file_in_configs_is_built_in() {
        BUILT_IN.assert_complete("targets");
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let cases = [
            ("name = \"x\"\nalign = 24\noperators = \"all\"", "align = 24"),
            ("name = \"x\"\nalign = 16\noperators = \"some\"", "\"some\""),
            (
                "name = \"x\"\nalign = 16\noperators = \"all\"\n[regions]\nprogram = { bytes = 1 }\n\
                 package = { bytes = 1 }\ndata = { bytes = 1 }\narena = { bytes = 0 }",
                "regions.arena.bytes = 0",
            ),
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
