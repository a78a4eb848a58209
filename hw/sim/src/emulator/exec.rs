//! EXEC: the array, the requantiser and the writer.

use secateur_runtime::kernels::{Requant, requantise, saturate};
use secateur_runtime::npu::isa::{ArrayMode, Exec, ResidualMode, ResidualSpread};

use super::command::{Checked, Illegal, require};
use super::{MOST_LANES, OnChip};

/// What a command did, for counters and the cycle model's check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExecStats {
    /// Array cycles in which multipliers worked.
    pub busy: u64,
    /// Weight vectors skipped by sparsity.
    pub skipped: u64,
    /// Map words written, a word of two halves counted twice.
    pub written: u64,
    /// Cycles of the first tile's taps, `m_0`.
    pub first: u64,
    /// Cycles of the tile loop: `m_0 + Σ max(m_t, d_(t−1))`.
    pub array: u64,
    /// Cycles that the last tile's drain takes, `d_last`.
    pub drain: u64,
}

/// Cycles of a row's drain in average pooling: two to sum the lanes, one as any row.
const AVERAGE_CYCLES: u64 = 3;

/// Accumulators of one tile, a row of lanes an output channel.
type Tile = Vec<[i32; MOST_LANES]>;

/// First pixel of a tile, and each lane's place before stride and padding.
struct Pixels {
    /// Input address of lane 0 at tap (0, 0), in pixels from the map's start.
    first: i32,
    /// Input row and column of each lane at tap (0, 0).
    at: [(i32, i32); MOST_LANES],
    /// Lanes that belong to the map of row mode.
    live: usize,
    /// Output pixel of lane 0.
    f: i32,
}

/// Runs one command: the bytes of the banks afterwards are those that the accelerator leaves.
///
/// # Errors
/// A field out of range, or an access outside a tensor's ring or the window; the banks may hold a
/// part of the result then.
pub fn exec(chip: &mut OnChip, command: &Exec) -> Result<ExecStats, Illegal> {
    let command = Checked::new(&chip.parameters, command)?;
    let rows = chip.parameters.rows as usize;
    let dense = command.mode == ArrayMode::Dense;
    // Depthwise groups are the banks' own: rows before the tensor's first channel stay off.
    let off = if dense { 0 } else { command.input.origin % rows };
    let mut run = Run { chip, c: command, stats: ExecStats::default() };
    let mut weights = command.weight_base;
    for group in 0..(off + command.out_channels).div_ceil(rows) {
        let channels = (group * rows).max(off) - off..((group + 1) * rows - off).min(command.out_channels);
        // Row of the group's first channel.
        let row = if group == 0 { off } else { 0 };
        let mut next = weights;
        let mut acc: Tile = vec![[0; MOST_LANES]; rows];
        // Average pooling drains its last tile only.
        let mut pending = 0;
        for tile in 0..command.tiles * command.rows {
            let pixels = run.pixels(tile);
            let cycles;
            (next, cycles) = if dense {
                run.dense(&mut acc, &pixels, weights)?
            } else {
                let restart = tile == 0 || command.mode != ArrayMode::Average;
                run.by_row(&mut acc, &pixels, weights, (group * rows, row..row + channels.len()), restart)?
            };
            pending += cycles;
            if command.mode == ArrayMode::Average && tile + 1 < command.tiles {
                continue;
            }
            if run.stats.array == 0 {
                run.stats.first = pending;
            }
            run.stats.array += std::mem::take(&mut pending).max(std::mem::take(&mut run.stats.drain));
            let together = run.chip.parameters.drain_rows as usize;
            for (index, (channel, acc)) in channels.clone().zip(&mut acc[row..]).enumerate() {
                let words = run.drain(acc, &pixels, channel)?;
                run.stats.drain += match command.mode {
                    ArrayMode::Average => AVERAGE_CYCLES,
                    _ if index % together == 0 => words,
                    _ => 0,
                };
            }
        }
        weights = next;
    }
    Ok(run.stats)
}

struct Run<'a> {
    chip: &'a mut OnChip,
    c: Checked,
    stats: ExecStats,
}

impl Run<'_> {
    fn pixels(&self, tile: i32) -> Pixels {
        let c = &self.c;
        let lanes = c.lanes;
        if !c.row_mode {
            let word = c.word_first + tile;
            let at = std::array::from_fn(|lane| {
                let f = word * lanes + lane as i32;
                (f / c.in_w - c.pad_y, f % c.in_w - c.pad_x)
            });
            let f = if c.mode == ArrayMode::Average { c.word_first } else { word } * lanes;
            return Pixels { first: word * lanes - c.pad_y * c.in_w - c.pad_x, at, live: lanes as usize, f };
        }
        let (y, x) = (c.y_first + tile / c.tiles, c.x_first + tile % c.tiles * lanes);
        let scaled = |v: i32| if c.upsample { v >> 1 } else { v * c.stride };
        let (row, column) = (scaled(y) - c.pad_y, scaled(x) - c.pad_x);
        let at = std::array::from_fn(|lane| (row, column + scaled(lane as i32)));
        let live = (c.out_w - x).min(lanes) as usize;
        Pixels { first: row * c.in_w + column, at, live, f: y * c.out_w + x }
    }

    /// What the lanes read from bank-channel `channel` at tap `(ky, kx)`.
    fn operand(
        &self,
        channel: usize,
        pixels: &Pixels,
        ky: i32,
        kx: i32,
    ) -> Result<[i32; MOST_LANES], Illegal> {
        let c = &self.c;
        let (dy, dx) = (ky * c.dilation, kx * c.dilation);
        let start = pixels.first + dy * c.in_w;
        let window = start.div_euclid(c.lanes);
        let mut operand = [i32::from(c.z_in); MOST_LANES];
        for (lane, value) in operand.iter_mut().enumerate().take(pixels.live) {
            let (row, column) = (pixels.at[lane].0 + dy, pixels.at[lane].1 + dx);
            if !(0..c.in_h).contains(&row) || !(0..c.in_w).contains(&column) {
                continue;
            }
            let lane = if c.upsample { lane as i32 >> 1 } else { lane as i32 * c.stride };
            let address = start + dx + lane;
            let word = address.div_euclid(c.lanes);
            require(word < window + c.window_words, "the taps reach beyond window_words")?;
            let (bank, at) =
                c.input.locate(channel, word).ok_or(Illegal("an input word outside its ring"))?;
            *value = i32::from(self.chip.banks[bank][at][(address % c.lanes) as usize] as i8);
        }
        Ok(operand)
    }

    /// Every row its weight times the same operand. Returns the next weight word and the cycles.
    fn dense(&mut self, acc: &mut Tile, pixels: &Pixels, weights: usize) -> Result<(usize, u64), Illegal> {
        let c = self.c;
        let memory = self.chip.weights.len();
        let (mut next, mut channel, mut visited) = (weights % memory, 0, 0);
        acc.fill([0; MOST_LANES]);
        loop {
            let control = self.chip.weights[next].1;
            let skip = usize::from(control & 0x7f);
            channel = match (c.sparse, visited) {
                (false, _) => visited,
                (true, 0) => skip,
                (true, _) => channel + skip,
            };
            require(channel < c.in_channels, "a sparse word beyond the input channels")?;
            require(!c.sparse || visited == 0 || skip > 0, "two sparse words of one channel")?;
            let slice = (visited + 1) * (c.k * c.k) as usize;
            require(slice <= memory, "more weights than their memory holds")?;
            for tap in 0..c.k * c.k {
                let operand = self.operand(c.input.origin + channel, pixels, tap / c.k, tap % c.k)?;
                for (acc, weight) in acc.iter_mut().zip(self.chip.weights[next].0) {
                    acc.iter_mut()
                        .zip(operand)
                        .for_each(|(acc, q)| *acc = acc.wrapping_add(q * i32::from(weight)));
                }
                next = (next + 1) % memory;
            }
            visited += 1;
            if if c.sparse { control & 0x80 != 0 } else { visited == c.in_channels } {
                break;
            }
        }
        let taps = (c.k * c.k) as u64;
        self.stats.busy += visited as u64 * taps;
        self.stats.skipped += (c.in_channels - visited) as u64 * taps;
        Ok((next, visited as u64 * self.row_cycles()))
    }

    /// Every row its own bank-channel, `first + row`, of those in `rows`.
    fn by_row(
        &mut self,
        acc: &mut Tile,
        pixels: &Pixels,
        weights: usize,
        (first, rows): (usize, std::ops::Range<usize>),
        restart: bool,
    ) -> Result<(usize, u64), Illegal> {
        let c = self.c;
        let memory = self.chip.weights.len();
        let start = if c.mode == ArrayMode::Maximum { i32::from(i8::MIN) } else { 0 };
        if restart {
            acc.fill([start; MOST_LANES]);
        }
        // The group's channels in the banks: the origin's own part of a group is counted by `off`.
        let first = c.input.origin / acc.len() * acc.len() + first;
        for tap in 0..c.k * c.k {
            let word = self.chip.weights[(weights + tap as usize) % memory].0;
            for row in rows.clone() {
                let operand = self.operand(first + row, pixels, tap / c.k, tap % c.k)?;
                let weight = if c.mode == ArrayMode::Depthwise { i32::from(word[row]) } else { 1 };
                for (acc, q) in acc[row].iter_mut().zip(operand) {
                    *acc = match c.mode {
                        ArrayMode::Maximum => q.max(*acc),
                        _ => acc.wrapping_add(q * weight),
                    };
                }
            }
        }
        let taps = (c.k * c.k) as u64;
        self.stats.busy += taps;
        let used = if c.mode == ArrayMode::Depthwise { taps as usize } else { 0 };
        Ok(((weights + used) % memory, self.row_cycles()))
    }

    /// Cycles of one input channel: kernel rows times taps, or words where those are more.
    fn row_cycles(&self) -> u64 {
        (self.c.k * self.c.k.max(self.c.window_words)) as u64
    }

    /// One row of accumulators to bytes of output channel `channel`; the words that they touch.
    fn drain(
        &mut self,
        acc: &mut [i32; MOST_LANES],
        pixels: &Pixels,
        channel: usize,
    ) -> Result<u64, Illegal> {
        let c = self.c;
        if c.mode == ArrayMode::Average {
            acc[0] = acc[..c.lanes as usize].iter().copied().fold(0, i32::wrapping_add);
        }
        let parameters = self.chip.channels[(c.param_base + channel) % self.chip.channels.len()];
        let requant = Requant::new(parameters.m_pos.get(), parameters.m_neg.get(), parameters.shift);
        require(requant.is_valid(), "parameters of a channel")?;
        let second = self.second(channel, pixels.f.div_euclid(c.lanes))?;
        let mut bytes = [0u8; MOST_LANES];
        for lane in 0..c.lanes as usize {
            let mut a = acc[lane].wrapping_add(parameters.bias.get());
            let deviation = i32::from(second[lane]) - i32::from(c.z_res);
            if c.residual == ResidualMode::Multiply {
                // The multiplier takes nine bits: enough for a code less a zero point.
                a = (a << 23 >> 23) * deviation;
            }
            let mut q = saturate(requantise(a, requant), c.z_out, c.lo, c.hi);
            if let Some(table) = c.table {
                q = self.chip.tables[table][(i32::from(q) + 128) as usize];
            }
            if c.residual == ResidualMode::Add {
                let sum = (i32::from(q) - i32::from(c.sum.z_main)) * c.sum.m_main + deviation * c.sum.m_res;
                q = saturate(requantise(sum, c.sum.requant), c.sum.z_add, c.sum.lo, c.sum.hi);
            }
            bytes[lane] = q as u8;
        }
        let words = self.write(channel, pixels, bytes)?;
        self.stats.written += words;
        Ok(words)
    }

    /// The second map's values for the lanes; zeros where there is none.
    fn second(&self, channel: usize, word: i32) -> Result<[i8; MOST_LANES], Illegal> {
        let Some(place) = self.c.second else { return Ok([0; MOST_LANES]) };
        let (channel, word) = match self.c.spread {
            ResidualSpread::Map => (channel, word),
            ResidualSpread::Channel => (channel, 0),
            ResidualSpread::Pixel => (0, word),
        };
        let located = place.locate(place.origin + channel, word);
        let (bank, at) = located.ok_or(Illegal("a word of the second map outside its ring"))?;
        let bytes = self.chip.banks[bank][at];
        Ok(match self.c.spread {
            ResidualSpread::Channel => [bytes[0] as i8; MOST_LANES],
            _ => bytes.map(|byte| byte as i8),
        })
    }

    /// Writes the live lanes from pixel `f` on; returns how many words that touched.
    fn write(&mut self, channel: usize, pixels: &Pixels, bytes: [u8; MOST_LANES]) -> Result<u64, Illegal> {
        let c = self.c;
        let (first, last) = (pixels.f, pixels.f + pixels.live as i32 - 1);
        for (f, byte) in (first..).zip(&bytes[..pixels.live]) {
            let located = c.output.locate(c.output.origin + channel, f.div_euclid(c.lanes));
            let (bank, at) = located.ok_or(Illegal("an output word outside its ring"))?;
            self.chip.banks[bank][at][(f % c.lanes) as usize] = *byte;
        }
        Ok((last / c.lanes - first / c.lanes + 1) as u64)
    }
}
