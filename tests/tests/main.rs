//! The whole-system tests, one binary: linked once, and every test beside every other.

mod accelerator;
mod artefact;
mod bad_input;
mod bad_networks;
mod boards;
mod build;
mod command_line;
mod cycles;
mod disk_full;
mod filetests;
mod first_run;
mod frameworks;
mod frontend;
mod pages;
mod paths;
mod pipeline;
mod pruning;
mod resume;
mod terminal;
mod train;
mod whole_system;

/// A file that is no module would never run.
#[test]
fn every_file_is_a_module() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(module) = name.strip_suffix(".rs").filter(|&module| module != "main") else { continue };
        assert!(
            include_str!("main.rs").contains(&format!("\nmod {module};\n")),
            "main.rs lacks `mod {module};`"
        );
    }
}
