//! Integer nodes from float ones: weights, biases, requantisation constants, tables.

use super::net::{
    DType, QConnected, QConv, QEpilogue, QLocalAverage, QNode, QOp, QPool, QRequant, QRoute, QScaled,
    QShortcut, QSoftmax, QTensor,
};
use super::numeric::{
    Scale, TwoSlope, activation_table, detection_tables, exponentials, region_tables, requant,
    requant_negated, requant_sum, yolo_tables,
};
use super::prepare::Prepared;
use super::ranges::Scales;
use super::verify::prove_accumulators;
use secateur_base::Result;
use secateur_float as float;
use secateur_ir::{Activation, Graph, Op, Pool, Shape, ShortcutWeights, Source, WEIGHT_LIMIT, round_half_up};

/// Biases stay below this in accumulator units: a nearly dead channel's weight scale is floored.
const BIAS_LIMIT: f64 = (1u64 << 28) as f64;

/// The smallest accumulator unit in units of the output: an accumulator then still spans 2^31 / 2^18 = 8192
/// of them, 32 times the output's range, so that a nearly dead channel's bias, corrected or not, has room.
const MIN_FACTOR: f64 = 1.0 / (1u64 << 18) as f64;

/// Builds the integer node of Darknet's layer `layer`.
pub(crate) fn node(graph: &Graph, prepared: &Prepared, scales: &Scales, layer: usize) -> Result<QNode> {
    let source = &graph.nodes[layer];
    let builder = NodeBuilder { prepared, scales, layer };
    let op = builder.op(source.shape).map_err(|e| graph.locate(layer, e))?;
    let output = tensor(source.shape, scales.nodes[prepared.output_of(layer)]);
    Ok(QNode { op, inputs: source.inputs.clone(), output, line: source.origin.line.unwrap_or(0) })
}

/// A tensor's record.
pub(crate) fn tensor(shape: Shape, scale: Scale) -> QTensor {
    QTensor { shape, scale: scale.scale as f32, zero_point: scale.zero_point, dtype: DType::I8 }
}

/// Integer biases with the input's zero point folded in: `round(b / (S_in · S_w)) − Z_in · Σ w`.
///
/// `weights` holds one row per bias.
pub(crate) fn biases(bias: &[f32], weights: &[i8], weight_scales: &[f32], input: Scale) -> Vec<i32> {
    let row = weights.len() / bias.len().max(1);
    let rows = weights.chunks_exact(row.max(1));
    let each = bias.iter().zip(weight_scales).zip(rows).map(|((&b, &scale), row)| {
        let sum: i64 = row.iter().map(|&w| i64::from(w)).sum();
        let b = round_half_up(f64::from(b) / (input.scale * f64::from(scale)));
        // The caller proves the accumulator's bound, which a saturated bias never meets.
        (b as i64 - i64::from(input.zero_point) * sum).clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
    });
    each.collect()
}

struct NodeBuilder<'a> {
    prepared: &'a Prepared,
    scales: &'a Scales,
    layer: usize,
}

/// Constants of a layer with weights, one row an output channel.
struct QuantisedRows {
    weights: Vec<i8>,
    bias: Vec<i32>,
    scales: Vec<f32>,
    requant: Vec<QRequant>,
}

impl NodeBuilder<'_> {
    /// The node that holds the operator; a table's node follows it.
    fn first(&self) -> usize {
        self.prepared.nodes_of[self.layer].start
    }

    fn input_scale(&self, n: usize) -> Scale {
        self.scales.of(self.prepared.graph.nodes[self.first()].inputs[n])
    }

    /// Scale of what the operator yields before a table.
    fn direct(&self) -> Scale {
        self.scales.nodes[self.first()]
    }

    fn op(&self, shape: Shape) -> Result<QOp> {
        let first = self.first();
        let node = &self.prepared.graph.nodes[first];
        let input = self.prepared.graph.input_shape(first);
        let (x, y) = (self.input_scale(0), self.direct());
        Ok(match &node.op {
            Op::Conv(conv) => {
                let slopes = slopes(conv.activation);
                let rows = self.rows(slopes, input.c / conv.groups, conv.taps())?;
                QOp::Conv(QConv {
                    groups: conv.groups,
                    size: conv.kernel[0],
                    stride_x: conv.stride[1],
                    stride_y: conv.stride[0],
                    dilation: conv.dilation[0],
                    pad: conv.padding.top,
                    weights: rows.weights,
                    bias: rows.bias,
                    scales: rows.scales,
                    requant: rows.requant,
                    epilogue: self.epilogue(slopes),
                })
            }
            Op::Connected(full) => {
                let slopes = slopes(full.activation);
                let rows = self.rows(slopes, input.c, input.plane())?;
                QOp::Connected(QConnected {
                    weights: rows.weights,
                    bias: rows.bias,
                    scales: rows.scales,
                    requant: rows.requant,
                    epilogue: self.epilogue(slopes),
                })
            }
            Op::MaxPool(pool) => QOp::MaxPool(window(pool)),
            Op::AvgPool => QOp::AvgPool(self.scaled(x.scale / input.plane() as f64, TwoSlope::LINEAR)?),
            Op::LocalAvgPool(pool) => {
                let pool = window(pool);
                let by_count = (1..=pool.size * pool.size)
                    .map(|count| requant(x.scale / (count as f64 * y.scale), TwoSlope::LINEAR));
                QOp::LocalAvgPool(QLocalAverage {
                    pool,
                    requant: by_count.collect::<Result<_>>()?,
                    epilogue: self.epilogue(TwoSlope::LINEAR),
                })
            }
            Op::Upsample(up) if up.reverse => {
                // A sum over cells is an average without the division; every window is full.
                let (stride_x, stride_y) = (up.stride, up.stride);
                let pool = QPool { size: up.stride, stride_x, stride_y, pad: 0, depth: None };
                let each = requant(x.scale * f64::from(up.scale) / y.scale, TwoSlope::LINEAR)?;
                let requant = vec![each; up.stride * up.stride];
                QOp::LocalAvgPool(QLocalAverage { pool, requant, epilogue: self.epilogue(TwoSlope::LINEAR) })
            }
            Op::Upsample(up) => QOp::Upsample { stride: up.stride },
            Op::Route(route) => {
                let rescale = (0..node.inputs.len()).map(|n| {
                    let from = self.input_scale(n);
                    let same = from == y;
                    (!same).then(|| requant(from.scale / y.scale, TwoSlope::LINEAR)).transpose()
                });
                QOp::Route(QRoute {
                    groups: route.groups,
                    group_id: route.group_id,
                    rescale: rescale.collect::<Result<_>>()?,
                })
            }
            Op::Shortcut(shortcut) => {
                let inputs = node.inputs.len();
                let weights = &self.prepared.weights.layers[first];
                let factors = float::shortcut_factors(shortcut, weights, inputs);
                let each = if shortcut.weights == ShortcutWeights::PerChannel { shape.c } else { 1 };
                let factors: Vec<f64> = (0..inputs * each)
                    .map(|k| {
                        let factor = factors.get(k).map_or(1.0, |&f| f64::from(f));
                        factor * self.input_scale(k / each).scale / y.scale
                    })
                    .collect();
                let slopes = slopes(shortcut.activation);
                let (multipliers, requant) = requant_sum(&factors, slopes)?;
                let per_channel = shortcut.weights == ShortcutWeights::PerChannel;
                QOp::Shortcut(QShortcut {
                    per_channel,
                    multipliers,
                    requant,
                    epilogue: self.epilogue(slopes),
                })
            }
            Op::Dropout | Op::Cost => QOp::Identity,
            Op::Reorg(reorg) => QOp::Reorg(reorg.clone()),
            Op::Softmax(softmax) => {
                // Darknet ignores the temperature of a spatial softmax, and the groups.
                let spatial = softmax.axis.is_some();
                let temperature = if spatial { 1.0 } else { f64::from(softmax.temperature) };
                let groups = if spatial { 1 } else { softmax.groups };
                let exp = exponentials(x, temperature);
                QOp::Softmax(QSoftmax { groups, spatial, exp })
            }
            Op::ScaleChannels(scale) => QOp::ScaleChannels {
                scale_wh: scale.scale_wh,
                scaled: self.scaled(x.scale * self.input_scale(1).scale, slopes(scale.activation))?,
            },
            Op::Sam(activation) => {
                QOp::Sam(self.scaled(x.scale * self.input_scale(1).scale, slopes(*activation))?)
            }
            Op::Yolo(head) => QOp::Yolo { head: head.clone(), tables: yolo_tables(head, x) },
            Op::Region(head) => QOp::Region { head: head.clone(), tables: region_tables(head, x) },
            Op::Detection(head) => QOp::Detection { head: head.clone(), tables: detection_tables(head, x) },
            Op::Crop(_) => QOp::Crop { top: (input.h - shape.h) / 2, left: (input.w - shape.w) / 2 },
            Op::Deconv(_)
            | Op::BatchNorm(_)
            | Op::PRelu
            | Op::Scale
            | Op::GlobalMaxPool
            | Op::Resize(_)
            | Op::Slice(_)
            | Op::Transpose(_)
            | Op::Reshape(_) => unreachable!("refused or rewritten by Prepared::new"),
        })
    }

    /// Requantisation of a whole tensor whose accumulator unit is `unit`.
    fn scaled(&self, unit: f64, slopes: TwoSlope) -> Result<QScaled> {
        Ok(QScaled { requant: requant(unit / self.direct().scale, slopes)?, epilogue: self.epilogue(slopes) })
    }

    /// Weights stored `[out][columns][block]`, quantised to `[out][block][columns]`.
    fn rows(&self, slopes: TwoSlope, columns: usize, block: usize) -> Result<QuantisedRows> {
        let first = self.first();
        let numbers = &self.prepared.weights.layers[first];
        let source = self.prepared.graph.nodes[first].inputs[0];
        let (input, output) = (self.input_scale(0), self.direct());
        let channels = numbers.bias.len();
        let mut rows = QuantisedRows {
            weights: Vec::with_capacity(numbers.weights.len()),
            bias: Vec::new(),
            scales: Vec::with_capacity(channels),
            requant: Vec::with_capacity(channels),
        };
        let biases_real = self.prepared.biases(first, output.scale);
        let rows_per_group = channels * columns / self.prepared.graph.input_shape(first).c;
        for (o, (row, &bias)) in numbers.weights.chunks_exact(columns * block).zip(&biases_real).enumerate() {
            let largest = row.iter().fold(0f64, |m, &w| m.max(f64::from(w).abs()));
            let floor = (f64::from(bias).abs() / (input.scale * BIAS_LIMIT))
                .max(MIN_FACTOR * output.scale / input.scale)
                .max(f64::from(f32::MIN_POSITIVE));
            let scale = (largest / WEIGHT_LIMIT).max(floor) as f32;
            let own = self.prepared.sign(Source::Layer(first), o);
            let sign = |c: usize| own * self.prepared.sign(source, o / rows_per_group * columns + c);
            let code = |w: f32| round_half_up(f64::from(w) / f64::from(scale));
            for tap in 0..block {
                let column = (0..columns).map(|c| code(sign(c) * row[c * block + tap]));
                rows.weights.extend(column.map(|q| q.clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT) as i8));
            }
            rows.scales.push(scale);
            let requant = if own < 0.0 { requant_negated } else { requant };
            rows.requant.push(requant(input.scale * f64::from(scale) / output.scale, slopes)?);
        }
        rows.bias = biases(&biases_real, &rows.weights, &rows.scales, input);
        prove_accumulators(&rows.weights, &rows.bias)?;
        Ok(rows)
    }

    fn epilogue(&self, slopes: TwoSlope) -> QEpilogue {
        let direct = self.direct();
        let (lo, hi) = match slopes.clamp {
            Some((low, high)) => (direct.quantise(low), direct.quantise(high)),
            None => (i8::MIN, i8::MAX),
        };
        let nodes = &self.prepared.nodes_of[self.layer];
        let table = (nodes.len() > 1).then(|| {
            let node = nodes.end - 1;
            let Op::Conv(conv) = &self.prepared.graph.nodes[node].op else {
                unreachable!("a table's node is a pointwise convolution")
            };
            activation_table(conv.activation, direct, self.scales.nodes[node])
        });
        QEpilogue { zero_point: direct.zero_point, lo, hi, table }
    }
}

/// The window of a pool that `Prepared::new` has let pass.
fn window(pool: &Pool) -> QPool {
    let Pool { kernel: [size, _], stride: [stride_y, stride_x], padding, .. } = *pool;
    QPool { size, stride_x, stride_y, pad: padding.total()[0], depth: None }
}

/// The slopes of an activation; tables are nodes of their own.
fn slopes(activation: Activation) -> TwoSlope {
    TwoSlope::of(activation).unwrap_or(TwoSlope::LINEAR)
}
