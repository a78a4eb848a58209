//! Allocates buffers in one arena: best fit first, then a seeded local search over placing orders.
//!
//! The lower bound is the largest number of bytes alive at one step. No plan can be smaller, so the
//! search stops where it is met. Placing buffers at the lowest free offset, in order of the offsets
//! of an optimal plan, gives an optimal plan again: searching orders loses nothing.
//!
//! A buffer may have parts with spans of their own ([`LivePart`]): rows of a feature map that come and go one by one.

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

/// Bytes of a buffer that must stay untouched over a span of steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LivePart {
    /// Offset from the buffer's beginning.
    pub at: usize,
    pub bytes: usize,
    /// Step that writes it first.
    pub first: usize,
    /// Last step that touches it, `>= first`.
    pub last: usize,
}

impl LivePart {
    /// Returns true if both are live at the same step.
    pub fn overlaps(&self, other: &LivePart) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// The byte after its last.
    pub fn end(&self) -> usize {
        self.at + self.bytes
    }
}

/// The parts of a buffer; at least one.
pub type Parts = Vec<LivePart>;

fn whole(buffers: &[LiveBuffer]) -> Vec<Parts> {
    let part = |b: &LiveBuffer| vec![LivePart { at: 0, bytes: b.bytes, first: b.first, last: b.last }];
    buffers.iter().map(part).collect()
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
    lower_bound_of_parts(&whole(buffers), align)
}

/// [`lower_bound`] of buffers with parts. Those of several parts are not rounded: others may fill the gaps.
pub fn lower_bound_of_parts(buffers: &[Parts], align: usize) -> usize {
    let mut changes: Vec<(usize, bool, usize)> = buffers
        .iter()
        .flat_map(|parts| {
            let align = if parts.len() == 1 { align } else { 1 };
            parts.iter().map(move |part| (part, part.bytes.next_multiple_of(align)))
        })
        .flat_map(|(part, bytes)| [(part.first, true, bytes), (part.last + 1, false, bytes)])
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

/// Bytes alive at a step.
pub fn live_at(buffers: &[Parts], step: usize) -> usize {
    let live = |part: &&LivePart| part.first <= step && step <= part.last;
    buffers.iter().flatten().filter(live).map(|part| part.bytes).sum()
}

/// Plans the arena. The same buffers and seed give the same plan on every machine.
pub fn plan(buffers: &[LiveBuffer], align: usize, seed: u64) -> ArenaPlan {
    plan_parts(&whole(buffers), align, seed)
}

/// [`plan`] for buffers with parts: those that are never live together may lie in each other's gaps.
pub fn plan_parts(buffers: &[Parts], align: usize, seed: u64) -> ArenaPlan {
    let planner = ArenaPlanner::new(buffers, align);
    let bound = lower_bound_of_parts(buffers, align);
    let mut best = planner.first_plan();
    if best.bytes > bound {
        planner.search(&mut best, bound, seed);
    }
    ArenaPlan { offsets: best.offsets, bytes: best.bytes, lower_bound: bound }
}

/// Bytes of a good plan without the search: the best of a few classic orders.
pub fn greedy(buffers: &[Parts], align: usize) -> usize {
    ArenaPlanner::new(buffers, align).first_plan().bytes
}

/// A rival, and where its offset forbids another buffer's: strictly between the two ends, which count from it.
struct Rival {
    buffer: usize,
    from: isize,
    to: isize,
}

struct ArenaPlanner<'a> {
    buffers: &'a [Parts],
    sizes: Vec<usize>,
    /// For every buffer, those with parts alive together with its own.
    rivals: Vec<Vec<Rival>>,
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
    fn new(buffers: &'a [Parts], align: usize) -> Self {
        let end = |parts: &Parts| parts.iter().map(LivePart::end).max().unwrap_or(0);
        let sizes = buffers.iter().map(|parts| end(parts).next_multiple_of(align)).collect();
        let spans: Vec<_> = buffers.iter().map(span).collect();
        let meets = |i: usize, j: usize| spans[i].0 <= spans[j].1 && spans[j].0 <= spans[i].1;
        let rivals = (0..buffers.len())
            .map(|i| {
                let others = (0..buffers.len()).filter(|&j| j != i && meets(i, j));
                others.flat_map(|j| rivals(&buffers[i], j, &buffers[j], align)).collect()
            })
            .collect();
        Self { buffers, sizes, rivals }
    }

    /// The best of a few classic orders, both fits each.
    fn first_plan(&self) -> ArenaCandidate {
        let all: Vec<usize> = (0..self.buffers.len()).collect();
        let area = |i: usize| -> u128 {
            let of = |part: &LivePart| part.bytes as u128 * (part.last - part.first + 1) as u128;
            match &self.buffers[i][..] {
                [part] => self.sizes[i] as u128 * (part.last - part.first + 1) as u128,
                parts => parts.iter().map(of).sum(),
            }
        };
        let mut by_size = all.clone();
        by_size.sort_by_key(|&i| (std::cmp::Reverse(self.sizes[i]), i));
        let mut by_area = all.clone();
        by_area.sort_by_key(|&i| (std::cmp::Reverse(area(i)), i));
        let mut by_start = all;
        by_start.sort_by_key(|&i| (span(&self.buffers[i]).0, std::cmp::Reverse(self.sizes[i]), i));
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
        // Where the buffer's offset may not be: strictly in between.
        let mut taken: Vec<(isize, isize)> = Vec::new();
        let mut bytes = 0;
        for &i in &order {
            taken.clear();
            taken.extend(
                self.rivals[i]
                    .iter()
                    .map(|rival| (offsets[rival.buffer], rival))
                    .filter(|&(offset, _)| offset != UNPLACED)
                    .map(|(offset, rival)| (offset as isize + rival.from, offset as isize + rival.to)),
            );
            taken.sort_unstable();
            let mut end = 0;
            let mut chosen: Option<(isize, isize)> = None; // (slack, offset)
            for &(from, to) in &taken {
                if from >= end && chosen.is_none_or(|(slack, _)| from - end < slack) {
                    chosen = Some((from - end, end));
                    if fit == GapRule::Lowest {
                        break;
                    }
                }
                end = end.max(to);
            }
            offsets[i] = chosen.map_or(end, |(_, offset)| offset) as usize;
            bytes = bytes.max(offsets[i] + self.sizes[i]);
        }
        ArenaCandidate { order, offsets, bytes }
    }
}

/// First and last step of a buffer.
fn span(parts: &Parts) -> (usize, usize) {
    let first = parts.iter().map(|part| part.first).min().unwrap_or(0);
    (first, parts.iter().map(|part| part.last).max().unwrap_or(0))
}

/// Where buffer `j` forbids the offset of a buffer with parts `own`; ranges that overlap are joined.
fn rivals(own: &Parts, j: usize, others: &Parts, align: usize) -> Vec<Rival> {
    let align = align as isize;
    let forbidden = |a: &LivePart, b: &LivePart| {
        let (from, to) = (b.at as isize - a.end() as isize, b.end() as isize - a.at as isize);
        // Offsets are multiples of the alignment.
        (from.div_euclid(align) * align, -(-to).div_euclid(align) * align)
    };
    let mut ranges: Vec<(isize, isize)> = own
        .iter()
        .flat_map(|a| others.iter().filter(|b| a.overlaps(b)).map(move |b| forbidden(a, b)))
        .collect();
    ranges.sort_unstable();
    let mut joined: Vec<Rival> = Vec::new();
    for (from, to) in ranges {
        match joined.last_mut() {
            Some(last) if from < last.to => last.to = last.to.max(to),
            _ => joined.push(Rival { buffer: j, from, to }),
        }
    }
    joined
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
        permute(&ArenaPlanner::new(&whole(buffers), align), &mut (0..buffers.len()).collect(), 0, &mut best);
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
                    let together = a.first <= b.last && b.first <= a.last;
                    prop_assert!(apart || !together, "buffers {} and {}", i, j);
                }
            }
        }

        #[test]
        fn live_parts_never_overlap(
            buffers in prop::collection::vec(prop::collection::vec((0usize..300, buffer()), 1..5), 0..12),
            seed: u64,
        ) {
            let part = |&(at, b): &(usize, LiveBuffer)| {
                LivePart { at, bytes: b.bytes.max(1), first: b.first, last: b.last }
            };
            let buffers: Vec<Parts> = buffers.iter().map(|parts| parts.iter().map(part).collect()).collect();
            let plan = plan_parts(&buffers, 16, seed);
            for (i, parts) in buffers.iter().enumerate() {
                prop_assert_eq!(plan.offsets[i] % 16, 0);
                for a in parts {
                    let from = plan.offsets[i] + a.at;
                    prop_assert!(from + a.bytes <= plan.bytes);
                    for (j, others) in buffers.iter().enumerate().skip(i + 1) {
                        for b in others.iter().filter(|b| a.overlaps(b)) {
                            let other = plan.offsets[j] + b.at;
                            let apart = from + a.bytes <= other || other + b.bytes <= from;
                            prop_assert!(apart, "buffers {} and {}", i, j);
                        }
                    }
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
        assert_eq!(greedy(&whole(&buffers), 1), 24);
        assert_eq!(plan(&buffers, 1, 1).bytes, 22);
        assert_eq!(lower_bound(&buffers, 1), 22);
    }

    #[test]
    fn no_buffers_need_no_bytes() {
        assert_eq!(plan(&[], 16, 1), ArenaPlan { offsets: vec![], bytes: 0, lower_bound: 0 });
    }
}
