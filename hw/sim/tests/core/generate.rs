//! Random legal commands.

use std::ops::Range;

use rand::{Rng, RngExt};
use secateur_runtime::npu::isa::{
    ArrayMode, Channel, Exec, Opcode, ResidualMode, ResidualSpread, exec_flags,
};
use secateur_sim::PARAMETERS;
use secateur_sim::emulator::OnChip;
use zerocopy::FromZeros;

const LANES: usize = PARAMETERS.lanes as usize;
const ROWS: usize = PARAMETERS.rows as usize;
const BANK_WORDS: usize = PARAMETERS.bank_words as usize;
/// What the banks have room for at every size: two groups and a half, two words and some pixels.
const MOST_CHANNELS: usize = 2 * ROWS + 4;
const MOST_COLUMNS: usize = 2 * LANES + 2;

/// Bank words that commands read, that they write, and that they leave alone.
const INPUTS: Range<usize> = 16..BANK_WORDS / 2;
const OUTPUTS: Range<usize> = BANK_WORDS / 2..BANK_WORDS - 16;
pub(crate) const SPARE: [Range<usize>; 2] = [0..16, BANK_WORDS - 16..BANK_WORDS];

/// What a test leaves to chance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice {
    pub(crate) mode: ArrayMode,
    pub(crate) kernels: &'static [u8],
    pub(crate) row_mode: Option<bool>,
    pub(crate) sparse: bool,
    pub(crate) residual: bool,
    pub(crate) table: bool,
    pub(crate) upsample: bool,
}

/// Where a tensor lies: fields of the command in the order base, plane, w_first, pos_first, origin.
struct Place(u16, u16, i16, u16, u16);

/// Puts a tensor of `words` vectors per channel somewhere into `region` of the banks.
fn place(rng: &mut impl Rng, words: usize, channels: usize, region: Range<usize>) -> Place {
    let room = region.len();
    loop {
        let plane = words + rng.random_range(0..3);
        let origin = rng.random_range(0..MOST_CHANNELS);
        let end = ((origin + channels - 1) / ROWS + 1) * plane;
        if end <= room {
            let base = region.start + rng.random_range(0..=room - end);
            let w_first = -rng.random_range(0..=(plane - words) as i16);
            let pos_first = rng.random_range(0..plane);
            return Place(base as u16, plane as u16, w_first, pos_first as u16, origin as u16);
        }
    }
}

/// Fills all memories with random bytes, channels with plausible parameters.
pub(crate) fn memories(rng: &mut impl Rng, chip: &mut OnChip) {
    chip.banks.iter_mut().flatten().for_each(|word| rng.fill(&mut word[..LANES]));
    for (weights, control) in &mut chip.weights {
        rng.fill(&mut weights[..ROWS]);
        *control = rng.random();
    }
    for channel in &mut chip.channels {
        *channel = Channel::new_zeroed();
        channel.bias.set(rng.random_range(-3000..3000));
        // Slopes and shift that bring a sum of a few products to a code, and sometimes anything.
        let any = rng.random_bool(0.1);
        let limit = (1 << 17) - 1;
        let slope = if any { -limit..=limit } else { 1 << 16..=limit };
        channel.m_pos.set(rng.random_range(slope.clone()));
        channel.m_neg.set(if rng.random_bool(0.5) {
            channel.m_pos.get() / 10
        } else {
            rng.random_range(slope)
        });
        channel.shift = if any { rng.random_range(1..=47) } else { rng.random_range(18..26) };
        if any {
            channel.bias.set(rng.random());
        }
    }
    chip.tables.iter_mut().for_each(|table| rng.fill(table));
}

/// One command; writes the control bytes of its sparse weights.
pub(crate) fn command(rng: &mut impl Rng, chip: &mut OnChip, choice: &Choice) -> Exec {
    let mut c = Exec::new_zeroed();
    let dense = choice.mode == ArrayMode::Dense;
    let average = choice.mode == ArrayMode::Average;
    c.opcode = Opcode::Exec.code();
    c.mode = choice.mode.code();
    let row_mode = choice.upsample || (!average && choice.row_mode.unwrap_or_else(|| rng.random()));
    let (w, h): (usize, usize) = (rng.random_range(1..=MOST_COLUMNS), rng.random_range(1..=18));
    let words = (w * h).div_ceil(LANES);
    let (inputs, outputs) = (rng.random_range(1..=MOST_CHANNELS), rng.random_range(1..=MOST_CHANNELS));
    loop {
        c.k = choice.kernels[rng.random_range(0..choice.kernels.len())];
        c.stride = if row_mode && !choice.upsample { rng.random_range(1..=2) } else { 1 };
        c.dilation = rng.random_range(1..=2);
        let reach =
            (u32::from(c.k) - 1) * u32::from(c.dilation) + (LANES as u32 - 1) * (1 + u32::from(c.stride));
        if reach < 4 * LANES as u32 {
            c.window_words = (reach / LANES as u32 + 1) as u8;
            break;
        }
    }
    let same = rng.random_bool(0.3) && !choice.upsample;
    let pad = |rng: &mut dyn Rng, size: usize| match (c.k, same) {
        (k, true) => ((k - 1) * c.dilation / 2) as i8,
        (1, _) => -(rng.random_range(0..3).min(size as i8 - 1)),
        (k, _) => rng.random_range(-2..=k.min(9) as i8),
    };
    (c.pad_y, c.pad_x) = (pad(rng, h), pad(rng, w));
    if c.k == 1
        && c.stride == 1
        && c.pad_x == 0
        && i32::from(c.pad_y) * w as i32 % LANES as i32 == 0
        && !row_mode
    {
        c.window_words = 1;
    }
    [c.z_in, c.z_out, c.z_res, c.z_main, c.z_add] = rng.random();
    let bounds = |rng: &mut dyn Rng| {
        if rng.random_bool(0.7) {
            (-128, 127)
        } else {
            (rng.random_range(-128..0), rng.random_range(0..=127))
        }
    };
    (c.lo, c.hi) = bounds(rng);
    (c.lo_add, c.hi_add) = bounds(rng);

    let Place(base, plane, w_first, pos_first, origin) =
        place(rng, words, if dense { inputs } else { outputs }, INPUTS);
    c.in_base.set(base);
    c.in_plane.set(plane);
    c.in_w_first.set(w_first);
    c.in_pos_first.set(pos_first);
    c.in_origin.set(origin);
    c.in_channels.set(inputs as u16);
    c.in_h.set(h as u16);
    c.in_w.set(w as u16);
    c.out_channels.set(outputs as u16);
    c.out_w.set(w as u16);

    let out_words;
    if row_mode {
        c.flags |= exec_flags::ROW_MODE;
        let (out_w, out_h): (usize, usize) = match choice.upsample {
            true => (2 * w, 2 * h),
            false => (rng.random_range(1..=MOST_COLUMNS), rng.random_range(1..=12)),
        };
        out_words = (out_w * out_h).div_ceil(LANES);
        c.out_w.set(out_w as u16);
        let x_first = rng.random_range(0..out_w) & !1;
        let y_first = rng.random_range(0..out_h);
        c.x_first.set(x_first as u16);
        c.y_first.set(y_first as u16);
        c.tiles.set(rng.random_range(1..=(out_w - x_first).div_ceil(LANES)) as u16);
        c.rows.set(rng.random_range(1..=out_h - y_first) as u16);
    } else {
        out_words = if average { 1 } else { words };
        let first = if average { 0 } else { rng.random_range(0..words) };
        c.word_first.set(first as u16);
        c.y_first.set((first * LANES / w) as u16);
        c.x_first.set((first * LANES % w) as u16);
        c.tiles.set(rng.random_range(1..=words - first) as u16);
        c.rows.set(1);
        c.lane_step_x.set((LANES % w) as u16);
        c.lane_step_y.set((LANES / w) as u16);
    }
    let Place(base, plane, w_first, pos_first, origin) = place(rng, out_words, outputs, OUTPUTS);
    c.out_base.set(base);
    c.out_plane.set(plane);
    c.out_w_first.set(w_first);
    c.out_pos_first.set(pos_first);
    c.out_origin.set(origin);

    if choice.upsample {
        c.flags |= exec_flags::UPSAMPLE;
        c.window_words = 2;
    }
    if choice.table {
        c.flags |= exec_flags::TABLE | if rng.random() { exec_flags::TABLE_SELECT } else { 0 };
    }
    if choice.residual {
        residual(rng, &mut c, out_words, outputs, row_mode);
    }
    c.weight_base.set(rng.random_range(0..chip.weights.len()) as u16);
    c.param_base.set(rng.random_range(0..chip.channels.len()) as u16);
    if choice.sparse {
        c.flags |= exec_flags::SPARSE;
        sparse(rng, &c, chip);
    }
    c
}

fn residual(rng: &mut impl Rng, c: &mut Exec, words: usize, outputs: usize, row_mode: bool) {
    let product = c.mode == ArrayMode::Pass.code() && rng.random();
    let mode = if product { ResidualMode::Multiply } else { ResidualMode::Add };
    let spread = match rng.random_range(0..3) {
        0 if !row_mode => ResidualSpread::Map,
        1 if !row_mode => ResidualSpread::Pixel,
        _ => ResidualSpread::Channel,
    };
    c.residual = mode.code() | spread.code() << 2;
    let channels = if spread == ResidualSpread::Pixel { 1 } else { outputs };
    let words = if spread == ResidualSpread::Channel { 1 } else { words };
    let Place(base, plane, w_first, pos_first, origin) = place(rng, words, channels, INPUTS);
    c.res_base.set(base);
    c.res_plane.set(plane);
    c.res_w_first.set(w_first);
    c.res_pos_first.set(pos_first);
    c.res_origin.set(origin);
    let limit = (1 << 17) - 1;
    c.m_main.set(rng.random_range(-limit..=limit));
    c.m_res.set(rng.random_range(-limit..=limit));
    c.shift_add = if rng.random_bool(0.2) { rng.random_range(1..=47) } else { rng.random_range(14..20) };
}

/// Writes the control bytes of every group's list.
fn sparse(rng: &mut impl Rng, c: &Exec, chip: &mut OnChip) {
    let taps = usize::from(c.k) * usize::from(c.k);
    let memory = chip.weights.len();
    let mut at = usize::from(c.weight_base.get());
    let density = rng.random_range(0.05..1.0);
    for _ in 0..usize::from(c.out_channels.get()).div_ceil(ROWS) {
        let mut kept: Vec<usize> =
            (0..usize::from(c.in_channels.get())).filter(|_| rng.random_bool(density)).collect();
        if kept.is_empty() {
            kept.push(0);
        }
        let mut previous = 0;
        for (index, channel) in kept.iter().enumerate() {
            let last = if index + 1 == kept.len() { 0x80 } else { 0 };
            chip.weights[at % memory].1 = last | (channel - previous) as u8;
            previous = *channel;
            at += taps;
        }
    }
}

/// Biases and slopes at the ends of their ranges, and such that results lie half-way.
pub(crate) fn extremes(rng: &mut impl Rng, chip: &mut OnChip) {
    let limit = (1 << 17) - 1;
    for channel in &mut chip.channels {
        let shift = rng.random_range(1..=47u8);
        let slope = |rng: &mut dyn Rng| match rng.random_range(0..5) {
            0 => limit,
            1 => -limit,
            2 => 1 << rng.random_range(0..17),
            3 => 0,
            _ => rng.random_range(-limit..=limit),
        };
        (channel.m_pos, channel.m_neg) = (slope(rng).into(), slope(rng).into());
        channel.shift = shift;
        // A code of moderate size needs an accumulator of about 2^shift / m.
        let size = (1i64 << shift) / i64::from(channel.m_pos.get().unsigned_abs().max(1));
        let bias = match rng.random_range(0..6) {
            0 => i64::from(i32::MAX) - 127,
            1 => i64::from(i32::MIN) + 128,
            2 => (1 << rng.random_range(0..31)) * if rng.random() { 1 } else { -1 },
            3 => rng.random::<i32>().into(),
            _ => rng.random_range(-100..=100) * size / 2,
        };
        channel.bias.set(bias.clamp(-(1 << 31) + 128, (1 << 31) - 128) as i32);
    }
}

/// Pass mode over `channels` channels of `words` words, parameters from entry `param_base`.
pub(crate) fn rescale(rng: &mut impl Rng, param_base: u16, channels: u16, words: u16) -> Exec {
    let mut c = Exec::new_zeroed();
    (c.opcode, c.mode) = (Opcode::Exec.code(), ArrayMode::Pass.code());
    (c.k, c.stride, c.dilation, c.window_words) = (1, 1, 1, 1);
    (c.lo, c.hi, c.z_out) = (-128, 127, rng.random());
    (c.in_base, c.out_base) = (0.into(), (BANK_WORDS as u16 / 2).into());
    (c.in_plane, c.out_plane) = (words.into(), words.into());
    (c.in_h, c.in_w) = (words.into(), (LANES as u16).into());
    (c.in_channels, c.out_channels) = (channels.into(), channels.into());
    (c.tiles, c.rows) = (words.into(), 1.into());
    c.lane_step_y.set(1);
    c.param_base.set(param_base);
    c
}

/// Ways to make a command illegal.
pub(crate) const BREAKS: &[fn(&mut Exec)] = &[
    |c| c.flags |= 32,
    |c| c.mode = 5,
    |c| c.residual = 3,
    |c| c.residual = 12,
    |c| c.residual = 16,
    |c| c.k = 0,
    |c| c.k = 16,
    |c| (c.k, c.dilation) = (15, 3),
    |c| c.dilation = 0,
    |c| c.dilation = 16,
    |c| c.stride = 0,
    |c| c.stride = 3,
    |c| c.window_words = 0,
    |c| c.window_words = 5,
    |c| (c.flags, c.stride) = (0, 2),
    |c| (c.flags, c.k) = (exec_flags::UPSAMPLE, 1),
    |c| (c.flags, c.stride) = (exec_flags::UPSAMPLE | exec_flags::ROW_MODE, 2),
    |c| (c.flags, c.mode) = (exec_flags::SPARSE, ArrayMode::Depthwise.code()),
    |c| (c.mode, c.k) = (ArrayMode::Pass.code(), 2),
    |c| (c.mode, c.flags) = (ArrayMode::Average.code(), exec_flags::ROW_MODE),
    |c| (c.mode, c.residual) = (ArrayMode::Average.code(), ResidualMode::Add.code()),
    |c| (c.mode, c.residual) = (ArrayMode::Dense.code(), ResidualMode::Multiply.code()),
    |c| (c.flags, c.residual) = (exec_flags::ROW_MODE, ResidualMode::Add.code()),
    |c| c.in_h.set(0),
    |c| c.in_w.set(2048),
    |c| c.out_channels.set(0),
    |c| c.out_channels.set(2048),
    |c| (c.mode, c.in_channels) = (ArrayMode::Dense.code(), 0.into()),
    |c| c.tiles.set(0),
    |c| c.rows.set(0),
    |c| (c.flags, c.rows) = (0, 2.into()),
    |c| (c.flags, c.out_w) = (exec_flags::ROW_MODE, 0.into()),
    |c| (c.flags, c.x_first) = (exec_flags::ROW_MODE, c.out_w),
    |c| (c.flags, c.x_first) = (0, c.in_w),
    |c| c.in_base.set(BANK_WORDS as u16),
    |c| c.in_plane.set(BANK_WORDS as u16 + 1),
    |c| c.in_pos_first = c.in_plane,
    |c| c.out_base.set(BANK_WORDS as u16),
    |c| c.out_pos_first = c.out_plane,
    |c| (c.residual, c.mode, c.res_plane) = (1, ArrayMode::Depthwise.code(), 0.into()),
    |c| c.weight_base.set(PARAMETERS.weight_words as u16),
    |c| c.param_base.set(PARAMETERS.param_entries as u16),
];
