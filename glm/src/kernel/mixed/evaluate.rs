//! Loss and gradient at a few points, each of all rows or of those outside of a fold.

use phalanx_array::{
    kernel::inlined::{gemv, gemv_transposed},
    panel::{Combine, PANEL, Subtrees},
    simd,
};
use serde::{Deserialize, Serialize};

use super::{
    super::{Evaluation, FoldEvaluation, Stride, add_constants},
    Axes, Layout, Mixed, Part, Point, add_entries,
    folds::Held,
    keyed::{Gather, Keyed},
};
use crate::{loss::Loss, solver::Coordinates};

/// The evaluations of some rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct MixedEvaluations {
    heads: Vec<Head>,
    /// Derivatives by the sparse columns' raw coefficients, a number a point.
    sparse: Keyed,
}

/// One point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Head {
    loss: f64,
    separated: bool,
    held_out: f64,
    /// By the intercept and the dense coordinates.
    gradient: Vec<f64>,
}

impl Combine for MixedEvaluations {
    fn combine(self, right: Self) -> Self {
        let add = |(a, b): (Head, Head)| Head {
            loss: a.loss + b.loss,
            separated: a.separated && b.separated,
            held_out: a.held_out + b.held_out,
            gradient: a.gradient.combine(b.gradient),
        };
        Self {
            heads: self.heads.into_iter().zip(right.heads).map(add).collect(),
            sparse: self.sparse.add(right.sparse),
        }
    }
}

impl MixedEvaluations {
    fn empty(n_points: usize, axes: &Axes<'_>) -> Self {
        let head = Head { loss: 0., separated: true, held_out: 0., gradient: vec![0.; axes.width()] };
        Self { heads: vec![head; n_points], sparse: Keyed::empty(axes.n_sparse(), n_points) }
    }

    /// One a point, over all columns.
    pub(crate) fn finish(self, layout: &Layout, coordinates: &Coordinates) -> Vec<FoldEvaluation> {
        let axes = Axes::new(layout, coordinates);
        let Self { heads, sparse } = self;
        let whole = |head: Head| {
            let mut gradient = vec![0.; layout.n_features + 1];
            head.gradient.iter().enumerate().for_each(|(j, g)| gradient[axes.place(j)] = *g);
            let Head { loss, separated, held_out, .. } = head;
            FoldEvaluation { loss, gradient, separated, held_out }
        };
        let mut all: Vec<FoldEvaluation> = heads.into_iter().map(whole).collect();
        sparse.each(|column, numbers| {
            let (place, inverse) = (axes.sparse_place(column), axes.inverse[column]);
            all.iter_mut().zip(numbers).for_each(|(found, g)| found.gradient[place] = g * inverse);
        });
        all
    }

    /// The same of all rows.
    pub(crate) fn finish_whole(self, layout: &Layout, coordinates: &Coordinates) -> Vec<Evaluation> {
        let found = self.finish(layout, coordinates).into_iter();
        found.map(|FoldEvaluation { loss, gradient, separated, .. }| Evaluation { loss, gradient, separated }).collect()
    }
}

impl Mixed<'_> {
    /// Loss and gradient of every panel at every point, combined as far as these rows allow; none without rows.
    ///
    /// Panels that the stride leaves out count as nothing.
    pub(crate) fn evaluate(
        self,
        loss: Loss,
        coordinates: &Coordinates,
        points: &[Vec<f64>],
        stride: Stride,
    ) -> Option<Subtrees<MixedEvaluations>> {
        let axes = Axes::new(self.layout, coordinates);
        let points: Vec<(Point, Option<usize>)> = points.iter().map(|point| (axes.point(point), None)).collect();
        let mut scratch = Scratch::new(&axes, points.len());
        let parts = self.parts().map(|part| {
            if !stride.takes(part.panel.index) {
                return MixedEvaluations::empty(points.len(), &axes);
            }
            simd::dispatch(
                #[inline(always)]
                || evaluate_part(loss, part, &axes, &points, &Held::none(), &mut scratch),
            )
        });
        Subtrees::from_panels(self.rows.first_panel, parts)
    }
}

/// What is reused from panel to panel.
pub(super) struct Scratch {
    design: Vec<f64>,
    gather: Gather,
}

impl Scratch {
    pub(super) fn new(axes: &Axes<'_>, n_points: usize) -> Self {
        Self { design: Vec::with_capacity(PANEL * axes.width()), gather: Gather::new(axes.n_sparse(), n_points) }
    }
}

#[inline(always)]
pub(super) fn evaluate_part(
    loss: Loss,
    part: Part<'_>,
    axes: &Axes<'_>,
    points: &[(Point, Option<usize>)],
    held: &Held,
    scratch: &mut Scratch,
) -> MixedEvaluations {
    let Part { panel, entries } = part;
    let (n, n_points) = (panel.y.len(), points.len());
    axes.dense.write_rows(panel.x, n, &mut scratch.design);
    // Row after row, a residual a point.
    let mut residuals = vec![0.; n * n_points];
    let mut heads = Vec::with_capacity(n_points);
    for (k, (point, fold)) in points.iter().enumerate() {
        let mut eta = [0.; PANEL];
        let eta = &mut eta[..n];
        gemv(&scratch.design, &point.dense, eta);
        add_entries(entries, &point.slopes, eta);
        add_constants(eta, 0., panel.offset);
        let held_out = held.loss(loss, panel, *fold, eta);
        let found = loss.panel(panel.y, held.weights(panel, *fold).as_deref(), eta, None);
        let mut gradient = vec![0.; axes.width()];
        let finite = found.loss.is_finite();
        if finite {
            gemv_transposed(&scratch.design, eta, &mut gradient);
            eta.iter().enumerate().for_each(|(i, r)| residuals[i * n_points + k] = *r);
        }
        let loss = if finite { found.loss } else { f64::INFINITY };
        heads.push(Head { loss, separated: finite && found.separated, held_out, gradient });
    }
    for (row, residuals) in residuals.chunks_exact(n_points).enumerate() {
        entries.each(row, |column, value| {
            let sums = scratch.gather.of(column);
            sums.iter_mut().zip(residuals).for_each(|(sum, r)| *sum += value * r);
        });
    }
    MixedEvaluations { heads, sparse: scratch.gather.take() }
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{Both, near},
        *,
    };
    use crate::{Family, kernel::testing::noise};

    #[test]
    fn it_is_that_of_the_dense_columns_for_any_cut() {
        let both = Both::new(6 * PANEL + 100);
        let p = both.layout.n_features;
        let coordinates = Coordinates {
            centre: (0..p).map(|j| if both.layout.dense.contains(&(j as u32)) { j as f64 } else { 0. }).collect(),
            scale: (0..p).map(|j| if j == 7 { 0. } else { 1. + j as f64 / 3. }).collect(),
            has_intercept: true,
        };
        let points: Vec<Vec<f64>> = (0..3).map(|k| (0..=p).map(|j| 0.2 * noise(j * 3 + k)).collect()).collect();
        for (family, weighted) in [(Family::Binomial, false), (Family::Poisson, true), (Family::Gaussian, true)] {
            let loss = Loss::from(family);
            for stride in [Stride::ALL, Stride(3)] {
                let of = |mixed: Mixed<'_>| mixed.evaluate(loss, &coordinates, &points, stride).expect("rows");
                let expected = both.dense(weighted).evaluate(loss, &coordinates, &points, stride);
                let mixed = both.mixed(weighted);
                let found = of(mixed).finish();
                for (a, b) in found
                    .clone()
                    .finish_whole(&both.layout, &coordinates)
                    .iter()
                    .zip(&expected.expect("rows").finish().0)
                {
                    assert!((a.loss - b.loss).abs() < 1e-9 && near(&a.gradient, &b.gradient), "{family}");
                }
                let n = both.sample.y.len();
                for cut in [1, 3, 6] {
                    let (left, right) = (mixed.slice(0..cut * PANEL), mixed.slice(cut * PANEL..n));
                    assert_eq!(of(left).merge(of(right)).finish(), found, "cut at {cut}");
                }
            }
        }
    }
}
