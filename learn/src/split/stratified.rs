//! Folds that each have the classes of y in nearly the same shares.

use ndarray::ArrayView1;
use serde::{Deserialize, Serialize};

use super::{Fold, SplitRows, draws, folds_of, unique};
use crate::{Error, Result};

/// K folds, each with nearly as many rows of each class as the others.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `n_splits` | 5 | number of folds | 2 to the rows of the largest class |
/// | `shuffle` | none | seed to deal the rows of a class by; none keeps them together, in order | any |
///
/// Without `shuffle` the folds are scikit-learn's; with it they are drawn by our own generator. y is compared number by
/// number: it should hold classes.
///
/// ```
/// use ndarray::array;
/// use phalanx_learn::split::{SplitRows, StratifiedKFold};
/// let y = array![0., 0., 1., 1., 0., 0.];
/// let folds = StratifiedKFold::new(2).split(&SplitRows::new(6).y(y.view())).unwrap();
/// assert_eq!((&folds[0].test[..], &folds[1].test[..]), (&[0, 1, 2][..], &[3, 4, 5][..]));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StratifiedKFold {
    /// Number of folds.
    pub n_splits: usize,
    /// Seed to deal the rows of a class by; none keeps them together, in order.
    pub shuffle: Option<u64>,
}

impl Default for StratifiedKFold {
    fn default() -> Self {
        Self { n_splits: 5, shuffle: None }
    }
}

impl StratifiedKFold {
    /// Folds whose rows of a class stay together, in order.
    pub const fn new(n_splits: usize) -> Self {
        Self { n_splits, shuffle: None }
    }

    /// Deals the rows of a class by a seed.
    #[must_use]
    pub const fn shuffle(mut self, seed: u64) -> Self {
        self.shuffle = Some(seed);
        self
    }

    /// Every fold.
    ///
    /// # Errors
    /// When there is no y, there are fewer than two folds or more than rows, or no class has as many rows as there are
    /// folds.
    pub fn split(&self, rows: &SplitRows<'_>) -> Result<Vec<Fold>> {
        let y = rows.need_y("StratifiedKFold")?;
        super::KFold::new(self.n_splits).check(rows.n_rows())?;
        let classes = Classes::of(y);
        let largest = classes.counts.iter().copied().max().unwrap_or_default();
        if self.n_splits > largest {
            return Err(Error::ClassesTooSmall { n_splits: self.n_splits, largest });
        }
        let mut fold_of = vec![0; rows.n_rows()];
        let mut before = 0;
        for (class, &count) in classes.counts.iter().enumerate() {
            // Of all rows sorted by class, every n-th goes to one fold: so many of this class does each get.
            let mut folds: Vec<usize> = (0..self.n_splits)
                .flat_map(|fold| {
                    let dealt = |upto: usize| (upto + self.n_splits - 1 - fold) / self.n_splits;
                    std::iter::repeat_n(fold, dealt(before + count) - dealt(before))
                })
                .collect();
            if let Some(seed) = self.shuffle {
                let order = draws(seed, class as u64 + 1, folds.len());
                folds = order.into_iter().map(|place| folds[place]).collect();
            }
            let members = classes.class_of.iter().enumerate().filter(|(_, of)| **of == class).map(|(row, _)| row);
            for (row, fold) in members.zip(folds) {
                fold_of[row] = fold;
            }
            before += count;
        }
        Ok(folds_of(&fold_of, self.n_splits))
    }
}

/// Classes by their first appearance.
struct Classes {
    class_of: Vec<usize>,
    counts: Vec<usize>,
}

impl Classes {
    fn of(y: ArrayView1<'_, f64>) -> Self {
        let (values, place_of) = unique(y);
        let mut by_appearance = vec![usize::MAX; values.len()];
        let mut counts = Vec::new();
        let class_of = place_of.into_iter().map(|place| {
            if by_appearance[place] == usize::MAX {
                by_appearance[place] = counts.len();
                counts.push(0);
            }
            counts[by_appearance[place]] += 1;
            by_appearance[place]
        });
        Self { class_of: class_of.collect(), counts }
    }
}
