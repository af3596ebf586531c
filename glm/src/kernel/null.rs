//! The loss of a model that has an intercept only: a pass that never looks at X.

use phalanx_array::{
    kernel::inlined::{dot, sum},
    panel::{Combine, PANEL, Subtrees},
    simd,
};
use serde::{Deserialize, Serialize};

use super::{Panel, Rows, evaluate::add_constants};
use crate::loss::{Curvature, Loss};

/// The weighted loss and its derivatives by the intercept, summed over some rows.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct NullPoint {
    /// Sum of weight times loss.
    pub loss: f64,
    /// Its derivative by the intercept.
    pub first: f64,
    /// Its expected second derivative.
    pub second: f64,
    /// Sum of weight times the square of a row's derivative.
    pub squares: f64,
}

/// One an intercept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct NullPoints(pub(crate) Vec<NullPoint>);

impl Combine for NullPoints {
    fn combine(self, right: Self) -> Self {
        let add = |(a, b): (NullPoint, NullPoint)| NullPoint {
            loss: a.loss + b.loss,
            first: a.first + b.first,
            second: a.second + b.second,
            squares: a.squares + b.squares,
        };
        Self(self.0.into_iter().zip(right.0).map(add).collect())
    }
}

impl Rows<'_> {
    /// The loss at each intercept, of every panel, combined as far as these rows allow; none without rows.
    pub(crate) fn null(self, loss: Loss, intercepts: &[f64]) -> Option<Subtrees<NullPoints>> {
        let panels = self.panels().map(|panel| {
            let at = |&intercept: &f64| {
                simd::dispatch(
                    #[inline(always)]
                    || null_panel(loss, panel, intercept),
                )
            };
            NullPoints(intercepts.iter().map(at).collect())
        });
        Subtrees::from_panels(self.first_panel, panels)
    }
}

#[inline(always)]
fn null_panel(loss: Loss, panel: Panel<'_>, intercept: f64) -> NullPoint {
    let n = panel.y.len();
    let (mut eta, mut bends) = ([0.; PANEL], [0.; PANEL]);
    let (eta, bends) = (&mut eta[..n], &mut bends[..n]);
    add_constants(eta, intercept, panel.offset);
    let found = loss.panel(panel.y, panel.weights, eta, Some((Curvature::Expected, bends)));
    // The residuals carry the weight once.
    let squares = match panel.weights {
        None => dot(eta, eta),
        Some(weights) => eta.iter().zip(weights).map(|(r, w)| if *w > 0. { r * r / w } else { 0. }).sum(),
    };
    NullPoint { loss: found.loss, first: sum(eta), second: sum(bends), squares }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{family::Family, kernel::testing::Sample};

    #[test]
    fn it_is_the_loss_of_a_model_without_columns() {
        let sample = Sample::new(700, 2);
        let rows = sample.rows(true);
        let loss = Loss::from(Family::Poisson);
        let found = rows.null(loss, &[0.3, -1.]).expect("rows").finish().0;
        let at =
            |i: usize| (rows.weights.expect("weights")[i], loss.row(rows.y[i], -1. + rows.offset.expect("offset")[i]));
        let total = (0..700).map(at).fold([0.; 4], |[a, b, c, d], (w, row)| {
            let square = row.residual * row.residual;
            [a + w * row.loss, b + w * row.residual, c + w * row.expected, d + w * square]
        });
        for (a, b) in [found[1].loss, found[1].first, found[1].second, found[1].squares].into_iter().zip(total) {
            assert!((a - b).abs() < 1e-10, "{a} {b}");
        }
    }
}
