//! Layers with windows: convolutions and poolings.

use secateur_base::Result;

use super::import::{Importer, Many};
use super::net::{Layer, Params};
use secateur_tensor::Value;
use secateur_tensor::op::{self, Conv, ConvTranspose, Pool, PoolKind, PoolRounding};

/// Height and width of a parameter that may be given once, twice, or as `name_h` and `name_w`.
fn pair<'a>(
    params: &Params<'a>,
    name: &'a str,
    h: &'a str,
    w: &'a str,
    least: usize,
) -> Result<Option<[usize; 2]>> {
    if params.has(h) || params.has(w) {
        return Ok(Some([params.size(h, 0, 0)?, params.size(w, 0, 0)?])
            .filter(|pair| pair.iter().all(|v| *v >= least)));
    }
    match params.sizes(name, least)?[..] {
        [] => Ok(None),
        [both] => Ok(Some([both; 2])),
        [height, width] => Ok(Some([height, width])),
        _ => Err(params.mistake(name, "one value, or one each for height and width")),
    }
}

/// Kernel, stride, padding and dilation of a convolution or pooling.
struct Window {
    kernel: [usize; 2],
    stride: [usize; 2],
    pad: [usize; 2],
    dilation: [usize; 2],
}

impl Window {
    fn read(layer: &Layer<'_>, params: &Params<'_>) -> Result<Self> {
        let kernel = pair(params, "kernel_size", "kernel_h", "kernel_w", 1)?
            .ok_or_else(|| params.mistake("kernel_size", "at least 1"))?;
        let padding = layer.padding.and_then(|pad| usize::try_from(pad).ok());
        let pad = match padding {
            Some(pad) => [pad; 2],
            None => pair(params, "pad", "pad_h", "pad_w", 0)?.unwrap_or([0; 2]),
        };
        Ok(Self {
            kernel,
            stride: pair(params, "stride", "stride_h", "stride_w", 1)?.unwrap_or([1; 2]),
            pad,
            dilation: match params.sizes("dilation", 1)?[..] {
                [] => [1; 2],
                [both] => [both; 2],
                [height, width, ..] => [height, width],
            },
        })
    }
}

/// Convolution and Deconvolution: weights `[out][in/group][h][w]`, of a deconvolution `[in][out/group][h][w]`.
pub(super) fn convolution(importer: &mut Importer<'_>, layer: &Layer<'_>, bottoms: &[Value]) -> Result<Many> {
    let params = layer.params("convolution_param")?;
    let is_transposed = layer.kind == "Deconvolution";
    let outputs = params.size("num_output", 0, 0)?;
    if outputs == 0 {
        return Err(params.mistake("num_output", "at least 1"));
    }
    if params.integer("axis", 1)? != 1 {
        return Err(params.mistake("axis", "1: channels first"));
    }
    let is_depthwise = layer.kind.to_lowercase().contains("depthwise");
    let groups = params.size("group", if is_depthwise { outputs } else { 1 }, 1)?;
    let window = Window::read(layer, &params)?;
    let has_bias = params.boolean("bias_term", true)?;
    let mut tops = Many::new();
    for bottom in bottoms {
        let [_, inputs, ..] = importer.nchw(layer, *bottom)?;
        if inputs % groups != 0 || outputs % groups != 0 {
            return Err(params.mistake("group", format!("a divisor of {inputs} and of {outputs} channels")));
        }
        let [height, width] = window.kernel;
        let shape = match is_transposed {
            true => vec![inputs, outputs / groups, height, width],
            false => vec![outputs, inputs / groups, height, width],
        };
        let mut operands = vec![*bottom, importer.weights(layer, 0, &shape)?];
        if has_bias {
            operands.push(importer.weights(layer, 1, &[outputs])?);
        }
        let [top, left] = window.pad;
        let plane = op::Window::plane(window.kernel, window.stride, window.dilation, [top, left, top, left]);
        tops.push(match is_transposed {
            true => {
                let conv = ConvTranspose { window: plane, groups, output_padding: vec![0; 2] };
                importer.op(layer, conv, &operands)?
            }
            false => importer.op(layer, Conv { window: plane, groups }, &operands)?,
        });
    }
    Ok(tops)
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Max,
    Average,
    Stochastic,
}

/// Pooling: sizes are rounded up, and an average divides by the window within the padded map, of which what hangs
/// over the far edge is no part.
///
/// Source: Caffe, pooling_layer.cpp.
pub(super) fn pooling(importer: &mut Importer<'_>, layer: &Layer<'_>, bottoms: &[Value]) -> Result<Many> {
    let params = layer.params("pooling_param")?;
    let kinds = [("MAX", 0, Kind::Max), ("AVE", 1, Kind::Average), ("STOCHASTIC", 2, Kind::Stochastic)];
    let kind = params.choice("pool", &kinds, Kind::Max)?;
    if kind == Kind::Stochastic {
        return Err(params.mistake("pool", "MAX or AVE"));
    }
    if layer.tops.len() > 1 {
        return Err(layer.error("the pooling also writes where its maxima are").allowed("one top"));
    }
    let bottom = importer.one(layer, bottoms)?;
    let [_, _, height, width] = importer.nchw(layer, bottom)?;
    let is_global = params.boolean("global_pooling", false)?;
    let window = match is_global {
        true => Window { kernel: [height, width], stride: [1; 2], pad: [0; 2], dilation: [1; 2] },
        false => Window::read(layer, &params)?,
    };
    let rounds_up = params.choice("round_mode", &[("CEIL", 0, true), ("FLOOR", 1, false)], true)?
        && params.boolean("ceil_mode", true)?;
    let mut pads = [0; 4];
    let mut is_behind = false;
    // Caffe's rule: padding of either axis drops such windows of both.
    let is_padded = window.pad != [0; 2];
    for (axis, size) in [height, width].into_iter().enumerate() {
        let (kernel, stride, pad) = (window.kernel[axis], window.stride[axis], window.pad[axis]);
        let Some(room) = (size + 2 * pad).checked_sub(kernel).filter(|_| pad < kernel) else {
            return Err(
                params.mistake("kernel_size", "more than the padding, and no more than the padded map")
            );
        };
        let mut count = if rounds_up { room.div_ceil(stride) } else { room / stride } + 1;
        if is_padded && (count - 1) * stride >= size + pad {
            count -= 1;
        }
        // Without padding Caffe keeps a last window that begins behind the map.
        is_behind |= (count - 1) * stride >= size + pad;
        // What the last window needs behind the map; nothing where it ends before.
        pads[axis] = pad;
        pads[2 + axis] = ((count - 1) * stride + kernel).saturating_sub(size + pad);
    }
    // An average counts the padding that the file states, which decides on its windows too; a maximum knows none.
    let (kind, rounding) = match kind {
        Kind::Average => {
            let [top, left] = window.pad;
            if is_behind {
                return Err(params.mistake("stride", "windows that begin on the map"));
            }
            pads = [top, left, top, left];
            (PoolKind::AveragePadded, if rounds_up { PoolRounding::Ceil } else { PoolRounding::Floor })
        }
        Kind::Max | Kind::Stochastic => (PoolKind::Max, PoolRounding::Floor),
    };
    let window = op::Window::plane(window.kernel, window.stride, [1; 2], pads);
    Ok(vec![importer.op(layer, Pool { kind, window, rounding }, &[bottom])?])
}
