//! The best detections that fit a buffer, and their order.

use core::cmp::Ordering;

use super::{Detection, Found};

/// Higher score first, then lower box number, then lower class.
pub(super) fn rank(a: &Detection, b: &Detection) -> Ordering {
    b.score.cmp(&a.score).then(a.index.cmp(&b.index)).then(a.class.cmp(&b.class))
}

/// Fills a buffer; once full it becomes a heap with the worst entry on top.
#[derive(Debug)]
pub(super) struct Collector<'a> {
    out: &'a mut [Detection],
    len: usize,
    dropped: usize,
}

impl<'a> Collector<'a> {
    pub(super) fn new(out: &'a mut [Detection]) -> Self {
        Self { out, len: 0, dropped: 0 }
    }

    pub(super) const fn found(&self) -> Found {
        Found { kept: self.len, dropped: self.dropped }
    }

    pub(super) fn push(&mut self, detection: Detection) {
        if let Some(free) = self.out.get_mut(self.len) {
            *free = detection;
            self.len += 1;
            return;
        }
        if self.dropped == 0 {
            heapify(self.out, rank);
        }
        self.dropped = self.dropped.saturating_add(1);
        if let Some(worst) = self.out.first_mut()
            && rank(&detection, worst) == Ordering::Less
        {
            *worst = detection;
            sift_down(self.out, 0, rank);
        }
    }
}

/// Sorts ascending by `order`. A heap sort: the sorts of `core` can panic on a broken order.
pub(super) fn sort(items: &mut [Detection], order: impl Fn(&Detection, &Detection) -> Ordering + Copy) {
    heapify(items, order);
    for end in (1..items.len()).rev() {
        items.get_mut(..=end).map(swap_ends);
        if let Some(heap) = items.get_mut(..end) {
            sift_down(heap, 0, order);
        }
    }
}

fn heapify(items: &mut [Detection], order: impl Fn(&Detection, &Detection) -> Ordering + Copy) {
    for root in (0..items.len() / 2).rev() {
        sift_down(items, root, order);
    }
}

/// Restores the heap (largest on top) below `root`.
fn sift_down(items: &mut [Detection], mut root: usize, order: impl Fn(&Detection, &Detection) -> Ordering) {
    while let Some(&left) = items.get(2 * root + 1) {
        let (mut child, mut largest) = (2 * root + 1, left);
        if let Some(&right) = items.get(child + 1)
            && order(&right, &left) == Ordering::Greater
        {
            (child, largest) = (child + 1, right);
        }
        let Some(&top) = items.get(root) else { return };
        if order(&largest, &top) != Ordering::Greater {
            return;
        }
        if let Some(to) = items.get_mut(root) {
            *to = largest;
        }
        if let Some(to) = items.get_mut(child) {
            *to = top;
        }
        root = child;
    }
}

fn swap_ends(items: &mut [Detection]) {
    if let [first, .., last] = items {
        core::mem::swap(first, last);
    }
}
