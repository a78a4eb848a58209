//! Gives the linker the board's memory map, the file that SECATEUR_MEMORY_X names.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-env-changed=SECATEUR_MEMORY_X");
    let map = env::var_os("SECATEUR_MEMORY_X").map(PathBuf::from);
    let map = map.expect("SECATEUR_MEMORY_X names the board's memory map; `secateur run --on` sets it");
    println!("cargo:rerun-if-changed={}", map.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::copy(&map, out.join("memory.x")).expect("the memory map is copied");
    println!("cargo:rustc-link-search={}", out.display());
    println!("cargo:rustc-link-arg-bins=-Tlink.x");
}
