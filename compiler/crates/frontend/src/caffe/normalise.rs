//! Normalisations, and the layers of one factor and summand a channel.

use secateur_base::Result;

use super::import::{Importer, axis};
use super::layers::{affine, power};
use super::net::{Layer, Params};
use secateur_tensor::op::{Binary, Lrn, Pool, PoolKind, PoolRounding, Reduce, ReduceKind, Unary, Window};
use secateur_tensor::{Op, Value};

/// Stored statistics of a BatchNorm, and what forks keep beside them.
struct Stored {
    mean: Vec<f32>,
    variance: Vec<f32>,
    scale: Option<Vec<f32>>,
    bias: Option<Vec<f32>>,
}

/// `(x − mean) / sqrt(variance + eps)` by channel.
///
/// BVLC has three blobs: mean and variance times a factor, and the factor (0: both are 0). NVIDIA has `mean, variance,
/// correction, scale, bias`, Xilinx `scale, bias, mean, variance, unused`: the blob of one element tells them apart.
pub(super) fn batch_norm(importer: &mut Importer<'_>, layer: &Layer<'_>, bottoms: &[Value]) -> Result<Value> {
    let params = layer.params("batch_norm_param")?;
    let bottom = importer.one(layer, bottoms)?;
    let eps = params.float("eps", 1e-5)?;
    let shape = importer.shape(bottom);
    let channels = shape.get(1).copied().unwrap_or(1);
    let uses_batch = !params.boolean("use_global_stats", true)?;
    if uses_batch && importer.options.batch_statistics {
        return batch_statistics(importer, layer, bottom, eps);
    }
    if uses_batch {
        importer.warnings.push(format!(
            "BatchNorm {} says use_global_stats: false; its stored statistics are used",
            layer.name
        ));
    }
    let stored = stored(importer, layer, channels)?;
    let factor: Vec<f32> = stored.variance.iter().map(|variance| 1.0 / (variance + eps).sqrt()).collect();
    let along = along(&shape, usize::from(shape.len() > 1), 1);
    let mean = importer.constant(layer, &along, stored.mean)?;
    let factor = importer.constant(layer, &along, factor)?;
    let centred = importer.op(layer, Binary::Sub, &[bottom, mean])?;
    let mut value = importer.op(layer, Binary::Mul, &[centred, factor])?;
    for (blob, binary) in [(stored.scale, Binary::Mul), (stored.bias, Binary::Add)] {
        if let Some(blob) = blob {
            let blob = importer.constant(layer, &along, blob)?;
            value = importer.op(layer, binary, &[value, blob])?;
        }
    }
    Ok(value)
}

fn stored(importer: &Importer<'_>, layer: &Layer<'_>, channels: usize) -> Result<Stored> {
    let sizes: Vec<usize> = importer.blobs(layer)?.iter().map(|blob| blob.data.len()).collect();
    let blob = |index: usize| importer.blob(layer, index, &[channels]);
    match sizes.len() {
        2 | 3 => {
            let factor = if sizes.len() == 3 { importer.blob(layer, 2, &[1])?[0] } else { 1.0 };
            let scale = if factor == 0.0 { 0.0 } else { 1.0 / factor };
            let scaled = |blob: Vec<f32>| blob.into_iter().map(|value| value * scale).collect();
            Ok(Stored { mean: scaled(blob(0)?), variance: scaled(blob(1)?), scale: None, bias: None })
        }
        5 if sizes[2] == 1 && (sizes[4] != 1 || channels == 1) => {
            Ok(Stored { mean: blob(0)?, variance: blob(1)?, scale: Some(blob(3)?), bias: Some(blob(4)?) })
        }
        4 | 5 => {
            Ok(Stored { mean: blob(2)?, variance: blob(3)?, scale: Some(blob(0)?), bias: Some(blob(1)?) })
        }
        count => Err(layer
            .error("the BatchNorm has another number of blobs")
            .found(count.to_string())
            .allowed("3 (BVLC), or 5 (NVIDIA, Xilinx)")),
    }
}

fn batch_statistics(
    importer: &mut Importer<'_>,
    layer: &Layer<'_>,
    bottom: Value,
    eps: f32,
) -> Result<Value> {
    let rank = importer.shape(bottom).len();
    let axes: Vec<usize> = (0..rank).filter(|axis| *axis != 1).collect();
    centred_and_scaled(importer, layer, bottom, axes, Some((eps, false)))
}

/// `x − mean`, and divided by `sqrt(variance + eps)`, or by `sqrt(variance) + eps` where eps is outside.
fn centred_and_scaled(
    importer: &mut Importer<'_>,
    layer: &Layer<'_>,
    bottom: Value,
    axes: Vec<usize>,
    scaling: Option<(f32, bool)>,
) -> Result<Value> {
    let mean =
        importer.op(layer, Reduce { kind: ReduceKind::Mean, axes: axes.clone(), keep: true }, &[bottom])?;
    let centred = importer.op(layer, Binary::Sub, &[bottom, mean])?;
    let Some((eps, is_outside)) = scaling else { return Ok(centred) };
    let squares = importer.op(layer, Binary::Mul, &[centred, centred])?;
    let variance = importer.op(layer, Reduce { kind: ReduceKind::Mean, axes, keep: true }, &[squares])?;
    let deviation = if is_outside {
        let root = importer.op(layer, Unary::Sqrt, &[variance])?;
        affine(importer, layer, root, 1.0, eps)?
    } else {
        let variance = affine(importer, layer, variance, 1.0, eps)?;
        importer.op(layer, Unary::Sqrt, &[variance])?
    };
    importer.op(layer, Binary::Div, &[centred, deviation])
}

/// MVN: by image, of each channel or of all.
pub(super) fn mean_variance(
    importer: &mut Importer<'_>,
    layer: &Layer<'_>,
    bottoms: &[Value],
) -> Result<Value> {
    let params = layer.params("mvn_param")?;
    let bottom = importer.one(layer, bottoms)?;
    let rank = importer.shape(bottom).len();
    let first = if params.boolean("across_channels", false)? { 1 } else { 2 };
    let eps = params.float("eps", 1e-9)?;
    let scaling = params.boolean("normalize_variance", true)?.then_some((eps, true));
    centred_and_scaled(importer, layer, bottom, (first..rank).collect(), scaling)
}

/// A shape that broadcasts `count` axes of `shape` from `from` on, the rest of them 1.
fn along(shape: &[usize], from: usize, count: usize) -> Vec<usize> {
    (from..shape.len()).map(|at| if at < from + count { shape[at] } else { 1 }).collect()
}

/// The second operand of Scale and Bias: the second bottom, or a blob of `num_axes` axes.
fn operand(
    importer: &mut Importer<'_>,
    layer: &Layer<'_>,
    params: &Params<'_>,
    bottoms: &[Value],
    blob: usize,
) -> Result<Value> {
    let shape = importer.shape(bottoms[0]);
    let from = axis(layer, params.integer("axis", 1)?, shape.len())?;
    if let Some(second) = bottoms.get(1) {
        let second_shape = importer.shape(*second);
        let rank = second_shape.len();
        if from + rank > shape.len() || shape[from..from + rank] != second_shape {
            return Err(layer
                .error("the second bottom does not fit the first from the axis on")
                .found(format!("{second_shape:?} in {shape:?} from axis {from}")));
        }
        let mut to = second_shape;
        to.resize(shape.len() - from, 1);
        return importer.op(layer, Op::Reshape(to), &[*second]);
    }
    let count = match params.integer("num_axes", 1)? {
        -1 => Some(shape.len() - from),
        count => usize::try_from(count).ok().filter(|count| from + count <= shape.len()),
    };
    let count = count.ok_or_else(|| params.mistake("num_axes", "-1, or no more than the blob has"))?;
    importer.weights(layer, blob, &along(&shape, from, count))
}

fn one_or_two(layer: &Layer<'_>, bottoms: &[Value]) -> Result<()> {
    match bottoms.len() {
        1 | 2 => Ok(()),
        count => Err(layer
            .error("the layer has another number of bottoms")
            .found(count.to_string())
            .allowed("1 or 2")),
    }
}

pub(super) fn scale(importer: &mut Importer<'_>, layer: &Layer<'_>, bottoms: &[Value]) -> Result<Value> {
    let params = layer.params("scale_param")?;
    one_or_two(layer, bottoms)?;
    let factor = operand(importer, layer, &params, bottoms, 0)?;
    let scaled = importer.op(layer, Binary::Mul, &[bottoms[0], factor])?;
    if !params.boolean("bias_term", false)? {
        return Ok(scaled);
    }
    // With two bottoms the factor is no blob, and the summand has the factor's shape.
    let shape = importer.shape(factor);
    let summand = importer.weights(layer, 2 - bottoms.len(), &shape)?;
    importer.op(layer, Binary::Add, &[scaled, summand])
}

pub(super) fn bias(importer: &mut Importer<'_>, layer: &Layer<'_>, bottoms: &[Value]) -> Result<Value> {
    let params = layer.params("bias_param")?;
    one_or_two(layer, bottoms)?;
    let summand = operand(importer, layer, &params, bottoms, 0)?;
    importer.op(layer, Binary::Add, &[bottoms[0], summand])
}

/// Across channels `x / (k + alpha/size · Σ x²)^beta`; within one `x · (1 + alpha · average x²)^−beta`, the average as
/// of Caffe's pooling.
pub(super) fn lrn(importer: &mut Importer<'_>, layer: &Layer<'_>, bottoms: &[Value]) -> Result<Value> {
    let params = layer.params("lrn_param")?;
    let bottom = importer.one(layer, bottoms)?;
    let size = params.size("local_size", 5, 1)?;
    if size % 2 == 0 {
        return Err(params.mistake("local_size", "an odd number"));
    }
    let (alpha, beta, k) =
        (params.float("alpha", 1.0)?, params.float("beta", 0.75)?, params.float("k", 1.0)?);
    let regions = [("ACROSS_CHANNELS", 0, false), ("WITHIN_CHANNEL", 1, true)];
    let half = (size - 1) / 2;
    importer.nchw(layer, bottom)?;
    if !params.choice("norm_region", &regions, false)? {
        let op = Lrn { size, alpha: alpha / size as f32, beta, bias: k, within: false };
        return importer.op(layer, op, &[bottom]);
    }
    let squares = importer.op(layer, Binary::Mul, &[bottom, bottom])?;
    let pool = Pool {
        kind: PoolKind::AveragePadded,
        window: Window::plane([size; 2], [1; 2], [1; 2], [half; 4]),
        rounding: PoolRounding::Floor,
    };
    let average = importer.op(layer, pool, &[squares])?;
    let base = affine(importer, layer, average, alpha, 1.0)?;
    let factor = importer.op(layer, power(-beta), &[base])?;
    importer.op(layer, Binary::Mul, &[bottom, factor])
}
