//! Losses of the sections that compare their input with the truth.

use super::options::Options;
use super::training::{FRACTION, NOT_NEGATIVE, within};
use secateur_base::Result;
use secateur_ir::training::{CostKind, CostLoss, DetectionLoss, LayerLoss, Overlap, RegionLoss, YoloLoss};
use secateur_ir::{MAX_SIDE, Op};

/// Reads the loss of a section whose operator is `op`, if it has one.
pub(super) fn loss(options: &Options, op: &Op) -> Result<Option<LayerLoss>> {
    Ok(Some(match op {
        Op::Yolo(yolo) => LayerLoss::Yolo(self::yolo(options, yolo.classes)?),
        Op::Region(region) => LayerLoss::Region(self::region(options, region.coords)?),
        Op::Detection(detection) => LayerLoss::Detection(self::detection(options, detection.coords)?),
        Op::Softmax(_) if !options.flag("noloss")? => LayerLoss::Softmax,
        Op::Cost => LayerLoss::Cost(cost(options)?),
        _ => return Ok(None),
    }))
}

fn yolo(options: &Options, classes: usize) -> Result<YoloLoss> {
    options.refuse_any("map")?;
    options.refuse_any("embedding_layer")?;
    let max_delta =
        options.has("max_delta").then(|| within(options, "max_delta", f32::MAX, NOT_NEGATIVE)).transpose()?;
    Ok(YoloLoss {
        ignore_thresh: options.float("ignore_thresh", 0.5)?,
        truth_thresh: options.float("truth_thresh", 1.0)?,
        iou_thresh: options.float("iou_thresh", 1.0)?,
        iou_thresh_kind: overlap(options, "iou_thresh_kind", "iou")?.unwrap_or(Overlap::Iou),
        overlap: overlap(options, "iou_loss", "mse")?,
        iou_normalizer: within(options, "iou_normalizer", 0.75, NOT_NEGATIVE)?,
        obj_normalizer: within(options, "obj_normalizer", 1.0, NOT_NEGATIVE)?,
        cls_normalizer: within(options, "cls_normalizer", 1.0, NOT_NEGATIVE)?,
        delta_normalizer: within(options, "delta_normalizer", 1.0, NOT_NEGATIVE)?,
        max_delta,
        max_boxes: max_boxes(options)?,
        class_weights: class_weights(options, classes, max_delta)?,
        label_smooth_eps: within(options, "label_smooth_eps", 0.0, FRACTION)?,
        focal: options.flag("focal_loss")?,
        objectness_smooth: options.flag("objectness_smooth")?,
    })
}

/// Reads a kind of overlap; `None` for `mse`.
fn overlap(options: &Options, key: &str, default: &str) -> Result<Option<Overlap>> {
    Ok(match options.word(key)?.unwrap_or(default) {
        "mse" => None,
        "iou" => Some(Overlap::Iou),
        "giou" => Some(Overlap::Giou),
        "diou" => Some(Overlap::Diou),
        "ciou" => Some(Overlap::Ciou),
        _ => {
            return Err(options
                .error_at(key, format!("unknown {key}"))
                .allowed("mse, iou, giou, diou or ciou")
                .help("Darknet would go on with iou: write that if it is meant"));
        }
    })
}

fn max_boxes(options: &Options) -> Result<usize> {
    options.size("max", 200, 1..=MAX_SIDE)
}

/// Weights every class by how many times more objects the commonest class has, up to `max_delta`.
fn class_weights(options: &Options, classes: usize, max_delta: Option<f32>) -> Result<Vec<f32>> {
    let Some(counts) = options.ints("counters_per_class")? else { return Ok(Vec::new()) };
    if counts.len() != classes {
        return Err(options
            .error_at("counters_per_class", format!("{} counters for {classes} classes", counts.len()))
            .allowed(format!("{classes} numbers: how many objects each class has")));
    }
    let counts: Vec<f32> = counts.into_iter().map(|count| count.max(1) as f32).collect();
    let largest = counts.iter().copied().fold(0.0, f32::max);
    Ok(counts.into_iter().map(|count| (largest / count).min(max_delta.unwrap_or(f32::MAX))).collect())
}

/// Reads the scales of the box's, the objectness' (with and without an object) and the class' part.
fn scales(options: &Options) -> Result<[f32; 4]> {
    let scale = |key| within(options, key, 1.0, NOT_NEGATIVE);
    Ok([scale("coord_scale")?, scale("object_scale")?, scale("noobject_scale")?, scale("class_scale")?])
}

/// Refuses a head whose boxes have other than the four coordinates that are trained.
fn four_coordinates(options: &Options, coords: usize) -> Result<()> {
    if coords == 4 {
        return Ok(());
    }
    Err(options.error_at("coords", "training needs four coordinates").allowed("coords=4"))
}

fn region(options: &Options, coords: usize) -> Result<RegionLoss> {
    four_coordinates(options, coords)?;
    options.refuse_any("map")?;
    options.refuse(&["background", "classfix"])?;
    if options.flag("focal_loss")? && !options.flag("softmax")? {
        return Err(options
            .error_at("focal_loss", "focal_loss needs probabilities of classes")
            .allowed("focal_loss=1 with softmax=1"));
    }
    let [coord_scale, object_scale, noobject_scale, class_scale] = scales(options)?;
    Ok(RegionLoss {
        thresh: options.float("thresh", 0.5)?,
        coord_scale,
        object_scale,
        noobject_scale,
        class_scale,
        bias_match: options.flag("bias_match")?,
        rescore: options.flag("rescore")?,
        focal: options.flag("focal_loss")?,
        max_boxes: max_boxes(options)?,
    })
}

fn detection(options: &Options, coords: usize) -> Result<DetectionLoss> {
    four_coordinates(options, coords)?;
    options.refuse(&["random"])?;
    let [coord_scale, object_scale, noobject_scale, class_scale] = scales(options)?;
    Ok(DetectionLoss {
        coord_scale,
        object_scale,
        noobject_scale,
        class_scale,
        rescore: options.flag("rescore")?,
        forced: options.flag("forced")?,
    })
}

fn cost(options: &Options) -> Result<CostLoss> {
    let kind = match options.word("type")?.unwrap_or("sse") {
        // What `masked` leaves out are targets that no image class has.
        "sse" | "masked" => CostKind::SquaredError,
        "smooth" => CostKind::Smooth,
        "l1" | "L1" => CostKind::Absolute,
        _ => {
            return Err(options
                .error_at("type", "unknown cost")
                .allowed("sse, masked, smooth or l1")
                .help("Darknet would go on with sse: write that if it is meant"));
        }
    };
    Ok(CostLoss { kind, scale: options.float("scale", 1.0)? })
}
