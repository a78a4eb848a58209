//! When each row of a storage is alive, from what tasks write, read and move.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::arena::{LivePart, Parts};

/// When the rows of a storage hold what will still be read.
#[derive(Debug, Clone, Default)]
pub(super) struct RowLives {
    /// Row of the feature map at the storage's first.
    base: usize,
    /// By row of the feature map: first and last tick since the last move.
    open: BTreeMap<usize, (usize, usize)>,
    /// By row of the storage: spans of ticks.
    closed: BTreeMap<usize, Vec<(usize, usize)>>,
}

impl RowLives {
    /// `rows` of the feature map are written or read at a tick.
    pub(super) fn touch(&mut self, rows: Range<usize>, tick: usize) {
        for row in rows {
            let (first, last) = self.open.entry(row).or_insert((tick, tick));
            (*first, *last) = ((*first).min(tick), (*last).max(tick));
        }
    }

    /// `rows` move `by` rows towards the beginning, and the others are given up.
    pub(super) fn advance(&mut self, rows: Range<usize>, by: usize, tick: usize) {
        self.touch(rows.clone(), tick);
        for (row, span) in std::mem::take(&mut self.open) {
            self.closed.entry(row - self.base).or_default().push(span);
        }
        self.base += by;
        self.touch(rows, tick);
    }

    /// Rows that are alive at the same ticks are one part.
    pub(super) fn parts(mut self, row_bytes: usize) -> Parts {
        for (row, span) in std::mem::take(&mut self.open) {
            self.closed.entry(row - self.base).or_default().push(span);
        }
        let mut by_span: BTreeMap<(usize, usize), Vec<Range<usize>>> = BTreeMap::new();
        for (row, mut spans) in self.closed {
            spans.sort_unstable();
            let mut joined: Vec<(usize, usize)> = Vec::new();
            for (first, last) in spans {
                match joined.last_mut() {
                    Some(before) if first <= before.1 + 1 => before.1 = before.1.max(last),
                    _ => joined.push((first, last)),
                }
            }
            for span in joined {
                let runs = by_span.entry(span).or_default();
                match runs.last_mut() {
                    Some(run) if run.end == row => run.end += 1,
                    _ => runs.push(row..row + 1),
                }
            }
        }
        let part = |(first, last), run: Range<usize>| LivePart {
            at: run.start * row_bytes,
            bytes: run.len() * row_bytes,
            first,
            last,
        };
        by_span
            .into_iter()
            .flat_map(|(span, runs)| runs.into_iter().map(move |run| part(span, run)))
            .collect()
    }
}
