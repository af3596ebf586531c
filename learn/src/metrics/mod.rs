//! How good predictions are: scikit-learn's metrics and scorers under their names.
//!
//! A metric that is a mean goes through the panels' fixed tree ([`phalanx_array::panel`]), so that predictions that
//! lie in chunks will give the same bits as predictions that are here. Arguments come in scikit-learn's order, what is
//! true first. Metrics know nothing of models; a [`Scorer`] joins the two and knows which direction is better.

mod pairs;

use ndarray::{Array1, ArrayView1, ArrayView2};

use crate::{Error, Model, Result, erased::predict_class, error::nearest};
use pairs::Pairs;

/// Mean of (y - prediction)². Lower is better.
///
/// # Errors
/// When there are no rows, the lengths differ or a number is not finite.
///
/// ```
/// use ndarray::array;
/// use phalanx_learn::metrics::mean_squared_error;
/// let mse = mean_squared_error(array![3., -0.5, 2., 7.].view(), array![2.5, 0., 2., 8.].view()).unwrap();
/// assert_eq!(mse, 0.375);
/// ```
pub fn mean_squared_error(y: ArrayView1<'_, f64>, prediction: ArrayView1<'_, f64>) -> Result<f64> {
    Pairs::new(y.reborrow(), prediction.reborrow()).mean_squared_error()
}

/// Square root of the [`mean_squared_error`]. Lower is better.
///
/// # Errors
/// When there are no rows, the lengths differ or a number is not finite.
pub fn root_mean_squared_error(y: ArrayView1<'_, f64>, prediction: ArrayView1<'_, f64>) -> Result<f64> {
    Pairs::new(y.reborrow(), prediction.reborrow()).root_mean_squared_error()
}

/// Mean of |y - prediction|. Lower is better.
///
/// # Errors
/// When there are no rows, the lengths differ or a number is not finite.
pub fn mean_absolute_error(y: ArrayView1<'_, f64>, prediction: ArrayView1<'_, f64>) -> Result<f64> {
    Pairs::new(y.reborrow(), prediction.reborrow()).mean_absolute_error()
}

/// The coefficient of determination, 1 - sum (y - prediction)² / sum (y - mean y)². Higher is better.
///
/// For a constant y it is 1 when every prediction is right and 0 otherwise, as in scikit-learn.
///
/// # Errors
/// When there are fewer than two rows, the lengths differ or a number is not finite.
pub fn r2_score(y: ArrayView1<'_, f64>, prediction: ArrayView1<'_, f64>) -> Result<f64> {
    Pairs::new(y.reborrow(), prediction.reborrow()).r2_score()
}

/// Mean unit deviance of the Poisson distribution, 2 (y ln(y / mu) - y + mu). Lower is better.
///
/// # Errors
/// When y is below 0 or a prediction is not above 0, there are no rows, the lengths differ or a number is not finite.
///
/// ```
/// use ndarray::array;
/// use phalanx_learn::metrics::mean_poisson_deviance;
/// let error = mean_poisson_deviance(array![1., 2.].view(), array![0.5, 0.].view()).unwrap_err();
/// assert_eq!(error.to_string(), "mean_poisson_deviance: the prediction is 0 in row 1, expected above 0");
/// ```
pub fn mean_poisson_deviance(y: ArrayView1<'_, f64>, prediction: ArrayView1<'_, f64>) -> Result<f64> {
    Pairs::new(y.reborrow(), prediction.reborrow()).mean_poisson_deviance()
}

/// Mean unit deviance of the gamma distribution, 2 (ln(mu / y) + y / mu - 1). Lower is better.
///
/// # Errors
/// When y or a prediction is not above 0, there are no rows, the lengths differ or a number is not finite.
pub fn mean_gamma_deviance(y: ArrayView1<'_, f64>, prediction: ArrayView1<'_, f64>) -> Result<f64> {
    Pairs::new(y.reborrow(), prediction.reborrow()).mean_gamma_deviance()
}

/// Mean negative log-likelihood of classes 0 and 1 under the probabilities of 1. Lower is better.
///
/// A probability is first moved into [e, 1 - e], where e is `f64::EPSILON`, as scikit-learn does: a certain
/// but wrong prediction then costs 36 and not infinity.
///
/// # Errors
/// When y is neither 0 nor 1, a probability is outside of [0, 1], there are no rows or the lengths differ.
pub fn log_loss(y: ArrayView1<'_, f64>, probability: ArrayView1<'_, f64>) -> Result<f64> {
    Pairs::new(y.reborrow(), probability.reborrow()).log_loss()
}

/// The share of rows whose predicted class is the true one. Higher is better.
///
/// # Errors
/// When there are no rows, the lengths differ or a number is not finite.
pub fn accuracy_score(y: ArrayView1<'_, f64>, class: ArrayView1<'_, f64>) -> Result<f64> {
    Pairs::new(y.reborrow(), class.reborrow()).accuracy_score()
}

/// The probability that a row of class 1 scores above one of class 0, ties counting one half: the area under the
/// ROC curve, by midranks (the Mann-Whitney statistic). Higher is better.
///
/// # Errors
/// When y is neither 0 nor 1 or only one of them, there are no rows, the lengths differ or a number is not finite.
///
/// ```
/// use ndarray::array;
/// use phalanx_learn::metrics::roc_auc_score;
/// let auc = roc_auc_score(array![0., 0., 1., 1.].view(), array![0.1, 0.4, 0.35, 0.8].view()).unwrap();
/// assert_eq!(auc, 0.75);
/// ```
pub fn roc_auc_score(y: ArrayView1<'_, f64>, score: ArrayView1<'_, f64>) -> Result<f64> {
    Pairs::new(y.reborrow(), score.reborrow()).roc_auc_score()
}

/// What a metric has to be given about each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// The mean of y, [`Model::predict_dyn`].
    Mean,
    /// The probability of the second of two classes, [`Model::predict_proba_dyn`].
    Probability,
    /// The class.
    Class,
}

/// Which direction of a score is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// Higher is better.
    Maximize,
    /// Lower is better.
    Minimize,
}

impl Goal {
    /// Whether `a` is better than `b`. Nothing is better than itself, and NaN is better than nothing.
    ///
    /// ```
    /// use phalanx_learn::metrics::Goal;
    /// assert!(Goal::Minimize.is_better(1., 2.) && !Goal::Maximize.is_better(1., 2.));
    /// assert!(Goal::Minimize.is_better(1., f64::NAN) && !Goal::Minimize.is_better(f64::NAN, 1.));
    /// ```
    pub fn is_better(self, a: f64, b: f64) -> bool {
        match self {
            _ if a.is_nan() => false,
            _ if b.is_nan() => true,
            Self::Maximize => a > b,
            Self::Minimize => a < b,
        }
    }
}

/// A metric found by name, with what it needs and which direction is better.
///
/// Names are scikit-learn's scorers, where higher is always better (`neg_mean_squared_error`, `roc_auc`, ...), and
/// its metrics with short aliases (`mean_squared_error` or `mse`), where a loss is better when lower.
///
/// ```
/// use phalanx_learn::metrics::{Goal, Scorer};
/// let scorer: Scorer = "mse".parse().unwrap();
/// assert_eq!((scorer.name(), scorer.goal()), ("mean_squared_error", Goal::Minimize));
/// let error = "neg_mean_square_error".parse::<Scorer>().unwrap_err().to_string();
/// assert!(error.contains(r#"(did you mean "neg_mean_squared_error"?)"#));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scorer {
    metric: &'static Metric,
    /// Whether the loss was asked for with its sign turned, under its `neg_` name.
    negated: bool,
}

impl Scorer {
    /// The name it is known by, an alias resolved.
    pub const fn name(&self) -> &'static str {
        if self.negated { self.metric.scorer } else { self.metric.name }
    }

    /// Which direction of its scores is better.
    pub const fn goal(&self) -> Goal {
        if self.negated { Goal::Maximize } else { self.metric.goal }
    }

    /// What it has to be given about each row.
    pub const fn needs(&self) -> Needs {
        self.metric.needs
    }

    /// Whether it is defined only where both of two classes are among the rows.
    pub fn needs_both_classes(&self) -> bool {
        self.metric.scorer == "roc_auc"
    }

    /// The score of predictions of the kind that [`needs`](Self::needs) says.
    ///
    /// # Errors
    /// As the metric's.
    pub fn score(&self, y: ArrayView1<'_, f64>, prediction: ArrayView1<'_, f64>) -> Result<f64> {
        self.score_weighted(y, prediction, None)
    }

    /// As [`score`](Self::score), each row counting as often as its weight says; 0: the row is absent.
    ///
    /// # Errors
    /// As the metric's, and when a weight is below 0, not finite, or all are 0.
    pub fn score_weighted(
        &self,
        y: ArrayView1<'_, f64>,
        prediction: ArrayView1<'_, f64>,
        sample_weight: Option<ArrayView1<'_, f64>>,
    ) -> Result<f64> {
        let weights = sample_weight.as_ref().map(|weights| weights.reborrow());
        let value = (self.metric.compute)(&Pairs { weights, ..Pairs::new(y.reborrow(), prediction.reborrow()) })?;
        Ok(if self.negated { -value } else { value })
    }

    /// The score of a model on rows it may or may not have seen.
    ///
    /// # Errors
    /// As the model's prediction and the metric's; [`Error::NoProbabilities`] when the metric asks for what the
    /// model does not give.
    pub fn score_model(&self, model: &dyn Model, x: ArrayView2<'_, f64>, y: ArrayView1<'_, f64>) -> Result<f64> {
        self.score_model_weighted(model, x, y, None)
    }

    /// As [`score_model`](Self::score_model), each row counting as often as its weight says.
    ///
    /// # Errors
    /// As [`score_model`](Self::score_model) and [`score_weighted`](Self::score_weighted).
    pub fn score_model_weighted(
        &self,
        model: &dyn Model,
        x: ArrayView2<'_, f64>,
        y: ArrayView1<'_, f64>,
        weights: Option<ArrayView1<'_, f64>>,
    ) -> Result<f64> {
        match self.metric.needs {
            Needs::Mean => self.score_weighted(y, model.predict_dyn(x)?.view(), weights),
            Needs::Class => self.score_weighted(y, predict_class(model, x)?.view(), weights),
            Needs::Probability => {
                let classes = model.classes();
                let probabilities = model.predict_proba_dyn(x)?;
                let &[zero, one] = classes.as_slice() else {
                    return Err(Error::NotBinary { metric: self.name(), n_classes: classes.len() });
                };
                // A y that is neither class stays as it is, for the metric to refuse by its row.
                let y: Array1<f64> = y.mapv(|y| match y {
                    _ if y == one => 1.,
                    _ if y == zero => 0.,
                    _ if y == 0. || y == 1. => f64::NAN,
                    other => other,
                });
                self.score_weighted(y.view(), probabilities.column(1), weights)
            }
        }
    }

    /// Every name there is, sorted.
    pub fn names() -> Vec<&'static str> {
        let mut names: Vec<_> = METRICS
            .iter()
            .flat_map(|metric| [metric.name, metric.scorer].into_iter().chain(metric.aliases.iter().copied()))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl std::str::FromStr for Scorer {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        for metric in &METRICS {
            if name == metric.scorer {
                return Ok(Self { metric, negated: metric.scorer.starts_with("neg_") });
            }
            if name == metric.name || metric.aliases.contains(&name) {
                return Ok(Self { metric, negated: false });
            }
        }
        let known = Self::names();
        let nearest = nearest(name, known.iter().copied());
        let known = known.into_iter().map(str::to_owned).collect();
        Err(Error::UnknownMetric { name: name.to_owned(), nearest, known })
    }
}

#[derive(Debug)]
struct Metric {
    /// The metric, as scikit-learn's function is called.
    name: &'static str,
    /// The scorer, as scikit-learn's `scoring` is called.
    scorer: &'static str,
    aliases: &'static [&'static str],
    goal: Goal,
    needs: Needs,
    compute: fn(&Pairs<'_>) -> Result<f64>,
}

impl PartialEq for Metric {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Metric {}

static METRICS: [Metric; 9] = [
    Metric {
        name: "mean_squared_error",
        scorer: "neg_mean_squared_error",
        aliases: &["mse"],
        goal: Goal::Minimize,
        needs: Needs::Mean,
        compute: |pairs| pairs.mean_squared_error(),
    },
    Metric {
        name: "root_mean_squared_error",
        scorer: "neg_root_mean_squared_error",
        aliases: &["rmse"],
        goal: Goal::Minimize,
        needs: Needs::Mean,
        compute: |pairs| pairs.root_mean_squared_error(),
    },
    Metric {
        name: "mean_absolute_error",
        scorer: "neg_mean_absolute_error",
        aliases: &["mae"],
        goal: Goal::Minimize,
        needs: Needs::Mean,
        compute: |pairs| pairs.mean_absolute_error(),
    },
    Metric {
        name: "r2_score",
        scorer: "r2",
        aliases: &[],
        goal: Goal::Maximize,
        needs: Needs::Mean,
        compute: |pairs| pairs.r2_score(),
    },
    Metric {
        name: "mean_poisson_deviance",
        scorer: "neg_mean_poisson_deviance",
        aliases: &["poisson_deviance"],
        goal: Goal::Minimize,
        needs: Needs::Mean,
        compute: |pairs| pairs.mean_poisson_deviance(),
    },
    Metric {
        name: "mean_gamma_deviance",
        scorer: "neg_mean_gamma_deviance",
        aliases: &["gamma_deviance"],
        goal: Goal::Minimize,
        needs: Needs::Mean,
        compute: |pairs| pairs.mean_gamma_deviance(),
    },
    Metric {
        name: "log_loss",
        scorer: "neg_log_loss",
        aliases: &["logloss"],
        goal: Goal::Minimize,
        needs: Needs::Probability,
        compute: |pairs| pairs.log_loss(),
    },
    Metric {
        name: "accuracy_score",
        scorer: "accuracy",
        aliases: &[],
        goal: Goal::Maximize,
        needs: Needs::Class,
        compute: |pairs| pairs.accuracy_score(),
    },
    Metric {
        name: "roc_auc_score",
        scorer: "roc_auc",
        aliases: &["auc"],
        goal: Goal::Maximize,
        needs: Needs::Probability,
        compute: |pairs| pairs.roc_auc_score(),
    },
];

#[cfg(test)]
mod tests {
    use ndarray::array;
    use phalanx_array::panel::PANEL;

    use super::*;

    type Compute = fn(ArrayView1<'_, f64>, ArrayView1<'_, f64>) -> Result<f64>;

    #[track_caller]
    fn check(compute: Compute, y: &[f64], prediction: &[f64], expected: f64) {
        let value = compute(y.into(), prediction.into()).expect("a score");
        assert!((value - expected).abs() <= 1e-15 * expected.abs(), "{value}, expected {expected}");
    }

    #[track_caller]
    fn refuse(compute: Compute, y: &[f64], prediction: &[f64], expected: &str) {
        assert_eq!(compute(y.into(), prediction.into()).expect_err("refused").to_string(), expected);
    }

    /// The examples in scikit-learn's documentation of these functions (1.9), by their closed forms.
    #[test]
    fn scikit_learns_examples() {
        let (y, mu) = ([3., -0.5, 2., 7.], [2.5, 0., 2., 8.]);
        check(mean_squared_error, &y, &mu, 0.375);
        check(root_mean_squared_error, &y, &mu, 0.375_f64.sqrt());
        check(mean_absolute_error, &y, &mu, 0.5);
        check(r2_score, &y, &mu, 1. - 1.5 / 29.1875);
        let ln2 = std::f64::consts::LN_2;
        // 2, 0, 1, 4 under 0.5, 0.5, 2, 2: terms 2 ln 4 - 1.5, 0.5, 1 - ln 2, 4 ln 2 - 2, twice and averaged.
        check(mean_poisson_deviance, &[2., 0., 1., 4.], &[0.5, 0.5, 2., 2.], (7. * ln2 - 2.) / 2.);
        // 2, 0.5, 1, 4: terms 3 - ln 4, 0, ln 2 - 0.5, 1 - ln 2, twice and averaged.
        check(mean_gamma_deviance, &[2., 0.5, 1., 4.], &[0.5, 0.5, 2., 2.], (3.5 - 2. * ln2) / 2.);
        check(roc_auc_score, &[0., 0., 1., 1.], &[0.1, 0.4, 0.35, 0.8], 0.75);
        check(accuracy_score, &[0., 1., 2., 3.], &[0., 2., 1., 3.], 0.5);
        let spam = [0.9_f64, 0.9, 0.8, 0.65];
        check(log_loss, &[1., 0., 0., 1.], &[0.9, 0.1, 0.2, 0.65], -spam.map(f64::ln).iter().sum::<f64>() / 4.);
    }

    #[test]
    fn certain_and_wrong_costs_the_clipped_loss() {
        check(log_loss, &[1., 0.], &[0., 0.], -f64::EPSILON.ln() / 2. + f64::EPSILON / 2.);
    }

    #[test]
    fn a_constant_y_has_no_variance_to_explain() {
        check(r2_score, &[2., 2.], &[2., 2.], 1.);
        check(r2_score, &[2., 2.], &[2., 3.], 0.);
        refuse(r2_score, &[2.], &[2.], "r2_score needs 2 rows or more, there are 1");
    }

    #[test]
    fn ties_count_one_half() {
        check(roc_auc_score, &[0., 1.], &[0.5, 0.5], 0.5);
        check(roc_auc_score, &[0., 1., 1., 0.], &[0., -0., 1., -1.], 3.5 / 4.);
    }

    /// A weight counts a row so often: whole weights are rows that are there as often.
    #[test]
    fn weights_count_rows() {
        let (y, mu) = ([1., 0., 1., 1., 0.], [0.9, 0.4, 0.3, 0.7, 0.3]);
        let weights = [2., 1., 3., 0., 2.];
        let repeat = |of: &[f64]| -> Vec<f64> {
            of.iter().zip(weights).flat_map(|(value, weight)| std::iter::repeat_n(*value, weight as usize)).collect()
        };
        for name in ["mse", "rmse", "mae", "r2", "neg_mean_poisson_deviance", "log_loss", "accuracy", "roc_auc"] {
            let scorer: Scorer = name.parse().expect("known");
            let weighted = scorer.score_weighted((&y[..]).into(), (&mu[..]).into(), Some((&weights[..]).into()));
            let repeated = scorer.score(ArrayView1::from(&repeat(&y)), ArrayView1::from(&repeat(&mu)));
            let (weighted, repeated) = (weighted.expect("a score"), repeated.expect("a score"));
            assert!((weighted - repeated).abs() < 1e-14, "{name}: {weighted}, {repeated}");
        }
        let mse: Scorer = "mse".parse().expect("known");
        let refused = |weights: &[f64]| {
            let error = mse.score_weighted((&y[..]).into(), (&mu[..]).into(), Some(weights.into()));
            error.expect_err("refused").to_string()
        };
        assert_eq!(refused(&[1., 1., -1., 1., 1.]), "sample_weight is -1 in row 2, expected 0 or more");
        assert_eq!(refused(&[0.; 5]), "sample_weight is 0 in every row, expected above 0 in one or more");
        assert_eq!(refused(&[1.]), "y has 5 rows and sample_weight has 1; they must agree");
    }

    #[test]
    fn what_a_metric_is_not_defined_for_is_refused_by_row() {
        let poisson = "mean_poisson_deviance: the prediction is 0 in row 1, expected above 0";
        refuse(mean_poisson_deviance, &[1., 1.], &[1., 0.], poisson);
        let below = "mean_poisson_deviance: y is -1 in row 0, expected 0 or more";
        refuse(mean_poisson_deviance, &[-1.], &[1.], below);
        refuse(mean_gamma_deviance, &[0.], &[1.], "mean_gamma_deviance: y is 0 in row 0, expected above 0");
        refuse(log_loss, &[2.], &[0.5], "log_loss: y is 2 in row 0, expected 0 or 1");
        refuse(log_loss, &[1.], &[1.5], "log_loss: the probability is 1.5 in row 0, expected 0 to 1");
        refuse(roc_auc_score, &[1., 1.], &[0.5, 0.6], "roc_auc_score needs both classes in y, but every row is 1");
        refuse(mean_squared_error, &[], &[], "y is empty, expected at least one row and one column");
        let nan = "the prediction has NaN in row 0; drop or fill such rows first";
        refuse(mean_squared_error, &[1.], &[f64::NAN], nan);
        let lengths = "y has 1 rows and the prediction has 2; they must agree";
        refuse(mean_squared_error, &[1.], &[1., 2.], lengths);
    }

    #[test]
    fn a_mean_is_summed_by_panels_in_the_fixed_tree() {
        let n = 3 * PANEL + 17;
        let y = Array1::from_shape_fn(n, |row| (row as f64 * 0.7).sin());
        let zero = Array1::zeros(n);
        let panels: Vec<f64> =
            y.as_slice().expect("contiguous").chunks(PANEL).map(|c| c.iter().map(|v| v.abs()).sum()).collect();
        let expected = ((panels[0] + panels[1]) + (panels[2] + panels[3])) / n as f64;
        assert_eq!(mean_absolute_error(y.view(), zero.view()).expect("a score").to_bits(), expected.to_bits());
    }

    #[test]
    fn every_name_is_found_and_says_its_direction() {
        let table: Vec<_> = Scorer::names()
            .into_iter()
            .map(|name| {
                let scorer: Scorer = name.parse().expect("known");
                let arrow = if scorer.goal() == Goal::Maximize { "max" } else { "min" };
                format!("{name} {} {arrow} {:?}", scorer.name(), scorer.needs())
            })
            .collect();
        let expected = [
            "accuracy accuracy_score max Class",
            "accuracy_score accuracy_score max Class",
            "auc roc_auc_score max Probability",
            "gamma_deviance mean_gamma_deviance min Mean",
            "log_loss log_loss min Probability",
            "logloss log_loss min Probability",
            "mae mean_absolute_error min Mean",
            "mean_absolute_error mean_absolute_error min Mean",
            "mean_gamma_deviance mean_gamma_deviance min Mean",
            "mean_poisson_deviance mean_poisson_deviance min Mean",
            "mean_squared_error mean_squared_error min Mean",
            "mse mean_squared_error min Mean",
            "neg_log_loss neg_log_loss max Probability",
            "neg_mean_absolute_error neg_mean_absolute_error max Mean",
            "neg_mean_gamma_deviance neg_mean_gamma_deviance max Mean",
            "neg_mean_poisson_deviance neg_mean_poisson_deviance max Mean",
            "neg_mean_squared_error neg_mean_squared_error max Mean",
            "neg_root_mean_squared_error neg_root_mean_squared_error max Mean",
            "poisson_deviance mean_poisson_deviance min Mean",
            "r2 r2_score max Mean",
            "r2_score r2_score max Mean",
            "rmse root_mean_squared_error min Mean",
            "roc_auc roc_auc_score max Probability",
            "roc_auc_score roc_auc_score max Probability",
            "root_mean_squared_error root_mean_squared_error min Mean",
        ];
        assert_eq!(table, expected);
    }

    #[test]
    fn a_regressor_has_no_probabilities_to_score() {
        let model =
            crate::Estimator::fit_dyn(&crate::DummyRegressor::new(), array![[0.], [1.]].view(), array![0., 1.].view())
                .expect("a model");
        let score = |name: &str| {
            let scorer: Scorer = name.parse().expect("known");
            scorer.score_model(&*model, array![[0.]].view(), array![1.].view())
        };
        assert_eq!(score("neg_mean_squared_error").expect("a score"), -0.25);
        let error = score("roc_auc").expect_err("no probabilities").to_string();
        assert!(error.starts_with("DummyModel gives no probabilities"), "{error}");
    }
}
