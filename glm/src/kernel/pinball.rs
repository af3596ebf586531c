//! The pinball loss of quantile regression with the few rows nearest to its kink: all that an exact solution takes.
//!
//! A row further away than the model will move counts by its derivative alone, so such rows are a few sums together.

use phalanx_array::{
    kernel::inlined::gemv,
    panel::{Combine, PANEL, Subtrees},
    simd,
};
use serde::{Deserialize, Serialize};

use super::{Panel, Rows, evaluate::add_constants};
use crate::{family::pinball, solver::Coordinates};

/// A model and which rows are near it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PinballAt {
    /// The quantile.
    pub quantile: f64,
    /// The largest residual, in absolute value, of a row that is near.
    pub within: f64,
    /// The most rows that are handed on: those with the least residuals in absolute value.
    pub most: usize,
    /// Where the working coordinates lie.
    pub coordinates: std::sync::Arc<Coordinates>,
    /// The model, in working coordinates, the intercept first.
    pub point: Vec<f64>,
}

/// The answer, over some rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pinball {
    /// Sum of weight times pinball loss, of all rows.
    pub loss: f64,
    /// The same of the rows that are not handed on.
    pub far_loss: f64,
    /// Minus its derivatives: sums of weight times slope times working coordinate, the slope being that of the pinball
    /// loss by the residual.
    pub far_slopes: Vec<f64>,
    /// How many rows are near, handed on or not.
    pub n_near: usize,
    /// The rows handed on, in their order: working coordinates, the intercept's first, residual, weight.
    pub near: Vec<f64>,
    quantile: f64,
    most: usize,
}

impl Pinball {
    /// The rows handed on, each as its coordinates, its residual and its weight.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&[f64], f64, f64)> {
        let size = self.far_slopes.len();
        self.near.chunks_exact(size + 2).map(move |row| (&row[..size], row[size], row[size + 1]))
    }

    fn add_far(&mut self, row: &[f64]) {
        let size = self.far_slopes.len();
        let (residual, weight) = (row[size], row[size + 1]);
        self.far_loss += weight * pinball(self.quantile, residual);
        let slope = weight * if residual >= 0. { self.quantile } else { self.quantile - 1. };
        self.far_slopes.iter_mut().zip(row).for_each(|(sum, z)| *sum += slope * z);
    }

    /// Keeps the nearest rows, the earlier one of two that are as near.
    fn trim(&mut self) {
        let (size, most) = (self.far_slopes.len(), self.most);
        let stride = size + 2;
        let n = self.near.len() / stride;
        if n <= most {
            return;
        }
        let near = std::mem::take(&mut self.near);
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&i, &j| near[i * stride + size].abs().total_cmp(&near[j * stride + size].abs()));
        let mut stays = vec![false; n];
        order[..most].iter().for_each(|&i| stays[i] = true);
        self.near.reserve_exact(most * stride);
        for (row, stays) in near.chunks_exact(stride).zip(stays) {
            if stays {
                self.near.extend_from_slice(row);
            } else {
                self.add_far(row);
            }
        }
    }
}

impl Combine for Pinball {
    fn combine(mut self, right: Self) -> Self {
        self.loss += right.loss;
        self.far_loss += right.far_loss;
        self.far_slopes = self.far_slopes.combine(right.far_slopes);
        self.n_near += right.n_near;
        self.near.extend_from_slice(&right.near);
        self.trim();
        self
    }
}

impl Rows<'_> {
    /// The answer of every panel, combined as far as these rows allow; none without rows.
    pub(crate) fn pinball(self, at: &PinballAt) -> Option<Subtrees<Pinball>> {
        let mut design = Vec::with_capacity(PANEL * at.point.len());
        let panels = self.panels().map(|panel| pinball_panel(at, panel, &mut design));
        Subtrees::from_panels(self.first_panel, panels)
    }
}

fn pinball_panel(at: &PinballAt, panel: Panel<'_>, design: &mut Vec<f64>) -> Pinball {
    let (n, size) = (panel.y.len(), at.point.len());
    let mut eta = [0.; PANEL];
    let eta = &mut eta[..n];
    simd::dispatch(
        #[inline(always)]
        || {
            at.coordinates.write_rows(panel.x, n, design);
            gemv(design, &at.point, eta);
        },
    );
    add_constants(eta, 0., panel.offset);
    let mut found = Pinball {
        loss: 0.,
        far_loss: 0.,
        far_slopes: vec![0.; size],
        n_near: 0,
        near: Vec::new(),
        quantile: at.quantile,
        most: at.most,
    };
    let mut row = Vec::with_capacity(size + 2);
    for (i, ((&y, &eta), z)) in panel.y.iter().zip(&*eta).zip(design.chunks_exact(size)).enumerate() {
        let weight = panel.weights.map_or(1., |weights| weights[i]);
        if weight > 0. {
            let residual = y - eta;
            found.loss += weight * pinball(at.quantile, residual);
            row.clear();
            row.extend_from_slice(z);
            row.extend([residual, weight]);
            if residual.abs() <= at.within {
                found.n_near += 1;
                found.near.extend_from_slice(&row);
            } else {
                found.add_far(&row);
            }
        }
    }
    found.trim();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::testing::Sample;

    #[test]
    fn near_rows_and_the_sums_of_far_ones_are_all_rows() {
        let sample = Sample::new(1600, 2);
        let rows = sample.rows(true);
        let coordinates = Coordinates { centre: vec![0.3; 2], scale: vec![2.; 2], has_intercept: true };
        let point = vec![0.2, 0.5, -1.];
        for (within, most) in [(f64::MAX, 5000), (0.4, 5000), (f64::MAX, 100), (0.4, 100), (0., 7)] {
            let coordinates = coordinates.clone().into();
            let at = PinballAt { quantile: 0.3, within, most, coordinates, point: point.clone() };
            let found = rows.pinball(&at).expect("rows").finish();
            let (mut loss, mut slope, mut near) = (0., 0., Vec::new());
            for i in 0..1600 {
                let working = |j: usize| (rows.x[2 * i + j] - 0.3) / 2.;
                let r = rows.y[i] - 0.2 - 0.5 * working(0) + working(1) - sample.offset[i];
                if sample.weights[i] > 0. {
                    loss += sample.weights[i] * (0.3 * r).max(-0.7 * r);
                    slope += sample.weights[i] * working(0) * if r >= 0. { 0.3 } else { -0.7 };
                    near.extend((r.abs() <= within).then_some(r.abs()));
                }
            }
            assert_eq!((found.n_near, found.rows().count()), (near.len(), near.len().min(most)));
            near.sort_by(f64::total_cmp);
            let furthest = found.rows().fold(0_f64, |most, (_, r, _)| most.max(r.abs()));
            let expected = near.get(most.min(near.len()).wrapping_sub(1)).copied().unwrap_or_default();
            assert!((furthest - expected).abs() < 1e-12);
            let of_near: f64 = found.rows().map(|(_, r, w)| w * pinball(0.3, r)).sum();
            let slopes: f64 = found.rows().map(|(z, r, w)| w * z[1] * if r >= 0. { 0.3 } else { -0.7 }).sum();
            assert!((found.loss - loss).abs() < 1e-10 && (found.far_loss + of_near - loss).abs() < 1e-10);
            assert!((found.far_slopes[1] + slopes - slope).abs() < 1e-10, "{within} {most}");
        }
    }
}
