//! A graph as text: one line a layer, `number: [c, h, w] = operator(inputs) parameters`.
//!
//! For reading, for `--dump-after` and for tests that hold what a cfg becomes. Parameters at their
//! neutral value are left out.

use std::fmt::Write;

use super::{Conv, Graph, NmsKind, Op, Pool, ShortcutWeights, Source, WeightsNormalization};

/// The whole graph as text.
pub fn dump(graph: &Graph) -> String {
    let input = graph.input;
    let letter_box = if graph.letter_box { " letter_box" } else { "" };
    let mut text = format!("image: [{}, {}, {}]{letter_box}\n", input.c, input.h, input.w);
    for (layer, node) in graph.nodes.iter().enumerate() {
        let inputs: Vec<String> = node
            .inputs
            .iter()
            .map(|input| match input {
                Source::Image => "image".to_owned(),
                Source::Layer(from) => from.to_string(),
            })
            .collect();
        let shape = node.shape;
        let line = format!(
            "{layer}: [{}, {}, {}] = {}({}) {}",
            shape.c,
            shape.h,
            shape.w,
            node.op.name(),
            inputs.join(", "),
            parameters(&node.op)
        );
        writeln!(text, "{}", line.trim_end()).expect("writing to a string");
    }
    text
}

/// An operator's parameters, without its name.
fn parameters(op: &Op) -> String {
    let mut list = List(Vec::new());
    match op {
        Op::Conv(conv) | Op::Deconv(conv) => list.conv(conv),
        Op::Connected(connected) => {
            list.put("outputs", connected.outputs);
            list.flag("batch_norm", connected.batch_norm);
            list.put("activation", connected.activation.name());
        }
        Op::BatchNorm(activation) | Op::Sam(activation) => {
            list.unless("activation", activation.name(), "linear")
        }
        Op::MaxPool(pool) | Op::LocalAvgPool(pool) => list.pool(pool),
        Op::Upsample(upsample) => {
            list.put("stride", upsample.stride);
            list.flag("reverse", upsample.reverse);
            list.unless("scale", upsample.scale, 1.0);
        }
        Op::Route(route) if route.groups > 1 => {
            list.put("group", format!("{}/{}", route.group_id, route.groups));
        }
        Op::Shortcut(shortcut) => {
            match shortcut.weights {
                ShortcutWeights::None => {}
                ShortcutWeights::PerFeature => list.put("weights", "per_feature"),
                ShortcutWeights::PerChannel => list.put("weights", "per_channel"),
            }
            match shortcut.normalization {
                WeightsNormalization::None => {}
                WeightsNormalization::Relu => list.put("normalization", "relu"),
                WeightsNormalization::Softmax => list.put("normalization", "softmax"),
            }
            list.unless("activation", shortcut.activation.name(), "linear");
        }
        Op::Reorg(reorg) => {
            list.put("stride", reorg.stride);
            list.flag("reverse", reorg.reverse);
            list.flag("old", reorg.old);
        }
        Op::Softmax(softmax) => {
            list.unless("groups", softmax.groups, 1);
            list.unless("temperature", softmax.temperature, 1.0);
            list.flag("spatial", softmax.spatial);
        }
        Op::ScaleChannels(scale) => {
            list.flag("scale_wh", scale.scale_wh);
            list.unless("activation", scale.activation.name(), "linear");
        }
        Op::Yolo(yolo) => {
            list.put("classes", yolo.classes);
            list.put("mask", format!("{:?}", yolo.mask));
            list.anchors(&yolo.anchors);
            list.unless("scale_x_y", yolo.scale_x_y, 1.0);
            list.flag("new_coords", yolo.new_coords);
            let kind = match yolo.nms_kind {
                NmsKind::Default => "default",
                NmsKind::Greedy => "greedynms",
                NmsKind::Diou => "diounms",
                NmsKind::Corners => "cornersnms",
            };
            list.unless("nms", kind, "default");
            list.unless("beta_nms", yolo.beta_nms, 0.6);
        }
        Op::Region(region) => {
            list.put("classes", region.classes);
            list.put("coords", region.coords);
            list.anchors(&region.anchors);
            list.flag("softmax", region.softmax);
            list.flag("background", region.background);
        }
        Op::Detection(detection) => {
            list.put("classes", detection.classes);
            list.put("coords", detection.coords);
            list.put("side", detection.side);
            list.put("num", detection.num);
            list.flag("sqrt", detection.sqrt);
            list.flag("softmax", detection.softmax);
        }
        Op::Crop(crop) => list.flag("noadjust", crop.noadjust),
        Op::AvgPool | Op::Route(_) | Op::Dropout | Op::Cost => {}
    }
    list.0.join(" ")
}

struct List(Vec<String>);

impl List {
    fn put(&mut self, key: &str, value: impl std::fmt::Display) {
        self.0.push(format!("{key}={value}"));
    }

    fn unless<T: std::fmt::Display + PartialEq>(&mut self, key: &str, value: T, neutral: T) {
        if value != neutral {
            self.put(key, value);
        }
    }

    fn flag(&mut self, key: &str, value: bool) {
        if value {
            self.0.push(key.to_owned());
        }
    }

    fn strides(&mut self, x: usize, y: usize) {
        match x == y {
            true => self.put("stride", x),
            false => self.put("stride", format!("{x}x{y}")),
        }
    }

    fn conv(&mut self, conv: &Conv) {
        self.put("size", conv.size);
        self.strides(conv.stride_x, conv.stride_y);
        self.unless("pad", conv.pad, 0);
        self.unless("dilation", conv.dilation, 1);
        self.unless("groups", conv.groups, 1);
        self.flag("batch_norm", conv.batch_norm);
        self.put("activation", conv.activation.name());
    }

    fn pool(&mut self, pool: &Pool) {
        if pool.depth.is_some() {
            return self.flag("depth", true);
        }
        self.put("size", pool.size);
        self.strides(pool.stride_x, pool.stride_y);
        self.unless("pad", pool.pad, 0);
    }

    fn anchors(&mut self, anchors: &[(f32, f32)]) {
        let pairs: Vec<String> = anchors.iter().map(|(w, h)| format!("{w}x{h}")).collect();
        self.put("anchors", format!("[{}]", pairs.join(", ")));
    }
}
