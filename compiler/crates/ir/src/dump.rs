//! A graph as text: one line a layer, `number: [c, h, w] = operator(inputs) parameters`.
//!
//! For reading, for `--dump-after` and for tests that hold what a cfg becomes. Parameters at their
//! neutral value are left out.

use std::fmt::Write;

use super::{
    Axis, Conv, Coordinates, Divisor, Graph, NmsKind, Op, Padding, Pool, ResizeKind, ShortcutWeights, Source,
    WeightsNormalization,
};

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
            if let Some(axis) = softmax.axis {
                list.put("axis", axis_name(axis));
            }
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
        Op::Resize(resize) => {
            list.put(
                "kind",
                match resize.kind {
                    ResizeKind::Nearest => "nearest",
                    ResizeKind::Bilinear => "bilinear",
                },
            );
            list.put(
                "coordinates",
                match resize.coordinates {
                    Coordinates::Asymmetric => "asymmetric",
                    Coordinates::HalfPixel => "half_pixel",
                    Coordinates::AlignCorners => "align_corners",
                },
            );
        }
        Op::Slice(slice) => {
            list.put("axis", axis_name(slice.axis));
            list.put("from", slice.start);
            list.put("to", slice.end);
            list.unless("step", slice.step, 1);
        }
        Op::Transpose(transpose) => list.put("order", transpose.order.map(axis_name).join(",")),
        Op::AvgPool
        | Op::GlobalMaxPool
        | Op::Route(_)
        | Op::Dropout
        | Op::Cost
        | Op::PRelu
        | Op::Scale
        | Op::Reshape(_) => {}
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

    fn pair(&mut self, key: &str, [rows, columns]: [usize; 2], neutral: Option<usize>) {
        match rows == columns {
            true if neutral == Some(rows) => {}
            true => self.put(key, rows),
            false => self.put(key, format!("{rows}x{columns}")),
        }
    }

    fn padding(&mut self, padding: Padding) {
        let Padding { top, left, bottom, right } = padding;
        match padding.uniform() {
            Some(pad) => self.unless("pad", pad, 0),
            None => self.put("pad", format!("{top},{left},{bottom},{right}")),
        }
    }

    fn conv(&mut self, conv: &Conv) {
        self.pair("size", conv.kernel, None);
        self.pair("stride", conv.stride, None);
        self.padding(conv.padding);
        self.pair("dilation", conv.dilation, Some(1));
        self.unless("groups", conv.groups, 1);
        self.flag("batch_norm", conv.batch_norm);
        self.put("activation", conv.activation.name());
    }

    fn pool(&mut self, pool: &Pool) {
        if pool.depth.is_some() {
            return self.flag("depth", true);
        }
        self.pair("size", pool.kernel, None);
        self.pair("stride", pool.stride, None);
        self.padding(pool.padding);
        self.flag("ceil", pool.ceil);
        self.flag("padded_divisor", pool.divisor == Divisor::Padded);
    }

    fn anchors(&mut self, anchors: &[(f32, f32)]) {
        let pairs: Vec<String> = anchors.iter().map(|(w, h)| format!("{w}x{h}")).collect();
        self.put("anchors", format!("[{}]", pairs.join(", ")));
    }
}

fn axis_name(axis: Axis) -> &'static str {
    match axis {
        Axis::Channels => "c",
        Axis::Rows => "h",
        Axis::Columns => "w",
    }
}
