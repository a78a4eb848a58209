//! A frame's cycles by layer and by cause.

use std::ops::Range;

use serde::Serialize;

use super::cycles::CommandTiming;
use super::emit::CommandBody;
use super::partition::Partition;
use super::plan::NpuPlan;
use crate::cost;
use crate::cpu::program::ValueId;
use secateur_quant::QNet;

/// Cycles of the array's time line, and why they are more than the multiply-accumulates need.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Cycles {
    /// From the end of the command before to the end of the own ones.
    pub total: u64,
    /// Multiply-accumulates over multipliers.
    pub ideal: u64,
    /// Rows, lanes and feed cycles without work: edges of feature maps and of channel groups, pooling, copies.
    pub edges: u64,
    /// The array waits for the requantiser.
    pub drain: u64,
    /// The array waits for a LOAD, for results of its own, for a STORE.
    pub load: u64,
    pub own: u64,
    pub store: u64,
    /// Between commands, and waits for the command fetcher.
    pub command: u64,
}

/// One Darknet layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LayerCycles {
    pub layer: usize,
    #[serde(flatten)]
    pub cycles: Cycles,
    /// EXEC commands.
    pub commands: usize,
    /// Bytes that its feature maps, weights and parameters move over the bus.
    pub bytes: usize,
}

/// A frame as the cycle model sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CycleReport {
    /// From start to interrupt.
    pub cycles: u64,
    /// Multiply-accumulates over multipliers.
    pub ideal: u64,
    /// Sum of the layers; `total` is without the tail of the last results.
    pub sum: Cycles,
    pub layers: Vec<LayerCycles>,
    /// Groups of operations that run strip by strip.
    pub groups: usize,
    pub commands: usize,
    /// Words of each bank in use at the fullest moment.
    pub bank_words: usize,
    pub work_bytes: usize,
    /// Bytes over the bus, without commands.
    pub bytes: usize,
    /// The parts of processor and accelerator, if the processor runs layers too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<PartitionReport>,
}

/// A network of which the accelerator runs a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartitionReport {
    /// First and last layer on the accelerator.
    pub layers: [usize; 2],
    /// Multiply-accumulates on the accelerator and in all.
    pub macs: u64,
    pub total_macs: u64,
    /// Bytes of the feature maps that the processor writes before the accelerator runs, and reads thereafter.
    pub bytes_in: usize,
    pub bytes_out: usize,
    /// Layers that it does not run, the first of each run of such layers: number and reason.
    pub refused: Vec<(usize, String)>,
}

impl PartitionReport {
    fn new(net: &QNet, partition: &Partition) -> Option<Self> {
        if partition.is_whole() {
            return None;
        }
        let macs = |layers: Range<usize>| layers.map(|layer| cost::macs(net, layer)).sum();
        let bytes = |values: &[ValueId]| {
            let shape = |&value: &ValueId| {
                value.checked_sub(1).map_or(net.input.shape, |i| net.nodes[i].output.shape)
            };
            values.iter().map(|value| shape(value).len()).sum()
        };
        Some(Self {
            layers: [partition.layers.start, partition.layers.end - 1],
            macs: macs(partition.layers.clone()),
            total_macs: macs(0..net.nodes.len()),
            bytes_in: bytes(&partition.inputs),
            bytes_out: bytes(&partition.outputs),
            refused: partition.refused.clone(),
        })
    }
}

impl std::fmt::Display for PartitionReport {
    /// Prints both parts, and the reasons.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [first, last] = self.layers;
        let percent = 100.0 * self.macs as f64 / self.total_macs.max(1) as f64;
        writeln!(
            f,
            "layers {first} to {last} run on the accelerator ({percent:.1} % of the MACs), the others on the processor; \
             {} bytes go to it, {} come back",
            self.bytes_in, self.bytes_out
        )?;
        self.refused.iter().try_for_each(|(layer, why)| writeln!(f, "  layer {layer}: {why}"))
    }
}

impl CycleReport {
    /// Sums a plan's commands by layer.
    pub fn new(plan: &NpuPlan, net: &QNet) -> Self {
        let multipliers = u64::from(plan.accelerator.rows * plan.accelerator.lanes);
        // A network without operations still has the command that ends the frame.
        let charged = plan.commands.iter().map(|command| command.layer);
        let count =
            plan.graph.ops.iter().map(|op| op.layer).chain(charged).max().map_or(0, |layer| layer + 1);
        let mut layers: Vec<LayerCycles> =
            (0..count).map(|layer| LayerCycles { layer, ..Default::default() }).collect();
        let mut macs = vec![0; count];
        for (command, timing) in plan.commands.iter().zip(&plan.timings) {
            let layer = &mut layers[command.layer];
            layer.bytes += command.bytes;
            if matches!(command.body, CommandBody::Exec(_)) {
                layer.commands += 1;
                macs[command.layer] += command.macs;
                layer.cycles.add(timing);
            }
        }
        for (layer, macs) in layers.iter_mut().zip(macs) {
            layer.cycles.ideal = macs / multipliers;
            layer.cycles.edges = layer.cycles.edges.saturating_sub(layer.cycles.ideal);
        }
        let mut sum = Cycles::default();
        for LayerCycles { cycles, .. } in &layers {
            sum.total += cycles.total;
            sum.ideal += cycles.ideal;
            sum.edges += cycles.edges;
            sum.drain += cycles.drain;
            sum.load += cycles.load;
            sum.own += cycles.own;
            sum.store += cycles.store;
            sum.command += cycles.command;
        }
        Self {
            cycles: plan.cycles,
            ideal: plan.graph.ops.iter().map(|op| op.macs).sum::<u64>() / multipliers,
            sum,
            bytes: layers.iter().map(|layer| layer.bytes).sum(),
            layers: layers.into_iter().filter(|layer| layer.commands > 0).collect(),
            groups: plan.schedule.groups.len(),
            commands: plan.commands.len(),
            bank_words: plan.schedule.bank_words,
            work_bytes: plan.schedule.work_bytes,
            partition: PartitionReport::new(net, &plan.partition),
        }
    }

    /// Multiply-accumulates over what the multipliers could do in the frame's time.
    pub fn utilisation(&self) -> f64 {
        self.ideal as f64 / self.cycles.max(1) as f64
    }
}

impl Cycles {
    fn add(&mut self, timing: &CommandTiming) {
        let [load, own, store, fetch] = timing.stalls;
        self.load += load;
        self.own += own;
        self.store += store;
        self.command += fetch;
        self.drain += timing.drain_stall;
        self.edges += timing.array;
        self.total += load + own + store + fetch + timing.drain_stall + timing.array;
    }

    /// Fraction of the time in which all multipliers work.
    pub fn utilisation(&self) -> f64 {
        self.ideal as f64 / self.total.max(1) as f64
    }
}

impl std::fmt::Display for CycleReport {
    /// A table by layer, the sum, and the share of each loss in the frame.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let row = |f: &mut std::fmt::Formatter<'_>, name: &str, cycles: &Cycles, bytes: usize| {
            let Cycles { total, ideal, edges, drain, load, own, store, command } = *cycles;
            writeln!(
                f,
                "{name:>5} {total:>9} {ideal:>9} {:>6.1} {edges:>8} {drain:>8} {load:>7} {own:>6} {store:>6} \
                 {command:>7} {bytes:>9}",
                100.0 * cycles.utilisation()
            )
        };
        writeln!(
            f,
            "{:>5} {:>9} {:>9} {:>6} {:>8} {:>8} {:>7} {:>6} {:>6} {:>7} {:>9}",
            "layer",
            "cycles",
            "MACs/n",
            "util%",
            "edges",
            "drain",
            "load",
            "own",
            "store",
            "command",
            "bytes"
        )?;
        for layer in &self.layers {
            row(f, &layer.layer.to_string(), &layer.cycles, layer.bytes)?;
        }
        row(f, "sum", &self.sum, self.bytes)?;
        let share = |part: u64| 100.0 * part as f64 / self.cycles.max(1) as f64;
        let Cycles { edges, drain, load, own, store, command, .. } = self.sum;
        let tail = self.cycles.saturating_sub(self.sum.total);
        writeln!(
            f,
            "lost: edges {:.2} %, requantiser {:.2} %, loads {:.2} %, own results {:.2} %, stores {:.2} %, \
             commands {:.2} %, tail {:.2} %",
            share(edges),
            share(drain),
            share(load),
            share(own),
            share(store),
            share(command),
            share(tail)
        )
    }
}
