//! Non-maximum suppression in integers.

use zerocopy::little_endian::U32;

use super::collect::{rank, sort};
use super::{Detection, ONE, bounded};
use crate::artefact::Suppression;
use crate::artefact::format::CURVE_KNOTS;

/// Removes, class by class, each detection that overlaps a better one by more than `threshold`
/// (Q0.30). The survivors stand first, best score first; returns their number.
///
/// Plain IoU, or IoU − (d² / c²)^β (`greedynms` with β 0.6, `diounms`), as `suppression` says. As in
/// Darknet, d and c are measured in units of the image: `frame` is its `[width, height]` in input
/// pixels (the network's input, or what a letterboxed image covers of it).
///
/// Source: Darknet's `do_nms_sort` and `diounms_sort`; Zheng et al. 2020.
pub fn suppress(
    detections: &mut [Detection],
    suppression: &Suppression<'_>,
    threshold: u32,
    frame: [u32; 2],
) -> usize {
    sort(detections, |a, b| a.class.cmp(&b.class).then(rank(a, b)));
    let mut kept = 0;
    let mut class_start = 0;
    // Survivors move to the front; those of the class at hand are `class_start..kept`.
    for at in 0..detections.len() {
        let Some(&candidate) = detections.get(at) else { break };
        let better = detections.get(class_start..kept).unwrap_or(&[]);
        if better.first().is_some_and(|first| first.class != candidate.class) {
            class_start = kept;
        }
        let better = detections.get(class_start..kept).unwrap_or(&[]);
        if better.iter().any(|better| hides(better, &candidate, suppression, threshold, frame)) {
            continue;
        }
        if let Some(slot) = detections.get_mut(kept) {
            *slot = candidate;
        }
        kept += 1;
    }
    if let Some(survivors) = detections.get_mut(..kept) {
        sort(survivors, rank);
    }
    kept
}

fn hides(
    a: &Detection,
    b: &Detection,
    suppression: &Suppression<'_>,
    threshold: u32,
    frame: [u32; 2],
) -> bool {
    let (intersection, union) = areas(a, b);
    let beyond = u128::from(intersection) << 30 > u128::from(threshold) * u128::from(union);
    // Most pairs end here, before the products of 128 bits.
    if !beyond {
        return false;
    }
    match suppression.curve {
        None => true,
        Some(curve) => {
            let iou = ratio(intersection, union);
            let (distance, diagonal) = squares(a, b, frame);
            let limit = interpolate(curve, iou.saturating_sub(threshold));
            let near = distance << 30 <= u128::from(limit) * diagonal;
            diagonal == 0 || near
        }
    }
}

/// Left and right end of an extent, doubled so that halving loses nothing.
fn ends(centre: i32, size: i32) -> (i64, i64) {
    let (centre, size) = (bounded(centre.into()), bounded(size.into()));
    (2 * i64::from(centre) - i64::from(size), 2 * i64::from(centre) + i64::from(size))
}

/// Intersection and union, in quarter units of Q32.32; below 2^63 by the limit of coordinates.
fn areas(a: &Detection, b: &Detection) -> (u64, u64) {
    let shared = |(a0, a1): (i64, i64), (b0, b1): (i64, i64)| (a1.min(b1) - a0.max(b0)).max(0) as u64;
    let length = |size: i32| bounded(size.into()).max(0) as u64;
    let area = |d: &Detection| 4 * length(d.w) * length(d.h);
    let intersection = shared(ends(a.x, a.w), ends(b.x, b.w)) * shared(ends(a.y, a.h), ends(b.y, b.h));
    (intersection, (area(a) + area(b)).saturating_sub(intersection))
}

/// `part / whole`, Q0.30, rounded down; 0 where there is no whole.
fn ratio(part: u64, whole: u64) -> u32 {
    let shift = 31u32.saturating_sub(whole.leading_zeros());
    ((part >> shift) << 30).checked_div(whole >> shift).unwrap_or(0) as u32
}

/// Squared distance of the centres and squared diagonal of the enclosing box, in one unit, each
/// below 2^97.
fn squares(a: &Detection, b: &Detection, [frame_w, frame_h]: [u32; 2]) -> (u128, u128) {
    let reach = |(a0, a1): (i64, i64), (b0, b1): (i64, i64)| a1.max(b1).abs_diff(a0.min(b0));
    let apart = |a: i32, b: i32| 2 * u64::from(a.abs_diff(b));
    // Dividing x by the width and y by the height = multiplying each by the other, but for a factor.
    let units = |x: u64, y: u64| [u128::from(x) * u128::from(frame_h), u128::from(y) * u128::from(frame_w)];
    let distance = units(apart(a.x, b.x), apart(a.y, b.y));
    let diagonal = units(reach(ends(a.x, a.w), ends(b.x, b.w)), reach(ends(a.y, a.h), ends(b.y, b.h)));
    let bits = distance.iter().chain(&diagonal).fold(0, |all, n| all | n);
    let shift = (u128::BITS - bits.leading_zeros()).saturating_sub(48);
    let sum = |[x, y]: [u128; 2]| (x >> shift) * (x >> shift) + (y >> shift) * (y >> shift);
    (sum(distance), sum(diagonal))
}

/// The curve at `t` (Q0.30), linear between its knots; at most 1.
fn interpolate(curve: &[U32; CURVE_KNOTS], t: u32) -> u32 {
    let (knot, rest) = ((t >> 22) as usize, u64::from(t & ((1 << 22) - 1)));
    let at = |knot: usize| u64::from(curve.get(knot).or(curve.last()).map_or(0, |value| value.get()));
    let (low, high) = (at(knot), at(knot + 1));
    let value = low + ((high.saturating_sub(low) * rest) >> 22);
    value.min(u64::from(ONE)) as u32
}
