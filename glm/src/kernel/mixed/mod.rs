//! The passes over panels of rows that are dense in some columns and sparse in others.
//!
//! Sparse columns keep the centre 0 in working coordinates and are only scaled, so that an entry that is not there
//! costs nothing: predictors gather, gradients scatter, and the matrix of second derivatives holds only products of
//! entries that share a row. What centring would do for them is done by the intercept, whose row is in the matrix: both
//! describe the same models, and only the solver's coordinates differ. Dense columns are centred and scaled as
//! everywhere. A pass ends in the same answers as one over dense rows.

mod evaluate;
mod folds;
mod gram;
mod keyed;
mod moments;
mod quadratic;
mod summary;

use std::ops::Range;

use phalanx_array::panel::PANEL;
use serde::{Deserialize, Serialize};

pub(crate) use self::{
    evaluate::MixedEvaluations, moments::MixedMoments, quadratic::MixedQuadratic, summary::MixedSummary,
};
use super::{Panel, Rows};
use crate::solver::Coordinates;

/// The code of a row that has none of a category's columns.
pub(crate) const NO_CODE: u32 = u32::MAX;

/// Which columns of the whole the dense and the sparse ones are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Layout {
    pub(crate) n_features: usize,
    /// The column of the whole of each dense column.
    pub(crate) dense: Vec<u32>,
    /// The same of each sparse one.
    pub(crate) sparse: Vec<u32>,
    /// Codes a row.
    pub(crate) n_codes: usize,
}

/// The sparse columns of some rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entries<'a> {
    pub(crate) n_codes: usize,
    /// `n_codes` a row: sparse columns that are 1, or [`NO_CODE`].
    pub(crate) codes: &'a [u32],
    /// Where each row's other entries begin, one more than rows; empty where there are none.
    pub(crate) starts: &'a [u64],
    pub(crate) columns: &'a [u32],
    pub(crate) values: &'a [f64],
}

/// Rows in memory; `rows.x` has the dense columns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mixed<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) rows: Rows<'a>,
    pub(crate) entries: Entries<'a>,
}

/// The rows of one panel.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) panel: Panel<'a>,
    pub(super) entries: Entries<'a>,
}

/// A point, as dense and sparse columns see it.
pub(super) struct Point {
    /// In working coordinates, the intercept first.
    pub(super) dense: Vec<f64>,
    /// Per unit of the sparse columns.
    pub(super) slopes: Vec<f64>,
}

/// Working coordinates, as dense and sparse columns see them.
pub(super) struct Axes<'a> {
    pub(super) layout: &'a Layout,
    pub(super) dense: Coordinates,
    /// One over the scale of each sparse column; 0 where it has no spread.
    pub(super) inverse: Vec<f64>,
}

impl<'a> Entries<'a> {
    fn slice(self, rows: Range<usize>) -> Self {
        let starts = if self.starts.is_empty() { self.starts } else { &self.starts[rows.start..=rows.end] };
        Self { codes: &self.codes[rows.start * self.n_codes..rows.end * self.n_codes], starts, ..self }
    }

    /// Every entry of a row: its sparse column and its value.
    #[inline(always)]
    pub(crate) fn each(self, row: usize, mut work: impl FnMut(u32, f64)) {
        for &code in &self.codes[row * self.n_codes..(row + 1) * self.n_codes] {
            if code != NO_CODE {
                work(code, 1.);
            }
        }
        if let [start, end] = *self.starts.get(row..row + 2).unwrap_or_default() {
            let range = start as usize..end as usize;
            for (&column, &value) in self.columns[range.clone()].iter().zip(&self.values[range]) {
                work(column, value);
            }
        }
    }

    /// How many there are, at most.
    pub(crate) fn count(self) -> usize {
        self.codes.len() + self.values.len()
    }
}

impl<'a> Mixed<'a> {
    pub(super) fn parts(self) -> impl Iterator<Item = Part<'a>> {
        self.rows.panels().enumerate().map(move |(place, panel)| {
            let start = place * PANEL;
            Part { panel, entries: self.entries.slice(start..start + panel.y.len()) }
        })
    }

    /// Some of these rows, beginning on a panel border.
    pub(crate) fn slice(self, rows: Range<usize>) -> Self {
        Self { rows: self.rows.slice(rows.clone()), entries: self.entries.slice(rows), ..self }
    }
}

impl<'a> Axes<'a> {
    pub(super) fn new(layout: &'a Layout, coordinates: &Coordinates) -> Self {
        let of = |values: &[f64]| layout.dense.iter().map(|&column| values[column as usize]).collect::<Vec<_>>();
        let inverse = |&column: &u32| {
            let scale = coordinates.scale[column as usize];
            if scale > 0. { 1. / scale } else { 0. }
        };
        Self {
            layout,
            dense: Coordinates {
                centre: of(&coordinates.centre),
                scale: of(&coordinates.scale),
                has_intercept: coordinates.has_intercept,
            },
            inverse: layout.sparse.iter().map(inverse).collect(),
        }
    }

    /// Dense columns and the intercept.
    pub(super) fn width(&self) -> usize {
        self.layout.dense.len() + 1
    }

    pub(super) fn n_sparse(&self) -> usize {
        self.inverse.len()
    }

    pub(super) fn point(&self, point: &[f64]) -> Point {
        let dense = self.layout.dense.iter().map(|&column| point[column as usize + 1]);
        let sparse = self.layout.sparse.iter().zip(&self.inverse);
        Point {
            dense: std::iter::once(point[0]).chain(dense).collect(),
            slopes: sparse.map(|(&column, inverse)| point[column as usize + 1] * inverse).collect(),
        }
    }

    /// The place in a point of each dense coordinate, the intercept first.
    pub(super) fn place(&self, dense: usize) -> usize {
        if dense == 0 { 0 } else { self.layout.dense[dense - 1] as usize + 1 }
    }

    /// The place in a point of a sparse column.
    pub(super) fn sparse_place(&self, column: usize) -> usize {
        self.layout.sparse[column] as usize + 1
    }
}

/// `eta += sum of the row's entries times their slopes`.
#[inline(always)]
pub(super) fn add_entries(entries: Entries<'_>, slopes: &[f64], eta: &mut [f64]) {
    for (row, eta) in eta.iter_mut().enumerate() {
        let mut sum = 0.;
        entries.each(row, |column, value| sum += value * slopes[column as usize]);
        *eta += sum;
    }
}

#[cfg(test)]
pub(super) mod testing {
    //! Mixed rows beside the dense rows that they stand for.

    use super::{Entries, Layout, Mixed, NO_CODE};
    use crate::kernel::{
        Rows,
        testing::{Sample, noise},
    };

    /// Columns: dense, 3 of a category, dense, 4 of numbers that are mostly 0, 2 of a category.
    pub(crate) struct Both {
        pub(crate) layout: Layout,
        dense: Vec<f64>,
        codes: Vec<u32>,
        starts: Vec<u64>,
        columns: Vec<u32>,
        values: Vec<f64>,
        pub(crate) sample: Sample,
    }

    impl Both {
        pub(crate) fn new(n: usize) -> Self {
            let p = 11;
            let layout =
                Layout { n_features: p, dense: vec![0, 4], sparse: vec![1, 2, 3, 5, 6, 7, 8, 9, 10], n_codes: 2 };
            let mut sample = Sample::new(n, p);
            let (mut dense, mut codes, mut starts) = (Vec::new(), Vec::new(), vec![0]);
            let (mut columns, mut values) = (Vec::new(), Vec::new());
            for i in 0..n {
                let row = &mut sample.x[i * p..(i + 1) * p];
                dense.extend([row[0], row[4]]);
                let mut category = |levels: usize, first: u32, at: usize, seed: usize| {
                    let level = (seed * 7 + i * i) % (levels + 1);
                    row[at..at + levels].fill(0.);
                    codes.push(if level == levels { NO_CODE } else { first + level as u32 });
                    if level < levels {
                        row[at + level] = 1.;
                    }
                };
                category(3, 0, 1, i);
                category(2, 7, 9, 3 * i + 1);
                for j in 0..4 {
                    let there = noise(i * 4 + j * 37) > 0.5;
                    row[5 + j] = if there { 2. * noise(i + j) + 1. } else { 0. };
                    if there {
                        columns.push(3 + j as u32);
                        values.push(row[5 + j]);
                    }
                }
                starts.push(columns.len() as u64);
            }
            Self { layout, dense, codes, starts, columns, values, sample }
        }

        pub(crate) fn dense(&self, weighted: bool) -> Rows<'_> {
            self.sample.rows(weighted)
        }

        pub(crate) fn mixed(&self, weighted: bool) -> Mixed<'_> {
            let rows = self.sample.rows(weighted);
            Mixed {
                layout: &self.layout,
                rows: Rows { x: &self.dense, n_features: 2, ..rows },
                entries: Entries {
                    n_codes: 2,
                    codes: &self.codes,
                    starts: &self.starts,
                    columns: &self.columns,
                    values: &self.values,
                },
            }
        }
    }

    /// Equal but for rounding.
    pub(crate) fn near(a: &[f64], b: &[f64]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9 * (1. + a.abs()))
    }
}
