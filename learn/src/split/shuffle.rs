//! Folds drawn one by one: rows may be judged by in several, or in none.

use serde::{Deserialize, Serialize};

use super::{Fold, draws};
use crate::{Error, Result};

/// Some draws of rows to judge by and rows to learn from, each independent of the others.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `n_splits` | 10 | number of draws | 1 or more |
/// | `test_size` | a tenth, or what `train_size` leaves | rows to judge by | a share in (0, 1), or 1 to n_rows - 1 |
/// | `train_size` | what `test_size` leaves | rows to learn from | as `test_size`; both together all rows at most |
/// | `seed` | 0 | what the draws follow from | any |
///
/// Sizes are scikit-learn's, a share of the test rows rounded up and of the train rows down; rows are drawn by our own
/// generator.
///
/// ```
/// use phalanx_learn::split::{ShuffleSplit, Size};
/// let folds = ShuffleSplit::new(3).test_size(Size::Share(0.25)).split(10).unwrap();
/// assert!(folds.iter().all(|fold| (fold.train.len(), fold.test.len()) == (7, 3)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShuffleSplit {
    /// Number of draws.
    pub n_splits: usize,
    /// Rows to judge by.
    pub test_size: Option<Size>,
    /// Rows to learn from.
    pub train_size: Option<Size>,
    /// What the draws follow from.
    pub seed: u64,
}

/// How many rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// A share of all, between 0 and 1.
    Share(f64),
    /// So many.
    Rows(usize),
}

impl Default for ShuffleSplit {
    fn default() -> Self {
        Self { n_splits: 10, test_size: None, train_size: None, seed: 0 }
    }
}

impl ShuffleSplit {
    /// So many draws of a tenth of the rows.
    pub fn new(n_splits: usize) -> Self {
        Self { n_splits, ..Self::default() }
    }

    /// Sets how many rows judge.
    #[must_use]
    pub const fn test_size(mut self, size: Size) -> Self {
        self.test_size = Some(size);
        self
    }

    /// Sets how many rows are learned from.
    #[must_use]
    pub const fn train_size(mut self, size: Size) -> Self {
        self.train_size = Some(size);
        self
    }

    /// Sets what the draws follow from.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Every draw of `n_rows` rows.
    ///
    /// # Errors
    /// When there is no draw, or a size is out of its range.
    pub fn split(&self, n_rows: usize) -> Result<Vec<Fold>> {
        let (n_train, n_test) = self.sizes(n_rows)?;
        let fold = |fold: usize| {
            let order = draws(self.seed, fold as u64 + 1, n_rows);
            let sorted = |rows: &[usize]| {
                let mut rows = rows.to_vec();
                rows.sort_unstable();
                rows
            };
            Fold { test: sorted(&order[..n_test]), train: sorted(&order[n_test..n_test + n_train]) }
        };
        Ok((0..self.n_splits).map(fold).collect())
    }

    /// Rows to learn from and rows to judge by.
    fn sizes(&self, n_rows: usize) -> Result<(usize, usize)> {
        if self.n_splits == 0 {
            return Err(Error::parameter("n_splits", 0, "1 or more"));
        }
        let size = |name: &str, size: Size, round: fn(f64) -> f64| match size {
            Size::Share(share) if share > 0. && share < 1. => Ok(round(share * n_rows as f64) as usize),
            Size::Share(share) => Err(Error::parameter(name, share, "a share between 0 and 1, or a number of rows")),
            Size::Rows(rows) if rows > 0 && rows < n_rows => Ok(rows),
            Size::Rows(rows) => {
                Err(Error::parameter(name, rows, format!("1 to {}, one row less than there are", n_rows.max(1) - 1)))
            }
        };
        let test_size = match (self.test_size, self.train_size) {
            (None, None) => Some(Size::Share(0.1)),
            (test_size, _) => test_size,
        };
        let n_test = test_size.map(|test_size| size("test_size", test_size, f64::ceil)).transpose()?;
        let n_train = self.train_size.map(|train_size| size("train_size", train_size, f64::floor)).transpose()?;
        let (n_train, n_test) = match (n_train, n_test) {
            (None, None) => (0, n_rows),
            (None, Some(n_test)) => (n_rows.saturating_sub(n_test), n_test),
            (Some(n_train), None) => (n_train, n_rows.saturating_sub(n_train)),
            (Some(n_train), Some(n_test)) => (n_train, n_test),
        };
        if n_train + n_test > n_rows {
            let expected = format!("{n_rows} rows at most together with test_size, {n_test}");
            return Err(Error::parameter("train_size", n_train, expected));
        }
        if n_train == 0 || n_test == 0 {
            let part = if n_train == 0 { "train" } else { "test" };
            return Err(Error::EmptyFold { splitter: "ShuffleSplit", fold: 0, part, n_rows });
        }
        Ok((n_train, n_test))
    }
}
