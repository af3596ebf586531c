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
    fit::fit_local,
    model::GlmModel,
    solver::{Machine, Spec},
};

/// How the optimum is found. Both find the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Solver {
    /// Proximal gradient descent with momentum: few, cheap passes over the data.
    #[default]
    GradientDescent,
    /// Consensus ADMM over blocks of rows: fewer rounds over the network, more work in each.
    Admm,
}

/// The parameters of every estimator here but for the family and the default penalty.
macro_rules! estimator {
    ($(#[$doc:meta])* $name:ident { $($family:ident: $family_type:ty = $family_default:expr,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $(
                /// Distribution of y, with its canonical link.
                pub $family: $family_type,
            )?
            /// Strength of the penalty.
            pub alpha: f64,
            /// The L1 share of the penalty.
            pub l1_ratio: f64,
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
                let Spec { alpha, l1_ratio, fit_intercept, tol, max_iter, .. } = Spec::default();
                Self {
                    $($family: $family_default,)?
                    alpha,
                    l1_ratio,
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
                /// Sets the distribution of y.
                #[must_use]
                pub const fn $family(mut self, $family: $family_type) -> Self {
                    self.$family = $family;
                    self
                }
            )?

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

        impl Fit<ArrayView2<'_, f64>, ArrayView1<'_, f64>> for $name {
            type Model = GlmModel;

            fn fit(&self, x: ArrayView2<'_, f64>, y: ArrayView1<'_, f64>) -> Result<GlmModel> {
                let glm = Glm::from(self.clone());
                let machine = glm.machine()?;
                check_shapes(x.dim(), y.len())?;
                Ok(glm.model(fit_local(machine, glm.family, x, y)?))
            }
        }

        impl Fit<&Array2<f64>, &Array1<f64>> for $name {
            type Model = GlmModel;

            fn fit(&self, x: &Array2<f64>, y: &Array1<f64>) -> Result<GlmModel> {
                self.fit(x.view(), y.view())
            }
        }

        impl FitOn<ChunkedArray, ChunkedArray> for $name {
            type Model = GlmModel;

            /// X of two axes and y of one, in any chunks. Both are computed once and stay on the workers for the
            /// time of the fit; the solver's messages hold no rows.
            async fn fit_on(&self, client: &Client, x: &ChunkedArray, y: &ChunkedArray) -> Result<GlmModel> {
                let glm = Glm::from(self.clone());
                let machine = glm.machine()?;
                Ok(glm.model(fit_chunked(client, machine, glm.family, x, y).await?))
            }
        }

        #[typetag::serde]
        impl Estimator for $name {
            fn fit_dyn(&self, x: ArrayView2<'_, f64>, y: ArrayView1<'_, f64>) -> Result<Box<dyn Model>> {
                Ok(Box::new(self.fit(x, y)?))
            }
        }
    };
}

estimator! {
    /// A generalised linear model with an elastic net penalty.
    ///
    /// The coefficients b and the intercept b0 minimise
    ///
    /// ```text
    /// (1 / 2n) Σ unit deviance(y_i, mean(b0 + x_i · b)) + alpha (l1_ratio |b|₁ + (1 - l1_ratio)/2 |b|₂²)
    /// ```
    ///
    /// that is, for the gaussian family 1/(2n) RSS, for the binomial the mean log loss, for the Poisson
    /// mean(mu - y ln mu) but for a constant. The intercept is never penalised. Columns are penalised as they are:
    /// standardise them first where their units differ. How fast a fit converges does not depend on their units.
    ///
    /// | name | default | purpose | range |
    /// |---|---|---|---|
    /// | `family` | `gaussian` | distribution of y, with its canonical link | `gaussian`, `binomial`, `poisson` |
    /// | `alpha` | 0 | strength of the penalty | 0 or more |
    /// | `l1_ratio` | 0 | its L1 share: 0 ridge, 1 lasso | 0 to 1 |
    /// | `solver` | `gradient_descent` | how the optimum is found | `gradient_descent`, `admm` |
    /// | `fit_intercept` | true | whether there is an intercept | true, false |
    /// | `tol` | 1e-10 | stop when [`kkt_relative`](crate::Report::kkt_relative) is this or less | above 0, below 1 |
    /// | `max_iter` | 10000 | steps to stop after | 1 or more |
    /// | `n_blocks` | by rows | blocks of rows that ADMM splits the data into: one for each 4,096 rows, at most 32 | 1 or more |
    ///
    /// Coming from scikit-learn: `alpha` and `l1_ratio` are those of `ElasticNet` and, with `l1_ratio` 0, of
    /// `PoissonRegressor`; `Ridge(a)` is alpha = a/n; `LogisticRegression(C)` is alpha = 1/(n C). From glmnet: its
    /// lambda is our alpha and its alpha our `l1_ratio`, with `standardize = FALSE`; for the gaussian family divide
    /// its lambda by y's standard deviation only if you standardised y.
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
    Glm { family: Family = Family::Gaussian, }
}

estimator! {
    /// Least squares, and with a penalty ridge, lasso and elastic net: a [`Glm`] of the gaussian family.
    ///
    /// Its parameters are those of [`Glm`] but for `family`. scikit-learn's `LinearRegression()` is the default,
    /// `Lasso(a)` is `alpha(a).l1_ratio(1.)`, `ElasticNet(a, l1_ratio=r)` is `alpha(a).l1_ratio(r)`, and `Ridge(a)`
    /// is `alpha(a / n)`.
    ///
    /// ```
    /// use ndarray::array;
    /// use phalanx_glm::LinearRegression;
    /// use phalanx_learn::Fit;
    ///
    /// # fn main() -> phalanx_learn::Result<()> {
    /// let model = LinearRegression::new().fit(&array![[0.], [1.], [2.]], &array![1., 3., 5.])?;
    /// assert!((model.coef()[0] - 2.).abs() < 1e-8 && (model.intercept() - 1.).abs() < 1e-8);
    /// # Ok(())
    /// # }
    /// ```
    LinearRegression {}
}

estimator! {
    /// Logistic regression for two classes, y being 0 or 1: a [`Glm`] of the binomial family.
    ///
    /// Its parameters are those of [`Glm`] but for `family`. scikit-learn's `LogisticRegression(C=c)` on n rows is
    /// `alpha(1. / (n * c))`: alpha = 1/(n C), so the default C = 1 is alpha = 1/n, and ours, 0, is no penalty.
    ///
    /// ```
    /// use ndarray::array;
    /// use phalanx_glm::LogisticRegression;
    /// use phalanx_learn::Fit;
    ///
    /// # fn main() -> phalanx_learn::Result<()> {
    /// let x = array![[0.], [1.], [2.], [3.]];
    /// let (n, c) = (4., 1.);
    /// let model = LogisticRegression::new().alpha(1. / (n * c)).fit(&x, &array![0., 0., 1., 1.])?;
    /// assert_eq!(model.predict_class(x.view())?, array![0., 0., 1., 1.]);
    /// # Ok(())
    /// # }
    /// ```
    LogisticRegression {}
}

estimator! {
    /// Regression of counts and rates, y being 0 or more: a [`Glm`] of the Poisson family with the log link.
    ///
    /// Its parameters are those of [`Glm`] but for `family`. scikit-learn's `PoissonRegressor(alpha=a)` is
    /// `alpha(a)`; its default alpha is 1, ours is 0.
    ///
    /// ```
    /// use ndarray::array;
    /// use phalanx_glm::PoissonRegression;
    /// use phalanx_learn::{Fit, Predict};
    ///
    /// # fn main() -> phalanx_learn::Result<()> {
    /// let model = PoissonRegression::new().alpha(1e3).fit(&array![[0.], [1.]], &array![2., 4.])?;
    /// assert!((model.predict(&array![[0.5]])?[0] - 3.).abs() < 1e-2);
    /// # Ok(())
    /// # }
    /// ```
    PoissonRegression {}
}

macro_rules! named_family {
    ($name:ident, $family:expr) => {
        impl $name {
            /// The default parameters.
            pub fn new() -> Self {
                Self::default()
            }
        }

        impl From<$name> for Glm {
            fn from(named: $name) -> Self {
                let $name { alpha, l1_ratio, solver, fit_intercept, tol, max_iter, n_blocks } = named;
                Self { family: $family, alpha, l1_ratio, solver, fit_intercept, tol, max_iter, n_blocks }
            }
        }
    };
}

named_family!(LinearRegression, Family::Gaussian);
named_family!(LogisticRegression, Family::Binomial);
named_family!(PoissonRegression, Family::Poisson);

impl Glm {
    /// The default parameters for a family.
    pub fn new(family: Family) -> Self {
        Self { family, ..Self::default() }
    }

    /// Checks the parameters and makes the solver.
    pub(crate) fn machine(&self) -> Result<Machine> {
        let in_range = |name: &str, value: f64, ok: bool, expected: &str| {
            if ok { Ok(()) } else { Err(Error::parameter(name, value, expected)) }
        };
        in_range("alpha", self.alpha, self.alpha >= 0. && self.alpha.is_finite(), "0 or more")?;
        in_range("l1_ratio", self.l1_ratio, (0. ..=1.).contains(&self.l1_ratio), "0 to 1")?;
        in_range("tol", self.tol, self.tol > 0. && self.tol < 1., "above 0 and below 1")?;
        in_range("max_iter", self.max_iter as f64, self.max_iter > 0, "1 or more")?;
        in_range("n_blocks", 0., self.n_blocks != Some(0), "1 or more")?;
        let Self { family, alpha, l1_ratio, fit_intercept, tol, max_iter, .. } = *self;
        let spec = Spec { family, alpha, l1_ratio, fit_intercept, tol, max_iter };
        Ok(match self.solver {
            Solver::GradientDescent => Machine::gradient_descent(spec),
            Solver::Admm => Machine::admm(spec, self.n_blocks),
        })
    }

    pub(crate) fn model(&self, solution: crate::solver::Solution) -> GlmModel {
        GlmModel::new(self.family, solution)
    }
}

/// What can be said of the data before looking at them.
pub(crate) fn check_shapes((n_rows, n_features): (usize, usize), n_targets: usize) -> Result<()> {
    if n_rows == 0 || n_features == 0 {
        return Err(Error::Empty { what: "X" });
    }
    validate::same_length("X", n_rows, "y", n_targets)
}
