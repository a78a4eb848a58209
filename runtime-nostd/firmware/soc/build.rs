//! Gives the program the system's addresses: SECATEUR_SOC names a folder with `memory.x` for the linker and `map.rs`, which
//! `secateur sim --soc` writes from the system's own description.

use std::path::PathBuf;
use std::{env, fs};

/// What the program is checked with where no system is named.
const NONE: &str = include_str!("src/map_of_none.rs");

fn main() {
    println!("cargo::rerun-if-env-changed=SECATEUR_SOC");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let Some(system) = env::var_os("SECATEUR_SOC").map(PathBuf::from) else {
        println!("cargo::warning=to link, set SECATEUR_SOC to a system's folder; `secateur sim --soc` does");
        fs::write(out.join("map.rs"), NONE).expect("the map is written");
        return;
    };
    for file in ["memory.x", "map.rs"] {
        println!("cargo::rerun-if-changed={}", system.join(file).display());
        fs::copy(system.join(file), out.join(file)).expect("the system's description is copied");
    }
    println!("cargo::rustc-link-search={}", out.display());
    println!("cargo::rustc-link-arg-bins=-Tlink.x");
}
