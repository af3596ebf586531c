//! How good predictions are: scikit-learn's metrics and scorers under their names.
//!
//! A metric that is a mean goes through the panels' fixed tree ([`phalanx_array::panel`]), so that predictions that
//! lie in chunks will give the same bits as predictions that are here. Arguments come in scikit-learn's order, what is
//! true first. Metrics know nothing of models; a [`Scorer`] joins the two and knows which direction is better.

use ndarray::{Array1, ArrayView1, ArrayView2};
use phalanx_array::panel::{PANEL, Subtrees};

use crate::{
    Error, Model, Result,
    erased::predict_class,
    error::nearest,
    validate::{finite_vector, same_length},
};

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
    mean(y, prediction, |_, y, mu| Ok((y - mu) * (y - mu)))
}

/// Square root of the [`mean_squared_error`]. Lower is better.
///
/// # Errors
/// When there are no rows, the lengths differ or a number is not finite.
pub fn root_mean_squared_error(y: ArrayView1<'_, f64>, prediction: ArrayView1<'_, f64>) -> Result<f64> {
    mean_squared_error(y, prediction).map(f64::sqrt)
}

/// Mean of |y - prediction|. Lower is better.
///
/// # Errors
/// When there are no rows, the lengths differ or a number is not finite.
pub fn mean_absolute_error(y: ArrayView1<'_, f64>, prediction: ArrayView1<'_, f64>) -> Result<f64> {
    mean(y, prediction, |_, y, mu| Ok((y - mu).abs()))
}

/// The coefficient of determination, 1 - sum (y - prediction)² / sum (y - mean y)². Higher is better.
///
/// For a constant y it is 1 when every prediction is right and 0 otherwise, as in scikit-learn.
///
/// # Errors
/// When there are fewer than two rows, the lengths differ or a number is not finite.
pub fn r2_score(y: ArrayView1<'_, f64>, prediction: ArrayView1<'_, f64>) -> Result<f64> {
    if y.len() < 2 {
        return Err(Error::TooFewRows { metric: "r2_score", n_rows: y.len(), expected: 2 });
    }
    let center = mean(y, prediction, |_, y, _| Ok(y))?;
    let residual = mean(y, prediction, |_, y, mu| Ok((y - mu) * (y - mu)))?;
    let total = mean(y, prediction, |_, y, _| Ok((y - center) * (y - center)))?;
    Ok(if total > 0. {
        1. - residual / total
    } else if residual == 0. {
        1.
    } else {
        0.
    })
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
    let metric = "mean_poisson_deviance";
    mean(y, prediction, |row, y, mu| {
        expect(y >= 0., metric, "y", row, y, "0 or more")?;
        expect(mu > 0., metric, "the prediction", row, mu, "above 0")?;
        // y ln y is 0 at 0, its limit.
        let log = if y > 0. { y * (y / mu).ln() } else { 0. };
        Ok(2. * (log - y + mu))
    })
}

/// Mean unit deviance of the gamma distribution, 2 (ln(mu / y) + y / mu - 1). Lower is better.
///
/// # Errors
/// When y or a prediction is not above 0, there are no rows, the lengths differ or a number is not finite.
pub fn mean_gamma_deviance(y: ArrayView1<'_, f64>, prediction: ArrayView1<'_, f64>) -> Result<f64> {
    let metric = "mean_gamma_deviance";
    mean(y, prediction, |row, y, mu| {
        expect(y > 0., metric, "y", row, y, "above 0")?;
        expect(mu > 0., metric, "the prediction", row, mu, "above 0")?;
        Ok(2. * ((mu / y).ln() + y / mu - 1.))
    })
}

/// Mean negative log-likelihood of classes 0 and 1 under the probabilities of 1. Lower is better.
///
/// A probability is first moved into [e, 1 - e], where e is `f64::EPSILON`, as scikit-learn does: a certain
/// but wrong prediction then costs 36 and not infinity.
///
/// # Errors
/// When y is neither 0 nor 1, a probability is outside of [0, 1], there are no rows or the lengths differ.
pub fn log_loss(y: ArrayView1<'_, f64>, probability: ArrayView1<'_, f64>) -> Result<f64> {
    let metric = "log_loss";
    mean(y, probability, |row, y, p| {
        expect(y == 0. || y == 1., metric, "y", row, y, "0 or 1")?;
        expect((0. ..=1.).contains(&p), metric, "the probability", row, p, "0 to 1")?;
        let p = p.clamp(f64::EPSILON, 1. - f64::EPSILON);
        Ok(if y == 1. { -p.ln() } else { -(1. - p).ln() })
    })
}

/// The share of rows whose predicted class is the true one. Higher is better.
///
/// # Errors
/// When there are no rows, the lengths differ or a number is not finite.
pub fn accuracy_score(y: ArrayView1<'_, f64>, class: ArrayView1<'_, f64>) -> Result<f64> {
    mean(y, class, |_, y, class| Ok(f64::from(u8::from(y == class))))
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
    let metric = "roc_auc_score";
    check(y, score)?;
    for (row, &y) in y.iter().enumerate() {
        expect(y == 0. || y == 1., metric, "y", row, y, "0 or 1")?;
    }
    // -0 and 0 are one score, which `total_cmp` alone would tell apart.
    let mut rows: Vec<(f64, bool)> = y.iter().zip(score).map(|(&y, &score)| (score + 0., y == 1.)).collect();
    let n_ones = rows.iter().filter(|(_, one)| *one).count();
    let n_zeros = rows.len() - n_ones;
    if n_ones == 0 || n_zeros == 0 {
        return Err(Error::OneClass { metric, class: y[0] });
    }
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Twice the rank is whole even between ties, so the sum is exact.
    let mut doubled_ranks = 0_u128;
    let mut first = 0;
    for tied in rows.chunk_by(|a, b| a.0 == b.0) {
        let last = first + tied.len() - 1;
        let ones = tied.iter().filter(|(_, one)| *one).count();
        doubled_ranks += ones as u128 * (first + last + 2) as u128;
        first = last + 1;
    }
    let least = n_ones as u128 * (n_ones as u128 + 1);
    Ok((doubled_ranks - least) as f64 / (2. * n_ones as f64 * n_zeros as f64))
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
        let value = (self.metric.compute)(y, prediction)?;
        Ok(if self.negated { -value } else { value })
    }

    /// The score of a model on rows it may or may not have seen.
    ///
    /// # Errors
    /// As the model's prediction and the metric's; [`Error::NoProbabilities`] when the metric asks for what the
    /// model does not give.
    pub fn score_model(&self, model: &dyn Model, x: ArrayView2<'_, f64>, y: ArrayView1<'_, f64>) -> Result<f64> {
        match self.metric.needs {
            Needs::Mean => self.score(y, model.predict_dyn(x)?.view()),
            Needs::Class => self.score(y, predict_class(model, x)?.view()),
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
                self.score(y.view(), probabilities.column(1))
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
    compute: fn(ArrayView1<'_, f64>, ArrayView1<'_, f64>) -> Result<f64>,
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
        compute: mean_squared_error,
    },
    Metric {
        name: "root_mean_squared_error",
        scorer: "neg_root_mean_squared_error",
        aliases: &["rmse"],
        goal: Goal::Minimize,
        needs: Needs::Mean,
        compute: root_mean_squared_error,
    },
    Metric {
        name: "mean_absolute_error",
        scorer: "neg_mean_absolute_error",
        aliases: &["mae"],
        goal: Goal::Minimize,
        needs: Needs::Mean,
        compute: mean_absolute_error,
    },
    Metric {
        name: "r2_score",
        scorer: "r2",
        aliases: &[],
        goal: Goal::Maximize,
        needs: Needs::Mean,
        compute: r2_score,
    },
    Metric {
        name: "mean_poisson_deviance",
        scorer: "neg_mean_poisson_deviance",
        aliases: &["poisson_deviance"],
        goal: Goal::Minimize,
        needs: Needs::Mean,
        compute: mean_poisson_deviance,
    },
    Metric {
        name: "mean_gamma_deviance",
        scorer: "neg_mean_gamma_deviance",
        aliases: &["gamma_deviance"],
        goal: Goal::Minimize,
        needs: Needs::Mean,
        compute: mean_gamma_deviance,
    },
    Metric {
        name: "log_loss",
        scorer: "neg_log_loss",
        aliases: &["logloss"],
        goal: Goal::Minimize,
        needs: Needs::Probability,
        compute: log_loss,
    },
    Metric {
        name: "accuracy_score",
        scorer: "accuracy",
        aliases: &[],
        goal: Goal::Maximize,
        needs: Needs::Class,
        compute: accuracy_score,
    },
    Metric {
        name: "roc_auc_score",
        scorer: "roc_auc",
        aliases: &["auc"],
        goal: Goal::Maximize,
        needs: Needs::Probability,
        compute: roc_auc_score,
    },
];

/// The mean of a term a row, summed in row order within each panel and in the fixed tree across panels.
fn mean(
    y: ArrayView1<'_, f64>,
    prediction: ArrayView1<'_, f64>,
    term: impl Fn(usize, f64, f64) -> Result<f64>,
) -> Result<f64> {
    check(y, prediction)?;
    let mut sums: Option<Subtrees<f64>> = None;
    let panels = y.axis_chunks_iter(ndarray::Axis(0), PANEL);
    let predictions = prediction.axis_chunks_iter(ndarray::Axis(0), PANEL);
    for (panel, (y_panel, mu_panel)) in panels.zip(predictions).enumerate() {
        let mut sum = 0.;
        for (row, (&y, &mu)) in y_panel.iter().zip(mu_panel).enumerate() {
            sum += term(panel * PANEL + row, y, mu)?;
        }
        match &mut sums {
            Some(sums) => sums.push(sum),
            None => sums = Some(Subtrees::panel(panel, sum)),
        }
    }
    let sum = sums.map_or(f64::NAN, Subtrees::finish);
    Ok(sum / y.len() as f64)
}

fn check(y: ArrayView1<'_, f64>, prediction: ArrayView1<'_, f64>) -> Result<()> {
    same_length("y", y.len(), "the prediction", prediction.len())?;
    if y.is_empty() {
        return Err(Error::Empty { what: "y" });
    }
    finite_vector("y", y)?;
    finite_vector("the prediction", prediction)
}

fn expect(
    holds: bool,
    metric: &'static str,
    what: &'static str,
    row: usize,
    value: f64,
    expected: &'static str,
) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Domain { metric, what, row, value, expected }) }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

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
