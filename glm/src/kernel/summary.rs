//! What inference needs to know at the optimum: information, scores, Pearson's statistic, and the constants of the
//! likelihood, in one pass.

use std::collections::BTreeMap;

use phalanx_array::{
    kernel::{
        Gram,
        inlined::{gemv, gemv_transposed},
    },
    panel::{Combine, PANEL, Subtrees},
    simd,
};
use serde::{Deserialize, Serialize};

use super::{Panel, Rows, evaluate::add_constants, sum_of};
use crate::{
    family::Family,
    loss::{Curvature, Loss},
    solver::Coordinates,
};

/// What to look at.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Subject {
    pub(crate) loss: Loss,
    pub(crate) coordinates: std::sync::Arc<Coordinates>,
    /// In working coordinates, the intercept first.
    pub(crate) point: Vec<f64>,
    pub(crate) scores: Scores,
    /// Whether a weight says how exact a row is, and not how often it was seen.
    pub(crate) precision: bool,
}

/// Which products of scores are summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Scores {
    /// None.
    None,
    /// Each row's with itself.
    Rows,
    /// Each group's sum of scores with itself.
    Groups,
}

/// The answer, summed over some rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) sum_weights: f64,
    pub(crate) n_used: usize,
    /// Weighted sum of losses.
    pub(crate) loss: f64,
    /// The expected second derivatives: the lower triangle, row after row.
    pub(crate) information: Vec<f64>,
    /// Weighted sum of (y - mu)² / variance.
    pub(crate) pearson: f64,
    /// Weighted sum of what the log-likelihood has beyond minus the loss, dispersion aside.
    pub(crate) constant: f64,
    /// Weighted sum of ln y, of families whose y is above 0.
    pub(crate) log_y: f64,
    /// Sum of ln w over rows with weight.
    pub(crate) log_weights: f64,
    /// Products of the rows' scores, packed; empty where they are not asked for.
    pub(crate) meat: Vec<f64>,
    /// The sum of scores of each group, by the bits of the group's number.
    pub(crate) groups: BTreeMap<u64, Vec<f64>>,
}

impl Combine for Summary {
    fn combine(mut self, right: Self) -> Self {
        self.sum_weights += right.sum_weights;
        self.n_used += right.n_used;
        self.loss += right.loss;
        self.information = self.information.combine(right.information);
        self.pearson += right.pearson;
        self.constant += right.constant;
        self.log_y += right.log_y;
        self.log_weights += right.log_weights;
        self.meat = self.meat.combine(right.meat);
        for (group, scores) in right.groups {
            match self.groups.entry(group) {
                std::collections::btree_map::Entry::Vacant(place) => {
                    place.insert(scores);
                }
                std::collections::btree_map::Entry::Occupied(mut place) => {
                    place.get_mut().iter_mut().zip(&scores).for_each(|(a, b)| *a += b);
                }
            }
        }
        self
    }
}

impl Rows<'_> {
    /// The summary of every panel, combined as far as these rows allow; none without rows.
    pub(crate) fn summary(self, subject: &Subject) -> Option<Subtrees<Summary>> {
        let q = subject.point.len();
        let (mut design, mut gram) = (Vec::with_capacity(PANEL * q), Gram::new(q));
        let panels = self.panels().map(|panel| {
            simd::dispatch(
                #[inline(always)]
                || summary_panel(subject, panel, &mut design, &mut gram),
            )
        });
        Subtrees::from_panels(self.first_panel, panels)
    }
}

#[inline(always)]
fn summary_panel(subject: &Subject, panel: Panel<'_>, design: &mut Vec<f64>, gram: &mut Gram) -> Summary {
    let Subject { loss, coordinates, point, scores, precision } = subject;
    let (n, q) = (panel.y.len(), point.len());
    coordinates.write_rows(panel.x, n, design);
    let (mut eta, mut bends, mut means) = ([0.; PANEL], [0.; PANEL], [0.; PANEL]);
    let (eta, bends, means) = (&mut eta[..n], &mut bends[..n], &mut means[..n]);
    gemv(design, point, eta);
    add_constants(eta, 0., panel.offset);
    means.iter_mut().zip(&*eta).for_each(|(mu, eta)| *mu = loss.link.mean(*eta));
    let found = loss.panel(panel.y, panel.weights, eta, Some((Curvature::Expected, bends)));
    let weight = |i: usize| panel.weights.map_or(1., |weights| weights[i]);
    let packed = q * (q + 1) / 2;
    let mut summary = Summary { information: vec![0.; packed], ..head(*loss, panel, means, found.loss, *precision) };
    let mut scaled = design.clone();
    let scale = |rows: &mut [f64], factor: &dyn Fn(usize) -> f64| {
        for (i, row) in rows.chunks_exact_mut(q).enumerate() {
            let factor = factor(i);
            row.iter_mut().for_each(|x| *x *= factor);
        }
    };
    scale(&mut scaled, &|i| bends[i].sqrt());
    gram.add(&scaled, &mut summary.information);
    match scores {
        Scores::None => {}
        Scores::Rows => {
            summary.meat = vec![0.; packed];
            // A row seen w times has w scores; one that is w times as exact has one, w times as large.
            let factor = |i: usize| {
                let w = weight(i);
                if *precision || w == 0. { eta[i] } else { eta[i] / w.sqrt() }
            };
            scaled.copy_from_slice(design);
            scale(&mut scaled, &factor);
            gram.add(&scaled, &mut summary.meat);
        }
        Scores::Groups => {
            for (i, row) in design.chunks_exact(q).enumerate().filter(|(i, _)| weight(*i) > 0.) {
                let sums = summary.groups.entry(group_of(panel, i)).or_insert_with(|| vec![0.; q]);
                gemv_transposed(row, &eta[i..=i], sums);
            }
        }
    }
    summary
}

/// What does not hang on the columns.
pub(super) fn head(loss: Loss, panel: Panel<'_>, means: &[f64], total: f64, precision: bool) -> Summary {
    let n = panel.y.len();
    let weight = |i: usize| panel.weights.map_or(1., |weights| weights[i]);
    let used = || (0..n).filter(|&i| weight(i) > 0.);
    let pearson = |i: usize| {
        let r = panel.y[i] - means[i];
        weight(i) * (r * r / loss.family.variance(means[i]))
    };
    let above_0 = loss.family.power().is_some_and(|p| p >= 2.);
    Summary {
        sum_weights: sum_of(panel.weights, n),
        n_used: used().count(),
        loss: total,
        information: Vec::new(),
        pearson: used().map(pearson).sum(),
        constant: used().map(|i| constant(loss, panel, i, weight(i))).sum(),
        log_y: if above_0 { used().map(|i| weight(i) * panel.y[i].ln()).sum() } else { 0. },
        log_weights: if precision { used().map(|i| weight(i).ln()).sum() } else { 0. },
        meat: Vec::new(),
        groups: BTreeMap::new(),
    }
}

/// The group of a row, as a key; both zeros are one group.
pub(super) fn group_of(panel: Panel<'_>, row: usize) -> u64 {
    (panel.groups.unwrap_or_default().get(row).copied().unwrap_or_default() + 0.).to_bits()
}

/// What a row's log-likelihood has beyond minus its loss, where that does not hang on the dispersion.
fn constant(loss: Loss, panel: Panel<'_>, i: usize, weight: f64) -> f64 {
    let (y, ln_gamma) = (panel.y[i], libm::lgamma);
    match loss.family {
        Family::Poisson => -weight * ln_gamma(y + 1.),
        Family::NegativeBinomial { theta } => {
            weight * (ln_gamma(y + theta) - ln_gamma(theta) - ln_gamma(y + 1.) - y * theta.ln())
        }
        Family::Binomial => panel.trials.map_or(0., |trials| {
            let n = trials[i];
            if n == 0. {
                return 0.;
            }
            let k = (y * n).round();
            // The weight is the sample's times the trials.
            weight / n * (ln_gamma(n + 1.) - ln_gamma(k + 1.) - ln_gamma(n - k + 1.))
        }),
        _ => 0.,
    }
}
