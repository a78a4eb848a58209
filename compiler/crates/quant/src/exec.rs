//! Runs an int8 network layer by layer with the runtime's kernels: their meaning, no other.

use std::cell::Cell;

use secateur_runtime::kernels::{self, Epilogue, ReorgMode, Requant, ShortcutMode, Window};
use secateur_runtime::{Kernels, Tensor};
use zerocopy::little_endian::{I32, U32};

use super::net::{QEpilogue, QNet, QOp, QPool, QRequant, QTensor};
use secateur_data::quantise_image;
use secateur_ir::Source;
use secateur_kernels::HostKernels;

/// Requantisation that changes nothing.
const UNIT: QRequant = QRequant { m_pos: 2, m_neg: 2, shift: 1 };

/// A feature map `[h][w][c]` of quantised values.
pub type Int8Map = Vec<Cell<i8>>;

/// Quantises an image `[c][h][w]` in 0..1: `round(255 · v) − 128`, `[h][w][c]`.
pub fn quantise_input(net: &QNet, image: &[f32]) -> Int8Map {
    quantise_image(net.input.shape, image).into_iter().map(Cell::new).collect()
}

/// Outputs of all layers, by Darknet's number, for one image `[c][h][w]` in 0..1.
///
/// # Panics
/// If `image` does not have the network's input shape.
pub fn run(net: &QNet, image: &[f32]) -> Vec<Int8Map> {
    let mut outputs = Vec::with_capacity(net.nodes.len());
    Executor::new(net).run(image, |_, map| outputs.push(map.clone()));
    outputs
}

/// All layers of a network, to be run on many images.
pub struct Executor<'a> {
    net: &'a QNet,
    steps: Vec<LayerKernel<'a>>,
    last_uses: Vec<usize>,
}

impl<'a> Executor<'a> {
    /// Prepares all layers.
    pub fn new(net: &'a QNet) -> Self {
        let steps = (0..net.nodes.len()).map(|i| LayerKernel::new(net, i)).collect();
        Self { net, steps, last_uses: last_uses(net) }
    }

    /// Runs an image `[c][h][w]` in 0..1 and calls `visit(layer, map)` with every layer's output in
    /// turn; keeps only what later layers read.
    ///
    /// # Panics
    /// If `image` does not have the network's input shape.
    pub fn run(&self, image: &[f32], mut visit: impl FnMut(usize, &Int8Map)) {
        let image = quantise_input(self.net, image);
        let mut outputs: Vec<Option<Int8Map>> = Vec::with_capacity(self.steps.len());
        for (i, step) in self.steps.iter().enumerate() {
            let output = {
                let inputs = self.net.nodes[i].inputs.iter().map(|&source| match source {
                    Source::Image => &image,
                    Source::Layer(from) => outputs[from].as_ref().expect("kept until its last use"),
                });
                step.run(&inputs.collect::<Vec<_>>())
            };
            visit(i, &output);
            outputs.push(Some(output));
            for (map, &last) in outputs.iter_mut().zip(&self.last_uses) {
                if last <= i {
                    *map = None;
                }
            }
        }
    }
}

/// For every layer, the last one that reads it; its own number where none does.
pub(crate) fn last_uses(net: &QNet) -> Vec<usize> {
    let mut last: Vec<usize> = (0..net.nodes.len()).collect();
    for (i, node) in net.nodes.iter().enumerate() {
        for input in &node.inputs {
            if let Source::Layer(from) = *input {
                last[from] = i;
            }
        }
    }
    last
}

/// One layer in the form that the kernels want, to be run on many images.
pub struct LayerKernel<'a> {
    net: &'a QNet,
    index: usize,
    /// Weights in the kernel's order where it differs from the node's.
    depthwise: Option<Vec<i8>>,
    bias: Vec<I32>,
    requant: Vec<Requant>,
}

impl<'a> LayerKernel<'a> {
    /// Prepares layer `index`.
    pub fn new(net: &'a QNet, index: usize) -> Self {
        let op = &net.nodes[index].op;
        let words = |values: &[i32]| values.iter().map(|&v| I32::new(v)).collect();
        let constants =
            |values: &[QRequant]| -> Vec<Requant> { values.iter().map(QRequant::record).collect() };
        let mut step = Self { net, index, depthwise: None, bias: Vec::new(), requant: Vec::new() };
        match op {
            QOp::Conv(conv) => {
                let depthwise = conv.is_depthwise(step.input_tensor(0).shape.c);
                step.depthwise = depthwise.then(|| conv.depthwise_weights());
                step.bias = words(&conv.bias);
                step.requant = constants(&conv.requant);
            }
            QOp::Connected(full) => {
                step.bias = words(&full.bias);
                step.requant = constants(&full.requant);
            }
            QOp::AvgPool(scaled) | QOp::Sam(scaled) | QOp::ScaleChannels { scaled, .. } => {
                step.requant = constants(&[scaled.requant]);
            }
            QOp::LocalAvgPool(average) => step.requant = constants(&average.requant),
            QOp::Route(route) => {
                let each: Vec<QRequant> = route.rescale.iter().map(|r| r.unwrap_or(UNIT)).collect();
                step.requant = constants(&each);
            }
            QOp::Shortcut(shortcut) => {
                step.bias = words(&shortcut.multipliers);
                step.requant = constants(&[shortcut.requant]);
            }
            _ => {}
        }
        step
    }

    fn input_tensor(&self, n: usize) -> &'a QTensor {
        self.net.tensor(self.net.nodes[self.index].inputs[n])
    }

    /// Runs the layer on the feature maps of its inputs.
    ///
    /// # Panics
    /// If the feature maps do not have the inputs' shapes.
    pub fn run(&self, inputs: &[&Int8Map]) -> Int8Map {
        let node = &self.net.nodes[self.index];
        let shape = node.output.shape;
        let map: Int8Map = vec![Cell::new(0); shape.len()];
        let output = view(&map, &node.output);
        let x: Vec<Tensor<'_>> =
            inputs.iter().enumerate().map(|(n, map)| view(map, self.input_tensor(n))).collect();
        match &node.op {
            QOp::Conv(conv) => {
                let window = Window {
                    kernel_h: conv.size,
                    kernel_w: conv.size,
                    stride_h: conv.stride_y,
                    stride_w: conv.stride_x,
                    dilation_h: conv.dilation,
                    dilation_w: conv.dilation,
                    pad_top: conv.pad,
                    pad_left: conv.pad,
                };
                let epilogue = self.epilogue(&conv.epilogue);
                match &self.depthwise {
                    Some(weights) => {
                        let parameters = kernels::Depthwise { window, weights, bias: &self.bias, epilogue };
                        HostKernels.depthwise(x[0], output, &parameters);
                    }
                    None => {
                        let (groups, weights) = (conv.groups, &conv.weights[..]);
                        let parameters =
                            kernels::Conv { window, groups, weights, bias: &self.bias, epilogue };
                        HostKernels.conv(x[0], output, &parameters);
                    }
                }
            }
            QOp::Connected(full) => {
                let epilogue = self.epilogue(&full.epilogue);
                let parameters = kernels::Connected { weights: &full.weights, bias: &self.bias, epilogue };
                HostKernels.connected(x[0], output, &parameters);
            }
            QOp::MaxPool(pool) => HostKernels.maxpool(x[0], output, &window(pool)),
            QOp::AvgPool(scaled) => kernels::avgpool(x[0], output, &self.epilogue(&scaled.epilogue)),
            QOp::LocalAvgPool(average) => {
                kernels::local_avgpool(
                    x[0],
                    output,
                    &window(&average.pool),
                    &self.epilogue(&average.epilogue),
                );
            }
            QOp::Upsample { stride } => kernels::upsample(x[0], output, *stride, *stride),
            QOp::Route(route) => {
                let mut at = 0;
                for (n, &x) in x.iter().enumerate() {
                    let part = x.c() / route.groups;
                    let from = slice(inputs[n], self.input_tensor(n), route.group_id * part, part);
                    let to = slice(&map, &node.output, at, part);
                    let copied = QEpilogue {
                        zero_point: node.output.zero_point,
                        lo: i8::MIN,
                        hi: i8::MAX,
                        table: None,
                    };
                    let epilogue = Epilogue { requant: &self.requant[n..=n], ..self.epilogue(&copied) };
                    kernels::rescale(from, to, 0, 0, route.rescale[n].is_some().then_some(&epilogue));
                    at += part;
                }
            }
            QOp::Shortcut(shortcut) => {
                let mode =
                    if shortcut.per_channel { ShortcutMode::PerChannel } else { ShortcutMode::PerInput };
                let epilogue = self.epilogue(&shortcut.epilogue);
                let parameters = kernels::Shortcut { multipliers: &self.bias, mode, epilogue };
                HostKernels.shortcut(x.iter().copied(), output, &parameters);
            }
            QOp::Reorg(reorg) => {
                let mode = match (reorg.old, reorg.reverse) {
                    (true, _) => ReorgMode::Flat,
                    (false, true) => ReorgMode::DepthToSpace,
                    (false, false) => ReorgMode::SpaceToDepth,
                };
                kernels::reorg(x[0], output, reorg.stride, mode);
            }
            QOp::Identity | QOp::Yolo { .. } | QOp::Region { .. } | QOp::Detection { .. } => {
                kernels::rescale(x[0], output, 0, 0, None);
            }
            QOp::Crop { top, left } => kernels::rescale(x[0], output, *top, *left, None),
            QOp::ScaleChannels { scaled, .. } | QOp::Sam(scaled) => {
                HostKernels.multiply(x[0], x[1], output, &self.epilogue(&scaled.epilogue));
            }
            QOp::Softmax(softmax) => {
                let mut exponentials = [U32::ZERO; 256];
                for (to, &from) in exponentials.iter_mut().zip(&softmax.exp) {
                    *to = U32::new(from);
                }
                kernels::softmax(x[0], output, softmax.groups, &exponentials);
            }
        }
        map
    }

    fn epilogue<'s>(&'s self, epilogue: &'s QEpilogue) -> Epilogue<'s> {
        Epilogue {
            requant: &self.requant,
            lo: epilogue.lo,
            hi: epilogue.hi,
            table: epilogue.table.as_ref().map(|table| &*table.0),
            zero_point: epilogue.zero_point,
        }
    }
}

/// A pooling window: half of the total padding is before.
fn window(pool: &QPool) -> Window {
    Window {
        kernel_h: pool.size,
        kernel_w: pool.size,
        stride_h: pool.stride_y,
        stride_w: pool.stride_x,
        dilation_h: 1,
        dilation_w: 1,
        pad_top: pool.pad / 2,
        pad_left: pool.pad / 2,
    }
}

fn view<'m>(map: &'m Int8Map, tensor: &QTensor) -> Tensor<'m> {
    slice(map, tensor, 0, tensor.shape.c)
}

/// Channels `first .. first + count` of a feature map.
fn slice<'m>(map: &'m Int8Map, tensor: &QTensor, first: usize, count: usize) -> Tensor<'m> {
    let shape = tensor.shape;
    Tensor::new(&map[first..], [shape.h, shape.w, count], shape.c, tensor.zero_point)
        .expect("maps have the shapes of their tensors")
}
