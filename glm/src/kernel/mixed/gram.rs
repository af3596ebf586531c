//! Weighted products of columns, dense and sparse, row by row only of entries that are there.

use phalanx_array::{
    kernel,
    panel::{Combine, PANEL},
};
use serde::{Deserialize, Serialize};

use super::{
    Axes, Entries, Layout,
    keyed::{Gather, Keyed},
};
use crate::solver::Coordinates;

/// Sums of weighted products over some rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Gram {
    /// Of the intercept and the dense coordinates with each other: the lower triangle, row after row.
    dense: Vec<f64>,
    /// Of each sparse column: with a given factor of each row, with itself, and with the intercept and the dense
    /// coordinates.
    cross: Keyed,
    /// Of two sparse columns i > j at i (i - 1) / 2 + j.
    pairs: Keyed,
}

impl Combine for Gram {
    fn combine(self, right: Self) -> Self {
        Self {
            dense: self.dense.combine(right.dense),
            cross: self.cross.add(right.cross),
            pairs: self.pairs.add(right.pairs),
        }
    }
}

/// What is reused from panel to panel.
pub(super) struct Products {
    n_sparse: usize,
    scaled: Vec<f64>,
    dense: kernel::Gram,
    width: usize,
    cross: Gather,
    row: Vec<(u32, f64)>,
    pairs: Vec<(u32, f64)>,
}

const fn n_pairs(n_sparse: usize) -> usize {
    n_sparse * n_sparse.saturating_sub(1) / 2
}

impl Products {
    pub(super) fn new(axes: &Axes<'_>) -> Self {
        let width = axes.width();
        Self {
            n_sparse: axes.n_sparse(),
            scaled: Vec::with_capacity(PANEL * width),
            dense: kernel::Gram::new(width),
            width,
            cross: Gather::new(axes.n_sparse(), width + 2),
            row: Vec::new(),
            pairs: Vec::new(),
        }
    }

    /// The products of a panel, each row's times its weight; `factors` are summed against the sparse columns.
    #[inline(always)]
    pub(super) fn of(&mut self, design: &[f64], entries: Entries<'_>, weights: &[f64], factors: &[f64]) -> Gram {
        let (n, width) = (weights.len(), self.width);
        let mut packed = vec![0.; width * (width + 1) / 2];
        self.scaled.clear();
        for (row, weight) in design.chunks_exact(width).zip(weights) {
            let root = weight.sqrt();
            self.scaled.extend(row.iter().map(|x| x * root));
        }
        self.dense.add(&self.scaled, &mut packed);
        // Where a panel has many pairs, they are added up in their places, elsewhere they are sorted.
        let n_pairs = n_pairs(self.n_sparse);
        let most: usize = (0..n).map(|row| half_square(entries, row)).sum();
        let mut places = if most >= n_pairs { vec![0.; n_pairs] } else { Vec::new() };
        self.pairs.clear();
        for (i, (design, weight)) in design.chunks_exact(width).zip(weights).enumerate() {
            self.row.clear();
            entries.each(i, |column, value| self.row.push((column, value)));
            for (place, &(column, value)) in self.row.iter().enumerate() {
                let sums = self.cross.of(column);
                let scaled = weight * value;
                sums[0] += value * factors[i];
                sums[1] += scaled * value;
                sums[2..].iter_mut().zip(design).for_each(|(sum, x)| *sum += scaled * x);
                for &(other, also) in &self.row[..place] {
                    let (high, low) = (column.max(other) as usize, column.min(other) as usize);
                    let key = high * (high - 1) / 2 + low;
                    if places.is_empty() {
                        self.pairs.push((key as u32, scaled * also));
                    } else {
                        places[key] += scaled * also;
                    }
                }
            }
        }
        let pairs = if places.is_empty() { self.sorted(n_pairs) } else { Keyed::full(n_pairs, 1, places) };
        Gram { dense: packed, cross: self.cross.take(), pairs }
    }

    fn sorted(&mut self, n_pairs: usize) -> Keyed {
        // A stable sort: products of one pair are added in the order of their rows.
        self.pairs.sort_by_key(|(key, _)| *key);
        let (mut keys, mut values): (Vec<u32>, Vec<f64>) = (Vec::with_capacity(self.pairs.len()), Vec::new());
        for &(key, value) in &self.pairs {
            match values.last_mut().filter(|_| keys.last() == Some(&key)) {
                Some(sum) => *sum += value,
                None => {
                    keys.push(key);
                    values.push(value);
                }
            }
        }
        Keyed::new(n_pairs, 1, keys, values)
    }
}

/// Pairs of entries in a row, at most.
fn half_square(entries: Entries<'_>, row: usize) -> usize {
    let mut n: usize = 0;
    entries.each(row, |_, _| n += 1);
    n * n.saturating_sub(1) / 2
}

impl Gram {
    pub(super) fn empty(axes: &Axes<'_>) -> Self {
        let width = axes.width();
        Self {
            dense: vec![0.; width * (width + 1) / 2],
            cross: Keyed::empty(axes.n_sparse(), width + 2),
            pairs: Keyed::empty(n_pairs(axes.n_sparse()), 1),
        }
    }

    /// The matrix over all working coordinates, packed, and the sums with the factors at the sparse ones.
    pub(super) fn finish(&self, layout: &Layout, coordinates: &Coordinates) -> (Vec<f64>, Vec<f64>) {
        let axes = Axes::new(layout, coordinates);
        let q = layout.n_features + 1;
        let (mut matrix, mut sums) = (vec![0.; q * (q + 1) / 2], vec![0.; q]);
        let mut set = |i: usize, j: usize, value: f64| {
            let (i, j) = (i.max(j), i.min(j));
            matrix[i * (i + 1) / 2 + j] = value;
        };
        let mut place = 0;
        for i in 0..axes.width() {
            for j in 0..=i {
                set(axes.place(i), axes.place(j), self.dense[place]);
                place += 1;
            }
        }
        self.cross.each(|column, numbers| {
            let (at, inverse) = (axes.sparse_place(column), axes.inverse[column]);
            sums[at] = numbers[0] * inverse;
            set(at, at, numbers[1] * inverse * inverse);
            numbers[2..].iter().enumerate().for_each(|(j, x)| set(at, axes.place(j), x * inverse));
        });
        let mut high = 1;
        self.pairs.each(|key, numbers| {
            while (high + 1) * high / 2 <= key {
                high += 1;
            }
            let low = key - high * (high - 1) / 2;
            let value = numbers[0] * axes.inverse[high] * axes.inverse[low];
            set(axes.sparse_place(high), axes.sparse_place(low), value);
        });
        (matrix, sums)
    }
}
