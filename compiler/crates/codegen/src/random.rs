//! Random int8 networks for tests: every operator, arbitrary constants, tangled concatenations.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use secateur_ir::{Reorg, Shape, Source};
use secateur_quant::net::{
    DType, Provenance, QConnected, QConv, QEpilogue, QLocalAverage, QNet, QNode, QOp, QPool, QRequant,
    QRoute, QScaled, QShortcut, QTable, QTensor,
};

struct NetworkBuilder {
    random: ChaCha8Rng,
    net: QNet,
}

/// A network of about `layers` layers that passes [`QNet::verify`]. Same seed, same network.
pub fn network(seed: u64, layers: usize) -> QNet {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let shape =
        Shape::new(random.random_range(1..=3), random.random_range(4..=13), random.random_range(4..=13));
    let input = QTensor { shape, scale: 1.0 / 255.0, zero_point: -128, dtype: DType::I8 };
    let net = QNet {
        input,
        letter_box: false,
        nodes: Vec::new(),
        names: vec!["one".to_owned()],
        provenance: Provenance::default(),
    };
    let mut builder = NetworkBuilder { random, net };
    while builder.net.nodes.is_empty() {
        builder.conv(Source::Image, 1, false);
    }
    while builder.net.nodes.len() < layers {
        builder.step();
    }
    builder.net.verify().expect("the generator makes valid networks");
    builder.net
}

impl NetworkBuilder {
    fn below(&mut self, limit: usize) -> usize {
        self.random.random_range(0..limit)
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.random.random_bool(probability)
    }

    /// A recent layer, now and then any.
    fn pick(&mut self) -> Source {
        let count = self.net.nodes.len();
        let back = if self.chance(0.2) { count } else { count.min(4) };
        Source::Layer(count - 1 - self.below(back))
    }

    fn push(&mut self, op: QOp, inputs: Vec<Source>, shape: Shape, zero_point: i8) {
        let output = QTensor { shape, scale: 0.05, zero_point, dtype: DType::I8 };
        let line = self.net.nodes.len() + 1;
        self.net.nodes.push(QNode { op, inputs, output, line });
    }

    fn zero_point(&mut self) -> i8 {
        self.random.random_range(-128..=127)
    }

    fn requant(&mut self) -> QRequant {
        let m_pos = self.random.random_range(1 << 16..1 << 17);
        let m_neg = [m_pos, 0, m_pos / 10][self.below(3)];
        QRequant { m_pos, m_neg, shift: self.random.random_range(20..28) }
    }

    fn requants(&mut self, count: usize) -> Vec<QRequant> {
        (0..count).map(|_| self.requant()).collect()
    }

    fn epilogue(&mut self, zero_point: i8) -> QEpilogue {
        let table = self.chance(0.2).then(|| {
            let mut table = Box::new([0i8; 256]);
            table.iter_mut().for_each(|entry| *entry = self.random.random_range(-128..=127));
            QTable(table)
        });
        let (lo, hi) = if self.chance(0.2) { (-100, 90) } else { (-128, 127) };
        QEpilogue { zero_point, lo, hi, table }
    }

    fn bytes(&mut self, count: usize) -> Vec<i8> {
        (0..count).map(|_| self.random.random_range(-127..=127)).collect()
    }

    fn biases(&mut self, count: usize) -> Vec<i32> {
        (0..count).map(|_| self.random.random_range(-20_000..20_000)).collect()
    }

    fn conv(&mut self, from: Source, stride: usize, depthwise: bool) {
        let input = self.net.tensor(from).shape;
        let out = if depthwise { input.c } else { self.random.random_range(1..=12) };
        let groups = if depthwise {
            input.c
        } else if input.c.is_multiple_of(2) && out.is_multiple_of(2) && self.chance(0.2) {
            2
        } else {
            1
        };
        let size = [1, 3, 3, 5][self.below(4)];
        let dilation = if size == 3 && self.chance(0.15) { 2 } else { 1 };
        let pad = if self.chance(0.8) { dilation * (size - 1) / 2 } else { 0 };
        let window = dilation * (size - 1) + 1;
        if input.h + 2 * pad < window || input.w + 2 * pad < window {
            return;
        }
        let spatial = |full: usize, stride: usize| (full + 2 * pad - window) / stride + 1;
        let stride_x = if self.chance(0.1) { 3 - stride.min(2) } else { stride };
        let shape = Shape::new(out, spatial(input.h, stride), spatial(input.w, stride_x));
        let zero_point = self.zero_point();
        let conv = QConv {
            groups,
            size,
            stride_x,
            stride_y: stride,
            dilation,
            pad,
            weights: self.bytes(out * size * size * input.c / groups),
            bias: self.biases(out),
            scales: vec![0.01; out],
            requant: self.requants(out),
            epilogue: self.epilogue(zero_point),
        };
        self.push(QOp::Conv(conv), vec![from], shape, zero_point);
    }

    fn step(&mut self) {
        let from = self.pick();
        let tensor = *self.net.tensor(from);
        let (shape, zero) = (tensor.shape, tensor.zero_point);
        let alike: Vec<Source> = (0..self.net.nodes.len())
            .map(Source::Layer)
            .filter(|&s| {
                let other = self.net.tensor(s).shape;
                (other.h, other.w) == (shape.h, shape.w)
            })
            .collect();
        let partner = alike[self.below(alike.len())];
        let partner_shape = self.net.tensor(partner).shape;
        match self.below(16) {
            0..=2 => self.conv(from, 1, false),
            3 => self.conv(from, 1, true),
            4 if shape.h > 4 && shape.w > 4 => self.conv(from, 2, false),
            5 | 6 => self.shortcut(from, partner),
            7..=9 => self.route(from, &alike),
            10 => self.pool(from),
            11 if shape.len() <= 400 => {
                let up = Shape::new(shape.c, shape.h * 2, shape.w * 2);
                self.push(QOp::Upsample { stride: 2 }, vec![from], up, zero);
            }
            12 if shape.h.is_multiple_of(2) && shape.w.is_multiple_of(2) && shape.c <= 8 => {
                let reorg = Reorg { stride: 2, reverse: false, old: false };
                let down = Shape::new(shape.c * 4, shape.h / 2, shape.w / 2);
                self.push(QOp::Reorg(reorg), vec![from], down, zero);
            }
            13 => self.squeeze_excite(from),
            14 if partner_shape == shape && partner != from => {
                let zero_point = self.zero_point();
                let scaled = QScaled { requant: self.requant(), epilogue: self.epilogue(zero_point) };
                self.push(QOp::Sam(scaled), vec![from, partner], shape, zero_point);
            }
            15 if shape.len() <= 600 => {
                let out = self.random.random_range(1..=10);
                let zero_point = self.zero_point();
                let full = QConnected {
                    weights: self.bytes(out * shape.len()),
                    bias: self.biases(out),
                    scales: vec![0.01; out],
                    requant: self.requants(out),
                    epilogue: self.epilogue(zero_point),
                };
                self.push(QOp::Connected(full), vec![from], Shape::new(out, 1, 1), zero_point);
                // Go on from a feature map, not from the vector.
                self.push(
                    QOp::Route(QRoute { groups: 1, group_id: 0, rescale: vec![None] }),
                    vec![from],
                    shape,
                    zero,
                );
            }
            _ => self.push(QOp::Identity, vec![from], shape, zero),
        }
    }

    fn shortcut(&mut self, from: Source, partner: Source) {
        let shape = self.net.tensor(from).shape;
        let zero_point = self.zero_point();
        let per_channel = self.chance(0.2);
        let count = if per_channel { 2 * shape.c } else { 2 };
        let shortcut = QShortcut {
            per_channel,
            multipliers: (0..count).map(|_| self.random.random_range(-(1 << 16)..1 << 16)).collect(),
            requant: {
                // Linear, or ReLU as quantisation writes it: both slopes with 15 bits more.
                let (slope_bits, relu) = [(0, false), (0, true), (15, true)][self.below(3)];
                let m_pos = 1 << slope_bits;
                let m_neg = if relu { 0 } else { m_pos };
                QRequant { m_pos, m_neg, shift: self.random.random_range(14..18) + slope_bits }
            },
            epilogue: self.epilogue(zero_point),
        };
        self.push(QOp::Shortcut(shortcut), vec![from, partner], shape, zero_point);
    }

    fn route(&mut self, from: Source, alike: &[Source]) {
        let shape = self.net.tensor(from).shape;
        let groups = if shape.c.is_multiple_of(2) && self.chance(0.3) { 2 } else { 1 };
        let group_id = self.below(groups);
        let mut inputs = vec![from];
        for _ in 0..self.below(4) {
            let other = alike[self.below(alike.len())];
            let c = self.net.tensor(other).shape.c;
            if c.is_multiple_of(groups) && c <= 24 {
                inputs.push(other);
            }
        }
        let output = if self.chance(0.7) { self.net.tensor(from).zero_point } else { self.zero_point() };
        let rescale = inputs
            .iter()
            .map(|&s| {
                let same = self.net.tensor(s).zero_point == output;
                // Other constants under the same zero point are other scales.
                if same && self.chance(0.8) { None } else { Some(self.linear()) }
            })
            .collect();
        let c = inputs.iter().map(|&s| self.net.tensor(s).shape.c / groups).sum();
        let route = QRoute { groups, group_id, rescale };
        self.push(QOp::Route(route), inputs, Shape::new(c, shape.h, shape.w), output);
    }

    fn linear(&mut self) -> QRequant {
        let m = self.random.random_range(1 << 16..1 << 17);
        QRequant { m_pos: m, m_neg: m, shift: self.random.random_range(15..19) }
    }

    fn pool(&mut self, from: Source) {
        let tensor = *self.net.tensor(from);
        let shape = tensor.shape;
        let size = [2, 3, 5][self.below(3)];
        let stride = if self.chance(0.5) { 1 } else { 2 };
        let pool = QPool { size, stride_x: stride, stride_y: stride, pad: size - 1, depth: None };
        let spatial = |full: usize| (full - 1) / stride + 1;
        let out = Shape::new(shape.c, spatial(shape.h), spatial(shape.w));
        match self.below(3) {
            0 => {
                let zero_point = self.zero_point();
                let average = QLocalAverage {
                    requant: (0..size * size).map(|_| self.linear()).collect(),
                    pool,
                    epilogue: self.epilogue(zero_point),
                };
                self.push(QOp::LocalAvgPool(average), vec![from], out, zero_point);
            }
            _ => self.push(QOp::MaxPool(pool), vec![from], out, tensor.zero_point),
        }
    }

    fn squeeze_excite(&mut self, from: Source) {
        let shape = self.net.tensor(from).shape;
        let at = self.net.nodes.len();
        let zero_point = self.zero_point();
        let average = QScaled { requant: self.linear(), epilogue: self.epilogue(zero_point) };
        self.push(QOp::AvgPool(average), vec![from], Shape::new(shape.c, 1, 1), zero_point);
        let zero_point = self.zero_point();
        let scaled = QScaled { requant: self.linear(), epilogue: self.epilogue(zero_point) };
        let op = QOp::ScaleChannels { scale_wh: false, scaled };
        self.push(op, vec![Source::Layer(at), from], shape, zero_point);
    }
}
