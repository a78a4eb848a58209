//! Every layer without windows, to its definition in Caffe (src/caffe/layers).

use secateur_base::Result;

use super::import::{Importer, Many, axis};
use super::net::Layer;
use super::normalise;
use secateur_tensor::op::{Binary, Range, Reduce, ReduceKind, Unary};
use secateur_tensor::{DType, Op, Spec, Value};

/// Inputs and the layers that feed data: their shapes are the user's, else the file's.
pub(super) fn input(importer: &mut Importer<'_>, layer: &Layer<'_>) -> Result<Many> {
    let mut shapes = layer.input_shapes.clone();
    if shapes.is_empty() {
        let params =
            layer.params(if layer.kind == "DummyData" { "dummy_data_param" } else { "input_param" })?;
        if let Some(view) = params.view() {
            for shape in view.messages("shape")? {
                shapes.push(shape.integers("dim")?);
            }
        }
    }
    let mut tops = Many::new();
    for (at, top) in layer.tops.iter().enumerate() {
        let given = importer.options.input_shapes.get(top).cloned();
        let own = if shapes.len() == 1 { shapes.first() } else { shapes.get(at) };
        let own = own
            .and_then(|shape| shape.iter().map(|dim| usize::try_from(*dim).ok()).collect::<Option<Vec<_>>>());
        let shape = given.or(own).filter(|shape| shape.iter().all(|dim| *dim > 0)).ok_or_else(|| {
            layer
                .error(format!("the shape of the input {top} is not known"))
                .help("give it, as in --input-shape 1,3,224,224")
        })?;
        tops.push(
            importer
                .graph
                .input(top, Spec::new(DType::F32, shape))
                .map_err(|error| layer.error(error.what()))?,
        );
    }
    Ok(tops)
}

/// Any other layer.
pub(super) fn layer(importer: &mut Importer<'_>, layer: &Layer<'_>, bottoms: &[Value]) -> Result<Many> {
    let many = match layer.kind.as_str() {
        "Split" => {
            let bottom = importer.one(layer, bottoms)?;
            return Ok(vec![bottom; layer.tops.len()]);
        }
        "Slice" => return slice(importer, layer, bottoms),
        "BatchNorm" => normalise::batch_norm(importer, layer, bottoms)?,
        "Scale" => normalise::scale(importer, layer, bottoms)?,
        "Bias" => normalise::bias(importer, layer, bottoms)?,
        "LRN" => normalise::lrn(importer, layer, bottoms)?,
        "MVN" => normalise::mean_variance(importer, layer, bottoms)?,
        "InnerProduct" => inner_product(importer, layer, bottoms)?,
        "Eltwise" => eltwise(importer, layer, bottoms)?,
        "Concat" => concat(importer, layer, bottoms)?,
        "Crop" => crop(importer, layer, bottoms)?,
        _ => {
            let bottom = importer.one(layer, bottoms)?;
            match layer.kind.as_str() {
                "Reshape" => reshape(importer, layer, bottom)?,
                "Flatten" => flatten(importer, layer, bottom)?,
                "Permute" => permute(importer, layer, bottom)?,
                "Tile" => tile(importer, layer, bottom)?,
                "Softmax" => {
                    let shape = importer.shape(bottom);
                    let axis = axis(layer, layer.params("softmax_param")?.integer("axis", 1)?, shape.len())?;
                    importer.op(layer, Op::Softmax { axis, log: false }, &[bottom])?
                }
                "ArgMax" => arg_max(importer, layer, bottom)?,
                "Reduction" => reduction(importer, layer, bottom)?,
                "ShuffleChannel" => shuffle(importer, layer, bottom)?,
                _ => activation(importer, layer, bottom)?,
            }
        }
    };
    Ok(vec![many])
}

/// Elementwise layers of one bottom.
fn activation(importer: &mut Importer<'_>, layer: &Layer<'_>, bottom: Value) -> Result<Value> {
    let unary = match layer.kind.as_str() {
        "Dropout" => return Ok(bottom),
        "ReLU" => match layer.params("relu_param")?.float("negative_slope", 0.0)? {
            0.0 => Unary::Relu,
            slope => Unary::LeakyRelu(slope),
        },
        "ReLU6" => Unary::Clip { low: 0.0, high: 6.0 },
        "Clip" => {
            let params = layer.params("clip_param")?;
            let bound = |name| params.maybe_float(name)?.ok_or_else(|| params.mistake(name, "a number"));
            Unary::Clip { low: bound("min")?, high: bound("max")? }
        }
        "ELU" => Unary::Elu(layer.params("elu_param")?.float("alpha", 1.0)?),
        "Sigmoid" => Unary::Sigmoid,
        "TanH" => Unary::Tanh,
        "AbsVal" => Unary::Abs,
        "BNLL" => Unary::Softplus,
        "Threshold" => Unary::Above(layer.params("threshold_param")?.float("threshold", 0.0)?),
        "PReLU" => return prelu(importer, layer, bottom),
        "Power" => {
            let params = layer.params("power_param")?;
            let (scale, shift) = (params.float("scale", 1.0)?, params.float("shift", 0.0)?);
            let linear = affine(importer, layer, bottom, scale, shift)?;
            return match params.float("power", 1.0)? {
                1.0 => Ok(linear),
                exponent => importer.op(layer, power(exponent), &[linear]),
            };
        }
        "Exp" | "Log" => return exponential(importer, layer, bottom),
        "Swish" => {
            let scaled =
                affine(importer, layer, bottom, layer.params("swish_param")?.float("beta", 1.0)?, 0.0)?;
            let gate = importer.op(layer, Unary::Sigmoid, &[scaled])?;
            return importer.op(layer, Binary::Mul, &[bottom, gate]);
        }
        _ => {
            return Err(layer
                .error("the layer's type is not read")
                .found(layer.kind.clone())
                .help("cut the net before this layer, or say in an issue which network has it"));
        }
    };
    importer.op(layer, unary, &[bottom])
}

/// `x ^ exponent`.
pub(super) fn power(exponent: f32) -> Unary {
    Unary::Power { power: exponent, scale: 1.0, shift: 0.0 }
}

/// `scale · x + shift`, without what changes nothing.
pub(super) fn affine(
    importer: &mut Importer<'_>,
    layer: &Layer<'_>,
    bottom: Value,
    scale: f32,
    shift: f32,
) -> Result<Value> {
    let mut value = bottom;
    if scale != 1.0 {
        let scale = importer.scalar(layer, scale)?;
        value = importer.op(layer, Binary::Mul, &[value, scale])?;
    }
    if shift != 0.0 {
        let shift = importer.scalar(layer, shift)?;
        value = importer.op(layer, Binary::Add, &[value, shift])?;
    }
    Ok(value)
}

/// Exp `base^(scale·x + shift)` and Log `log_base(scale·x + shift)`; base −1 is e.
fn exponential(importer: &mut Importer<'_>, layer: &Layer<'_>, bottom: Value) -> Result<Value> {
    let is_exp = layer.kind == "Exp";
    let params = layer.params(if is_exp { "exp_param" } else { "log_param" })?;
    let base = params.float("base", -1.0)?;
    if base != -1.0 && base <= 0.0 {
        return Err(params.mistake("base", "-1 for e, or above 0"));
    }
    let log_base = if base == -1.0 { 1.0 } else { base.ln() };
    let linear = affine(importer, layer, bottom, params.float("scale", 1.0)?, params.float("shift", 0.0)?)?;
    if is_exp {
        let exponent = affine(importer, layer, linear, log_base, 0.0)?;
        return importer.op(layer, Unary::Exp, &[exponent]);
    }
    let log = importer.op(layer, Unary::Log, &[linear])?;
    affine(importer, layer, log, 1.0 / log_base, 0.0)
}

fn prelu(importer: &mut Importer<'_>, layer: &Layer<'_>, bottom: Value) -> Result<Value> {
    let shape = importer.shape(bottom);
    let slopes = match (layer.params("prelu_param")?.boolean("channel_shared", false)?, shape.get(1)) {
        (false, Some(channels)) => {
            let mut along = vec![1; shape.len() - 1];
            along[0] = *channels;
            importer.weights(layer, 0, &along)?
        }
        _ => importer.weights(layer, 0, &[])?,
    };
    importer.op(layer, Binary::PRelu, &[bottom, slopes])
}

/// Weights `[out][in]`, or `[in][out]` where transposed; what lies from `axis` on is flattened.
fn inner_product(importer: &mut Importer<'_>, layer: &Layer<'_>, bottoms: &[Value]) -> Result<Value> {
    let params = layer.params("inner_product_param")?;
    let bottom = importer.one(layer, bottoms)?;
    let shape = importer.shape(bottom);
    let from = axis(layer, params.integer("axis", 1)?, shape.len())?;
    let outputs =
        params.maybe_size("num_output", 1)?.ok_or_else(|| params.mistake("num_output", "at least 1"))?;
    let (rows, inputs) = (shape[..from].iter().product(), shape[from..].iter().product());
    let weights = match params.boolean("transpose", false)? {
        true => importer.weights(layer, 0, &[inputs, outputs])?,
        false => {
            let weights = importer.weights(layer, 0, &[outputs, inputs])?;
            importer.op(layer, Op::Transpose(vec![1, 0]), &[weights])?
        }
    };
    let flat = importer.op(layer, Op::Reshape(vec![rows, inputs]), &[bottom])?;
    let mut product = importer.op(layer, Op::MatMul, &[flat, weights])?;
    if params.boolean("bias_term", true)? {
        let bias = importer.weights(layer, 1, &[outputs])?;
        product = importer.op(layer, Binary::Add, &[product, bias])?;
    }
    let shape = [&shape[..from], &[outputs]].concat();
    importer.op(layer, Op::Reshape(shape), &[product])
}

fn eltwise(importer: &mut Importer<'_>, layer: &Layer<'_>, bottoms: &[Value]) -> Result<Value> {
    let params = layer.params("eltwise_param")?;
    let kinds = [("PROD", 0, Binary::Mul), ("SUM", 1, Binary::Add), ("MAX", 2, Binary::Max)];
    let kind = params.choice("operation", &kinds, Binary::Add)?;
    let factors = params.floats("coeff")?;
    if !factors.is_empty() && (kind != Binary::Add || factors.len() != bottoms.len()) {
        return Err(params.mistake("coeff", format!("{} factors of a SUM", bottoms.len())));
    }
    let mut sum = None;
    for (at, bottom) in bottoms.iter().enumerate() {
        if importer.shape(*bottom) != importer.shape(bottoms[0]) {
            return Err(layer.error("the bottoms have different shapes").found(format!(
                "{:?} and {:?}",
                importer.shape(bottoms[0]),
                importer.shape(*bottom)
            )));
        }
        let term = affine(importer, layer, *bottom, factors.get(at).copied().unwrap_or(1.0), 0.0)?;
        sum = Some(match sum {
            None => term,
            Some(sum) => importer.op(layer, kind, &[sum, term])?,
        });
    }
    sum.ok_or_else(|| layer.error("the layer has no bottoms"))
}

fn concat(importer: &mut Importer<'_>, layer: &Layer<'_>, bottoms: &[Value]) -> Result<Value> {
    let params = layer.params("concat_param")?;
    let first = bottoms.first().ok_or_else(|| layer.error("the layer has no bottoms"))?;
    let along = params.integer("axis", params.integer("concat_dim", 1)?)?;
    let axis = axis(layer, along, importer.shape(*first).len())?;
    importer.op(layer, Op::Concat { axis }, bottoms)
}

fn slice(importer: &mut Importer<'_>, layer: &Layer<'_>, bottoms: &[Value]) -> Result<Many> {
    let params = layer.params("slice_param")?;
    let bottom = importer.one(layer, bottoms)?;
    let shape = importer.shape(bottom);
    let along = params.integer("axis", params.integer("slice_dim", 1)?)?;
    let axis = axis(layer, along, shape.len())?;
    let count = layer.tops.len();
    let mut points = params.sizes("slice_point", 0)?;
    if points.is_empty() {
        if count == 0 || !shape[axis].is_multiple_of(count) {
            return Err(layer
                .error("the axis does not divide into equal slices")
                .found(format!("{} in {count}", shape[axis])));
        }
        points = (1..count).map(|at| at * (shape[axis] / count)).collect();
    }
    let ends: Vec<usize> = points.iter().copied().chain([shape[axis]]).collect();
    if ends.len() != count || ends[0] == 0 || ends.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(params.mistake(
            "slice_point",
            format!("{} rising values within {}", count.saturating_sub(1), shape[axis]),
        ));
    }
    let mut start = 0;
    let mut tops = Many::new();
    for end in ends {
        tops.push(cut(importer, layer, bottom, axis, start, end - start)?);
        start = end;
    }
    Ok(tops)
}

/// `count` elements of one axis.
fn cut(
    importer: &mut Importer<'_>,
    layer: &Layer<'_>,
    bottom: Value,
    axis: usize,
    start: usize,
    count: usize,
) -> Result<Value> {
    let shape = importer.shape(bottom);
    let mut ranges: Vec<Range> = shape.iter().map(|dim| Range { start: 0, step: 1, length: *dim }).collect();
    ranges[axis] = Range { start, step: 1, length: count };
    importer.op(layer, Op::Slice(ranges), &[bottom])
}

/// Every axis from `axis` on gets the second bottom's length.
fn crop(importer: &mut Importer<'_>, layer: &Layer<'_>, bottoms: &[Value]) -> Result<Value> {
    let params = layer.params("crop_param")?;
    let [bottom, like] = bottoms else {
        return Err(layer.error("a Crop has two bottoms").found(bottoms.len().to_string()));
    };
    let (shape, like) = (importer.shape(*bottom), importer.shape(*like));
    let from = axis(layer, params.integer("axis", 2)?, shape.len())?;
    let offsets = params.sizes("offset", 0)?;
    if offsets.len() > 1 && offsets.len() != shape.len() - from {
        return Err(params.mistake("offset", format!("none, one, or {} values", shape.len() - from)));
    }
    let mut value = *bottom;
    for at in from..shape.len() {
        let offset =
            if offsets.len() > 1 { offsets[at - from] } else { offsets.first().copied().unwrap_or(0) };
        let size = like.get(at).copied().unwrap_or(1);
        if offset + size > shape[at] {
            return Err(layer
                .error("the crop lies outside")
                .found(format!("{offset} + {size} of {}", shape[at])));
        }
        value = cut(importer, layer, value, at, offset, size)?;
    }
    Ok(value)
}

/// 0 copies a dimension, −1 infers one; only `num_axes` axes from `axis` on change.
fn reshape(importer: &mut Importer<'_>, layer: &Layer<'_>, bottom: Value) -> Result<Value> {
    let params = layer.params("reshape_param")?;
    let shape = importer.shape(bottom);
    let rank = shape.len() as i64;
    let from = params.integer("axis", 0)?;
    let from = usize::try_from(if from < 0 { from + rank + 1 } else { from })
        .ok()
        .filter(|from| *from <= shape.len());
    let from = from.ok_or_else(|| params.mistake("axis", format!("-{} to {rank}", rank + 1)))?;
    let end = match params.integer("num_axes", -1)? {
        -1 => Some(shape.len()),
        count => usize::try_from(count).ok().map(|count| from + count).filter(|end| *end <= shape.len()),
    };
    let end = end.ok_or_else(|| params.mistake("num_axes", "-1, or no more than the blob has"))?;
    let dims = params.inner("shape")?.integers("dim")?;
    let mut to: Vec<usize> = shape[..from].to_vec();
    let mut inferred = None;
    for (at, dim) in dims.iter().enumerate() {
        to.push(match dim {
            0 => {
                *shape.get(from + at).ok_or_else(|| layer.error("a dimension 0 copies none of the bottom"))?
            }
            -1 if inferred.is_none() => {
                inferred = Some(to.len());
                1
            }
            dim => usize::try_from(*dim)
                .map_err(|_| layer.error("a dimension is not valid").found(dim.to_string()))?,
        });
    }
    to.extend(&shape[end..]);
    if let Some(at) = inferred {
        let known: usize = to.iter().product();
        let all: usize = shape.iter().product();
        if known == 0 || !all.is_multiple_of(known) {
            return Err(layer.error("no dimension fits").found(format!("{shape:?} to {dims:?}")));
        }
        to[at] = all / known;
    }
    importer.op(layer, Op::Reshape(to), &[bottom])
}

fn flatten(importer: &mut Importer<'_>, layer: &Layer<'_>, bottom: Value) -> Result<Value> {
    let params = layer.params("flatten_param")?;
    let shape = importer.shape(bottom);
    let from = axis(layer, params.integer("axis", 1)?, shape.len())?;
    let end = axis(layer, params.integer("end_axis", -1)?, shape.len())?;
    if end < from {
        return Err(params.mistake("end_axis", "no axis before `axis`"));
    }
    let flat: usize = shape[from..=end].iter().product();
    let to = [&shape[..from], &[flat], &shape[end + 1..]].concat();
    importer.op(layer, Op::Reshape(to), &[bottom])
}

/// The axes that the order does not name follow in theirs.
fn permute(importer: &mut Importer<'_>, layer: &Layer<'_>, bottom: Value) -> Result<Value> {
    let params = layer.params("permute_param")?;
    let rank = importer.shape(bottom).len();
    let mut order = params.sizes("order", 0)?;
    let named = order.clone();
    order.extend((0..rank).filter(|axis| !named.contains(axis)));
    importer.op(layer, Op::Transpose(order), &[bottom])
}

fn tile(importer: &mut Importer<'_>, layer: &Layer<'_>, bottom: Value) -> Result<Value> {
    let params = layer.params("tile_param")?;
    let rank = importer.shape(bottom).len();
    let mut repeats = vec![1; rank];
    repeats[axis(layer, params.integer("axis", 1)?, rank)?] =
        params.maybe_size("tiles", 1)?.ok_or_else(|| params.mistake("tiles", "at least 1"))?;
    importer.op(layer, Op::Tile(repeats), &[bottom])
}

/// Indices of the greatest values; along an axis, or over everything behind the first.
fn arg_max(importer: &mut Importer<'_>, layer: &Layer<'_>, bottom: Value) -> Result<Value> {
    let params = layer.params("argmax_param")?;
    if params.integer("top_k", 1)? != 1 {
        return Err(params.mistake("top_k", "1"));
    }
    let gives_value = params.boolean("out_max_val", false)?;
    let shape = importer.shape(bottom);
    if let Some(along) = params.maybe_integer("axis")? {
        let axis = axis(layer, along, shape.len())?;
        return match gives_value {
            true => {
                importer.op(layer, Reduce { kind: ReduceKind::Max, axes: vec![axis], keep: true }, &[bottom])
            }
            false => index_of_greatest(importer, layer, bottom, axis),
        };
    }
    let images = shape.first().copied().unwrap_or(1);
    let flat = vec![images, shape.iter().skip(1).product()];
    let flat = importer.op(layer, Op::Reshape(flat), &[bottom])?;
    let index = index_of_greatest(importer, layer, flat, 1)?;
    let mut parts = vec![importer.op(layer, Op::Reshape(vec![images, 1, 1]), &[index])?];
    if gives_value {
        let value =
            importer.op(layer, Reduce { kind: ReduceKind::Max, axes: vec![1], keep: true }, &[flat])?;
        parts.push(importer.op(layer, Op::Reshape(vec![images, 1, 1]), &[value])?);
    }
    importer.op(layer, Op::Concat { axis: 1 }, &parts)
}

/// Caffe's indices are floats.
fn index_of_greatest(
    importer: &mut Importer<'_>,
    layer: &Layer<'_>,
    bottom: Value,
    axis: usize,
) -> Result<Value> {
    let index = importer.op(layer, Op::ArgMax { axis, last: false }, &[bottom])?;
    importer.op(layer, Op::Cast(DType::F32), &[index])
}

/// Over every axis from `axis` on.
fn reduction(importer: &mut Importer<'_>, layer: &Layer<'_>, bottom: Value) -> Result<Value> {
    let params = layer.params("reduction_param")?;
    let shape = importer.shape(bottom);
    let from = axis(layer, params.integer("axis", 0)?, shape.len())?;
    let kinds = [("SUM", 1, 1), ("ASUM", 2, 2), ("SUMSQ", 3, 3), ("MEAN", 4, 4)];
    let (kind, terms) = match params.choice("operation", &kinds, 1)? {
        2 => (ReduceKind::Sum, importer.op(layer, Unary::Abs, &[bottom])?),
        3 => (ReduceKind::Sum, importer.op(layer, Binary::Mul, &[bottom, bottom])?),
        4 => (ReduceKind::Mean, bottom),
        _ => (ReduceKind::Sum, bottom),
    };
    let sum =
        importer.op(layer, Reduce { kind, axes: (from..shape.len()).collect(), keep: true }, &[terms])?;
    let sum = affine(importer, layer, sum, params.float("coeff", 1.0)?, 0.0)?;
    importer.op(layer, Op::Reshape(shape[..from].to_vec()), &[sum])
}

/// ShuffleNet's layer: channels `[group][rest]` become `[rest][group]`.
fn shuffle(importer: &mut Importer<'_>, layer: &Layer<'_>, bottom: Value) -> Result<Value> {
    let params = layer.params("shuffle_channel_param")?;
    let [n, c, h, w] = importer.nchw(layer, bottom)?;
    let groups = params.size("group", 1, 1)?;
    if c % groups != 0 {
        return Err(params.mistake("group", format!("a divisor of {c} channels")));
    }
    let split = importer.op(layer, Op::Reshape(vec![n, groups, c / groups, h, w]), &[bottom])?;
    let turned = importer.op(layer, Op::Transpose(vec![0, 2, 1, 3, 4]), &[split])?;
    importer.op(layer, Op::Reshape(vec![n, c, h, w]), &[turned])
}
