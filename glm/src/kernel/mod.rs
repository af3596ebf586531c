//! The passes over one panel of rows. Plain functions of numbers.
//!
//! A panel is row-major, at most [`PANEL`] rows. Every sum runs in an order that depends only on the panel, by the
//! array crate's kernels, so the bits are the same at any width of vector instructions; only products of matrices
//! differ where the processor has fused multiply-add.

mod evaluate;
mod folds;
mod mixed;
mod moments;
mod null;
mod pinball;
mod quadratic;
mod scatter;
mod shape;
mod summary;

use phalanx_array::panel::{PANEL, n_panels};

pub use evaluate::Evaluation;
pub(crate) use evaluate::{Evaluations, add_constants, predict};
pub(crate) use folds::{ByFold, FoldEvaluations};
pub use folds::{FoldEvaluation, FoldPoint, FoldQuadratic, FoldRule};
pub(crate) use mixed::{Entries, Layout, Mixed, MixedEvaluations, MixedMoments, MixedQuadratic, MixedSummary, NO_CODE};
pub use moments::{BadValue, Moments, Place, Spread};
pub use null::NullPoint;
pub(crate) use null::NullPoints;
pub use pinball::{Pinball, PinballAt};
pub use quadratic::Quadratic;
pub use scatter::Scatter;
pub use shape::{Shape, ShapeAt};
pub(crate) use summary::{Scores, Subject, Summary};

/// Which panels a pass looks at: one of every so many, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stride(pub(crate) usize);

impl Stride {
    /// Every panel.
    pub const ALL: Self = Self(1);

    pub(crate) const fn takes(self, panel: usize) -> bool {
        panel.is_multiple_of(self.0)
    }
}

/// Rows in memory: X row-major with `y.len()` rows, the first of them at the global panel `first_panel`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) x: &'a [f64],
    pub(crate) y: &'a [f64],
    /// One a row, or 1 for each.
    pub(crate) weights: Option<&'a [f64]>,
    /// Added to the linear predictor; one a row, or 0 for each.
    pub(crate) offset: Option<&'a [f64]>,
    /// Of which y is the share of successes; only the likelihood's constant depends on them.
    pub(crate) trials: Option<&'a [f64]>,
    /// A number for each group of rows that hang together; only clustered covariance depends on them.
    pub(crate) groups: Option<&'a [f64]>,
    /// The fold of each row, as a number; only cross-validation depends on them.
    pub(crate) folds: Option<&'a [f64]>,
    pub(crate) n_features: usize,
    pub(crate) first_panel: usize,
    /// The panels whose rows X has; the others have none in it.
    pub(crate) held: Stride,
}

/// The rows of one panel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Panel<'a> {
    /// Its global index.
    pub(crate) index: usize,
    pub(crate) x: &'a [f64],
    pub(crate) y: &'a [f64],
    pub(crate) weights: Option<&'a [f64]>,
    pub(crate) offset: Option<&'a [f64]>,
    pub(crate) trials: Option<&'a [f64]>,
    pub(crate) groups: Option<&'a [f64]>,
    pub(crate) folds: Option<&'a [f64]>,
}

impl<'a> Rows<'a> {
    /// Rows of weight 1 without an offset, from panel 0 on.
    #[cfg(test)]
    pub(crate) const fn plain(x: &'a [f64], y: &'a [f64], n_features: usize) -> Self {
        let held = Stride::ALL;
        let [weights, offset, trials, groups, folds] = [None; 5];
        Self { x, y, weights, offset, trials, groups, folds, n_features, first_panel: 0, held }
    }

    /// The panels, from the first to the last.
    pub(crate) fn panels(self) -> impl Iterator<Item = Panel<'a>> {
        let (p, mut from) = (self.n_features, 0);
        (0..n_panels(self.y.len())).map(move |panel| {
            let rows = panel * PANEL..((panel + 1) * PANEL).min(self.y.len());
            let index = self.first_panel + panel;
            let x = from..from + if self.held.takes(index) { rows.len() * p } else { 0 };
            from = x.end;
            Panel {
                index,
                x: &self.x[x],
                y: &self.y[rows.clone()],
                weights: self.weights.map(|weights| &weights[rows.clone()]),
                offset: self.offset.map(|offset| &offset[rows.clone()]),
                trials: self.trials.map(|trials| &trials[rows.clone()]),
                groups: self.groups.map(|groups| &groups[rows.clone()]),
                folds: self.folds.map(|folds| &folds[rows]),
            }
        })
    }

    /// The weights times those of the classes 0 and 1; a share of trials is in part of both.
    pub(crate) fn reweighed(self, [zero, one]: [f64; 2]) -> Vec<f64> {
        let of = |(i, y): (usize, &f64)| self.weights.map_or(1., |weights| weights[i]) * (y * one + (1. - y) * zero);
        self.y.iter().enumerate().map(of).collect()
    }

    /// Some of these rows, beginning on a panel border.
    pub(crate) fn slice(self, rows: std::ops::Range<usize>) -> Self {
        let p = self.n_features;
        Self {
            x: &self.x[rows.start * p..rows.end * p],
            y: &self.y[rows.clone()],
            weights: self.weights.map(|weights| &weights[rows.clone()]),
            offset: self.offset.map(|offset| &offset[rows.clone()]),
            trials: self.trials.map(|trials| &trials[rows.clone()]),
            groups: self.groups.map(|groups| &groups[rows.clone()]),
            folds: self.folds.map(|folds| &folds[rows.clone()]),
            first_panel: self.first_panel + rows.start / PANEL,
            ..self
        }
    }
}

/// Sum of the weights, 1 for each of `n` rows where there are none.
#[inline(always)]
pub(crate) fn sum_of(weights: Option<&[f64]>, n: usize) -> f64 {
    weights.map_or(n as f64, phalanx_array::kernel::inlined::sum)
}

#[cfg(test)]
pub(crate) mod testing {
    //! Data for the tests of the passes.

    use super::Rows;

    /// Numbers without a pattern that a kernel could get right by luck.
    pub(crate) fn noise(i: usize) -> f64 {
        ((i * 7919 + 13) % 1009) as f64 / 503. - 1.
    }

    /// Columns with means and scales of their own, y of zeros and ones, weights with zeros, and an offset.
    pub(crate) struct Sample {
        pub(crate) x: Vec<f64>,
        pub(crate) y: Vec<f64>,
        pub(crate) weights: Vec<f64>,
        pub(crate) offset: Vec<f64>,
        pub(crate) p: usize,
    }

    impl Sample {
        pub(crate) fn new(n: usize, p: usize) -> Self {
            Self {
                x: (0..n * p).map(|i| (i % p) as f64 + (1. + (i % p) as f64) * noise(i)).collect(),
                y: (0..n).map(|i| f64::from(noise(i * 31) > 0.2)).collect(),
                weights: (0..n).map(|i| ((i * 7) % 4) as f64 * 0.5).collect(),
                offset: (0..n).map(|i| 0.3 * noise(i * 17)).collect(),
                p,
            }
        }

        pub(crate) fn rows(&self, weighted: bool) -> Rows<'_> {
            let rows = Rows::plain(&self.x, &self.y, self.p);
            if !weighted {
                return rows;
            }
            Rows { weights: Some(&self.weights), offset: Some(&self.offset), ..rows }
        }
    }
}
