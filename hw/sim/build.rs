//! Lists the RTL's sources; with features `rtl` and `unit` also translates them with Verilator and
//! compiles the result, for the sizes of the target that `NPU_TARGET` names (npu-8x16 without it).

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use secateur_runtime::npu::isa::Parameters;

#[path = "src/package/text.rs"]
#[allow(dead_code, unreachable_pub, reason = "the library shows it, and its manual")]
mod text;

#[cfg(any(feature = "rtl", feature = "unit"))]
mod rtl {
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::{env, fs};

    use super::{PACKAGE, Parameters, files, modules, variable};

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
        pub(crate) fn build(&self, sizes: &Parameters) -> Result<(), String> {
            if linting() {
                return Ok(());
            }
            let folder = variable("CARGO_MANIFEST_DIR")?;
            let (sources, checkers) = (folder.join("../rtl"), folder.join("../sva"));
            let shim = folder.join("src/rtl").join(self.shim);
            let generated = variable("OUT_DIR")?;
            let out = generated.join(self.top);
            println!("cargo::rerun-if-changed={}", sources.display());
            println!("cargo::rerun-if-changed={}", checkers.display());
            println!("cargo::rerun-if-changed={}", shim.display());
            // Old outputs would be compiled along.
            if out.exists() {
                fs::remove_dir_all(&out).map_err(|e| format!("{}: {e}", out.display()))?;
            }
            self.verilate(&sources, &checkers, &generated, &out)?;
            self.compile(sizes, &shim, &out)
        }

        /// `generated` holds the package of the sizes, `checkers` the assertions.
        fn verilate(
            &self,
            sources: &Path,
            checkers: &Path,
            generated: &Path,
            out: &Path,
        ) -> Result<(), String> {
            let own = |path: PathBuf| if path.ends_with(PACKAGE) { generated.join(PACKAGE) } else { path };
            let output = Command::new("verilator")
                .args(["--cc", "--top-module", self.top, "-O3", "--x-assign", "fast"])
                .args(["--x-initial", "fast", "--assert", "--output-split", "20000", "-Wno-fatal"])
                .args(self.waves.then_some("--trace-fst"))
                .args(coverage().then_some("--coverage-line"))
                .args(toggles().then_some("--coverage-toggle"))
                .arg(format!("-I{}", checkers.display()))
                .arg("--Mdir")
                .arg(out)
                .args(modules(sources)?.into_iter().map(own))
                .args(files(checkers, "sv")?)
                .output()
                .map_err(|e| format!("cannot run verilator ({e}); install it: apt-get install verilator"))?;
            if output.status.success() {
                return Ok(());
            }
            Err(format!("verilator: {}", String::from_utf8_lossy(&output.stderr)))
        }

        fn compile(&self, sizes: &Parameters, shim: &Path, out: &Path) -> Result<(), String> {
            let include = verilator_root()?.join("include");
            let waves = if self.waves { "1" } else { "0" };
            let measured = if coverage() { "1" } else { "0" };
            let [rows, lanes, axi_bytes] =
                [sizes.rows, sizes.lanes, sizes.axi_bytes].map(|size| size.to_string());
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
                    .define("NPU_ROWS", rows.as_str())
                    .define("NPU_LANES", lanes.as_str())
                    .define("NPU_AXI_BYTES", axi_bytes.as_str())
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
            // Counting costs more than optimising gains.
            let opt_level = if coverage() { 1 } else { self.opt_level };
            library("hot", opt_level, hot.into_iter().chain([shim.to_owned()]).collect())?;
            library("cold", 0, cold.into_iter().chain(runtime).collect())?;
            if self.waves {
                println!("cargo::rustc-link-lib=z");
            }
            Ok(())
        }
    }

    /// Under clippy, for which cargo runs this by itself, nothing is linked.
    fn linting() -> bool {
        let wrapper = env::var_os("RUSTC_WORKSPACE_WRAPPER").map(PathBuf::from);
        wrapper.is_some_and(|path| path.file_stem().is_some_and(|name| name == "clippy-driver"))
    }

    /// With `NPU_COVERAGE` set a model writes its coverage to a file whose name begins so when it ends.
    pub(crate) fn coverage() -> bool {
        println!("cargo::rerun-if-env-changed=NPU_COVERAGE");
        env::var_os("NPU_COVERAGE").is_some()
    }

    /// With `NPU_TOGGLES` set too it counts every bit's changes: twenty times as much code.
    fn toggles() -> bool {
        println!("cargo::rerun-if-env-changed=NPU_TOGGLES");
        coverage() && env::var_os("NPU_TOGGLES").is_some()
    }

    /// Where Verilator's own sources lie.
    fn verilator_root() -> Result<PathBuf, String> {
        let output = Command::new("verilator").args(["--getenv", "VERILATOR_ROOT"]).output();
        let output = output.map_err(|e| format!("cannot run verilator: {e}"))?;
        Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
    }
}

/// The file of the sizes.
const PACKAGE: &str = "npu_pkg.sv";

/// A path that cargo tells.
fn variable(name: &str) -> Result<PathBuf, String> {
    env::var_os(name).map(PathBuf::from).ok_or(format!("{name} is not set"))
}

/// Sizes of the target that `NPU_TARGET` names.
fn parameters() -> Result<Parameters, String> {
    println!("cargo::rerun-if-env-changed=NPU_TARGET");
    let target = env::var("NPU_TARGET").unwrap_or_else(|_| "npu-8x16".to_owned());
    let path = variable("CARGO_MANIFEST_DIR")?.join(format!("../../configs/targets/{target}.toml"));
    println!("cargo::rerun-if-changed={}", path.display());
    let fail = |what: String| format!("NPU_TARGET={target}: {}: {what}", path.display());
    let text = fs::read_to_string(&path).map_err(|e| fail(e.to_string()))?;
    let file: toml::Table = text.parse().map_err(|e: toml::de::Error| fail(e.to_string()))?;
    let value = |key: &str| {
        let found =
            file.get("accelerator").and_then(|table| table.get(key)).and_then(toml::Value::as_integer);
        found.and_then(|value| u32::try_from(value).ok()).ok_or_else(|| fail(format!("no {key}")))
    };
    Ok(Parameters {
        rows: value("rows")?,
        lanes: value("lanes")?,
        bank_words: value("bank_words")?,
        weight_words: value("weight_words")?,
        param_entries: value("param_entries")?,
        axi_bytes: value("axi_bytes")?,
        drain_rows: value("drain_rows")?,
    })
}

/// Writes the package for the RTL, and the same sizes as `lib.rs` includes them.
fn write_sizes() -> Result<Parameters, String> {
    let parameters = parameters()?;
    let folder = variable("OUT_DIR")?;
    let constant = format!("secateur_runtime::npu::isa::{parameters:?}");
    for (name, text) in [(PACKAGE, text::package(&parameters)), ("parameters.rs", constant)] {
        fs::write(folder.join(name), text).map_err(|e| format!("{name}: {e}"))?;
    }
    Ok(parameters)
}

/// The RTL's files, packages before the modules that use them.
fn modules(sources: &Path) -> Result<Vec<PathBuf>, String> {
    let mut modules = files(sources, "sv")?;
    modules.sort_by_key(|path| !path.to_string_lossy().ends_with("_pkg.sv"));
    // npu_pkg before packages that use it.
    modules.sort_by_key(|path| !path.ends_with(PACKAGE));
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
    let folder = variable("CARGO_MANIFEST_DIR")?.join("../rtl");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut text = String::from("&[\n");
    for path in modules(&folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let _ = writeln!(text, "    ({name:?}, include_str!({:?})),", path.display().to_string());
    }
    text.push_str("]\n");
    let out = variable("OUT_DIR")?.join("sources.rs");
    fs::write(&out, text).map_err(|e| format!("{}: {e}", out.display()))
}

fn main() {
    let built = list_sources().and_then(|()| write_sizes());
    #[cfg(feature = "rtl")]
    let built = built.and_then(|sizes| {
        // A model that counts has no use for waves.
        let waves = !rtl::coverage();
        let model = rtl::Model { top: "npu_top", shim: "shim.cpp", waves, opt_level: 2 };
        model.build(&sizes).map(|()| sizes)
    });
    #[cfg(feature = "unit")]
    let built = built.and_then(|sizes| {
        let model = rtl::Model { top: "npu_exec", shim: "core.cpp", waves: false, opt_level: 1 };
        model.build(&sizes).map(|()| sizes)
    });
    if let Err(message) = built {
        println!("cargo::error={message}");
    }
}
