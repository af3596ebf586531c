//! What a user asks for: the estimators, which are parameters and nothing else.
//!
//! Setters never fail; `fit` checks and says what it expected.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2};
use phalanx_array::ChunkedArray;
use phalanx_learn::{Error, Estimator, Fit, FitOn, Model, Result, validate};
use phalanx_runtime::Client;
use serde::{Deserialize, Serialize};

use crate::{
    cluster::fit_chunked,
    family::Family,
    fit::{Fitted, fit_local},
    inference::{Covariance, Wanted, WeightsKind},
    link::Link,
    loss::Loss,
    model::GlmModel,
    penalty::Penalty,
    response::{ChunkedResponse, Response},
    solver::{ClassWeight, Machine, Method, POWERS, Spec},
};

/// How the optimum is found. All find the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Solver {
    /// Iteratively reweighted least squares up to 2,000 columns, proximal gradient descent beyond.
    #[default]
    Auto,
    /// Iteratively reweighted least squares with coordinate descent: very few passes, each of which multiplies
    /// columns with columns.
    Irls,
    /// Proximal gradient descent with momentum: more and cheaper passes over the data.
    GradientDescent,
    /// Consensus ADMM over blocks of rows: fewer rounds over the network, more work in each.
    Admm,
    /// Limited-memory BFGS by argmin, without L1 and bounds: each pass asks for loss and gradient, after one look at
    /// the second derivatives of a sample of the rows where the columns are 500 or fewer.
    Lbfgs,
    /// Newton's method with conjugate gradients by argmin, without L1 and bounds, up to 2,000 columns: each pass asks
    /// for the second derivatives too.
    NewtonCg,
}

/// The most columns whose matrix of products is quick to make and to factorise.
pub(crate) const MAX_IRLS_COLUMNS: usize = 2_000;

/// The most columns whose covariance is kept in a model.
const MAX_INFERENCE_COLUMNS: usize = 1_000;

/// The parameters of every estimator here but for the family and the default penalty.
macro_rules! estimator {
    ($(#[$doc:meta])* $name:ident { $($(#[$extra_doc:meta])* $extra:ident: $extra_type:ty = $extra_default:expr,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $(
                $(#[$extra_doc])*
                pub $extra: $extra_type,
            )*
            /// Strength of the penalty.
            pub alpha: f64,
            /// The L1 share of the penalty.
            pub l1_ratio: f64,
            /// What multiplies each column's penalty; empty for 1 each.
            pub penalty_factor: Vec<f64>,
            /// Least coefficients, one a column; empty for none.
            pub lower: Vec<Option<f64>>,
            /// Largest coefficients, one a column; empty for none.
            pub upper: Vec<Option<f64>>,
            /// Whether the penalty is on the coefficients of columns divided by their standard deviation.
            pub standardize: bool,
            /// Which group each column is of, for the group lasso; empty for none.
            pub penalty_groups: Vec<usize>,
            /// What the weight of a row is multiplied by for its class; of the binomial family only.
            pub class_weight: Option<ClassWeight>,
            /// How the covariance of the coefficients is estimated where nothing is penalised.
            pub covariance: Covariance,
            /// What a sample weight means for standard errors.
            pub weights_kind: WeightsKind,
            /// Whether the dispersion is estimated where the family has it 1.
            pub quasi: bool,
            /// Which solver finds the optimum.
            pub solver: Solver,
            /// Whether the model has an intercept.
            pub fit_intercept: bool,
            /// Relative violation of the optimality conditions to stop at.
            pub tol: f64,
            /// Steps to stop after, optimal or not.
            pub max_iter: usize,
            /// Blocks of rows that ADMM splits the data into.
            pub n_blocks: Option<usize>,
        }

        impl Default for $name {
            fn default() -> Self {
                let Spec { fit_intercept, tol, max_iter, .. } = Spec::default();
                Self {
                    $($extra: $extra_default,)*
                    alpha: 0.,
                    l1_ratio: 0.,
                    penalty_factor: Vec::new(),
                    lower: Vec::new(),
                    upper: Vec::new(),
                    standardize: false,
                    penalty_groups: Vec::new(),
                    class_weight: None,
                    covariance: Covariance::default(),
                    weights_kind: WeightsKind::default(),
                    quasi: false,
                    solver: Solver::default(),
                    fit_intercept,
                    tol,
                    max_iter,
                    n_blocks: None,
                }
            }
        }

        impl $name {
            $(
                $(#[$extra_doc])*
                #[must_use]
                pub fn $extra(mut self, $extra: impl Into<$extra_type>) -> Self {
                    self.$extra = $extra.into();
                    self
                }
            )*

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

            /// Sets the least coefficients, 0 or below, one a column.
            #[must_use]
            pub fn lower(mut self, lower: impl IntoIterator<Item = impl Into<Option<f64>>>) -> Self {
                self.lower = lower.into_iter().map(Into::into).collect();
                self
            }

            /// Sets the largest coefficients, 0 or above, one a column.
            #[must_use]
            pub fn upper(mut self, upper: impl IntoIterator<Item = impl Into<Option<f64>>>) -> Self {
                self.upper = upper.into_iter().map(Into::into).collect();
                self
            }

            /// Sets whether the penalty is on the coefficients of standardised columns; they come back in the data's
            /// units either way.
            #[must_use]
            pub const fn standardize(mut self, standardize: bool) -> Self {
                self.standardize = standardize;
                self
            }

            /// Sets which group each column is of: columns of one number come into the model together or not at all.
            #[must_use]
            pub fn penalty_groups(mut self, groups: impl Into<Vec<usize>>) -> Self {
                self.penalty_groups = groups.into();
                self
            }

            /// Sets what the weight of a row is multiplied by for its class; of the binomial family only.
            #[must_use]
            pub const fn class_weight(mut self, class_weight: ClassWeight) -> Self {
                self.class_weight = Some(class_weight);
                self
            }

            /// Sets how the covariance of the coefficients is estimated; clustered needs the response's groups.
            #[must_use]
            pub const fn covariance(mut self, covariance: Covariance) -> Self {
                self.covariance = covariance;
                self
            }

            /// Sets what a sample weight means for standard errors; coefficients do not depend on it.
            #[must_use]
            pub const fn weights_kind(mut self, weights_kind: WeightsKind) -> Self {
                self.weights_kind = weights_kind;
                self
            }

            /// Sets whether the dispersion is estimated where the family has it 1: R's quasi families.
            #[must_use]
            pub const fn quasi(mut self, quasi: bool) -> Self {
                self.quasi = quasi;
                self
            }

            /// Sets the solver.
            #[must_use]
            pub const fn solver(mut self, solver: Solver) -> Self {
                self.solver = solver;
                self
            }

            /// Sets whether the model has an intercept.
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

            /// Sets the blocks of rows that ADMM splits the data into.
            #[must_use]
            pub const fn n_blocks(mut self, n_blocks: usize) -> Self {
                self.n_blocks = Some(n_blocks);
                self
            }
        }

        impl Fit<ArrayView2<'_, f64>, Response<'_>> for $name {
            type Model = GlmModel;

            fn fit(&self, x: ArrayView2<'_, f64>, response: Response<'_>) -> Result<GlmModel> {
                let glm = Glm::from(self.clone());
                let (machine, chosen) = glm.machine(x.ncols(), response.has_trials())?;
                glm.check_groups(response.has_groups())?;
                let rows = response.rows(&x)?;
                Ok(glm.model(fit_local(machine, glm.wanted(x.ncols()), rows.rows())?, chosen))
            }
        }

        impl Fit<&Array2<f64>, Response<'_>> for $name {
            type Model = GlmModel;

            fn fit(&self, x: &Array2<f64>, response: Response<'_>) -> Result<GlmModel> {
                self.fit(x.view(), response)
            }
        }

        impl Fit<ArrayView2<'_, f64>, ArrayView1<'_, f64>> for $name {
            type Model = GlmModel;

            fn fit(&self, x: ArrayView2<'_, f64>, y: ArrayView1<'_, f64>) -> Result<GlmModel> {
                self.fit(x, Response::new(y))
            }
        }

        impl Fit<&Array2<f64>, &Array1<f64>> for $name {
            type Model = GlmModel;

            fn fit(&self, x: &Array2<f64>, y: &Array1<f64>) -> Result<GlmModel> {
                self.fit(x.view(), Response::new(y))
            }
        }

        impl FitOn<ChunkedArray, ChunkedResponse> for $name {
            type Model = GlmModel;

            /// X of two axes and the response's arrays of one, in any chunks. All are computed once and stay on the
            /// workers for the time of the fit; the solver's messages hold no rows.
            async fn fit_on(
                &self,
                client: &Client,
                x: &ChunkedArray,
                response: &ChunkedResponse,
            ) -> Result<GlmModel> {
                let glm = Glm::from(self.clone());
                let n_features = x.shape().get(1).copied().unwrap_or_default();
                let (machine, chosen) = glm.machine(n_features, response.has_trials())?;
                glm.check_groups(response.has_groups())?;
                Ok(glm.model(fit_chunked(client, machine, glm.wanted(n_features), x, response).await?, chosen))
            }
        }

        impl FitOn<ChunkedArray, ChunkedArray> for $name {
            type Model = GlmModel;

            /// As with a [`ChunkedResponse`] whose rows count once each.
            async fn fit_on(&self, client: &Client, x: &ChunkedArray, y: &ChunkedArray) -> Result<GlmModel> {
                self.fit_on(client, x, &ChunkedResponse::new(y)).await
            }
        }

        #[typetag::serde]
        impl Estimator for $name {
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
    };
}

pub(crate) use estimator;

estimator! {
    /// A generalised linear model with an elastic net penalty.
    ///
    /// The coefficients b and the intercept b0 minimise
    ///
    /// ```text
    /// 1/(2 Σw) Σ w_i unit deviance(y_i, mean(b0 + x_i · b + offset_i))
    ///     + alpha Σ_j factor_j (l1_ratio |b_j| + (1 - l1_ratio)/2 b_j²),   lower_j <= b_j <= upper_j
    /// ```
    ///
    /// that is, for the gaussian family with weights of 1 RSS/(2n), for the binomial the mean log loss, for the Poisson
    /// mean(mu - y ln mu) but for a constant. The intercept is never penalised. Columns are penalised as they are
    /// unless `standardize` is set: then b_j in the penalty is that of the column divided by its (population) standard
    /// deviation, and only there. How fast a fit converges does not depend on the columns' units. Weights, offsets,
    /// exposure and trials come with y, as a [`Response`].
    ///
    /// | name | default | purpose | range |
    /// |---|---|---|---|
    /// | `family` | `gaussian` | distribution of y | a [`Family`] |
    /// | `link` | the family's | how the mean hangs on the linear predictor | a [`Link`] |
    /// | `estimate_parameter` | false | whether theta of the negative binomial, or Tweedie's power between 1.01 and 1.99, is estimated by maximum likelihood; the family's is where that begins | true, false |
    /// | `alpha` | 0 | strength of the penalty | 0 or more |
    /// | `l1_ratio` | 0 | its L1 share: 0 ridge, 1 lasso | 0 to 1 |
    /// | `penalty_factor` | 1 each | multiplies a column's penalty; 0 leaves it free | 0 or more, one a column |
    /// | `lower` | none | least coefficients, in the data's units | 0 or below, one a column |
    /// | `upper` | none | largest coefficients, in the data's units | 0 or above, one a column |
    /// | `standardize` | false | whether the penalty is on standardised columns' coefficients | true, false |
    /// | `penalty_groups` | none | columns of one number are a group: the L1 part is sqrt(size) times the Euclidean norm of their coefficients (the group lasso), so that all are 0 or none | one number a column; no bounds; `auto`, `irls` or `gradient_descent` |
    /// | `class_weight` | none | what a row's weight is multiplied by for its class, of the binomial family | a [`ClassWeight`] |
    /// | `covariance` | `nonrobust` | how standard errors are estimated, without a penalty | a [`Covariance`] |
    /// | `weights_kind` | `frequency` | what a weight means for standard errors | a [`WeightsKind`] |
    /// | `quasi` | false | whether to estimate the dispersion where the family has it 1 | true, false |
    /// | `solver` | `auto` | how the optimum is found | `auto`, `irls`, `gradient_descent`, `admm`, and without L1 and bounds `lbfgs`, `newton_cg` |
    /// | `fit_intercept` | true | whether there is an intercept | true, false |
    /// | `tol` | 1e-10 | stop when [`kkt_relative`](crate::Report::kkt_relative) is this or less | above 0, below 1 |
    /// | `max_iter` | 10000 | steps to stop after | 1 or more |
    /// | `n_blocks` | by rows | blocks of rows that ADMM splits the data into: one for each 4,096 rows, at most 32 | 1 or more |
    ///
    /// Coming from scikit-learn: `alpha` and `l1_ratio` are those of `ElasticNet` and, with `l1_ratio` 0, of
    /// `PoissonRegressor`; `Ridge(a)` is alpha = a/n; `LogisticRegression(C)` is alpha = 1/(n C). From glmnet: its
    /// lambda is our `alpha`, its alpha our `l1_ratio` and its `standardize` (TRUE there by default) ours; it scales
    /// penalty factors to a mean of 1. For the gaussian family it divides y by its population standard deviation s, so
    /// its L2 part is of lambda / s: there, a being its alpha and c = a + (1 - a)/s, `alpha` is lambda c and `l1_ratio`
    /// a / c.
    ///
    /// ```
    /// use ndarray::array;
    /// use phalanx_glm::{Family, Glm};
    /// use phalanx_learn::{Fit, Predict};
    ///
    /// # fn main() -> phalanx_learn::Result<()> {
    /// let x = array![[0.], [1.], [2.], [3.]];
    /// let y = array![1., 3., 8., 20.];
    /// let model = Glm::new(Family::Poisson).alpha(0.01).fit(&x, &y)?;
    /// assert!(model.report().converged);
    /// assert!((model.coef()[0] - 0.960_233_7).abs() < 1e-6, "{model:?}");
    /// assert!(model.predict(&x)?.iter().all(|&mean| mean > 0.));
    /// # Ok(())
    /// # }
    /// ```
    Glm {
        /// Sets the distribution of y.
        family: Family = Family::Gaussian,
        /// Sets how the mean hangs on the linear predictor; none for the family's default.
        link: Option<Link> = None,
        /// Sets whether the family's own parameter is estimated, from the family's on; false by default.
        estimate_parameter: bool = false,
    }
}

impl Glm {
    /// The default parameters for a family.
    pub fn new(family: Family) -> Self {
        Self { family, ..Self::default() }
    }

    /// The family with its link.
    pub(crate) fn loss(&self) -> Loss {
        Loss { family: self.family, link: self.link.unwrap_or(self.family.default_link()) }
    }

    /// Checks the parameters and makes the solver, with the reason for it.
    pub(crate) fn machine(&self, n_features: usize, shares: bool) -> Result<(Machine, String)> {
        let in_range = |name: &str, value: f64, ok: bool, expected: &str| {
            if ok { Ok(()) } else { Err(Error::parameter(name, value, expected)) }
        };
        in_range("alpha", self.alpha, self.alpha >= 0. && self.alpha.is_finite(), "0 or more")?;
        in_range("l1_ratio", self.l1_ratio, (0. ..=1.).contains(&self.l1_ratio), "0 to 1")?;
        in_range("tol", self.tol, self.tol > 0. && self.tol < 1., "above 0 and below 1")?;
        in_range("max_iter", self.max_iter as f64, self.max_iter > 0, "1 or more")?;
        in_range("n_blocks", 0., self.n_blocks != Some(0), "1 or more")?;
        if let Some((name, value, expected)) = self.family.problem() {
            return Err(Error::parameter(name, value, expected));
        }
        let loss = self.loss();
        if let Link::Power(power) = loss.link {
            in_range("link", power, power.is_finite(), "a finite power")?;
        }
        let suits = match loss.family {
            Family::Huber { .. } | Family::Quantile { .. } | Family::SmoothQuantile { .. } => {
                loss.link == Link::Identity
            }
            Family::Binomial => !matches!(loss.link, Link::Inverse | Link::Sqrt | Link::Power(_)),
            _ => !matches!(loss.link, Link::Logit | Link::Probit | Link::Cloglog),
        };
        if !suits {
            let expected = match loss.family {
                family @ (Family::Huber { .. } | Family::Quantile { .. } | Family::SmoothQuantile { .. }) => {
                    format!("identity for the {} family", family.name())
                }
                Family::Binomial => "logit, probit, cloglog, identity or log for the binomial family".to_owned(),
                family => format!("identity, log, inverse, sqrt or power for the {} family", family.name()),
            };
            return Err(Error::parameter("link", loss.link, expected));
        }
        self.check_estimate()?;
        self.check_smooth(n_features)?;
        self.check_quantile()?;
        if shares && loss.family != Family::Binomial {
            return Err(Error::parameter("trials", "given", format!("none for the {} family", loss.family.name())));
        }
        if let Some(class_weight) = self.class_weight {
            if loss.family != Family::Binomial {
                let family = loss.family.name();
                return Err(Error::parameter("class_weight", "given", format!("none for the {family} family")));
            }
            if let ClassWeight::Given(weights) = class_weight
                && let Some(weight) = weights.iter().find(|w| !(**w >= 0. && w.is_finite()))
            {
                return Err(Error::parameter("class_weight", weight, "0 or more for each class"));
            }
        }
        // Of no columns at all the data's check speaks.
        if n_features > 0 {
            self.check_columns(n_features)?;
            self.check_penalty_groups(n_features)?;
        }
        let bound = |bounds: &[Option<f64>], free: f64| bounds.iter().map(|b| b.unwrap_or(free)).collect();
        let spec = Spec {
            loss,
            penalty: Penalty {
                alpha: self.alpha,
                l1_ratio: self.l1_ratio,
                factors: self.penalty_factor.clone(),
                lower: bound(&self.lower, -f64::MAX),
                upper: bound(&self.upper, f64::MAX),
                standardize: self.standardize,
                groups: self.penalty_groups.clone(),
            },
            fit_intercept: self.fit_intercept,
            class_weight: self.class_weight,
            shares,
            sparse: None,
            tol: self.tol,
            max_iter: self.max_iter,
        };
        let few = n_features <= MAX_IRLS_COLUMNS;
        let (machine, why) = match self.solver {
            _ if matches!(loss.family, Family::Quantile { .. }) => (
                Machine::smoothing(spec),
                "smoothing, then the exact problem of the nearest rows: the pinball loss has kinks".into(),
            ),
            Solver::Irls => (Machine::irls(spec), "irls, as asked".into()),
            Solver::GradientDescent => (Machine::gradient_descent(spec), "gradient_descent, as asked".into()),
            Solver::Admm => (Machine::admm(spec, self.n_blocks), "admm, as asked".into()),
            Solver::Lbfgs => (Machine::descent(spec, Method::Lbfgs), "lbfgs, as asked".into()),
            Solver::NewtonCg => (Machine::descent(spec, Method::NewtonCg), "newton_cg, as asked".into()),
            Solver::Auto if few => (
                Machine::irls(spec),
                format!("irls: products of {n_features} columns are quick, as of up to {MAX_IRLS_COLUMNS}"),
            ),
            Solver::Auto => {
                let why = format!("gradient_descent: {n_features} columns, too many to multiply each with each");
                (Machine::gradient_descent(spec), why)
            }
        };
        Ok((if self.estimate_parameter { machine.estimating() } else { machine }, why))
    }

    /// Refuses for argmin's solvers what has kinks or ends.
    fn check_smooth(&self, n_features: usize) -> Result<()> {
        let name = match self.solver {
            Solver::Lbfgs => "lbfgs",
            Solver::NewtonCg => "newton_cg",
            _ => return Ok(()),
        };
        let refuse = |expected: &str| Err(Error::parameter("solver", name, expected));
        if self.alpha > 0. && self.l1_ratio > 0. {
            return refuse("irls, gradient_descent or admm for a penalty with an L1 share");
        }
        if self.lower.iter().chain(&self.upper).any(Option::is_some) {
            return refuse("irls, gradient_descent or admm for bounded coefficients");
        }
        if self.solver == Solver::NewtonCg && n_features > MAX_IRLS_COLUMNS {
            return refuse("lbfgs or gradient_descent for more than 2000 columns");
        }
        Ok(())
    }

    /// Refuses for quantiles what needs second derivatives or a likelihood.
    fn check_quantile(&self) -> Result<()> {
        let refuse = |name: &str, value: &str, expected: &str| {
            let expected = format!("{expected} for the {} family", self.family.name());
            Err(Error::parameter(name, value, expected))
        };
        if !matches!(self.family, Family::Quantile { .. } | Family::SmoothQuantile { .. }) {
            return Ok(());
        }
        match (self.covariance, self.family, self.solver) {
            (Covariance::Hc1, ..) => refuse("covariance", "hc1", "nonrobust, as there are no standard errors"),
            (Covariance::Clustered, ..) => {
                refuse("covariance", "clustered", "nonrobust, as there are no standard errors")
            }
            _ if self.quasi => refuse("quasi", "true", "false, as there are no standard errors"),
            (_, Family::Quantile { .. }, Solver::Irls) => refuse("solver", "irls", "auto"),
            (_, Family::Quantile { .. }, Solver::GradientDescent) => refuse("solver", "gradient_descent", "auto"),
            (_, Family::Quantile { .. }, Solver::Admm) => refuse("solver", "admm", "auto"),
            (_, Family::Quantile { .. }, Solver::Lbfgs) => refuse("solver", "lbfgs", "auto"),
            (_, Family::Quantile { .. }, Solver::NewtonCg) => refuse("solver", "newton_cg", "auto"),
            _ => Ok(()),
        }
    }

    /// Checks whether the family has a parameter to estimate.
    fn check_estimate(&self) -> Result<()> {
        let [low, high] = POWERS;
        match self.family {
            _ if !self.estimate_parameter => Ok(()),
            Family::NegativeBinomial { .. } => Ok(()),
            Family::Tweedie { power } if (low..=high).contains(&power) => Ok(()),
            Family::Tweedie { power } => {
                let expected = format!("{low} to {high} to begin with where it is estimated");
                Err(Error::parameter("power", power, expected))
            }
            family => {
                let expected = format!("false for the {} family", family.name());
                Err(Error::parameter("estimate_parameter", true, expected))
            }
        }
    }

    /// Checks the lists of one number a column.
    fn check_columns(&self, n_features: usize) -> Result<()> {
        let numbers = |bounds: &[Option<f64>], free: f64| bounds.iter().map(|b| b.unwrap_or(free)).collect::<Vec<_>>();
        type Check = fn(f64) -> bool;
        let lists: [(&str, Vec<f64>, Check, &str); 3] = [
            ("penalty_factor", self.penalty_factor.clone(), |f| f >= 0. && f.is_finite(), "0 or more"),
            ("lower", numbers(&self.lower, f64::NEG_INFINITY), |b| b <= 0., "0 or below"),
            ("upper", numbers(&self.upper, f64::INFINITY), |b| b >= 0., "0 or above"),
        ];
        for (name, values, allows, expected) in lists {
            if !values.is_empty() && values.len() != n_features {
                let found = format!("a list of {}", values.len());
                return Err(Error::parameter(name, found, format!("one number for each of the {n_features} columns")));
            }
            if let Some((column, value)) = values.into_iter().enumerate().find(|(_, value)| !allows(*value)) {
                return Err(Error::parameter(format!("{name}, column {column},"), value, expected));
            }
        }
        Ok(())
    }

    /// Checks the groups of the group lasso, and what does not go with them.
    fn check_penalty_groups(&self, n_features: usize) -> Result<()> {
        let groups = &self.penalty_groups;
        let refuse = |found: &str, expected: &str| Err(Error::parameter("penalty_groups", found, expected));
        if groups.is_empty() {
            return Ok(());
        }
        if groups.len() != n_features {
            let (found, expected) =
                (format!("a list of {}", groups.len()), format!("one number for each of the {n_features} columns"));
            return refuse(&found, &expected);
        }
        if !matches!(self.solver, Solver::Auto | Solver::Irls | Solver::GradientDescent) {
            return refuse("given", "auto, irls or gradient_descent for the solver beside them");
        }
        if matches!(self.family, Family::Quantile { .. } | Family::SmoothQuantile { .. }) {
            return refuse("given", "none for the quantile family");
        }
        if self.lower.iter().chain(&self.upper).any(Option::is_some) {
            return refuse("given", "none beside lower or upper");
        }
        let factor = |column: usize| self.penalty_factor.get(column).copied().unwrap_or(1.);
        let mut first = std::collections::BTreeMap::new();
        for (column, group) in groups.iter().enumerate() {
            let other = *first.entry(group).or_insert(column);
            if factor(other) != factor(column) {
                let name = format!("penalty_factor, column {column},");
                let expected = format!("{}, as column {other} of its group has", factor(other));
                return Err(Error::parameter(name, factor(column), expected));
            }
        }
        Ok(())
    }

    pub(crate) fn check_groups(&self, has_groups: bool) -> Result<()> {
        if self.covariance == Covariance::Clustered && !has_groups {
            return Err(Error::parameter(
                "covariance",
                "clustered",
                "groups in the response to cluster by, or another",
            ));
        }
        Ok(())
    }

    /// What is asked of the optimum, where that has a meaning.
    pub(crate) fn wanted(&self, n_features: usize) -> Option<Wanted> {
        let none = |bounds: &[Option<f64>]| bounds.iter().all(Option::is_none);
        let quantile = matches!(self.family, Family::Quantile { .. } | Family::SmoothQuantile { .. });
        let free = self.alpha == 0. && none(&self.lower) && none(&self.upper) && !quantile;
        let wanted = Wanted {
            kind: self.covariance,
            weights: self.weights_kind,
            quasi: self.quasi,
            with_parameter: self.estimate_parameter,
        };
        (free && n_features <= MAX_INFERENCE_COLUMNS).then_some(wanted)
    }

    pub(crate) fn model(&self, fitted: Fitted, chosen: String) -> GlmModel {
        let loss = self.loss();
        let family = fitted.solution.report.estimate.map_or(loss.family, |estimate| estimate.family);
        GlmModel::new(Loss { family, ..loss }, fitted, chosen)
    }
}

/// What can be said of the data before looking at them.
pub(crate) fn check_shapes((n_rows, n_features): (usize, usize), n_targets: usize) -> Result<()> {
    if n_rows == 0 || n_features == 0 {
        return Err(Error::Empty { what: "X" });
    }
    validate::same_length("X", n_rows, "y", n_targets)
}
