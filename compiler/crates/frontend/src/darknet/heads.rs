//! The detection heads' sections.

use super::reader::Reader;
use secateur_base::Result;
use secateur_ir::{Detection, LARGEST_SIDE, NmsKind, Op, Region, Yolo};

/// Anchors, classes or coordinates of one head.
const COUNT: std::ops::RangeInclusive<usize> = 1..=LARGEST_SIDE;

pub(super) fn yolo(reader: &Reader) -> Result<Op> {
    let classes = reader.required("classes", "20", COUNT)?;
    let num = reader.required("num", "1", COUNT)?;
    let mask = match reader.ints("mask")? {
        None => (0..num).collect(),
        Some(numbers) => numbers
            .iter()
            .map(|&number| {
                usize::try_from(number).ok().filter(|&anchor| anchor < num).ok_or_else(|| {
                    reader
                        .error_at("mask", format!("mask names anchor {number} of {num}"))
                        .allowed(format!("0 to {}", num - 1))
                        .help("masks count anchors from 0; num= is the number of anchors")
                })
            })
            .collect::<Result<Vec<_>>>()?,
    };
    let nms_kind = match reader.word("nms_kind")?.unwrap_or("default") {
        "default" => NmsKind::Default,
        "greedynms" => NmsKind::Greedy,
        "diounms" => NmsKind::Diou,
        "cornersnms" => NmsKind::Corners,
        _ => {
            return Err(reader
                .error_at("nms_kind", "unknown nms_kind")
                .allowed("default, greedynms, diounms or cornersnms")
                .help("Darknet would go on with default: write that if it is meant"));
        }
    };
    Ok(Op::Yolo(Yolo {
        classes,
        mask,
        anchors: anchors(reader, num)?,
        scale_x_y: reader.float("scale_x_y", 1.0)?,
        new_coords: reader.flag("new_coords")?,
        nms_kind,
        beta_nms: reader.float("beta_nms", 0.6)?,
    }))
}

pub(super) fn region(reader: &Reader) -> Result<Op> {
    reader.refuse_any("tree")?;
    let num = reader.required("num", "1", COUNT)?;
    Ok(Op::Region(Region {
        classes: reader.required("classes", "20", COUNT)?,
        coords: reader.size("coords", 4, 4..=LARGEST_SIDE)?,
        anchors: anchors(reader, num)?,
        softmax: reader.flag("softmax")?,
        background: reader.flag("background")?,
    }))
}

pub(super) fn detection(reader: &Reader) -> Result<Op> {
    Ok(Op::Detection(Detection {
        classes: reader.required("classes", "1", COUNT)?,
        coords: reader.size("coords", 1, COUNT)?,
        side: reader.size("side", 7, COUNT)?,
        num: reader.size("num", 1, COUNT)?,
        sqrt: reader.flag("sqrt")?,
        softmax: reader.flag("softmax")?,
    }))
}

/// `num` pairs of width and height; Darknet ignores any behind them.
fn anchors(reader: &Reader, num: usize) -> Result<Vec<(f32, f32)>> {
    let numbers =
        reader.floats("anchors")?.ok_or_else(|| reader.missing("anchors", "0.5 for every anchor"))?;
    if numbers.len() % 2 != 0 || numbers.len() / 2 < num {
        return Err(reader
            .error_at("anchors", format!("{} numbers for num={num} anchors", numbers.len()))
            .allowed(format!("{} numbers: a width and a height for each anchor", 2 * num))
            .help("correct num= or anchors="));
    }
    let anchors: Vec<_> = numbers.chunks_exact(2).take(num).map(|pair| (pair[0], pair[1])).collect();
    if anchors.iter().any(|&(w, h)| w <= 0.0 || h <= 0.0) {
        return Err(reader.error_at("anchors", "anchors must be positive"));
    }
    Ok(anchors)
}
