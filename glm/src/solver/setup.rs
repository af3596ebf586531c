//! What all solvers derive from their parameters and the data's moments: coordinates, weights, certificate.
//!
//! A point in working coordinates is a vector of length n_features + 1: the intercept of the centred columns
//! first, then the coefficients of the centred and scaled ones.

use std::{ops::Range, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    Ask, Solution, grouped,
    model::{self, Minimum, Packed},
};
use crate::{
    error::Error,
    family::Family,
    group::{self, Group},
    kernel::{Evaluation, Moments, NullPoint, Scatter, Spread, Stride},
    loss::Loss,
    penalty::{Penalty, Weights},
    report::{Report, StopReason},
};

/// What to solve and when to stop.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `loss` | gaussian, identity | family and link | |
/// | `penalty` | none | what holds the coefficients | |
/// | `fit_intercept` | true | whether there is an intercept, never penalised | |
/// | `class_weight` | none | what the weight of a row is multiplied by for its class, of the binomial family | |
/// | `shares` | false | whether y of the binomial family may be a share of trials | |
/// | `sparse` | none | the sparse columns of a design, which stay uncentred in working coordinates | columns of X |
/// | `tol` | 1e-10 | relative optimality violation to stop at | above 0 |
/// | `max_iter` | 10000 | steps to stop after | 1 or more |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// Family and link.
    pub loss: Loss,
    /// What holds the coefficients.
    pub penalty: Penalty,
    /// Whether there is an intercept.
    pub fit_intercept: bool,
    /// What the weight of a row is multiplied by for its class; shells do that before they answer anything else.
    pub class_weight: Option<ClassWeight>,
    /// Whether y of the binomial family may be a share of trials.
    pub shares: bool,
    /// The sparse columns of a design, which stay uncentred in working coordinates; none where X is one dense array.
    pub sparse: Option<Vec<Range<usize>>>,
    /// Relative optimality violation to stop at.
    pub tol: f64,
    /// Steps to stop after.
    pub max_iter: usize,
}

/// What the weight of a row is multiplied by for its class, of the binomial family.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeight {
    /// So that both classes weigh the same: half of all weight over that of the class, as scikit-learn's `balanced`.
    Balanced,
    /// Those of 0 and of 1.
    Given([f64; 2]),
}

impl ClassWeight {
    /// The weights of 0 and of 1, given the weighted mean of y; 1 each where there is one class only.
    pub(crate) fn of_mean(self, mean: f64) -> [f64; 2] {
        match self {
            Self::Given(weights) => weights,
            Self::Balanced if mean > 0. && mean < 1. => [0.5 / (1. - mean), 0.5 / mean],
            Self::Balanced => [1., 1.],
        }
    }
}

/// The centre and scale of each column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Coordinates {
    /// What is subtracted from each column: its mean, or 0 without an intercept and of sparse columns.
    pub(crate) centre: Vec<f64>,
    /// What each column is divided by: its root mean square about the centre; 0 marks a column without spread.
    pub(crate) scale: Vec<f64>,
    /// Whether the first coordinate is free, or held at 0.
    pub(crate) has_intercept: bool,
}

/// Everything that does not change while solving.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) spec: Arc<Spec>,
    pub(crate) coordinates: Arc<Coordinates>,
    /// Of each working coordinate.
    pub(crate) weights: Vec<Weights>,
    /// The group lasso's groups, of working coordinates.
    pub(crate) groups: Vec<Group>,
    /// Of each column's coefficient in the data's units.
    raw_weights: Vec<Weights>,
    /// Of columns, in the data's units.
    raw_groups: Vec<Group>,
    /// The standard deviation of each column.
    deviations: Vec<f64>,
    pub(crate) n_rows: usize,
    n_used: usize,
    pub(crate) sum_weights: f64,
    /// The root mean square of a row's derivative at the null model: the unit of a gradient in working coordinates.
    pub(crate) unit: f64,
    /// The second derivative of the mean loss at the null model: the unit of a step length.
    pub(crate) curvature: f64,
    saturated: f64,
    null_deviance: f64,
}

/// Loss and gradient of the mean loss, in working coordinates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Local {
    /// The mean loss.
    pub loss: f64,
    /// Its derivatives: by the intercept, then by each coefficient.
    pub gradient: Vec<f64>,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            loss: Family::Gaussian.into(),
            penalty: Penalty::default(),
            fit_intercept: true,
            class_weight: None,
            shares: false,
            sparse: None,
            tol: 1e-10,
            max_iter: 10_000,
        }
    }
}

impl Spec {
    /// Whether a column is centred in working coordinates.
    fn centres(&self, column: usize) -> bool {
        self.fit_intercept && !self.sparse.iter().flatten().any(|columns| columns.contains(&column))
    }

    /// Whether all that is asked follows from the centred cross products of one dense array.
    pub(super) fn is_least_squares(&self) -> bool {
        self.sparse.is_none() && self.loss == Loss { family: Family::Gaussian, link: crate::Link::Identity }
    }
}

impl Coordinates {
    pub(crate) const fn n_features(&self) -> usize {
        self.scale.len()
    }

    /// The coefficients of the centred columns, in the data's units.
    pub(crate) fn slopes(&self, point: &[f64]) -> Vec<f64> {
        let raw = |(&t, &scale): (&f64, &f64)| if scale > 0. { t / scale } else { 0. };
        point[1..].iter().zip(&self.scale).map(raw).collect()
    }

    /// Raw coefficients and intercept of a point.
    pub(crate) fn raw(&self, point: &[f64]) -> (Vec<f64>, f64) {
        let coef = self.slopes(point);
        let shift: f64 = coef.iter().zip(&self.centre).map(|(b, m)| b * m).sum();
        (coef, if self.has_intercept { point[0] - shift } else { 0. })
    }

    /// The point whose raw coefficients and intercept are these.
    pub(crate) fn working(&self, coef: &[f64], intercept: f64) -> Vec<f64> {
        let shift: f64 = coef.iter().zip(&self.centre).map(|(b, m)| b * m).sum();
        let first = if self.has_intercept { intercept + shift } else { 0. };
        std::iter::once(first).chain(coef.iter().zip(&self.scale).map(|(b, s)| b * s)).collect()
    }

    /// The largest of the derivatives by the raw intercept and coefficients, given those by the working coordinates.
    pub(crate) fn raw_worst(&self, gradient: &[f64]) -> f64 {
        let columns = self.scale.iter().zip(&self.centre).zip(&gradient[1..]);
        columns.map(|((s, m), g)| (g * s + m * gradient[0]).abs()).fold(gradient[0].abs(), f64::max)
    }

    /// The weights of each working coordinate from those of the raw coefficients.
    fn weights(&self, raw: &[Weights]) -> Vec<Weights> {
        let weight = |(&s, w): (&f64, &Weights)| if s > 0. { w.scaled(s) } else { *w };
        std::iter::once(Weights::default()).chain(self.scale.iter().zip(raw).map(weight)).collect()
    }

    /// The groups of working coordinates from those of columns.
    fn groups(&self, raw: &[Group]) -> Vec<Group> {
        raw.iter().filter_map(|group| group.working(&self.scale)).collect()
    }

    /// Turns derivatives by the coefficients of the centred columns into those by the working coordinates.
    #[inline(always)]
    pub(crate) fn scale_gradient(&self, gradient: &mut [f64]) {
        for (g, &scale) in gradient.iter_mut().zip(&self.scale) {
            *g = if scale > 0. { *g / scale } else { 0. };
        }
    }

    /// Writes rows in working coordinates, a leading 1 for the intercept, row-major into `out`.
    #[inline(always)]
    pub(crate) fn write_rows(&self, x: &[f64], n_rows: usize, out: &mut Vec<f64>) {
        out.clear();
        let one = if self.has_intercept { 1. } else { 0. };
        // A column without spread becomes zeros, whatever its rounding leaves.
        let inverse: Vec<f64> = self.scale.iter().map(|&s| if s > 0. { 1. / s } else { 0. }).collect();
        let p = self.n_features();
        for row in (0..n_rows).map(|i| &x[i * p..(i + 1) * p]) {
            out.push(one);
            out.extend(row.iter().zip(&self.centre).zip(&inverse).map(|((x, m), i)| (x - m) * i));
        }
    }
}

impl Setup {
    pub(crate) fn new(spec: Arc<Spec>, moments: &Moments) -> Result<Self, Error> {
        let total = moments.sum_weights;
        if total <= 0. {
            return Err(Error::NoWeight);
        }
        let centred = spec.fit_intercept;
        let (mut scale, mut deviations) = (Vec::new(), Vec::new());
        for (column, spread) in moments.x.iter().enumerate() {
            let square = spread.mean_square(total, spec.centres(column));
            if !square.is_finite() {
                return Err(Error::Overflow { what: format!("column {column} of X") });
            }
            // Below this the spread is the rounding of the numbers themselves.
            let flat = spread.mean_square(total, centred).sqrt() <= 1e-12 * spread.mean.abs();
            scale.push(if flat { 0. } else { square.sqrt() });
            deviations.push(spread.mean_square(total, true).sqrt());
        }
        if !moments.y.mean_square(total, centred).is_finite() {
            return Err(Error::Overflow { what: "y".into() });
        }
        let centre = |(column, spread): (usize, &Spread)| if spec.centres(column) { spread.mean } else { 0. };
        let centre = moments.x.iter().enumerate().map(centre).collect();
        let raw_weights: Vec<Weights> =
            deviations.iter().enumerate().map(|(column, &sd)| spec.penalty.weights(column, sd)).collect();
        let coordinates = Coordinates { centre, scale, has_intercept: centred };
        let raw_groups = spec.penalty.groups(&deviations);
        Ok(Self {
            spec,
            weights: coordinates.weights(&raw_weights),
            groups: coordinates.groups(&raw_groups),
            coordinates: Arc::new(coordinates),
            raw_weights,
            raw_groups,
            deviations,
            n_rows: moments.n_rows,
            n_used: moments.n_used,
            sum_weights: total,
            unit: 1.,
            curvature: 1.,
            saturated: moments.saturated / total,
            null_deviance: 0.,
        })
    }

    /// The same for least squares, where the scatter tells of the null model too.
    pub(crate) fn of_scatter(spec: Arc<Spec>, scatter: &Scatter) -> Result<Self, Error> {
        let spread = |j: usize| Spread { mean: scatter.means[j], squares: scatter.product(j, j) };
        let p = scatter.means.len() - 1;
        let moments = Moments {
            n_rows: scatter.n_rows,
            n_used: scatter.n_used,
            sum_weights: scatter.sum_weights,
            x: (0..p).map(spread).collect(),
            y: spread(p),
            offset: 0.,
            saturated: 0.,
            bad: scatter.bad,
        };
        let centred = spec.fit_intercept;
        let mut setup = Self::new(spec, &moments)?;
        let variance = moments.y.mean_square(moments.sum_weights, centred);
        setup.unit = if variance > 0. { variance.sqrt() } else { 1. };
        setup.null_deviance = variance * moments.sum_weights;
        Ok(setup)
    }

    /// The same for several models at once, whose points lie one after the other: the loss is one of all of them.
    ///
    /// To a solver each later model's intercept is a column of scale 1 without a penalty. The null model is the
    /// caller's: its unit, its curvature and its deviance. Callers have no groups of columns.
    pub(crate) fn of_models(&self, n_models: usize, [unit, curvature, null_deviance]: [f64; 3]) -> Self {
        fn each<T: Copy>(n_models: usize, columns: &[T], intercept: T) -> Vec<T> {
            let later = (1..n_models).flat_map(|_| std::iter::once(intercept).chain(columns.iter().copied()));
            columns.iter().copied().chain(later).collect()
        }
        let coordinates = Coordinates {
            centre: each(n_models, &self.coordinates.centre, 0.),
            scale: each(n_models, &self.coordinates.scale, 1.),
            has_intercept: self.coordinates.has_intercept,
        };
        let raw_weights = each(n_models, &self.raw_weights, Weights::default());
        Self {
            weights: coordinates.weights(&raw_weights),
            coordinates: Arc::new(coordinates),
            raw_weights,
            deviations: each(n_models, &self.deviations, 1.),
            unit,
            curvature,
            saturated: 0.,
            null_deviance,
            ..self.clone()
        }
    }

    /// The same with another relative violation to stop at.
    pub(crate) fn at_tol(&self, tol: f64) -> Self {
        Self { spec: Arc::new(Spec { tol, ..Spec::clone(&self.spec) }), ..self.clone() }
    }

    /// The same with another loss; what is known of the null model stays.
    pub(crate) fn at_loss(&self, loss: Loss) -> Self {
        Self { spec: Arc::new(Spec { loss, ..Spec::clone(&self.spec) }), ..self.clone() }
    }

    /// The same with another strength of the penalty.
    pub(crate) fn at_alpha(&self, alpha: f64) -> Self {
        let penalty = Penalty { alpha, ..self.spec.penalty.clone() };
        let weights = |(column, &sd): (usize, &f64)| penalty.weights(column, sd);
        let raw_weights: Vec<Weights> = self.deviations.iter().enumerate().map(weights).collect();
        self.under(raw_weights, penalty.groups(&self.deviations))
    }

    /// The same with every penalised coefficient held at 0.
    pub(crate) fn pinned(&self) -> Self {
        let unit = self.at_alpha(1.);
        let pin = |w: &Weights| {
            if w.l1 > 0. || w.l2 > 0. { Weights { l1: 0., l2: 0., lower: 0., upper: 0. } } else { *w }
        };
        let mut raw_weights: Vec<Weights> = unit.raw_weights.iter().map(pin).collect();
        for &column in unit.raw_groups.iter().flat_map(|group| &group.members) {
            raw_weights[column] = Weights { l1: 0., l2: 0., lower: 0., upper: 0. };
        }
        unit.under(raw_weights, Vec::new())
    }

    /// The same under another penalty.
    fn under(&self, raw_weights: Vec<Weights>, raw_groups: Vec<Group>) -> Self {
        Self {
            weights: self.coordinates.weights(&raw_weights),
            groups: self.coordinates.groups(&raw_groups),
            raw_weights,
            raw_groups,
            ..self.clone()
        }
    }

    /// The same for some of the rows, in the same coordinates.
    pub(crate) fn of_part(&self, moments: &Moments) -> Result<Self, Error> {
        let part = Self::new(Arc::clone(&self.spec), moments)?;
        Ok(Self {
            weights: self.coordinates.weights(&part.raw_weights),
            groups: self.coordinates.groups(&part.raw_groups),
            coordinates: Arc::clone(&self.coordinates),
            unit: self.unit,
            curvature: self.curvature,
            ..part
        })
    }

    /// The least alpha at which every penalised coefficient is 0, given the gradient of the mean loss where they are:
    /// as glmnet, with at least a thousandth of the penalty counted as L1.
    pub(crate) fn largest_alpha(&self, gradient: &[f64]) -> f64 {
        let l1_ratio = self.spec.penalty.l1_ratio.max(1e-3);
        let all_l1 = Penalty { alpha: 1., l1_ratio: 1., ..self.spec.penalty.clone() };
        let columns = self.deviations.iter().zip(&self.coordinates.scale).enumerate();
        let alpha = columns.filter(|(_, (_, scale))| **scale > 0.).map(|(column, (&sd, &scale))| {
            let weight = all_l1.weights(column, sd).scaled(scale);
            let gradient = gradient[column + 1];
            // A bound at 0 holds a coefficient from that side.
            let moves = if gradient > 0. { weight.lower < 0. } else { weight.upper > 0. };
            if weight.l1 > 0. && moves { gradient.abs() / (weight.l1 * l1_ratio) } else { 0. }
        });
        let groups = self.coordinates.groups(&all_l1.groups(&self.deviations));
        let of_groups = groups.iter().map(|group| group.dual_norm(gradient) / (group.weight * l1_ratio));
        alpha.chain(of_groups).fold(0., f64::max)
    }

    /// Where the quadratic model around `x` is least under the penalty and within the bounds.
    pub(crate) fn minimise(&self, hessian: Packed<'_>, gradient: &[f64], x: &[f64]) -> Minimum {
        if self.groups.is_empty() {
            model::minimise(hessian, gradient, x, &self.weights)
        } else {
            grouped::minimise(hessian, gradient, x, &self.weights, &self.groups)
        }
    }

    /// The proximal step from a point, for a step length of 1 over the curvature.
    pub(crate) fn prox(&self, point: &[f64], curvature: f64) -> Vec<f64> {
        let own = self.weights.iter().zip(point);
        let mut best: Vec<f64> = own.map(|(w, &v)| w.prox(v, curvature)).collect();
        for group in &self.groups {
            let v: Vec<f64> = group.members.iter().map(|&j| point[j]).collect();
            for (&j, t) in group.members.iter().zip(group.prox(&v, curvature, &self.weights)) {
                best[j] = t;
            }
        }
        best
    }

    /// Twice the weighted mean of half unit deviances that a mean loss stands for, times the weights.
    pub(crate) fn deviance(&self, mean_loss: f64) -> f64 {
        2. * self.sum_weights * (mean_loss + self.saturated)
    }

    /// The deviance of the null model.
    pub(crate) const fn null_deviance(&self) -> f64 {
        self.null_deviance
    }

    /// Takes over what the null model says; it has no finite optimum where it is `unbounded`.
    pub(crate) fn set_null(&mut self, null: &NullPoint, unbounded: bool) {
        let total = self.sum_weights;
        // A y without spread leaves nothing but rounding.
        let (typical, rounding) = ((null.squares / total).sqrt(), 1e-13 * null.second / total);
        self.unit = if typical > rounding { typical } else { 1. };
        // One class has none at all, but still needs a step length.
        self.curvature = (null.second / total).max(f64::MIN_POSITIVE.sqrt());
        let deviance = 2. * (null.loss + self.saturated * total);
        // What is left of a sum that should be 0 may be below.
        self.null_deviance = if unbounded { 0. } else { deviance.max(0.) };
    }

    /// Mean loss and its gradient; none where it is infinite.
    pub(crate) fn local(&self, evaluation: &Evaluation) -> Option<Local> {
        Local::of(evaluation.loss, &evaluation.gradient, self.sum_weights)
    }

    pub(crate) fn evaluate_at<'a>(&self, points: impl IntoIterator<Item = &'a Vec<f64>>) -> Ask {
        let points = points.into_iter().cloned().collect();
        Ask::Evaluate { coordinates: self.coordinates.clone(), points, stride: Stride::ALL }
    }

    pub(crate) fn penalty(&self, point: &[f64]) -> f64 {
        let own: f64 = self.weights.iter().zip(point).map(|(w, &t)| w.value(t)).sum();
        own + self.groups.iter().map(|group| group.value(point)).sum::<f64>()
    }

    /// The largest violation of the optimality conditions in working coordinates, over a row's typical derivative.
    pub(crate) fn kkt_relative(&self, point: &[f64], local: &Local) -> f64 {
        self.violations(point, local).into_iter().fold(0., f64::max)
    }

    /// The same of each coordinate.
    pub(crate) fn violations(&self, point: &[f64], local: &Local) -> Vec<f64> {
        let mut violations = group::violations(&self.weights, &self.groups, point, &local.gradient);
        for (violation, scale) in violations[1..].iter_mut().zip(&self.coordinates.scale) {
            *violation = if *scale > 0. { *violation } else { 0. };
        }
        violations.iter_mut().for_each(|violation| *violation /= self.unit);
        violations
    }

    /// Whether so much is held at 0 that matrices of second derivatives need not be of all coordinates.
    pub(crate) fn is_screened(&self) -> bool {
        let penalty = &self.spec.penalty;
        penalty.l1_ratio > 0. && self.groups.is_empty() && penalty.groups.is_empty() && self.spec.sparse.is_none()
    }

    /// How far the objective is above that of its dual, in which the rows' derivatives r are feasible once shrunk by s: a
    /// bound of how far it is above its least value. None where the loss is not convex, a coordinate but the intercept
    /// has no penalty, something is bounded, or the intercept is far from its optimum.
    ///
    /// By Fenchel's inequality the least value is at least `-mean f*(s r) - penalty*(-s X'r)`. The conjugate of a row's
    /// loss is `f*(r) = r η - f(η)` where r is the slope at η, and `f*(0) = -inf f`; it is convex, so `f*(s r)` is at
    /// most `s f*(r) + (1 - s) f*(0)`, and no further pass is needed (S.-J. Kim et al., "An interior-point method for
    /// large-scale l1-regularized logistic regression" (2007), section 2.3, who take s f*(r) by another pass).
    fn duality_gap(&self, point: &[f64], local: &Local) -> Option<f64> {
        let Local { loss, gradient } = local;
        let bounded = self.weights.iter().any(|w| !w.is_unbounded());
        let is_zero = |gradient: f64| gradient.abs() <= 1e-9 * self.unit;
        if !self.spec.loss.is_convex() || bounded || !is_zero(gradient[0]) {
            return None;
        }
        let mut grouped = vec![false; point.len()];
        self.groups.iter().flat_map(|group| &group.members).for_each(|&j| grouped[j] = true);
        let own = (1..point.len()).filter(|&j| !grouped[j] && self.coordinates.scale[j - 1] > 0.);
        // The weights of the L1 and L2 parts, and the size of the gradient in the norm that is dual to the L1 part's.
        let own = own.map(|j| [self.weights[j].l1, self.weights[j].l2, gradient[j].abs()]);
        let joint = self.groups.iter().map(|group| [group.weight, group.l2(&self.weights), group.dual_norm(gradient)]);
        let (free, parts): (Vec<[f64; 3]>, Vec<_>) = own.chain(joint).partition(|[l1, l2, _]| *l1 == 0. && *l2 == 0.);
        if parts.is_empty() || free.iter().any(|[.., size]| !is_zero(*size)) {
            return None;
        }
        let kinks = parts.iter().filter(|[_, l2, size]| *l2 == 0. && *size > 0.);
        let shrink = kinks.map(|[l1, _, size]| l1 / size).fold(1., f64::min);
        let penalty: f64 = parts
            .iter()
            .filter(|[_, l2, _]| *l2 > 0.)
            .map(|[l1, l2, size]| (shrink * size - l1).max(0.).powi(2) / (2. * l2))
            .sum();
        let along: f64 = point[1..].iter().zip(&gradient[1..]).map(|(t, g)| t * g).sum();
        let dual = shrink * (loss - along) - (1. - shrink) * self.saturated - penalty;
        Some((loss + self.penalty(point) - dual).max(0.))
    }

    /// Columns that have one value only.
    pub(crate) fn constant(&self) -> Vec<usize> {
        let flat = |(column, scale): (usize, &f64)| (*scale == 0.).then_some(column);
        self.coordinates.scale.iter().enumerate().filter_map(flat).collect()
    }

    /// The answer at a point whose evaluation is this.
    pub(crate) fn solution(&self, point: &[f64], local: &Local, counts: Counts, stop: StopReason) -> Solution {
        let (coef, intercept) = self.coordinates.raw(point);
        let own: f64 = coef.iter().zip(&self.raw_weights).map(|(&b, w)| w.value(b)).sum();
        let penalty = own + self.raw_groups.iter().map(|group| group.value(&coef)).sum::<f64>();
        let half_deviance = local.loss + self.saturated;
        let kkt_relative = self.kkt_relative(point, local);
        // The derivatives by the raw coefficients while the intercept of the raw columns stays.
        let by_intercept = local.gradient[0];
        let columns = self.coordinates.scale.iter().zip(&self.coordinates.centre).zip(&local.gradient[1..]);
        let raw_gradient: Vec<f64> = columns.map(|((s, m), g)| g * s + m * by_intercept).collect();
        let violations = group::violations(&self.raw_weights, &self.raw_groups, &coef, &raw_gradient);
        Solution {
            report: Report {
                converged: match stop {
                    StopReason::Optimal => true,
                    // What the data's conditioning leaves of f64.
                    StopReason::Precision => kkt_relative <= self.spec.tol.max(1e-8),
                    _ => false,
                },
                stop,
                solver: String::new(),
                n_iter: counts.n_iter,
                n_passes: counts.n_passes,
                kkt_residual: violations.into_iter().fold(by_intercept.abs(), f64::max),
                kkt_relative,
                objective: half_deviance + penalty,
                deviance: 2. * self.sum_weights * half_deviance,
                null_deviance: self.null_deviance,
                n_rows: self.n_used,
                sum_weights: self.sum_weights,
                constant_columns: self.constant(),
                collinear_columns: Vec::new(),
                n_saturated: None,
                condition: None,
                duality_gap: self.duality_gap(point, local),
                chunks: Vec::new(),
                estimate: None,
            },
            coef,
            intercept,
            coordinates: Arc::clone(&self.coordinates),
            point: point.to_vec(),
        }
    }
}

impl Local {
    /// Of sums over rows of this weight; none where they are infinite.
    pub(crate) fn of(loss: f64, gradient: &[f64], sum_weights: f64) -> Option<Self> {
        let mean: Vec<f64> = gradient.iter().map(|g| g / sum_weights).collect();
        let finite = loss.is_finite() && mean.iter().all(|g| g.is_finite());
        finite.then(|| Self { loss: loss / sum_weights, gradient: mean })
    }
}

/// How much work was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) n_iter: usize,
    pub(crate) n_passes: usize,
}
