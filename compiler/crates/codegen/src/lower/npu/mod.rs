//! From an int8 network to the accelerator's program.
//!
//! [`share`] says which layers the accelerator runs, [`import`] makes operations of layers, [`plan`] groups them, [`strips`] cuts groups into strips,
//! [`schedule`] gives maps their places, [`emit`] writes commands with their waits, [`stream`] orders
//! them, [`cycles`] tells when each runs.

pub mod cycles;
mod emit;
mod hazards;
mod import;
mod op;
mod packed;
mod plan;
pub mod report;
mod schedule;
pub mod share;
mod split;
mod stream;
mod strips;
mod weights;

pub use cycles::Timing;
pub use emit::{Body, Command};
pub use share::Share;

use import::Graph;
use packed::Packed;
use schedule::{Residency, Schedule, Stays};

use rayon::prelude::*;

use crate::target::Accelerator;
use secateur_base::progress::Progress;
use secateur_base::{Error, Result};
use secateur_quant::QNet;

impl Plan {
    /// Where the frame's cycles go.
    pub fn report(&self, net: &QNet) -> report::Report {
        report::Report::new(self, net)
    }
}

/// How a network is brought onto the accelerator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Convolutions add the shortcut that follows them.
    pub fuse: bool,
    /// Operations that may run strip by strip together; 1: layer by layer.
    pub group: usize,
    /// The processor may run what comes before and after the layers that the accelerator can run.
    pub processor: bool,
}

impl Options {
    /// Each layer on its own, every map through memory.
    pub const LAYER_BY_LAYER: Self = Self { fuse: false, group: 1, processor: false };
}

impl Default for Options {
    fn default() -> Self {
        Self { fuse: true, group: 16, processor: false }
    }
}

/// A network as the accelerator's program.
#[derive(Debug, Clone)]
pub struct Plan {
    pub accelerator: Accelerator,
    pub(crate) graph: Graph,
    pub(crate) schedule: Schedule,
    pub(crate) packed: Packed,
    /// In the order of the stream.
    pub commands: Vec<Command>,
    /// By command.
    pub timings: Vec<Timing>,
    /// Cycles of a frame.
    pub cycles: u64,
    /// Offset in region 0 of the packed constants.
    pub data_offset: usize,
    pub share: Share,
}

/// Brings a share of a network onto an accelerator; `data_offset` is where in region 0 the constants will
/// stand. Errors name the layer.
pub fn lower(
    net: &QNet,
    accelerator: &Accelerator,
    options: Options,
    share: &Share,
    data_offset: usize,
) -> Result<Plan> {
    let parameters = accelerator.parameters();
    let mut graph = import::import(net, &parameters, options.fuse, share)?;
    split::split(&mut graph, &parameters);
    let packed = packed::pack(&graph.ops, &parameters);
    packed::check_weights(net, &graph, accelerator)?;
    let search = Search { graph: &graph, packed: &packed, accelerator, options, share, data_offset };
    let residencies = residencies(accelerator, options);
    let progress = Progress::new("planning the accelerator's program", residencies.len() as u64);
    let plans: Vec<Result<Plan>> = residencies
        .par_iter()
        .map(|&residency| {
            let plan = search.plan(residency);
            progress.advance(1);
            plan
        })
        .collect();
    // The first of the fastest: the same on any number of threads.
    let fastest = plans.into_iter().reduce(|best, plan| match (&best, &plan) {
        (Ok(a), Ok(b)) if b.cycles < a.cycles => plan,
        (Err(_), Ok(_)) => plan,
        _ => best,
    });
    let none = || Err(Error::new("compiler mistake: nothing was planned"));
    fastest.unwrap_or_else(none).map_err(|e| with_line(net, e))
}

/// What the plans under different rules have in common.
struct Search<'a> {
    graph: &'a Graph,
    packed: &'a Packed,
    accelerator: &'a Accelerator,
    options: Options,
    share: &'a Share,
    data_offset: usize,
}

impl Search<'_> {
    /// The best program under one rule about what remains on the chip.
    fn plan(&self, residency: Residency) -> Result<Plan> {
        let Self { graph, packed, accelerator, options, share, data_offset } = *self;
        let outputs = &share.outputs;
        let parameters = accelerator.parameters();
        let stays = Stays::new(graph, outputs, &parameters, residency);
        let banks = accelerator.bank_words as usize;
        let mut bank_words = banks;
        let schedule = loop {
            let limits = plan::Limits { bank_words, ops: options.group };
            let groups = plan::plan(graph, packed, accelerator, &stays, limits)?;
            match schedule::lay_out(graph, outputs, &parameters, &stays, groups) {
                Ok(schedule) => break schedule,
                // The placement needs more than the words alive at once: plan with fewer.
                Err(_) if bank_words > banks / 2 => bank_words -= banks / 25,
                Err(e) => return Err(e),
            }
        };
        let commands = emit::emit(graph, &schedule, packed, &parameters, data_offset)?;
        let commands = stream::order(commands);
        let (timings, cycles) = cycles::replay(&commands, accelerator);
        tracing::debug!("{residency:?}: {cycles} cycles, {} groups", schedule.groups.len());
        Ok(Plan {
            accelerator: *accelerator,
            graph: graph.clone(),
            schedule,
            packed: packed.clone(),
            commands,
            timings,
            cycles,
            data_offset,
            share: share.clone(),
        })
    }
}

/// Rules about what remains on the chip that are tried.
fn residencies(accelerator: &Accelerator, options: Options) -> Vec<Residency> {
    let words = accelerator.bank_words as usize;
    if options.group == 1 {
        return vec![Residency { words: 0, distance: 0 }];
    }
    let shares = [0, words / 8, words / 4, words * 2 / 5, words / 2, words * 3 / 4];
    shares.into_iter().map(|words| Residency { words, distance: 6 }).collect()
}

/// Adds section and line of the layer that an error names.
fn with_line(net: &QNet, error: Error) -> Error {
    match error.at_layer() {
        Some(layer) if layer < net.nodes.len() => net.locate(layer, error),
        _ => error,
    }
}
