//! Drives the core: commands in a row, with LOAD and STORE traffic beside them.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secateur_runtime::npu::isa::Exec;
use secateur_sim::PARAMETERS;
use secateur_sim::emulator::{MOST_LANES, OnChip};
use secateur_sim::unit::{Core, Outputs};

use crate::generate::SPARE;

/// Cycles after which the core hangs.
const LIMIT: u64 = 1_000_000;

/// What running commands showed.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// Cycles in which the commands were taken and finished.
    pub(crate) accepted: Vec<u64>,
    pub(crate) done: Vec<u64>,
    pub(crate) busy: u64,
    pub(crate) skipped: u64,
}

/// Runs commands in order; one that waits is presented once all before it are finished.
pub(crate) fn run(core: &mut Core, commands: &[(Exec, bool)], traffic: &mut Traffic) -> Run {
    let mut run = Run::default();
    let start = core.cycles;
    while run.done.len() < commands.len() {
        let next = commands.get(run.accepted.len());
        let next = next.filter(|(_, wait)| !wait || run.done.len() == run.accepted.len());
        core.present(next.map(|(command, _)| command));
        traffic.drive(core);
        let now = core.cycles;
        let outputs = core.cycle();
        traffic.check(&outputs);
        assert_eq!(outputs.illegal, 0, "{commands:#?}");
        if next.is_some() && outputs.cmd_ready != 0 {
            run.accepted.push(now);
        }
        if outputs.done != 0 {
            run.done.push(now);
        }
        run.busy += u64::from(outputs.busy_mac);
        run.skipped += u64::from(outputs.skipped);
        assert!(now - start < LIMIT, "hangs: {commands:#?}");
    }
    core.present(None);
    traffic.end(core);
    // The last write, and what STORE still waits for.
    for _ in 0..4 {
        let outputs = core.cycle();
        traffic.check(&outputs);
    }
    assert_eq!(core.cycle().idle, 1);
    run
}

/// Random writes of LOAD and reads of STORE, in words that no command touches.
pub(crate) struct Traffic {
    rng: ChaCha8Rng,
    percent: u32,
    /// `[bank][word of SPARE[0]]`: what STORE must find.
    kept: Vec<Vec<[u8; MOST_LANES]>>,
    /// Answers that are due.
    due: std::collections::VecDeque<[u8; MOST_LANES]>,
    /// Writes that the core has taken.
    written: Vec<(usize, usize, [u8; MOST_LANES], u16)>,
    write: Option<(usize, usize, [u8; MOST_LANES], u16)>,
    read: Option<[u8; MOST_LANES]>,
}

impl Traffic {
    pub(crate) fn none() -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(0),
            percent: 0,
            kept: Vec::new(),
            due: Default::default(),
            written: Vec::new(),
            write: None,
            read: None,
        }
    }

    /// Requests in `percent` of the cycles.
    pub(crate) fn new(rng: &mut impl Rng, percent: u32, chip: &OnChip) -> Self {
        let kept = chip.banks.iter().map(|bank| bank[SPARE[0].clone()].to_vec()).collect();
        Self { rng: ChaCha8Rng::seed_from_u64(rng.random()), percent, kept, ..Self::none() }
    }

    fn drive(&mut self, core: &mut Core) {
        let wish = f64::from(self.percent) / 100.0;
        // A request stays until it is taken.
        if self.write.is_none() && self.rng.random_bool(wish) {
            let at = self.rng.random_range(SPARE[1].clone());
            let bank = self.rng.random_range(0..PARAMETERS.rows as usize);
            self.write = Some((bank, at, self.rng.random(), self.rng.random()));
        }
        core.inputs.ld_valid = self.write.is_some().into();
        if let Some((bank, at, data, enable)) = self.write {
            core.inputs.ld_bank = bank as u8;
            core.inputs.ld_addr = at as u16;
            core.inputs.ld_data = data;
            core.inputs.ld_be = enable;
        }
        if self.read.is_none() && self.rng.random_bool(wish) {
            let bank = self.rng.random_range(0..PARAMETERS.rows as usize);
            let at = self.rng.random_range(SPARE[0].clone());
            core.inputs.st_bank = bank as u8;
            core.inputs.st_addr = at as u16;
            self.read = Some(self.kept[bank][at]);
        }
        core.inputs.st_valid = self.read.is_some().into();
    }

    fn check(&mut self, outputs: &Outputs) {
        if outputs.st_rvalid != 0 {
            assert_eq!(self.due.pop_front(), Some(outputs.st_rdata), "STORE's answer");
        }
        if outputs.ld_ready != 0 {
            self.written.extend(self.write.take());
        }
        if outputs.st_ready != 0 {
            self.due.extend(self.read.take());
        }
    }

    /// Makes no more requests; those on offer stay until they are accepted.
    fn end(&mut self, core: &mut Core) {
        let percent = std::mem::take(&mut self.percent);
        while self.write.is_some() || self.read.is_some() {
            self.drive(core);
            let outputs = core.cycle();
            self.check(&outputs);
        }
        self.percent = percent;
        core.inputs.ld_valid = 0;
        core.inputs.st_valid = 0;
    }

    /// Does to the emulator's banks what LOAD did.
    pub(crate) fn apply(&self, chip: &mut OnChip) {
        assert!(self.due.is_empty(), "STORE waits for answers");
        for (bank, at, data, enable) in &self.written {
            for lane in (0..PARAMETERS.lanes as usize).filter(|lane| enable >> lane & 1 != 0) {
                chip.banks[*bank][*at][lane] = data[lane];
            }
        }
    }
}
