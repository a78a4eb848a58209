//! With feature `rtl`: translates `hw/rtl` with Verilator and compiles the result.

#[cfg(feature = "rtl")]
mod rtl {
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::{env, fs};

    /// Runs Verilator and compiles what it wrote together with the shim.
    pub(crate) fn build() -> Result<(), String> {
        let folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(|e| e.to_string())?);
        let sources = folder.join("../rtl");
        let shim = folder.join("src/rtl/shim.cpp");
        let out = PathBuf::from(env::var("OUT_DIR").map_err(|e| e.to_string())?).join("verilated");
        println!("cargo::rerun-if-changed={}", sources.display());
        println!("cargo::rerun-if-changed={}", shim.display());
        // Old outputs would be compiled along.
        if out.exists() {
            fs::remove_dir_all(&out).map_err(|e| format!("{}: {e}", out.display()))?;
        }
        verilate(&sources, &out)?;
        compile(&shim, &out)
    }

    fn verilate(sources: &Path, out: &Path) -> Result<(), String> {
        let mut modules: Vec<PathBuf> = files(sources, "sv")?;
        // The package stands before the modules that use it.
        modules.sort_by_key(|path| (!path.to_string_lossy().ends_with("_pkg.sv"), path.clone()));
        // npu_pkg before packages that use it.
        modules.sort_by_key(|path| !path.ends_with("npu_pkg.sv"));
        let output = Command::new("verilator")
            .args(["--cc", "--top-module", "npu_top", "--trace-fst", "-O3", "--x-assign", "fast"])
            .args(["--x-initial", "fast", "--noassert", "--output-split", "20000", "-Wno-fatal", "--Mdir"])
            .arg(out)
            .args(&modules)
            .output()
            .map_err(|e| format!("cannot run verilator ({e}); install it: apt-get install verilator"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("verilator: {}", String::from_utf8_lossy(&output.stderr)))
    }

    fn compile(shim: &Path, out: &Path) -> Result<(), String> {
        let root = verilator_root()?;
        let include = root.join("include");
        let runtime = ["verilated.cpp", "verilated_fst_c.cpp", "verilated_threads.cpp"];
        cc::Build::new()
            .cpp(true)
            .std("c++17")
            .opt_level(3)
            .warnings(false)
            .include(&include)
            .include(include.join("vltstd"))
            .include(out)
            .define("VERILATOR", "1")
            .define("VM_TRACE", "1")
            .define("VM_TRACE_FST", "1")
            .define("VM_COVERAGE", "0")
            .define("VM_SC", "0")
            .files(files(out, "cpp")?)
            .files(runtime.map(|name| include.join(name)))
            .file(shim)
            .try_compile("npu_verilated")
            .map_err(|e| e.to_string())?;
        println!("cargo::rustc-link-lib=z");
        Ok(())
    }

    /// Where Verilator's own sources lie.
    fn verilator_root() -> Result<PathBuf, String> {
        let output = Command::new("verilator").args(["--getenv", "VERILATOR_ROOT"]).output();
        let output = output.map_err(|e| format!("cannot run verilator: {e}"))?;
        Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
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
}

fn main() {
    #[cfg(feature = "rtl")]
    if let Err(message) = rtl::build() {
        println!("cargo::error={message}");
    }
}
