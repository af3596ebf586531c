//! Folds of nearly one size, contiguous or shuffled.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use serde::{Deserialize, Serialize};

use super::Fold;
use crate::{Error, Result};

/// K folds of nearly one size: each row is in the test part of exactly one.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `n_splits` | 5 | number of folds | 2 to the number of rows |
/// | `shuffle` | none | seed to draw the rows of a fold by; none keeps them together, in order | any |
///
/// Sizes are scikit-learn's: the first n_rows % n_splits folds have one row more. Without `shuffle` the folds are
/// scikit-learn's too; with it they are drawn by our own generator.
///
/// ```
/// use phalanx_learn::split::KFold;
/// let folds = KFold::new(2).split(5).unwrap();
/// assert_eq!((&folds[0].test[..], &folds[0].train[..]), (&[0, 1, 2][..], &[3, 4][..]));
/// assert_eq!((&folds[1].test[..], &folds[1].train[..]), (&[3, 4][..], &[0, 1, 2][..]));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KFold {
    /// Number of folds.
    pub n_splits: usize,
    /// Seed to draw the rows of a fold by; none keeps them together, in order.
    pub shuffle: Option<u64>,
}

impl Default for KFold {
    fn default() -> Self {
        Self { n_splits: 5, shuffle: None }
    }
}

impl KFold {
    /// Contiguous folds.
    pub const fn new(n_splits: usize) -> Self {
        Self { n_splits, shuffle: None }
    }

    /// Draws the rows of a fold by a seed.
    #[must_use]
    pub const fn shuffle(mut self, seed: u64) -> Self {
        self.shuffle = Some(seed);
        self
    }

    /// Every fold of `n_rows` rows.
    ///
    /// # Errors
    /// When there are fewer than two folds, or more folds than rows.
    pub fn split(&self, n_rows: usize) -> Result<Vec<Fold>> {
        let order = self.order(n_rows)?;
        Ok((0..self.n_splits).map(|fold| self.cut(&order, fold)).collect())
    }

    /// The fold number `fold`, from 0.
    ///
    /// # Errors
    /// As [`split`](Self::split), and when there are not so many folds.
    pub fn fold(&self, n_rows: usize, fold: usize) -> Result<Fold> {
        let order = self.order(n_rows)?;
        if fold >= self.n_splits {
            return Err(Error::parameter("fold", fold, format!("below n_splits, {}", self.n_splits)));
        }
        Ok(self.cut(&order, fold))
    }

    /// Checks that so many rows can be split.
    ///
    /// # Errors
    /// When there are fewer than two folds, or more folds than rows.
    pub const fn check(&self, n_rows: usize) -> Result<()> {
        if self.n_splits < 2 || self.n_splits > n_rows {
            return Err(Error::Folds { n_splits: self.n_splits, n_rows });
        }
        Ok(())
    }

    fn order(&self, n_rows: usize) -> Result<Vec<usize>> {
        self.check(n_rows)?;
        let mut rows: Vec<usize> = (0..n_rows).collect();
        if let Some(seed) = self.shuffle {
            // Sorting by one draw a row depends on nothing but ChaCha's stream, which never changes.
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let draws: Vec<u64> = rows.iter().map(|_| random.next_u64()).collect();
            rows.sort_by_key(|&row| (draws[row], row));
        }
        Ok(rows)
    }

    fn cut(&self, order: &[usize], fold: usize) -> Fold {
        let (size, longer) = (order.len() / self.n_splits, order.len() % self.n_splits);
        let start = fold * size + fold.min(longer);
        let end = start + size + usize::from(fold < longer);
        let mut test = order[start..end].to_vec();
        let mut train = [&order[..start], &order[end..]].concat();
        test.sort_unstable();
        train.sort_unstable();
        Fold { train, test }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_folds_are_one_longer() {
        let tests: Vec<_> = KFold::new(3).split(11).expect("folds").into_iter().map(|fold| fold.test).collect();
        assert_eq!(tests, [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9, 10]]);
    }

    #[test]
    fn every_row_is_tested_once_and_trained_on_otherwise() {
        for cv in [KFold::new(2), KFold::new(7), KFold::new(4).shuffle(1), KFold::new(20).shuffle(2)] {
            let folds = cv.split(20).expect("folds");
            let mut tested: Vec<_> = folds.iter().flat_map(|fold| fold.test.clone()).collect();
            tested.sort_unstable();
            assert_eq!(tested, Vec::from_iter(0..20));
            for (number, fold) in folds.iter().enumerate() {
                assert_eq!(cv.fold(20, number).expect("a fold"), *fold);
                let mut all = [&fold.train[..], &fold.test[..]].concat();
                assert!(fold.train.is_sorted() && fold.test.is_sorted());
                all.sort_unstable();
                assert_eq!(all, Vec::from_iter(0..20));
            }
        }
    }

    #[test]
    fn a_seed_means_the_same_folds_for_ever() {
        let tests = |seed| -> Vec<_> {
            KFold::new(3).shuffle(seed).split(9).expect("folds").into_iter().map(|fold| fold.test).collect()
        };
        assert_eq!(tests(0), [vec![1, 3, 5], vec![0, 2, 8], vec![4, 6, 7]]);
        assert_ne!(tests(0), tests(1));
    }

    #[test]
    fn folds_need_rows() {
        let error = |n_splits, n_rows| KFold::new(n_splits).split(n_rows).expect_err("refused").to_string();
        assert_eq!(error(5, 4), "n_splits is 5, expected 2 to 4, the number of rows");
        assert_eq!(error(1, 4), "n_splits is 1, expected 2 to 4, the number of rows");
        assert_eq!(KFold::new(2).fold(4, 2).expect_err("refused").to_string(), "fold is 2, expected below n_splits, 2");
    }
}
