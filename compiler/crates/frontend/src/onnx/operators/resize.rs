//! Resize and its predecessor Upsample.

use secateur_base::{Error, Result};
use secateur_tensor::op::{Coordinates, NearestRounding, Resize, ResizeKind};
use secateur_tensor::{Op, Value};

use crate::onnx::call::{Call, sizes};

pub(super) fn upsample(call: &mut Call) -> Result<Value> {
    let x = call.input(0)?;
    let shape = call.shape(x);
    let scales = match call.parameter(1)? {
        Some(tensor) => tensor.to_f32(),
        None => call.node.floats("scales")?.unwrap_or_default(),
    };
    let kind = match call.node.text("mode")?.as_deref().unwrap_or("nearest") {
        "nearest" => ResizeKind::Nearest(NearestRounding::Floor),
        "linear" | "bilinear" => ResizeKind::Linear,
        other => return Err(Call::refuse("mode", other, "nearest or linear")),
    };
    let output = scaled(&shape, &scales)?;
    finish(call, x, output, scales, kind, Coordinates::Asymmetric)
}

pub(super) fn resize(call: &mut Call) -> Result<Value> {
    let x = call.input(0)?;
    let shape = call.shape(x);
    // Version 10 has the scales where later ones have the region of interest.
    let (scales_at, sizes_at) = if call.opset < 11 { (1, usize::MAX) } else { (2, 3) };
    let cubic = call.node.float("cubic_coeff_a")?.unwrap_or(-0.75);
    let rounding = match call.node.text("nearest_mode")?.as_deref() {
        None if call.opset < 11 => NearestRounding::Floor,
        None | Some("round_prefer_floor") => NearestRounding::PreferFloor,
        Some("round_prefer_ceil") => NearestRounding::PreferCeil,
        Some("floor") => NearestRounding::Floor,
        Some("ceil") => NearestRounding::Ceil,
        Some(other) => {
            return Err(Call::refuse(
                "nearest_mode",
                other,
                "round_prefer_floor, round_prefer_ceil, floor, ceil",
            ));
        }
    };
    let kind = match call.node.text("mode")?.as_deref().unwrap_or("nearest") {
        "nearest" => ResizeKind::Nearest(rounding),
        "linear" => ResizeKind::Linear,
        "cubic" => ResizeKind::Cubic(cubic),
        other => return Err(Call::refuse("mode", other, "nearest, linear or cubic")),
    };
    let coordinates = match call.node.text("coordinate_transformation_mode")?.as_deref() {
        None if call.opset < 11 => Coordinates::Asymmetric,
        None | Some("half_pixel") => Coordinates::HalfPixel,
        Some("asymmetric") => Coordinates::Asymmetric,
        Some("pytorch_half_pixel") => Coordinates::PytorchHalfPixel,
        Some("half_pixel_symmetric") => Coordinates::HalfPixelSymmetric,
        Some("align_corners") => Coordinates::AlignCorners,
        Some("tf_half_pixel_for_nn") => Coordinates::HalfPixelNearest,
        Some(other) => {
            return Err(Call::refuse(
                "coordinate_transformation_mode",
                other,
                "half_pixel, half_pixel_symmetric, pytorch_half_pixel, asymmetric, align_corners",
            ));
        }
    };
    let axes = match call.node.ints("axes")? {
        Some(axes) => axes.iter().map(|&axis| Call::axis(axis, shape.len())).collect::<Result<Vec<_>>>()?,
        None => (0..shape.len()).collect(),
    };
    let given = match call.parameter(sizes_at)? {
        Some(tensor) => Some(sizes(tensor.as_int().ok_or_else(|| Error::new("sizes must be integers"))?)?),
        None => None,
    };
    let mut output = shape.clone();
    let mut scales = vec![1.0; shape.len()];
    let fits = |length: usize| {
        if length == axes.len() {
            return Ok(());
        }
        Err(Error::new("scales or sizes have other axes than the input")
            .found(format!("{length}"))
            .allowed(format!("{}", axes.len())))
    };
    if let Some(given) = given.filter(|given| !given.is_empty()) {
        fits(given.len())?;
        let policy = call.node.text("keep_aspect_ratio_policy")?.unwrap_or_default();
        let ratios = axes.iter().zip(&given).map(|(&axis, &size)| size as f32 / shape[axis].max(1) as f32);
        let common = match policy.as_str() {
            "not_larger" => Some(ratios.fold(f32::INFINITY, f32::min)),
            "not_smaller" => Some(ratios.fold(0.0, f32::max)),
            _ => None,
        };
        for (&axis, &size) in axes.iter().zip(&given) {
            output[axis] = match common {
                Some(scale) => (scale * shape[axis] as f32).round() as usize,
                None => size,
            };
            scales[axis] = common.unwrap_or(size as f32 / shape[axis].max(1) as f32);
        }
    } else if let Some(tensor) = call.parameter(scales_at)? {
        let given = tensor.to_f32();
        fits(given.len())?;
        for (&axis, &scale) in axes.iter().zip(&given) {
            output[axis] = scaled(&[shape[axis]], &[scale])?[0];
            scales[axis] = scale;
        }
    } else {
        return Err(Error::new("a resize needs scales or sizes"));
    }
    let (exclude_outside, antialias) = (call.flag("exclude_outside")?, call.flag("antialias")?);
    let resize = Resize { shape: output, scales, kind, coordinates, exclude_outside, antialias };
    call.add(Op::Resize(resize), &[x])
}

fn scaled(shape: &[usize], scales: &[f32]) -> Result<Vec<usize>> {
    if scales.len() != shape.len() {
        return Err(
            Error::new("scales have other axes than the input").found(format!("{scales:?} for {shape:?}"))
        );
    }
    Ok(shape.iter().zip(scales).map(|(&side, &scale)| (side as f32 * scale).floor() as usize).collect())
}

fn finish(
    call: &mut Call,
    x: Value,
    shape: Vec<usize>,
    scales: Vec<f32>,
    kind: ResizeKind,
    coordinates: Coordinates,
) -> Result<Value> {
    let resize = Resize { shape, scales, kind, coordinates, exclude_outside: false, antialias: false };
    call.add(Op::Resize(resize), &[x])
}
