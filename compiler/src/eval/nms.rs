//! Non-maximum suppression, class by class (`do_nms_sort`, `diounms_sort` in Darknet's box.c).

use super::Candidate;
use crate::graph::NmsKind;

/// Sets to 0 the score of every candidate that overlaps a better one of the same class, and
/// leaves the candidates in the order that Darknet's sorting leaves them in.
///
/// `Default` and `Corners` suppress where IoU > `thresh`; `Greedy` where IoU − (d²/c²)^0.6 >
/// `thresh`; `Diou` the same with the exponent `beta`.
pub fn suppress(candidates: &mut [Candidate], kind: NmsKind, beta: f32, thresh: f32) {
    let overlaps = |a: &Candidate, b: &Candidate| {
        let (a, b) = (&a.bbox, &b.bbox);
        match kind {
            NmsKind::Default | NmsKind::Corners => a.iou(b) > thresh,
            // The distance only lowers the overlap, so IoU decides most pairs without a power.
            NmsKind::Greedy => a.iou(b) > thresh && a.iou_less_distance(b, 0.6) > thresh,
            NmsKind::Diou => a.iou(b) > thresh && a.iou_less_distance(b, f64::from(beta)) > thresh,
        }
    };
    let classes =
        candidates.iter().filter_map(|c| c.scores.last()).map(|&(class, _)| class + 1).max().unwrap_or(0);
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); classes];
    for (index, candidate) in candidates.iter().enumerate() {
        for &(class, _) in &candidate.scores {
            members[class].push(index);
        }
    }
    for (class, group) in members.iter_mut().enumerate() {
        // Stable: equal candidates keep the order of the heads' loops.
        group.sort_by(|&a, &b| candidates[a].order_up_to(&candidates[b], class));
    }
    let last = classes.saturating_sub(1);
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by(|&a, &b| candidates[a].order_up_to(&candidates[b], last));

    let mut suppressed = Vec::new();
    for (class, group) in members.iter().enumerate() {
        let mut alive = vec![true; group.len()];
        for i in 0..group.len() {
            if !alive[i] {
                continue;
            }
            for j in i + 1..group.len() {
                if alive[j] && overlaps(&candidates[group[i]], &candidates[group[j]]) {
                    alive[j] = false;
                    suppressed.push((group[j], class));
                }
            }
        }
    }
    for (index, class) in suppressed {
        let scores = &mut candidates[index].scores;
        let slot =
            scores.binary_search_by_key(&class, |&(c, _)| c).expect("the class was found in this list");
        scores[slot].1 = 0.0;
    }
    permute(candidates, &order);
}

/// Puts `order[i]` at place `i`.
fn permute(candidates: &mut [Candidate], order: &[usize]) {
    let mut moved: Vec<Candidate> = order.iter().map(|&index| candidates[index].clone()).collect();
    candidates.swap_with_slice(&mut moved);
}
