//! Folds of rows in the order of time: the past judges by the future, and neighbours are kept apart.

use serde::{Deserialize, Serialize};

use super::{Fold, KFold};
use crate::{Error, Result};

/// Folds that learn from the past and are judged by what comes next, rows being in the order of time.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `n_splits` | 5 | number of folds | 2 or more |
/// | `max_train_size` | all | how many of the latest rows to learn from | 1 or more |
/// | `test_size` | n_rows / (`n_splits` + 1) | rows to judge by, of each fold | 1 or more |
/// | `gap` | 0 | rows between the two that are left out | 0 or more |
///
/// The folds are scikit-learn's.
///
/// ```
/// use phalanx_learn::split::TimeSeriesSplit;
/// let folds = TimeSeriesSplit::new(2).gap(1).split(6).unwrap();
/// assert_eq!((&folds[0].train[..], &folds[0].test[..]), (&[0][..], &[2, 3][..]));
/// assert_eq!((&folds[1].train[..], &folds[1].test[..]), (&[0, 1, 2][..], &[4, 5][..]));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimeSeriesSplit {
    /// Number of folds.
    pub n_splits: usize,
    /// How many of the latest rows to learn from; none for all.
    pub max_train_size: Option<usize>,
    /// Rows to judge by, of each fold; none for n_rows / (`n_splits` + 1).
    pub test_size: Option<usize>,
    /// Rows between the two that are left out.
    pub gap: usize,
}

/// K contiguous folds of rows in the order of time that learn from both sides, without the rows whose labels overlap
/// those that judge (López de Prado 2018, "Advances in financial machine learning", section 7.4).
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `n_splits` | 5 | number of folds | 2 to the number of rows |
/// | `horizon` | 0 | h: the label of row i looks at the rows i to i + h | 0 or more |
/// | `embargo` | 0 | further rows that are left out behind those that judge | 0 or more |
///
/// A fold that judges by the rows a to b learns from the rows before a - h (purged) and from those after b + h +
/// `embargo`: those whose own labels, and the labels of what judges, have no row in common.
///
/// ```
/// use phalanx_learn::split::PurgedKFold;
/// let folds = PurgedKFold::new(3).horizon(1).embargo(1).split(9).unwrap();
/// assert_eq!((&folds[1].train[..], &folds[1].test[..]), (&[0, 1, 8][..], &[3, 4, 5][..]));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PurgedKFold {
    /// Number of folds.
    pub n_splits: usize,
    /// How many rows a label looks ahead.
    pub horizon: usize,
    /// Further rows that are left out behind those that judge.
    pub embargo: usize,
}

impl Default for TimeSeriesSplit {
    fn default() -> Self {
        Self { n_splits: 5, max_train_size: None, test_size: None, gap: 0 }
    }
}

impl TimeSeriesSplit {
    /// So many folds, each learning from all before it.
    pub fn new(n_splits: usize) -> Self {
        Self { n_splits, ..Self::default() }
    }

    /// Sets how many of the latest rows to learn from.
    #[must_use]
    pub const fn max_train_size(mut self, rows: usize) -> Self {
        self.max_train_size = Some(rows);
        self
    }

    /// Sets how many rows judge.
    #[must_use]
    pub const fn test_size(mut self, rows: usize) -> Self {
        self.test_size = Some(rows);
        self
    }

    /// Sets how many rows between the two are left out.
    #[must_use]
    pub const fn gap(mut self, rows: usize) -> Self {
        self.gap = rows;
        self
    }

    /// Every fold of `n_rows` rows.
    ///
    /// # Errors
    /// When there are fewer than two folds, or the first fold has nothing to learn from.
    pub fn split(&self, n_rows: usize) -> Result<Vec<Fold>> {
        if self.n_splits < 2 {
            return Err(Error::parameter("n_splits", self.n_splits, "2 or more"));
        }
        for (name, size) in [("max_train_size", self.max_train_size), ("test_size", self.test_size)] {
            if size == Some(0) {
                return Err(Error::parameter(name, 0, "1 or more"));
            }
        }
        let test_size = self.test_size.unwrap_or(n_rows / self.n_splits.saturating_add(1)).max(1);
        let needed = test_size.saturating_mul(self.n_splits).saturating_add(self.gap).saturating_add(1);
        if needed > n_rows {
            return Err(Error::TooFewRowsToSplit { splitter: "TimeSeriesSplit", n_rows, needed });
        }
        let fold = |fold: usize| {
            let start = n_rows - (self.n_splits - fold) * test_size;
            let end = start - self.gap;
            let first = self.max_train_size.map_or(0, |most| end.saturating_sub(most));
            Fold { train: (first..end).collect(), test: (start..start + test_size).collect() }
        };
        Ok((0..self.n_splits).map(fold).collect())
    }
}

impl Default for PurgedKFold {
    fn default() -> Self {
        Self { n_splits: 5, horizon: 0, embargo: 0 }
    }
}

impl PurgedKFold {
    /// So many folds, without rows left out.
    pub fn new(n_splits: usize) -> Self {
        Self { n_splits, ..Self::default() }
    }

    /// Sets how many rows a label looks ahead.
    #[must_use]
    pub const fn horizon(mut self, rows: usize) -> Self {
        self.horizon = rows;
        self
    }

    /// Sets how many further rows are left out behind those that judge.
    #[must_use]
    pub const fn embargo(mut self, rows: usize) -> Self {
        self.embargo = rows;
        self
    }

    /// Every fold of `n_rows` rows.
    ///
    /// # Errors
    /// When there are fewer than two folds or more than rows, or a fold has nothing left to learn from.
    pub fn split(&self, n_rows: usize) -> Result<Vec<Fold>> {
        let mut folds = KFold::new(self.n_splits).split(n_rows)?;
        for (number, fold) in folds.iter_mut().enumerate() {
            let (Some(&first), Some(&last)) = (fold.test.first(), fold.test.last()) else { continue };
            let until = last.saturating_add(self.horizon).saturating_add(self.embargo);
            fold.train.retain(|&row| row.saturating_add(self.horizon) < first || row > until);
            if fold.train.is_empty() {
                return Err(Error::EmptyFold { splitter: "PurgedKFold", fold: number, part: "train", n_rows });
            }
        }
        Ok(folds)
    }
}
