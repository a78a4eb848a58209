//! The accelerator's program as the artefact's sections `Program` and `Trace`.
//!
//! Region 0: header, feature maps, constants, command stream.

use secateur_runtime::artefact::format::NONE;
use secateur_runtime::npu::program::{CommandRecord, MAGIC, MapRecord, ProgramHeader, map_role};
use secateur_runtime::npu::registers::VERSION_VALUE;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

use super::writer::number;
use crate::cpu::program::ValueId;
use crate::npu::{CommandBody, NpuPlan, Partition};
use secateur_base::{Error, Result};

/// Smallest watchdog: far above any wait for a memory that works.
const MIN_WATCHDOG: u64 = 1 << 20;

/// The sections' contents.
#[derive(Debug, Clone)]
pub(super) struct Sections {
    pub program: Vec<u8>,
    pub trace: Vec<CommandRecord>,
    /// By layer: whether the program computes it.
    pub shared: Vec<bool>,
}

impl Sections {
    /// Serialises a plan.
    pub(super) fn new(plan: &NpuPlan) -> Result<Self> {
        let Partition { inputs, outputs, .. } = &plan.partition;
        let inputs = inputs.iter().map(|&input| map(plan, input, map_role::INPUT));
        let outputs = outputs.iter().map(|&output| map(plan, output, map_role::OUTPUT));
        let maps = inputs.chain(outputs).collect::<Result<Vec<MapRecord>>>()?;
        let mut stream = Vec::new();
        for command in &plan.commands {
            // Counts have 16 bits, as the accelerator compares them; the compiler keeps below that.
            let waits = command.waits.map(|wait| U16::new(wait as u16));
            match command.body {
                CommandBody::Transfer(mut transfer) => {
                    [transfer.wait_load, transfer.wait_exec, transfer.wait_store] = waits;
                    stream.extend_from_slice(transfer.as_bytes());
                }
                CommandBody::Exec(mut exec) => {
                    [exec.wait_load, exec.wait_exec, exec.wait_store] = waits;
                    stream.extend_from_slice(exec.as_bytes());
                }
                CommandBody::End(mut end) => {
                    [end.wait_load, end.wait_exec, end.wait_store] = waits;
                    stream.extend_from_slice(end.as_bytes());
                }
            }
        }
        let p = plan.accelerator.parameters();
        let stream_offset = plan.data_offset + plan.packed.data.len();
        let longest = plan.timings.iter().map(|timing| timing.end - timing.start).max().unwrap_or(0);
        let header = ProgramHeader {
            magic: MAGIC,
            version: U32::new(VERSION_VALUE),
            rows: U32::new(p.rows),
            lanes: U32::new(p.lanes),
            bank_words: U32::new(p.bank_words),
            weight_words: U32::new(p.weight_words),
            param_entries: U32::new(p.param_entries),
            axi_bytes: U32::new(p.axi_bytes),
            work_bytes: number("workspace", plan.schedule.work_bytes)?,
            stream_offset: number("stream", stream_offset)?,
            stream_bytes: number("stream", stream.len())?,
            map_offset: number("maps", size_of::<ProgramHeader>())?,
            map_count: number("maps", maps.len())?,
            watchdog: number("watchdog", (8 * longest).max(MIN_WATCHDOG) as usize)?,
            cycles: number("cycles", plan.cycles as usize)?,
            drain_rows: U32::new(p.drain_rows),
        };
        let mut program = header.as_bytes().to_vec();
        program.extend_from_slice(maps.as_bytes());
        program.resize(plan.data_offset, 0);
        program.extend_from_slice(&plan.packed.data);
        program.extend_from_slice(&stream);
        let trace = plan
            .commands
            .iter()
            .zip(&plan.timings)
            .map(|(command, timing)| {
                let (tensor, channel) = command.value.unwrap_or((NONE as usize, 0));
                Ok(CommandRecord {
                    tensor: U32::new(tensor as u32),
                    channel: U16::new(channel as u16),
                    layer: U16::new(command.layer as u16),
                    start: number("cycle", timing.start as usize)?,
                    end: number("cycle", timing.end as usize)?,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { program, trace, shared: plan.partition.computed.clone() })
    }
}

/// Returns the location of a value in region 1 before or after a frame.
fn map(plan: &NpuPlan, value: ValueId, role: u32) -> Result<MapRecord> {
    let missing = || Error::internal("input and outputs are in memory");
    let view = plan.graph.views[value].ok_or_else(missing)?;
    let planes = plan.schedule.memory[view.map].ok_or_else(missing)?;
    let map = plan.graph.maps[view.map];
    Ok(MapRecord {
        tensor: number("tensor", value)?,
        address: number("address", planes.address + view.channel * planes.pitch)?,
        pitch: number("pitch", planes.pitch)?,
        channels: number("channels", view.channels)?,
        h: number("height", map.h)?,
        w: number("width", map.w)?,
        role: U32::new(role),
        reserved: U32::ZERO,
    })
}
