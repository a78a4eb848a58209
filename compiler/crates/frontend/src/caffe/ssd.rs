//! The layers of Liu's SSD branch: prior boxes, detections, and the normalisation over channels.
//!
//! Source: weiliu89/caffe, branch ssd, src/caffe/layers/{prior_box,detection_output,normalize}_layer.cpp.

use secateur_base::Result;

use super::import::{Importer, Many};
use super::net::{Layer, Params};
use secateur_tensor::Value;
use secateur_tensor::op::{Binary, BoxCode, DetectionOutput, Reduce, ReduceKind, Unary};

/// Prior boxes depend on shapes alone: they are a constant of two rows, boxes (left, top, right, bottom as shares of
/// the image) and variances.
pub(super) fn prior_box(importer: &mut Importer<'_>, layer: &Layer<'_>, bottoms: &[Value]) -> Result<Many> {
    let params = layer.params("prior_box_param")?;
    let [map, image] = bottoms else {
        return Err(layer.error("a PriorBox reads a map and the image").found(bottoms.len().to_string()));
    };
    let [_, _, map_h, map_w] = importer.nchw(layer, *map)?;
    let [_, _, image_h, image_w] = importer.nchw(layer, *image)?;
    let size = |name, h, w, default: [f32; 2]| -> Result<[f32; 2]> {
        let both = params.maybe_float(name)?;
        Ok([
            params.maybe_float(h)?.or(both).unwrap_or(default[0]),
            params.maybe_float(w)?.or(both).unwrap_or(default[1]),
        ])
    };
    let image = size("img_size", "img_h", "img_w", [image_h as f32, image_w as f32])?;
    let step = size("step", "step_h", "step_w", [0.0; 2])?;
    let step = if step.contains(&0.0) { [image[0] / map_h as f32, image[1] / map_w as f32] } else { step };
    let offset = params.float("offset", 0.5)?;
    let sizes = sizes(&params)?;
    let variances = variances(&params)?;
    let mut boxes = Vec::with_capacity(map_h * map_w * sizes.len() * 4);
    for y in 0..map_h {
        for x in 0..map_w {
            let (center_x, center_y) = ((x as f32 + offset) * step[1], (y as f32 + offset) * step[0]);
            for [w, h] in &sizes {
                boxes.extend([
                    (center_x - w / 2.0) / image[1],
                    (center_y - h / 2.0) / image[0],
                    (center_x + w / 2.0) / image[1],
                    (center_y + h / 2.0) / image[0],
                ]);
            }
        }
    }
    if params.boolean("clip", false)? {
        for edge in &mut boxes {
            *edge = edge.clamp(0.0, 1.0);
        }
    }
    let count = boxes.len();
    boxes.extend(variances.iter().cycle().take(count));
    Ok(vec![importer.constant(layer, &[1, 2, count], boxes)?])
}

/// Width and height of the boxes of one cell, in pixels, in Caffe's order.
fn sizes(params: &Params<'_>) -> Result<Vec<[f32; 2]>> {
    let (min_sizes, max_sizes) = (params.floats("min_size")?, params.floats("max_size")?);
    if min_sizes.is_empty() || min_sizes.iter().any(|size| *size <= 0.0) {
        return Err(params.mistake("min_size", "one or several numbers above 0"));
    }
    if !max_sizes.is_empty() && max_sizes.len() != min_sizes.len() {
        return Err(params.mistake("max_size", "none, or one for each min_size"));
    }
    if max_sizes.iter().zip(&min_sizes).any(|(max, min)| max <= min) {
        return Err(params.mistake("max_size", "more than its min_size"));
    }
    let flip = params.boolean("flip", true)?;
    let mut ratios = vec![1.0_f32];
    for ratio in params.floats("aspect_ratio")? {
        if ratio <= 0.0 {
            return Err(params.mistake("aspect_ratio", "above 0"));
        }
        if ratios.iter().all(|known| (ratio - known).abs() >= 1e-6) {
            ratios.push(ratio);
            if flip {
                ratios.push(1.0 / ratio);
            }
        }
    }
    let mut sizes = Vec::new();
    for (at, min) in min_sizes.iter().enumerate() {
        // Caffe keeps them in whole pixels.
        let min = min.trunc();
        sizes.push([min; 2]);
        if let Some(max) = max_sizes.get(at) {
            sizes.push([(min * max.trunc()).sqrt(); 2]);
        }
        let others = ratios.iter().filter(|ratio| (*ratio - 1.0).abs() >= 1e-6);
        sizes.extend(others.map(|ratio| [min * ratio.sqrt(), min / ratio.sqrt()]));
    }
    Ok(sizes)
}

/// Four variances: 0.1 where none is given, one for all four, or four.
fn variances(params: &Params<'_>) -> Result<[f32; 4]> {
    match params.floats("variance")?[..] {
        [] => Ok([0.1; 4]),
        [all] => Ok([all; 4]),
        [a, b, c, d] => Ok([a, b, c, d]),
        _ => Err(params.mistake("variance", "none, one or four numbers")),
    }
}

/// Boxes decoded, suppressed class by class, the best of all classes kept.
pub(super) fn detection_output(
    importer: &mut Importer<'_>,
    layer: &Layer<'_>,
    bottoms: &[Value],
) -> Result<Many> {
    let params = layer.params("detection_output_param")?;
    let suppression = params.inner("nms_param")?;
    let codes = [
        ("CORNER", 1, BoxCode::Corner),
        ("CENTER_SIZE", 2, BoxCode::CenterSize),
        ("CORNER_SIZE", 3, BoxCode::CornerSize),
    ];
    if bottoms.len() != 3 {
        return Err(layer
            .error("a DetectionOutput reads locations, confidences and prior boxes")
            .found(format!("{} bottoms", bottoms.len())));
    }
    let limit = |params: &Params<'_>, name| Ok(usize::try_from(params.integer(name, -1)?).ok());
    let op = DetectionOutput {
        classes: params.size("num_classes", 0, 1).and_then(|classes| match classes {
            0 => Err(params.mistake("num_classes", "at least 1")),
            _ => Ok(classes),
        })?,
        share_location: params.boolean("share_location", true)?,
        background: usize::try_from(params.integer("background_label_id", 0)?).ok(),
        code: params.choice("code_type", &codes, BoxCode::Corner)?,
        variance_in_target: params.boolean("variance_encoded_in_target", false)?,
        confidence: params.float("confidence_threshold", f32::MIN)?,
        overlap: suppression.float("nms_threshold", 0.3)?,
        eta: suppression.float("eta", 1.0)?,
        top_k: limit(&suppression, "top_k")?,
        keep_top_k: limit(&params, "keep_top_k")?,
    };
    Ok(vec![importer.op(layer, op, bottoms)?])
}

/// `y = scale · x / sqrt(Σ x² + eps)`, the sum over channels, or over everything of an image.
pub(super) fn normalize(importer: &mut Importer<'_>, layer: &Layer<'_>, bottoms: &[Value]) -> Result<Many> {
    let params = layer.params("norm_param")?;
    let bottom = importer.one(layer, bottoms)?;
    let [_, channels, ..] = importer.nchw(layer, bottom)?;
    let axes = if params.boolean("across_spatial", true)? { vec![1, 2, 3] } else { vec![1] };
    let squares = importer.op(layer, Binary::Mul, &[bottom, bottom])?;
    let sum = importer.op(layer, Reduce { kind: ReduceKind::Sum, axes, keep: true }, &[squares])?;
    let eps = importer.scalar(layer, params.float("eps", 1e-10)?)?;
    let sum = importer.op(layer, Binary::Add, &[sum, eps])?;
    let norm = importer.op(layer, Unary::Sqrt, &[sum])?;
    let normal = importer.op(layer, Binary::Div, &[bottom, norm])?;
    let scale = match params.boolean("channel_shared", true)? {
        true => {
            let scale = importer.blob(layer, 0, &[1])?;
            importer.constant(layer, &[1], scale)?
        }
        false => {
            let scale = importer.blob(layer, 0, &[channels])?;
            importer.constant(layer, &[channels, 1, 1], scale)?
        }
    };
    Ok(vec![importer.op(layer, Binary::Mul, &[normal, scale])?])
}
