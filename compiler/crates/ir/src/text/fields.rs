//! The attributes of every operator, described once for writing and reading.

use secateur_base::Result;

use super::values::Value;
use crate::{
    Activation, Axis, Connected, Conv, Coordinates, Crop, Detection, Divisor, NmsKind, Op, Padding, Pool,
    Region, Reorg, Resize, ResizeKind, Route, ScaleChannels, Shape, Shortcut, ShortcutWeights, Slice,
    Softmax, Transpose, Upsample, WeightsNormalization, Yolo,
};

/// Takes note of attributes, or sets them.
pub(super) trait Fields {
    /// An attribute that is left out where it has its neutral value.
    fn field<T: Value>(&mut self, key: &'static str, value: &mut T, neutral: Option<T>) -> Result<()>;

    /// An attribute without a value.
    fn flag(&mut self, key: &'static str, value: &mut bool) -> Result<()>;
}

/// Shows all attributes of `op`, whose output has `shape`, to `fields`.
pub(super) fn visit(op: &mut Op, shape: Shape, fields: &mut impl Fields) -> Result<()> {
    match op {
        Op::Conv(conv) | Op::Deconv(conv) => convolution(conv, fields),
        Op::Connected(connected) => {
            fields.flag("batch_norm", &mut connected.batch_norm)?;
            activation(&mut connected.activation, fields)
        }
        Op::BatchNorm(function) | Op::Sam(function) => activation(function, fields),
        Op::MaxPool(pool) | Op::LocalAvgPool(pool) => pooling(pool, shape, fields),
        Op::Upsample(upsample) => {
            fields.field("stride", &mut upsample.stride, Some(1))?;
            fields.flag("reverse", &mut upsample.reverse)?;
            fields.field("scale", &mut upsample.scale, Some(1.0))
        }
        Op::Route(route) => {
            fields.field("groups", &mut route.groups, Some(1))?;
            fields.field("group", &mut route.group_id, Some(0))
        }
        Op::Shortcut(shortcut) => {
            fields.field("weights", &mut shortcut.weights, Some(ShortcutWeights::None))?;
            fields.field("normalization", &mut shortcut.normalization, Some(WeightsNormalization::None))?;
            activation(&mut shortcut.activation, fields)
        }
        Op::Reorg(reorg) => {
            fields.field("stride", &mut reorg.stride, Some(1))?;
            fields.flag("reverse", &mut reorg.reverse)?;
            fields.flag("old", &mut reorg.old)
        }
        Op::Softmax(softmax) => {
            fields.field("groups", &mut softmax.groups, Some(1))?;
            fields.field("temperature", &mut softmax.temperature, Some(1.0))?;
            fields.field("axis", &mut softmax.axis, Some(None))
        }
        Op::ScaleChannels(scale) => {
            fields.flag("scale_wh", &mut scale.scale_wh)?;
            activation(&mut scale.activation, fields)
        }
        Op::Yolo(head) => yolo(head, fields),
        Op::Region(region) => {
            fields.field("classes", &mut region.classes, None)?;
            fields.field("coords", &mut region.coords, Some(4))?;
            fields.field("anchors", &mut region.anchors, None)?;
            fields.flag("softmax", &mut region.softmax)?;
            fields.flag("background", &mut region.background)
        }
        Op::Detection(detection) => {
            fields.field("classes", &mut detection.classes, None)?;
            fields.field("coords", &mut detection.coords, Some(1))?;
            fields.field("side", &mut detection.side, Some(7))?;
            fields.field("num", &mut detection.num, Some(1))?;
            fields.flag("sqrt", &mut detection.sqrt)?;
            fields.flag("softmax", &mut detection.softmax)
        }
        Op::Crop(crop) => fields.flag("noadjust", &mut crop.noadjust),
        Op::Resize(resize) => {
            fields.field("kind", &mut resize.kind, Some(ResizeKind::Nearest))?;
            fields.field("coordinates", &mut resize.coordinates, Some(Coordinates::Asymmetric))
        }
        Op::Slice(slice) => {
            fields.field("axis", &mut slice.axis, Some(Axis::Channels))?;
            fields.field("start", &mut slice.start, Some(0))?;
            fields.field("end", &mut slice.end, None)?;
            fields.field("step", &mut slice.step, Some(1))
        }
        Op::Transpose(transpose) => fields.field("order", &mut transpose.order, None),
        Op::AvgPool | Op::GlobalMaxPool | Op::Dropout | Op::Cost | Op::PRelu | Op::Scale | Op::Reshape(_) => {
            Ok(())
        }
    }
}

fn activation(value: &mut Activation, fields: &mut impl Fields) -> Result<()> {
    fields.field("activation", value, Some(Activation::Linear))
}

fn convolution(conv: &mut Conv, fields: &mut impl Fields) -> Result<()> {
    fields.field("kernel", &mut conv.kernel, Some([1; 2]))?;
    fields.field("stride", &mut conv.stride, Some([1; 2]))?;
    fields.field("padding", &mut conv.padding, Some(Padding::NONE))?;
    fields.field("dilation", &mut conv.dilation, Some([1; 2]))?;
    fields.field("groups", &mut conv.groups, Some(1))?;
    fields.flag("batch_norm", &mut conv.batch_norm)?;
    activation(&mut conv.activation, fields)
}

fn pooling(pool: &mut Pool, shape: Shape, fields: &mut impl Fields) -> Result<()> {
    fields.field("kernel", &mut pool.kernel, Some([1; 2]))?;
    fields.field("stride", &mut pool.stride, Some([1; 2]))?;
    fields.field("padding", &mut pool.padding, Some(Padding::NONE))?;
    fields.flag("ceil", &mut pool.ceil)?;
    fields.field("divisor", &mut pool.divisor, Some(Divisor::Inside))?;
    let mut over_channels = pool.depth.is_some();
    fields.flag("over_channels", &mut over_channels)?;
    pool.depth = over_channels.then_some(shape.c);
    Ok(())
}

fn yolo(head: &mut Yolo, fields: &mut impl Fields) -> Result<()> {
    fields.field("classes", &mut head.classes, None)?;
    fields.field("mask", &mut head.mask, None)?;
    fields.field("anchors", &mut head.anchors, None)?;
    fields.field("scale_x_y", &mut head.scale_x_y, Some(1.0))?;
    fields.flag("new_coords", &mut head.new_coords)?;
    fields.field("nms", &mut head.nms_kind, Some(NmsKind::Default))?;
    fields.field("beta_nms", &mut head.beta_nms, Some(0.6))
}

/// Names of all operators.
pub(super) const OPERATORS: [&str; 27] = [
    "avgpool",
    "batchnorm",
    "connected",
    "convolutional",
    "cost",
    "crop",
    "deconvolutional",
    "detection",
    "dropout",
    "global_maxpool",
    "local_avgpool",
    "maxpool",
    "prelu",
    "region",
    "reorg",
    "reshape",
    "resize",
    "route",
    "sam",
    "scale",
    "scale_channels",
    "shortcut",
    "slice",
    "softmax",
    "transpose",
    "upsample",
    "yolo",
];

/// The operator of that name with an output of `shape`, all attributes neutral.
pub(super) fn neutral(name: &str, shape: Shape) -> Option<Op> {
    let linear = Activation::Linear;
    let conv = Conv::square(shape.c, 1);
    let pool = Pool::square(1, 1);
    Some(match name {
        "avgpool" => Op::AvgPool,
        "batchnorm" => Op::BatchNorm(linear),
        "connected" => Op::Connected(Connected { outputs: shape.c, batch_norm: false, activation: linear }),
        "convolutional" => Op::Conv(conv),
        "cost" => Op::Cost,
        "crop" => Op::Crop(Crop { height: shape.h, width: shape.w, noadjust: false }),
        "deconvolutional" => Op::Deconv(conv),
        "detection" => {
            Op::Detection(Detection { classes: 0, coords: 1, side: 7, num: 1, sqrt: false, softmax: false })
        }
        "dropout" => Op::Dropout,
        "global_maxpool" => Op::GlobalMaxPool,
        "local_avgpool" => Op::LocalAvgPool(pool),
        "maxpool" => Op::MaxPool(pool),
        "prelu" => Op::PRelu,
        "region" => Op::Region(Region {
            classes: 0,
            coords: 4,
            anchors: Vec::new(),
            softmax: false,
            background: false,
        }),
        "reorg" => Op::Reorg(Reorg { stride: 1, reverse: false, old: false }),
        "reshape" => Op::Reshape(shape),
        "resize" => Op::Resize(Resize {
            height: shape.h,
            width: shape.w,
            kind: ResizeKind::Nearest,
            coordinates: Coordinates::Asymmetric,
        }),
        "route" => Op::Route(Route { groups: 1, group_id: 0 }),
        "sam" => Op::Sam(linear),
        "scale" => Op::Scale,
        "scale_channels" => Op::ScaleChannels(ScaleChannels { scale_wh: false, activation: linear }),
        "shortcut" => Op::Shortcut(Shortcut {
            activation: linear,
            weights: ShortcutWeights::None,
            normalization: WeightsNormalization::None,
        }),
        "slice" => Op::Slice(Slice { axis: Axis::Channels, start: 0, end: 0, step: 1 }),
        "softmax" => Op::Softmax(Softmax { groups: 1, temperature: 1.0, axis: None }),
        "transpose" => Op::Transpose(Transpose { order: [Axis::Channels, Axis::Rows, Axis::Columns] }),
        "upsample" => Op::Upsample(Upsample { stride: 1, reverse: false, scale: 1.0 }),
        "yolo" => Op::Yolo(Yolo {
            classes: 0,
            mask: Vec::new(),
            anchors: Vec::new(),
            scale_x_y: 1.0,
            new_coords: false,
            nms_kind: NmsKind::Default,
            beta_nms: 0.6,
        }),
        _ => return None,
    })
}
