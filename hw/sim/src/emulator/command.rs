//! An [`Exec`] with every field checked and as a number.

use secateur_runtime::kernels::Requant;
use secateur_runtime::npu::isa::{ArrayMode, Exec, Parameters, ResidualMode, ResidualSpread, exec_flags};

/// A command that the accelerator refuses: a field out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Illegal(pub &'static str);

impl std::fmt::Display for Illegal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "illegal command: {}", self.0)
    }
}

impl std::error::Error for Illegal {}

/// `Err(Illegal(why))` unless `holds`.
pub(super) fn require(holds: bool, why: &'static str) -> Result<(), Illegal> {
    if holds { Ok(()) } else { Err(Illegal(why)) }
}

/// Where a tensor lies in the banks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    base: usize,
    plane: i32,
    w_first: i32,
    pos_first: i32,
    /// Bank-channel of channel 0.
    pub(super) origin: usize,
    rows: usize,
}

impl Place {
    /// Checks that `channels` channels lie within the banks.
    pub(super) fn new(
        parameters: &Parameters,
        [base, plane, pos_first, origin]: [u16; 4],
        w_first: i16,
        channels: usize,
    ) -> Result<Self, Illegal> {
        let rows = parameters.rows as usize;
        let (base, origin) = (usize::from(base), usize::from(origin));
        require(pos_first < plane, "a ring starts beyond its plane")?;
        let groups = (origin + channels.saturating_sub(1)) / rows + 1;
        let end = base as u64 + groups as u64 * u64::from(plane);
        require(end <= u64::from(parameters.bank_words), "a tensor reaches beyond the banks")?;
        let (plane, pos_first) = (i32::from(plane), i32::from(pos_first));
        Ok(Self { base, plane, w_first: w_first.into(), pos_first, origin, rows })
    }

    /// Bank and address of map word `word` of bank-channel `channel`; none outside the ring.
    pub(super) fn locate(&self, channel: usize, word: i32) -> Option<(usize, usize)> {
        let distance = word - self.w_first;
        if !(0..self.plane).contains(&distance) {
            return None;
        }
        let position = self.pos_first + distance;
        let position = if position >= self.plane { position - self.plane } else { position };
        let address = self.base + channel / self.rows * self.plane as usize + position as usize;
        Some((channel % self.rows, address))
    }
}

/// The fused sum.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sum {
    pub(super) z_main: i8,
    pub(super) m_main: i32,
    pub(super) m_res: i32,
    pub(super) requant: Requant,
    pub(super) z_add: i8,
    pub(super) lo: i8,
    pub(super) hi: i8,
}

/// See [`Exec`] for the fields of the same names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checked {
    pub(super) mode: ArrayMode,
    /// Pixels in parallel.
    pub(super) lanes: i32,
    pub(super) row_mode: bool,
    pub(super) sparse: bool,
    pub(super) upsample: bool,
    pub(super) table: Option<usize>,
    pub(super) residual: ResidualMode,
    pub(super) spread: ResidualSpread,
    pub(super) k: i32,
    pub(super) stride: i32,
    pub(super) dilation: i32,
    pub(super) window_words: i32,
    pub(super) pad_y: i32,
    pub(super) pad_x: i32,
    pub(super) z_in: i8,
    pub(super) z_out: i8,
    pub(super) lo: i8,
    pub(super) hi: i8,
    pub(super) z_res: i8,
    pub(super) sum: Sum,
    pub(super) input: Place,
    pub(super) output: Place,
    pub(super) second: Option<Place>,
    pub(super) in_channels: usize,
    pub(super) in_h: i32,
    pub(super) in_w: i32,
    pub(super) out_channels: usize,
    pub(super) out_w: i32,
    pub(super) tiles: i32,
    pub(super) rows: i32,
    pub(super) y_first: i32,
    pub(super) x_first: i32,
    pub(super) word_first: i32,
    pub(super) weight_base: usize,
    pub(super) param_base: usize,
}

impl Checked {
    pub(super) fn new(p: &Parameters, c: &Exec) -> Result<Self, Illegal> {
        require(c.flags < 32, "unknown flag")?;
        let flag = |bit| c.flags & bit != 0;
        let mode = ArrayMode::from_code(c.mode).ok_or(Illegal("unknown array mode"))?;
        require(c.residual < 16, "unknown residual mode")?;
        let residual = ResidualMode::from_code(c.residual & 3).ok_or(Illegal("unknown residual mode"))?;
        let spread = ResidualSpread::from_code(c.residual >> 2).ok_or(Illegal("unknown residual spread"))?;
        let (row_mode, sparse) = (flag(exec_flags::ROW_MODE), flag(exec_flags::SPARSE));
        let upsample = flag(exec_flags::UPSAMPLE);

        require((1..=15).contains(&c.k) && (1..=15).contains(&c.dilation), "k or dilation not in 1..=15")?;
        require(matches!(c.stride, 1 | 2), "stride not 1 or 2")?;
        require((1..=4).contains(&c.window_words), "window_words not in 1..=4")?;
        let [k, stride, dilation] = [c.k, c.stride, c.dilation].map(i32::from);
        let lanes = p.lanes as i32;
        let reach = (k - 1) * dilation + (lanes - 1) * (stride + 1);
        require(reach < 4 * lanes, "the taps reach beyond four map words")?;
        require(row_mode || (stride == 1 && !upsample), "stride and upsampling need row mode")?;
        require(!upsample || (stride == 1 && k == 1), "upsampling with a stride or a kernel")?;
        require(!sparse || mode == ArrayMode::Dense, "sparse words without dense mode")?;
        let single = matches!(mode, ArrayMode::Average | ArrayMode::Pass);
        require(!single || k == 1, "average and pass take a kernel of one")?;
        require(mode != ArrayMode::Average || !row_mode, "average in row mode")?;
        require(mode != ArrayMode::Average || residual == ResidualMode::None, "average with a second map")?;
        require(
            residual != ResidualMode::Multiply || mode == ArrayMode::Pass,
            "a product outside pass mode",
        )?;
        require(
            residual == ResidualMode::None || !row_mode || spread == ResidualSpread::Channel,
            "a second map pixel by pixel in row mode",
        )?;

        let number = |field: zerocopy::little_endian::U16| i32::from(field.get());
        let [in_h, in_w, out_w] = [c.in_h, c.in_w, c.out_w].map(number);
        let [tiles, rows] = [c.tiles, c.rows].map(number);
        let [y_first, x_first, word_first] = [c.y_first, c.x_first, c.word_first].map(number);
        let [in_channels, out_channels] = [c.in_channels, c.out_channels].map(|n| usize::from(n.get()));
        let map = 1..=2047;
        require(map.contains(&in_h) && map.contains(&in_w), "input map not 1 to 2047 pixels")?;
        require(tiles > 0 && rows > 0, "no tiles")?;
        require((1..=2047).contains(&out_channels), "output channels not 1 to 2047")?;
        require(
            mode != ArrayMode::Dense || (1..=2047).contains(&in_channels),
            "input channels not 1 to 2047",
        )?;
        if row_mode {
            require(map.contains(&out_w), "output map not 1 to 2047 columns")?;
            require(y_first + rows <= 2047 && x_first + lanes * (tiles - 1) < out_w, "tiles beyond the map")?;
        } else {
            require(rows == 1, "flat mode has one row of tiles")?;
            let f = y_first * in_w + x_first;
            require(x_first < in_w && f == word_first * lanes, "word_first is not the first pixel's")?;
            let step = (number(c.lane_step_y), number(c.lane_step_x));
            require(step == (lanes / in_w, lanes % in_w), "lane steps are not lanes divided by in_w")?;
        }

        let bound = Requant::MULTIPLIER_LIMIT.unsigned_abs();
        let requant = Requant::new(1, 1, if residual == ResidualMode::Add { c.shift_add } else { 1 });
        let [m_main, m_res] = [c.m_main.get(), c.m_res.get()];
        let small = m_main.unsigned_abs() < bound && m_res.unsigned_abs() < bound;
        require(residual != ResidualMode::Add || (small && requant.is_valid()), "the sum's requantisation")?;

        let channels = if mode == ArrayMode::Dense { in_channels } else { out_channels };
        let [in_place, out_place, res_place] = [
            [c.in_base, c.in_plane, c.in_pos_first, c.in_origin],
            [c.out_base, c.out_plane, c.out_pos_first, c.out_origin],
            [c.res_base, c.res_plane, c.res_pos_first, c.res_origin],
        ]
        .map(|place| place.map(|field| field.get()));
        let second = if residual == ResidualMode::None {
            None
        } else {
            let channels = if spread == ResidualSpread::Pixel { 1 } else { out_channels };
            Some(Place::new(p, res_place, c.res_w_first.get(), channels)?)
        };
        let weight_base = usize::from(c.weight_base.get());
        let param_base = usize::from(c.param_base.get());
        require(weight_base < p.weight_words as usize, "weights beyond their memory")?;
        require(param_base < p.param_entries as usize, "parameters beyond their memory")?;

        Ok(Self {
            mode,
            lanes,
            row_mode,
            sparse,
            upsample,
            table: flag(exec_flags::TABLE).then(|| usize::from(flag(exec_flags::TABLE_SELECT))),
            residual,
            spread,
            k,
            stride,
            dilation,
            window_words: c.window_words.into(),
            pad_y: c.pad_y.into(),
            pad_x: c.pad_x.into(),
            z_in: if mode == ArrayMode::Maximum { i8::MIN } else { c.z_in },
            z_out: c.z_out,
            lo: c.lo,
            hi: c.hi,
            z_res: c.z_res,
            sum: Sum { z_main: c.z_main, m_main, m_res, requant, z_add: c.z_add, lo: c.lo_add, hi: c.hi_add },
            input: Place::new(p, in_place, c.in_w_first.get(), channels)?,
            output: Place::new(p, out_place, c.out_w_first.get(), out_channels)?,
            second,
            in_channels,
            in_h,
            in_w,
            out_channels,
            out_w,
            tiles,
            rows,
            y_first,
            x_first,
            word_first,
            weight_base,
            param_base,
        })
    }
}
