//! Panels and the fixed tree that adds them up: why the same rows give the same bits however they are cut.
//!
//! Floating-point addition is not associative, so every contraction over rows runs its kernel once a panel of
//! [`PANEL`] rows and combines the panels' results in one binary tree over the *global* panel index. A chunk
//! hands on the [`Subtrees`] it can complete by itself; whoever joins chunks completes more of them. Which task
//! did which part of the tree never shows in the result. What a panel's result means is not known here.

use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

/// Rows in a panel: every chunk begins at a multiple of it, and only the last panel of an axis may be shorter.
pub const PANEL: usize = 256;

/// How many panels cover `n` rows.
///
/// ```
/// use phalanx_array::panel::{PANEL, n_panels};
/// assert_eq!((n_panels(0), n_panels(1), n_panels(PANEL), n_panels(PANEL + 1)), (0, 1, 1, 2));
/// ```
pub const fn n_panels(n: usize) -> usize {
    n.div_ceil(PANEL)
}

/// The results of two neighbouring ranges of rows made one.
///
/// The order of the operands is kept, so an implementation need not be commutative.
pub trait Combine {
    /// The result of both ranges; `self` comes from the earlier rows.
    #[must_use]
    fn combine(self, right: Self) -> Self;
}

/// The results of a contiguous range of panels, combined as far as the fixed tree allows.
///
/// A node at `(level, index)` stands for the panels `index * 2^level .. (index + 1) * 2^level`. The nodes held are
/// the maximal complete subtrees that cover the range, at most two a level. A range is never empty.
///
/// ```
/// use phalanx_array::panel::Subtrees;
/// let per_panel = [1e16, 1.0, -1e16, 1.0, 0.5];
/// let whole = Subtrees::from_panels(0, per_panel).unwrap();
/// let (left, right) = (Subtrees::from_panels(0, [1e16]).unwrap(), Subtrees::from_panels(1, [1.0, -1e16, 1.0, 0.5]).unwrap());
/// assert_eq!(left.merge(right).finish(), whole.finish());
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Node<T>>", into = "Vec<Node<T>>", bound(serialize = "T: Clone + Serialize"))]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
pub struct Subtrees<T> {
    nodes: Vec<Node<T>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Node<T> {
    pub(crate) level: u8,
    pub(crate) index: usize,
    pub(crate) value: T,
}

impl<T> Node<T> {
    const fn start(&self) -> usize {
        self.index << self.level
    }

    const fn end(&self) -> usize {
        (self.index + 1) << self.level
    }

    const fn is_sibling_of(&self, right: &Self) -> bool {
        self.level == right.level && self.index.is_multiple_of(2) && self.index + 1 == right.index
    }
}

impl<T> Subtrees<T> {
    /// The result of the one panel `index`.
    pub fn panel(index: usize, value: T) -> Self {
        Self { nodes: vec![Node { level: 0, index, value }] }
    }

    /// The panels covered, as a range of global indices.
    pub fn range(&self) -> std::ops::Range<usize> {
        let start = self.nodes.first().map_or(0, Node::start);
        start..self.nodes.last().map_or(start, Node::end)
    }

    /// The same tree with every node's result turned into another.
    pub fn map<U>(self, mut function: impl FnMut(T) -> U) -> Subtrees<U> {
        let node = |Node { level, index, value }| Node { level, index, value: function(value) };
        Subtrees { nodes: self.nodes.into_iter().map(node).collect() }
    }

    pub(crate) fn nodes(&self) -> &[Node<T>] {
        &self.nodes
    }
}

impl<T: Combine> Subtrees<T> {
    /// The results of consecutive panels beginning with `first`; `None` when there are none.
    pub fn from_panels(first: usize, values: impl IntoIterator<Item = T>) -> Option<Self> {
        let mut values = values.into_iter();
        let mut trees = Self::panel(first, values.next()?);
        for value in values {
            trees.push(value);
        }
        Some(trees)
    }

    /// Appends the result of the panel after the last.
    pub fn push(&mut self, value: T) {
        let index = self.range().end;
        self.append(Node { level: 0, index, value });
    }

    /// Joins the ranges of `self` and of `right`, which must begin where `self` ends.
    ///
    /// # Panics
    /// When the ranges are not neighbours in this order: the caller has mixed up its chunks.
    #[must_use]
    pub fn merge(mut self, right: Self) -> Self {
        let (a, b) = (self.range(), right.range());
        assert!(
            a.end == b.start,
            "cannot merge panels {a:?} with panels {b:?}: the second must begin where the first ends"
        );
        for node in right.nodes {
            self.append(node);
        }
        self
    }

    /// Joins neighbouring ranges given from left to right; `None` when there are none.
    ///
    /// # Panics
    /// As [`merge`](Self::merge) does.
    pub fn merge_all(parts: impl IntoIterator<Item = Self>) -> Option<Self> {
        parts.into_iter().reduce(Self::merge)
    }

    /// One result for the whole range: the value of the smallest perfect tree that holds it, where a node with an
    /// absent child passes the other child on. Seven panels give `((0 1)(2 3))((4 5)6)`.
    ///
    /// For a range that begins at panel 0 the order depends only on the number of panels.
    pub fn finish(self) -> T {
        let mut nodes = self.nodes.into_iter().rev();
        let Some(last) = nodes.next() else { unreachable!("a range of panels is never empty") };
        nodes.fold(last.value, |right, node| node.value.combine(right))
    }

    fn append(&mut self, mut node: Node<T>) {
        while let Some(left) = self.nodes.pop_if(|left| left.is_sibling_of(&node)) {
            node = Node { level: node.level + 1, index: node.index / 2, value: left.value.combine(node.value) };
        }
        self.nodes.push(node);
    }
}

impl<T> From<Subtrees<T>> for Vec<Node<T>> {
    fn from(trees: Subtrees<T>) -> Self {
        trees.nodes
    }
}

impl<T> TryFrom<Vec<Node<T>>> for Subtrees<T> {
    type Error = &'static str;

    /// Checks what arrives: a range without holes, in maximal subtrees, whose ends can be counted.
    fn try_from(nodes: Vec<Node<T>>) -> Result<Self, Self::Error> {
        if nodes.is_empty() {
            return Err("a range of panels is empty");
        }
        for node in &nodes {
            let size = 1_usize.checked_shl(node.level.into()).filter(|_| node.level < 48);
            if size.and_then(|size| node.index.checked_add(1)?.checked_mul(size)).is_none() {
                return Err("a panel number is too large");
            }
        }
        if nodes.windows(2).any(|pair| pair[0].end() != pair[1].start() || pair[0].is_sibling_of(&pair[1])) {
            return Err("the panels of a range are not neighbours in maximal subtrees");
        }
        Ok(Self { nodes })
    }
}

impl Combine for () {
    fn combine(self, (): Self) {}
}

impl Combine for f64 {
    fn combine(self, right: Self) -> Self {
        self + right
    }
}

impl Combine for usize {
    fn combine(self, right: Self) -> Self {
        self + right
    }
}

impl Combine for u64 {
    fn combine(self, right: Self) -> Self {
        self + right
    }
}

impl Combine for Vec<f64> {
    /// Adds element by element.
    ///
    /// # Panics
    /// When the lengths differ.
    fn combine(mut self, right: Self) -> Self {
        assert_eq!(self.len(), right.len(), "panel results of different lengths cannot be added");
        self.iter_mut().zip(&right).for_each(|(a, b)| *a += b);
        self
    }
}

impl Combine for Array1<f64> {
    /// Adds element by element.
    fn combine(self, right: Self) -> Self {
        self + &right
    }
}

impl Combine for Array2<f64> {
    /// Adds element by element.
    fn combine(self, right: Self) -> Self {
        self + &right
    }
}

impl<T: Combine, const N: usize> Combine for [T; N] {
    fn combine(self, right: Self) -> Self {
        let mut right = right.into_iter();
        self.map(|a| match right.next() {
            Some(b) => a.combine(b),
            None => a,
        })
    }
}

macro_rules! combine_tuple {
    ($($name:ident $index:tt),+) => {
        impl<$($name: Combine),+> Combine for ($($name,)+) {
            fn combine(self, right: Self) -> Self {
                ($(self.$index.combine(right.$index),)+)
            }
        }
    };
}

combine_tuple!(A 0);
combine_tuple!(A 0, B 1);
combine_tuple!(A 0, B 1, C 2);
combine_tuple!(A 0, B 1, C 2, D 3);
combine_tuple!(A 0, B 1, C 2, D 3, E 4);
combine_tuple!(A 0, B 1, C 2, D 3, E 4, F 5);

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Writes down how it was combined.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Expression(String);

    impl Combine for Expression {
        fn combine(self, right: Self) -> Self {
            Self(format!("({} {})", self.0, right.0))
        }
    }

    fn range(panels: std::ops::Range<usize>) -> Subtrees<Expression> {
        Subtrees::from_panels(panels.start, panels.map(|i| Expression(i.to_string()))).expect("not empty")
    }

    /// The definition, written the slow way: a perfect tree with absent leaves.
    fn perfect_tree(start: usize, size: usize, n: usize) -> Option<Expression> {
        if start >= n {
            return None;
        }
        if size == 1 {
            return Some(Expression(start.to_string()));
        }
        let left = perfect_tree(start, size / 2, n)?;
        Some(match perfect_tree(start + size / 2, size / 2, n) {
            Some(right) => left.combine(right),
            None => left,
        })
    }

    fn merge_at_random(mut parts: Vec<Subtrees<Expression>>, random: &mut impl Rng) -> Subtrees<Expression> {
        while parts.len() > 1 {
            let at = random.random_range(0..parts.len() - 1);
            let right = parts.remove(at + 1);
            let left = parts.remove(at);
            parts.insert(at, left.merge(right));
        }
        parts.remove(0)
    }

    #[test]
    fn seven_panels_fold_as_a_perfect_tree_with_an_absent_leaf() {
        assert_eq!(range(0..7).finish().0, "(((0 1) (2 3)) ((4 5) 6))");
    }

    #[test]
    fn a_chunk_hands_on_its_maximal_complete_subtrees() {
        let nodes: Vec<_> = range(3..13).nodes().iter().map(|n| (n.level, n.index, n.value.0.clone())).collect();
        let expected = [(0, 3, "3"), (2, 1, "((4 5) (6 7))"), (2, 2, "((8 9) (10 11))"), (0, 12, "12")];
        assert_eq!(nodes, expected.map(|(level, index, text)| (level, index, text.to_string())));
    }

    #[test]
    fn any_cutting_and_any_order_of_merging_gives_the_same_expression() {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        for n in 1..=100_usize {
            let expected = perfect_tree(0, n.next_power_of_two(), n).expect("not empty");
            for _ in 0..20 {
                let density = random.random_range(0.0..1.0);
                let mut cuts: Vec<_> = (1..n).filter(|_| random.random_bool(density)).collect();
                cuts.insert(0, 0);
                cuts.push(n);
                let parts = cuts.windows(2).map(|cut| range(cut[0]..cut[1])).collect();
                assert_eq!(merge_at_random(parts, &mut random).finish(), expected, "{n} panels cut at {cuts:?}");
            }
        }
    }

    #[test]
    fn a_range_survives_the_wire() {
        let before = range(5..23);
        let bytes = postcard::to_stdvec(&before).expect("it can be written");
        assert_eq!(postcard::from_bytes::<Subtrees<Expression>>(&bytes).expect("it can be read"), before);
    }

    #[test]
    fn broken_ranges_are_refused() {
        let node = |level, index| Node { level, index, value: 0.0 };
        for nodes in [
            vec![],
            vec![node(0, 0), node(0, 2)],
            vec![node(0, 0), node(0, 1)],
            vec![node(63, 2)],
            vec![node(0, usize::MAX)],
            vec![node(200, 0)],
        ] {
            assert!(Subtrees::try_from(nodes.clone()).is_err(), "{nodes:?}");
        }
    }

    #[test]
    fn collections_add_element_by_element() {
        let left = (1.0, vec![1.0, 2.0], [1_usize, 2]);
        assert_eq!(left.combine((2.0, vec![3.0, 4.0], [3, 4])), (3.0, vec![4.0, 6.0], [4, 6]));
    }

    #[test]
    #[should_panic(expected = "cannot merge panels 0..2 with panels 3..4")]
    fn chunks_that_are_not_neighbours_do_not_merge() {
        let _ = range(0..2).merge(range(3..4));
    }
}
