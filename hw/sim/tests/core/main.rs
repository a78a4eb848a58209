//! The core's RTL against the emulator: random commands of every mode, all banks compared after
//! each, cycles against the formula of docs/accelerator/cycles.md.

mod bench;
mod generate;
mod timing;

use bench::{Traffic, run};
use generate::Choice;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secateur_runtime::npu::isa::ArrayMode;
use secateur_sim::PARAMETERS;
use secateur_sim::emulator::{OnChip, exec};
use secateur_sim::unit::Core;

/// Expected and found bytes of all banks.
fn assert_banks(expected: &OnChip, core: &mut Core, what: &dyn std::fmt::Debug) {
    for (bank, (expected, found)) in expected.banks.iter().zip(core.banks()).enumerate() {
        for (address, (expected, found)) in expected.iter().zip(found).enumerate() {
            assert_eq!(*expected, found, "bank {bank}, word {address}: {what:#?}");
        }
    }
}

/// Compares `count` random commands of one kind, each alone.
fn compare(seed: u64, count: usize, choice: Choice) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut chip = OnChip::new(PARAMETERS);
    let mut core = Core::new();
    let mut latest = 0;
    for _ in 0..count {
        generate::memories(&mut rng, &mut chip);
        let command = generate::command(&mut rng, &mut chip, &choice);
        core.load(&chip);
        let stats = exec(&mut chip, &command).unwrap_or_else(|e| panic!("{e}: {command:#?}"));
        let run = run(&mut core, &[(command, false)], &mut Traffic::none());
        assert_banks(&chip, &mut core, &command);
        assert_eq!((stats.busy, stats.skipped), (run.busy, run.skipped), "{command:#?}");
        let expected = timing::predict(&[(command, stats, false)])[0];
        let late = run.done[0] as i64 - (run.accepted[0] + expected) as i64;
        // An element-wise operand's first vectors, and conflicts for its banks, come on top of the formula; two
        // rows at a time meet more of them, and so do four banks instead of eight.
        let allowed = if choice.residual {
            let conflicts = if PARAMETERS.drain_rows == 1 { PARAMETERS.rows.min(8) } else { 2 };
            20 + expected as i64 / i64::from(conflicts)
        } else if choice.sparse {
            14
        } else {
            0
        };
        assert!((0..=allowed).contains(&late), "{late} cycles late: {command:#?}");
        latest = latest.max(late);
    }
    println!("{:?}: {count} commands, up to {latest} cycles later than the formula", choice.mode);
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

/// Kinds that sequences draw from. Sparse lists would overwrite each other's control bytes.
const ANY: &[Choice] = &[
    PLAIN,
    Choice { kernels: &[2, 3], ..PLAIN },
    Choice { residual: true, ..PLAIN },
    Choice { mode: ArrayMode::Depthwise, kernels: &[3, 5], ..PLAIN },
    Choice { mode: ArrayMode::Maximum, kernels: &[2, 5], ..PLAIN },
    Choice { mode: ArrayMode::Average, ..PLAIN },
    Choice { mode: ArrayMode::Pass, residual: true, ..PLAIN },
    Choice { mode: ArrayMode::Pass, upsample: true, ..PLAIN },
    Choice { mode: ArrayMode::Pass, table: true, ..PLAIN },
];

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
fn elementwise() {
    compare(12, 80, Choice { mode: ArrayMode::Pass, residual: true, ..PLAIN });
    compare(13, 60, Choice { residual: true, ..PLAIN });
    compare(14, 60, Choice { mode: ArrayMode::Depthwise, kernels: &[3], residual: true, ..PLAIN });
    compare(15, 60, Choice { sparse: true, residual: true, ..PLAIN });
}

/// Commands in a row: the next is prepared while one runs, unless it waits for its result; LOAD and
/// STORE use the banks at the same time.
#[test]
fn sequences() {
    let mut rng = ChaCha8Rng::seed_from_u64(16);
    let mut core = Core::new();
    let (mut predicted, mut measured) = (0, 0);
    for percent in [0, 30, 90].repeat(8) {
        let mut chip = OnChip::new(PARAMETERS);
        generate::memories(&mut rng, &mut chip);
        let mut commands = Vec::new();
        for _ in 0..12 {
            let choice = ANY[rng.random_range(0..ANY.len())];
            commands.push((generate::command(&mut rng, &mut chip, &choice), rng.random_bool(0.3)));
        }
        core.load(&chip);
        let mut traffic = Traffic::new(&mut rng, percent, &chip);
        let mut timed = Vec::new();
        let found = run(&mut core, &commands, &mut traffic);
        for (command, wait) in &commands {
            let stats = exec(&mut chip, command).unwrap_or_else(|e| panic!("{e}: {command:#?}"));
            timed.push((*command, stats, *wait));
        }
        traffic.apply(&mut chip);
        assert_banks(&chip, &mut core, &commands);
        let expected = timing::predict(&timed);
        predicted += expected.last().unwrap_or(&0);
        measured += found.done.last().unwrap_or(&0) - found.accepted[0];
    }
    println!("sequences: {predicted} cycles predicted, {measured} measured");
    assert!(measured.abs_diff(predicted) * 50 < predicted, "{predicted} predicted, {measured} measured");
}

/// Ten to the sixth requantisations (ten times as many with `LONG`): accumulators of all sizes come
/// from the bias, extremes and ties included.
#[test]
fn requantisations() {
    let mut rng = ChaCha8Rng::seed_from_u64(17);
    let mut core = Core::new();
    let wanted = if std::env::var_os("LONG").is_some() { 10_000_000 } else { 1_000_000 };
    let (channels, words) = (64, 16);
    let mut results = 0;
    while results < wanted {
        let mut chip = OnChip::new(PARAMETERS);
        generate::memories(&mut rng, &mut chip);
        generate::extremes(&mut rng, &mut chip);
        core.load(&chip);
        let commands: Vec<_> = (0..PARAMETERS.param_entries as u16 / channels)
            .map(|n| (generate::rescale(&mut rng, n * channels, channels, words), false))
            .collect();
        run(&mut core, &commands, &mut Traffic::none());
        for (command, _) in &commands {
            exec(&mut chip, command).unwrap_or_else(|e| panic!("{e}: {command:#?}"));
            results += usize::from(channels) * usize::from(words) * PARAMETERS.lanes as usize;
        }
        assert_banks(&chip, &mut core, &commands.last());
    }
}

/// Fields out of range are refused, by the emulator too, and leave the core as it was.
#[test]
fn illegal_commands() {
    let mut rng = ChaCha8Rng::seed_from_u64(18);
    let mut chip = OnChip::new(PARAMETERS);
    generate::memories(&mut rng, &mut chip);
    let mut core = Core::new();
    core.load(&chip);
    for break_it in generate::BREAKS {
        for choice in ANY {
            let mut command = generate::command(&mut rng, &mut chip, choice);
            break_it(&mut command);
            assert!(exec(&mut chip.clone(), &command).is_err(), "{command:#?}");
            // Looked at for a cycle, taken in the next.
            core.present(Some(&command));
            assert_eq!(core.cycle().cmd_ready, 0);
            assert_eq!(core.cycle().cmd_ready, 1);
            core.present(None);
            assert_eq!(core.cycle().illegal, 1, "{command:#?}");
            for _ in 0..40 {
                let outputs = core.cycle();
                assert_eq!((outputs.done, outputs.illegal, outputs.idle), (0, 0, 1));
            }
        }
    }
    assert_banks(&chip, &mut core, &"after illegal commands");
}

/// A sparse command whose weights have no end of a list anywhere: it ends all the same, and the next
/// command is right.
#[test]
fn lists_without_an_end() {
    let mut rng = ChaCha8Rng::seed_from_u64(20);
    let mut core = Core::new();
    let choice = Choice { kernels: &[1, 2], sparse: true, ..PLAIN };
    for _ in 0..20 {
        let mut chip = OnChip::new(PARAMETERS);
        generate::memories(&mut rng, &mut chip);
        let broken = generate::command(&mut rng, &mut chip, &choice);
        let whole = chip.weights.clone();
        for (_, control) in chip.weights.iter_mut() {
            *control &= 0x7f;
        }
        core.load(&chip);
        run(&mut core, &[(broken, false)], &mut Traffic::none());
        chip.weights = whole;
        core.load(&chip);
        run(&mut core, &[(broken, false)], &mut Traffic::none());
        exec(&mut chip, &broken).unwrap_or_else(|e| panic!("{e}: {broken:#?}"));
        assert_banks(&chip, &mut core, &broken);
    }
}

/// Reset in the middle of a command: the core is idle at once, and the next command is right.
#[test]
fn resets() {
    let mut rng = ChaCha8Rng::seed_from_u64(19);
    let mut core = Core::new();
    for _ in 0..60 {
        let mut chip = OnChip::new(PARAMETERS);
        generate::memories(&mut rng, &mut chip);
        let choice = ANY[rng.random_range(0..ANY.len())];
        let broken = generate::command(&mut rng, &mut chip, &choice);
        core.load(&chip);
        core.present(Some(&broken));
        for _ in 0..rng.random_range(1..150) {
            core.cycle();
        }
        core.present(None);
        core.inputs.rst = 1;
        core.cycle();
        core.inputs.rst = 0;
        assert_eq!(core.cycle().idle, 1);
        let choice = ANY[rng.random_range(0..ANY.len())];
        let command = generate::command(&mut rng, &mut chip, &choice);
        core.load(&chip);
        run(&mut core, &[(command, false)], &mut Traffic::none());
        exec(&mut chip, &command).unwrap_or_else(|e| panic!("{e}: {command:#?}"));
        assert_banks(&chip, &mut core, &command);
    }
}
