//! Shape inference: the one place that knows what a layer makes of its inputs' shapes.
//!
//! Source of every formula: AlexeyAB's `make_*_layer`; deconvolution, which that line lacks, from pjreddie's.

use super::{Conv, Op, Pool, Reorg, Shape, ShortcutWeights, Upsample};
use secateur_base::{Error, Result};

/// No channel count, height, width, window, stride or padding may be larger.
pub const LARGEST_SIDE: usize = 1 << 16;
/// No feature map and no layer's weights may have more elements (1 GiB of floats).
pub const LARGEST_TENSOR: usize = 1 << 28;

/// How many numbers a layer brings along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ParameterCounts {
    pub bias: usize,
    /// Scale, mean and variance, each as many as `bias`.
    pub batch_norm: bool,
    pub weights: usize,
}

/// A layer's output shape.
///
/// # Errors
/// Wrong number of inputs; shapes or parameters that do not fit together; results outside
/// [`LARGEST_SIDE`] or [`LARGEST_TENSOR`]. The error has no place: the caller knows it.
pub fn infer(op: &Op, inputs: &[Shape]) -> Result<Shape> {
    let (least, most) = match op {
        Op::Route(_) => (1, usize::MAX),
        Op::Shortcut(_) => (2, usize::MAX),
        Op::ScaleChannels(_) | Op::Sam(_) => (2, 2),
        _ => (1, 1),
    };
    if inputs.len() < least || inputs.len() > most {
        return Err(Error::new("wrong number of inputs")
            .found(inputs.len().to_string())
            .allowed(if most == least { format!("{least}") } else { format!("at least {least}") }));
    }
    let first = inputs[0];
    positive_parameters(op)?;
    let shape = match op {
        Op::Conv(conv) => convolution(conv, first)?,
        Op::Deconv(conv) => deconvolution(conv, first)?,
        Op::Connected(connected) => Shape::new(connected.outputs, 1, 1),
        Op::MaxPool(pool) | Op::LocalAvgPool(pool) => pooling(pool, first)?,
        Op::AvgPool => Shape::new(first.c, 1, 1),
        Op::Upsample(upsample) => upsampled(upsample, first)?,
        Op::Route(route) => {
            let mut channels = 0;
            for &shape in inputs {
                same_plane(shape, first)?;
                divides("groups", route.groups, "an input's channels", shape.c)?;
                channels += shape.c / route.groups;
            }
            if route.group_id >= route.groups {
                return Err(Error::new("group_id has no group")
                    .found(route.group_id.to_string())
                    .allowed(format!("0 to {}", route.groups - 1)));
            }
            Shape { c: channels, ..first }
        }
        Op::Shortcut(_) => {
            inputs[1..].iter().try_for_each(|&shape| same_plane(shape, first))?;
            first
        }
        Op::Reorg(reorg) => reorganised(reorg, first)?,
        Op::Softmax(softmax) => {
            divides("groups", softmax.groups, "the input's size", first.len())?;
            first
        }
        Op::ScaleChannels(scale) => {
            let map = inputs[1];
            let wanted = if scale.scale_wh { Shape::new(1, map.h, map.w) } else { Shape::new(map.c, 1, 1) };
            equal("the scaling input", first, wanted)?;
            map
        }
        Op::Sam(_) => {
            equal("the input", first, inputs[1])?;
            inputs[1]
        }
        Op::Yolo(yolo) => {
            head_channels(first.c, yolo.mask.len() * (yolo.classes + 5), "masks · (classes + 5)")?;
            first
        }
        Op::Region(region) => {
            let boxes = region.anchors.len();
            head_channels(
                first.c,
                boxes * (region.classes + region.coords + 1),
                "num · (classes + coords + 1)",
            )?;
            first
        }
        Op::Detection(detection) => {
            let cells = detection.side * detection.side;
            let wanted = cells * ((1 + detection.coords) * detection.num + detection.classes);
            head_channels(first.len(), wanted, "side² · ((1 + coords) · num + classes)")?;
            first
        }
        Op::Crop(crop) => {
            if crop.height > first.h || crop.width > first.w {
                return Err(Error::new("crop is larger than its input")
                    .found(format!("{} × {}", crop.width, crop.height))
                    .allowed(format!("at most {} × {}", first.w, first.h)));
            }
            Shape::new(first.c, crop.height, crop.width)
        }
        Op::BatchNorm(_) | Op::Dropout | Op::Cost => first,
    };
    check(shape)?;
    let weights = parameter_counts(op, inputs).weights;
    if weights > LARGEST_TENSOR {
        return Err(Error::new("layer has too many weights")
            .found(weights.to_string())
            .allowed(format!("at most {LARGEST_TENSOR}")));
    }
    Ok(shape)
}

/// Refuses zeros where the formulas below would divide by them or make nothing.
fn positive_parameters(op: &Op) -> Result<()> {
    let parameters = match op {
        Op::Conv(conv) | Op::Deconv(conv) => {
            vec![conv.filters, conv.groups, conv.size, conv.stride_x, conv.stride_y, conv.dilation]
        }
        Op::Connected(connected) => vec![connected.outputs],
        Op::MaxPool(pool) | Op::LocalAvgPool(pool) => vec![pool.size, pool.stride_x, pool.stride_y],
        Op::Upsample(upsample) => vec![upsample.stride],
        Op::Reorg(reorg) => vec![reorg.stride],
        Op::Route(route) => vec![route.groups],
        Op::Softmax(softmax) => vec![softmax.groups],
        _ => Vec::new(),
    };
    match parameters.contains(&0) {
        true => Err(Error::new("a count, window or stride is zero").allowed("1 and more")),
        false => Ok(()),
    }
}

/// How many numbers a layer has in a `.weights` file; saturates instead of overflowing.
pub fn parameter_counts(op: &Op, inputs: &[Shape]) -> ParameterCounts {
    let first = inputs[0];
    match op {
        Op::Conv(conv) => ParameterCounts {
            bias: conv.filters,
            batch_norm: conv.batch_norm,
            weights: product(&[conv.filters, first.c / conv.groups.max(1), conv.size, conv.size]),
        },
        Op::Deconv(conv) => ParameterCounts {
            bias: conv.filters,
            batch_norm: conv.batch_norm,
            weights: product(&[first.c, conv.filters, conv.size, conv.size]),
        },
        Op::Connected(connected) => ParameterCounts {
            bias: connected.outputs,
            batch_norm: connected.batch_norm,
            weights: product(&[first.len(), connected.outputs]),
        },
        Op::BatchNorm(_) => ParameterCounts { bias: first.c, batch_norm: true, weights: 0 },
        Op::Shortcut(shortcut) => {
            let each = match shortcut.weights {
                ShortcutWeights::None => 0,
                ShortcutWeights::PerFeature => 1,
                ShortcutWeights::PerChannel => first.c,
            };
            ParameterCounts { weights: product(&[inputs.len(), each]), ..ParameterCounts::default() }
        }
        _ => ParameterCounts::default(),
    }
}

/// Checks a shape against the limits.
pub fn check(shape: Shape) -> Result<()> {
    let sides = [shape.c, shape.h, shape.w];
    if sides.iter().any(|&side| side == 0 || side > LARGEST_SIDE) || product(&sides) > LARGEST_TENSOR {
        // An input of flattened features may be longer than a channel count.
        if shape.h == 1 && shape.w == 1 && (1..=LARGEST_TENSOR).contains(&shape.c) {
            return Ok(());
        }
        return Err(Error::new("feature map is empty or too large").found(shape.to_string()).allowed(
            format!("1 to {LARGEST_SIDE} channels, rows and columns, at most {LARGEST_TENSOR} elements"),
        ));
    }
    Ok(())
}

fn product(factors: &[usize]) -> usize {
    factors.iter().fold(1, |product: usize, &factor| product.saturating_mul(factor))
}

fn convolution(conv: &Conv, input: Shape) -> Result<Shape> {
    divides("groups", conv.groups, "the input's channels", input.c)?;
    divides("groups", conv.groups, "filters", conv.filters)?;
    let window = conv.dilation * (conv.size - 1) + 1;
    let h = windows("rows", input.h + 2 * conv.pad, window, conv.stride_y)?;
    let w = windows("columns", input.w + 2 * conv.pad, window, conv.stride_x)?;
    Ok(Shape::new(conv.filters, h, w))
}

fn deconvolution(conv: &Conv, input: Shape) -> Result<Shape> {
    let side = |length: usize, stride: usize| {
        ((length - 1) * stride + conv.size)
            .checked_sub(2 * conv.pad)
            .filter(|&side| side > 0)
            .ok_or_else(|| Error::new("padding eats the whole output").found(conv.pad.to_string()))
    };
    Ok(Shape::new(conv.filters, side(input.h, conv.stride_y)?, side(input.w, conv.stride_x)?))
}

fn pooling(pool: &Pool, input: Shape) -> Result<Shape> {
    if let Some(channels) = pool.depth {
        if channels == 0 || channels > input.c {
            return Err(Error::new("out_channels does not fit the input")
                .found(channels.to_string())
                .allowed(format!("1 to {}", input.c)));
        }
        return Ok(Shape { c: channels, ..input });
    }
    if pool.pad.div_ceil(2) >= pool.size {
        return Err(Error::new("padding puts whole windows outside the input")
            .found(pool.pad.to_string())
            .allowed(format!("at most {} for size={}", 2 * (pool.size - 1), pool.size)));
    }
    let h = windows("rows", input.h + pool.pad, pool.size, pool.stride_y)?;
    let w = windows("columns", input.w + pool.pad, pool.size, pool.stride_x)?;
    Ok(Shape::new(input.c, h, w))
}

/// How many windows fit into `length`.
fn windows(what: &str, length: usize, window: usize, stride: usize) -> Result<usize> {
    if window > length {
        return Err(Error::new("window is larger than its padded input")
            .found(format!("a window of {window} over {length} {what}"))
            .allowed(format!("at most {length}"))
            .help(
                "the input shrank to this size before: check the strides and the padding of the layers above",
            ));
    }
    Ok((length - window) / stride + 1)
}

fn upsampled(upsample: &Upsample, input: Shape) -> Result<Shape> {
    let stride = upsample.stride;
    if !upsample.reverse {
        return Ok(Shape::new(input.c, input.h.saturating_mul(stride), input.w.saturating_mul(stride)));
    }
    divides("stride", stride, "the input's rows", input.h)?;
    divides("stride", stride, "the input's columns", input.w)?;
    Ok(Shape::new(input.c, input.h / stride, input.w / stride))
}

fn reorganised(reorg: &Reorg, input: Shape) -> Result<Shape> {
    let stride = reorg.stride;
    let block = stride * stride;
    if reorg.reverse || reorg.old {
        // Darknet's reversed reorg regroups the channels that are left once more.
        let (name, divisor) = match reorg.reverse && !reorg.old {
            true => ("stride⁴", block.saturating_mul(block)),
            false => ("stride²", block),
        };
        divides(name, divisor, "the input's channels", input.c)?;
    }
    if reorg.reverse {
        return Ok(Shape::new(
            input.c / block,
            input.h.saturating_mul(stride),
            input.w.saturating_mul(stride),
        ));
    }
    divides("stride", stride, "the input's rows", input.h)?;
    divides("stride", stride, "the input's columns", input.w)?;
    Ok(Shape::new(input.c.saturating_mul(block), input.h / stride, input.w / stride))
}

fn divides(name: &str, divisor: usize, what: &str, number: usize) -> Result<()> {
    if divisor == 0 || !number.is_multiple_of(divisor) {
        return Err(Error::new(format!("{name} does not divide {what}"))
            .found(format!("{number} / {divisor}"))
            .allowed(format!("a divisor of {number}")));
    }
    Ok(())
}

fn same_plane(shape: Shape, first: Shape) -> Result<()> {
    if (shape.h, shape.w) != (first.h, first.w) {
        return Err(Error::new("inputs differ in height or width")
            .found(format!("{shape} beside {first}"))
            .allowed(format!("{} rows and {} columns", first.h, first.w))
            .help("route and shortcut join maps of one size: check the strides and the layer numbers"));
    }
    Ok(())
}

fn equal(what: &str, found: Shape, wanted: Shape) -> Result<()> {
    if found != wanted {
        return Err(Error::new(format!("{what} has the wrong shape"))
            .found(found.to_string())
            .allowed(wanted.to_string()));
    }
    Ok(())
}

fn head_channels(found: usize, wanted: usize, formula: &str) -> Result<()> {
    if found != wanted {
        return Err(Error::new("the layer before does not fit this head")
            .found(format!("{found} inputs"))
            .allowed(format!("{wanted} = {formula}"))
            .help("correct filters= (or output=) of the layer before, or this head's classes, mask or num"));
    }
    Ok(())
}
