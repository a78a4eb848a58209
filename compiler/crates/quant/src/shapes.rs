//! Shapes of an int8 network: every operator's output follows from its inputs as in the float network.
//!
//! Files of int8 networks come from anywhere, so every product is checked for overflow.

use secateur_base::{Error, Result};
use secateur_ir::{Reorg, Shape};
use secateur_runtime::artefact::format::WINDOW_LIMIT;

use super::net::{QConv, QOp, QPool};

/// Checks that `op` makes `output` of `inputs`, of which it has as many as it takes.
pub(super) fn check(op: &QOp, inputs: &[Shape], output: Shape) -> Result<()> {
    let first = inputs[0];
    let wanted = match op {
        QOp::Conv(conv) => convolution(conv, first, output.c)?,
        QOp::Connected(full) => Some(Shape::new(full.bias.len(), 1, 1)),
        QOp::MaxPool(pool) => pooling(pool, first)?,
        QOp::LocalAvgPool(average) => pooling(&average.pool, first)?,
        QOp::AvgPool(_) => Some(Shape::new(first.c, 1, 1)),
        QOp::Upsample { stride } => spread(first, *stride),
        QOp::Route(route) => {
            if route.groups == 0 || route.group_id >= route.groups {
                return Err(Error::new("group_id must be below groups"));
            }
            let fits = |shape: &Shape| {
                (shape.h, shape.w) == (first.h, first.w) && shape.c.is_multiple_of(route.groups)
            };
            let channels = inputs.iter().try_fold(0usize, |sum, shape| sum.checked_add(shape.c));
            let channels = channels.filter(|_| inputs.iter().all(fits));
            channels.map(|channels| Shape { c: channels / route.groups, ..first })
        }
        QOp::Shortcut(_) => {
            let same_plane = inputs.iter().all(|shape| (shape.h, shape.w) == (first.h, first.w));
            same_plane.then_some(first)
        }
        QOp::Reorg(reorg) => reorganised(reorg, first),
        QOp::Crop { top, left } => {
            let inside = |offset: usize, length: usize, whole: usize| {
                offset.checked_add(length).is_some_and(|end| end <= whole)
            };
            (inside(*top, output.h, first.h) && inside(*left, output.w, first.w))
                .then_some(Shape { c: first.c, ..output })
        }
        QOp::ScaleChannels { scale_wh, .. } => {
            let map = inputs[1];
            let factors = if *scale_wh { Shape { c: 1, ..map } } else { Shape::new(map.c, 1, 1) };
            (first == factors).then_some(map)
        }
        QOp::Sam(_) => (first == inputs[1]).then_some(first),
        QOp::Softmax(softmax) => {
            (softmax.groups > 0 && first.c.is_multiple_of(softmax.groups)).then_some(first)
        }
        QOp::Identity => Some(first),
        QOp::Yolo { head, .. } => {
            let entries =
                head.classes.checked_add(5).and_then(|entries| entries.checked_mul(head.mask.len()));
            let anchored = head.mask.iter().all(|&mask| mask < head.anchors.len());
            (entries == Some(first.c) && anchored).then_some(first)
        }
        QOp::Region { head, .. } => {
            let entries = head.classes.checked_add(head.coords).and_then(|entries| entries.checked_add(1));
            let channels = entries.and_then(|entries| entries.checked_mul(head.anchors.len()));
            (channels == Some(first.c)).then_some(first)
        }
        QOp::Detection { head, .. } => {
            let boxes = head.coords.checked_add(1).and_then(|entries| entries.checked_mul(head.num));
            let cell = boxes.and_then(|boxes| boxes.checked_add(head.classes));
            let cells = head.side.checked_mul(head.side);
            let values = cell.zip(cells).and_then(|(cell, cells)| cell.checked_mul(cells));
            (values == Some(first.len())).then_some(first)
        }
    };
    if wanted == Some(output) {
        return Ok(());
    }
    let list = |shapes: &[Shape]| shapes.iter().map(Shape::to_string).collect::<Vec<_>>().join(" and ");
    Err(Error::new("the output's shape does not follow from the inputs'")
        .found(format!("{} to {output}", list(inputs)))
        .allowed(wanted.map_or("other inputs or parameters".to_owned(), |wanted| wanted.to_string())))
}

fn convolution(conv: &QConv, input: Shape, outputs: usize) -> Result<Option<Shape>> {
    let sizes = [conv.groups, conv.size, conv.stride_x, conv.stride_y, conv.dilation];
    if sizes.contains(&0) || !input.c.is_multiple_of(conv.groups) || !outputs.is_multiple_of(conv.groups) {
        return Err(Error::new("sizes and groups must be positive and divide the channels"));
    }
    check_window(&[conv.size, conv.stride_x, conv.stride_y, conv.dilation, conv.pad])?;
    let window = conv.dilation * (conv.size - 1) + 1;
    let h = windows(input.h, 2 * conv.pad, window, conv.stride_y);
    let w = windows(input.w, 2 * conv.pad, window, conv.stride_x);
    Ok(h.zip(w).map(|(h, w)| Shape::new(outputs, h, w)))
}

/// Shape after a pooling window, whose padding is the sum of both sides.
fn pooling(pool: &QPool, input: Shape) -> Result<Option<Shape>> {
    if pool.depth.is_some() {
        return Err(Error::new("pooling over channels has no integer kernel"));
    }
    check_window(&[pool.size, pool.stride_x, pool.stride_y, pool.pad])?;
    if [pool.size, pool.stride_x, pool.stride_y].contains(&0) || pool.pad / 2 >= pool.size {
        let QPool { size, stride_x, stride_y, pad, .. } = pool;
        return Err(Error::new(
            "a pooling window must have a size, strides, and less padding than twice its size",
        )
        .found(format!("size {size}, strides {stride_x} and {stride_y}, padding {pad}")));
    }
    let h = windows(input.h, pool.pad, pool.size, pool.stride_y);
    let w = windows(input.w, pool.pad, pool.size, pool.stride_x);
    Ok(h.zip(w).map(|(h, w)| Shape { h, w, ..input }))
}

/// Positions of a window over `length` and `pad` elements; `None` where it does not fit once.
fn windows(length: usize, pad: usize, window: usize, stride: usize) -> Option<usize> {
    Some(length.checked_add(pad)?.checked_sub(window)? / stride + 1)
}

/// Rows and columns multiplied by `factor`.
fn spread(Shape { c, h, w }: Shape, factor: usize) -> Option<Shape> {
    (factor > 0).then_some(Shape { c, h: h.checked_mul(factor)?, w: w.checked_mul(factor)? })
}

fn reorganised(reorg: &Reorg, input: Shape) -> Option<Shape> {
    let stride = reorg.stride;
    let block = stride.checked_mul(stride)?;
    if block == 0 || (reorg.old && (reorg.reverse || !input.c.is_multiple_of(block))) {
        return None;
    }
    if reorg.reverse {
        return input
            .c
            .is_multiple_of(block)
            .then_some(Shape { c: input.c / block, ..spread(input, stride)? });
    }
    let divides = input.h.is_multiple_of(stride) && input.w.is_multiple_of(stride);
    divides.then_some(Shape { c: input.c.checked_mul(block)?, h: input.h / stride, w: input.w / stride })
}

/// Checks sizes, strides and paddings against the artefact's limit.
fn check_window(sizes: &[usize]) -> Result<()> {
    match sizes.iter().find(|&&size| size > WINDOW_LIMIT) {
        None => Ok(()),
        Some(size) => Err(Error::new("window is too large")
            .found(size.to_string())
            .allowed(format!("at most {WINDOW_LIMIT}"))),
    }
}
