//! Gives the linker the board's memory map, the file that SECATEUR_MEMORY_X names.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-env-changed=SECATEUR_MEMORY_X");
    let Some(map) = env::var_os("SECATEUR_MEMORY_X").map(PathBuf::from) else {
        println!("cargo::warning=to link, set SECATEUR_MEMORY_X to a memory map; `secateur run --on` does");
        return;
    };
    println!("cargo::rerun-if-changed={}", map.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::copy(&map, out.join("memory.x")).expect("the memory map is copied");
    println!("cargo::rustc-link-search={}", out.display());
    println!("cargo::rustc-link-arg-bins=-Tlink.x");
}
