//! What was learned: coefficients, and predictions from them.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, stack};
use phalanx_array::{ChunkedArray, simd};
use phalanx_learn::{Error, Model, Predict, Result, lazy, validate};
use serde::{Deserialize, Serialize};

use crate::{
    cluster::predict_on_chunks,
    family::Family,
    fit::Fitted,
    inference::{Inference, LikelihoodRatio},
    kernel::predict,
    link::Link,
    loss::Loss,
    report::Report,
    solver::Solution,
};

/// A fitted generalised linear model: mean of y = inverse link(intercept + x · coef).
///
/// ```
/// use ndarray::array;
/// use phalanx_glm::LogisticRegression;
/// use phalanx_learn::{Fit, Predict};
///
/// # fn main() -> phalanx_learn::Result<()> {
/// let x = array![[0.], [1.], [2.], [3.]];
/// let model = LogisticRegression::new().alpha(0.1).fit(&x, &array![0., 1., 0., 1.])?;
/// let mean = model.predict(&x)?; // the probability of 1
/// assert_eq!(model.predict_proba(x.view())?.column(1), mean);
/// let text = serde_json::to_string(&model).unwrap();
/// assert_eq!(serde_json::from_str::<phalanx_glm::GlmModel>(&text).unwrap(), model);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GlmModel {
    family: Family,
    link: Link,
    coef: Vec<f64>,
    intercept: f64,
    report: Report,
    #[serde(default)]
    inference: Option<Inference>,
}

/// Predictions with how sure they are; each of length n_rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// The linear predictor.
    pub link: Array1<f64>,
    /// Its standard error.
    pub link_error: Array1<f64>,
    /// The mean of y.
    pub mean: Array1<f64>,
    /// Its standard error, by the link's slope (the delta method).
    pub mean_error: Array1<f64>,
    /// Where the mean's interval of the asked confidence begins and ends: that of the linear predictor, through the
    /// inverse link.
    pub interval: (Array1<f64>, Array1<f64>),
}

impl GlmModel {
    pub(crate) fn new(loss: Loss, fitted: Fitted, chosen: String) -> Self {
        let Solution { coef, intercept, mut report, .. } = fitted.solution;
        report.solver = chosen;
        Self { family: loss.family, link: loss.link, coef, intercept, report, inference: fitted.inference }
    }

    /// Standard errors, tests and likelihood; none where something is penalised or bounded.
    pub const fn inference(&self) -> Option<&Inference> {
        self.inference.as_ref()
    }

    /// Predicts with standard errors and intervals; `confidence` is between 0 and 1.
    ///
    /// # Errors
    /// As [`decision_function`](Self::decision_function), where the model has no [`inference`](Self::inference), and
    /// for a confidence out of its range.
    ///
    /// ```
    /// use ndarray::array;
    /// use phalanx_glm::LinearRegression;
    /// use phalanx_learn::Fit;
    ///
    /// # fn main() -> phalanx_learn::Result<()> {
    /// let x = array![[0.], [1.], [2.], [3.]];
    /// let model = LinearRegression::new().fit(&x, &array![1., 2., 2., 4.])?;
    /// let found = model.predict_with_errors(x.view(), 0.95)?;
    /// assert!(found.interval.0[0] < found.mean[0] && found.mean[0] < found.interval.1[0]);
    /// assert!(found.mean_error[0] > found.mean_error[1]); // surer in the middle
    /// # Ok(())
    /// # }
    /// ```
    pub fn predict_with_errors(&self, x: ArrayView2<'_, f64>, confidence: f64) -> Result<Prediction> {
        let Some(inference) = &self.inference else {
            return Err(Error::parameter("alpha", "above 0, or bounds are set", "0 and no bounds for standard errors"));
        };
        if !(confidence > 0. && confidence < 1.) {
            return Err(Error::parameter("confidence", confidence, "above 0 and below 1"));
        }
        let link = self.decision_function(x)?;
        let error = |row: ArrayView1<'_, f64>| inference.variance_of(&row.to_vec()).max(0.).sqrt();
        let link_error: Array1<f64> = x.rows().into_iter().map(error).collect();
        let reach = inference.quantile(confidence);
        let slopes = link.mapv(|eta| self.link.at(eta).first.abs());
        let end = |sign: f64| (&link + &(&link_error * (sign * reach))).mapv(|eta| self.link.mean(eta));
        let (a, b) = (end(-1.), end(1.));
        // A link that falls turns the interval around.
        let ordered = |a: &Array1<f64>, b: &Array1<f64>, least: bool| {
            a.iter().zip(b).map(|(a, b)| if least { a.min(*b) } else { a.max(*b) }).collect::<Array1<f64>>()
        };
        let interval = (ordered(&a, &b, true), ordered(&a, &b, false));
        Ok(Prediction {
            mean: link.mapv(|eta| self.link.mean(eta)),
            mean_error: &slopes * &link_error,
            link,
            link_error,
            interval,
        })
    }

    /// Tests whether all terms that a smaller model of the same rows lacks are 0: by chi squared of the likelihood
    /// ratio, or where the dispersion is estimated by F, as R's `anova` does.
    ///
    /// # Errors
    /// When either model has no [`inference`](Self::inference), families or links differ, they were not fitted to as
    /// many rows, or the other has not fewer terms.
    ///
    /// ```
    /// use ndarray::{array, s};
    /// use phalanx_glm::PoissonRegression;
    /// use phalanx_learn::Fit;
    ///
    /// # fn main() -> phalanx_learn::Result<()> {
    /// let x = array![[0., 1.], [1., 0.], [2., 1.], [3., 0.], [4., 1.], [5., 0.]];
    /// let y = array![1., 2., 5., 9., 18., 31.];
    /// let (large, small) = (PoissonRegression::new().fit(&x, &y)?, PoissonRegression::new().fit(x.slice(s![.., 1..]), y.view())?);
    /// let test = large.likelihood_ratio_test(&small)?;
    /// assert!(test.df == 1. && test.p_value < 1e-6);
    /// # Ok(())
    /// # }
    /// ```
    pub fn likelihood_ratio_test(&self, smaller: &Self) -> Result<LikelihoodRatio> {
        let refuse = |found: &str, expected: &str| Error::parameter("the smaller model", found, expected);
        let (Some(large), Some(small)) = (&self.inference, &smaller.inference) else {
            return Err(refuse("penalised or bounded, or the larger is", "one without a penalty, as the larger"));
        };
        if (self.family, self.link) != (smaller.family, smaller.link) {
            return Err(refuse("of another family or link", "of the same"));
        }
        if large.n_observations != small.n_observations {
            return Err(refuse("fitted to another number of rows", "fitted to the same rows"));
        }
        large
            .against(self.report.deviance, small, smaller.report.deviance)
            .ok_or_else(|| refuse("of as many terms or more", "of fewer terms"))
    }

    /// The distribution of y.
    pub const fn family(&self) -> Family {
        self.family
    }

    /// How the mean hangs on the linear predictor.
    pub const fn link(&self) -> Link {
        self.link
    }

    /// One coefficient a column, in the columns' own units.
    pub fn coef(&self) -> ArrayView1<'_, f64> {
        ArrayView1::from(&self.coef)
    }

    /// The linear predictor where every column is 0; 0 where none was fitted.
    pub const fn intercept(&self) -> f64 {
        self.intercept
    }

    /// How the fit went, why it stopped and how far from the optimum it is.
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// The linear predictor, intercept + x · coef, of each row: scikit-learn's `decision_function`.
    ///
    /// # Errors
    /// When X has not the columns there were at fit, or is not finite.
    pub fn decision_function(&self, x: ArrayView2<'_, f64>) -> Result<Array1<f64>> {
        validate::predict_data(x, self.coef.len())?;
        let mut eta = vec![0.; x.nrows()];
        let rows = x.as_standard_layout();
        simd::dispatch(
            #[inline(always)]
            || predict(rows.as_slice().unwrap_or_default(), &self.coef, self.intercept, &mut eta),
        );
        Ok(eta.into())
    }

    /// The probabilities of 0 and of 1, shape (n_rows, 2), for the binomial family.
    ///
    /// # Errors
    /// As [`decision_function`](Self::decision_function), and for another family.
    pub fn predict_proba(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        self.expect_binomial()?;
        let eta = self.decision_function(x)?;
        // A symmetric link's other tail keeps its digits.
        let zero = match self.link {
            Link::Logit | Link::Probit => eta.mapv(|eta| self.link.mean(-eta)),
            link => eta.mapv(|eta| 1. - link.mean(eta)),
        };
        let one = eta.mapv(|eta| self.link.mean(eta));
        stack(Axis(1), &[zero.view(), one.view()]).map_err(Error::other)
    }

    /// The more probable class of each row, 0 or 1, for the binomial family; 0 where they are equal.
    ///
    /// # Errors
    /// As [`predict_proba`](Self::predict_proba).
    pub fn predict_class(&self, x: ArrayView2<'_, f64>) -> Result<Array1<f64>> {
        self.expect_binomial()?;
        // Half is at 0 for the symmetric links, and where a mean of a half is for others.
        let half = if matches!(self.link, Link::Logit | Link::Probit) { 0. } else { self.link.of_mean(0.5) };
        Ok(self.decision_function(x)?.mapv(|eta| f64::from(eta > half)))
    }

    /// The mean of y for each row whose linear predictor has `offset` added, as at fit: where y was counted on an
    /// exposure, its logarithm. Without, as by [`predict`](Predict::predict), the offset is 0 and the exposure 1.
    ///
    /// ```
    /// use ndarray::array;
    /// use phalanx_glm::{PoissonRegression, Response};
    /// use phalanx_learn::{Fit, Predict};
    ///
    /// # fn main() -> phalanx_learn::Result<()> {
    /// let (x, claims, years) = (array![[0.], [1.]], array![2., 8.], array![4., 8.]);
    /// let model = PoissonRegression::new().fit(&x, Response::new(&claims).exposure(&years))?;
    /// let rates = model.predict(&x)?;
    /// assert!((rates[0] - 0.5).abs() < 1e-9);
    /// let counts = model.predict_with_offset(x.view(), years.mapv(f64::ln).view())?;
    /// assert!((counts[0] - 2.).abs() < 1e-9);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`decision_function`](Self::decision_function), and when an offset is missing or not finite.
    pub fn predict_with_offset(&self, x: ArrayView2<'_, f64>, offset: ArrayView1<'_, f64>) -> Result<Array1<f64>> {
        validate::same_length("X", x.nrows(), "offset", offset.len())?;
        if let Some((row, &value)) = offset.iter().enumerate().find(|(_, offset)| !offset.is_finite()) {
            return Err(Error::NotFinite { what: "the offset", row, column: None, value });
        }
        let mut eta = self.decision_function(x)?;
        eta += &offset;
        Ok(eta.mapv(|eta| self.link.mean(eta)))
    }

    /// The same lazily, as an array of one axis; what only the numbers show fails when it is computed.
    ///
    /// # Errors
    /// When X has not the columns there were at fit, or not as many rows as the offset.
    pub fn predict_chunks_with_offset(&self, x: &ChunkedArray, offset: &ChunkedArray) -> Result<ChunkedArray> {
        predict_on_chunks(self, x, offset)
    }

    fn expect_binomial(&self) -> Result<()> {
        match self.family {
            Family::Binomial => Ok(()),
            _ => Err(Error::NoProbabilities { model: format!("a {} GlmModel", self.family) }),
        }
    }
}

impl Predict<ArrayView2<'_, f64>> for GlmModel {
    type Output = Array1<f64>;

    /// The mean of y for each row; for the binomial family the probability of 1.
    fn predict(&self, x: ArrayView2<'_, f64>) -> Result<Array1<f64>> {
        Ok(self.decision_function(x)?.mapv(|eta| self.link.mean(eta)))
    }
}

impl Predict<&Array2<f64>> for GlmModel {
    type Output = Array1<f64>;

    fn predict(&self, x: &Array2<f64>) -> Result<Array1<f64>> {
        self.predict(x.view())
    }
}

impl Predict<&ChunkedArray> for GlmModel {
    type Output = ChunkedArray;

    /// Lazily, as an array of one axis; a number that is not finite fails when it is computed.
    fn predict(&self, x: &ChunkedArray) -> Result<ChunkedArray> {
        lazy::predict(self, x)
    }
}

#[typetag::serde]
impl Model for GlmModel {
    fn n_features(&self) -> usize {
        self.coef.len()
    }

    fn predict_dyn(&self, x: ArrayView2<'_, f64>) -> Result<Array1<f64>> {
        self.predict(x)
    }

    fn predict_proba_dyn(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        self.predict_proba(x)
    }

    fn classes(&self) -> Vec<f64> {
        if self.family == Family::Binomial { vec![0., 1.] } else { Vec::new() }
    }

    fn report(&self) -> serde_json::Value {
        // A report is plain fields and always becomes JSON.
        serde_json::to_value(&self.report).unwrap_or_default()
    }
}
