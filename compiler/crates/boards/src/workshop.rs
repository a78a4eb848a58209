//! Builds firmware, in a folder that is kept for the next time.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use secateur_base::{Error, Result, files};
use secateur_codegen::target::{Board, Counter, Family, Firmware, Target, WeightOrder};
use secateur_runtime::Operators;
use sha2::{Digest, Sha256};

use crate::linux::LinuxProcessor;
use crate::memory_map::memory_map;

/// What firmware of a system is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Optimisation {
    /// Whatever room it takes.
    Speed,
    /// A tenth smaller, for the block RAM of a device.
    Room,
}

/// Levels of the compiler's optimisation.
const FAST: &str = "3";
const MEDIUM: &str = "2";
const SMALL: &str = "s";
/// What the processor of a system on an FPGA runs.
const VEXRISCV: &str = "riscv32im-unknown-none-elf";

include!(concat!(env!("OUT_DIR"), "/sources.rs"));

/// Environment variable that names a rustup tool chain for firmware, which compiles its core library itself: for a
/// compiler without targets to download, such as a distribution's.
const TOOLCHAIN: &str = "SECATEUR_FIRMWARE_TOOLCHAIN";

/// A folder in which firmware is built: sources, what the compiler makes of them, and finished programs.
#[derive(Debug, Clone)]
pub struct Workshop {
    folder: PathBuf,
}

/// How a program or library is built.
struct Recipe {
    package: &'static str,
    /// File that the build makes.
    product: &'static str,
    features: Vec<&'static str>,
    triple: String,
    /// Flags of the compiler.
    flags: String,
    /// Of the compiler's levels.
    optimisation: &'static str,
    /// The linker's, empty for a library or a program of an operating system.
    memory_map: String,
    /// Addresses of a system on an FPGA, empty for others.
    addresses: String,
    /// Kernels to link.
    operators: Operators,
    /// A tool chain that compiles its core library itself.
    toolchain: Option<OsString>,
}

impl Workshop {
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The folder that `SECATEUR_CACHE` names, else `secateur` in the user's cache folder.
    ///
    /// # Errors
    /// The environment names none.
    pub fn of_user() -> Result<Self> {
        let variable =
            |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder = variable("SECATEUR_CACHE")
            .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("secateur")))
            .or_else(|| Some(variable("HOME")?.join(".cache/secateur")));
        folder.map(Self::new).ok_or_else(|| {
            Error::new("there is no folder to build firmware in").help("set SECATEUR_CACHE to a folder")
        })
    }

    /// Where everything lies that is kept.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Builds the firmware of a system on an FPGA, or finds it built; returns the program, an ELF file. `map` are the
    /// system's addresses as the firmware includes them, `regions` the linker's. `begin` as in [`Workshop::build`].
    ///
    /// # Errors
    /// The Rust compiler or its target is missing; the build fails.
    pub fn build_system(
        &self,
        name: &str,
        map: String,
        regions: String,
        optimisation: Optimisation,
        begin: impl FnOnce(),
    ) -> Result<PathBuf> {
        let recipe = Recipe::of_system(map, regions, optimisation);
        self.make(&format!("{name}-"), ".elf", &recipe, begin)
    }

    /// Builds the firmware of a board, or finds it built; returns the program, an ELF file. `begin` is called before
    /// a build.
    ///
    /// # Errors
    /// The board has no firmware; the Rust compiler or its target is missing; the build fails.
    pub fn build(&self, board: &Board, begin: impl FnOnce()) -> Result<PathBuf> {
        self.make(&format!("{}-", board.name), ".elf", &Recipe::of_board(board)?, begin)
    }

    /// [`Workshop::build`], of a RISC-V's firmware on the reference kernels: what others are compared with.
    ///
    /// # Errors
    /// As [`Workshop::build`].
    pub fn build_reference(&self, board: &Board, begin: impl FnOnce()) -> Result<PathBuf> {
        let mut recipe = Recipe::of_board(board)?;
        recipe.features.push("reference");
        self.make(&format!("{}-", board.name), ".elf", &recipe, begin)
    }

    /// Builds the program of a processor with Linux, or finds it built, as [`Self::build`] does.
    ///
    /// # Errors
    /// The Rust compiler or its target is missing; the build fails.
    pub fn build_for_linux(&self, processor: LinuxProcessor, begin: impl FnOnce()) -> Result<PathBuf> {
        self.make(&format!("{}-", processor.name), ".elf", &Recipe::of_linux(processor), begin)
    }

    /// Builds the static library for C programs on a target's processor, with some kernels, or finds it built; returns
    /// the archive. `begin` as in [`Workshop::build`].
    ///
    /// # Errors
    /// The target states no processor; the Rust compiler or its target is missing; the build fails.
    pub fn library(&self, target: &Target, operators: Operators, begin: impl FnOnce()) -> Result<PathBuf> {
        self.make(&format!("{}-", target.name), ".a", &Recipe::of_library(target, operators)?, begin)
    }

    fn make(&self, prefix: &str, suffix: &str, recipe: &Recipe, begin: impl FnOnce()) -> Result<PathBuf> {
        fs::create_dir_all(&self.folder).map_err(|e| Error::io("create", &self.folder, &e))?;
        // One at a time: sources and target folder are shared.
        let lock_path = self.folder.join("lock");
        let lock = File::create(&lock_path).map_err(|e| Error::io("create", &lock_path, &e))?;
        lock.lock().map_err(|e| Error::io("lock", &lock_path, &e))?;
        let source = self.folder.join("source");
        unpack(&source)?;
        let made = self.folder.join(format!("{prefix}{}{suffix}", recipe.digest(&source)?));
        if !made.exists() {
            begin();
            let built = self.compile(recipe, &source)?;
            // Copied with its permissions: QEMU's user mode takes only what may be executed.
            let copy = self.folder.join("copy");
            fs::copy(&built, &copy).map_err(|e| Error::io("copy", &built, &e))?;
            fs::rename(&copy, &made).map_err(|e| Error::io("rename", &copy, &e))?;
        }
        Ok(made)
    }

    fn compile(&self, recipe: &Recipe, source: &Path) -> Result<PathBuf> {
        let map = self.folder.join("memory.x");
        files::write_bytes(&map, recipe.memory_map.as_bytes())?;
        files::write_bytes(&self.folder.join("map.rs"), recipe.addresses.as_bytes())?;
        let target = self.folder.join("target");
        let flags =
            format!("CARGO_TARGET_{}_RUSTFLAGS", recipe.triple.to_uppercase().replace(['-', '.'], "_"));
        let mut cargo = Command::new("cargo");
        cargo
            .current_dir(source.join("runtime-nostd/firmware"))
            .args(["build", "--quiet", "--release", "--locked", "--target", &recipe.triple])
            .args(["--package", recipe.package, "--target-dir"])
            .arg(&target)
            .env("SECATEUR_MEMORY_X", &map)
            .env("SECATEUR_SOC", &self.folder)
            .env("SECATEUR_OPERATORS", format!("{:x}", recipe.operators.bits()))
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", recipe.optimisation)
            .env(flags, &recipe.flags);
        if !recipe.features.is_empty() {
            cargo.args(["--features", &recipe.features.join(",")]);
        }
        for inherited in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_TARGET_DIR"] {
            cargo.env_remove(inherited);
        }
        if let Some(toolchain) = &recipe.toolchain {
            // The same switches as nightly's -Z build-std, for any channel.
            cargo
                .env("RUSTUP_TOOLCHAIN", toolchain)
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_UNSTABLE_BUILD_STD", "core");
        }
        let output = output_of(&mut cargo)?;
        if !output.status.success() {
            return Err(build_error(recipe, &String::from_utf8_lossy(&output.stderr)));
        }
        Ok(target.join(&recipe.triple).join("release").join(recipe.product))
    }
}

impl Recipe {
    fn of_board(board: &Board) -> Result<Self> {
        let Some(Firmware { family, counter }) = board.firmware else {
            return Err(Error::new(format!("there is no firmware for board {}", board.name))
                .help("its file in configs/boards says why"));
        };
        let package = match family {
            Family::CortexM => "secateur-cortex-m",
            Family::Riscv => "secateur-riscv",
        };
        let counted = match (family, counter) {
            (Family::CortexM, Counter::CmsdkTimer) => Some("cmsdk-timer"),
            (Family::CortexM, Counter::SystemCounter) => Some("system-counter"),
            (Family::CortexM, Counter::Cycles) | (Family::Riscv, Counter::Instructions) => None,
            _ => return Err(Error::new(format!("board {}: its processor has no such counter", board.name))),
        };
        let mut recipe = Self::of_target(&board.target, package, package)?;
        recipe.features.extend(counted);
        recipe.memory_map = memory_map(family, &board.regions);
        Ok(recipe)
    }

    fn of_library(target: &Target, operators: Operators) -> Result<Self> {
        let recipe = Self::of_target(target, "secateur-static", "libsecateur.a")?;
        // Where kernels are assembly, the rest may be small.
        let optimisation = if target.weights == WeightOrder::Armv7em { SMALL } else { FAST };
        Ok(Self { operators, optimisation, ..recipe })
    }

    fn of_target(target: &Target, package: &'static str, product: &'static str) -> Result<Self> {
        let processor = target.processor.as_ref();
        let (Some(triple), Some(cpu)) =
            (processor.and_then(|p| p.triple.clone()), processor.and_then(|p| p.cpu.clone()))
        else {
            return Err(Error::new(format!("target {} states no triple and cpu", target.name))
                .help("firmware is built for a target with both, in its table [processor]"));
        };
        // The kernels are those whose order the compiler puts weights into.
        let features = match target.weights {
            WeightOrder::Dense => vec![],
            WeightOrder::Armv7em => vec!["armv7em"],
        };
        Ok(Self {
            package,
            product,
            features,
            triple,
            flags: format!("-C target-cpu={cpu}"),
            optimisation: FAST,
            memory_map: String::new(),
            addresses: String::new(),
            operators: Operators::ALL,
            toolchain: own_toolchain(),
        })
    }

    fn of_linux(processor: LinuxProcessor) -> Self {
        Self {
            package: "secateur-linux",
            product: "secateur-linux",
            features: Vec::new(),
            triple: processor.triple.to_owned(),
            // The compiler brings linker and C library: no other machine's C compiler is needed.
            flags: format!("-C target-cpu={} -C linker=rust-lld", processor.name),
            optimisation: FAST,
            memory_map: String::new(),
            addresses: String::new(),
            operators: Operators::ALL,
            toolchain: None,
        }
    }

    fn of_system(addresses: String, memory_map: String, optimisation: Optimisation) -> Self {
        Self {
            package: "secateur-litex",
            product: "secateur-litex",
            features: Vec::new(),
            triple: VEXRISCV.to_owned(),
            flags: String::new(),
            optimisation: match optimisation {
                Optimisation::Speed => FAST,
                Optimisation::Room => MEDIUM,
            },
            memory_map,
            addresses,
            operators: Operators::ALL,
            toolchain: own_toolchain(),
        }
    }

    /// Names everything that the program depends on.
    fn digest(&self, source: &Path) -> Result<String> {
        let mut compiler = Command::new("rustc");
        if let Some(toolchain) = &self.toolchain {
            compiler.env("RUSTUP_TOOLCHAIN", toolchain);
        }
        let compiler = output_of(compiler.arg("-vV").current_dir(source))?;
        let mut hash = Sha256::new();
        for (path, bytes) in SOURCES {
            hash.update(path);
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        }
        let operators = format!("{:x}", self.operators.bits());
        let features = self.features.join(",");
        let parts = [
            self.package,
            &features,
            &self.triple,
            &self.flags,
            self.optimisation,
            &self.memory_map,
            &self.addresses,
        ];
        for part in parts.into_iter().chain([operators.as_str()]) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.update(compiler.stdout);
        Ok(hex::encode(&hash.finalize()[..8]))
    }
}

fn own_toolchain() -> Option<OsString> {
    std::env::var_os(TOOLCHAIN).filter(|name| !name.is_empty())
}

/// Runs one of the Rust tool chain's programs to its end.
fn output_of(command: &mut Command) -> Result<Output> {
    command.output().map_err(|e| {
        let program = command.get_program().to_string_lossy().into_owned();
        Error::new(format!("cannot run {program}: {e}"))
            .help("firmware is built by the Rust tool chain: install it from https://rustup.rs")
    })
}

fn build_error(recipe: &Recipe, stderr: &str) -> Error {
    let triple = &recipe.triple;
    if stderr.contains("can't find crate for `core`") || stderr.contains("target may not be installed") {
        return Error::new(format!("the Rust tool chain lacks the target {triple}"))
            .help(format!("install it: rustup target add {triple}"));
    }
    let lines: Vec<&str> = stderr.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines.len().saturating_sub(20);
    Error::new("the firmware does not build").found(lines[last..].join("\n"))
}

/// Brings the sources in `folder` to this program's: writes what differs, removes what is no source.
fn unpack(folder: &Path) -> Result<()> {
    for (path, bytes) in SOURCES {
        let path = folder.join(path);
        if fs::read(&path).is_ok_and(|found| found == *bytes) {
            continue;
        }
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, &e))?;
        fs::write(&path, bytes).map_err(|e| Error::io("write", &path, &e))?;
    }
    remove_strangers(folder, folder)
}

fn remove_strangers(root: &Path, folder: &Path) -> Result<()> {
    let failed = |e: std::io::Error| Error::io("read", folder, &e);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            remove_strangers(root, &path)?;
        } else if !SOURCES.iter().any(|(name, _)| root.join(name) == path) {
            fs::remove_file(&path).map_err(|e| Error::io("remove", &path, &e))?;
        }
    }
    Ok(())
}
