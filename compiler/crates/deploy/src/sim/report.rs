//! A frame's cost, layer by layer.

use std::fmt::Write as _;

use secateur_runtime::npu::stream::Queue;

use super::frame::SimulatedFrame;
use crate::{Deployed, kernel_macs, kernel_name};

/// Cycles and bytes of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerTiming {
    /// Number that Darknet prints.
    pub layer: usize,
    pub kernel: &'static str,
    /// EXEC commands.
    pub commands: u64,
    /// Multiply-accumulates of the layer, skipped ones included.
    pub macs: u64,
    /// Cycles by the compiler's model, from the end of the EXEC command before to that of its own.
    pub predicted: u64,
    /// The same measured. The layers' sum is the frame without its last stores.
    pub measured: u64,
    /// Multiply-accumulates that sparsity skipped.
    pub skipped: u64,
    /// Cycles in which the array waited for: a load, a store, the requantiser, the element-wise operand, a
    /// command.
    pub stalls: [u64; 5],
    pub bytes_read: u64,
    pub bytes_written: u64,
}

/// Layers that cost anything, in order.
pub fn layers(frame: &SimulatedFrame, deployed: &Deployed<'_>) -> Vec<LayerTiming> {
    let model = deployed.model();
    let mut kernels = vec![("view", 0); deployed.layer_count()];
    for step in model.steps() {
        if let Some(entry) = kernels.get_mut(step.layer() as usize) {
            *entry = (kernel_name(&step), entry.1 + kernel_macs(&step));
        }
    }
    let rows = model.program().map_or(1, |program| program.parameters().rows);
    let lanes = model.program().map_or(1, |program| program.parameters().lanes);
    let mut reports: Vec<LayerTiming> = Vec::new();
    let mut ends = (0, 0);
    for command in frame.commands.iter().filter(|command| !command.is_end) {
        let at = reports.iter().position(|report| report.layer == command.layer).unwrap_or_else(|| {
            let (kernel, macs) = kernels.get(command.layer).copied().unwrap_or(("", 0));
            reports.push(LayerTiming {
                layer: command.layer,
                kernel,
                macs,
                commands: 0,
                predicted: 0,
                measured: 0,
                skipped: 0,
                stalls: [0; 5],
                bytes_read: 0,
                bytes_written: 0,
            });
            reports.len() - 1
        });
        let report = &mut reports[at];
        match command.queue {
            Queue::Load => report.bytes_read += command.bytes,
            Queue::Store => report.bytes_written += command.bytes,
            Queue::Exec => {
                let counters = &command.counters;
                report.commands += 1;
                report.measured += command.end.saturating_sub(ends.0);
                report.predicted += command.predicted.1.saturating_sub(ends.1);
                ends = (ends.0.max(command.end), ends.1.max(command.predicted.1));
                report.skipped += u64::from(counters.skipped) * u64::from(rows) * u64::from(lanes);
                let stalls = [
                    counters.stall_load,
                    counters.stall_store,
                    counters.stall_drain,
                    counters.stall_residual,
                    counters.stall_command,
                ];
                report.stalls.iter_mut().zip(stalls).for_each(|(sum, stall)| *sum += u64::from(stall));
            }
        }
    }
    reports.sort_by_key(|report| report.layer);
    reports
}

/// The table and the frame's sums as text; `multipliers` = rows × lanes.
pub fn print(frame: &SimulatedFrame, layers: &[LayerTiming], multipliers: u64) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{:>5} {:<12} {:>5} {:>11} {:>9} {:>9} {:>7} {:>6} {:>11} {:>8} {:>7} {:>8} {:>7} {:>7} {:>9} {:>9}",
        "layer",
        "kernel",
        "EXECs",
        "MACs",
        "predicted",
        "cycles",
        "differ",
        "util.",
        "skipped",
        "load",
        "store",
        "requant.",
        "operand",
        "command",
        "read",
        "written"
    );
    for layer in layers {
        let [load, store, drain, residual, command] = layer.stalls;
        let _ = writeln!(
            text,
            "{:>5} {:<12} {:>5} {:>11} {:>9} {:>9} {:>7} {:>6} {:>11} {load:>8} {store:>7} {drain:>8} {residual:>7} \
             {command:>7} {:>9} {:>9}",
            layer.layer,
            layer.kernel,
            layer.commands,
            layer.macs,
            layer.predicted,
            layer.measured,
            percent(layer.measured as f64 - layer.predicted as f64, layer.predicted as f64),
            percent(layer.macs as f64, (layer.measured * multipliers) as f64),
            layer.skipped,
            layer.bytes_read,
            layer.bytes_written,
        );
    }
    let counters = &frame.counters;
    let macs: u64 = layers.iter().map(|layer| layer.macs).sum();
    let cycles = u64::from(counters.cycles);
    let _ = writeln!(
        text,
        "frame: {cycles} cycles, {} predicted ({}); {} MACs (those with zeros too), {} of what {multipliers} multipliers can do",
        frame.predicted,
        percent(cycles as f64 - frame.predicted as f64, frame.predicted as f64),
        macs,
        percent(macs as f64, (cycles * multipliers) as f64),
    );
    let _ = writeln!(
        text,
        "array busy {}; waits for load {}, store {}, requantiser {}, element-wise operand {}, command {}",
        counters.macs,
        counters.stall_load,
        counters.stall_store,
        counters.stall_drain,
        counters.stall_residual,
        counters.stall_command,
    );
    let _ = writeln!(
        text,
        "{} bytes read, {} written; {} LOAD, {} EXEC, {} STORE commands",
        counters.bytes_read,
        counters.bytes_written,
        counters.done_load,
        counters.done_exec,
        counters.done_store,
    );
    text
}

fn percent(part: f64, whole: f64) -> String {
    if whole == 0.0 { String::new() } else { format!("{:.1} %", 100.0 * part / whole) }
}
