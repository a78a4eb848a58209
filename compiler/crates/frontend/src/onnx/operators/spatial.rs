//! Convolutions and pools.

use secateur_base::{Error, Result};
use secateur_tensor::op::{Conv, ConvTranspose, Pool, PoolKind, PoolRounding, Reduce, ReduceKind, Window};
use secateur_tensor::{Op, Value};

use crate::onnx::call::Call;

/// The window of a node on an input of `rank` axes: attributes, or defaults.
pub(super) fn window(call: &Call, input: &[usize], kernel: Vec<usize>) -> Result<Window> {
    let axes = kernel.len();
    if axes == 0 || input.len() != axes + 2 {
        return Err(Error::new("the kernel has other axes than the input")
            .found(format!("a kernel of {kernel:?} on {input:?}"))
            .allowed("batch, channels, and the kernel's axes"));
    }
    let ones = vec![1; axes];
    let strides = call.sizes("strides", &ones)?;
    let dilations = call.sizes("dilations", &ones)?;
    let pads = call.sizes("pads", &vec![0; 2 * axes])?;
    if strides.len() != axes || dilations.len() != axes || pads.len() != 2 * axes || strides.contains(&0) {
        return Err(Error::new("strides, dilations and pads do not fit the kernel")
            .found(format!("{strides:?}, {dilations:?}, {pads:?}"))
            .allowed(format!("{axes} positive strides, {axes} dilations, {} pads", 2 * axes)));
    }
    let mut window =
        Window { kernel, strides, dilations, before: pads[..axes].to_vec(), after: pads[axes..].to_vec() };
    match call.node.text("auto_pad")?.as_deref().unwrap_or("NOTSET") {
        "NOTSET" | "" => (),
        "VALID" => {
            window.before.fill(0);
            window.after.fill(0);
        }
        same @ ("SAME_UPPER" | "SAME_LOWER") => {
            for axis in 0..axes {
                let side = input[axis + 2];
                let outputs = side.div_ceil(window.strides[axis]);
                let covered = (outputs.max(1) - 1).saturating_mul(window.strides[axis]);
                let total = covered.saturating_add(window.reach(axis)).saturating_sub(side);
                split(&mut window, axis, total, same == "SAME_UPPER");
            }
        }
        other => return Err(Call::refuse("auto_pad", other, "NOTSET, VALID, SAME_UPPER, SAME_LOWER")),
    }
    Ok(window)
}

/// Half of `total` on each side; the odd one goes after with `upper`.
fn split(window: &mut Window, axis: usize, total: usize, upper: bool) {
    let (small, large) = (total / 2, total - total / 2);
    (window.before[axis], window.after[axis]) = if upper { (small, large) } else { (large, small) };
}

/// The kernel's sizes: those of the weights, and of the attribute where there is one.
pub(super) fn kernel(call: &Call, weights: Value) -> Result<Vec<usize>> {
    let sides = call.shape(weights).get(2..).unwrap_or_default().to_vec();
    let stated = call.sizes("kernel_shape", &sides)?;
    if stated != sides {
        return Err(
            Error::new("kernel_shape and the weights differ").found(format!("{stated:?} and {sides:?}"))
        );
    }
    Ok(sides)
}

pub(super) fn groups(call: &Call) -> Result<usize> {
    let groups = call.node.int("group")?.unwrap_or(1);
    usize::try_from(groups)
        .ok()
        .filter(|&n| n > 0)
        .ok_or_else(|| Call::refuse("group", &groups.to_string(), "1 or more"))
}

pub(super) fn conv(call: &mut Call) -> Result<Value> {
    let (x, weights) = (call.input(0)?, call.input(1)?);
    let window = window(call, &call.shape(x), kernel(call, weights)?)?;
    let groups = groups(call)?;
    let inputs: Vec<Value> = [Some(x), Some(weights), call.optional(2)].into_iter().flatten().collect();
    call.add(Op::Conv(Conv { window, groups }), &inputs)
}

pub(super) fn conv_transpose(call: &mut Call) -> Result<Value> {
    let (x, weights) = (call.input(0)?, call.input(1)?);
    let shape = call.shape(x);
    let kernel = kernel(call, weights)?;
    let axes = kernel.len();
    let mut output_padding = call.sizes("output_padding", &vec![0; axes])?;
    let stated = call.sizes("output_shape", &[])?;
    let auto_pad = call.node.text("auto_pad")?.unwrap_or_default();
    let same = auto_pad.starts_with("SAME");
    // With `output_shape` or SAME the padding follows from the output's size.
    let mut window = Window::new(kernel);
    if stated.is_empty() && !same {
        window = self::window(call, &shape, window.kernel)?;
    } else {
        window.strides = call.sizes("strides", &vec![1; axes])?;
        window.dilations = call.sizes("dilations", &vec![1; axes])?;
        let sizes = if stated.len() == axes + 2 { &stated[2..] } else { &stated[..] };
        if shape.len() != axes + 2
            || window.strides.len() != axes
            || window.dilations.len() != axes
            || output_padding.len() != axes
            || !(stated.is_empty() || sizes.len() == axes)
        {
            return Err(Error::new(
                "the transposed convolution's attributes have other axes than its kernel",
            ));
        }
        for axis in 0..axes {
            let side = shape[axis + 2];
            let wanted = match sizes.get(axis) {
                Some(&size) => size,
                None => side.saturating_mul(window.strides[axis]),
            };
            let whole = side
                .saturating_sub(1)
                .saturating_mul(window.strides[axis])
                .saturating_add(window.reach(axis))
                .saturating_add(output_padding[axis]);
            match whole.checked_sub(wanted) {
                Some(lost) => split(&mut window, axis, lost, auto_pad == "SAME_UPPER"),
                None => output_padding[axis] = output_padding[axis].saturating_add(wanted - whole),
            }
        }
    }
    let groups = groups(call)?;
    let inputs: Vec<Value> = [Some(x), Some(weights), call.optional(2)].into_iter().flatten().collect();
    call.add(Op::ConvTranspose(ConvTranspose { window, groups, output_padding }), &inputs)
}

fn rounding(call: &Call) -> Result<PoolRounding> {
    Ok(if call.flag("ceil_mode")? { PoolRounding::Ceil } else { PoolRounding::Floor })
}

pub(super) fn max_pool(call: &mut Call) -> Result<Value> {
    if call.node.outputs.get(1).is_some_and(|name| !name.is_empty()) {
        return Err(Error::new("the positions of maxima are not read").allowed("MaxPool with one output"));
    }
    pool(call, PoolKind::Max)
}

pub(super) fn average_pool(call: &mut Call) -> Result<Value> {
    let padded = call.flag("count_include_pad")?;
    pool(call, if padded { PoolKind::AveragePadded } else { PoolKind::AverageInside })
}

fn pool(call: &mut Call, kind: PoolKind) -> Result<Value> {
    let x = call.input(0)?;
    let kernel = call.sizes("kernel_shape", &[])?;
    let window = window(call, &call.shape(x), kernel)?;
    let rounding = rounding(call)?;
    call.add(Op::Pool(Pool { kind, window, rounding }), &[x])
}

/// Over all of space.
pub(super) fn global(call: &mut Call, kind: ReduceKind) -> Result<Value> {
    let x = call.input(0)?;
    let axes = (2..call.spec(x).rank()).collect();
    call.add(Op::Reduce(Reduce { kind, axes, keep: true }), &[x])
}
