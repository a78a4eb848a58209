//! The emulator against the runtime's kernels: what a command computes is what the layer means.

use std::cell::Cell;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secateur_runtime::Tensor;
use secateur_runtime::kernels::{self, Conv, Depthwise, Epilogue, Requant, Shortcut, ShortcutMode, Window};
use secateur_runtime::npu::isa::{
    ArrayMode, Exec, Opcode, Parameters, ResidualMode, ResidualSpread, exec_flags,
};
use secateur_sim::emulator::{OnChip, exec};
use zerocopy::FromZeros;
use zerocopy::little_endian::{I32, U16};

/// A map `[h, w, c]` in channels-last order, with its zero point.
struct Map {
    shape: [usize; 3],
    codes: Vec<Cell<i8>>,
    zero_point: i8,
}

impl Map {
    fn random(rng: &mut impl Rng, shape: [usize; 3]) -> Self {
        let codes = (0..shape.iter().product()).map(|_| Cell::new(rng.random())).collect();
        Self { shape, codes, zero_point: rng.random_range(-20..20) }
    }

    fn tensor(&self) -> Tensor<'_> {
        Tensor::dense(&self.codes, self.shape, self.zero_point).unwrap()
    }

    fn words(&self) -> usize {
        (self.shape[0] * self.shape[1]).div_ceil(LANES)
    }

    /// Writes the map's planes from bank word `base`, channel 0 in bank 0.
    fn place(&self, chip: &mut OnChip, base: usize) {
        let [h, w, c] = self.shape;
        for channel in 0..c {
            for f in 0..h * w {
                let word = &mut chip.banks[channel % 8][base + channel / 8 * self.words() + f / LANES];
                word[f % LANES] = self.codes[f * c + channel].get() as u8;
            }
        }
    }

    /// The same bytes read from the banks.
    fn assert_in(&self, chip: &OnChip, base: usize) {
        let [h, w, c] = self.shape;
        for channel in 0..c {
            for f in 0..h * w {
                let word = chip.banks[channel % 8][base + channel / 8 * self.words() + f / LANES];
                let expected = self.codes[f * c + channel].get();
                assert_eq!(word[f % LANES] as i8, expected, "channel {channel}, pixel {f}");
            }
        }
    }
}

const LANES: usize = Parameters::NPU_8X16.lanes as usize;
const IN: usize = 0;
const SECOND: usize = 300;
const OUT: usize = 600;

/// A command from a map at `IN` to one at `OUT`: flat where the shapes allow it.
fn command(mode: ArrayMode, input: &Map, output: &Map, window: &Window) -> Exec {
    let mut c = Exec::new_zeroed();
    let ([in_h, in_w, in_c], [out_h, out_w, out_c]) = (input.shape, output.shape);
    let small = |n: usize| U16::new(n as u16);
    (c.opcode, c.mode) = (Opcode::Exec.code(), mode.code());
    (c.k, c.stride, c.dilation) = (window.kernel_h as u8, window.stride_h as u8, window.dilation_h as u8);
    let reach = (window.kernel_h - 1) * window.dilation_h + (LANES - 1) * (window.stride_h + 1);
    c.window_words = (reach / LANES + 1) as u8;
    (c.pad_y, c.pad_x) = (window.pad_top as i8, window.pad_left as i8);
    (c.z_in, c.z_out, c.lo, c.hi) = (input.zero_point, output.zero_point, -128, 127);
    (c.in_base, c.in_plane) = (small(IN), small(input.words()));
    (c.out_base, c.out_plane) = (small(OUT), small(output.words()));
    (c.in_channels, c.out_channels) = (small(in_c), small(out_c));
    (c.in_h, c.in_w, c.out_w) = (small(in_h), small(in_w), small(out_w));
    c.rows.set(1);
    if (in_h, in_w) == (out_h, out_w) || mode == ArrayMode::Average {
        (c.lane_step_x, c.lane_step_y) = (small(LANES % in_w), small(LANES / in_w));
        c.tiles.set(input.words() as u16);
    } else {
        c.flags = exec_flags::ROW_MODE;
        (c.tiles, c.rows) = (small(out_w.div_ceil(LANES)), small(out_h));
    }
    c
}

/// Channel parameters from biases and requantisations, one of which may stand for all.
fn parameters(chip: &mut OnChip, bias: &[I32], requant: &[Requant]) {
    for (channel, (parameters, bias)) in chip.channels.iter_mut().zip(bias).enumerate() {
        let requant = requant[channel.min(requant.len() - 1)];
        parameters.bias = *bias;
        (parameters.m_pos, parameters.m_neg) = (requant.m_pos().into(), requant.m_neg().into());
        parameters.shift = requant.shift();
    }
}

fn requants(rng: &mut impl Rng, channels: usize, shift: u8) -> Vec<Requant> {
    let mut slope = || rng.random_range(-(1 << 17) + 1..1 << 17);
    (0..channels).map(|_| Requant::new(slope(), slope(), shift)).collect()
}

fn epilogue<'a>(requant: &'a [Requant], output: &Map) -> Epilogue<'a> {
    Epilogue { requant, lo: -128, hi: 127, table: None, zero_point: output.zero_point }
}

fn check(chip: &mut OnChip, command: &Exec, expected: &Map) {
    exec(chip, command).unwrap_or_else(|e| panic!("{e}: {command:#?}"));
    expected.assert_in(chip, OUT);
}

#[test]
fn convolution() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for (k, stride) in [(1, 1), (3, 1), (5, 1), (2, 2), (3, 2)] {
        let window = Window::square(k, stride, k / 2);
        let size = |n: usize| (n + 2 * (k / 2) - k) / stride + 1;
        let input = Map::random(&mut rng, [13, 21, 11]);
        let output = Map::random(&mut rng, [size(13), size(21), 19]);
        let weights: Vec<i8> = (0..19 * k * k * 11).map(|_| rng.random()).collect();
        let bias: Vec<I32> = (0..19).map(|_| rng.random_range(-9999..9999).into()).collect();
        let requant = requants(&mut rng, 19, 25);
        let parameters_of_layer =
            Conv { window, groups: 1, weights: &weights, bias: &bias, epilogue: epilogue(&requant, &output) };
        kernels::conv(input.tensor(), output.tensor(), &parameters_of_layer);

        let mut chip = OnChip::new(Parameters::NPU_8X16);
        input.place(&mut chip, IN);
        parameters(&mut chip, &bias, &requant);
        for (at, (word, _)) in chip.weights.iter_mut().enumerate().take(3 * 11 * k * k) {
            let (group, channel, tap) = (at / (11 * k * k), at / (k * k) % 11, at % (k * k));
            for (row, weight) in word[..8].iter_mut().enumerate().filter(|(row, _)| group * 8 + row < 19) {
                *weight = weights[((group * 8 + row) * k * k + tap) * 11 + channel];
            }
        }
        check(&mut chip, &command(ArrayMode::Dense, &input, &output, &window), &output);
    }
}

#[test]
fn depthwise() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for (k, stride) in [(3, 1), (5, 1), (3, 2), (5, 2)] {
        let window = Window::square(k, stride, k / 2);
        let size = |n: usize| (n + 2 * (k / 2) - k) / stride + 1;
        let input = Map::random(&mut rng, [14, 19, 13]);
        let output = Map::random(&mut rng, [size(14), size(19), 13]);
        let weights: Vec<i8> = (0..k * k * 13).map(|_| rng.random()).collect();
        let bias: Vec<I32> = (0..13).map(|_| rng.random_range(-9999..9999).into()).collect();
        let requant = requants(&mut rng, 13, 23);
        let epilogue = epilogue(&requant, &output);
        let layer = Depthwise { window, weights: &weights, bias: &bias, epilogue };
        kernels::depthwise(input.tensor(), output.tensor(), &layer);

        let mut chip = OnChip::new(Parameters::NPU_8X16);
        input.place(&mut chip, IN);
        parameters(&mut chip, &bias, &requant);
        for (channel, tap) in (0..13).flat_map(|channel| (0..k * k).map(move |tap| (channel, tap))) {
            chip.weights[channel / 8 * k * k + tap].0[channel % 8] = weights[tap * 13 + channel];
        }
        check(&mut chip, &command(ArrayMode::Depthwise, &input, &output, &window), &output);
    }
}

#[test]
fn pooling() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let one = [Requant::new(1 << 16, 1 << 16, 16)];
    for (k, stride) in [(2, 2), (3, 1), (5, 1), (13, 1)] {
        let window = Window::square(k, stride, (k - 1) / 2);
        let input = Map::random(&mut rng, [16, 18, 10]);
        let mut output = Map::random(&mut rng, [16 / stride, 18 / stride, 10]);
        output.zero_point = 0;
        kernels::maxpool(input.tensor(), output.tensor(), &window);
        let mut chip = OnChip::new(Parameters::NPU_8X16);
        input.place(&mut chip, IN);
        parameters(&mut chip, &[I32::ZERO; 10], &one);
        check(&mut chip, &command(ArrayMode::Maximum, &input, &output, &window), &output);
    }

    let (input, output) = (Map::random(&mut rng, [7, 9, 10]), Map::random(&mut rng, [1, 1, 10]));
    let requant = [Requant::new(100_000, 90_000, 22)];
    kernels::avgpool(input.tensor(), output.tensor(), &epilogue(&requant, &output));
    let mut chip = OnChip::new(Parameters::NPU_8X16);
    input.place(&mut chip, IN);
    // Lanes beyond the map add zero points too.
    let bias = I32::new(-i32::from(input.zero_point) * (input.words() * LANES) as i32);
    parameters(&mut chip, &[bias; 10], &requant);
    check(&mut chip, &command(ArrayMode::Average, &input, &output, &Window::square(1, 1, 0)), &output);
}

#[test]
fn sums_and_products() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let window = Window::square(1, 1, 0);
    let identity = [Requant::new(1 << 16, 1 << 16, 16)];
    for _ in 0..20 {
        let [input, second] = [(); 2].map(|()| Map::random(&mut rng, [9, 11, 12]));
        let output = Map::random(&mut rng, [9, 11, 12]);
        let mut chip = OnChip::new(Parameters::NPU_8X16);
        input.place(&mut chip, IN);
        second.place(&mut chip, SECOND);
        let mut c = command(ArrayMode::Pass, &input, &output, &window);
        (c.res_base, c.res_plane) = ((SECOND as u16).into(), (second.words() as u16).into());
        c.z_res = second.zero_point;

        let multipliers = [(); 2].map(|()| I32::new(rng.random_range(-(1 << 17) + 1..1 << 17)));
        let sum = [Requant::new(1, 1, 18)];
        let layer = Shortcut {
            multipliers: &multipliers,
            mode: ShortcutMode::PerInput,
            epilogue: epilogue(&sum, &output),
        };
        kernels::shortcut([input.tensor(), second.tensor()].into_iter(), output.tensor(), &layer);
        let mut add = c;
        // The first map passes unchanged to the sum.
        add.z_out = 0;
        add.residual = ResidualMode::Add.code();
        (add.z_main, add.z_add, add.lo_add, add.hi_add) = (input.zero_point, output.zero_point, -128, 127);
        (add.m_main, add.m_res, add.shift_add) = (multipliers[0], multipliers[1], 18);
        parameters(&mut chip, &[I32::ZERO; 12], &identity);
        check(&mut chip, &add, &output);

        for spread in [ResidualSpread::Map, ResidualSpread::Channel, ResidualSpread::Pixel] {
            let shape = match spread {
                ResidualSpread::Map => [9, 11, 12],
                ResidualSpread::Channel => [1, 1, 12],
                ResidualSpread::Pixel => [9, 11, 1],
            };
            let factor = Map::random(&mut rng, shape);
            factor.place(&mut chip, SECOND);
            let requant = requants(&mut rng, 1, 22);
            kernels::multiply(factor.tensor(), input.tensor(), output.tensor(), &epilogue(&requant, &output));
            let mut product = c;
            product.residual = ResidualMode::Multiply.code() | spread.code() << 2;
            product.res_plane.set(factor.words() as u16);
            product.z_res = factor.zero_point;
            parameters(&mut chip, &[I32::new(-i32::from(input.zero_point)); 12], &requant);
            check(&mut chip, &product, &output);
        }
    }
}

#[test]
fn copies_and_tables() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let window = Window::square(1, 1, 0);
    let identity = [Requant::new(1 << 16, 1 << 16, 16)];
    let input = Map::random(&mut rng, [7, 13, 9]);
    let mut chip = OnChip::new(Parameters::NPU_8X16);
    input.place(&mut chip, IN);
    parameters(&mut chip, &[I32::ZERO; 9], &identity);

    let mut twice = Map::random(&mut rng, [14, 26, 9]);
    twice.zero_point = 0;
    kernels::upsample(input.tensor(), twice.tensor(), 2, 2);
    let mut c = command(ArrayMode::Pass, &input, &twice, &window);
    c.flags |= exec_flags::UPSAMPLE;
    check(&mut chip, &c, &twice);

    rng.fill(&mut chip.tables[1]);
    let mut output = Map::random(&mut rng, [7, 13, 9]);
    output.zero_point = 0;
    kernels::activate(input.tensor(), output.tensor(), &chip.tables[1]);
    let mut c = command(ArrayMode::Pass, &input, &output, &window);
    c.flags |= exec_flags::TABLE | exec_flags::TABLE_SELECT;
    check(&mut chip, &c, &output);
}
