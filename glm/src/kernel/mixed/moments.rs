//! Means and sums of squares of dense and sparse columns.

use phalanx_array::{
    panel::{Combine, PANEL, Subtrees},
    simd,
};
use serde::{Deserialize, Serialize};

use super::{
    super::{
        BadValue, Moments, Place, Spread,
        moments::{moments_panel, share},
    },
    Layout, Mixed, Part,
    keyed::{Gather, Keyed},
};
use crate::loss::Loss;

/// Numbers a sparse column: of its entries in rows with weight their count, their weight, mean and sum of squares.
pub(super) const WIDTH: usize = 4;

/// The moments of some rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct MixedMoments {
    /// Its `x` is of the dense columns.
    pub(super) head: Moments,
    pub(super) sparse: Keyed,
}

impl Combine for MixedMoments {
    fn combine(self, right: Self) -> Self {
        Self { head: self.head.combine(right.head), sparse: self.sparse.combine_with(right.sparse, add) }
    }
}

/// As for all rows' means; a column without entries is a range without weight.
fn add(a: &mut [f64], b: &[f64]) {
    let (weight, share, step) = (a[1], share(a[1], b[1]), b[2] - a[2]);
    a[0] += b[0];
    a[1] += b[1];
    a[2] += step * share;
    a[3] += b[3] + step * step * weight * share;
}

impl MixedMoments {
    /// The moments of all columns: the entries', joined with as many zeros as there are other rows.
    pub(crate) fn finish(self, layout: &Layout) -> Moments {
        let Self { head, sparse } = self;
        let mut x = vec![Spread::default(); layout.n_features];
        for (spread, &column) in head.x.iter().zip(&layout.dense) {
            x[column as usize] = *spread;
        }
        sparse.each(|column, numbers| {
            let [count, weight, mean, squares] = [numbers[0], numbers[1], numbers[2], numbers[3]];
            if weight > 0. {
                // A column that is in every row has no zeros, whatever the sums of weights round to.
                let zeros = if count == head.n_used as f64 { 0. } else { (head.sum_weights - weight).max(0.) };
                let share = weight / (weight + zeros);
                x[layout.sparse[column] as usize] =
                    Spread { mean: mean * share, squares: squares + mean * mean * zeros * share };
            }
        });
        Moments { x, ..head }
    }
}

impl Mixed<'_> {
    /// The moments of every panel, combined as far as these rows allow; none without rows.
    pub(crate) fn moments(self, loss: Loss, shares: bool) -> Option<Subtrees<MixedMoments>> {
        let mut gather = Gather::new(self.layout.sparse.len(), WIDTH);
        let parts = self.parts().map(|part| {
            simd::dispatch(
                #[inline(always)]
                || moments_part(loss, part, self.layout, shares, &mut gather),
            )
        });
        Subtrees::from_panels(self.rows.first_panel, parts)
    }
}

#[inline(always)]
pub(super) fn moments_part(
    loss: Loss,
    part: Part<'_>,
    layout: &Layout,
    shares: bool,
    gather: &mut Gather,
) -> MixedMoments {
    let Part { panel, entries } = part;
    let mut head = moments_panel(loss, panel, layout.dense.len(), shares);
    let mut bad = None;
    for row in 0..panel.y.len() {
        let w = panel.weights.map_or(1., |weights| weights[row]);
        entries.each(row, |column, value| {
            if !value.is_finite() && bad.is_none() {
                let place = Place::X(layout.sparse[column as usize] as usize);
                bad = Some(BadValue { row: panel.index * PANEL + row, place, value });
            }
            if w > 0. {
                let numbers = gather.of(column);
                let step = value - numbers[2];
                numbers[0] += 1.;
                numbers[1] += w;
                numbers[2] += step * (w / numbers[1]);
                numbers[3] += w * step * (value - numbers[2]);
            }
        });
    }
    if let Some(BadValue { place: Place::X(column), .. }) = &mut head.bad {
        *column = layout.dense[*column] as usize;
    }
    head.bad = first(head.bad, bad);
    MixedMoments { head, sparse: gather.take() }
}

/// The one in the earlier row; in one row columns come first, in their order.
fn first(a: Option<BadValue>, b: Option<BadValue>) -> Option<BadValue> {
    let place = |bad: &BadValue| match bad.place {
        Place::X(column) => (bad.row, column),
        _ => (bad.row, usize::MAX),
    };
    [a, b].into_iter().flatten().min_by_key(place)
}

#[cfg(test)]
mod tests {
    use super::{super::testing::Both, *};
    use crate::Family;

    #[test]
    fn they_are_those_of_the_dense_columns() {
        let both = Both::new(5 * PANEL + 31);
        for weighted in [false, true] {
            let loss = Loss::from(Family::Gaussian);
            let expected = both.dense(weighted).moments(loss, false).expect("rows").finish();
            let mixed = both.mixed(weighted);
            let found = mixed.moments(loss, false).expect("rows").finish().finish(&both.layout);
            assert_eq!((found.n_rows, found.n_used), (expected.n_rows, expected.n_used));
            for (a, b) in found.x.iter().zip(&expected.x) {
                assert!((a.mean - b.mean).abs() < 1e-12 && (a.squares - b.squares).abs() < 1e-9, "{a:?} {b:?}");
            }
            for cut in [1, 4, 5] {
                let n = both.sample.y.len();
                let (left, right) = (mixed.slice(0..cut * PANEL), mixed.slice(cut * PANEL..n));
                let joined = left.moments(loss, false).expect("rows").merge(right.moments(loss, false).expect("rows"));
                assert_eq!(joined.finish().finish(&both.layout), found, "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_constant_that_is_in_every_row_has_no_spread() {
        let n = 3 * PANEL;
        let (y, starts) = (vec![0.; n], (0..=n as u64).collect::<Vec<_>>());
        let weights: Vec<f64> = (0..n).map(|i| 0.1 + (i % 7) as f64 / 3.).collect();
        let layout = Layout { n_features: 1, dense: Vec::new(), sparse: vec![0], n_codes: 0 };
        let values = vec![3.7; n];
        let mixed = Mixed {
            layout: &layout,
            rows: crate::kernel::Rows { weights: Some(&weights), ..crate::kernel::Rows::plain(&[], &y, 0) },
            entries: super::super::Entries {
                n_codes: 0,
                codes: &[],
                starts: &starts,
                columns: &vec![0; n],
                values: &values,
            },
        };
        let found = mixed.moments(Family::Gaussian.into(), false).expect("rows").finish().finish(&layout);
        assert_eq!(found.x[0], Spread { mean: 3.7, squares: 0. });
    }
}
