//! A board's memory as the linker scripts of `cortex-m-rt` and `riscv-rt` want it.

use std::fmt::Write as _;

use secateur_codegen::target::{Family, Region, Regions};

/// The text of a board's `memory.x`.
pub(crate) fn memory_map(family: Family, regions: &Regions) -> String {
    let kept = [("PACKAGE", regions.package), ("ARENA", regions.arena)];
    let [package, arena] = kept;
    let mut text =
        linked_memory(family, &[("FLASH", regions.program), ("RAM", regions.data), package, arena]);
    for (name, _) in kept {
        let symbol = name.to_lowercase();
        let _ = writeln!(text, "_{symbol}_start = ORIGIN({name});");
        let _ = writeln!(text, "_{symbol}_end = ORIGIN({name}) + LENGTH({name});");
    }
    text
}

/// Regions for the linker; a program's own are `FLASH` and `RAM`.
pub fn linked_memory(family: Family, regions: &[(&str, Region)]) -> String {
    let mut text = String::from("MEMORY\n{\n");
    for (name, region) in regions {
        let at = region.at.unwrap_or(0);
        let _ = writeln!(text, "  {name} : ORIGIN = {at:#x}, LENGTH = {:#x}", region.bytes);
    }
    text.push_str("}\n");
    if family == Family::Riscv {
        for alias in ["TEXT", "RODATA"] {
            let _ = writeln!(text, "REGION_ALIAS(\"REGION_{alias}\", FLASH);");
        }
        for alias in ["DATA", "BSS", "HEAP", "STACK"] {
            let _ = writeln!(text, "REGION_ALIAS(\"REGION_{alias}\", RAM);");
        }
    }
    text
}
