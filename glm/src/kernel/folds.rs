//! The passes of cross-validation: each looks at every row once, for all folds.
//!
//! The rows of a panel are brought into the order of their folds, so that a fold is a range of them and the rows it
//! trains on are the rest; sums over ranges need no masks. Which fold a row is in depends on its panel alone.

use std::ops::Range;

use ndarray::{Array2, ArrayView2};
use phalanx_array::{
    kernel::{self, Gram},
    panel::{Combine, PANEL, Subtrees},
    simd,
};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{
    BadValue, Moments, Panel, Place, Quadratic, Rows, Scatter,
    evaluate::add_constants,
    moments::{bad_value, moments_panel},
    scatter::scatter_panel,
};
use crate::{
    loss::{Curvature, Loss},
    solver::Coordinates,
};

/// Which rows belong to which fold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoldRule {
    /// How many folds; 0 for none: all rows are trained on.
    pub(crate) n_folds: usize,
    /// The seed that folds are drawn by; none where the rows have a column of folds.
    pub(crate) seed: Option<u64>,
}

/// A point to look at, in common working coordinates, and the fold that it does not train on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoldPoint {
    pub(crate) fold: Option<usize>,
    pub(crate) point: Vec<f64>,
    /// The coordinates that a matrix of second derivatives is wanted of, ascending; none for all.
    pub(crate) live: Option<Vec<usize>>,
}

/// Loss and gradient of the rows trained on, and the loss of the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoldEvaluation {
    pub(crate) loss: f64,
    pub(crate) gradient: Vec<f64>,
    pub(crate) separated: bool,
    pub(crate) held_out: f64,
}

/// One a point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FoldEvaluations(pub(crate) Vec<FoldEvaluation>);

/// The quadratic of the rows trained on, and the loss of the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoldQuadratic {
    pub(crate) trained: Quadratic,
    pub(crate) held_out: f64,
}

impl Combine for FoldQuadratic {
    fn combine(self, right: Self) -> Self {
        Self { trained: self.trained.combine(right.trained), held_out: self.held_out + right.held_out }
    }
}

/// One a fold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ByFold<T>(pub(crate) Vec<T>);

impl<T: Combine> Combine for ByFold<T> {
    fn combine(self, right: Self) -> Self {
        Self(self.0.into_iter().zip(right.0).map(|(a, b)| a.combine(b)).collect())
    }
}

impl Combine for FoldEvaluations {
    fn combine(self, right: Self) -> Self {
        let add = |(a, b): (FoldEvaluation, FoldEvaluation)| FoldEvaluation {
            loss: a.loss + b.loss,
            gradient: a.gradient.combine(b.gradient),
            separated: a.separated && b.separated,
            held_out: a.held_out + b.held_out,
        };
        Self(self.0.into_iter().zip(right.0).map(add).collect())
    }
}

/// A panel whose rows are in the order of their folds.
struct Sorted {
    x: Vec<f64>,
    y: Vec<f64>,
    weights: Option<Vec<f64>>,
    offset: Option<Vec<f64>>,
    /// The rows of each fold.
    ranges: Vec<Range<usize>>,
}

impl FoldRule {
    /// So many folds, 0 for none; drawn by a seed, or the rows' own.
    pub const fn new(n_folds: usize, seed: Option<u64>) -> Self {
        Self { n_folds, seed }
    }

    /// The fold of each row of a panel; none where the column says something else than a fold.
    pub(super) fn of(self, panel: Panel<'_>) -> Option<Vec<usize>> {
        let n = panel.y.len();
        if self.n_folds == 0 {
            return Some(vec![0; n]);
        }
        if let Some(seed) = self.seed {
            // Each fold as often as any other in every panel, but for the rest, which moves from panel to panel.
            let mut folds: Vec<usize> = (0..n).map(|i| (panel.index * PANEL + i) % self.n_folds).collect();
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            random.set_stream(panel.index as u64);
            folds.shuffle(&mut random);
            return Some(folds);
        }
        let fold = |&value: &f64| {
            // Counted from 0 or from 1: the last number of the one is the first of the other.
            let whole = value.fract() == 0. && value >= 0. && value <= self.n_folds as f64;
            whole.then_some(value as usize % self.n_folds)
        };
        panel.folds.unwrap_or_default().iter().map(fold).collect()
    }

    /// The first row whose column of folds holds no fold.
    pub(super) fn bad(self, panel: Panel<'_>) -> Option<BadValue> {
        let folds = panel.folds.filter(|_| self.seed.is_none() && self.of(panel).is_none())?;
        let is_fold = |value: f64| value.fract() == 0. && value >= 0. && value <= self.n_folds as f64;
        let row = folds.iter().position(|&value| !is_fold(value))?;
        Some(BadValue { row: panel.index * PANEL + row, place: Place::Fold, value: folds[row] })
    }

    fn sort(self, panel: Panel<'_>, p: usize) -> Sorted {
        let n = panel.y.len();
        // The pass that comes first has refused other numbers; rows of none are trained on by all.
        let folds = self.of(panel).unwrap_or_else(|| vec![0; n]);
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by_key(|&i| folds[i]);
        let take = |values: &[f64]| order.iter().map(|&i| values[i]).collect::<Vec<_>>();
        let mut x = Vec::with_capacity(n * p);
        order.iter().for_each(|&i| x.extend_from_slice(&panel.x[i * p..(i + 1) * p]));
        let mut ranges = Vec::with_capacity(self.n_folds);
        let mut start = 0;
        for fold in 0..self.n_folds.max(1) {
            let end = start + folds.iter().filter(|f| **f == fold).count();
            ranges.push(start..end);
            start = end;
        }
        Sorted { x, y: take(panel.y), weights: panel.weights.map(take), offset: panel.offset.map(take), ranges }
    }
}

impl Sorted {
    fn panel(&self, rows: Range<usize>, index: usize, p: usize) -> Panel<'_> {
        Panel {
            index,
            x: &self.x[rows.start * p..rows.end * p],
            y: &self.y[rows.clone()],
            weights: self.weights.as_ref().map(|weights| &weights[rows.clone()]),
            offset: self.offset.as_ref().map(|offset| &offset[rows]),
            trials: None,
            groups: None,
            folds: None,
        }
    }

    /// The rows that a point trains on, as one or two ranges, and those that it does not.
    fn parts(&self, fold: Option<usize>) -> ([Range<usize>; 2], Range<usize>) {
        let n = self.y.len();
        match fold.and_then(|fold| self.ranges.get(fold)) {
            Some(held) => ([0..held.start, held.end..n], held.clone()),
            None => ([0..n, n..n], n..n),
        }
    }
}

impl Rows<'_> {
    /// Means and cross products of each fold.
    pub(crate) fn scatter_by_fold(self, loss: Loss, rule: FoldRule) -> Option<Subtrees<ByFold<Scatter>>> {
        let p = self.n_features;
        // The means of a panel of several folds.
        let unknown = vec![0.; p];
        let (mut design, mut gram) = (Vec::with_capacity(PANEL * (p + 1)), Gram::new(p + 1));
        let panels = self.panels().map(|panel| {
            let sorted = rule.sort(panel, p);
            let mut of = |rows: Range<usize>| {
                let part = sorted.panel(rows, panel.index, p);
                simd::dispatch(
                    #[inline(always)]
                    || scatter_panel(loss, part, p, &mut design, &mut gram),
                )
            };
            let mut folds: Vec<Scatter> = sorted.ranges.iter().cloned().map(&mut of).collect();
            let bad = bad_value(loss, panel, &unknown, 0., false).or_else(|| rule.bad(panel));
            folds.iter_mut().for_each(|fold| fold.bad = bad);
            ByFold(folds)
        });
        Subtrees::from_panels(self.first_panel, panels)
    }

    /// The moments of each fold.
    pub(crate) fn moments_by_fold(self, loss: Loss, shares: bool, rule: FoldRule) -> Option<Subtrees<ByFold<Moments>>> {
        let p = self.n_features;
        let unknown = vec![0.; p];
        let panels = self.panels().map(|panel| {
            let sorted = rule.sort(panel, p);
            let of = |rows: &Range<usize>| {
                let part = sorted.panel(rows.clone(), panel.index, p);
                simd::dispatch(
                    #[inline(always)]
                    || moments_panel(loss, part, p, shares),
                )
            };
            let mut folds: Vec<Moments> = sorted.ranges.iter().map(of).collect();
            let bad = bad_value(loss, panel, &unknown, 0., shares).or_else(|| rule.bad(panel));
            folds.iter_mut().for_each(|fold| fold.bad = bad);
            ByFold(folds)
        });
        Subtrees::from_panels(self.first_panel, panels)
    }

    /// Loss and gradient at each point: linear predictors and gradients of all points by one product of matrices each.
    pub(crate) fn evaluate_by_fold(
        self,
        loss: Loss,
        coordinates: &Coordinates,
        points: &[FoldPoint],
        rule: FoldRule,
    ) -> Option<Subtrees<FoldEvaluations>> {
        let (p, q) = (self.n_features, self.n_features + 1);
        let at = Array2::from_shape_fn((q, points.len()), |(j, k)| points[k].point[j]);
        let mut design = Vec::with_capacity(PANEL * q);
        let panels = self.panels().map(|panel| {
            let sorted = rule.sort(panel, p);
            simd::dispatch(
                #[inline(always)]
                || evaluate_sorted(loss, &sorted, coordinates, points, &at, &mut design),
            )
        });
        Subtrees::from_panels(self.first_panel, panels)
    }

    /// The quadratic at one point.
    pub(crate) fn quadratic_by_fold(
        self,
        loss: Loss,
        coordinates: &Coordinates,
        at: &FoldPoint,
        curvature: Curvature,
        rule: FoldRule,
    ) -> Option<Subtrees<FoldQuadratic>> {
        let (p, q) = (self.n_features, self.n_features + 1);
        let size = at.live.as_ref().map_or(q, Vec::len);
        let (mut design, mut gram) = ([Vec::with_capacity(PANEL * q), Vec::new()], Gram::new(size));
        let panels = self.panels().map(|panel| {
            let sorted = rule.sort(panel, p);
            simd::dispatch(
                #[inline(always)]
                || quadratic_sorted(loss, &sorted, coordinates, at, curvature, &mut design, &mut gram),
            )
        });
        Subtrees::from_panels(self.first_panel, panels)
    }
}

#[inline(always)]
fn evaluate_sorted(
    loss: Loss,
    sorted: &Sorted,
    coordinates: &Coordinates,
    points: &[FoldPoint],
    at: &Array2<f64>,
    design: &mut Vec<f64>,
) -> FoldEvaluations {
    let (n, q, n_points) = (sorted.y.len(), at.nrows(), points.len());
    coordinates.write_rows(&sorted.x, n, design);
    let Ok(rows) = ArrayView2::from_shape((n, q), &design[..]) else { return FoldEvaluations(Vec::new()) };
    // One row a point, so that each point's predictors lie side by side.
    let mut eta = kernel::gemm(at.t(), rows.t());
    let mut found = Vec::with_capacity(n_points);
    for (mut eta, point) in eta.rows_mut().into_iter().zip(points) {
        let Some(eta) = eta.as_slice_mut() else { continue };
        add_constants(eta, 0., sorted.offset.as_deref());
        let (trained, held) = sorted.parts(point.fold);
        let (mut total, mut separated) = (0., true);
        for rows in trained.into_iter().filter(|rows| !rows.is_empty()) {
            let weights = sorted.weights.as_ref().map(|weights| &weights[rows.clone()]);
            let part = loss.panel(&sorted.y[rows.clone()], weights, &mut eta[rows], None);
            total += part.loss;
            separated &= part.separated;
        }
        let mut held_out = 0.;
        if !held.is_empty() {
            let weights = sorted.weights.as_ref().map(|weights| &weights[held.clone()]);
            held_out = loss.panel(&sorted.y[held.clone()], weights, &mut eta[held.clone()], None).loss;
            eta[held].fill(0.);
        }
        let finite = total.is_finite();
        if !finite {
            eta.fill(0.);
        }
        let loss = if finite { total } else { f64::INFINITY };
        found.push(FoldEvaluation { loss, gradient: vec![0.; q], separated: separated && finite, held_out });
    }
    let gradients = kernel::gemm(eta.view(), rows);
    for (found, gradient) in found.iter_mut().zip(gradients.rows()) {
        found.gradient = gradient.to_vec();
    }
    FoldEvaluations(found)
}

#[inline(always)]
fn quadratic_sorted(
    loss: Loss,
    sorted: &Sorted,
    coordinates: &Coordinates,
    at: &FoldPoint,
    curvature: Curvature,
    [design, narrow]: &mut [Vec<f64>; 2],
    gram: &mut Gram,
) -> FoldQuadratic {
    let (n, q) = (sorted.y.len(), at.point.len());
    coordinates.write_rows(&sorted.x, n, design);
    let (mut eta, mut bends) = ([0.; PANEL], [0.; PANEL]);
    let (eta, bends) = (&mut eta[..n], &mut bends[..n]);
    kernel::inlined::gemv(design, &at.point, eta);
    add_constants(eta, 0., sorted.offset.as_deref());
    let (trained, held) = sorted.parts(at.fold);
    let (mut total, mut separated, mut sum_weights) = (0., true, 0.);
    for rows in trained.into_iter().filter(|rows| !rows.is_empty()) {
        let weights = sorted.weights.as_ref().map(|weights| &weights[rows.clone()]);
        sum_weights += super::sum_of(weights, rows.len());
        let bends = (curvature, &mut bends[rows.clone()]);
        let part = loss.panel(&sorted.y[rows.clone()], weights, &mut eta[rows], Some(bends));
        total += part.loss;
        separated &= part.separated;
    }
    let mut held_out = 0.;
    if !held.is_empty() {
        let weights = sorted.weights.as_ref().map(|weights| &weights[held.clone()]);
        held_out = loss.panel(&sorted.y[held.clone()], weights, &mut eta[held.clone()], None).loss;
    }
    eta[held.clone()].fill(0.);
    bends[held].fill(0.);
    let mut gradient = vec![0.; q];
    let size = at.live.as_ref().map_or(q, Vec::len);
    let mut hessian = vec![0.; size * (size + 1) / 2];
    if !total.is_finite() {
        let loss = f64::INFINITY;
        let trained = Quadratic { sum_weights, loss, gradient, hessian, separated: false, n_saturated: 0 };
        return FoldQuadratic { trained, held_out };
    }
    kernel::inlined::gemv_transposed(design, eta, &mut gradient);
    let rows = design.chunks_exact_mut(q).zip(&*bends);
    if let Some(live) = &at.live {
        narrow.clear();
        rows.for_each(|(row, bend)| {
            let root = bend.sqrt();
            narrow.extend(live.iter().map(|&j| row[j] * root));
        });
        gram.add(narrow, &mut hessian);
    } else {
        rows.for_each(|(row, bend)| {
            let root = bend.sqrt();
            row.iter_mut().for_each(|x| *x *= root);
        });
        gram.add(design, &mut hessian);
    }
    let trained = Quadratic { sum_weights, loss: total, gradient, hessian, separated, n_saturated: 0 };
    FoldQuadratic { trained, held_out }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{family::Family, kernel::testing::Sample};

    const DRAWN: FoldRule = FoldRule { n_folds: 7, seed: Some(5) };

    /// The folds of all rows, as the passes draw them.
    fn folds(rows: Rows<'_>) -> Vec<usize> {
        rows.panels().flat_map(|panel| DRAWN.of(panel).expect("drawn")).collect()
    }

    fn without(rows: Rows<'_>, keep: impl Fn(usize) -> bool) -> Sample {
        let (p, n) = (rows.n_features, rows.y.len());
        let kept: Vec<usize> = (0..n).filter(|&i| keep(i)).collect();
        let take = |values: &[f64]| kept.iter().map(|&i| values[i]).collect::<Vec<_>>();
        Sample {
            x: kept.iter().flat_map(|&i| rows.x[i * p..(i + 1) * p].to_vec()).collect(),
            y: take(rows.y),
            weights: take(rows.weights.expect("weights")),
            offset: take(rows.offset.expect("offset")),
            p,
        }
    }

    #[test]
    fn folds_are_of_one_size_and_not_in_order() {
        let sample = Sample::new(5 * PANEL + 31, 1);
        let folds = folds(sample.rows(true));
        let sizes: Vec<usize> = (0..7).map(|k| folds.iter().filter(|f| **f == k).count()).collect();
        assert!(sizes.iter().all(|size| size.abs_diff(folds.len() / 7) <= 1), "{sizes:?}");
        assert!(folds.windows(2).filter(|pair| pair[1] == (pair[0] + 1) % 7).count() < folds.len() / 3);
    }

    #[test]
    fn a_fold_s_evaluation_is_that_of_the_other_rows() {
        let sample = Sample::new(2 * PANEL + 90, 3);
        let rows = sample.rows(true);
        let folds = folds(rows);
        let coordinates = Coordinates { centre: vec![0., 1., 2.], scale: vec![1., 2., 3.], has_intercept: true };
        let point = vec![0.2, -0.1, 0.3, 0.05];
        let points: Vec<FoldPoint> =
            [None, Some(0), Some(6)].map(|fold| FoldPoint { fold, point: point.clone(), live: None }).to_vec();
        let loss = Loss::from(Family::Poisson);
        let found = rows.evaluate_by_fold(loss, &coordinates, &points, DRAWN).expect("rows").finish().0;
        for (found, at) in found.iter().zip(&points) {
            let trained = without(rows, |i| Some(folds[i]) != at.fold);
            let held = without(rows, |i| Some(folds[i]) == at.fold);
            let of = |sample: &Sample| {
                let all = sample.rows(true).evaluate(
                    loss,
                    &coordinates,
                    std::slice::from_ref(&point),
                    super::super::Stride::ALL,
                );
                all.map(|trees| trees.finish().0.remove(0))
            };
            let expected = of(&trained).expect("rows");
            assert!((found.loss - expected.loss).abs() < 1e-9, "{at:?}");
            assert!(found.gradient.iter().zip(&expected.gradient).all(|(a, b)| (a - b).abs() < 1e-9), "{at:?}");
            assert!((found.held_out - of(&held).map_or(0., |held| held.loss)).abs() < 1e-9, "{at:?}");
            let quadratic = rows.quadratic_by_fold(loss, &coordinates, at, Curvature::Observed, DRAWN);
            let FoldQuadratic { trained: quadratic, held_out } = quadratic.expect("rows").finish();
            assert!((held_out - of(&held).map_or(0., |held| held.loss)).abs() < 1e-9, "{at:?}");
            let expected = trained.rows(true).quadratic(
                loss,
                &coordinates,
                &point,
                Curvature::Observed,
                super::super::Stride::ALL,
            );
            let expected = expected.expect("rows").finish();
            assert!((quadratic.sum_weights - expected.sum_weights).abs() < 1e-9);
            assert!(quadratic.hessian.iter().zip(&expected.hessian).all(|(a, b)| (a - b).abs() < 1e-8), "{at:?}");
            let some = FoldPoint { live: Some(vec![0, 2]), ..at.clone() };
            let some = rows.quadratic_by_fold(loss, &coordinates, &some, Curvature::Observed, DRAWN).expect("rows");
            let some = some.finish().trained;
            assert_eq!(some.gradient, quadratic.gradient);
            let places = [0, 3, 5].map(|place| quadratic.hessian[place]);
            assert!(some.hessian.iter().zip(places).all(|(a, b)| (a - b).abs() < 1e-8) && some.hessian.len() == 3);
        }
    }

    #[test]
    fn folds_merge_to_the_whole() {
        let sample = Sample::new(3 * PANEL + 40, 3);
        let rows = sample.rows(true);
        let loss = Loss::from(Family::Gaussian);
        let by_fold = rows.scatter_by_fold(loss, DRAWN).expect("rows").finish().0;
        let merged = by_fold.into_iter().reduce(Combine::combine).expect("folds");
        let whole = rows.scatter(loss).expect("rows").finish();
        assert_eq!((merged.n_rows, merged.n_used), (whole.n_rows, whole.n_used));
        assert!(merged.products.iter().zip(&whole.products).all(|(a, b)| (a - b).abs() < 1e-9));
        let by_fold = rows.moments_by_fold(loss, false, DRAWN).expect("rows").finish().0;
        let merged = by_fold.into_iter().reduce(Combine::combine).expect("folds");
        let whole = rows.moments(loss, false).expect("rows").finish();
        assert!((merged.y.squares - whole.y.squares).abs() < 1e-9);
    }

    #[test]
    fn a_column_of_folds_is_checked() {
        let sample = Sample::new(600, 1);
        let mut column: Vec<f64> = (0..600).map(|i| f64::from(i % 4 + 1)).collect();
        let rule = FoldRule { n_folds: 4, seed: None };
        let bad = |column: &[f64]| {
            let rows = Rows { folds: Some(column), ..sample.rows(false) };
            let found = rows.moments_by_fold(Family::Gaussian.into(), false, rule).expect("rows").finish().0;
            found.into_iter().reduce(Combine::combine).expect("folds").bad
        };
        let at = |value| Some(BadValue { row: 301, place: Place::Fold, value });
        assert_eq!(bad(&column), None);
        column[301] = 5.;
        assert_eq!(bad(&column), at(5.));
        column[301] = 1.5;
        assert_eq!(bad(&column), at(1.5));
    }
}
