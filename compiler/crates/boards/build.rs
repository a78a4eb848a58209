//! Collects the firmware's sources, so that an installed command can build it and write them into programs: the table `SOURCES` of paths below the
//! repository and contents.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Files and folders that the firmware is built from.
const PARTS: [&str; 16] = [
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "rust-toolchain.toml",
    "runtime-nostd/Cargo.toml",
    "runtime-nostd/src",
    // Cargo wants what a manifest names.
    "runtime-nostd/benches",
    "runtime-nostd/arch/Cargo.toml",
    "runtime-nostd/arch/src",
    "runtime-nostd/arch/benches",
    "runtime-nostd/ffi/Cargo.toml",
    "runtime-nostd/ffi/src",
    "runtime-nostd/job/Cargo.toml",
    "runtime-nostd/job/src",
    "runtime-nostd/firmware/Cargo.toml",
    "runtime-nostd/firmware/Cargo.lock",
];
const PACKAGES: [&str; 6] = ["common", "cortex-m", "linux", "riscv", "soc", "static"];

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").canonicalize()?;
    let mut files = Vec::new();
    for part in PARTS {
        collect(&root.join(part), &mut files)?;
    }
    for package in PACKAGES {
        collect(&root.join("runtime-nostd/firmware").join(package), &mut files)?;
    }
    files.sort();
    let mut table = String::from("pub(crate) const SOURCES: &[(&str, &[u8])] = &[\n");
    for file in files {
        let name = file.strip_prefix(&root).expect("it is below the root").display().to_string();
        let _ = writeln!(table, "    ({name:?}, include_bytes!({:?})),", file.display().to_string());
    }
    table.push_str("];\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("sources.rs"), table)
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    println!("cargo:rerun-if-changed={}", path.display());
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        collect(&entry?.path(), files)?;
    }
    Ok(())
}
