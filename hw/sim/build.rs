//! Lists the RTL's sources; with features `rtl` and `unit` also translates them with Verilator and
//! compiles the result.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

#[cfg(any(feature = "rtl", feature = "unit"))]
mod rtl {
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::{env, fs};

    use super::{files, modules};

    /// A module that is translated by itself.
    pub(crate) struct Model {
        /// Top module.
        pub(crate) top: &'static str,
        /// C++ file that puts it behind a C interface, in `src/rtl`.
        pub(crate) shim: &'static str,
        pub(crate) waves: bool,
        /// Whole frames are worth an optimiser's time, unit tests are not.
        pub(crate) opt_level: u32,
    }

    impl Model {
        /// Runs Verilator and compiles what it wrote together with the shim.
        pub(crate) fn build(&self) -> Result<(), String> {
            let folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(|e| e.to_string())?);
            let sources = folder.join("../rtl");
            let shim = folder.join("src/rtl").join(self.shim);
            let out = PathBuf::from(env::var("OUT_DIR").map_err(|e| e.to_string())?).join(self.top);
            println!("cargo::rerun-if-changed={}", sources.display());
            println!("cargo::rerun-if-changed={}", shim.display());
            // Old outputs would be compiled along.
            if out.exists() {
                fs::remove_dir_all(&out).map_err(|e| format!("{}: {e}", out.display()))?;
            }
            self.verilate(&sources, &out)?;
            self.compile(&shim, &out)
        }

        fn verilate(&self, sources: &Path, out: &Path) -> Result<(), String> {
            let output = Command::new("verilator")
                .args(["--cc", "--top-module", self.top, "-O3", "--x-assign", "fast"])
                .args(["--x-initial", "fast", "--noassert", "--output-split", "20000", "-Wno-fatal"])
                .args(self.waves.then_some("--trace-fst"))
                .args(coverage().then_some("--coverage-line"))
                .arg("--Mdir")
                .arg(out)
                .args(modules(sources)?)
                .output()
                .map_err(|e| format!("cannot run verilator ({e}); install it: apt-get install verilator"))?;
            if output.status.success() {
                return Ok(());
            }
            Err(format!("verilator: {}", String::from_utf8_lossy(&output.stderr)))
        }

        fn compile(&self, shim: &Path, out: &Path) -> Result<(), String> {
            let include = verilator_root()?.join("include");
            let waves = if self.waves { "1" } else { "0" };
            let measured = if coverage() { "1" } else { "0" };
            let library = |part: &str, opt_level: u32, files: Vec<PathBuf>| {
                cc::Build::new()
                    .cpp(true)
                    .std("c++17")
                    .opt_level(opt_level)
                    .debug(false)
                    .warnings(false)
                    .include(&include)
                    .include(include.join("vltstd"))
                    .include(out)
                    .define("VERILATOR", "1")
                    .define("VM_TRACE", waves)
                    .define("VM_TRACE_FST", waves)
                    .define("VM_COVERAGE", measured)
                    .define("VM_SC", "0")
                    .files(files)
                    .try_compile(&format!("{}_{part}", self.top))
                    .map_err(|e| e.to_string())
            };
            // What runs once, or only while waves are written, is compiled fast; the rest runs fast.
            let seldom = |path: &PathBuf| {
                let name = path.to_string_lossy();
                ["__Slow", "__Trace", "__Syms"].iter().any(|part| name.contains(part))
            };
            let (cold, hot): (Vec<_>, Vec<_>) = files(out, "cpp")?.into_iter().partition(seldom);
            let mut runtime = vec!["verilated.cpp", "verilated_threads.cpp"];
            if coverage() {
                runtime.push("verilated_cov.cpp");
            }
            if self.waves {
                runtime.push("verilated_fst_c.cpp");
            }
            let runtime = runtime.into_iter().map(|name| include.join(name));
            library("hot", self.opt_level, hot.into_iter().chain([shim.to_owned()]).collect())?;
            library("cold", 0, cold.into_iter().chain(runtime).collect())?;
            if self.waves {
                println!("cargo::rustc-link-lib=z");
            }
            Ok(())
        }
    }

    /// With `NPU_COVERAGE` set a model writes line coverage to the file of that name when it ends.
    fn coverage() -> bool {
        println!("cargo::rerun-if-env-changed=NPU_COVERAGE");
        env::var_os("NPU_COVERAGE").is_some()
    }

    /// Where Verilator's own sources lie.
    fn verilator_root() -> Result<PathBuf, String> {
        let output = Command::new("verilator").args(["--getenv", "VERILATOR_ROOT"]).output();
        let output = output.map_err(|e| format!("cannot run verilator: {e}"))?;
        Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
    }
}

/// The RTL's files, packages before the modules that use them.
fn modules(sources: &Path) -> Result<Vec<PathBuf>, String> {
    let mut modules = files(sources, "sv")?;
    modules.sort_by_key(|path| !path.to_string_lossy().ends_with("_pkg.sv"));
    // npu_pkg before packages that use it.
    modules.sort_by_key(|path| !path.ends_with("npu_pkg.sv"));
    Ok(modules)
}

/// Files of a folder with an extension, sorted.
fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    found.sort();
    Ok(found)
}

/// Writes the list of sources that `package.rs` includes.
fn list_sources() -> Result<(), String> {
    let folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(|e| e.to_string())?).join("../rtl");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut text = String::from("&[\n");
    for path in modules(&folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let _ = writeln!(text, "    ({name:?}, include_str!({:?})),", path.display().to_string());
    }
    text.push_str("]\n");
    let out = PathBuf::from(env::var("OUT_DIR").map_err(|e| e.to_string())?).join("sources.rs");
    fs::write(&out, text).map_err(|e| format!("{}: {e}", out.display()))
}

fn main() {
    if let Err(message) = list_sources() {
        println!("cargo::error={message}");
    }
    #[cfg(feature = "rtl")]
    report(rtl::Model { top: "npu_top", shim: "shim.cpp", waves: true, opt_level: 2 });
    #[cfg(feature = "unit")]
    report(rtl::Model { top: "npu_exec", shim: "core.cpp", waves: false, opt_level: 1 });
}

#[cfg(any(feature = "rtl", feature = "unit"))]
fn report(model: rtl::Model) {
    if let Err(message) = model.build() {
        println!("cargo::error={message}");
    }
}
