//! Folds that never part a group: rows of one group are all learned from or all judged by.

use serde::{Deserialize, Serialize};

use super::{Fold, SplitRows, draws, folds_of, unique};
use crate::{Error, Result};

/// K folds of whole groups, of nearly one size in rows.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `n_splits` | 5 | number of folds | 2 to the number of groups |
/// | `shuffle` | none | seed to deal the groups by, as many to each fold; none balances rows | any |
///
/// Without `shuffle` the folds are scikit-learn's: the largest group first, each to the fold of the fewest rows. With it
/// they are drawn by our own generator.
///
/// ```
/// use ndarray::array;
/// use phalanx_learn::split::{GroupKFold, SplitRows};
/// let groups = array![1., 1., 2., 2., 2., 3.];
/// let folds = GroupKFold::new(2).split(&SplitRows::new(6).groups(groups.view())).unwrap();
/// assert_eq!((&folds[0].test[..], &folds[1].test[..]), (&[2, 3, 4][..], &[0, 1, 5][..]));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroupKFold {
    /// Number of folds.
    pub n_splits: usize,
    /// Seed to deal the groups by; none balances rows.
    pub shuffle: Option<u64>,
}

impl Default for GroupKFold {
    fn default() -> Self {
        Self { n_splits: 5, shuffle: None }
    }
}

impl GroupKFold {
    /// Folds of balanced rows.
    pub const fn new(n_splits: usize) -> Self {
        Self { n_splits, shuffle: None }
    }

    /// Deals the groups by a seed.
    #[must_use]
    pub const fn shuffle(mut self, seed: u64) -> Self {
        self.shuffle = Some(seed);
        self
    }

    /// Every fold.
    ///
    /// # Errors
    /// When there are no groups, fewer than two folds, or more folds than groups.
    pub fn split(&self, rows: &SplitRows<'_>) -> Result<Vec<Fold>> {
        let groups = rows.need_groups("GroupKFold")?;
        super::KFold::new(self.n_splits).check(rows.n_rows())?;
        let (values, group_of) = unique(groups);
        if self.n_splits > values.len() {
            return Err(Error::TooFewGroups { n_splits: self.n_splits, n_groups: values.len() });
        }
        let mut fold_of_group = vec![0; values.len()];
        if let Some(seed) = self.shuffle {
            let (size, longer) = (values.len() / self.n_splits, values.len() % self.n_splits);
            let sizes =
                (0..self.n_splits).flat_map(|fold| std::iter::repeat_n(fold, size + usize::from(fold < longer)));
            for (group, fold) in draws(seed, 0, values.len()).into_iter().zip(sizes) {
                fold_of_group[group] = fold;
            }
        } else {
            let mut counts = vec![0; values.len()];
            group_of.iter().for_each(|group| counts[*group] += 1);
            let mut largest_first: Vec<usize> = (0..values.len()).collect();
            // Of equals the last by value first, as scikit-learn's turned stable sort has it.
            largest_first.sort_by_key(|group| std::cmp::Reverse((counts[*group], *group)));
            let mut sizes = vec![0_usize; self.n_splits];
            for group in largest_first {
                let lightest = (0..self.n_splits).min_by_key(|fold| sizes[*fold]).unwrap_or_default();
                sizes[lightest] += counts[group];
                fold_of_group[group] = lightest;
            }
        }
        let fold_of: Vec<usize> = group_of.into_iter().map(|group| fold_of_group[group]).collect();
        Ok(folds_of(&fold_of, self.n_splits))
    }
}
