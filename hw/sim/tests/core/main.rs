//! The core's RTL against the emulator: random commands of every mode, all banks compared after
//! each, cycles against the formula of hw/doc/cycles.md.

mod generate;

use generate::Choice;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use secateur_runtime::npu::isa::{ArrayMode, Exec, Parameters};
use secateur_sim::emulator::{ExecStats, OnChip, exec};
use secateur_sim::unit::Core;

/// Cycles after which a command hangs.
const LIMIT: u64 = 200_000;

/// One command on the RTL; returns cycles from its acceptance to `done`, both included.
fn run(core: &mut Core, command: &Exec) -> (u64, ExecStats) {
    let mut stats = ExecStats::default();
    core.present(Some(command));
    assert_eq!(core.cycle().cmd_ready, 1, "an idle core takes a command");
    core.present(None);
    let start = core.cycles;
    loop {
        let outputs = core.cycle();
        assert_eq!(outputs.illegal, 0, "{command:?}");
        stats.busy += u64::from(outputs.busy_mac);
        stats.skipped += u64::from(outputs.skipped);
        if outputs.done != 0 {
            core.cycle();
            return (core.cycles - start, stats);
        }
        assert!(core.cycles - start < LIMIT, "hangs: {command:?}");
    }
}

/// Compares `count` random commands of one kind.
fn compare(seed: u64, count: usize, choice: Choice) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut chip = OnChip::new(Parameters::NPU_8X16);
    let mut core = Core::new();
    let (mut least, mut most) = (i64::MAX, i64::MIN);
    for number in 0..count {
        generate::memories(&mut rng, &mut chip);
        let command = generate::command(&mut rng, &mut chip, &choice);
        core.load(&chip);
        let stats = exec(&mut chip, &command).unwrap_or_else(|e| panic!("{e}: {command:#?}"));
        let (cycles, measured) = run(&mut core, &command);
        for (bank, (expected, found)) in chip.banks.iter().zip(core.banks()).enumerate() {
            for (address, (expected, found)) in expected.iter().zip(found).enumerate() {
                assert_eq!(*expected, found, "command {number}, bank {bank}, word {address}: {command:#?}");
            }
        }
        assert_eq!((stats.busy, stats.skipped), (measured.busy, measured.skipped), "{command:#?}");
        let overhead = cycles as i64 - (stats.array + stats.drain) as i64;
        (least, most) = (least.min(overhead), most.max(overhead));
    }
    println!("{:?}: {count} commands, {least} to {most} cycles beside array and drain", choice.mode);
}

const PLAIN: Choice = Choice {
    mode: ArrayMode::Dense,
    kernels: &[1],
    row_mode: None,
    sparse: false,
    residual: false,
    table: false,
    upsample: false,
};

#[test]
fn pointwise() {
    compare(1, 60, PLAIN);
}

#[test]
fn dense() {
    compare(2, 60, Choice { kernels: &[1, 2, 3, 5], ..PLAIN });
}

#[test]
fn depthwise() {
    compare(3, 80, Choice { mode: ArrayMode::Depthwise, kernels: &[1, 2, 3, 5], ..PLAIN });
}

#[test]
fn sparse() {
    compare(4, 80, Choice { sparse: true, ..PLAIN });
    compare(5, 40, Choice { kernels: &[2, 3], sparse: true, ..PLAIN });
}

#[test]
fn maximum() {
    compare(6, 60, Choice { mode: ArrayMode::Maximum, kernels: &[2, 3, 5, 9, 13], ..PLAIN });
}

#[test]
fn average() {
    compare(7, 60, Choice { mode: ArrayMode::Average, ..PLAIN });
}

#[test]
fn pass() {
    compare(8, 60, Choice { mode: ArrayMode::Pass, ..PLAIN });
    compare(9, 60, Choice { mode: ArrayMode::Pass, upsample: true, ..PLAIN });
}

#[test]
fn tables() {
    compare(10, 40, Choice { mode: ArrayMode::Pass, table: true, ..PLAIN });
    compare(11, 20, Choice { kernels: &[3], table: true, residual: true, ..PLAIN });
}

#[test]
fn second_map() {
    compare(12, 80, Choice { mode: ArrayMode::Pass, residual: true, ..PLAIN });
    compare(13, 60, Choice { residual: true, ..PLAIN });
    compare(14, 60, Choice { mode: ArrayMode::Depthwise, kernels: &[3], residual: true, ..PLAIN });
    compare(15, 60, Choice { sparse: true, residual: true, ..PLAIN });
}
