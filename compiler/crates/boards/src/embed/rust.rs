//! An artefact as a Cargo project.

use std::fmt::Write as _;

use secateur_base::{Error, Result};
use secateur_codegen::target::{Board, Region, WeightOrder};
use secateur_runtime::Operators;
use toml::{Table, Value};

use super::Embedding;
use crate::workshop::SOURCES;

const MAIN: &str = include_str!("project/main.rs");
const BUILD: &str = include_str!("project/build.rs");
const MANIFEST: &str = include_str!("project/manifest.toml");
/// The project's package.
const NETWORK: &str = "network";
/// What it depends on.
const DEPENDENCIES: [&str; 4] = ["cortex-m-rt", "secateur-kernels", "secateur-runtime", "semihosting"];
/// Crates whose sources are vendored, and their folders in the repository.
const VENDORED: [(&str, &str); 2] =
    [("secateur-runtime", "runtime-nostd"), ("secateur-kernels", "runtime-nostd/arch")];
const WORKSPACE: &str = "Cargo.toml";
const LOCK: &str = "runtime-nostd/firmware/Cargo.lock";
const LICENCES: [&str; 2] = ["LICENSE-APACHE", "LICENSE-MIT"];

impl Embedding<'_> {
    /// The files of a Cargo project that runs the network on a board's processor, by their paths in its folder. `pixels`
    /// is the example's image, `[h][w][c]` bytes.
    ///
    /// # Errors
    /// The board has no firmware on a Cortex-M, or another processor than the artefact was compiled for.
    pub fn project(&self, board: &Board, pixels: &[u8]) -> Result<Vec<(String, Vec<u8>)>> {
        crate::link::check_family(board)?;
        if board.target.name != self.model.target() {
            return Err(Error::new(format!("board {} has another processor", board.name))
                .found(format!("target {}", board.target.name))
                .allowed(format!("{}, for which the artefact was compiled", self.model.target())));
        }
        let mut files = vec![
            (WORKSPACE.to_owned(), self.project_manifest(board).into_bytes()),
            ("Cargo.lock".to_owned(), lock()?.into_bytes()),
            ("build.rs".to_owned(), BUILD.into()),
            ("memory.x".to_owned(), memory_map(board).into_bytes()),
            (".cargo/config.toml".to_owned(), configuration(board)?.into_bytes()),
            ("src/main.rs".to_owned(), MAIN.into()),
            ("src/model.rs".to_owned(), self.model_module(board).into_bytes()),
            ("model.sct".to_owned(), self.artefact.to_vec()),
            ("image.bin".to_owned(), pixels.to_vec()),
        ];
        for (name, folder) in VENDORED {
            files.push((format!("vendor/{name}/Cargo.toml"), manifest(folder)?.into_bytes()));
            let prefix = format!("{folder}/src/");
            for (path, bytes) in SOURCES {
                let inner = path.strip_prefix(&prefix).filter(|inner| !inner.starts_with("bin/"));
                if let Some(inner) = inner {
                    files.push((format!("vendor/{name}/src/{inner}"), bytes.to_vec()));
                }
            }
        }
        for licence in LICENCES {
            files.push((format!("vendor/{licence}"), source(licence)?.into()));
        }
        Ok(files)
    }

    fn project_manifest(&self, board: &Board) -> String {
        match board.target.weights {
            WeightOrder::Armv7em => MANIFEST.to_owned(),
            WeightOrder::Dense => MANIFEST.replace("default = [\"armv7em\"]", "default = []"),
        }
    }

    fn model_module(&self, board: &Board) -> String {
        let (kernels, value) = match board.target.weights {
            WeightOrder::Armv7em => ("secateur_kernels::Thumb<OPERATORS>", "secateur_kernels::Thumb"),
            WeightOrder::Dense => (
                "secateur_runtime::Only<secateur_kernels::Tiled, OPERATORS>",
                "secateur_runtime::Only(secateur_kernels::Tiled)",
            ),
        };
        let [h, w, c] = self.model.input_shape();
        format!(
            "//! The network as an artefact, and what it needs.\n\n\
             /// Constants are read as words, in pairs.\n#[repr(C, align(16))]\npub struct Aligned<T>(pub T);\n\n\
             pub static ARTEFACT: Aligned<[u8; {}]> = Aligned(*include_bytes!(\"../model.sct\"));\n\
             /// Bytes of memory beside the artefact.\npub const ARENA_BYTES: usize = {};\n\n\
             pub const HEIGHT: usize = {h};\npub const WIDTH: usize = {w};\npub const CHANNELS: usize = {c};\n\
             /// The example's image: rows of pixels of interleaved channels.\n\
             pub static IMAGE: [u8; HEIGHT * WIDTH * CHANNELS] = *include_bytes!(\"../image.bin\");\n\n\
             /// The kernels that the network needs: a set of `secateur_runtime::Operators`.\n\
             const OPERATORS: u32 = {:#x};\npub const KERNELS: {kernels} = {value};\n",
            self.artefact.len(),
            self.model.arena_bytes(),
            Operators::of(&self.model).bits(),
        )
    }
}

/// A file of the repository that is part of this program.
fn source(path: &str) -> Result<&'static str> {
    let found = SOURCES.iter().find(|(name, _)| *name == path);
    let text = found.and_then(|(_, bytes)| std::str::from_utf8(bytes).ok());
    text.ok_or_else(|| Error::internal(format!("{path} is no source of the firmware")))
}

/// The processor, the linker script, and QEMU for `cargo run` where it has the board.
fn configuration(board: &Board) -> Result<String> {
    let processor = board.target.processor.as_ref();
    let (Some(triple), Some(cpu)) =
        (processor.and_then(|p| p.triple.as_ref()), processor.and_then(|p| p.cpu.as_ref()))
    else {
        return Err(Error::new(format!("target {} states no triple and cpu", board.target.name)));
    };
    let mut text = format!(
        "[build]\ntarget = \"{triple}\"\n\n[target.{triple}]\n\
         rustflags = [\"-C\", \"target-cpu={cpu}\", \"-C\", \"link-arg=-Tlink.x\"]\n"
    );
    if let Some(emulator) = &board.emulator {
        let (command, machine) = (&emulator.command, &emulator.machine);
        let _ = writeln!(
            text,
            "runner = \"{command} -machine {machine} -nographic -semihosting-config enable=on,target=native -kernel\""
        );
    }
    Ok(text)
}

/// The linker's memory: flash from where the processor starts, and the RAM that has more room, each with the region
/// that follows on it.
fn memory_map(board: &Board) -> String {
    let regions = &board.regions;
    let end = |region: &Region| region.at.unwrap_or(0) + region.bytes;
    let joined = |first: Region, second: Region| {
        let follows = second.at == Some(end(&first));
        Region { bytes: first.bytes + if follows { second.bytes } else { 0 }, ..first }
    };
    let flash = joined(regions.program, regions.package);
    let ram = [joined(regions.data, regions.arena), joined(regions.arena, regions.data)];
    let ram = if ram[0].bytes > ram[1].bytes { ram[0] } else { ram[1] };
    let mut text = format!("/* Board {}; state your own. */\nMEMORY\n{{\n", board.name);
    for (name, region) in [("FLASH", flash), ("RAM", ram)] {
        let at = region.at.unwrap_or(0);
        let _ = writeln!(text, "  {name} : ORIGIN = {at:#x}, LENGTH = {:#x}", region.bytes);
    }
    text + "}\n"
}

/// The manifest of a crate of the repository, without what its workspace says and what its tests need.
fn manifest(folder: &str) -> Result<String> {
    let bad = |e: &dyn std::fmt::Display| Error::internal(format!("{folder}/Cargo.toml: {e}"));
    let parse = |path: &str| source(path)?.parse::<Table>().map_err(|e| bad(&e));
    let workspace = parse(WORKSPACE)?;
    let own = parse(&format!("{folder}/Cargo.toml"))?;
    let shared = |table: &str, key: &str| {
        let found = workspace.get("workspace").and_then(|all| all.get(table)).and_then(|all| all.get(key));
        found.cloned().ok_or_else(|| bad(&format!("the workspace has no {table}.{key}")))
    };
    let mut result = Table::new();
    let mut package = table(&own, "package");
    for (key, value) in &mut package {
        if value.get("workspace").is_some() {
            *value = shared("package", key)?;
        }
    }
    package.insert("publish".to_owned(), false.into());
    result.insert("package".to_owned(), Value::Table(package));
    result.insert("features".to_owned(), Value::Table(table(&own, "features")));
    let mut dependencies = table(&own, "dependencies");
    for (name, value) in &mut dependencies {
        if value.get("workspace").is_none() {
            continue;
        }
        let mut whole = match shared("dependencies", name)? {
            Value::Table(whole) => whole,
            version => Table::from_iter([("version".to_owned(), version)]),
        };
        let more = value.as_table().cloned().unwrap_or_default();
        whole.extend(more.into_iter().filter(|(key, _)| key != "workspace"));
        if whole.contains_key("path") {
            whole.insert("path".to_owned(), format!("../{name}").into());
        }
        *value = Value::Table(whole);
    }
    result.insert("dependencies".to_owned(), Value::Table(dependencies));
    toml::to_string(&result).map_err(|e| bad(&e))
}

fn table(of: &Table, key: &str) -> Table {
    of.get(key).and_then(Value::as_table).cloned().unwrap_or_default()
}

/// The firmware's lock file, with what the project needs of it: the versions that the tests run.
fn lock() -> Result<String> {
    let bad = |what: &str| Error::internal(format!("{LOCK}: {what}"));
    let own: String = DEPENDENCIES.iter().map(|name| format!(" \"{name}\",\n")).collect();
    let own = format!("name = \"{NETWORK}\"\nversion = \"0.1.0\"\ndependencies = [\n{own}]\n");
    let mut parts = source(LOCK)?.split("[[package]]\n");
    let head = parts.next().unwrap_or_default();
    let all: Vec<Locked> = parts
        .chain([own.as_str()])
        .map(|text| Locked::read(text).ok_or_else(|| bad("a package")))
        .collect::<Result<_>>()?;
    let mut needed: Vec<&Locked> = all.iter().filter(|package| package.name == NETWORK).collect();
    let mut seen = 0;
    while let Some(package) = needed.get(seen).copied() {
        for dependency in package.dependencies() {
            let found = all.iter().find(|other| other.is_meant_by(dependency));
            let found = found.ok_or_else(|| bad(dependency))?;
            if !needed.contains(&found) {
                needed.push(found);
            }
        }
        seen += 1;
    }
    needed.sort_by_key(|package| (package.name, package.version));
    let blocks = needed.iter().map(|package| {
        // A version is named only where there are two.
        let unique = |name: &str| needed.iter().filter(|other| other.name == name).count() == 1;
        let lines =
            package.text.trim_end().lines().map(|line| match line.split_once(' ').map(|(_, rest)| rest) {
                Some(rest) if line.starts_with(" \"") => match rest.split_once(' ') {
                    Some((name, _)) if unique(name.trim_start_matches('"')) => format!(" {name}\",\n"),
                    _ => format!("{line}\n"),
                },
                _ => format!("{line}\n"),
            });
        format!("[[package]]\n{}", lines.collect::<String>())
    });
    Ok(head.to_owned() + &blocks.collect::<Vec<_>>().join("\n"))
}

/// A package of a lock file.
#[derive(Debug, PartialEq)]
struct Locked<'a> {
    name: &'a str,
    version: &'a str,
    /// All of it.
    text: &'a str,
}

impl<'a> Locked<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let value = |key: &str| {
            let rest = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""));
            rest?.strip_suffix('"')
        };
        Some(Self { name: value("name")?, version: value("version")?, text })
    }

    /// Names, some with a version behind a blank.
    fn dependencies(&self) -> impl Iterator<Item = &'a str> {
        self.text.lines().filter_map(|line| line.strip_prefix(" \"")?.strip_suffix("\","))
    }

    fn is_meant_by(&self, dependency: &str) -> bool {
        let (name, version) = dependency.split_once(' ').unwrap_or((dependency, self.version));
        (self.name, self.version) == (name, version)
    }
}
