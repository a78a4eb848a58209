//! Disjoint sets of `0..n`.

/// Union-find with path halving. The smallest member of a set is its root, so the result does not depend on
/// the order of the unions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnionFind {
    parent: Vec<usize>,
}

impl UnionFind {
    /// Returns `count` sets of one element each.
    pub fn new(count: usize) -> Self {
        Self { parent: (0..count).collect() }
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        self.parent.len()
    }

    /// Returns true if there are no elements.
    pub fn is_empty(&self) -> bool {
        self.parent.is_empty()
    }

    /// Returns the root of the set that holds `element`.
    ///
    /// # Panics
    /// If `element` is not below [`UnionFind::len`].
    pub fn find(&mut self, mut element: usize) -> usize {
        while self.parent[element] != element {
            self.parent[element] = self.parent[self.parent[element]];
            element = self.parent[element];
        }
        element
    }

    /// Joins the sets of `a` and `b`. Returns the root that remains and the one that is none any more, or
    /// `None` if both were in one set already.
    ///
    /// # Panics
    /// If `a` or `b` is not below [`UnionFind::len`].
    pub fn union(&mut self, a: usize, b: usize) -> Option<(usize, usize)> {
        let (a, b) = (self.find(a), self.find(b));
        if a == b {
            return None;
        }
        let (root, absorbed) = (a.min(b), a.max(b));
        self.parent[absorbed] = root;
        Some((root, absorbed))
    }

    /// Returns the root of every element.
    pub fn roots(&mut self) -> Vec<usize> {
        (0..self.len()).map(|element| self.find(element)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_member_is_the_root_in_any_order() {
        let pairs = [(4, 7), (7, 2), (1, 3), (3, 6), (5, 5)];
        let mut forward = UnionFind::new(8);
        for (a, b) in pairs {
            forward.union(a, b);
        }
        let mut backward = UnionFind::new(8);
        for (a, b) in pairs.into_iter().rev() {
            backward.union(b, a);
        }
        assert_eq!(forward.roots(), [0, 1, 2, 1, 2, 5, 1, 2]);
        assert_eq!(forward.roots(), backward.roots());
    }

    #[test]
    fn a_union_names_the_absorbed_root_once() {
        let mut sets = UnionFind::new(3);
        assert_eq!(sets.union(2, 1), Some((1, 2)));
        assert_eq!(sets.union(1, 2), None);
        assert_eq!(sets.union(2, 0), Some((0, 1)));
    }
}
