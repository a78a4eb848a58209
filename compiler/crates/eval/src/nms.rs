//! Non-maximum suppression, class by class (`do_nms_sort`, `diounms_sort` in Darknet's box.c).

use super::Candidate;
use secateur_ir::NmsKind;

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

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::Place;
    use secateur_base::BBox;

    const CLASSES: usize = 4;

    /// Darknet's procedure step by step: stable sort of all boxes by a class, suppression within it,
    /// next class.
    fn by_the_book(boxes: &mut [(BBox, [f32; CLASSES])], kind: NmsKind, beta: f32, thresh: f32) {
        for class in 0..CLASSES {
            boxes.sort_by(|a, b| b.1[class].total_cmp(&a.1[class]));
            for i in 0..boxes.len() {
                if boxes[i].1[class] == 0.0 {
                    continue;
                }
                for j in i + 1..boxes.len() {
                    let (a, b) = (boxes[i].0, boxes[j].0);
                    let overlap = match kind {
                        NmsKind::Default | NmsKind::Corners => a.iou(&b),
                        NmsKind::Greedy => a.iou_less_distance(&b, 0.6),
                        NmsKind::Diou => a.iou_less_distance(&b, f64::from(beta)),
                    };
                    if overlap > thresh {
                        boxes[j].1[class] = 0.0;
                    }
                }
            }
        }
    }

    #[test]
    fn order_and_survivors_are_those_of_darknets_sorting() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        for round in 0..400 {
            let kind = [NmsKind::Default, NmsKind::Greedy, NmsKind::Diou, NmsKind::Corners][round % 4];
            let mut boxes: Vec<(BBox, [f32; CLASSES])> = Vec::new();
            for _ in 0..random.random_range(0..25) {
                let mut share = || random.random_range(0..8) as f32 / 8.0;
                let bbox = BBox { x: share(), y: share(), w: share() + 0.1, h: share() + 0.1 };
                // Few levels, so that ties are common; 0 stands for below the threshold.
                let mut probs = [0.0; CLASSES];
                probs.iter_mut().for_each(|prob| *prob = random.random_range(0..4) as f32 / 4.0);
                if probs != [0.0; CLASSES] {
                    boxes.push((bbox, probs));
                }
            }
            let candidate = |(cell, (bbox, probs)): (usize, &(BBox, [f32; CLASSES]))| {
                let scores = (0..CLASSES).map(|class| (class, probs[class])).filter(|s| s.1 > 0.0).collect();
                Candidate { bbox: *bbox, objectness: 1.0, place: Place { head: 0, anchor: 0, cell }, scores }
            };
            let mut candidates: Vec<Candidate> = boxes.iter().enumerate().map(candidate).collect();
            suppress(&mut candidates, kind, 0.4, 0.45);
            by_the_book(&mut boxes, kind, 0.4, 0.45);
            for (ours, (bbox, probs)) in candidates.iter().zip(&boxes) {
                assert_eq!(ours.bbox, *bbox, "order in round {round}");
                for (class, &prob) in probs.iter().enumerate() {
                    let our_prob = ours.scores.iter().find(|s| s.0 == class).map_or(0.0, |s| s.1);
                    assert_eq!(our_prob, prob, "class {class} in round {round}");
                }
            }
        }
    }
}
