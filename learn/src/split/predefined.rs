//! Folds that somebody has chosen already, row by row.

use serde::{Deserialize, Serialize};

use super::Fold;
use crate::{Error, Result};

/// The fold of each row, as scikit-learn's `PredefinedSplit`; a row of -1 is learned from in all folds.
///
/// Folds come in the order of their numbers, which need not be without gaps.
///
/// ```
/// use phalanx_learn::split::PredefinedSplit;
/// let folds = PredefinedSplit::new([0, 1, -1, 1]).split(4).unwrap();
/// assert_eq!((&folds[0].train[..], &folds[0].test[..]), (&[1, 2, 3][..], &[0][..]));
/// assert_eq!((&folds[1].train[..], &folds[1].test[..]), (&[0, 2][..], &[1, 3][..]));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PredefinedSplit {
    /// One a row: the fold that judges by it, or -1.
    pub test_fold: Vec<i64>,
}

impl PredefinedSplit {
    /// The fold of each row.
    pub fn new(test_fold: impl IntoIterator<Item = i64>) -> Self {
        Self { test_fold: test_fold.into_iter().collect() }
    }

    /// How many folds there are.
    pub fn n_splits(&self) -> usize {
        self.numbers().len()
    }

    /// Every fold of `n_rows` rows.
    ///
    /// # Errors
    /// When there is not one number a row, one is below -1, there is no fold, or one has nothing to learn from.
    pub fn split(&self, n_rows: usize) -> Result<Vec<Fold>> {
        crate::validate::same_length("X", n_rows, "test_fold", self.test_fold.len())?;
        if let Some(below) = self.test_fold.iter().find(|fold| **fold < -1) {
            return Err(Error::parameter("test_fold", below, "-1 or more"));
        }
        let numbers = self.numbers();
        if numbers.is_empty() {
            return Err(Error::parameter("test_fold", "-1 in every row", "one fold or more"));
        }
        let fold = |number: &i64| {
            let (test, train) = (0..n_rows).partition(|&row| self.test_fold[row] == *number);
            Fold { train, test }
        };
        let folds: Vec<Fold> = numbers.iter().map(fold).collect();
        match folds.iter().position(|fold| fold.train.is_empty()) {
            Some(fold) => Err(Error::EmptyFold { splitter: "PredefinedSplit", fold, part: "train", n_rows }),
            None => Ok(folds),
        }
    }

    fn numbers(&self) -> Vec<i64> {
        let mut numbers: Vec<i64> = self.test_fold.iter().copied().filter(|fold| *fold >= 0).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }
}
