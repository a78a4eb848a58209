//! Drives the accelerator's stages, once for each rule about what remains on the chip; the fastest wins.

use rayon::prelude::*;
use secateur_base::progress::Progress;
use secateur_base::{Error, Result};
use secateur_quant::QNet;
use secateur_runtime::npu::program::{MapRecord, ProgramHeader};

use super::import::NpuGraph;
use super::packed::Packed;
use super::partition::Partition;
use super::plan::{NpuOptions, NpuPlan};
use super::schedule::{Residency, Stays};
use super::{cycles, emit, grouping, import, offload, packed, schedule, split, stream};
use crate::cpu::program::ValueId;
use crate::target::Accelerator;

/// The packed constants start at a multiple of this many bytes of region 0.
const ALIGNMENT: usize = 64;

/// Lowers a network to an accelerator; `read` are the values that heads are decoded from.
///
/// With [`NpuOptions::processor`] the accelerator runs the consecutive layers that it supports, as far as
/// their program fits its counters, and the processor runs the others.
///
/// # Errors
/// A layer that the accelerator does not support, feature maps or weights above its memories, a program
/// above its counters; each with the layer.
pub fn lower(
    net: &QNet,
    accelerator: &Accelerator,
    options: NpuOptions,
    read: &[ValueId],
) -> Result<NpuPlan> {
    let mut partition = match options.processor {
        true => offload::largest(net, accelerator, read)?,
        false => Partition::whole(net, read),
    };
    loop {
        let overflow = match plan(net, accelerator, options, &partition).map_err(|e| with_line(net, e))? {
            Outcome::Fits(plan) => return Ok(*plan),
            Outcome::TooLong(overflow) => overflow,
        };
        let error = with_line(net, overflow.error(options.queue_commands));
        let shorter = options.processor.then(|| partition.until(net, overflow.layer, read, error.what()));
        partition = shorter.flatten().ok_or_else(|| {
            error.help("with --allow-processor the processor runs the layers that are left")
        })?;
    }
}

/// A plan under one rule, or the reason why its program cannot run.
enum Outcome {
    Fits(Box<NpuPlan>),
    TooLong(Overflow),
}

impl Outcome {
    /// Orders plans: the fewest cycles first, then programs that get farther before they overflow.
    fn beats(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Fits(own), Self::Fits(other)) => own.cycles < other.cycles,
            (Self::Fits(_), Self::TooLong(_)) => true,
            (Self::TooLong(_), Self::Fits(_)) => false,
            (Self::TooLong(own), Self::TooLong(other)) => own.layer > other.layer,
        }
    }
}

/// A program with more commands of one queue than the accelerator counts.
struct Overflow {
    /// Layer of the first command that is not counted.
    layer: usize,
    /// Commands of the longest queue.
    commands: usize,
}

impl Overflow {
    /// Finds the first command beyond `limit` commands of its queue.
    fn of(commands: &[emit::PlannedCommand], limit: usize) -> Option<Self> {
        let mut counts = [0; 3];
        let mut layer = None;
        for command in commands {
            let count = &mut counts[command.queue as usize];
            *count += 1;
            if *count > limit {
                layer.get_or_insert(command.layer);
            }
        }
        Some(Self { layer: layer?, commands: counts.into_iter().max()? })
    }

    fn error(&self, limit: usize) -> Error {
        Error::new("the program is too long for the accelerator's counters")
            .layer(self.layer)
            .found(format!("{} commands of one queue", self.commands))
            .allowed(format!("at most {limit}"))
    }
}

/// Plans the layers of `partition` under every rule and returns the best result.
fn plan(
    net: &QNet,
    accelerator: &Accelerator,
    options: NpuOptions,
    partition: &Partition,
) -> Result<Outcome> {
    let parameters = accelerator.parameters();
    let mut graph = import::import(net, &parameters, options.fuse, partition)?;
    split::split(&mut graph, &parameters);
    let packed = packed::pack(&graph.ops, &parameters);
    packed::check_weights(net, &graph, accelerator)?;
    // Region 0: header, records of the feature maps, constants, command stream.
    let maps = partition.inputs.len() + partition.outputs.len();
    let data_offset =
        (size_of::<ProgramHeader>() + maps * size_of::<MapRecord>()).next_multiple_of(ALIGNMENT);
    let search =
        ResidencySearch { graph: &graph, packed: &packed, accelerator, options, partition, data_offset };
    let residencies = residencies(accelerator, options);
    let progress = Progress::new("planning the accelerator's program", residencies.len() as u64);
    let plans: Vec<Result<Outcome>> = residencies
        .par_iter()
        .map(|&residency| {
            let plan = search.plan(residency);
            progress.advance(1);
            plan
        })
        .collect();
    // Of equals the first: the same on any number of threads.
    let best = plans.into_iter().reduce(|best, plan| match (&best, &plan) {
        (Ok(a), Ok(b)) if b.beats(a) => plan,
        (Err(_), Ok(_)) => plan,
        _ => best,
    });
    best.unwrap_or_else(|| Err(Error::internal("nothing was planned")))
}

/// The common part of the plans under different rules.
struct ResidencySearch<'a> {
    graph: &'a NpuGraph,
    packed: &'a Packed,
    accelerator: &'a Accelerator,
    options: NpuOptions,
    partition: &'a Partition,
    data_offset: usize,
}

impl ResidencySearch<'_> {
    /// Returns the best program under one rule about what remains on the chip.
    fn plan(&self, residency: Residency) -> Result<Outcome> {
        let Self { graph, packed, accelerator, options, partition, data_offset } = *self;
        let outputs = &partition.outputs;
        let parameters = accelerator.parameters();
        let stays = Stays::new(graph, outputs, &parameters, residency);
        let banks = accelerator.bank_words as usize;
        let mut bank_words = banks;
        let schedule = loop {
            let limits = grouping::Limits { bank_words, ops: options.group };
            let groups = grouping::plan(graph, packed, accelerator, &stays, limits)?;
            match schedule::lay_out(graph, outputs, &parameters, &stays, groups) {
                Ok(schedule) => break schedule,
                // The placement needs more than the words alive at once: plan with fewer.
                Err(_) if bank_words > banks / 2 => bank_words -= banks / BANK_STEPS,
                Err(e) => return Err(e),
            }
        };
        let commands = emit::emit(graph, &schedule, packed, &parameters, data_offset)?;
        if let Some(overflow) = Overflow::of(&commands, options.queue_commands) {
            return Ok(Outcome::TooLong(overflow));
        }
        let commands = stream::order(commands);
        let (timings, cycles) = cycles::replay(&commands, accelerator);
        tracing::debug!("{residency:?}: {cycles} cycles, {} groups", schedule.groups.len());
        Ok(Outcome::Fits(Box::new(NpuPlan {
            accelerator: *accelerator,
            graph: graph.clone(),
            schedule,
            packed: packed.clone(),
            commands,
            timings,
            cycles,
            data_offset,
            partition: partition.clone(),
        })))
    }
}

/// If a placement fails, the planner gives up this part of the banks (4 %) and plans again, down to a half: at
/// most 13 plans. Coarser steps waste banks, finer ones planning time.
const BANK_STEPS: usize = 25;

/// The most operations between two accesses of a feature map that remains on the chip. A residual block (expand,
/// depthwise, project, add) reads its input again after three to four operations; what is read later, by routes
/// to another scale, would occupy banks over most of the network.
const DISTANCE: usize = 6;

/// Returns the rules about what remains on the chip that are tried: from nothing to feature maps of three
/// quarters of a bank. No rule is right for all networks, so every plan is replayed and the fastest wins; a rule
/// more costs planning time only.
fn residencies(accelerator: &Accelerator, options: NpuOptions) -> Vec<Residency> {
    let words = accelerator.bank_words as usize;
    if options.group == 1 {
        return vec![Residency { words: 0, distance: 0 }];
    }
    let sizes = [0, words / 8, words / 4, words * 2 / 5, words / 2, words * 3 / 4];
    sizes.into_iter().map(|words| Residency { words, distance: DISTANCE }).collect()
}

/// Adds section and line of the layer that an error names.
fn with_line(net: &QNet, error: Error) -> Error {
    match error.at_layer() {
        Some(layer) if layer < net.nodes.len() => net.locate(layer, error),
        _ => error,
    }
}
