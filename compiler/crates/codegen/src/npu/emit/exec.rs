//! The array's commands.

use std::ops::Range;

use secateur_runtime::npu::isa::{ArrayMode, Exec, Opcode, ResidualMode, ResidualSpread, exec_flags};
use secateur_runtime::npu::stream::Queue;
use zerocopy::little_endian::{I32, U16};

use super::{CommandBody, Emitter, field, too_large, word};
use crate::npu::op::NpuOp;
use crate::npu::strips::{first_read, needs};
use secateur_base::Result;

impl Emitter<'_> {
    /// The array's command for a chunk of output channels.
    pub(super) fn exec(
        &mut self,
        event: usize,
        op: &NpuOp,
        key: (usize, usize),
        pixels: &Range<usize>,
        table: Option<usize>,
    ) -> Result<()> {
        let chunk = &self.packed.chunks[key.0][key.1];
        let weight_base = self.weight_ring.find(&key).unwrap_or(0);
        let param_base = self.channel_ring.find(&key).unwrap_or(0);
        let (lanes, rows) = (self.lanes(), self.rows());
        let (from, to) = (self.graph.maps[op.input.map], self.graph.maps[op.output.map]);
        let average = op.mode == ArrayMode::Average;
        let count = chunk.channels.len();
        let input_view = if op.by_bank() { op.input.slice(chunk.channels.start, count) } else { op.input };
        let output_view = op.output.slice(chunk.channels.start, count);
        let input_end = needs(self.graph, op, pixels.end).div_ceil(lanes);
        let input = self.place(event, input_view, first_read(self.graph, op, pixels.start) / lanes);
        let output = self.place(event, output_view, pixels.start / lanes);
        let output_end = pixels.end.div_ceil(lanes);
        let mut flags = 0;
        let mut set = |holds: bool, flag: u8| flags |= if holds { flag } else { 0 };
        set(op.row_mode, exec_flags::ROW_MODE);
        set(op.sparse, exec_flags::SPARSE);
        set(op.window.upsample, exec_flags::UPSAMPLE);
        set(table.is_some(), exec_flags::TABLE);
        set(table == Some(1), exec_flags::TABLE_SELECT);
        let small = |what: &str, value: usize| u8::try_from(value).map_err(|_| too_large(what, value));
        let pad = |value: i32| i8::try_from(value).map_err(|_| too_large("padding", 128));
        let mut exec = Exec {
            opcode: Opcode::Exec.code(),
            flags,
            mode: op.mode.code(),
            layer: field("layer", op.layer)?,
            k: small("kernel size", op.window.size)?,
            stride: small("stride", op.window.stride)?,
            dilation: small("dilation", op.window.dilation)?,
            window_words: small("window", op.window.words(lanes, op.row_mode))?,
            pad_y: pad(op.window.pad_y)?,
            pad_x: pad(op.window.pad_x)?,
            z_in: op.z_in,
            z_out: op.z_out,
            lo: op.lo,
            hi: op.hi,
            in_base: field("bank address", input.buffer.base)?,
            in_plane: field("plane", input.buffer.plane)?,
            in_w_first: word("bank word", input.first)?,
            in_pos_first: field("ring position", input.position())?,
            in_origin: field("channel", input.origin)?,
            in_channels: field("channels", input_view.channels)?,
            in_h: field("height", from.h)?,
            in_w: field("width", from.w)?,
            out_base: field("bank address", output.buffer.base)?,
            out_plane: field("plane", output.buffer.plane)?,
            out_w_first: word("bank word", output.first)?,
            out_pos_first: field("ring position", output.position())?,
            out_origin: field("channel", output.origin)?,
            out_channels: field("channels", count)?,
            out_w: field("width", to.w)?,
            weight_base: field("weight word", weight_base)?,
            param_base: field("parameter entry", param_base)?,
            ..Default::default()
        };
        if op.row_mode {
            exec.tiles = field("tiles", to.w.div_ceil(lanes))?;
            exec.rows = field("rows", pixels.len() / to.w)?;
            exec.y_first = field("row", pixels.start / to.w)?;
        } else {
            let end = if average { from.pixels() } else { pixels.end };
            exec.tiles = field("tiles", (end - pixels.start).div_ceil(lanes))?;
            exec.rows = U16::new(1);
            exec.y_first = field("row", pixels.start / from.w)?;
            exec.x_first = field("column", pixels.start % from.w)?;
            exec.word_first = field("bank word", pixels.start / lanes)?;
            exec.lane_step_x = field("lanes", lanes % from.w)?;
            exec.lane_step_y = field("lanes", lanes / from.w)?;
        }
        let mut reads: Vec<usize> = input.addresses(input_view.channels, input_end, rows).collect();
        if let Some(residual) = &op.residual {
            let (view, first, end) = match residual.spread {
                ResidualSpread::Map => {
                    let view = residual.view.slice(chunk.channels.start, count);
                    (view, pixels.start / lanes, output_end)
                }
                ResidualSpread::Channel => (residual.view.slice(chunk.channels.start, count), 0, 1),
                ResidualSpread::Pixel => (residual.view.slice(0, 1), pixels.start / lanes, output_end),
            };
            let second = self.place(event, view, first);
            exec.residual = residual.mode.code() | residual.spread.code() << 2;
            exec.res_base = field("bank address", second.buffer.base)?;
            exec.res_plane = field("plane", second.buffer.plane)?;
            exec.res_w_first = word("bank word", first)?;
            exec.res_pos_first = field("ring position", second.position())?;
            exec.res_origin = field("channel", second.origin)?;
            exec.z_res = residual.zero_point;
            if residual.mode == ResidualMode::Add {
                let sum = &residual.sum;
                (exec.z_main, exec.z_add) = (sum.z_main, sum.z_add);
                (exec.lo_add, exec.hi_add, exec.shift_add) = (sum.lo, sum.hi, sum.shift);
                (exec.m_main, exec.m_res) = (I32::new(sum.m_main), I32::new(sum.m_res));
            }
            reads.extend(second.addresses(view.channels, end, rows));
        }
        let writes: Vec<usize> = output.addresses(count, output_end, rows).collect();
        let number = self.number(Queue::Exec);
        let mut waits = [0; 3];
        reads.into_iter().for_each(|at| self.banks.read(at, Queue::Exec, number, &mut waits));
        writes.into_iter().for_each(|at| self.banks.write(at, Queue::Exec, number, &mut waits));
        for entry in 0..chunk.words {
            let at = (weight_base + entry) % self.parameters.weight_words as usize;
            self.weights.read(at, Queue::Exec, number, &mut waits);
        }
        for entry in 0..count {
            let at = (param_base + entry) % self.parameters.param_entries as usize;
            self.channels.read(at, Queue::Exec, number, &mut waits);
        }
        if let Some(slot) = table {
            self.tables.read(slot, Queue::Exec, number, &mut waits);
        }
        let tile_cycles = chunk.groups.clone().map(|group| op.tile_cycles(group, lanes) as u32).collect();
        let share = |whole: u64, part: usize, all: usize| whole * part as u64 / all.max(1) as u64;
        let macs = share(share(op.macs, count, op.output.channels), pixels.len(), to.pixels());
        let value = (op.value, op.value_channel + chunk.channels.start);
        let command = self.push(Queue::Exec, CommandBody::Exec(exec), op.layer);
        (command.waits, command.value, command.tile_cycles) = (waits, Some(value), tile_cycles);
        command.macs = macs;
        Ok(())
    }
}
