//! A self-checking test bench of one frame, for any simulator that reads SystemVerilog.

use std::fmt::Write as _;
use std::path::Path;

use secateur_sim::package::{BENCH, SOURCES, package};

use crate::Deployed;
use crate::sim::{RuntimeReference, memory, program};
use secateur_base::terminal::printable_line;
use secateur_base::{Result, files};

/// The files of a bench, beside those of `rtl/`.
pub const FILES: [&str; 6] = ["npu_tb_pkg.sv", "npu_tb.sv", "files", "memory.hex", "expected.hex", "run"];

/// Script that runs the bench.
const RUN: &str = "\
#!/usr/bin/env bash
# Builds the test bench with Verilator (5.006 or later, for --binary) and runs it.
set -euo pipefail
cd \"$(dirname \"$0\")\"
verilator --binary --top-module npu_tb -O3 -Wno-fatal -Wno-WIDTH -Wno-TIMESCALEMOD -j 2 --Mdir obj $(cat files)
./obj/Vnpu_tb
";

/// Writes bench, RTL, memory images and expected outputs of a frame of `int8` (`[h][w][c]`) into
/// `folder`, with a script `run`.
pub fn testbench(deployed: &Deployed<'_>, int8: &[i8], folder: &Path) -> Result<()> {
    let program = program(deployed)?;
    let reference = RuntimeReference::new(deployed, int8);
    let (_, place) = memory(&program);
    let header = program.header();
    let work_bytes = header.work_bytes.get();
    // Region 0 at the memory's start, region 1 behind it.
    let distance = place.work - place.program;
    let mut image = program.bytes().to_vec();
    let beat = program.parameters().axi_bytes;
    image.resize((distance + work_bytes).next_multiple_of(beat) as usize, 0);
    let mut constants = vec![
        ("MemoryBase", place.program),
        ("MemoryWords", image.len() as u32 / beat),
        ("ProgramBase", place.program),
        ("ProgramBytes", program.bytes().len() as u32),
        ("StreamAddress", place.program + header.stream_offset.get()),
        ("StreamBytes", header.stream_bytes.get()),
        ("WorkBase", place.work),
        ("WorkBytes", work_bytes),
        ("WatchdogCycles", header.watchdog.get()),
        ("PredictedCycles", header.cycles.get()),
    ];
    for input in program.inputs() {
        let (_, planes) = reference.planes(input.tensor.get() as usize);
        let pixels = (input.h.get() * input.w.get()) as usize;
        let channels = input.channels.get() as usize;
        for (channel, plane) in planes.chunks_exact(pixels).enumerate().take(channels) {
            let at = (distance + input.address.get()) as usize + channel * input.pitch.get() as usize;
            image[at..at + pixels].copy_from_slice(plane);
        }
    }
    let mut expected = Vec::new();
    let names = ["Layer", "Address", "Pitch", "Channels", "Height", "Width"];
    let mut columns = names.map(|name| (name, Vec::new()));
    for map in program.outputs() {
        let (layer, planes) = reference.planes(map.tensor.get() as usize);
        expected.extend(planes);
        let values = [
            layer.unwrap_or_default() as u32,
            place.work + map.address.get(),
            map.pitch.get(),
            map.channels.get(),
            map.h.get(),
            map.w.get(),
        ];
        columns.iter_mut().zip(values).for_each(|((_, column), value)| column.push(value));
    }
    constants.push(("ExpectedBytes", expected.len() as u32));
    constants.push(("Outputs", columns[0].1.len() as u32));

    let text = package_text(deployed.model().network(), &constants, &columns);
    let write = |name: &str, bytes: &[u8]| {
        debug_assert!(FILES.contains(&name) || name.starts_with("rtl/"), "{name} is not in FILES");
        files::write_bytes(&folder.join(name), bytes)
    };
    let mut list = String::new();
    for (name, source) in SOURCES {
        let path = format!("rtl/{name}");
        // The package of the sizes that the artefact was compiled for.
        let own = package(&program.parameters());
        let source = if *name == "npu_pkg.sv" { own.as_str() } else { source };
        write(&path, source.as_bytes())?;
        let _ = writeln!(list, "{path}");
    }
    write("npu_tb_pkg.sv", text.as_bytes())?;
    write("npu_tb.sv", BENCH.as_bytes())?;
    list.push_str("npu_tb_pkg.sv\nnpu_tb.sv\n");
    write("files", list.as_bytes())?;
    write(
        "memory.hex",
        hexadecimal(image.chunks_exact(beat as usize).map(|word| word.iter().rev())).as_bytes(),
    )?;
    write("expected.hex", hexadecimal(expected.iter().map(std::iter::once)).as_bytes())?;
    write("run", RUN.as_bytes())?;
    executable(&folder.join("run"))
}

/// The bench's package: numbers, and one array for each column of the outputs' table.
fn package_text(network: &str, constants: &[(&str, u32)], columns: &[(&str, Vec<u32>)]) -> String {
    // The name is foreign text: nothing in it may end the comment.
    let network = printable_line(network);
    let mut text =
        format!("// A frame of {network}; written by `secateur emit testbench`.\npackage npu_tb_pkg;\n");
    for (name, value) in constants {
        let _ = writeln!(text, "  localparam int unsigned {name} = {value};");
    }
    for (name, column) in columns {
        let values: Vec<String> = column.iter().map(u32::to_string).collect();
        let _ =
            writeln!(text, "  localparam int unsigned Output{name} [Outputs] = '{{{}}};", values.join(", "));
    }
    text + "endpackage\n"
}

/// One line a word, for `$readmemh`.
fn hexadecimal<'a>(words: impl Iterator<Item = impl Iterator<Item = &'a u8>>) -> String {
    let mut text = String::new();
    for word in words {
        for byte in word {
            let _ = write!(text, "{byte:02x}");
        }
        text.push('\n');
    }
    text
}

#[cfg(unix)]
fn executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
        .map_err(|e| secateur_base::Error::io("make executable", path, &e))
}

#[cfg(not(unix))]
fn executable(_: &Path) -> Result<()> {
    Ok(())
}
