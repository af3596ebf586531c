//! Loss, gradient and the matrix of second derivatives at one point.

use phalanx_array::{
    kernel::inlined::{gemv, gemv_transposed},
    panel::{Combine, PANEL, Subtrees},
    simd,
};
use serde::{Deserialize, Serialize};

use super::{
    super::{FoldQuadratic, Quadratic, Stride, add_constants, quadratic::n_saturated, sum_of},
    Axes, Layout, Mixed, Part, Point, add_entries,
    folds::Held,
    gram::{Gram, Products},
};
use crate::{
    loss::{Curvature, Loss},
    solver::Coordinates,
};

/// The quadratic of some rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct MixedQuadratic {
    sum_weights: f64,
    loss: f64,
    separated: bool,
    n_saturated: usize,
    held_out: f64,
    /// By the intercept and the dense coordinates; those by the sparse ones are beside the products.
    gradient: Vec<f64>,
    products: Gram,
}

impl Combine for MixedQuadratic {
    fn combine(self, right: Self) -> Self {
        Self {
            sum_weights: self.sum_weights + right.sum_weights,
            loss: self.loss + right.loss,
            separated: self.separated && right.separated,
            n_saturated: self.n_saturated + right.n_saturated,
            held_out: self.held_out + right.held_out,
            gradient: self.gradient.combine(right.gradient),
            products: self.products.combine(right.products),
        }
    }
}

impl MixedQuadratic {
    fn empty(axes: &Axes<'_>) -> Self {
        Self {
            sum_weights: 0.,
            loss: 0.,
            separated: true,
            n_saturated: 0,
            held_out: 0.,
            gradient: vec![0.; axes.width()],
            products: Gram::empty(axes),
        }
    }

    /// The quadratic over all columns, and the loss of the rows that are held out.
    pub(crate) fn finish(self, layout: &Layout, coordinates: &Coordinates) -> FoldQuadratic {
        let (hessian, mut gradient) = self.products.finish(layout, coordinates);
        let axes = Axes::new(layout, coordinates);
        self.gradient.iter().enumerate().for_each(|(j, g)| gradient[axes.place(j)] = *g);
        let Self { sum_weights, loss, separated, n_saturated, held_out, .. } = self;
        FoldQuadratic { trained: Quadratic { sum_weights, loss, gradient, hessian, separated, n_saturated }, held_out }
    }
}

impl Mixed<'_> {
    /// The quadratic of every panel at a point, combined as far as these rows allow; none without rows.
    ///
    /// Panels that the stride leaves out count as nothing.
    pub(crate) fn quadratic(
        self,
        loss: Loss,
        coordinates: &Coordinates,
        point: &[f64],
        curvature: Curvature,
        stride: Stride,
    ) -> Option<Subtrees<MixedQuadratic>> {
        let axes = Axes::new(self.layout, coordinates);
        let at = (axes.point(point), None);
        let mut scratch = Scratch::new(&axes);
        let parts = self.parts().map(|part| {
            if !stride.takes(part.panel.index) {
                return MixedQuadratic::empty(&axes);
            }
            simd::dispatch(
                #[inline(always)]
                || quadratic_part(loss, part, &axes, &at, curvature, &Held::none(), &mut scratch),
            )
        });
        Subtrees::from_panels(self.rows.first_panel, parts)
    }
}

/// What is reused from panel to panel.
pub(super) struct Scratch {
    design: Vec<f64>,
    products: Products,
}

impl Scratch {
    pub(super) fn new(axes: &Axes<'_>) -> Self {
        Self { design: Vec::with_capacity(PANEL * axes.width()), products: Products::new(axes) }
    }
}

#[inline(always)]
pub(super) fn quadratic_part(
    loss: Loss,
    part: Part<'_>,
    axes: &Axes<'_>,
    (point, fold): &(Point, Option<usize>),
    curvature: Curvature,
    held: &Held,
    scratch: &mut Scratch,
) -> MixedQuadratic {
    let Part { panel, entries } = part;
    let n = panel.y.len();
    axes.dense.write_rows(panel.x, n, &mut scratch.design);
    let (mut eta, mut bends) = ([0.; PANEL], [0.; PANEL]);
    let (eta, bends) = (&mut eta[..n], &mut bends[..n]);
    gemv(&scratch.design, &point.dense, eta);
    add_entries(entries, &point.slopes, eta);
    add_constants(eta, 0., panel.offset);
    let held_out = held.loss(loss, panel, *fold, eta);
    let weights = held.weights(panel, *fold);
    let means = eta.to_vec();
    let found = loss.panel(panel.y, weights.as_deref(), eta, Some((curvature, bends)));
    let sum_weights = sum_of(weights.as_deref(), n);
    if !found.loss.is_finite() {
        return MixedQuadratic {
            sum_weights,
            loss: f64::INFINITY,
            separated: false,
            held_out,
            ..MixedQuadratic::empty(axes)
        };
    }
    let mut gradient = vec![0.; axes.width()];
    gemv_transposed(&scratch.design, eta, &mut gradient);
    MixedQuadratic {
        sum_weights,
        loss: found.loss,
        separated: found.separated,
        n_saturated: n_saturated(loss, weights.as_deref(), &means, bends),
        held_out,
        gradient,
        products: scratch.products.of(&scratch.design, entries, bends, eta),
    }
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
        let point: Vec<f64> = (0..=p).map(|j| 0.2 * noise(j * 3)).collect();
        for (family, weighted) in [(Family::Binomial, false), (Family::Poisson, true), (Family::Gaussian, true)] {
            let loss = Loss::from(family);
            for stride in [Stride::ALL, Stride(3)] {
                let of = |mixed: Mixed<'_>| {
                    mixed.quadratic(loss, &coordinates, &point, Curvature::Observed, stride).expect("rows")
                };
                let dense = both.dense(weighted);
                let b =
                    dense.quadratic(loss, &coordinates, &point, Curvature::Observed, stride).expect("rows").finish();
                let mixed = both.mixed(weighted);
                let found = of(mixed).finish();
                let a = found.clone().finish(&both.layout, &coordinates).trained;
                assert!((a.loss - b.loss).abs() < 1e-9 && near(&a.gradient, &b.gradient), "{family}");
                assert!(near(&a.hessian, &b.hessian), "{family}");
                assert_eq!((a.n_saturated, a.separated), (b.n_saturated, b.separated));
                let n = both.sample.y.len();
                for cut in [1, 3, 6] {
                    let (left, right) = (mixed.slice(0..cut * PANEL), mixed.slice(cut * PANEL..n));
                    assert_eq!(of(left).merge(of(right)).finish(), found, "cut at {cut}");
                }
            }
        }
    }
}
