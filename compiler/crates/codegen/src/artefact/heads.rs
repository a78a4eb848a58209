//! Heads: what output tensors mean, with the tables, anchors and suppression that decode them.

use secateur_runtime::artefact::format::{
    AnchorRecord, CURVE_KNOTS, HeadKind, HeadRecord, NONE, SuppressionKind, SuppressionRecord, TABLE_ENTRIES,
    head_flags,
};
use zerocopy::FromZeros;
use zerocopy::little_endian::{I32, U16, U32};

use super::writer::{RecordWriter, number};
use secateur_base::{Error, Result};
use secateur_eval as eval;
use secateur_ir::NmsKind;
use secateur_quant::net::{HeadTables, QOp};

/// Exponent of the distance term of `greedynms`, whatever the cfg says.
const GREEDY_BETA: f64 = 0.6;

/// All heads of the network and how its detections are suppressed.
pub(super) fn write(writer: &mut RecordWriter<'_>) -> Result<(Vec<HeadRecord>, SuppressionRecord)> {
    let net = writer.program.net;
    let mut heads = Vec::new();
    for layer in net.heads() {
        let record = head(writer, layer).map_err(|e| net.locate(layer, e))?;
        heads.extend(record);
    }
    let last = net.nodes.iter().rev().find_map(|node| match &node.op {
        QOp::Yolo { head, .. } => Some((head.nms_kind, f64::from(head.beta_nms))),
        _ => None,
    });
    Ok((heads, suppression(writer, last)?))
}

/// The record of a head; none where the last layer is a feature map, which the caller reads as it is.
fn head(writer: &mut RecordWriter<'_>, layer: usize) -> Result<Option<HeadRecord>> {
    let net = writer.program.net;
    let (input, grid) = (net.input.shape, net.nodes[layer].output.shape);
    let mut record = HeadRecord::new_zeroed();
    record.tensor = writer.value(layer + 1)?;
    record.layer = number("layer", layer)?;
    record.first_anchor = number("anchors", writer.anchors.len())?;
    let kind = match &net.nodes[layer].op {
        QOp::Yolo { head, tables } => {
            for &mask in &head.mask {
                let &(w, h) = head.anchors.get(mask).ok_or_else(|| Error::new("mask names no anchor"))?;
                writer.anchors.push(anchor(f64::from(w), f64::from(h))?);
            }
            record.classes = number("classes", head.classes)?;
            record.anchor_count = number("anchors", head.mask.len())?;
            record.channels_per_anchor = number("channels", head.classes.saturating_add(5))?;
            store_tables(writer, &mut record, tables)?;
            HeadKind::Yolo
        }
        QOp::Region { head, tables } => {
            let cell = (input.w as f64 / grid.w as f64, input.h as f64 / grid.h as f64);
            for &(w, h) in &head.anchors {
                writer.anchors.push(anchor(f64::from(w) * cell.0, f64::from(h) * cell.1)?);
            }
            if head.coords != 4 {
                return Err(Error::new("region with other than four coordinates has no integer decoder")
                    .found(format!("coords={}", head.coords))
                    .allowed("coords=4"));
            }
            record.classes = number("classes", head.classes)?;
            record.anchor_count = number("anchors", head.anchors.len())?;
            record.channels_per_anchor = number("channels", head.classes.saturating_add(5))?;
            let softmax = if head.softmax { head_flags::SOFTMAX } else { 0 };
            record.flags = U32::new(softmax);
            store_tables(writer, &mut record, tables)?;
            HeadKind::Region
        }
        QOp::Detection { head, tables } => {
            record.classes = number("classes", head.classes)?;
            record.anchor_count = number("boxes a cell", head.num)?;
            record.channels_per_anchor = number("side", head.side)?;
            let softmax = if head.softmax { head_flags::SOFTMAX } else { 0 };
            record.flags = U32::new(softmax);
            store_tables(writer, &mut record, tables)?;
            HeadKind::Detection
        }
        _ if grid.plane() != 1 => return Ok(None),
        _ => {
            let (logits, softmax) = writer.program.logits(layer);
            record.tensor = writer.value(logits)?;
            record.classes = number("classes", grid.c)?;
            let class: Vec<U16> = match softmax {
                // Q0.16 to Q0.15.
                Some(softmax) => softmax.exp.iter().map(|e| U16::new(e.div_ceil(2) as u16)).collect(),
                None => {
                    let scale = f64::from(net.nodes[layer].output.scale);
                    let share = |d: usize| 32768.0 * libm::exp(-(d as f64) * scale);
                    (0..TABLE_ENTRIES).map(|d| U16::new(share(d).round() as u16)).collect()
                }
            };
            record.class = writer.constant(&class)?;
            for table in [&mut record.xy, &mut record.wh, &mut record.objectness] {
                *table = U32::new(NONE);
            }
            HeadKind::Classes
        }
    };
    record.kind = U32::new(kind.code());
    Ok(Some(record))
}

fn store_tables(writer: &mut RecordWriter<'_>, record: &mut HeadRecord, tables: &HeadTables) -> Result<()> {
    record.xy = writer.constant(&tables.xy.iter().map(|&v| I32::new(v)).collect::<Vec<_>>())?;
    record.wh = writer.constant(&tables.wh.iter().map(|&v| U32::new(v)).collect::<Vec<_>>())?;
    let q15 = |table: &[u16]| table.iter().map(|&v| U16::new(v)).collect::<Vec<_>>();
    record.objectness = writer.constant(&q15(&tables.objectness))?;
    record.class = writer.constant(&q15(&tables.class))?;
    Ok(())
}

/// An anchor in pixels of the input, as Q16.16.
fn anchor(w: f64, h: f64) -> Result<AnchorRecord> {
    let fixed = |pixels: f64| {
        let fixed = (pixels * 65536.0).round();
        if (0.0..f64::from(u32::MAX)).contains(&fixed) {
            Ok(U32::new(fixed as u32))
        } else {
            Err(Error::new("anchor is out of range")
                .found(format!("{pixels} pixels"))
                .allowed("0 up to 65535 pixels"))
        }
    };
    Ok(AnchorRecord { w: fixed(w)?, h: fixed(h)? })
}

fn suppression(writer: &mut RecordWriter<'_>, last: Option<(NmsKind, f64)>) -> Result<SuppressionRecord> {
    let one = f64::from(1u32 << 30);
    let beta = match last {
        Some((NmsKind::Greedy, _)) => Some(GREEDY_BETA),
        Some((NmsKind::Diou, beta)) => Some(beta),
        _ => None,
    };
    let (kind, curve) = match beta {
        None => (SuppressionKind::Default, U32::new(NONE)),
        Some(beta) if beta > 0.0 && beta.is_finite() => {
            let last_knot = (CURVE_KNOTS - 1) as f64;
            let knots: Vec<U32> = (0..CURVE_KNOTS)
                .map(|k| U32::new((libm::pow(k as f64 / last_knot, 1.0 / beta) * one).round() as u32))
                .collect();
            (SuppressionKind::Distance, writer.constant(&knots)?)
        }
        Some(beta) => {
            return Err(Error::new("beta_nms must be positive").found(beta.to_string()));
        }
    };
    Ok(SuppressionRecord {
        kind: U32::new(kind.code()),
        threshold: U32::new((f64::from(eval::NMS_THRESH) * one).round() as u32),
        curve,
        reserved: U32::ZERO,
    })
}
