//! Which rows a model learns from and which ones judge it.
//!
//! A split is described by a few numbers, never by lists of rows (but for folds that somebody has predefined), so that
//! it travels at no cost; whoever needs the rows of a fold makes them where they are needed. Splitters look at y and at
//! groups, never at X.

mod group;
mod kfold;
mod predefined;
mod shuffle;
mod stratified;
mod time;

use ndarray::ArrayView1;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, validate};

pub use group::GroupKFold;
pub use kfold::KFold;
pub use predefined::PredefinedSplit;
pub use shuffle::{ShuffleSplit, Size};
pub use stratified::StratifiedKFold;
pub use time::{PurgedKFold, TimeSeriesSplit};

/// Any way of splitting rows, as it travels to workers and lies in files.
///
/// | splitter | folds | looks at |
/// |---|---|---|
/// | [`KFold`] | of nearly one size; each row judges once | |
/// | [`StratifiedKFold`] | with the classes of y in nearly the same shares | y |
/// | [`GroupKFold`] | that part no group | groups |
/// | [`ShuffleSplit`] | drawn one by one | |
/// | [`TimeSeriesSplit`] | that learn from the past, with a gap | the order of rows |
/// | [`PurgedKFold`] | without rows whose labels overlap those that judge, with an embargo | the order of rows |
/// | [`PredefinedSplit`] | that somebody has chosen | |
///
/// ```
/// use phalanx_learn::split::{SplitRows, Splitter, TimeSeriesSplit};
/// let splitter = Splitter::from(TimeSeriesSplit::new(3).gap(2));
/// let text = serde_json::to_string(&splitter).unwrap();
/// assert_eq!(
///     text,
///     r#"{"time_series_split":{"n_splits":3,"max_train_size":null,"test_size":null,"gap":2}}"#
/// );
/// assert_eq!(splitter.split(&SplitRows::new(20)).unwrap().len(), splitter.n_splits());
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Splitter {
    /// Folds of nearly one size.
    #[serde(rename = "k_fold")]
    KFold(KFold),
    /// Folds with the classes of y in nearly the same shares.
    #[serde(rename = "stratified_k_fold")]
    StratifiedKFold(StratifiedKFold),
    /// Folds that part no group.
    #[serde(rename = "group_k_fold")]
    GroupKFold(GroupKFold),
    /// Folds drawn one by one.
    ShuffleSplit(ShuffleSplit),
    /// Folds that learn from the past.
    TimeSeriesSplit(TimeSeriesSplit),
    /// Folds without rows whose labels overlap those that judge.
    #[serde(rename = "purged_k_fold")]
    PurgedKFold(PurgedKFold),
    /// Folds that somebody has chosen.
    PredefinedSplit(PredefinedSplit),
}

/// What splitters may look at: how many rows there are, and what belongs to each.
#[derive(Debug, Clone, Copy)]
pub struct SplitRows<'a> {
    n_rows: usize,
    y: Option<ArrayView1<'a, f64>>,
    groups: Option<ArrayView1<'a, f64>>,
}

/// The rows of one fold, each part ascending and from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    /// The rows to learn from.
    pub train: Vec<usize>,
    /// The rows to judge by.
    pub test: Vec<usize>,
}

impl<'a> SplitRows<'a> {
    /// So many rows, of which nothing else is known.
    pub const fn new(n_rows: usize) -> Self {
        Self { n_rows, y: None, groups: None }
    }

    /// Sets y, one number a row.
    #[must_use]
    pub const fn y(mut self, y: ArrayView1<'a, f64>) -> Self {
        self.y = Some(y);
        self
    }

    /// Sets the group of each row, a number that rows of one group share.
    #[must_use]
    pub const fn groups(mut self, groups: ArrayView1<'a, f64>) -> Self {
        self.groups = Some(groups);
        self
    }

    /// How many rows there are.
    pub const fn n_rows(&self) -> usize {
        self.n_rows
    }

    fn need_y(&self, splitter: &'static str) -> Result<ArrayView1<'a, f64>> {
        self.need("y", self.y, splitter)
    }

    fn need_groups(&self, splitter: &'static str) -> Result<ArrayView1<'a, f64>> {
        self.need("groups", self.groups, splitter)
    }

    fn need(
        &self,
        what: &'static str,
        given: Option<ArrayView1<'a, f64>>,
        splitter: &'static str,
    ) -> Result<ArrayView1<'a, f64>> {
        let Some(given) = given else { return Err(Error::SplitterNeeds { splitter, what }) };
        validate::same_length("X", self.n_rows, what, given.len())?;
        validate::finite_vector(what, given)?;
        Ok(given)
    }
}

impl Splitter {
    /// How many folds there are, whatever the rows.
    pub fn n_splits(&self) -> usize {
        match self {
            Self::KFold(folds) => folds.n_splits,
            Self::StratifiedKFold(folds) => folds.n_splits,
            Self::GroupKFold(folds) => folds.n_splits,
            Self::ShuffleSplit(folds) => folds.n_splits,
            Self::TimeSeriesSplit(folds) => folds.n_splits,
            Self::PurgedKFold(folds) => folds.n_splits,
            Self::PredefinedSplit(folds) => folds.n_splits(),
        }
    }

    /// Every fold.
    ///
    /// # Errors
    /// As the splitter's own `split`: parameters out of their range, too few rows, groups or classes, nothing to look at.
    pub fn split(&self, rows: &SplitRows<'_>) -> Result<Vec<Fold>> {
        match self {
            Self::KFold(folds) => folds.split(rows.n_rows),
            Self::StratifiedKFold(folds) => folds.split(rows),
            Self::GroupKFold(folds) => folds.split(rows),
            Self::ShuffleSplit(folds) => folds.split(rows.n_rows),
            Self::TimeSeriesSplit(folds) => folds.split(rows.n_rows),
            Self::PurgedKFold(folds) => folds.split(rows.n_rows),
            Self::PredefinedSplit(folds) => folds.split(rows.n_rows),
        }
    }

    /// The fold number `fold`, from 0.
    ///
    /// # Errors
    /// As [`split`](Self::split), and when there are not so many folds.
    pub fn fold(&self, rows: &SplitRows<'_>, fold: usize) -> Result<Fold> {
        if let Self::KFold(folds) = self {
            return folds.fold(rows.n_rows, fold);
        }
        self.split(rows)?
            .into_iter()
            .nth(fold)
            .ok_or_else(|| Error::parameter("fold", fold, format!("below n_splits, {}", self.n_splits())))
    }

    /// Whether folds follow from groups.
    pub const fn needs_groups(&self) -> bool {
        matches!(self, Self::GroupKFold(_))
    }
}

/// Checks that a part of every fold has two classes of y or more: `train` for what tells classes apart, `test` for
/// metrics that need both.
///
/// # Errors
/// The first fold that has one.
pub fn check_classes(folds: &[Fold], y: ArrayView1<'_, f64>, part: &'static str) -> Result<()> {
    for (number, fold) in folds.iter().enumerate() {
        let rows = if part == "train" { &fold.train } else { &fold.test };
        if let Some(&first) = rows.first()
            && rows.iter().all(|row| y[*row] == y[first])
        {
            return Err(Error::OneClassFold { fold: number, part, class: y[first] });
        }
    }
    Ok(())
}

macro_rules! splitter_from {
    ($($name:ident),*) => {
        $(impl From<$name> for Splitter {
            fn from(splitter: $name) -> Self {
                Self::$name(splitter)
            }
        })*
    };
}

splitter_from!(KFold, StratifiedKFold, GroupKFold, ShuffleSplit, TimeSeriesSplit, PurgedKFold, PredefinedSplit);

impl Default for Splitter {
    /// Five contiguous folds.
    fn default() -> Self {
        Self::KFold(KFold::default())
    }
}

/// Some rows of a part of a fold, for searches that begin on a share of the data: the same for one seed, those of a
/// smaller share among those of a larger one, ascending, one row at least.
///
/// ```
/// use phalanx_learn::split::subsample;
/// let rows = [1, 3, 4, 7, 9, 12];
/// let (half, third) = (subsample(&rows, 0.5, 42), subsample(&rows, 1. / 3., 42));
/// assert_eq!((half.len(), third.len()), (3, 2));
/// assert!(third.iter().all(|row| half.contains(row)));
/// ```
pub fn subsample(rows: &[usize], share: f64, seed: u64) -> Vec<usize> {
    if share >= 1. {
        return rows.to_vec();
    }
    // A share that is a fraction of whole numbers may fall just short of a whole number of rows.
    let n = ((rows.len() as f64 * share + 1e-9) as usize).clamp(rows.len().min(1), rows.len());
    let mut kept: Vec<usize> = draws(seed, 0, rows.len()).into_iter().take(n).map(|place| rows[place]).collect();
    kept.sort_unstable();
    kept
}

/// The numbers below n in an order that follows from a seed and a stream.
fn draws(seed: u64, stream: u64, n: usize) -> Vec<usize> {
    // Sorting by one draw a row depends on nothing but ChaCha's stream, which never changes.
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(stream);
    let draws: Vec<u64> = (0..n).map(|_| random.next_u64()).collect();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by_key(|&place| (draws[place], place));
    order
}

/// Folds by the fold that each row judges in.
fn folds_of(fold_of: &[usize], n_splits: usize) -> Vec<Fold> {
    let fold = |fold: usize| {
        let (test, train) = (0..fold_of.len()).partition(|&row| fold_of[row] == fold);
        Fold { train, test }
    };
    (0..n_splits).map(fold).collect()
}

/// The different numbers, ascending, and the place among them of each.
fn unique(numbers: ArrayView1<'_, f64>) -> (Vec<f64>, Vec<usize>) {
    // -0 and 0 are one.
    let mut values: Vec<f64> = numbers.iter().map(|number| number + 0.).collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    let place = |number: &f64| values.partition_point(|value| value < number);
    let places = numbers.iter().map(place).collect();
    (values, places)
}

#[cfg(test)]
mod tests;
