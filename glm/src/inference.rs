//! What the data say of the coefficients beside their values: covariance, standard errors, tests, information criteria.
//!
//! Only of models without a penalty or bounds: a penalty moves coefficients, and these formulas know nothing of that.
//!
//! Sources: P. McCullagh, J. A. Nelder, *Generalized Linear Models*, 2nd ed. (1989), sections 2.5 and 4.4; R's `glm`,
//! `summary.glm` and `logLik.glm` for which statistic is t and which z, and for the likelihoods behind AIC; J. MacKinnon,
//! H. White, "Some heteroskedasticity-consistent covariance matrix estimators" (1985) for HC1; A. C. Cameron,
//! D. Miller, "A practitioner's guide to cluster-robust inference" (2015), equation 11 and section II.C.

use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};
use statrs::distribution::{ChiSquared, ContinuousCDF, FisherSnedecor, Normal, StudentsT};

use crate::{
    family::Family,
    kernel::{Scores, Summary},
    loss::Loss,
    solver::{Cholesky, Coordinates},
};

/// How the covariance of the coefficients is estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Covariance {
    /// The inverse of the expected information, times the dispersion: right where the family is.
    #[default]
    Nonrobust,
    /// White's sandwich times n / (n - p), the expected information on its outsides: right for any variance of
    /// independent rows.
    Hc1,
    /// The sandwich of the groups' scores times G/(G-1) (n-1)/(n-p): right for rows that hang together within groups.
    Clustered,
}

/// What a weight means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightsKind {
    /// How often a row was seen: the rows number Σw.
    #[default]
    Frequency,
    /// How exact a row is, as R has it: the rows number those whose weight is above 0.
    Precision,
}

/// Covariance, dispersion and likelihood of a fit without a penalty.
///
/// Terms are counted with the intercept first, as term 0; column j of X is term j + 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inference {
    /// The terms that were estimated: not those that are constant or collinear, nor an intercept that was not fitted.
    kept: Vec<usize>,
    n_terms: usize,
    /// Of the kept terms: the lower triangle, row after row.
    covariance: Vec<f64>,
    /// How it was estimated.
    pub kind: Covariance,
    /// The variance over the family's: 1 by definition for binomial, Poisson and negative binomial unless `quasi`,
    /// elsewhere Pearson's statistic over the residual degrees of freedom.
    pub dispersion: f64,
    /// Whether the dispersion was estimated: then statistics are t, elsewhere z.
    pub dispersion_is_estimated: bool,
    /// Rows, as the kind of weights counts them.
    pub n_observations: f64,
    /// Rows less estimated terms.
    pub df_residual: f64,
    /// Weighted sum of (y - mu)² / variance.
    pub pearson_chi2: f64,
    /// ln of the likelihood; none for quasi and Tweedie families and Huber's and quantiles' loss, which have none.
    pub log_likelihood: Option<f64>,
    /// Akaike's criterion, 2 k - 2 log-likelihood, k counting an estimated dispersion, as R does, and an estimated theta, as its `glm.nb`.
    pub aic: Option<f64>,
    /// Schwarz's criterion, k ln n - 2 log-likelihood.
    pub bic: Option<f64>,
    /// McFadden's pseudo R²: 1 - log-likelihood / that of the null model; none where either is missing.
    pub pseudo_r2: Option<f64>,
}

/// A test of whether terms that a smaller model lacks are all 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LikelihoodRatio {
    /// Twice the difference of the log-likelihoods, or for an estimated dispersion the F statistic.
    pub statistic: f64,
    /// How many terms.
    pub df: f64,
    /// The residual degrees of freedom of F; none for chi squared.
    pub df_residual: Option<f64>,
    /// The probability of a statistic this large or larger were they 0.
    pub p_value: f64,
}

/// What is asked of a fit beyond its coefficients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) kind: Covariance,
    pub(crate) weights: WeightsKind,
    pub(crate) quasi: bool,
    /// Whether the family's own parameter was estimated too.
    pub(crate) with_parameter: bool,
}

impl Wanted {
    pub(crate) const fn scores(self) -> Scores {
        match self.kind {
            Covariance::Nonrobust => Scores::None,
            Covariance::Hc1 => Scores::Rows,
            Covariance::Clustered => Scores::Groups,
        }
    }
}

impl Inference {
    /// From the sums over rows at the optimum; none where no degrees of freedom are left to estimate with.
    pub(crate) fn new(
        summary: &Summary,
        loss: Loss,
        coordinates: &Coordinates,
        wanted: Wanted,
        [deviance, null_deviance]: [f64; 2],
    ) -> Option<Self> {
        let n_terms = coordinates.n_features() + 1;
        let packed = |values: &[f64], i: usize, j: usize| values[i.max(j) * (i.max(j) + 1) / 2 + i.min(j)];
        let cholesky = Cholesky::new(n_terms, |i, j| packed(&summary.information, i, j));
        let kept: Vec<usize> = (0..n_terms).filter(|term| !cholesky.collinear.contains(term)).collect();
        let n = match wanted.weights {
            WeightsKind::Frequency => summary.sum_weights,
            WeightsKind::Precision => summary.n_used as f64,
        };
        let rank = kept.len();
        let df_residual = n - rank as f64;
        let estimated = wanted.quasi || !loss.family.has_unit_dispersion();
        if kept.is_empty() || df_residual <= 0. && (estimated || wanted.kind != Covariance::Nonrobust) {
            return None;
        }
        let dispersion = if estimated { summary.pearson / df_residual } else { 1. };
        let inverse = cholesky.inverse();
        let k = kept.len();
        let at = |i: usize, j: usize| packed(&inverse, kept[i], kept[j]);
        let bread = Array2::from_shape_fn((k, k), |(i, j)| at(i, j));
        let working = match wanted.kind {
            Covariance::Nonrobust => bread * dispersion,
            Covariance::Hc1 => {
                let meat = Array2::from_shape_fn((k, k), |(i, j)| packed(&summary.meat, kept[i], kept[j]));
                bread.dot(&meat).dot(&bread) * (n / df_residual)
            }
            Covariance::Clustered => {
                let groups = summary.groups.len() as f64;
                if groups < 2. {
                    return None;
                }
                let mut meat = Array2::<f64>::zeros((k, k));
                for scores in summary.groups.values() {
                    let kept = Array1::from_iter(kept.iter().map(|&term| scores[term]));
                    let column = kept.view().insert_axis(ndarray::Axis(1));
                    meat += &column.dot(&column.t());
                }
                bread.dot(&meat).dot(&bread) * (groups / (groups - 1.) * (n - 1.) / df_residual)
            }
        };
        let covariance = to_raw(&working, &kept, coordinates);
        let log_likelihood =
            if wanted.quasi { None } else { log_likelihood(loss.family, summary, wanted.weights, n, deviance) };
        let others = usize::from(!loss.family.has_unit_dispersion()) + usize::from(wanted.with_parameter);
        let parameters = (rank + others) as f64;
        let null = match loss.family {
            Family::Gaussian => Some(-0.5 * n * ((2. * std::f64::consts::PI * null_deviance / n).ln() + 1.)),
            family if family.has_unit_dispersion() => log_likelihood.map(|ll| ll - 0.5 * (null_deviance - deviance)),
            _ => None,
        };
        let pseudo_r2 = log_likelihood.zip(null).map(|(ll, null)| 1. - ll / null).filter(|r2| r2.is_finite());
        Some(Self {
            kept,
            n_terms,
            covariance,
            kind: wanted.kind,
            dispersion,
            dispersion_is_estimated: estimated,
            n_observations: n,
            df_residual,
            pearson_chi2: summary.pearson,
            log_likelihood,
            aic: log_likelihood.map(|ll| 2. * parameters - 2. * ll),
            bic: log_likelihood.map(|ll| parameters * n.ln() - 2. * ll),
            pseudo_r2,
        })
    }

    /// How many terms were estimated.
    pub fn rank(&self) -> usize {
        self.kept.len()
    }

    /// The covariance of the terms, shape (n_terms, n_terms), the intercept first; NaN where a term was not estimated.
    pub fn covariance(&self) -> Array2<f64> {
        let mut full = Array2::from_elem((self.n_terms, self.n_terms), f64::NAN);
        let mut place = 0;
        for (i, &row) in self.kept.iter().enumerate() {
            for &column in &self.kept[..=i] {
                full[[row, column]] = self.covariance[place];
                full[[column, row]] = self.covariance[place];
                place += 1;
            }
        }
        full
    }

    /// The standard error of each term, the intercept first; NaN where a term was not estimated.
    pub fn standard_errors(&self) -> Array1<f64> {
        let mut errors = Array1::from_elem(self.n_terms, f64::NAN);
        for (i, &term) in self.kept.iter().enumerate() {
            errors[term] = self.covariance[i * (i + 1) / 2 + i].sqrt();
        }
        errors
    }

    /// The probability of a t or z this far from 0 or farther were the term 0.
    pub fn p_value(&self, statistic: f64) -> f64 {
        if statistic.is_nan() {
            return f64::NAN;
        }
        let far = statistic.abs();
        let tail = match self.student() {
            Some(student) => student.sf(far),
            None => 0.5 * libm::erfc(far * std::f64::consts::FRAC_1_SQRT_2),
        };
        2. * tail
    }

    /// How many standard errors an interval of this confidence reaches to either side.
    pub fn quantile(&self, confidence: f64) -> f64 {
        let p = 0.5 + 0.5 * confidence;
        match self.student() {
            Some(student) => student.inverse_cdf(p),
            None => Normal::standard().inverse_cdf(p),
        }
    }

    fn student(&self) -> Option<StudentsT> {
        if self.dispersion_is_estimated { StudentsT::new(0., 1., self.df_residual).ok() } else { None }
    }

    /// The variance of a linear predictor, given a row's columns; terms that were not estimated count as known.
    pub(crate) fn variance_of(&self, row: &[f64]) -> f64 {
        let value = |term: usize| if term == 0 { 1. } else { row[term - 1] };
        let (mut sum, mut place) = (0., 0);
        for (i, &a) in self.kept.iter().enumerate() {
            for &b in &self.kept[..i] {
                sum += 2. * self.covariance[place] * value(a) * value(b);
                place += 1;
            }
            sum += self.covariance[place] * value(a) * value(a);
            place += 1;
        }
        sum
    }

    /// Tests a smaller model of the same rows against this one, given both deviances.
    pub(crate) fn against(&self, deviance: f64, smaller: &Self, its_deviance: f64) -> Option<LikelihoodRatio> {
        let df = self.rank().checked_sub(smaller.rank()).filter(|df| *df > 0)? as f64;
        let drop = (its_deviance - deviance).max(0.);
        if self.dispersion_is_estimated {
            let statistic = drop / df / self.dispersion;
            let p_value = FisherSnedecor::new(df, self.df_residual).ok()?.sf(statistic);
            return Some(LikelihoodRatio { statistic, df, df_residual: Some(self.df_residual), p_value });
        }
        Some(LikelihoodRatio { statistic: drop, df, df_residual: None, p_value: ChiSquared::new(df).ok()?.sf(drop) })
    }
}

/// The covariance of the raw terms from that of the working coordinates, both of the kept ones, packed.
fn to_raw(working: &Array2<f64>, kept: &[usize], coordinates: &Coordinates) -> Vec<f64> {
    // Each raw term as a sum of working coordinates.
    let k = kept.len();
    let scale = |term: usize| coordinates.scale[term - 1];
    let mut map = Array2::<f64>::zeros((k, k));
    for (i, &term) in kept.iter().enumerate() {
        if term == 0 {
            map[[i, i]] = 1.;
            for (j, &other) in kept.iter().enumerate().filter(|(_, other)| **other > 0) {
                map[[i, j]] = -coordinates.centre[other - 1] / scale(other);
            }
        } else {
            map[[i, i]] = 1. / scale(term);
        }
    }
    let raw = map.dot(working).dot(&map.t());
    (0..k).flat_map(|i| (0..=i).map(move |j| (i, j))).map(|place| raw[place]).collect()
}

/// As R's families have it, for those that have one.
fn log_likelihood(family: Family, summary: &Summary, weights: WeightsKind, n: f64, deviance: f64) -> Option<f64> {
    let Summary { sum_weights: total, loss, constant, log_y, log_weights, .. } = *summary;
    let two_pi = 2. * std::f64::consts::PI;
    let found = match family {
        Family::Gaussian => {
            let exactness = if weights == WeightsKind::Precision { 0.5 * log_weights } else { 0. };
            exactness - 0.5 * n * ((two_pi * deviance / n).ln() + 1.)
        }
        Family::Binomial | Family::Poisson | Family::NegativeBinomial { .. } => constant - loss,
        Family::Gamma => {
            let shape = total / deviance;
            total * (shape * shape.ln() - libm::lgamma(shape)) + (shape - 1.) * log_y - shape * loss
        }
        Family::InverseGaussian => -0.5 * (total * ((two_pi * deviance / total).ln() + 1.) + 3. * log_y),
        Family::Tweedie { .. } | Family::Huber { .. } | Family::Quantile { .. } | Family::SmoothQuantile { .. } => {
            return None;
        }
    };
    found.is_finite().then_some(found)
}
