//! The path of a penalty that falls, and the choice of one place on it by cross-validation.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2};
use phalanx_array::ChunkedArray;
use phalanx_learn::{Error, Estimator, Fit, FitOn, Model, Predict, Result, lazy};
use phalanx_runtime::Client;
use serde::{Deserialize, Serialize};

use crate::{
    cluster::path_chunked,
    family::Family,
    fit::path_local,
    kernel::predict,
    link::Link,
    params::Glm,
    response::{ChunkedResponse, Response},
    solver::{CvCurve, FoldRule, Path, PathPoint, PathSolution, PathSpec},
};

/// Which place on a cross-validated path is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Select {
    /// The least mean error: glmnet's `lambda.min`.
    #[default]
    Min,
    /// The strongest penalty whose mean error is within one standard error of the least: glmnet's `lambda.1se`.
    #[serde(rename = "1se")]
    OneSe,
}

/// A [`Glm`] at every strength of a falling penalty, and by cross-validation the best of them.
///
/// Each strength, glmnet's lambda, takes the place of `alpha` in the [objective](Glm). All strengths are fitted one from
/// another, and all folds beside them: least squares needs one pass over the data for the whole path and all folds,
/// other families look at one point of every fold in each pass. The strengths fall from the least one that leaves
/// nothing in the model (with `l1_ratio` taken as 0.001 where it is below), in equal ratios.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `glm` | | family, link, `l1_ratio`, factors, bounds, `standardize`; `alpha` and `solver` are not looked at | |
/// | `n_lambdas` | 100 | strengths on the path | 1 or more |
/// | `lambda_min_ratio` | 1e-4, or 0.01 where rows are fewer than columns | the last strength over the first | above 0, below 1 |
/// | `lambdas` | from the data | the strengths themselves, falling | above 0 |
/// | `cv` | 0 | folds of the cross-validation; 0 for none | 0, or 3 or more |
/// | `seed` | 0 | what folds are drawn by, where the response has none | |
/// | `select` | `min` | which strength predictions are of, with folds; without, it is the last | `min`, `1se` |
/// | `tol` | 1e-8 | as the [`Glm`]'s, which it takes the place of | above 0, below 1 |
///
/// From R: `cv.glmnet(x, y, family, alpha = a)` is `GlmPath::new(Glm::new(family).l1_ratio(a).standardize(true)).cv(10)`;
/// for the gaussian family with `a` below 1, glmnet divides lambda by y's standard deviation in the L2 part, ours not.
///
/// ```
/// use ndarray::{Array1, Array2};
/// use phalanx_glm::{Glm, Family, GlmPath, Select};
/// use phalanx_learn::Fit;
///
/// # fn main() -> phalanx_learn::Result<()> {
/// let x = Array2::from_shape_fn((200, 5), |(i, j)| ((i * 37 + j * 101 + i * i * (j + 1)) % 97) as f64 / 48. - 1.);
/// let y: Array1<f64> = (0..200).map(|i| 2. * x[[i, 0]] + 0.3 * x[[(i + 7) % 200, 4]]).collect();
/// let path = GlmPath::new(Glm::new(Family::Gaussian).l1_ratio(1.)).cv(5).select(Select::OneSe);
/// let model = path.fit(&x, &y)?;
/// assert_eq!(model.points().len(), 100);
/// assert_eq!(model.points()[0].dev_ratio, 0.); // nothing is in the model yet
/// let chosen = model.chosen();
/// assert!((chosen.coef[0] - 2.).abs() < 0.2 && chosen.lambda >= model.points()[99].lambda);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GlmPath {
    /// What is fitted, but for the strength of the penalty.
    pub glm: Glm,
    /// Strengths on the path.
    pub n_lambdas: usize,
    /// The last strength over the first.
    pub lambda_min_ratio: Option<f64>,
    /// The strengths themselves.
    pub lambdas: Vec<f64>,
    /// Folds of the cross-validation.
    pub cv: usize,
    /// What folds are drawn by.
    pub seed: u64,
    /// Which strength predictions are of.
    pub select: Select,
    /// Relative violation of the optimality conditions to stop at.
    pub tol: f64,
}

impl Default for GlmPath {
    fn default() -> Self {
        Self {
            glm: Glm { l1_ratio: 1., ..Glm::default() },
            n_lambdas: 100,
            lambda_min_ratio: None,
            lambdas: Vec::new(),
            cv: 0,
            seed: 0,
            select: Select::default(),
            tol: 1e-8,
        }
    }
}

impl GlmPath {
    /// The path of a GLM whose alpha is not looked at.
    pub fn new(glm: Glm) -> Self {
        Self { glm, ..Self::default() }
    }

    /// Sets how many strengths there are.
    #[must_use]
    pub fn n_lambdas(self, n_lambdas: usize) -> Self {
        Self { n_lambdas, ..self }
    }

    /// Sets the last strength over the first.
    #[must_use]
    pub fn lambda_min_ratio(self, ratio: f64) -> Self {
        Self { lambda_min_ratio: Some(ratio), ..self }
    }

    /// Sets the strengths themselves, falling.
    #[must_use]
    pub fn lambdas(self, lambdas: impl Into<Vec<f64>>) -> Self {
        Self { lambdas: lambdas.into(), ..self }
    }

    /// Sets how many folds there are; they are drawn, or those of the response.
    #[must_use]
    pub fn cv(self, n_folds: usize) -> Self {
        Self { cv: n_folds, ..self }
    }

    /// Sets what folds are drawn by.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Sets which strength predictions are of.
    #[must_use]
    pub fn select(self, select: Select) -> Self {
        Self { select, ..self }
    }

    /// Sets the relative violation of the optimality conditions to stop at.
    #[must_use]
    pub fn tol(self, tol: f64) -> Self {
        Self { tol, ..self }
    }

    pub(crate) fn machine(&self, n_rows: usize, n_features: usize, shares: bool, has_folds: bool) -> Result<Path> {
        let wrong = |name: &str, value: &dyn std::fmt::Display, expected: &str| {
            Err(Error::parameter(name, value.to_string(), expected))
        };
        if self.n_lambdas == 0 {
            return wrong("n_lambdas", &0, "1 or more");
        }
        if let Some(ratio) = self.lambda_min_ratio.filter(|ratio| !(*ratio > 0. && *ratio < 1.)) {
            return wrong("lambda_min_ratio", &ratio, "above 0 and below 1");
        }
        if let Some(lambda) = self.lambdas.iter().find(|lambda| !(**lambda > 0. && lambda.is_finite())) {
            return wrong("lambdas", lambda, "numbers above 0");
        }
        if let Some(pair) = self.lambdas.windows(2).find(|pair| pair[1] >= pair[0]) {
            return wrong("lambdas", &format!("{} after {}", pair[1], pair[0]), "each smaller than the one before");
        }
        if self.cv == 1 || self.cv == 2 {
            return wrong("cv", &self.cv, "0 for none, or 3 folds or more");
        }
        // Of no rows at all the data's check speaks.
        if self.cv > n_rows && n_rows > 0 {
            return Err(Error::Folds { n_splits: self.cv, n_rows });
        }
        if self.glm.estimate_parameter {
            return wrong("estimate_parameter", &true, "false for a path");
        }
        if let family @ Family::Quantile { .. } = self.glm.family {
            return wrong("family", &family, "one with second derivatives for a path");
        }
        let glm = Glm { alpha: 1., tol: self.tol, ..self.glm.clone() };
        let (machine, _) = glm.machine(n_features, shares)?;
        Ok(Path::new(PathSpec {
            spec: machine.spec().clone(),
            lambdas: self.lambdas.clone(),
            n_lambdas: self.n_lambdas,
            lambda_min_ratio: self.lambda_min_ratio,
            rule: FoldRule::new(self.cv, if has_folds { None } else { Some(self.seed) }),
        }))
    }

    pub(crate) fn model(&self, solution: PathSolution) -> PathModel {
        let PathSolution { points, cv, null_deviance, n_rows, n_passes } = solution;
        let chosen = match (&cv, self.select) {
            (None, _) => points.len().saturating_sub(1),
            (Some(cv), Select::Min) => cv.min,
            (Some(cv), Select::OneSe) => cv.one_se,
        };
        let link = self.glm.link.unwrap_or(self.glm.family.default_link());
        PathModel { family: self.glm.family, link, points, cv, chosen, null_deviance, n_rows, n_passes }
    }
}

/// A fitted path; predictions are those of its chosen place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PathModel {
    family: Family,
    link: Link,
    points: Vec<PathPoint>,
    cv: Option<CvCurve>,
    chosen: usize,
    null_deviance: f64,
    n_rows: usize,
    n_passes: usize,
}

impl PathModel {
    /// The distribution of y.
    pub const fn family(&self) -> Family {
        self.family
    }

    /// How the mean hangs on the linear predictor.
    pub const fn link(&self) -> Link {
        self.link
    }

    /// The optimum at each strength of the penalty, the strongest first.
    pub fn points(&self) -> &[PathPoint] {
        &self.points
    }

    /// How models without each fold predict it; none without folds.
    pub const fn cv(&self) -> Option<&CvCurve> {
        self.cv.as_ref()
    }

    /// The place that predictions are of.
    pub fn chosen(&self) -> &PathPoint {
        &self.points[self.chosen]
    }

    /// The number of that place, from 0.
    pub const fn chosen_place(&self) -> usize {
        self.chosen
    }

    /// The deviance of the model without columns.
    pub const fn null_deviance(&self) -> f64 {
        self.null_deviance
    }

    /// Rounds over all rows that the path took.
    pub const fn n_passes(&self) -> usize {
        self.n_passes
    }

    /// Rows with a weight above 0.
    pub const fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// The linear predictor of each row at the chosen place.
    ///
    /// # Errors
    /// When X has not the columns there were at fit, or is not finite.
    pub fn decision_function(&self, x: ArrayView2<'_, f64>) -> Result<Array1<f64>> {
        let at = self.chosen();
        phalanx_learn::validate::predict_data(x, at.coef.len())?;
        let mut eta = vec![0.; x.nrows()];
        let rows = x.as_standard_layout();
        predict(rows.as_slice().unwrap_or_default(), &at.coef, at.intercept, &mut eta);
        Ok(eta.into())
    }
}

impl Predict<ArrayView2<'_, f64>> for PathModel {
    type Output = Array1<f64>;

    /// The mean of y for each row at the chosen place.
    fn predict(&self, x: ArrayView2<'_, f64>) -> Result<Array1<f64>> {
        Ok(self.decision_function(x)?.mapv(|eta| self.link.mean(eta)))
    }
}

impl Predict<&Array2<f64>> for PathModel {
    type Output = Array1<f64>;

    fn predict(&self, x: &Array2<f64>) -> Result<Array1<f64>> {
        self.predict(x.view())
    }
}

impl Predict<&ChunkedArray> for PathModel {
    type Output = ChunkedArray;

    /// Lazily, as an array of one axis; a number that is not finite fails when it is computed.
    fn predict(&self, x: &ChunkedArray) -> Result<ChunkedArray> {
        lazy::predict(self, x)
    }
}

#[typetag::serde]
impl Model for PathModel {
    fn n_features(&self) -> usize {
        self.chosen().coef.len()
    }

    fn predict_dyn(&self, x: ArrayView2<'_, f64>) -> Result<Array1<f64>> {
        self.predict(x)
    }

    fn predict_proba_dyn(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        if self.family != Family::Binomial {
            return Err(Error::NoProbabilities { model: format!("a {} PathModel", self.family) });
        }
        let one = self.predict(x)?;
        let zero = one.mapv(|p| 1. - p);
        ndarray::stack(ndarray::Axis(1), &[zero.view(), one.view()]).map_err(Error::other)
    }

    fn classes(&self) -> Vec<f64> {
        if self.family == Family::Binomial { vec![0., 1.] } else { Vec::new() }
    }

    fn report(&self) -> serde_json::Value {
        let at = self.chosen();
        serde_json::json!({
            "converged": self.points.iter().all(|point| point.converged),
            "lambda": at.lambda,
            "deviance": at.deviance,
            "null_deviance": self.null_deviance,
            "dev_ratio": at.dev_ratio,
            "kkt_relative": at.kkt_relative,
            "n_passes": self.n_passes,
            "n_rows": self.n_rows,
        })
    }
}

impl Fit<ArrayView2<'_, f64>, Response<'_>> for GlmPath {
    type Model = PathModel;

    fn fit(&self, x: ArrayView2<'_, f64>, response: Response<'_>) -> Result<PathModel> {
        let path = self.machine(x.nrows(), x.ncols(), response.has_trials(), response.has_folds())?;
        let rows = response.rows(&x)?;
        Ok(self.model(path_local(path, rows.rows())?))
    }
}

impl Fit<&Array2<f64>, Response<'_>> for GlmPath {
    type Model = PathModel;

    fn fit(&self, x: &Array2<f64>, response: Response<'_>) -> Result<PathModel> {
        self.fit(x.view(), response)
    }
}

impl Fit<ArrayView2<'_, f64>, ArrayView1<'_, f64>> for GlmPath {
    type Model = PathModel;

    fn fit(&self, x: ArrayView2<'_, f64>, y: ArrayView1<'_, f64>) -> Result<PathModel> {
        self.fit(x, Response::new(y))
    }
}

impl Fit<&Array2<f64>, &Array1<f64>> for GlmPath {
    type Model = PathModel;

    fn fit(&self, x: &Array2<f64>, y: &Array1<f64>) -> Result<PathModel> {
        self.fit(x.view(), Response::new(y))
    }
}

impl FitOn<ChunkedArray, ChunkedResponse> for GlmPath {
    type Model = PathModel;

    async fn fit_on(&self, client: &Client, x: &ChunkedArray, response: &ChunkedResponse) -> Result<PathModel> {
        let n_features = x.shape().get(1).copied().unwrap_or_default();
        let path = self.machine(x.n_rows(), n_features, response.has_trials(), response.has_folds())?;
        Ok(self.model(path_chunked(client, path, x, response).await?))
    }
}

impl FitOn<ChunkedArray, ChunkedArray> for GlmPath {
    type Model = PathModel;

    async fn fit_on(&self, client: &Client, x: &ChunkedArray, y: &ChunkedArray) -> Result<PathModel> {
        self.fit_on(client, x, &ChunkedResponse::new(y)).await
    }
}

#[typetag::serde]
impl Estimator for GlmPath {
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
