//! y with what belongs to each of its rows: weight, offset, exposure, trials.
//!
//! Solvers know weights and an offset only; this file turns the others into those, in memory and on chunks alike.

use std::borrow::Cow;

use ndarray::{ArrayView1, ArrayView2};
use phalanx_array::ChunkedArray;
use phalanx_learn::{Error, Result, validate};

use crate::kernel::{Rows, Stride};

/// y in memory, with what belongs to each of its rows.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `sample_weight` | 1 | how often a row counts; 0: the row is absent | 0 or more |
/// | `offset` | 0 | added to the linear predictor | any finite number |
/// | `exposure` | 1 | its logarithm is added to the linear predictor: y counts of an exposure this large | above 0 |
/// | `trials` | 1 | y is successes of so many trials, of the binomial family | whole, y or more; 0: the row is absent |
/// | `groups` | none | rows of one group hang together, for clustered covariance | any number |
/// | `folds` | drawn | which fold of a cross-validation holds the row out | whole numbers from 0 or from 1 |
///
/// A row's weight and its trials multiply: `trials` makes y a share and the weight what it was times the trials.
///
/// ```
/// use ndarray::array;
/// use phalanx_glm::{PoissonRegression, Response};
/// use phalanx_learn::Fit;
///
/// # fn main() -> phalanx_learn::Result<()> {
/// let x = array![[0.], [0.], [1.], [1.]];
/// let (claims, policies) = (array![1., 3., 4., 12.], array![10., 30., 10., 30.]);
/// let model = PoissonRegression::new().fit(&x, Response::new(&claims).exposure(&policies))?;
/// // 0.1 claims a policy where x is 0 and 0.4 where it is 1.
/// assert!((model.intercept() - 0.1_f64.ln()).abs() < 1e-9 && (model.coef()[0] - 4_f64.ln()).abs() < 1e-9);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Response<'a> {
    y: ArrayView1<'a, f64>,
    sample_weight: Option<ArrayView1<'a, f64>>,
    offset: Option<ArrayView1<'a, f64>>,
    exposure: Option<ArrayView1<'a, f64>>,
    trials: Option<ArrayView1<'a, f64>>,
    groups: Option<ArrayView1<'a, f64>>,
    folds: Option<ArrayView1<'a, f64>>,
}

/// y in chunks, with what belongs to each of its rows: as [`Response`], each lazy or persisted and in any chunks.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use phalanx_array::ChunkedArray;
/// use phalanx_glm::{ChunkedResponse, PoissonRegression};
/// use phalanx_learn::FitOn;
/// use phalanx_runtime::blocking::Client;
///
/// let client = Client::local()?;
/// let x = ChunkedArray::random_normal(1, 0., 1., &[5_000, 2], 1024)?;
/// let exposure = ChunkedArray::random_uniform(2, 1., 9., &[5_000], 2048)?;
/// let y = &exposure * 0.25;
/// let response = ChunkedResponse::new(&y).exposure(&exposure);
/// let model = client.wait(PoissonRegression::new().fit_on(&client, &x, &response))?;
/// assert!((model.intercept() - 0.25_f64.ln()).abs() < 1e-9);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ChunkedResponse {
    pub(crate) y: ChunkedArray,
    sample_weight: Option<ChunkedArray>,
    offset: Option<ChunkedArray>,
    exposure: Option<ChunkedArray>,
    trials: Option<ChunkedArray>,
    groups: Option<ChunkedArray>,
    folds: Option<ChunkedArray>,
}

impl<'a> Response<'a> {
    /// y, each row counting once.
    pub fn new(y: impl Into<ArrayView1<'a, f64>>) -> Self {
        Self { y: y.into(), sample_weight: None, offset: None, exposure: None, trials: None, groups: None, folds: None }
    }

    /// Sets how often each row counts.
    #[must_use]
    pub fn sample_weight(mut self, weights: impl Into<ArrayView1<'a, f64>>) -> Self {
        self.sample_weight = Some(weights.into());
        self
    }

    /// Sets what is added to each row's linear predictor.
    #[must_use]
    pub fn offset(mut self, offset: impl Into<ArrayView1<'a, f64>>) -> Self {
        self.offset = Some(offset.into());
        self
    }

    /// Sets what each row's y was counted on.
    #[must_use]
    pub fn exposure(mut self, exposure: impl Into<ArrayView1<'a, f64>>) -> Self {
        self.exposure = Some(exposure.into());
        self
    }

    /// Sets how many trials each row's y is successes of.
    #[must_use]
    pub fn trials(mut self, trials: impl Into<ArrayView1<'a, f64>>) -> Self {
        self.trials = Some(trials.into());
        self
    }

    /// Sets the group of each row, any number: rows of one group hang together, those of others do not.
    #[must_use]
    pub fn groups(mut self, groups: impl Into<ArrayView1<'a, f64>>) -> Self {
        self.groups = Some(groups.into());
        self
    }

    /// Sets the fold of each row for cross-validation: whole numbers from 0 or from 1.
    #[must_use]
    pub fn folds(mut self, folds: impl Into<ArrayView1<'a, f64>>) -> Self {
        self.folds = Some(folds.into());
        self
    }

    pub(crate) const fn has_trials(&self) -> bool {
        self.trials.is_some()
    }

    /// The first thing that has no meaning where y is one of several classes.
    pub(crate) fn beyond_classes(&self) -> Option<&'static str> {
        let named = [("offset", &self.offset), ("exposure", &self.exposure), ("trials", &self.trials)];
        named.into_iter().find_map(|(name, values)| values.is_some().then_some(name))
    }

    pub(crate) const fn has_groups(&self) -> bool {
        self.groups.is_some()
    }

    pub(crate) const fn has_folds(&self) -> bool {
        self.folds.is_some()
    }

    /// Rows as the kernels want them: one after the other, y a share, exposure in the offset.
    pub(crate) fn rows<'r>(&'r self, x: &'r ArrayView2<'_, f64>) -> Result<LocalRows<'r>> {
        if x.is_empty() {
            return Err(Error::Empty { what: "X" });
        }
        self.beside(x)
    }

    /// The same where X may have no columns, as others are beside them.
    pub(crate) fn beside<'r>(&'r self, x: &'r ArrayView2<'_, f64>) -> Result<LocalRows<'r>> {
        let n = x.nrows();
        validate::same_length("X", n, "y", self.y.len())?;
        let named = [
            ("sample_weight", &self.sample_weight),
            ("offset", &self.offset),
            ("exposure", &self.exposure),
            ("trials", &self.trials),
            ("groups", &self.groups),
            ("folds", &self.folds),
        ];
        for (name, values) in named {
            if let Some(values) = values {
                validate::same_length("X", n, name, values.len())?;
            }
        }
        // Other layouts than rows one after the other are copied once.
        let x_rows = x.as_slice().map_or_else(|| Cow::from(x.iter().copied().collect::<Vec<_>>()), Cow::from);
        let mut y = slice(&self.y);
        let mut weights = self.sample_weight.as_ref().map(slice);
        if let Some(trials) = &self.trials {
            for (row, (&k, &n)) in self.y.iter().zip(trials).enumerate() {
                if !(n.is_finite() && n >= 0. && n.fract() == 0.) {
                    let expected = "a whole number, 0 or more";
                    return Err(Error::Domain { metric: "binomial", what: "trials", row, value: n, expected });
                }
                if !(k >= 0. && k <= n) {
                    let expected = "0 to the row's trials";
                    return Err(Error::Domain { metric: "binomial", what: "y", row, value: k, expected });
                }
            }
            let share = |(k, n): (&f64, &f64)| if *n > 0. { k / n } else { 0. };
            y = self.y.iter().zip(trials).map(share).collect();
            let old = weights.unwrap_or_else(|| vec![1.; n].into());
            weights = Some(old.iter().zip(trials).map(|(w, n)| w * n).collect());
        }
        let mut offset = self.offset.as_ref().map(slice);
        if let Some(exposure) = &self.exposure {
            if let Some((row, &value)) = exposure.iter().enumerate().find(|(_, e)| !(e.is_finite() && **e > 0.)) {
                let expected = "a number above 0";
                return Err(Error::Domain { metric: "log link", what: "exposure", row, value, expected });
            }
            let old = offset.unwrap_or_else(|| vec![0.; n].into());
            offset = Some(old.iter().zip(exposure).map(|(o, e)| o + e.ln()).collect());
        }
        let [trials, groups, folds] =
            [&self.trials, &self.groups, &self.folds].map(|values| values.as_ref().map(slice));
        if let Some(groups) = &self.groups {
            validate::finite_vector("groups", groups.view())?;
        }
        Ok(LocalRows { x: x_rows, n_features: x.ncols(), y, weights, offset, trials, groups, folds })
    }
}

/// Rows in memory, as the kernels want them.
#[derive(Debug)]
pub(crate) struct LocalRows<'a> {
    x: Cow<'a, [f64]>,
    n_features: usize,
    y: Cow<'a, [f64]>,
    weights: Option<Cow<'a, [f64]>>,
    offset: Option<Cow<'a, [f64]>>,
    trials: Option<Cow<'a, [f64]>>,
    groups: Option<Cow<'a, [f64]>>,
    folds: Option<Cow<'a, [f64]>>,
}

impl LocalRows<'_> {
    pub(crate) fn rows(&self) -> Rows<'_> {
        Rows {
            x: &self.x,
            y: &self.y,
            weights: self.weights.as_deref(),
            offset: self.offset.as_deref(),
            trials: self.trials.as_deref(),
            groups: self.groups.as_deref(),
            folds: self.folds.as_deref(),
            n_features: self.n_features,
            first_panel: 0,
            held: Stride::ALL,
        }
    }
}

fn slice<'r>(values: &'r ArrayView1<'_, f64>) -> Cow<'r, [f64]> {
    values.as_slice().map_or_else(|| Cow::from(values.to_vec()), Cow::from)
}

impl ChunkedResponse {
    /// y, each row counting once.
    pub fn new(y: &ChunkedArray) -> Self {
        Self {
            y: y.clone(),
            sample_weight: None,
            offset: None,
            exposure: None,
            trials: None,
            groups: None,
            folds: None,
        }
    }

    /// Sets how often each row counts.
    #[must_use]
    pub fn sample_weight(mut self, weights: &ChunkedArray) -> Self {
        self.sample_weight = Some(weights.clone());
        self
    }

    /// Sets what is added to each row's linear predictor.
    #[must_use]
    pub fn offset(mut self, offset: &ChunkedArray) -> Self {
        self.offset = Some(offset.clone());
        self
    }

    /// Sets what each row's y was counted on.
    #[must_use]
    pub fn exposure(mut self, exposure: &ChunkedArray) -> Self {
        self.exposure = Some(exposure.clone());
        self
    }

    /// Sets how many trials each row's y is successes of.
    #[must_use]
    pub fn trials(mut self, trials: &ChunkedArray) -> Self {
        self.trials = Some(trials.clone());
        self
    }

    /// Sets the group of each row, any number: rows of one group hang together, those of others do not.
    #[must_use]
    pub fn groups(mut self, groups: &ChunkedArray) -> Self {
        self.groups = Some(groups.clone());
        self
    }

    /// Sets the fold of each row for cross-validation: whole numbers from 0 or from 1.
    #[must_use]
    pub fn folds(mut self, folds: &ChunkedArray) -> Self {
        self.folds = Some(folds.clone());
        self
    }

    pub(crate) const fn has_trials(&self) -> bool {
        self.trials.is_some()
    }

    /// The first thing that has no meaning where y is one of several classes.
    pub(crate) fn beyond_classes(&self) -> Option<&'static str> {
        let named = [("offset", &self.offset), ("exposure", &self.exposure), ("trials", &self.trials)];
        named.into_iter().find_map(|(name, values)| values.is_some().then_some(name))
    }

    pub(crate) const fn has_groups(&self) -> bool {
        self.groups.is_some()
    }

    pub(crate) const fn has_folds(&self) -> bool {
        self.folds.is_some()
    }

    /// y, then weights, offset, trials, groups and folds where there are some, as solvers know them, lazily: the same
    /// operations on each number as in memory.
    pub(crate) fn columns(&self) -> Result<(ChunkedArray, [Option<ChunkedArray>; 5])> {
        let n = self.y.n_rows();
        let named = [
            ("sample_weight", &self.sample_weight),
            ("offset", &self.offset),
            ("exposure", &self.exposure),
            ("trials", &self.trials),
            ("groups", &self.groups),
            ("folds", &self.folds),
        ];
        for (name, values) in named {
            if let Some(values) = values {
                if values.n_axes() != 1 {
                    let found = format!("an array of {} axes", values.n_axes());
                    return Err(Error::parameter(name, found, "one: a number a row"));
                }
                validate::same_length("y", n, name, values.n_rows())?;
            }
        }
        let (mut y, mut weights) = (self.y.clone(), self.sample_weight.clone());
        if let Some(trials) = &self.trials {
            // No trials have no successes and no weight.
            y = y.try_div(&trials.clip(1., f64::MAX))?;
            weights = Some(match weights {
                None => trials.clone(),
                Some(weights) => weights.try_mul(trials)?,
            });
        }
        let mut offset = self.offset.clone();
        if let Some(exposure) = &self.exposure {
            offset = Some(match offset {
                None => exposure.ln(),
                Some(offset) => offset.try_add(&exposure.ln())?,
            });
        }
        Ok((y, [weights, offset, self.trials.clone(), self.groups.clone(), self.folds.clone()]))
    }
}
