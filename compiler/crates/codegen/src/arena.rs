//! Allocates buffers in one arena: best fit first, then a seeded local search over placing orders.
//!
//! The lower bound is the largest number of bytes alive at one step. No plan can be smaller, so the
//! search stops where it is met. Placing buffers at the lowest free offset, in order of the offsets
//! of an optimal plan, gives an optimal plan again: searching orders loses nothing.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Bytes that must stay untouched over a span of steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveBuffer {
    pub bytes: usize,
    /// Step that writes it first.
    pub first: usize,
    /// Last step that touches it, `>= first`.
    pub last: usize,
}

impl LiveBuffer {
    /// Returns true if both are live at the same step.
    pub fn overlaps(&self, other: &LiveBuffer) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// The location of every buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArenaPlan {
    /// Byte offset of each buffer, a multiple of the alignment.
    pub offsets: Vec<usize>,
    /// Bytes of the whole arena.
    pub bytes: usize,
    /// Largest sum of live (aligned) bytes at one step.
    pub lower_bound: usize,
}

/// Work of the search, in comparisons of two buffers: about a tenth of a second.
const SEARCH_WORK: usize = 40_000_000;
const SEARCH_ROUNDS: usize = 4_000;

/// Largest number of bytes alive at one step, each buffer rounded up to `align`.
pub fn lower_bound(buffers: &[LiveBuffer], align: usize) -> usize {
    let mut changes: Vec<(usize, bool, usize)> = buffers
        .iter()
        .flat_map(|b| {
            let bytes = b.bytes.next_multiple_of(align);
            [(b.first, true, bytes), (b.last + 1, false, bytes)]
        })
        .collect();
    // Releases sort before allocations of the same step.
    changes.sort_unstable();
    let (mut live, mut most) = (0, 0);
    for (_, allocated, bytes) in changes {
        live = if allocated { live + bytes } else { live - bytes };
        most = most.max(live);
    }
    most
}

/// Plans the arena. The same buffers and seed give the same plan on every machine.
pub fn plan(buffers: &[LiveBuffer], align: usize, seed: u64) -> ArenaPlan {
    let planner = ArenaPlanner::new(buffers, align);
    let bound = lower_bound(buffers, align);
    let mut best = planner.first_plan();
    if best.bytes > bound {
        planner.search(&mut best, bound, seed);
    }
    ArenaPlan { offsets: best.offsets, bytes: best.bytes, lower_bound: bound }
}

/// A good plan without the search: the best of a few classic orders.
pub fn greedy(buffers: &[LiveBuffer], align: usize) -> ArenaPlan {
    let plan = ArenaPlanner::new(buffers, align).first_plan();
    ArenaPlan { offsets: plan.offsets, bytes: plan.bytes, lower_bound: lower_bound(buffers, align) }
}

struct ArenaPlanner<'a> {
    buffers: &'a [LiveBuffer],
    sizes: Vec<usize>,
    /// For every buffer, those alive together with it.
    rivals: Vec<Vec<usize>>,
}

#[derive(Clone)]
struct ArenaCandidate {
    order: Vec<usize>,
    offsets: Vec<usize>,
    bytes: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum GapRule {
    /// The smallest gap that is large enough.
    Best,
    /// The gap nearest to offset 0.
    Lowest,
}

impl<'a> ArenaPlanner<'a> {
    fn new(buffers: &'a [LiveBuffer], align: usize) -> Self {
        let rivals = buffers
            .iter()
            .enumerate()
            .map(|(i, a)| (0..buffers.len()).filter(|&j| j != i && a.overlaps(&buffers[j])).collect())
            .collect();
        Self { buffers, sizes: buffers.iter().map(|b| b.bytes.next_multiple_of(align)).collect(), rivals }
    }

    /// The best of a few classic orders, both fits each.
    fn first_plan(&self) -> ArenaCandidate {
        let all: Vec<usize> = (0..self.buffers.len()).collect();
        let span = |i: usize| self.buffers[i].last - self.buffers[i].first + 1;
        let mut by_size = all.clone();
        by_size.sort_by_key(|&i| (std::cmp::Reverse(self.sizes[i]), i));
        let mut by_area = all.clone();
        by_area.sort_by_key(|&i| (std::cmp::Reverse(self.sizes[i] as u128 * span(i) as u128), i));
        let mut by_start = all;
        by_start.sort_by_key(|&i| (self.buffers[i].first, std::cmp::Reverse(self.sizes[i]), i));
        [by_size, by_area, by_start]
            .into_iter()
            .flat_map(|order| [self.place(order.clone(), GapRule::Best), self.place(order, GapRule::Lowest)])
            .min_by_key(|plan| plan.bytes)
            .expect("six plans")
    }

    /// Moves a buffer that ends at the top of the arena, or any two, and keeps what is no worse.
    fn search(&self, best: &mut ArenaCandidate, bound: usize, seed: u64) {
        let count = self.buffers.len();
        let conflicts: usize = self.rivals.iter().map(Vec::len).sum();
        let rounds = SEARCH_ROUNDS.min(SEARCH_WORK / (conflicts + count));
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut current = best.clone();
        for _ in 0..rounds {
            let mut order = current.order.clone();
            if random.random_bool(0.5) {
                let tops: Vec<usize> = (0..count)
                    .filter(|&at| current.offsets[order[at]] + self.sizes[order[at]] == current.bytes)
                    .collect();
                let from = tops[random.random_range(0..tops.len())];
                let moved = order.remove(from);
                order.insert(random.random_range(0..=from), moved);
            } else {
                order.swap(random.random_range(0..count), random.random_range(0..count));
            }
            let plan = self.place(order, GapRule::Lowest);
            if plan.bytes <= current.bytes {
                current = plan;
                if current.bytes < best.bytes {
                    *best = current.clone();
                    if best.bytes == bound {
                        return;
                    }
                }
            }
        }
    }

    fn place(&self, order: Vec<usize>, fit: GapRule) -> ArenaCandidate {
        const UNPLACED: usize = usize::MAX;
        let mut offsets = vec![UNPLACED; order.len()];
        let mut taken: Vec<(usize, usize)> = Vec::new();
        let mut bytes = 0;
        for &i in &order {
            let size = self.sizes[i];
            taken.clear();
            taken.extend(
                self.rivals[i]
                    .iter()
                    .filter(|&&j| offsets[j] != UNPLACED)
                    .map(|&j| (offsets[j], offsets[j] + self.sizes[j])),
            );
            taken.sort_unstable();
            let mut end = 0;
            let mut chosen: Option<(usize, usize)> = None; // (gap, offset)
            for &(from, to) in &taken {
                if from >= end && from - end >= size && chosen.is_none_or(|(gap, _)| from - end < gap) {
                    chosen = Some((from - end, end));
                    if fit == GapRule::Lowest {
                        break;
                    }
                }
                end = end.max(to);
            }
            offsets[i] = chosen.map_or(end, |(_, offset)| offset);
            bytes = bytes.max(offsets[i] + size);
        }
        ArenaCandidate { order, offsets, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn buffer() -> impl Strategy<Value = LiveBuffer> {
        (0usize..500, 0usize..30, 0usize..12).prop_map(|(bytes, first, span)| LiveBuffer {
            bytes,
            first,
            last: first + span,
        })
    }

    /// Smallest arena over all orders: the optimum, by the argument at the top of this file.
    fn optimum(buffers: &[LiveBuffer], align: usize) -> usize {
        fn permute(planner: &ArenaPlanner<'_>, order: &mut Vec<usize>, from: usize, best: &mut usize) {
            if from == order.len() {
                *best = (*best).min(planner.place(order.clone(), GapRule::Lowest).bytes);
                return;
            }
            for i in from..order.len() {
                order.swap(from, i);
                permute(planner, order, from + 1, best);
                order.swap(from, i);
            }
        }
        let mut best = usize::MAX;
        permute(&ArenaPlanner::new(buffers, align), &mut (0..buffers.len()).collect(), 0, &mut best);
        best
    }

    proptest! {
        #[test]
        fn live_buffers_never_overlap(buffers in prop::collection::vec(buffer(), 0..40), seed: u64) {
            let plan = plan(&buffers, 16, seed);
            prop_assert!(plan.bytes >= plan.lower_bound);
            for (i, a) in buffers.iter().enumerate() {
                prop_assert_eq!(plan.offsets[i] % 16, 0);
                prop_assert!(plan.offsets[i] + a.bytes <= plan.bytes);
                for (j, b) in buffers.iter().enumerate().skip(i + 1) {
                    let apart = plan.offsets[i] + a.bytes <= plan.offsets[j]
                        || plan.offsets[j] + b.bytes <= plan.offsets[i];
                    prop_assert!(apart || !a.overlaps(b) , "buffers {} and {}", i, j);
                }
            }
        }

        #[test]
        fn lower_bound_is_the_fullest_step(buffers in prop::collection::vec(buffer(), 1..20)) {
            let fullest = (0..45)
                .map(|t| buffers.iter().filter(move |b| (b.first..=b.last).contains(&t)))
                .map(|live| live.map(|b| b.bytes.next_multiple_of(16)).sum::<usize>())
                .max();
            prop_assert_eq!(fullest, Some(lower_bound(&buffers, 16)));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn small_cases_are_optimal(buffers in prop::collection::vec(buffer(), 1..7)) {
            prop_assert_eq!(plan(&buffers, 1, 7).bytes, optimum(&buffers, 1));
        }
    }

    #[test]
    fn search_meets_the_bound_where_greedy_does_not() {
        let spans = [(7, 7, 10), (5, 0, 4), (7, 7, 8), (1, 1, 5), (1, 2, 6), (9, 3, 6), (9, 0, 1), (8, 6, 9)];
        let buffers: Vec<LiveBuffer> =
            spans.iter().map(|&(bytes, first, last)| LiveBuffer { bytes, first, last }).collect();
        assert_eq!(ArenaPlanner::new(&buffers, 1).first_plan().bytes, 24);
        assert_eq!(plan(&buffers, 1, 1).bytes, 22);
        assert_eq!(lower_bound(&buffers, 1), 22);
    }

    #[test]
    fn no_buffers_need_no_bytes() {
        assert_eq!(plan(&[], 16, 1), ArenaPlan { offsets: vec![], bytes: 0, lower_bound: 0 });
    }
}
