//! Shape inference: computes a layer's output shape from its inputs' shapes.
//!
//! Source of every formula: AlexeyAB's `make_*_layer`; deconvolution, which that line lacks, from pjreddie's.

use super::{Axis, Conv, Op, Padding, Pool, Reorg, Shape, ShortcutWeights, Slice, Transpose, Upsample};
use secateur_base::{Error, Result};

/// No channel count, height, width, window, stride or padding may be larger.
pub const MAX_SIDE: usize = 1 << 16;
/// No feature map and no layer's weights may have more elements (1 GiB of floats).
pub const MAX_ELEMENTS: usize = 1 << 28;

/// Number of parameters of a layer.
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
/// [`MAX_SIDE`] or [`MAX_ELEMENTS`]. The error names no layer: the caller does.
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
    parameters_in_range(op)?;
    let shape = match op {
        Op::Conv(conv) => convolution(conv, first)?,
        Op::Deconv(conv) => deconvolution(conv, first)?,
        Op::Connected(connected) => Shape::new(connected.outputs, 1, 1),
        Op::MaxPool(pool) | Op::LocalAvgPool(pool) => pooling(pool, first)?,
        Op::AvgPool | Op::GlobalMaxPool => Shape::new(first.c, 1, 1),
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
        Op::Shortcut(shortcut) => {
            for &shape in &inputs[1..] {
                // pjreddie's sum of feature maps of two sizes knows no weights.
                if shortcut.weights != ShortcutWeights::None {
                    same_plane(shape, first)?;
                }
                shortcut_steps(shape, first)?;
            }
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
            let entries = ((1 + detection.coords) * detection.num).saturating_add(detection.classes);
            let wanted = cells.saturating_mul(entries);
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
        Op::Resize(resize) => Shape::new(first.c, resize.height, resize.width),
        Op::Slice(slice) => sliced(slice, first)?,
        Op::Transpose(transpose) => transposed(transpose, first)?,
        Op::Reshape(shape) => {
            check(*shape)?;
            if shape.len() != first.len() {
                return Err(Error::new("reshape changes the number of elements")
                    .found(format!("{shape}: {}", shape.len()))
                    .allowed(first.len().to_string()));
            }
            *shape
        }
        Op::BatchNorm(_) | Op::Dropout | Op::Cost | Op::PRelu | Op::Scale => first,
    };
    check(shape)?;
    let weights = parameter_counts(op, inputs).weights;
    if weights > MAX_ELEMENTS {
        return Err(Error::new("layer has too many weights")
            .found(weights.to_string())
            .allowed(format!("at most {MAX_ELEMENTS}")));
    }
    Ok(shape)
}

/// Refuses zeros where the formulas below would divide by them or make nothing, and what would overflow them.
fn parameters_in_range(op: &Op) -> Result<()> {
    let positive = match op {
        Op::Conv(conv) | Op::Deconv(conv) => {
            [&[conv.filters, conv.groups][..], &conv.kernel, &conv.stride, &conv.dilation].concat()
        }
        Op::Connected(connected) => vec![connected.outputs],
        Op::MaxPool(pool) | Op::LocalAvgPool(pool) => [pool.kernel, pool.stride].concat(),
        Op::Upsample(upsample) => vec![upsample.stride],
        Op::Reorg(reorg) => vec![reorg.stride],
        Op::Route(route) => vec![route.groups],
        Op::Softmax(softmax) => vec![softmax.groups],
        Op::Slice(slice) => vec![slice.step],
        Op::Yolo(yolo) => vec![yolo.classes],
        Op::Region(region) => vec![region.classes, region.coords],
        Op::Detection(detection) => {
            vec![detection.classes, detection.coords, detection.side, detection.num]
        }
        _ => Vec::new(),
    };
    if positive.contains(&0) {
        return Err(Error::new("a count, window or stride is zero").allowed("1 and more"));
    }
    let padding = match op {
        Op::Conv(Conv { padding, .. })
        | Op::Deconv(Conv { padding, .. })
        | Op::MaxPool(Pool { padding, .. })
        | Op::LocalAvgPool(Pool { padding, .. }) => *padding,
        _ => Padding::NONE,
    };
    let sides = [padding.top, padding.left, padding.bottom, padding.right];
    // Flattened features may be more.
    let most = if matches!(op, Op::Connected(_)) { MAX_ELEMENTS } else { MAX_SIDE };
    match positive.into_iter().chain(sides).find(|&number| number > most) {
        Some(number) => Err(Error::new("a count, window, stride or padding is too large")
            .found(number.to_string())
            .allowed(format!("at most {most}"))),
        None => Ok(()),
    }
}
/// Counts the numbers that a layer has in a `.weights` file; saturates instead of overflowing.
pub fn parameter_counts(op: &Op, inputs: &[Shape]) -> ParameterCounts {
    let first = inputs[0];
    match op {
        Op::Conv(conv) => ParameterCounts {
            bias: conv.filters,
            batch_norm: conv.batch_norm,
            weights: product(&[conv.filters, first.c / conv.groups.max(1), conv.kernel[0], conv.kernel[1]]),
        },
        Op::Deconv(conv) => ParameterCounts {
            bias: conv.filters,
            batch_norm: conv.batch_norm,
            weights: product(&[first.c, conv.filters / conv.groups.max(1), conv.kernel[0], conv.kernel[1]]),
        },
        Op::Connected(connected) => ParameterCounts {
            bias: connected.outputs,
            batch_norm: connected.batch_norm,
            weights: product(&[first.len(), connected.outputs]),
        },
        Op::BatchNorm(_) => ParameterCounts { bias: first.c, batch_norm: true, weights: 0 },
        Op::PRelu => ParameterCounts { weights: first.c, ..ParameterCounts::default() },
        Op::Scale => ParameterCounts { bias: first.c, weights: first.c, ..ParameterCounts::default() },
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
    if sides.iter().any(|&side| side == 0 || side > MAX_SIDE) || product(&sides) > MAX_ELEMENTS {
        // An input of flattened features may be longer than a channel count.
        if shape.h == 1 && shape.w == 1 && (1..=MAX_ELEMENTS).contains(&shape.c) {
            return Ok(());
        }
        return Err(Error::new("feature map is empty or too large").found(shape.to_string()).allowed(
            format!("1 to {MAX_SIDE} channels, rows and columns, at most {MAX_ELEMENTS} elements"),
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
    let reach = |axis: usize| conv.dilation[axis] * (conv.kernel[axis] - 1) + 1;
    let [rows, columns] = conv.padding.total();
    let h = windows("rows", input.h + rows, reach(0), conv.stride[0])?;
    let w = windows("columns", input.w + columns, reach(1), conv.stride[1])?;
    Ok(Shape::new(conv.filters, h, w))
}

fn deconvolution(conv: &Conv, input: Shape) -> Result<Shape> {
    divides("groups", conv.groups, "the input's channels", input.c)?;
    divides("groups", conv.groups, "filters", conv.filters)?;
    let side = |length: usize, axis: usize| {
        let padding = conv.padding.total()[axis];
        ((length - 1) * conv.stride[axis] + conv.dilation[axis] * (conv.kernel[axis] - 1) + 1)
            .checked_sub(padding)
            .filter(|&side| side > 0)
            .ok_or_else(|| Error::new("padding eats the whole output").found(padding.to_string()))
    };
    Ok(Shape::new(conv.filters, side(input.h, 0)?, side(input.w, 1)?))
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
    let padding = pool.padding;
    let sides = [padding.top.max(padding.bottom), padding.left.max(padding.right)];
    for (axis, side) in sides.into_iter().enumerate() {
        if side >= pool.kernel[axis] {
            return Err(Error::new("padding puts whole windows outside the input")
                .found(padding.total()[axis].to_string())
                .allowed(format!("at most {} for size={}", 2 * (pool.kernel[axis] - 1), pool.kernel[axis])));
        }
    }
    let count = |what: &str, length: usize, axis: usize, before: usize| {
        let (kernel, stride) = (pool.kernel[axis], pool.stride[axis]);
        let padded = length + padding.total()[axis];
        let whole = windows(what, padded, kernel, stride)?;
        let hangs_over = pool.ceil && !(padded - kernel).is_multiple_of(stride);
        // Such a window counts where it begins on the feature map or before it.
        Ok(whole + usize::from(hangs_over && whole * stride < length + before))
    };
    let h = count("rows", input.h, 0, padding.top)?;
    let w = count("columns", input.w, 1, padding.left)?;
    Ok(Shape::new(input.c, h, w))
}

fn sliced(slice: &Slice, input: Shape) -> Result<Shape> {
    let mut shape = input;
    let side = match slice.axis {
        Axis::Channels => &mut shape.c,
        Axis::Rows => &mut shape.h,
        Axis::Columns => &mut shape.w,
    };
    if slice.start >= slice.end || slice.end > *side {
        return Err(Error::new("slice is empty or goes beyond its input")
            .found(format!("{} to {}", slice.start, slice.end))
            .allowed(format!("a part of 0 to {side}")));
    }
    *side = (slice.end - slice.start).div_ceil(slice.step);
    Ok(shape)
}

fn transposed(transpose: &Transpose, input: Shape) -> Result<Shape> {
    let axes = [Axis::Channels, Axis::Rows, Axis::Columns];
    if let Some(missing) = axes.into_iter().find(|axis| !transpose.order.contains(axis)) {
        return Err(Error::new("transpose loses an axis")
            .found(format!("{:?}", transpose.order))
            .allowed(format!("an order with {missing:?}")));
    }
    let [c, h, w] = transpose.order.map(|axis| input.along(axis));
    Ok(Shape::new(c, h, w))
}

/// Counts the windows that fit into `length`.
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

/// Steps in pixels, at least 1, in which a shortcut adds a feature map of shape `from` to one of shape `to`: (of
/// the added one, of the sum).
///
/// Of a feature map twice as large every second pixel is added; one half as large is added to every second pixel.
/// Source: pjreddie's `shortcut_cpu`, whose quotients round down.
///
/// # Errors
/// Height and width disagree.
pub fn shortcut_steps(from: Shape, to: Shape) -> Result<(usize, usize)> {
    let stride = (from.h / to.h, from.w / to.w);
    let sample = (to.h / from.h, to.w / from.w);
    if stride.0 != stride.1 || sample.0 != sample.1 {
        return Err(Error::new("inputs of a sum differ in height and width, and not by one factor")
            .found(format!("{from} beside {to}"))
            .allowed("feature maps of one size, or one a whole number of times as large as the other")
            .help("check the strides and the layer numbers"));
    }
    Ok((stride.0.max(1), sample.0.max(1)))
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
            .help("this layer joins feature maps of one size: check the strides and the layer numbers"));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Coordinates, Resize, ResizeKind};

    fn says(op: &Op, input: Shape, what: &str) {
        let error = infer(op, &[input]).expect_err(what);
        assert!(error.to_string().contains(what), "{error}");
    }

    #[test]
    fn impossible_parameters_are_refused() {
        let input = Shape::new(4, 8, 8);
        let slice = |start, end, step| Op::Slice(Slice { axis: Axis::Rows, start, end, step });
        says(&slice(3, 3, 1), input, "slice is empty");
        says(&slice(0, 9, 1), input, "beyond its input");
        says(&slice(0, 8, 0), input, "zero");
        assert_eq!(infer(&slice(1, 8, 3), &[input]).unwrap(), Shape::new(4, 3, 8));
        let order = [Axis::Rows, Axis::Rows, Axis::Columns];
        says(&Op::Transpose(Transpose { order }), input, "loses an axis");
        says(&Op::Reshape(Shape::new(4, 8, 9)), input, "number of elements");
        says(&Op::Reshape(Shape::new(0, 8, 8)), input, "empty");
        let resize = |height| {
            let (kind, coordinates) = (ResizeKind::Nearest, Coordinates::Asymmetric);
            Op::Resize(Resize { height, width: 4, kind, coordinates })
        };
        says(&resize(0), input, "empty");
        says(&resize(MAX_SIDE + 1), input, "too large");
        let outside = Pool { padding: Padding { bottom: 2, ..Padding::NONE }, ..Pool::square(2, 2) };
        says(&Op::MaxPool(outside), input, "outside the input");
        says(&Op::Conv(Conv { kernel: [3, 0], ..Conv::square(4, 3) }), input, "zero");
        says(&Op::Deconv(Conv { groups: 3, ..Conv::square(3, 3) }), input, "does not divide");
    }

    #[test]
    fn sums_take_every_second_pixel_of_the_larger_map() {
        let steps = |h, w, th, tw| shortcut_steps(Shape::new(1, h, w), Shape::new(9, th, tw)).ok();
        assert_eq!(steps(8, 8, 8, 8), Some((1, 1)));
        assert_eq!(steps(16, 12, 8, 6), Some((2, 1)));
        assert_eq!(steps(4, 2, 12, 6), Some((1, 3)));
        // Quotients round down, as Darknet's do: the corner of the larger feature map.
        assert_eq!(steps(13, 13, 7, 7), Some((1, 1)));
        assert_eq!(steps(16, 8, 8, 8), None);
        assert_eq!(steps(8, 8, 16, 8), None);
    }

    #[test]
    fn four_paddings_and_two_sides() {
        let conv = Conv {
            kernel: [3, 5],
            stride: [2, 1],
            dilation: [1, 2],
            padding: Padding { top: 0, left: 1, bottom: 1, right: 2 },
            ..Conv::square(7, 1)
        };
        // Rows (8 + 1 − 3) / 2 + 1, columns 12 + 3 − 9 + 1.
        assert_eq!(infer(&Op::Conv(conv.clone()), &[Shape::new(2, 8, 12)]).unwrap(), Shape::new(7, 4, 7));
        assert_eq!(parameter_counts(&Op::Conv(conv), &[Shape::new(2, 8, 12)]).weights, 7 * 2 * 15);
    }
}
