//! Softmax regression: y is one of several classes. The estimator, which is parameters, and the model it gives.
//!
//! `machine` decides where to look, `pass` looks at panels of rows, `fit` drives the one with the other in memory and
//! on chunks, by `tasks`. How a class came to be a number is not known here.

mod class_weight;
mod fit;
mod machine;
mod pass;
mod tasks;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2};
use phalanx_array::{ChunkedArray, simd};
use phalanx_learn::{Error, Estimator, Fit, FitOn, Model, Predict, Result, lazy, validate};
use phalanx_runtime::Client;
use serde::{Deserialize, Serialize};

pub use self::class_weight::ClassWeights;
use self::{
    fit::{fit_chunked, fit_local},
    machine::{Softmax, Solution},
};
use crate::{
    kernel::predict,
    penalty::Penalty,
    report::Report,
    response::{ChunkedResponse, Response},
    solver::Spec,
};

/// Classification of rows into two classes or more by a softmax of linear models, with an elastic net penalty.
///
/// With η_ik = b0_k + x_i · b_k, the coefficients b and the intercepts b0, one row and one number a class, minimise
///
/// ```text
/// 1/(Σw) Σ_i w_i (ln Σ_k exp(η_ik) - η_i,y_i)
///     + alpha Σ_k Σ_j factor_j (l1_ratio |b_kj| + (1 - l1_ratio)/2 b_kj²)
/// ```
///
/// y holds the classes' codes: whole numbers, any, at most 10,000 different ones; those of rows without weight are
/// none. Intercepts are never penalised, and columns as in [`Glm`](crate::Glm). Sample weights come with y, as a
/// [`Response`]; an offset, exposure or trials are refused.
///
/// Adding one number to a coefficient of every class changes no probability. Without a penalty the first class, the
/// smallest code, is the reference: its coefficients are 0, as in R's `multinom` and Stata's `mlogit`. With one, every
/// class has its coefficients, and those that no penalty holds, as the intercepts, sum to 0 over the classes, as in
/// glmnet and scikit-learn. Where an L1 penalty alone leaves a range, which it does where classes are even in number,
/// they are what the elastic net comes to as its L2 share vanishes.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `alpha` | 0 | strength of the penalty | 0 or more |
/// | `l1_ratio` | 0 | its L1 share: 0 ridge, 1 lasso | 0 to 1 |
/// | `penalty_factor` | 1 each | multiplies a column's penalty; 0 leaves it free | 0 or more, one a column |
/// | `standardize` | false | whether the penalty is on standardised columns' coefficients | true, false |
/// | `class_weight` | none | what a row's weight is multiplied by for its class | a [`ClassWeights`] |
/// | `fit_intercept` | true | whether there are intercepts | true, false |
/// | `tol` | 1e-10 | stop when [`kkt_relative`](crate::Report::kkt_relative) is this or less | above 0, below 1 |
/// | `max_iter` | 10000 | steps to stop after | 1 or more |
///
/// Up to 600 coefficients of all classes together, intercepts included, Newton's steps find the optimum, beyond that
/// proximal gradient descent with momentum; the [`report`](MultinomialModel::report) says which.
///
/// Coming from scikit-learn: `LogisticRegression(C)` is alpha = 1/(n C). From glmnet: `family = "multinomial"` with
/// ungrouped coefficients has our `alpha` as its lambda, our `l1_ratio` as its alpha, and `standardize` TRUE by
/// default. Two classes: [`LogisticRegression`](crate::LogisticRegression) has b = b_1 - b_0, which for the ridge is
/// that of *half* the `alpha`, the two rows sharing it, and for the lasso that of the same.
///
/// ```
/// use ndarray::array;
/// use phalanx_glm::MultinomialRegression;
/// use phalanx_learn::{Fit, Predict};
///
/// # fn main() -> phalanx_learn::Result<()> {
/// let x = array![[0.], [1.], [2.], [3.], [4.], [5.]];
/// let y = array![10., 10., 20., 20., 30., 30.];
/// let model = MultinomialRegression::new().alpha(0.1).fit(&x, &y)?;
/// assert!(model.report().converged && model.classes() == [10., 20., 30.]);
/// assert_eq!(model.predict(&array![[0.], [5.]])?, array![10., 30.]);
/// assert!(model.intercepts().sum().abs() < 1e-12 && model.coef().sum().abs() < 1e-9);
/// # Ok(())
/// # }
/// ```
///
/// Sources: J. Friedman, T. Hastie, R. Tibshirani, "Regularization paths for generalized linear models via coordinate
/// descent" (2010), section 4; A. Agresti, *Categorical Data Analysis*, 3rd ed. (2013), section 8.1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MultinomialRegression {
    /// Strength of the penalty.
    pub alpha: f64,
    /// The L1 share of the penalty.
    pub l1_ratio: f64,
    /// What multiplies each column's penalty; empty for 1 each.
    pub penalty_factor: Vec<f64>,
    /// Whether the penalty is on the coefficients of columns divided by their standard deviation.
    pub standardize: bool,
    /// What a row's weight is multiplied by for its class.
    pub class_weight: Option<ClassWeights>,
    /// Whether the model has intercepts.
    pub fit_intercept: bool,
    /// Relative violation of the optimality conditions to stop at.
    pub tol: f64,
    /// Steps to stop after.
    pub max_iter: usize,
}

impl Default for MultinomialRegression {
    fn default() -> Self {
        let Spec { fit_intercept, tol, max_iter, .. } = Spec::default();
        let (alpha, l1_ratio, penalty_factor) = (0., 0., Vec::new());
        let (standardize, class_weight) = (false, None);
        Self { alpha, l1_ratio, penalty_factor, standardize, class_weight, fit_intercept, tol, max_iter }
    }
}

impl MultinomialRegression {
    /// The default parameters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the strength of the penalty.
    #[must_use]
    pub const fn alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// Sets the L1 share of the penalty: 0 is ridge, 1 is lasso.
    #[must_use]
    pub const fn l1_ratio(mut self, l1_ratio: f64) -> Self {
        self.l1_ratio = l1_ratio;
        self
    }

    /// Sets what multiplies each column's penalty: 0 leaves a column free.
    #[must_use]
    pub fn penalty_factor(mut self, factors: impl Into<Vec<f64>>) -> Self {
        self.penalty_factor = factors.into();
        self
    }

    /// Sets whether the penalty is on the coefficients of standardised columns; they come back in the data's units
    /// either way.
    #[must_use]
    pub const fn standardize(mut self, standardize: bool) -> Self {
        self.standardize = standardize;
        self
    }

    /// Sets what a row's weight is multiplied by for its class.
    #[must_use]
    pub fn class_weight(mut self, class_weight: ClassWeights) -> Self {
        self.class_weight = Some(class_weight);
        self
    }

    /// Sets whether the model has intercepts.
    #[must_use]
    pub const fn fit_intercept(mut self, fit_intercept: bool) -> Self {
        self.fit_intercept = fit_intercept;
        self
    }

    /// Sets the relative violation of the optimality conditions to stop at.
    #[must_use]
    pub const fn tol(mut self, tol: f64) -> Self {
        self.tol = tol;
        self
    }

    /// Sets the steps to stop after.
    #[must_use]
    pub const fn max_iter(mut self, max_iter: usize) -> Self {
        self.max_iter = max_iter;
        self
    }

    /// Checks the parameters and makes the solver.
    fn machine(&self, n_features: usize) -> Result<Softmax> {
        let in_range = |name: &str, value: f64, ok: bool, expected: &str| {
            if ok { Ok(()) } else { Err(Error::parameter(name, value, expected)) }
        };
        in_range("alpha", self.alpha, self.alpha >= 0. && self.alpha.is_finite(), "0 or more")?;
        in_range("l1_ratio", self.l1_ratio, (0. ..=1.).contains(&self.l1_ratio), "0 to 1")?;
        in_range("tol", self.tol, self.tol > 0. && self.tol < 1., "above 0 and below 1")?;
        in_range("max_iter", self.max_iter as f64, self.max_iter > 0, "1 or more")?;
        self.class_weight.as_ref().map_or(Ok(()), ClassWeights::check)?;
        let factors = &self.penalty_factor;
        if !factors.is_empty() && factors.len() != n_features {
            let expected = format!("one number for each of the {n_features} columns");
            return Err(Error::parameter("penalty_factor", format!("a list of {}", factors.len()), expected));
        }
        for (column, &factor) in factors.iter().enumerate() {
            let name = format!("penalty_factor, column {column},");
            in_range(&name, factor, factor >= 0. && factor.is_finite(), "0 or more")?;
        }
        Ok(Softmax::new(Spec {
            penalty: Penalty {
                factors: factors.clone(),
                standardize: self.standardize,
                groups: Vec::new(),
                ..Penalty::elastic_net(self.alpha, self.l1_ratio)
            },
            fit_intercept: self.fit_intercept,
            tol: self.tol,
            max_iter: self.max_iter,
            ..Spec::default()
        }))
    }
}

fn refuse_beyond_classes(given: Option<&'static str>) -> Result<()> {
    given.map_or(Ok(()), |name| Err(Error::parameter(name, "given", "none for classes: sample weights only")))
}

impl Fit<ArrayView2<'_, f64>, Response<'_>> for MultinomialRegression {
    type Model = MultinomialModel;

    fn fit(&self, x: ArrayView2<'_, f64>, response: Response<'_>) -> Result<MultinomialModel> {
        refuse_beyond_classes(response.beyond_classes())?;
        let machine = self.machine(x.ncols())?;
        let rows = response.rows(&x)?;
        Ok(fit_local(machine, self.class_weight.as_ref(), rows.rows())?.into())
    }
}

impl Fit<&Array2<f64>, Response<'_>> for MultinomialRegression {
    type Model = MultinomialModel;

    fn fit(&self, x: &Array2<f64>, response: Response<'_>) -> Result<MultinomialModel> {
        self.fit(x.view(), response)
    }
}

impl Fit<ArrayView2<'_, f64>, ArrayView1<'_, f64>> for MultinomialRegression {
    type Model = MultinomialModel;

    fn fit(&self, x: ArrayView2<'_, f64>, y: ArrayView1<'_, f64>) -> Result<MultinomialModel> {
        self.fit(x, Response::new(y))
    }
}

impl Fit<&Array2<f64>, &Array1<f64>> for MultinomialRegression {
    type Model = MultinomialModel;

    fn fit(&self, x: &Array2<f64>, y: &Array1<f64>) -> Result<MultinomialModel> {
        self.fit(x.view(), Response::new(y))
    }
}

impl FitOn<ChunkedArray, ChunkedResponse> for MultinomialRegression {
    type Model = MultinomialModel;

    /// X of two axes and the response's arrays of one, in any chunks. All are computed once and stay on the workers
    /// for the time of the fit; the solver's messages hold no rows.
    async fn fit_on(&self, client: &Client, x: &ChunkedArray, response: &ChunkedResponse) -> Result<MultinomialModel> {
        refuse_beyond_classes(response.beyond_classes())?;
        let machine = self.machine(x.shape().get(1).copied().unwrap_or_default())?;
        Ok(fit_chunked(client, machine, self.class_weight.as_ref(), x, response).await?.into())
    }
}

impl FitOn<ChunkedArray, ChunkedArray> for MultinomialRegression {
    type Model = MultinomialModel;

    /// As with a [`ChunkedResponse`] whose rows count once each.
    async fn fit_on(&self, client: &Client, x: &ChunkedArray, y: &ChunkedArray) -> Result<MultinomialModel> {
        self.fit_on(client, x, &ChunkedResponse::new(y)).await
    }
}

#[typetag::serde]
impl Estimator for MultinomialRegression {
    fn fit_dyn(&self, x: ArrayView2<'_, f64>, y: ArrayView1<'_, f64>) -> Result<Box<dyn Model>> {
        Ok(Box::new(self.fit(x, y)?))
    }

    fn fit_weighted_dyn(
        &self,
        x: ArrayView2<'_, f64>,
        y: ArrayView1<'_, f64>,
        sample_weight: ArrayView1<'_, f64>,
    ) -> Result<Box<dyn Model>> {
        phalanx_learn::validate::sample_weight(sample_weight, y.len())?;
        Ok(Box::new(self.fit(x, Response::new(y.reborrow()).sample_weight(sample_weight.reborrow()))?))
    }
}

/// A fitted softmax regression: class k has the probability exp(η_k) / Σ_l exp(η_l), η_k = intercept_k + x · coef_k.
///
/// ```
/// use ndarray::array;
/// use phalanx_glm::{MultinomialModel, MultinomialRegression};
/// use phalanx_learn::Fit;
///
/// # fn main() -> phalanx_learn::Result<()> {
/// let x = array![[0.], [1.], [2.], [3.], [4.], [5.]];
/// let model = MultinomialRegression::new().fit(&x, &array![0., 0., 1., 2., 1., 2.])?;
/// assert!(model.coef().row(0)[0] == 0. && model.intercepts()[0] == 0.); // the reference
/// let shares = model.predict_proba(x.view())?;
/// assert!(shares.rows().into_iter().all(|row| (row.sum() - 1.).abs() < 1e-12));
/// let text = serde_json::to_string(&model).unwrap();
/// assert_eq!(serde_json::from_str::<MultinomialModel>(&text).unwrap(), model);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MultinomialModel {
    classes: Vec<f64>,
    coef: Vec<Vec<f64>>,
    intercepts: Vec<f64>,
    report: Report,
}

impl From<Solution> for MultinomialModel {
    fn from(Solution { classes, coef, intercepts, report }: Solution) -> Self {
        Self { classes, coef, intercepts, report }
    }
}

impl MultinomialModel {
    /// The codes of the classes, in ascending order: that of everything else.
    pub fn classes(&self) -> &[f64] {
        &self.classes
    }

    /// One row a class and one coefficient a column, in the columns' own units.
    pub fn coef(&self) -> Array2<f64> {
        Array2::from_shape_fn((self.coef.len(), self.n_columns()), |(class, column)| self.coef[class][column])
    }

    /// One a class: its linear predictor where every column is 0; 0 where none was fitted.
    pub fn intercepts(&self) -> ArrayView1<'_, f64> {
        ArrayView1::from(&self.intercepts)
    }

    /// How the fit went, why it stopped and how far from the optimum it is.
    ///
    /// The unit of [`kkt_relative`](Report::kkt_relative) is a row's typical derivative at the null model for the class
    /// where it is largest. [`n_saturated`](Report::n_saturated) counts rows whose class is as good as certain.
    pub const fn report(&self) -> &Report {
        &self.report
    }

    fn n_columns(&self) -> usize {
        self.coef.first().map_or(0, Vec::len)
    }

    /// The linear predictors, shape (n_rows, n_classes).
    ///
    /// # Errors
    /// When X has not the columns there were at fit, or is not finite.
    pub fn decision_function(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        validate::predict_data(x, self.n_columns())?;
        let rows = x.as_standard_layout();
        let mut eta = Array2::zeros((x.nrows(), self.classes.len()));
        let mut of_class = vec![0.; x.nrows()];
        for ((mut column, coef), &intercept) in eta.columns_mut().into_iter().zip(&self.coef).zip(&self.intercepts) {
            simd::dispatch(|| predict(rows.as_slice().unwrap_or_default(), coef, intercept, &mut of_class));
            column.assign(&ArrayView1::from(&of_class));
        }
        Ok(eta)
    }

    /// The probabilities of the classes, shape (n_rows, n_classes).
    ///
    /// # Errors
    /// As [`decision_function`](Self::decision_function).
    pub fn predict_proba(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        let mut shares = self.decision_function(x)?;
        for mut row in shares.rows_mut() {
            let most = row.fold(f64::NEG_INFINITY, |most, eta| most.max(*eta));
            row.mapv_inplace(|eta| phalanx_array::kernel::inlined::exp(eta - most));
            let total: f64 = row.iter().sum();
            row.mapv_inplace(|share| share / total);
        }
        Ok(shares)
    }
}

impl Predict<ArrayView2<'_, f64>> for MultinomialModel {
    type Output = Array1<f64>;

    /// The code of the most probable class of each row; the smallest of those that are equal.
    fn predict(&self, x: ArrayView2<'_, f64>) -> Result<Array1<f64>> {
        let eta = self.decision_function(x)?;
        let best = |row: ArrayView1<'_, f64>| {
            let most = (1..row.len()).fold(0, |most, class| if row[class] > row[most] { class } else { most });
            self.classes[most]
        };
        Ok(eta.rows().into_iter().map(best).collect())
    }
}

impl Predict<&Array2<f64>> for MultinomialModel {
    type Output = Array1<f64>;

    fn predict(&self, x: &Array2<f64>) -> Result<Array1<f64>> {
        self.predict(x.view())
    }
}

impl Predict<&ChunkedArray> for MultinomialModel {
    type Output = ChunkedArray;

    /// Lazily, as an array of one axis; a number that is not finite fails when it is computed.
    fn predict(&self, x: &ChunkedArray) -> Result<ChunkedArray> {
        lazy::predict(self, x)
    }
}

#[typetag::serde]
impl Model for MultinomialModel {
    fn n_features(&self) -> usize {
        self.n_columns()
    }

    fn predict_dyn(&self, x: ArrayView2<'_, f64>) -> Result<Array1<f64>> {
        self.predict(x)
    }

    fn predict_proba_dyn(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        self.predict_proba(x)
    }

    fn classes(&self) -> Vec<f64> {
        self.classes.clone()
    }

    fn report(&self) -> serde_json::Value {
        // A report is plain fields and always becomes JSON.
        serde_json::to_value(&self.report).unwrap_or_default()
    }
}
