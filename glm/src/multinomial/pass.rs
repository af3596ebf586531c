//! The passes over panels of rows whose y is a class: which classes there are, and the softmax loss with derivatives.
//!
//! Plain functions of numbers, like the kernels of the other losses. A point holds one linear model a class, one after
//! the other. What is penalised, and what a solver does with the sums, is not known here.

use ndarray::{Array2, ArrayView2};
use phalanx_array::{
    kernel::{gemm_into, inlined::exp},
    panel::{Combine, PANEL, Subtrees},
    simd,
};
use serde::{Deserialize, Serialize};

use crate::{
    kernel::{BadValue, Place, Rows, Stride},
    solver::Coordinates,
};

/// More values than this are no classes.
pub(super) const MAX_CLASSES: usize = 10_000;

/// Below this a row's largest second derivative says nothing any more: its class is certain.
const SATURATED: f64 = 1e-8;

/// The classes of some rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Classes {
    /// Codes in ascending order, each with the sum of its rows' weights; rows without weight are absent.
    pub(crate) weights: Vec<(f64, f64)>,
    /// The first y that is no code.
    pub(crate) bad: Option<BadValue>,
}

impl Combine for Classes {
    fn combine(self, right: Self) -> Self {
        let mut weights = Vec::with_capacity(self.weights.len().max(right.weights.len()));
        let (mut left, mut others) = (self.weights.into_iter().peekable(), right.weights.into_iter().peekable());
        while let (Some(a), Some(b)) = (left.peek(), others.peek()) {
            let (a, b) = (*a, *b);
            if a.0 <= b.0 {
                left.next();
            }
            if b.0 <= a.0 {
                others.next();
            }
            weights.push(if a.0 < b.0 {
                a
            } else if b.0 < a.0 {
                b
            } else {
                (a.0, a.1 + b.1)
            });
        }
        weights.extend(left.chain(others));
        // One more than is allowed tells that there are too many.
        weights.truncate(MAX_CLASSES + 1);
        Self { weights, bad: self.bad.or(right.bad) }
    }
}

/// Where to look.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Frame {
    /// Where the working coordinates lie, the same for every class.
    pub(crate) coordinates: Coordinates,
    /// In ascending order.
    pub(crate) classes: Vec<f64>,
}

/// The softmax loss at a point, summed over some rows, in working coordinates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Look {
    /// Sum of the weights of the rows that were looked at.
    pub(crate) sum_weights: f64,
    /// Sum of weight times loss; infinite where a linear predictor overflows.
    pub(crate) loss: f64,
    /// Its first derivatives.
    pub(crate) gradient: Vec<f64>,
    /// Its second derivatives where they were asked for: the lower triangle, row after row.
    pub(crate) hessian: Vec<f64>,
    /// Whether the own class of every row has the largest linear predictor.
    pub(crate) separated: bool,
    /// Rows whose class is as good as certain.
    pub(crate) n_saturated: usize,
}

impl Look {
    fn nothing(size: usize, curved: bool) -> Self {
        Self {
            sum_weights: 0.,
            loss: 0.,
            gradient: vec![0.; size],
            hessian: vec![0.; if curved { size * (size + 1) / 2 } else { 0 }],
            separated: true,
            n_saturated: 0,
        }
    }
}

impl Combine for Look {
    fn combine(mut self, right: Self) -> Self {
        self.sum_weights += right.sum_weights;
        self.loss += right.loss;
        self.gradient = self.gradient.combine(right.gradient);
        self.hessian = self.hessian.combine(right.hessian);
        self.separated &= right.separated;
        self.n_saturated += right.n_saturated;
        self
    }
}

/// One look a point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Looks(pub(crate) Vec<Look>);

impl Combine for Looks {
    fn combine(self, right: Self) -> Self {
        Self(self.0.into_iter().zip(right.0).map(|(a, b)| a.combine(b)).collect())
    }
}

/// What is reused from panel to panel.
struct Scratch {
    design: Vec<f64>,
    scaled: Vec<f64>,
    /// Linear predictors, then probabilities: a row a row.
    eta: Array2<f64>,
    /// Derivatives by the linear predictors.
    residual: Array2<f64>,
    gradient: Array2<f64>,
    product: Array2<f64>,
}

/// -0 is 0.
pub(super) fn code(y: f64) -> f64 {
    y + 0.
}

/// Whether y can be the code of a class: a whole number that f64 tells from its neighbours.
fn is_code(y: f64) -> bool {
    y.fract() == 0. && y.abs() < 9e15
}

/// The classes of the rows, combined as far as these rows allow; none without rows.
pub(crate) fn classes(rows: Rows<'_>) -> Option<Subtrees<Classes>> {
    let panels = rows.panels().map(|panel| {
        let mut found: Vec<(f64, f64)> = Vec::new();
        for (i, &y) in panel.y.iter().enumerate() {
            if !is_code(y) {
                let bad = BadValue { row: panel.index * PANEL + i, place: Place::Y, value: y };
                return Classes { weights: Vec::new(), bad: Some(bad) };
            }
            let weight = panel.weights.map_or(1., |weights| weights[i]);
            if weight > 0. {
                match found.binary_search_by(|(class, _)| class.total_cmp(&code(y))) {
                    Ok(place) => found[place].1 += weight,
                    Err(place) => found.insert(place, (code(y), weight)),
                }
            }
        }
        Classes { weights: found, bad: None }
    });
    Subtrees::from_panels(rows.first_panel, panels)
}

/// The loss of every panel at every point, combined as far as these rows allow; none without rows.
///
/// Panels that the stride leaves out count as nothing.
pub(crate) fn look(
    rows: Rows<'_>,
    frame: &Frame,
    points: &[Vec<f64>],
    stride: Stride,
    curved: bool,
) -> Option<Subtrees<Looks>> {
    let (q, k) = (frame.coordinates.n_features() + 1, frame.classes.len());
    let mut scratch = Scratch {
        design: Vec::with_capacity(PANEL * q),
        scaled: Vec::new(),
        eta: Array2::zeros((PANEL, k)),
        residual: Array2::zeros((PANEL, k)),
        gradient: Array2::zeros((k, q)),
        product: Array2::zeros((q, q)),
    };
    let panels = rows.panels().map(|panel| {
        if !stride.takes(panel.index) {
            return Looks(points.iter().map(|point| Look::nothing(point.len(), curved)).collect());
        }
        let n = panel.y.len();
        let weight = |i: usize| panel.weights.map_or(1., |weights| weights[i]);
        let own: Vec<Option<usize>> = (0..n)
            .map(|i| {
                let found = frame.classes.binary_search_by(|class| class.total_cmp(&code(panel.y[i])));
                found.ok().filter(|_| weight(i) > 0.)
            })
            .collect();
        simd::dispatch(|| frame.coordinates.write_rows(panel.x, n, &mut scratch.design));
        Looks(points.iter().map(|point| look_at(&own, weight, point, q, curved, &mut scratch)).collect())
    });
    Subtrees::from_panels(rows.first_panel, panels)
}

/// The rows of one panel, which stand in the design; `own` is the place of each row's class, none where it has no
/// weight.
fn look_at(
    own: &[Option<usize>],
    weight: impl Fn(usize) -> f64,
    point: &[f64],
    q: usize,
    curved: bool,
    scratch: &mut Scratch,
) -> Look {
    let (n, k) = (own.len(), point.len() / q);
    let mut found = Look::nothing(point.len(), curved);
    let lost = |found: Look| Look { loss: f64::INFINITY, separated: false, ..found };
    let Scratch { design, scaled, eta, residual, gradient, product } = scratch;
    let shapes = (ArrayView2::from_shape((n, q), design.as_slice()), ArrayView2::from_shape((k, q), point));
    let (Ok(rows), Ok(models)) = shapes else { return lost(found) };
    let (mut eta, mut residual) = (eta.slice_mut(ndarray::s![..n, ..]), residual.slice_mut(ndarray::s![..n, ..]));
    gemm_into(rows, models.t(), eta.view_mut());
    residual.fill(0.);
    for (i, (mut eta, mut residual)) in eta.rows_mut().into_iter().zip(residual.rows_mut()).enumerate() {
        let Some(own) = own[i] else { continue };
        let w = weight(i);
        found.sum_weights += w;
        let most = (1..k).fold(0, |most, other| if eta[other] > eta[most] { other } else { most });
        let (top, at_own) = (eta[most], eta[own]);
        found.separated &= (0..k).all(|other| other == own || eta[other] < at_own);
        // Without the largest term, which is 1, so that no digits of a small loss are lost.
        let mut beside = 0.;
        for (other, eta) in eta.iter_mut().enumerate() {
            *eta = exp(*eta - top);
            beside += if other == most { 0. } else { *eta };
        }
        found.loss += w * (libm::log1p(beside) + (top - at_own));
        let mut others = 0.;
        for (other, (p, residual)) in eta.iter_mut().zip(&mut residual).enumerate() {
            *p /= 1. + beside;
            *residual = w * *p;
            others += if other == own { 0. } else { *residual };
        }
        residual[own] = -others;
        // The largest one's p (1 - p) is the largest of all, and 1 - p is the sum of the others.
        let bend = eta[most] * (beside / (1. + beside));
        found.n_saturated += usize::from(bend <= SATURATED);
    }
    if !found.loss.is_finite() {
        return lost(Look { sum_weights: found.sum_weights, ..Look::nothing(point.len(), curved) });
    }
    gemm_into(residual.t(), rows, gradient.view_mut());
    found.gradient = gradient.iter().copied().collect();
    if curved {
        for a in 0..k {
            for b in 0..=a {
                scaled.clear();
                for (i, row) in design.chunks_exact(q).enumerate() {
                    let p = |class: usize| eta[[i, class]];
                    let bend = match own[i] {
                        None => 0.,
                        Some(_) if a == b => weight(i) * p(a) * others_of(eta.row(i), a),
                        Some(_) => -weight(i) * p(a) * p(b),
                    };
                    scaled.extend(row.iter().map(|x| bend * x));
                }
                let Ok(scaled) = ArrayView2::from_shape((n, q), scaled.as_slice()) else { return lost(found) };
                gemm_into(rows.t(), scaled, product.view_mut());
                for (i, row) in product.rows().into_iter().enumerate() {
                    let line = a * q + i;
                    let start = line * (line + 1) / 2 + b * q;
                    let n_columns = if a == b { i + 1 } else { q };
                    found.hessian[start..].iter_mut().zip(row.iter().take(n_columns)).for_each(|(h, x)| *h = *x);
                }
            }
        }
    }
    found
}

/// 1 - p, with its digits where p is near 1.
fn others_of(p: ndarray::ArrayView1<'_, f64>, class: usize) -> f64 {
    p.iter().enumerate().map(|(other, p)| if other == class { 0. } else { *p }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::testing::{Sample, noise};

    fn sample(n: usize, p: usize) -> (Sample, Frame) {
        let mut sample = Sample::new(n, p);
        sample.y = (0..n).map(|i| [-2., 0., 5.][(i * 7 + i / 5) % 3]).collect();
        let coordinates = Coordinates {
            centre: (0..p).map(|j| j as f64 - 0.1).collect(),
            scale: (0..p).map(|j| 1. + j as f64).collect(),
            has_intercept: true,
        };
        (sample, Frame { coordinates, classes: vec![-2., 0., 5.] })
    }

    fn at(rows: Rows<'_>, frame: &Frame, point: &[f64], curved: bool) -> Look {
        look(rows, frame, &[point.to_vec()], Stride::ALL, curved).expect("rows").finish().0.remove(0)
    }

    #[test]
    fn it_is_the_sum_over_rows() {
        for (n, p) in [(1, 1), (7, 3), (256, 8), (1000, 5)] {
            let (sample, frame) = sample(n, p);
            let q = p + 1;
            let point: Vec<f64> = (0..3 * q).map(|j| 0.6 * noise(j + 5)).collect();
            for weighted in [false, true] {
                let rows = sample.rows(weighted);
                let got = at(rows, &frame, &point, true);
                let (mut loss, mut gradient) = (0., vec![0.; 3 * q]);
                let mut hessian = Array2::<f64>::zeros((3 * q, 3 * q));
                for i in 0..n {
                    let working =
                        |j: usize| (rows.x[i * p + j] - frame.coordinates.centre[j]) / frame.coordinates.scale[j];
                    let z: Vec<f64> = std::iter::once(1.).chain((0..p).map(working)).collect();
                    let eta: Vec<f64> = point.chunks(q).map(|b| b.iter().zip(&z).map(|(b, z)| b * z).sum()).collect();
                    let total: f64 = eta.iter().map(|eta: &f64| eta.exp()).sum();
                    let own = frame.classes.iter().position(|class| *class == rows.y[i]).expect("a class");
                    let w = rows.weights.map_or(1., |weights| weights[i]);
                    loss += w * (total.ln() - eta[own]);
                    let p_of = |k: usize| eta[k].exp() / total;
                    for a in 0..3 * q {
                        let (k, j) = (a / q, a % q);
                        gradient[a] += w * (p_of(k) - f64::from(k == own)) * z[j];
                        for b in 0..3 * q {
                            let (l, m) = (b / q, b % q);
                            hessian[[a, b]] += w * p_of(k) * (f64::from(k == l) - p_of(l)) * z[j] * z[m];
                        }
                    }
                }
                let near = |a: f64, b: f64| (a - b).abs() < 1e-10 * (1. + b.abs());
                assert!(near(got.loss, loss), "{n} {p}: {} {loss}", got.loss);
                assert!(got.gradient.iter().zip(&gradient).all(|(a, b)| near(*a, *b)), "{n} {p}");
                for a in 0..3 * q {
                    for b in 0..=a {
                        assert!(near(got.hessian[a * (a + 1) / 2 + b], hessian[[a, b]]), "{n} {p} {a} {b}");
                    }
                }
                let plain = at(rows, &frame, &point, false);
                assert_eq!((plain.loss, plain.gradient, plain.hessian), (got.loss, got.gradient, Vec::new()));
            }
        }
    }

    #[test]
    fn any_cut_on_a_panel_border_gives_the_same_bits() {
        let (sample, frame) = sample(11 * PANEL + 17, 3);
        let points = [0.3, -0.7].map(|scale| (0..12).map(|j| scale * noise(j)).collect::<Vec<f64>>());
        let whole = sample.rows(true);
        for stride in [Stride::ALL, Stride(3)] {
            let joined = |rows: Rows<'_>| look(rows, &frame, &points, stride, true).expect("rows");
            for cut in [1, 4, 7, 11] {
                let (left, right) = (whole.slice(0..cut * PANEL), whole.slice(cut * PANEL..whole.y.len()));
                assert_eq!(joined(left).merge(joined(right)).finish(), joined(whole).finish(), "cut at {cut}");
                let found = classes(left).expect("rows").merge(classes(right).expect("rows")).finish();
                assert_eq!(found, classes(whole).expect("rows").finish());
            }
        }
    }

    #[test]
    fn classes_are_sorted_and_rows_without_weight_are_absent() {
        let (y, x, weights) = ([3., -0., 0., -7., 3., 9.], [0.; 6], [1., 2., 0.5, 1., 1., 0.]);
        let rows = Rows { weights: Some(&weights), ..Rows::plain(&x, &y, 1) };
        let found = classes(rows).expect("rows").finish();
        assert_eq!(found, Classes { weights: vec![(-7., 1.), (0., 2.5), (3., 2.)], bad: None });
        let y = [3., 0.5, f64::NAN, 0., 0., 0.];
        let found = classes(Rows { first_panel: 2, ..Rows::plain(&x, &y, 1) }).expect("rows").finish();
        assert_eq!(found.bad, Some(BadValue { row: 2 * PANEL + 1, place: Place::Y, value: 0.5 }));
    }

    #[test]
    fn overflow_is_no_loss_and_certainty_is_seen() {
        let (y, x) = ([0., 1.], [-1., 1.]);
        let frame = Frame {
            coordinates: Coordinates { centre: vec![0.], scale: vec![1.], has_intercept: true },
            classes: vec![0., 1.],
        };
        let rows = Rows::plain(&x, &y, 1);
        let at = |slope: f64| at(rows, &frame, &[0., 0., 0., slope], true);
        assert!(at(f64::MAX * 2.).loss.is_infinite());
        let far = at(50.);
        assert!(far.separated && far.n_saturated == 2 && far.loss > 0. && far.loss < 1e-20, "{far:?}");
        assert!(!at(-1.).separated && !at(0.).separated);
    }
}
