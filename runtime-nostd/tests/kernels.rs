//! Each kernel against the plain specification of `common`, on random shapes, pitches and slices.

mod common;

use std::cell::Cell;

use common::{Finish, Map, rng, weights};
use proptest::prelude::*;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use secateur_runtime::Tensor;
use secateur_runtime::kernels::{self, ReorgMode, Requant, ShortcutMode, Window};
use zerocopy::little_endian::{I32, U32};

/// Maps in one arena, each a channel slice of a wider buffer of random codes.
struct Arena {
    bytes: Vec<i8>,
    places: Vec<(usize, [usize; 3], usize, i8)>,
}

impl Arena {
    fn new() -> Self {
        Self { bytes: Vec::new(), places: Vec::new() }
    }

    /// Adds a map at a random offset and pitch; its index.
    fn add(&mut self, rng: &mut ChaCha8Rng, shape: [usize; 3], zero: i8) -> usize {
        let pitch = shape[2] + if rng.random_bool(0.5) { rng.random_range(1..9) } else { 0 };
        let offset = self.bytes.len() + rng.random_range(0..5);
        let end = offset + shape[0] * shape[1] * pitch;
        while self.bytes.len() < end {
            self.bytes.push(rng.random());
        }
        self.places.push((offset, shape, pitch, zero));
        self.places.len() - 1
    }

    fn put(&mut self, rng: &mut ChaCha8Rng, map: &Map) -> usize {
        let index = self.add(rng, map.shape, map.zero);
        self.with(|tensors| tensors[index].copy_from(&map.data));
        index
    }

    fn with<R>(&mut self, run: impl FnOnce(&[Tensor<'_>]) -> R) -> R {
        let cells = Cell::from_mut(&mut self.bytes[..]).as_slice_of_cells();
        let tensors: Vec<_> = self
            .places
            .iter()
            .map(|&(offset, shape, pitch, zero)| Tensor::new(&cells[offset..], shape, pitch, zero).unwrap())
            .collect();
        run(&tensors)
    }

    /// Runs a kernel on the inputs, then compares the output and everything around it.
    fn check(mut self, rng: &mut ChaCha8Rng, expected: &Map, run: impl FnOnce(&[Tensor<'_>], Tensor<'_>)) {
        let output = self.add(rng, expected.shape, expected.zero);
        let before = self.bytes.clone();
        self.with(|tensors| run(&tensors[..output], tensors[output]));
        let found = self.with(|tensors| {
            let mut found = vec![0; expected.data.len()];
            tensors[output].copy_to(&mut found);
            tensors[output].copy_from(&expected.data);
            found
        });
        assert_eq!(found, expected.data);
        let mut untouched = self.bytes;
        let (offset, [h, w, c], pitch, _) = self.places[output];
        for pixel in 0..h * w {
            let at = offset + pixel * pitch;
            untouched[at..at + c].copy_from_slice(&before[at..at + c]);
        }
        assert_eq!(untouched, before, "a byte outside the output changed");
    }
}

fn le(values: &[i32]) -> Vec<I32> {
    values.iter().map(|&value| I32::new(value)).collect()
}

fn biases(rng: &mut ChaCha8Rng, count: usize) -> Vec<i32> {
    (0..count).map(|_| rng.random_range(-1_000_000..1_000_000)).collect()
}

fn extent(input: usize, kernel: usize, stride: usize, dilation: usize, pad: usize) -> usize {
    (input + 2 * pad).checked_sub((kernel - 1) * dilation + 1).map_or(0, |space| space / stride + 1)
}

/// A random window and the output extents that it gives on `[h, w]`.
fn window(rng: &mut ChaCha8Rng, h: usize, w: usize, dilate: bool) -> (Window, usize, usize) {
    loop {
        let dilation = if dilate { rng.random_range(1..=2) } else { 1 };
        let window = Window {
            kernel_h: rng.random_range(1..=5),
            kernel_w: rng.random_range(1..=5),
            stride_h: rng.random_range(1..=3),
            stride_w: rng.random_range(1..=3),
            dilation_h: dilation,
            dilation_w: dilation,
            pad_top: rng.random_range(0..=2),
            pad_left: rng.random_range(0..=2),
        };
        let out_h = extent(h, window.kernel_h, window.stride_h, dilation, window.pad_top);
        let out_w = extent(w, window.kernel_w, window.stride_w, dilation, window.pad_left);
        if out_h > 0 && out_w > 0 {
            return (window, out_h, out_w);
        }
    }
}

/// Runs `conv` on one random case.
fn check_conv(
    rng: &mut ChaCha8Rng,
    [h, w]: [usize; 2],
    groups: usize,
    in_c: usize,
    out_c: usize,
    (window, out_h, out_w): (Window, usize, usize),
) {
    let input = Map::random(rng, [h, w, in_c * groups]);
    let shape = [out_h, out_w, out_c * groups];
    let weights = weights(rng, window.kernel_h * window.kernel_w * in_c * shape[2]);
    let bias = biases(rng, shape[2]);
    let finish = Finish::random(rng, shape[2]);
    let data = common::conv(&input, shape, &window, groups, &weights, &bias, &finish);
    let mut arena = Arena::new();
    arena.put(rng, &input);
    let bias = le(&bias);
    let parameters =
        kernels::Conv { window, groups, weights: &weights, bias: &bias, epilogue: finish.epilogue() };
    arena.check(rng, &Map { shape, zero: finish.zero, data }, |inputs, output| {
        kernels::conv(inputs[0], output, &parameters);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 400 }))]

    #[test]
    fn conv_equals_specification(seed: u64, h in 1usize..12, w in 1usize..12, groups in 1usize..4, in_c in 1usize..20, out_c in 1usize..20) {
        let rng = &mut rng(seed);
        let window = window(rng, h, w, true);
        check_conv(rng, [h, w], groups, in_c, out_c, window);
    }

    #[test]
    fn pointwise_conv_equals_specification(seed: u64, h in 1usize..9, w in 1usize..9, in_c in 1usize..160, out_c in 1usize..80) {
        let rng = &mut rng(seed);
        check_conv(rng, [h, w], 1, in_c, out_c, (Window::square(1, 1, 0), h, w));
    }

    #[test]
    fn depthwise_equals_specification(seed: u64, h in 1usize..24, w in 1usize..24, c in 1usize..60) {
        let rng = &mut rng(seed);
        let (window, out_h, out_w) = window(rng, h, w, true);
        let input = Map::random(rng, [h, w, c]);
        let shape = [out_h, out_w, c];
        let weights = weights(rng, window.kernel_h * window.kernel_w * c);
        let bias = biases(rng, c);
        let finish = Finish::random(rng, c);
        let data = common::depthwise(&input, shape, &window, &weights, &bias, &finish);
        let mut arena = Arena::new();
        arena.put(rng, &input);
        let bias = le(&bias);
        let parameters = kernels::Depthwise { window, weights: &weights, bias: &bias, epilogue: finish.epilogue() };
        arena.check(rng, &Map { shape, zero: finish.zero, data }, |inputs, output| {
            kernels::depthwise(inputs[0], output, &parameters);
        });
    }

    #[test]
    fn connected_equals_specification(seed: u64, h in 1usize..6, w in 1usize..6, c in 1usize..40, out_c in 1usize..40) {
        let rng = &mut rng(seed);
        let input = Map::random(rng, [h, w, c]);
        let weights = weights(rng, h * w * c * out_c);
        let bias = biases(rng, out_c);
        let finish = Finish::random(rng, out_c);
        let data = (0..out_c)
            .map(|o| {
                let row = &weights[o * input.data.len()..];
                let products = row.iter().zip(&input.data).map(|(&w, &q)| i64::from(w) * i64::from(q));
                finish.code(i64::from(bias[o]) + products.sum::<i64>(), o)
            })
            .collect();
        let mut arena = Arena::new();
        arena.put(rng, &input);
        let bias = le(&bias);
        let parameters = kernels::Connected { weights: &weights, bias: &bias, epilogue: finish.epilogue() };
        arena.check(rng, &Map { shape: [1, 1, out_c], zero: finish.zero, data }, |inputs, output| {
            kernels::connected(inputs[0], output, &parameters);
        });
    }

    #[test]
    fn pooling_equals_specification(seed: u64, h in 1usize..14, w in 1usize..14, c in 1usize..40) {
        let rng = &mut rng(seed);
        let (mut window, out_h, out_w) = window(rng, h, w, false);
        window.pad_top = window.pad_top.min(window.kernel_h - 1);
        window.pad_left = window.pad_left.min(window.kernel_w - 1);
        let out_h = out_h.min((h + window.pad_top - 1) / window.stride_h + 1);
        let out_w = out_w.min((w + window.pad_left - 1) / window.stride_w + 1);
        let input = Map::random(rng, [h, w, c]);
        let shape = [out_h, out_w, c];
        let cells = |y, x, c| common::window_cells(&input, &window, y, x, c);
        let positions = || (0..out_h).flat_map(|y| (0..out_w).flat_map(move |x| (0..c).map(move |c| (y, x, c))));
        let max = positions().map(|(y, x, c)| *cells(y, x, c).iter().max().unwrap() as i8).collect();
        let mut arena = Arena::new();
        arena.put(rng, &input);
        arena.check(rng, &Map { shape, zero: input.zero, data: max }, |inputs, output| {
            kernels::maxpool(inputs[0], output, &window);
        });

        let finish = Finish::random(rng, window.kernel_h * window.kernel_w);
        let mean = positions()
            .map(|(y, x, c)| {
                let cells = cells(y, x, c);
                finish.code(cells.iter().map(|q| q - i64::from(input.zero)).sum(), cells.len() - 1)
            })
            .collect();
        let mut arena = Arena::new();
        arena.put(rng, &input);
        arena.check(rng, &Map { shape, zero: finish.zero, data: mean }, |inputs, output| {
            kernels::local_avgpool(inputs[0], output, &window, &finish.epilogue());
        });

        let finish = Finish::random(rng, 1);
        let deviation = |i: usize| i64::from(input.data[i]) - i64::from(input.zero);
        let whole = (0..c)
            .map(|ch| finish.code((0..h * w).map(|pixel| deviation(pixel * c + ch)).sum(), 0))
            .collect();
        let mut arena = Arena::new();
        arena.put(rng, &input);
        arena.check(rng, &Map { shape: [1, 1, c], zero: finish.zero, data: whole }, |inputs, output| {
            kernels::avgpool(inputs[0], output, &finish.epilogue());
        });
    }

    #[test]
    fn shortcut_equals_specification(seed: u64, h in 1usize..9, w in 1usize..9, c in 1usize..40, n in 1usize..5) {
        let rng = &mut rng(seed);
        let inputs: Vec<Map> = (0..n)
            .map(|_| {
                let channels = rng.random_range(1..50);
                Map::random(rng, [h, w, channels])
            })
            .collect();
        let mode = if rng.random() { ShortcutMode::PerInput } else { ShortcutMode::PerChannel };
        let count = if mode == ShortcutMode::PerInput { n } else { n * c };
        let multipliers: Vec<i32> = (0..count).map(|_| rng.random_range(-(1 << 17) + 1..1 << 17)).collect();
        let finish = Finish::random(rng, 1);
        let data = (0..h * w * c)
            .map(|at| {
                let (pixel, ch) = (at / c, at % c);
                let acc = inputs.iter().enumerate().filter(|(_, input)| ch < input.shape[2]).map(|(n, input)| {
                    let m = multipliers[if mode == ShortcutMode::PerInput { n } else { n * c + ch }];
                    (i64::from(input.data[pixel * input.shape[2] + ch]) - i64::from(input.zero)) * i64::from(m)
                });
                finish.code(acc.sum(), 0)
            })
            .collect();
        let mut arena = Arena::new();
        inputs.iter().for_each(|input| { arena.put(rng, input); });
        let multipliers = le(&multipliers);
        let parameters = kernels::Shortcut { multipliers: &multipliers, mode, epilogue: finish.epilogue() };
        arena.check(rng, &Map { shape: [h, w, c], zero: finish.zero, data }, |inputs, output| {
            kernels::shortcut(inputs.iter().copied(), output, &parameters);
        });
    }

    #[test]
    fn rescale_and_crop_equal_specification(seed: u64, h in 1usize..12, w in 1usize..12, c in 1usize..40) {
        let rng = &mut rng(seed);
        let input = Map::random(rng, [h, w, c]);
        let (top, left) = (rng.random_range(0..h), rng.random_range(0..w));
        let shape = [rng.random_range(1..=h - top), rng.random_range(1..=w - left), c];
        let finish = rng.random_bool(0.7).then(|| Finish::random(rng, 1));
        let data = (0..shape.iter().product())
            .map(|at| {
                let (pixel, ch) = (at / c, at % c);
                let q = input.at(pixel / shape[1] + top, pixel % shape[1] + left, ch);
                finish.as_ref().map_or(q as i8, |finish| finish.code(q - i64::from(input.zero), 0))
            })
            .collect();
        let epilogue = finish.as_ref().map(Finish::epilogue);
        let mut arena = Arena::new();
        arena.put(rng, &input);
        arena.check(rng, &Map { shape, zero: 0, data }, |inputs, output| {
            kernels::rescale(inputs[0], output, top, left, epilogue.as_ref());
        });
    }

    #[test]
    fn multiply_equals_specification(seed: u64, h in 1usize..9, w in 1usize..9, c in 1usize..40, spread in 0..3) {
        let rng = &mut rng(seed);
        let shape = [h, w, c];
        let factor = Map::random(rng, [shape, [1, 1, c], [h, w, 1]][spread as usize]);
        let input = Map::random(rng, shape);
        let finish = Finish::random(rng, 1);
        let data = (0..h * w * c)
            .map(|at| {
                let f = factor.data[[at, at % c, at / c][spread as usize]];
                let f = i64::from(f) - i64::from(factor.zero);
                finish.code(f * (i64::from(input.data[at]) - i64::from(input.zero)), 0)
            })
            .collect();
        let mut arena = Arena::new();
        arena.put(rng, &factor);
        arena.put(rng, &input);
        arena.check(rng, &Map { shape, zero: finish.zero, data }, |inputs, output| {
            kernels::multiply(inputs[0], inputs[1], output, &finish.epilogue());
        });
    }

    #[test]
    fn activation_and_upsampling_equal_specification(seed: u64, h in 1usize..9, w in 1usize..9, c in 1usize..40, sh in 1usize..4, sw in 1usize..4) {
        let rng = &mut rng(seed);
        let input = Map::random(rng, [h, w, c]);
        let table: [i8; 256] = std::array::from_fn(|_| rng.random());
        let data = input.data.iter().map(|&q| table[(i16::from(q) + 128) as usize]).collect();
        let mut arena = Arena::new();
        arena.put(rng, &input);
        arena.check(rng, &Map { data, ..input.clone() }, |inputs, output| {
            kernels::activate(inputs[0], output, &table);
        });

        let shape = [h * sh, w * sw, c];
        let data = (0..shape.iter().product())
            .map(|at| input.at(at / c / shape[1] / sh, at / c % shape[1] / sw, at % c) as i8)
            .collect();
        let mut arena = Arena::new();
        arena.put(rng, &input);
        arena.check(rng, &Map { shape, zero: input.zero, data }, |inputs, output| {
            kernels::upsample(inputs[0], output, sh, sw);
        });
    }

    #[test]
    fn reorg_equals_darknet(seed: u64, h in 1usize..5, w in 1usize..5, c in 1usize..6, s in 1usize..4) {
        let rng = &mut rng(seed);
        // Darknet's flat channel-major loop: x[flat source] for the flat index (k, j, i) of [c][h][w].
        let permutation = |c: usize, h: usize, w: usize| {
            let mut source = vec![0; c * h * w];
            for k in 0..c {
                for j in 0..h {
                    for i in 0..w {
                        let (c2, offset) = (k % (c / (s * s)), k / (c / (s * s)));
                        let (w2, h2) = (i * s + offset % s, j * s + offset / s);
                        source[i + w * (j + h * k)] = w2 + w * s * (h2 + h * s * c2);
                    }
                }
            }
            source
        };
        let planar = |map: &Map| -> Vec<i8> {
            let [h, w, c] = map.shape;
            (0..c * h * w).map(|at| map.at(at / w % h, at % w, at / w / h) as i8).collect()
        };
        let interleaved = |[h, w, c]: [usize; 3], planar: &[i8]| -> Vec<i8> {
            (0..h * w * c).map(|at| planar[(at % c) * h * w + at / c]).collect()
        };
        let deep = [h, w, c * s * s];
        let wide = [h * s, w * s, c];
        let source = permutation(c * s * s, h, w);

        let cases = [
            (ReorgMode::SpaceToDepth, wide, deep, false),
            (ReorgMode::DepthToSpace, deep, wide, true),
        ];
        for (mode, from, to, reverse) in cases {
            let input = Map::random(rng, from);
            let flat = planar(&input);
            let mut moved = vec![0; flat.len()];
            for (at, &source) in source.iter().enumerate() {
                if reverse { moved[source] = flat[at] } else { moved[at] = flat[source] }
            }
            let mut arena = Arena::new();
            arena.put(rng, &input);
            arena.check(rng, &Map { shape: to, zero: input.zero, data: interleaved(to, &moved) }, |inputs, output| {
                kernels::reorg(inputs[0], output, s, mode);
            });
        }

        // reorg_old: the loop runs over the input's own dimensions.
        let from = [h * s, w * s, c * s * s];
        let to = [h, w, c * s * s * s * s];
        let input = Map::random(rng, from);
        let flat = planar(&input);
        let moved: Vec<i8> = permutation(c * s * s, h * s, w * s).iter().map(|&source| flat[source]).collect();
        let mut arena = Arena::new();
        arena.put(rng, &input);
        arena.check(rng, &Map { shape: to, zero: input.zero, data: interleaved(to, &moved) }, |inputs, output| {
            kernels::reorg(inputs[0], output, s, ReorgMode::Flat);
        });
    }

    #[test]
    fn softmax_equals_specification(seed: u64, pixels in 1usize..5, run in 1usize..30, groups in 1usize..4, scale in 0.001f64..0.5) {
        let rng = &mut rng(seed);
        let exponentials: [U32; 256] =
            std::array::from_fn(|d| U32::new((65536.0 * (-(d as f64) * scale).exp()).round() as u32));
        let input = Map::random(rng, [1, pixels, run * groups]);
        let data: Vec<i8> = input
            .data
            .chunks(run)
            .flat_map(|logits| {
                let max = i64::from(*logits.iter().max().unwrap());
                let e: Vec<i64> = logits.iter().map(|&q| i64::from(exponentials[(max - i64::from(q)) as usize].get())).collect();
                let sum: i64 = e.iter().sum();
                e.into_iter().map(move |e| ((2 * 256 * e + sum) / (2 * sum)).min(255)).map(|p| (p - 128) as i8).collect::<Vec<_>>()
            })
            .collect();
        let mut arena = Arena::new();
        arena.put(rng, &input);
        arena.check(rng, &Map { data, ..input.clone() }, |inputs, output| {
            kernels::softmax(inputs[0], output, groups, &exponentials);
        });
    }
}

#[test]
fn long_filters_are_summed_in_parts() {
    let rng = &mut rng(11);
    for (in_c, kernel, out_c) in [(700, 1, 40), (130, 3, 70), (61, 5, 33), (513, 1, 1), (4608, 1, 5)] {
        check_conv(rng, [4, 5], 1, in_c, out_c, (Window::square(kernel, 1, kernel / 2), 4, 5));
    }
}

#[test]
fn extreme_codes_and_weights_are_exact() {
    // Every product at its largest: 16-bit sums of two stay within bounds.
    let finish =
        Finish { requant: vec![Requant::new(1, 1, 17); 40], zero: 0, lo: -128, hi: 127, table: None };
    for (code, weight) in [(-128, -127), (-128, 127), (127, -127), (127, 127)] {
        let input = Map { shape: [5, 5, 40], zero: code, data: vec![code; 1000] };
        let window = Window::square(3, 1, 1);
        let weights = vec![weight; 40 * 40 * 9];
        let bias = vec![3; 40];
        let data = common::conv(&input, [5, 5, 40], &window, 1, &weights, &bias, &finish);
        let mut arena = Arena::new();
        arena.put(&mut rng(6), &input);
        let bias = le(&bias);
        let parameters =
            kernels::Conv { window, groups: 1, weights: &weights, bias: &bias, epilogue: finish.epilogue() };
        arena.check(&mut rng(7), &Map { shape: [5, 5, 40], zero: 0, data }, |inputs, output| {
            kernels::conv(inputs[0], output, &parameters);
        });
    }
}

#[test]
fn borders_are_padded_with_the_zero_point() {
    // All weights 1 over an image that equals its zero point: every window sums to the same.
    let zero = 57;
    let input = Map { shape: [4, 4, 2], zero, data: vec![zero; 32] };
    let window = Window::square(3, 1, 1);
    let finish = Finish {
        requant: vec![Requant::new(1 << 16, 1 << 16, 16); 2],
        zero: 0,
        lo: -128,
        hi: 127,
        table: None,
    };
    let bias = le(&[-18 * 57 + 5, -18 * 57 - 7]);
    let weights = [1; 36];
    let mut arena = Arena::new();
    arena.put(&mut rng(0), &input);
    let parameters =
        kernels::Conv { window, groups: 1, weights: &weights, bias: &bias, epilogue: finish.epilogue() };
    let expected = Map { shape: [4, 4, 2], zero: 0, data: [5, -7].repeat(16) };
    arena.check(&mut rng(1), &expected, |inputs, output| kernels::conv(inputs[0], output, &parameters));

    let bias = le(&[-9 * 57 + 5, -9 * 57 - 7]);
    let mut arena = Arena::new();
    arena.put(&mut rng(2), &input);
    let parameters =
        kernels::Depthwise { window, weights: &weights[..18], bias: &bias, epilogue: finish.epilogue() };
    arena.check(&mut rng(3), &expected, |inputs, output| kernels::depthwise(inputs[0], output, &parameters));
}

#[test]
fn element_wise_kernels_run_in_place_and_interleaved() {
    let rng = &mut rng(5);
    let finish = Finish::random(rng, 1);
    let multipliers = le(&[70_000, -3_000]);
    let parameters = kernels::Shortcut {
        multipliers: &multipliers,
        mode: ShortcutMode::PerInput,
        epilogue: finish.epilogue(),
    };
    let mut bytes: Vec<i8> = (0..6 * 20).map(|_| rng.random()).collect();
    let before = bytes.clone();
    let cells = Cell::from_mut(&mut bytes[..]).as_slice_of_cells();
    // Two slices of one [2, 3, 20] buffer; the sum overwrites the first.
    let a = Tensor::new(cells, [2, 3, 12], 20, 3).unwrap();
    let b = Tensor::new(&cells[12..], [2, 3, 8], 20, -9).unwrap();
    kernels::shortcut([a, b].into_iter(), a, &parameters);
    for (at, &q) in bytes.iter().enumerate() {
        let (pixel, c) = (at / 20, at % 20);
        let first = (i64::from(before[at]) - 3) * 70_000;
        let second = if c < 8 { (i64::from(before[pixel * 20 + 12 + c]) + 9) * -3_000 } else { 0 };
        assert_eq!(q, if c < 12 { finish.code(first + second, 0) } else { before[at] });
    }
}
