//! The detection heads' sections.

use super::options::Options;
use secateur_base::Result;
use secateur_ir::{Detection, MAX_SIDE, NmsKind, Op, Region, Yolo};

/// Anchors, classes or coordinates of one head.
const COUNT: std::ops::RangeInclusive<usize> = 1..=MAX_SIDE;

pub(super) fn yolo(options: &Options) -> Result<Op> {
    let classes = options.required("classes", "20", COUNT)?;
    let num = options.required("num", "1", COUNT)?;
    let mask = match options.ints("mask")? {
        None => (0..num).collect(),
        Some(numbers) => numbers
            .iter()
            .map(|&number| {
                usize::try_from(number).ok().filter(|&anchor| anchor < num).ok_or_else(|| {
                    options
                        .error_at("mask", format!("mask names anchor {number} of {num}"))
                        .allowed(format!("0 to {}", num - 1))
                        .help("masks count anchors from 0; num= is the number of anchors")
                })
            })
            .collect::<Result<Vec<_>>>()?,
    };
    let nms_kind = match options.word("nms_kind")?.unwrap_or("default") {
        "default" => NmsKind::Default,
        "greedynms" => NmsKind::Greedy,
        "diounms" => NmsKind::Diou,
        "cornersnms" => NmsKind::Corners,
        _ => {
            return Err(options
                .error_at("nms_kind", "unknown nms_kind")
                .allowed("default, greedynms, diounms or cornersnms")
                .help("Darknet would go on with default: write that if it is meant"));
        }
    };
    Ok(Op::Yolo(Yolo {
        classes,
        mask,
        anchors: anchors(options, num)?,
        scale_x_y: options.float("scale_x_y", 1.0)?,
        new_coords: options.flag("new_coords")?,
        nms_kind,
        beta_nms: options.float("beta_nms", 0.6)?,
    }))
}

pub(super) fn region(options: &Options) -> Result<Op> {
    options.refuse_any("tree")?;
    let num = options.required("num", "1", COUNT)?;
    Ok(Op::Region(Region {
        classes: options.required("classes", "20", COUNT)?,
        coords: options.size("coords", 4, 4..=MAX_SIDE)?,
        anchors: anchors(options, num)?,
        softmax: options.flag("softmax")?,
        background: options.flag("background")?,
    }))
}

pub(super) fn detection(options: &Options) -> Result<Op> {
    Ok(Op::Detection(Detection {
        classes: options.required("classes", "1", COUNT)?,
        coords: options.size("coords", 1, COUNT)?,
        side: options.size("side", 7, COUNT)?,
        num: options.size("num", 1, COUNT)?,
        sqrt: options.flag("sqrt")?,
        softmax: options.flag("softmax")?,
    }))
}

/// `num` pairs of width and height; Darknet ignores any after them.
fn anchors(options: &Options, num: usize) -> Result<Vec<(f32, f32)>> {
    let numbers =
        options.floats("anchors")?.ok_or_else(|| options.missing("anchors", "0.5 for every anchor"))?;
    if numbers.len() % 2 != 0 || numbers.len() / 2 < num {
        return Err(options
            .error_at("anchors", format!("{} numbers for num={num} anchors", numbers.len()))
            .allowed(format!("{} numbers: a width and a height for each anchor", 2 * num))
            .help("correct num= or anchors="));
    }
    let anchors: Vec<_> = numbers.chunks_exact(2).take(num).map(|pair| (pair[0], pair[1])).collect();
    if anchors.iter().any(|&(w, h)| w <= 0.0 || h <= 0.0) {
        return Err(options.error_at("anchors", "anchors must be positive"));
    }
    Ok(anchors)
}
