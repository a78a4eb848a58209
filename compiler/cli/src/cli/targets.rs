//! `targets`: what artefacts are compiled for.

use clap::Subcommand;
use secateur_base::{Error, Result, outln};
use secateur_codegen::target::{Board, Dram, Regions, Target};

use super::Global;

/// List the targets and boards that artefacts are compiled for, or show one.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the known targets and boards.
    List,
    /// Show a target's or a board's processor and memory.
    #[command(after_help = "Examples:
  secateur targets show cortex-m4
  secateur targets show stm32f746g-disco
  secateur targets show my-board.toml")]
    Show {
        /// A target or a board by its name, or its file (.toml).
        name: String,
    },
}

pub(crate) fn run(args: Args, _global: &Global) -> Result<()> {
    match args.action {
        Action::List => list(),
        Action::Show { name } => show(&name),
    }
}

fn list() -> Result<()> {
    outln!("targets, for `compile --target`:");
    for name in Target::names() {
        outln!("  {name:<18} {}", Target::load(name)?.description);
    }
    outln!("boards, for `compile --board`; those that QEMU has also for `run --on qemu:NAME`:");
    for name in Board::names() {
        let board = Board::load(name)?;
        outln!("  {name:<18} {} [{}]", board.description, board.target.name);
    }
    Ok(())
}

fn show(name: &str) -> Result<()> {
    // A file that is neither has a mistake: `align` is a target's key, all else is said of a board.
    let (target, board) = match (Target::load(name), Board::load(name)) {
        (Ok(target), _) => (target, None),
        (_, Ok(board)) => (board.target.clone(), Some(board)),
        (Err(of_target), Err(of_board)) if name.ends_with(".toml") => {
            let is_target = std::fs::read_to_string(name)
                .is_ok_and(|text| text.lines().any(|line| line.trim_start().starts_with("align")));
            return Err(if is_target { of_target } else { of_board });
        }
        _ => {
            let known: Vec<&str> = Target::names().chain(Board::names()).collect();
            return Err(Error::new("unknown target or board")
                .found(name)
                .allowed(format!("{}, or a path ending in .toml", known.join(", "))));
        }
    };
    if let Some(board) = &board {
        outln!("board        {}: {}", board.name, board.description);
    }
    outln!("target       {}: {}", target.name, target.description);
    if let Some(processor) = &target.processor {
        outln!("instructions {}", processor.instructions);
        if let (Some(triple), Some(cpu)) = (&processor.triple, &processor.cpu) {
            outln!("compiler     {triple}, {cpu}");
        }
    }
    if let Some(a) = &target.accelerator {
        outln!("accelerator  {} rows × {} lanes, bus of {} bytes", a.rows, a.lanes, a.axi_bytes);
    }
    if let Some(soc) = &target.soc {
        let memory = match soc.memory {
            Dram::Sdr => "SDRAM",
            Dram::Ddr3 => "DDR3",
        };
        outln!("system       {memory} of 16 bits, clock of {} MHz, for `sim --soc`", soc.clock_mhz);
    }
    match target.operators() {
        None => outln!("operators    all"),
        Some(operators) => outln!("operators    {}", operators.collect::<Vec<_>>().join(", ")),
    }
    match &target.regions {
        None => outln!("memory       not limited"),
        Some(regions) => print_regions(regions),
    }
    if let Some(board) = board {
        print_board(&board);
    }
    Ok(())
}

fn print_regions(regions: &Regions) {
    let uses = [
        "flash of the firmware",
        "flash of artefact and image",
        "RAM of stack and variables",
        "RAM of the arena",
    ];
    for ((name, region), holds) in regions.named().into_iter().zip(uses) {
        let at = region.at.map_or(String::new(), |at| format!(" at {at:#010x}"));
        outln!("{name:<12} {} bytes{at}, {holds}", region.bytes);
    }
}

fn print_board(board: &Board) {
    if let Some(chip) = &board.chip {
        outln!("chip         {chip}, for probe-rs");
    }
    match (&board.emulator, board.firmware) {
        (Some(emulator), _) => outln!("emulator     {}, machine {}", emulator.command, emulator.machine),
        (None, Some(_)) => outln!("firmware     builds and links; not tried on hardware"),
        (None, None) => {
            outln!("firmware     none for this board yet: compile for it, and bring a program of your own")
        }
    }
}
