//! The plain names: estimators of one family each, with the parameters of [`Glm`] but for the family.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2};
use phalanx_array::ChunkedArray;
use phalanx_learn::{Estimator, Fit, FitOn, Model, Result};
use phalanx_runtime::Client;
use serde::{Deserialize, Serialize};

use crate::{
    cluster::fit_chunked,
    family::Family,
    fit::fit_local,
    inference::{Covariance, WeightsKind},
    model::GlmModel,
    params::{Glm, Solver, estimator},
    response::{ChunkedResponse, Response},
    solver::{ClassWeight, Spec},
};

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

estimator! {
    /// Regression of sizes, y being above 0, with a standard deviation in proportion to the mean: a [`Glm`] of the
    /// gamma family with the log link. scikit-learn's `GammaRegressor(alpha=a)` is `alpha(a)`.
    ///
    /// ```
    /// use ndarray::array;
    /// use phalanx_glm::GammaRegression;
    /// use phalanx_learn::Fit;
    ///
    /// # fn main() -> phalanx_learn::Result<()> {
    /// let model = GammaRegression::default().fit(&array![[0.], [0.], [1.], [1.]], &array![1., 3., 4., 12.])?;
    /// assert!((model.intercept() - 2_f64.ln()).abs() < 1e-9 && (model.coef()[0] - 4_f64.ln()).abs() < 1e-9);
    /// # Ok(())
    /// # }
    /// ```
    GammaRegression {}
}

estimator! {
    /// Regression of sums that may be 0, as claims or sales: a [`Glm`] of the Tweedie family with the log link.
    /// scikit-learn's `TweedieRegressor(power=p, alpha=a, link='log')` is `power(p).alpha(a)`.
    ///
    /// ```
    /// use ndarray::array;
    /// use phalanx_glm::TweedieRegression;
    /// use phalanx_learn::Fit;
    ///
    /// # fn main() -> phalanx_learn::Result<()> {
    /// let tweedie = TweedieRegression::default().power(1.7);
    /// let model = tweedie.fit(&array![[0.], [0.], [1.], [1.]], &array![0., 4., 0., 16.])?;
    /// assert!((model.intercept() - 2_f64.ln()).abs() < 1e-8 && (model.coef()[0] - 4_f64.ln()).abs() < 1e-8);
    /// # Ok(())
    /// # }
    /// ```
    TweedieRegression {
        /// Sets the power of the mean that the variance is: 0 or less, or 1 or more; 1.5 by default.
        power: f64 = 1.5,
        /// Sets whether the power is estimated by maximum likelihood, between 1.01 and 1.99; `power` is where that begins.
        estimate_power: bool = false,
    }
}

estimator! {
    /// Regression of counts that scatter more than Poisson's: a [`Glm`] of the negative binomial family with the log
    /// link. Its theta is R's; statsmodels' alpha is 1/theta.
    ///
    /// ```
    /// use ndarray::array;
    /// use phalanx_glm::NegativeBinomialRegression;
    /// use phalanx_learn::Fit;
    ///
    /// # fn main() -> phalanx_learn::Result<()> {
    /// let regression = NegativeBinomialRegression::default().theta(2.);
    /// let model = regression.fit(&array![[0.], [0.], [1.], [1.]], &array![0., 4., 0., 16.])?;
    /// assert!((model.intercept() - 2_f64.ln()).abs() < 1e-8 && (model.coef()[0] - 4_f64.ln()).abs() < 1e-8);
    /// # Ok(())
    /// # }
    /// ```
    NegativeBinomialRegression {
        /// Sets theta, above 0: the variance is mu + mu²/theta; 1 by default.
        theta: f64 = 1.,
        /// Sets whether theta is estimated by maximum likelihood, as R's `glm.nb` does; `theta` is where that begins.
        estimate_theta: bool = false,
    }
}

estimator! {
    /// Regression of sizes with a longer tail than gamma's: a [`Glm`] of the inverse gaussian family with the log link.
    ///
    /// ```
    /// use ndarray::array;
    /// use phalanx_glm::InverseGaussianRegression;
    /// use phalanx_learn::Fit;
    ///
    /// # fn main() -> phalanx_learn::Result<()> {
    /// let regression = InverseGaussianRegression::default();
    /// let model = regression.fit(&array![[0.], [0.], [1.], [1.]], &array![1., 3., 4., 12.])?;
    /// assert!((model.intercept() - 2_f64.ln()).abs() < 1e-8 && (model.coef()[0] - 4_f64.ln()).abs() < 1e-8);
    /// # Ok(())
    /// # }
    /// ```
    InverseGaussianRegression {}
}

estimator! {
    /// Least squares that outliers pull on with bounded force: a [`Glm`] of Huber's loss.
    ///
    /// scikit-learn's `HuberRegressor` estimates the scale of y beside the coefficients and has its epsilon in units
    /// of that; our delta is in units of y.
    ///
    /// ```
    /// use ndarray::array;
    /// use phalanx_glm::HuberRegression;
    /// use phalanx_learn::Fit;
    ///
    /// # fn main() -> phalanx_learn::Result<()> {
    /// let x = array![[0.], [1.], [2.], [3.], [4.]];
    /// let model = HuberRegression::default().delta(0.5).fit(&x, &array![0., 1., 2., 3., 1000.])?;
    /// assert!((model.coef()[0] - 1.).abs() < 0.3);
    /// # Ok(())
    /// # }
    /// ```
    HuberRegression {
        /// Sets the residual beyond which the force is constant, in units of y, above 0; 1.35 by default.
        delta: f64 = 1.35,
    }
}

estimator! {
    /// Regression of a quantile of y, as its median, instead of its mean: a [`Glm`] of the quantile family, whose loss is
    /// the pinball loss.
    ///
    /// The mean pinball loss is minimised, with the penalty of [`Glm`]; scikit-learn's
    /// `QuantileRegressor(quantile=q, alpha=a)` is `quantile(q).alpha(a).l1_ratio(1.)`, and R's `rq(tau = q)` and
    /// statsmodels' `QuantReg` are `quantile(q)`. The solver is one of its own: Newton's method on the loss,
    /// smoothed less and less, says which rows are near, and an interior point over those rows solves the exact problem.
    /// [`Report::duality_gap`](crate::Report::duality_gap) says how far the exact objective may be from its least; `tol`
    /// is the gap to stop at, over the objective, and a gap of 1e-8 of it or less counts as converged. There are no
    /// standard errors, and X is one dense array.
    ///
    /// ```
    /// use ndarray::array;
    /// use phalanx_glm::QuantileRegression;
    /// use phalanx_learn::Fit;
    ///
    /// # fn main() -> phalanx_learn::Result<()> {
    /// let (x, y) = (array![[0.], [1.], [2.], [3.], [4.]], array![0., 1., 2., 3., 1000.]);
    /// let median = QuantileRegression::new().quantile(0.5).fit(&x, &y)?;
    /// assert!((median.coef()[0] - 1.).abs() < 1e-6 && median.intercept().abs() < 1e-6);
    /// assert!(median.report().duality_gap.is_some_and(|gap| gap < 1e-6));
    /// # Ok(())
    /// # }
    /// ```
    QuantileRegression {
        /// Sets the share of rows to lie below, above 0 and below 1; 0.5, the median, by default.
        quantile: f64 = 0.5,
    }
}

macro_rules! named_family {
    ($name:ident $(, $extra:ident)* => $family:expr $(, $estimate:expr)?) => {
        impl $name {
            /// The default parameters.
            pub fn new() -> Self {
                Self::default()
            }
        }

        impl From<$name> for Glm {
            fn from(named: $name) -> Self {
                let $name {
                    $($extra,)*
                    alpha,
                    l1_ratio,
                    penalty_factor,
                    lower,
                    upper,
                    standardize,
                    penalty_groups,
                    class_weight,
                    covariance,
                    weights_kind,
                    quasi,
                    solver,
                    fit_intercept,
                    tol,
                    max_iter,
                    n_blocks,
                } = named;
                Self {
                    family: $family,
                    link: None,
                    estimate_parameter: false $(|| $estimate)?,
                    alpha,
                    l1_ratio,
                    penalty_factor,
                    lower,
                    upper,
                    standardize,
                    penalty_groups,
                    class_weight,
                    covariance,
                    weights_kind,
                    quasi,
                    solver,
                    fit_intercept,
                    tol,
                    max_iter,
                    n_blocks,
                }
            }
        }
    };
}

named_family!(LinearRegression => Family::Gaussian);
named_family!(LogisticRegression => Family::Binomial);
named_family!(PoissonRegression => Family::Poisson);
named_family!(GammaRegression => Family::Gamma);
named_family!(TweedieRegression, power, estimate_power => Family::Tweedie { power }, estimate_power);
named_family!(NegativeBinomialRegression, theta, estimate_theta => Family::NegativeBinomial { theta }, estimate_theta);
named_family!(InverseGaussianRegression => Family::InverseGaussian);
named_family!(HuberRegression, delta => Family::Huber { delta });
named_family!(QuantileRegression, quantile => Family::Quantile { quantile });
