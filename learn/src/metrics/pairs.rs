//! What metrics compute, of rows that may count more or less than once.
//!
//! Sums go through the panels' fixed tree, weights beside them. What each number means, the public functions say.

use ndarray::ArrayView1;
use phalanx_array::panel::{PANEL, Subtrees};

use crate::{
    Error, Result,
    validate::{finite_vector, same_length, sample_weight},
};

/// y, what was predicted of it, and how often each row counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pairs<'a> {
    pub(super) y: ArrayView1<'a, f64>,
    pub(super) prediction: ArrayView1<'a, f64>,
    pub(super) weights: Option<ArrayView1<'a, f64>>,
}

impl<'a> Pairs<'a> {
    pub(super) fn new(y: ArrayView1<'a, f64>, prediction: ArrayView1<'a, f64>) -> Self {
        Self { y, prediction, weights: None }
    }

    pub(super) fn mean_squared_error(&self) -> Result<f64> {
        self.mean(|_, y, mu| Ok((y - mu) * (y - mu)))
    }

    pub(super) fn root_mean_squared_error(&self) -> Result<f64> {
        self.mean_squared_error().map(f64::sqrt)
    }

    pub(super) fn mean_absolute_error(&self) -> Result<f64> {
        self.mean(|_, y, mu| Ok((y - mu).abs()))
    }

    pub(super) fn r2_score(&self) -> Result<f64> {
        if self.y.len() < 2 {
            return Err(Error::TooFewRows { metric: "r2_score", n_rows: self.y.len(), expected: 2 });
        }
        let center = self.mean(|_, y, _| Ok(y))?;
        let residual = self.mean(|_, y, mu| Ok((y - mu) * (y - mu)))?;
        let total = self.mean(|_, y, _| Ok((y - center) * (y - center)))?;
        Ok(if total > 0. {
            1. - residual / total
        } else if residual == 0. {
            1.
        } else {
            0.
        })
    }

    pub(super) fn mean_poisson_deviance(&self) -> Result<f64> {
        let metric = "mean_poisson_deviance";
        self.mean(|row, y, mu| {
            expect(y >= 0., metric, "y", row, y, "0 or more")?;
            expect(mu > 0., metric, "the prediction", row, mu, "above 0")?;
            // y ln y is 0 at 0, its limit.
            let log = if y > 0. { y * (y / mu).ln() } else { 0. };
            Ok(2. * (log - y + mu))
        })
    }

    pub(super) fn mean_gamma_deviance(&self) -> Result<f64> {
        let metric = "mean_gamma_deviance";
        self.mean(|row, y, mu| {
            expect(y > 0., metric, "y", row, y, "above 0")?;
            expect(mu > 0., metric, "the prediction", row, mu, "above 0")?;
            Ok(2. * ((mu / y).ln() + y / mu - 1.))
        })
    }

    pub(super) fn log_loss(&self) -> Result<f64> {
        let metric = "log_loss";
        self.mean(|row, y, p| {
            expect(y == 0. || y == 1., metric, "y", row, y, "0 or 1")?;
            expect((0. ..=1.).contains(&p), metric, "the probability", row, p, "0 to 1")?;
            let p = p.clamp(f64::EPSILON, 1. - f64::EPSILON);
            Ok(if y == 1. { -p.ln() } else { -(1. - p).ln() })
        })
    }

    pub(super) fn accuracy_score(&self) -> Result<f64> {
        self.mean(|_, y, class| Ok(f64::from(u8::from(y == class))))
    }

    pub(super) fn roc_auc_score(&self) -> Result<f64> {
        let metric = "roc_auc_score";
        self.check()?;
        for (row, &y) in self.y.iter().enumerate() {
            expect(y == 0. || y == 1., metric, "y", row, y, "0 or 1")?;
        }
        // -0 and 0 are one score, which `total_cmp` alone would tell apart.
        let of_row = |row: usize| (self.prediction[row] + 0., self.y[row] == 1., self.weights.map_or(1., |w| w[row]));
        let mut rows: Vec<(f64, bool, f64)> = (0..self.y.len()).map(of_row).collect();
        let total = |one: bool| rows.iter().filter(|row| row.1 == one).map(|row| row.2).sum::<f64>();
        let (ones, zeros) = (total(true), total(false));
        if !(ones > 0. && zeros > 0.) {
            return Err(Error::OneClass { metric, class: f64::from(u8::from(ones > 0.)) });
        }
        rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        // Without weights every term is a multiple of one half, so the sum is exact.
        let (mut below, mut pairs) = (0., 0.);
        for tied in rows.chunk_by(|a, b| a.0 == b.0) {
            let of = |one: bool| tied.iter().filter(|row| row.1 == one).map(|row| row.2).sum::<f64>();
            let (tied_ones, tied_zeros) = (of(true), of(false));
            pairs += tied_ones * (below + 0.5 * tied_zeros);
            below += tied_zeros;
        }
        Ok(pairs / (ones * zeros))
    }

    /// The mean of a term a row, summed in row order within each panel and in the fixed tree across panels.
    fn mean(&self, term: impl Fn(usize, f64, f64) -> Result<f64>) -> Result<f64> {
        self.check()?;
        let mut sums: Option<(Subtrees<f64>, Subtrees<f64>)> = None;
        for (panel, start) in (0..self.y.len()).step_by(PANEL).enumerate() {
            let (mut sum, mut weight) = (0., 0.);
            for row in start..self.y.len().min(start + PANEL) {
                let w = self.weights.map_or(1., |weights| weights[row]);
                // A row of no weight is absent.
                if w > 0. {
                    sum += w * term(row, self.y[row], self.prediction[row])?;
                    weight += w;
                }
            }
            match &mut sums {
                Some((sums, weights)) => {
                    sums.push(sum);
                    weights.push(weight);
                }
                None => sums = Some((Subtrees::panel(panel, sum), Subtrees::panel(panel, weight))),
            }
        }
        Ok(sums.map_or(f64::NAN, |(sums, weights)| sums.finish() / weights.finish()))
    }

    fn check(&self) -> Result<()> {
        same_length("y", self.y.len(), "the prediction", self.prediction.len())?;
        if self.y.is_empty() {
            return Err(Error::Empty { what: "y" });
        }
        finite_vector("y", self.y)?;
        finite_vector("the prediction", self.prediction)?;
        self.weights.map_or(Ok(()), |weights| sample_weight(weights, self.y.len()))
    }
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
