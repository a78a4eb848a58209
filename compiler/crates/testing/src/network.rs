//! Random networks for property tests: every construct that pruning, quantising and packing must survive.

use std::fmt::Write;
use std::path::Path;

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use secateur_frontend::darknet::{Cfg, build_graph};
use secateur_ir::{Activation, Conv, Graph, Op, Padding, Pool, Shape, Weights, infer};

use crate::random_weights;

/// Options of [`random_network`].
#[derive(Debug, Clone)]
pub struct RandomOptions {
    /// Layers before the heads; a block that was begun is finished.
    pub layers: usize,
    /// Largest height or width of the input.
    pub side: usize,
    /// Largest channel count of a convolution; concatenation may double it.
    pub channels: usize,
    pub activations: Vec<Activation>,
    /// Also the rarer layers: local_avgpool, batchnorm, dilation, strides that differ in x and y,
    /// shrinking upsample, several `from` and `weights_type` in shortcuts.
    pub rare: bool,
    /// End in a classifier (avgpool, connected, softmax) instead of one or two yolo heads.
    pub classifier: bool,
}

impl Default for RandomOptions {
    fn default() -> Self {
        Self {
            layers: 16,
            side: 40,
            channels: 12,
            activations: COMMON_ACTIVATIONS.to_vec(),
            rare: false,
            classifier: false,
        }
    }
}

/// Those that trained YOLO networks and classifiers use.
const COMMON_ACTIVATIONS: [Activation; 9] = [
    Activation::Linear,
    Activation::Leaky,
    Activation::Leaky,
    Activation::Relu,
    Activation::Relu6,
    Activation::Logistic,
    Activation::Swish,
    Activation::Mish,
    Activation::HardMish,
];

/// A random network: its cfg's text, its graph and its numbers. Equal seeds give equal networks.
///
/// # Panics
/// If the cfg that was drawn is refused: a mistake here or in the front end.
pub fn random_network(seed: u64, options: &RandomOptions) -> (String, Graph, Weights) {
    let mut draw =
        Draw { rng: ChaCha8Rng::seed_from_u64(seed), options, text: String::new(), shapes: Vec::new() };
    draw.network();
    let text = draw.text;
    let graph = Cfg::parse(Path::new("random.cfg"), text.as_bytes())
        .and_then(|cfg| build_graph(&cfg))
        .unwrap_or_else(|error| panic!("seed {seed}: {error:?}\n{text}"));
    let weights = random_weights(seed, &graph);
    (text, graph, weights)
}

/// The cfg as drawn so far.
struct Draw<'a> {
    rng: ChaCha8Rng,
    options: &'a RandomOptions,
    text: String,
    /// The input image, then every layer's output: layer `i` is `shapes[i + 1]`.
    shapes: Vec<Shape>,
}

impl Draw<'_> {
    fn network(&mut self) {
        let c = if self.rng.random_bool(0.2) { 1 } else { 3 };
        // Small inputs are drawn more often: thousands of networks run in one test.
        let large = self.rng.random_bool(0.15);
        let most = if large { self.options.side } else { self.options.side.min(16) };
        let [h, w] = [(); 2].map(|()| self.rng.random_range(6.min(most)..=most));
        writeln!(self.text, "[net]\nwidth={w}\nheight={h}\nchannels={c}").expect("text");
        self.shapes.push(Shape::new(c, h, w));
        let filters = self.channels();
        let conv = self.plain(filters, 3, 1);
        self.conv(conv);
        while self.layers() < self.options.layers {
            self.block();
        }
        if self.options.classifier {
            self.classifier();
        } else {
            self.heads();
        }
    }

    /// Layers so far; the next one has this number.
    fn layers(&self) -> usize {
        self.shapes.len() - 1
    }

    fn last(&self) -> Shape {
        self.shapes[self.shapes.len() - 1]
    }

    fn channels(&mut self) -> usize {
        self.rng.random_range(1..=self.options.channels)
    }

    fn activation(&mut self) -> Activation {
        self.options.activations.choose(&mut self.rng).copied().unwrap_or(Activation::Linear)
    }

    /// Writes a section; `shape` is what the front end must infer.
    fn layer(&mut self, shape: Shape, section: &str, options: &str) {
        writeln!(self.text, "\n[{section}]\n{}", options.trim_end()).expect("text");
        self.shapes.push(shape);
    }

    fn conv(&mut self, conv: Conv) {
        let Conv { filters, groups, kernel, stride, dilation, padding, .. } = conv;
        let (size, dilation, pad) = (kernel[0], dilation[0], padding.top);
        let pad = if pad == size / 2 * dilation { "pad=1".to_owned() } else { format!("padding={pad}") };
        let mut options = format!("filters={filters}\nsize={size}\n{pad}\n");
        let activation = conv.activation.name();
        for (key, value, default) in [
            ("batch_normalize", usize::from(conv.batch_norm), 0),
            ("groups", groups, 1),
            ("stride_x", stride[1], 1),
            ("stride_y", stride[0], 1),
            ("dilation", dilation, 1),
        ] {
            if value != default {
                writeln!(options, "{key}={value}").expect("text");
            }
        }
        writeln!(options, "activation={activation}").expect("text");
        let shape = infer(&Op::Conv(conv), &[self.last()]).expect("drawn to fit");
        self.layer(shape, "convolutional", &options);
    }

    /// A convolution that keeps the feature map's size; activation and batch norm are drawn.
    fn plain(&mut self, filters: usize, size: usize, groups: usize) -> Conv {
        Conv {
            groups,
            padding: Padding::all(size / 2),
            batch_norm: self.rng.random_bool(0.6),
            activation: self.activation(),
            ..Conv::square(filters, size)
        }
    }

    /// A max-pool with Darknet's default padding, or `padding=0`.
    fn maxpool(&mut self, size: usize, stride: usize) {
        let padded = size > self.last().h.min(self.last().w) || self.rng.random_bool(0.7);
        let pad = if padded { size - 1 } else { 0 };
        let pool = Pool { padding: Padding::centred(pad), ..Pool::square(size, stride) };
        let shape = infer(&Op::MaxPool(pool), &[self.last()]).expect("drawn to fit");
        let padding = if padded { "" } else { "padding=0" };
        self.layer(shape, "maxpool", &format!("size={size}\nstride={stride}\n{padding}"));
    }

    /// A route to `layers` by absolute or relative numbers.
    fn route(&mut self, layers: &[usize], groups: usize, group_id: usize) {
        let here = self.layers();
        let numbers: Vec<String> = layers
            .iter()
            .map(|&layer| match self.rng.random_bool(0.5) {
                true => format!("{}", layer as i64 - here as i64),
                false => layer.to_string(),
            })
            .collect();
        let channels = layers.iter().map(|&layer| self.shapes[layer + 1].c / groups).sum();
        let slice =
            if groups > 1 { format!("\ngroups={groups}\ngroup_id={group_id}") } else { String::new() };
        let shape = Shape { c: channels, ..self.shapes[layers[0] + 1] };
        self.layer(shape, "route", &format!("layers={}{slice}", numbers.join(",")));
    }

    /// An earlier layer of the last one's height and width; the last itself is not among them.
    fn same_plane(&mut self) -> Option<usize> {
        let last = self.last();
        let fits = |layer: &usize| (self.shapes[layer + 1].h, self.shapes[layer + 1].w) == (last.h, last.w);
        let candidates: Vec<usize> = (0..self.layers() - 1).filter(fits).collect();
        candidates.choose(&mut self.rng).copied()
    }

    fn shortcut(&mut self, from: &[usize]) {
        let activation = match self.rng.random_bool(0.8) {
            true => "linear",
            false => self.activation().name(),
        };
        let here = self.layers();
        let numbers: Vec<String> = from.iter().map(|&layer| format!("-{}", here - layer)).collect();
        let weights = match self.options.rare && self.rng.random_bool(0.3) {
            true if self.rng.random_bool(0.5) => "weights_type=per_feature\nweights_normalization=softmax\n",
            true => "weights_type=per_channel\nweights_normalization=relu\n",
            false => "",
        };
        let options = format!("from={}\n{weights}activation={activation}", numbers.join(","));
        self.layer(self.last(), "shortcut", &options);
    }

    /// One to seven layers; does nothing where the drawn block does not fit.
    fn block(&mut self) {
        let Shape { c, h, w } = self.last();
        let kinds = if self.options.rare { 17 } else { 12 };
        match self.rng.random_range(0..kinds) {
            0 => {
                let (filters, size) = (self.channels(), *[1, 1, 3, 5].choose(&mut self.rng).unwrap_or(&1));
                let conv = self.plain(filters, size, 1);
                self.conv(conv);
            }
            1 => self.strided(),
            2 => {
                // Grouped: as many groups as a divisor of the input's channels.
                let divisors: Vec<usize> = (2..=c).filter(|d| c % d == 0).collect();
                let Some(&groups) = divisors.choose(&mut self.rng) else { return };
                let filters = groups * self.rng.random_range(1..=(self.options.channels / groups).max(1));
                let conv = self.plain(filters, 3, groups);
                self.conv(conv);
            }
            3 | 4 => self.inverted_residual(c),
            5 => {
                if let Some(from) = self.same_plane() {
                    self.shortcut(&[from]);
                }
            }
            6 => {
                if let Some(other) = self.same_plane()
                    && c + self.shapes[other + 1].c <= 2 * self.options.channels
                {
                    self.route(&[self.layers() - 1, other], 1, 0);
                }
            }
            7 => {
                let divisors: Vec<usize> = [2, 3, 4].into_iter().filter(|d| c % d == 0).collect();
                let Some(&groups) = divisors.choose(&mut self.rng) else { return };
                let group_id = self.rng.random_range(0..groups);
                self.route(&[self.layers() - 1], groups, group_id);
            }
            8 => self.pyramid(c),
            9 => self.squeeze_excite(c),
            10 => {
                if self.rng.random_bool(0.5) && 2 * h.max(w) <= self.options.side.min(24) {
                    self.layer(Shape::new(c, 2 * h, 2 * w), "upsample", "stride=2");
                } else if h % 2 == 0 && w % 2 == 0 && c % 4 == 0 && 4 * c <= 4 * self.options.channels {
                    self.layer(Shape::new(4 * c, h / 2, w / 2), "reorg", "stride=2");
                }
            }
            11 => {
                // Spatial attention: a feature map of factors for the layer before it.
                let map = self.layers() - 1;
                let conv = Conv { activation: Activation::Logistic, ..self.plain(c, 1, 1) };
                self.conv(conv);
                let from = self.layers() - map;
                self.layer(Shape::new(c, h, w), "sam", &format!("from=-{from}"));
            }
            rare => self.rare_block(rare),
        }
    }

    fn strided(&mut self) {
        let Shape { h, w, .. } = self.last();
        if h.min(w) < 4 {
            return;
        }
        if self.rng.random_bool(0.4) {
            return self.maxpool(2, 2);
        }
        let filters = self.channels();
        let conv = Conv { stride: [2; 2], ..self.plain(filters, 3, 1) };
        self.conv(conv);
    }

    /// Expand, filter each channel, project; then often dropout and a shortcut of whatever width.
    fn inverted_residual(&mut self, channels: usize) {
        let entry = self.layers() - 1;
        let (wide, project) =
            (self.channels(), Conv { activation: Activation::Linear, ..self.plain(1, 1, 1) });
        let expand = self.plain(wide, 1, 1);
        self.conv(expand);
        let depthwise = self.plain(wide, 3, wide);
        self.conv(depthwise);
        let filters = if self.rng.random_bool(0.5) { channels } else { self.channels() };
        self.conv(Conv { filters, ..project });
        if self.rng.random_bool(0.4) {
            self.layer(self.last(), "dropout", "probability=.2");
        }
        if self.rng.random_bool(0.8) {
            self.shortcut(&[entry]);
        }
    }

    /// SPP: pools of several sizes side by side with their input.
    fn pyramid(&mut self, channels: usize) {
        if channels > self.options.channels {
            return;
        }
        let entry = self.layers() - 1;
        let mut parts = vec![entry];
        for (index, size) in [3, 5].into_iter().enumerate() {
            if index > 0 {
                self.route(&[entry], 1, 0);
            }
            let Shape { c, h, w } = self.last();
            self.layer(Shape::new(c, h, w), "maxpool", &format!("stride=1\nsize={size}"));
            parts.push(self.layers() - 1);
        }
        parts.reverse();
        self.route(&parts, 1, 0);
    }

    fn squeeze_excite(&mut self, channels: usize) {
        let map = self.last();
        self.layer(Shape::new(channels, 1, 1), "avgpool", "");
        let filters = self.channels();
        let squeeze = Conv { batch_norm: false, ..self.plain(filters, 1, 1) };
        self.conv(squeeze);
        let excite =
            Conv { batch_norm: false, activation: Activation::Logistic, ..self.plain(channels, 1, 1) };
        self.conv(excite);
        self.layer(map, "scale_channels", "from=-4");
    }

    fn rare_block(&mut self, kind: usize) {
        let Shape { c, h, w } = self.last();
        match kind {
            12 => self.layer(self.last(), "batchnorm", ""),
            13 => {
                let pool = Pool { padding: Padding::centred(1), ..Pool::square(2, 1) };
                let shape = infer(&Op::LocalAvgPool(pool), &[self.last()]).expect("drawn to fit");
                self.layer(shape, "local_avgpool", "size=2\nstride=1");
            }
            14 => {
                let filters = self.channels();
                let conv = match self.rng.random_bool(0.5) {
                    true => Conv { dilation: [2; 2], padding: Padding::all(2), ..self.plain(filters, 3, 1) },
                    false => Conv { stride: [1, 2], ..self.plain(filters, 3, 1) },
                };
                self.conv(conv);
            }
            15 => {
                if h % 2 == 0 && w % 2 == 0 {
                    self.layer(Shape::new(c, h / 2, w / 2), "upsample", "stride=-2");
                }
            }
            _ => {
                if let (Some(a), Some(b)) = (self.same_plane(), self.same_plane())
                    && a != b
                {
                    self.shortcut(&[a, b]);
                }
            }
        }
    }

    fn heads(&mut self) {
        let second = self.rng.random_bool(0.5);
        let body = self.layers();
        self.head();
        if second {
            let layer = self.rng.random_range(0..body);
            self.route(&[layer], 1, 0);
            self.head();
        }
    }

    fn head(&mut self) {
        let (boxes, classes) = (self.rng.random_range(1..=3), self.rng.random_range(1..=4));
        let filters = boxes * (classes + 5);
        let conv = Conv { batch_norm: false, activation: Activation::Linear, ..self.plain(filters, 1, 1) };
        self.conv(conv);
        let mask: Vec<String> = (0..boxes).map(|anchor| anchor.to_string()).collect();
        let anchors: Vec<String> =
            (0..2 * boxes).map(|_| self.rng.random_range(2..=self.options.side).to_string()).collect();
        let kind = *["default", "greedynms", "diounms"].choose(&mut self.rng).unwrap_or(&"default");
        let options = format!(
            "mask={}\nanchors={}\nclasses={classes}\nnum={boxes}\nscale_x_y={}\nnms_kind={kind}",
            mask.join(","),
            anchors.join(", "),
            ["1", "1.05", "1.2"].choose(&mut self.rng).unwrap_or(&"1"),
        );
        self.layer(self.last(), "yolo", &options);
    }

    fn classifier(&mut self) {
        let classes = self.rng.random_range(2..=10);
        if self.rng.random_bool(0.5) {
            let conv =
                Conv { batch_norm: false, activation: Activation::Linear, ..self.plain(classes, 1, 1) };
            self.conv(conv);
            self.layer(Shape::new(classes, 1, 1), "avgpool", "");
        } else {
            if self.rng.random_bool(0.5) {
                self.layer(Shape::new(self.last().c, 1, 1), "avgpool", "");
            }
            let hidden = self.channels();
            let activation = self.activation().name();
            self.layer(
                Shape::new(hidden, 1, 1),
                "connected",
                &format!("output={hidden}\nbatch_normalize=1\nactivation={activation}"),
            );
            self.layer(
                Shape::new(classes, 1, 1),
                "connected",
                &format!("output={classes}\nactivation=linear"),
            );
        }
        self.layer(self.last(), "softmax", "groups=1");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_as_drawn_and_every_construct_occurs() {
        let mut seen = std::collections::BTreeMap::<&str, usize>::new();
        for seed in 0..2000 {
            let options =
                RandomOptions { rare: seed % 4 == 0, classifier: seed % 8 == 0, ..RandomOptions::default() };
            let mut draw = Draw {
                rng: ChaCha8Rng::seed_from_u64(seed),
                options: &options,
                text: String::new(),
                shapes: Vec::new(),
            };
            draw.network();
            let (text, graph, weights) = random_network(seed, &options);
            assert_eq!(text, draw.text);
            let shapes: Vec<Shape> = graph.nodes.iter().map(|node| node.shape).collect();
            assert_eq!(shapes, draw.shapes[1..], "seed {seed}\n{text}");
            assert_eq!(weights.layers.len(), graph.nodes.len());
            assert!(graph.nodes.len() <= options.layers + 12, "seed {seed}");
            for (layer, node) in graph.nodes.iter().enumerate() {
                let inputs = graph.input_shapes(layer);
                let construct = match &node.op {
                    op if op.is_depthwise(inputs[0].c) => "depthwise",
                    Op::Conv(conv) if conv.groups > 1 => "grouped",
                    Op::Conv(conv) if conv.dilation != [1; 2] => "dilated",
                    Op::Shortcut(_) if inputs.iter().any(|shape| shape.c != inputs[0].c) => {
                        "unequal shortcut"
                    }
                    Op::Route(route) if route.groups > 1 => "route with groups",
                    op => op.name(),
                };
                *seen.entry(construct).or_default() += 1;
            }
        }
        for construct in [
            "avgpool",
            "batchnorm",
            "connected",
            "convolutional",
            "depthwise",
            "dilated",
            "dropout",
            "grouped",
            "local_avgpool",
            "maxpool",
            "reorg",
            "route",
            "route with groups",
            "sam",
            "scale_channels",
            "shortcut",
            "softmax",
            "unequal shortcut",
            "upsample",
            "yolo",
        ] {
            assert!(seen.get(construct).copied().unwrap_or(0) >= 50, "{construct}: {seen:?}");
        }
    }
}
