//! The quadratic model of a solver's step: its minimum under penalties and bounds.
//!
//! minimise g·(z - x) + (z - x)'H(z - x)/2 + Σ penalty_j(z_j), lower_j <= z_j <= upper_j. Without kinks and bounds it is
//! one Cholesky factorisation; with them coordinate descent on H finds which coefficients are free, and a
//! factorisation of their rows finds where they are, in turn until the optimality conditions hold.
//!
//! Sources: J. Friedman, T. Hastie, R. Tibshirani, "Regularization paths for generalized linear models via coordinate
//! descent" (2010), section 2.2 (covariance updates) and 2.6 (active sets); J. Nocedal, S. Wright, *Numerical
//! Optimization*, 2nd ed. (2006), section 16.5 (active-set steps that stop at the first bound).

use phalanx_array::{
    kernel::inlined::{axpy, dot},
    simd,
};

use crate::penalty::Weights;

/// A pivot below this share of its diagonal element is what rounding leaves of a column that others sum to.
const COLLINEAR: f64 = 1e-11;
/// Rounds of descent and factorisation.
const MAX_ROUNDS: usize = 300;
/// Coordinates above which descent does more between two factorisations.
const MANY: usize = 100;

/// A symmetric matrix: the lower triangle, row after row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packed<'a>(pub(crate) &'a [f64]);

/// Where the model is least.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Minimum {
    pub(crate) point: Vec<f64>,
    /// Coordinates that others sum to: they stay where they are.
    pub(crate) collinear: Vec<usize>,
}

impl Packed<'_> {
    pub(crate) fn at(self, i: usize, j: usize) -> f64 {
        let (i, j) = (i.max(j), i.min(j));
        self.0[i * (i + 1) / 2 + j]
    }

    /// All of it, row-major.
    pub(crate) fn square(self, size: usize) -> Vec<f64> {
        let mut square = vec![0.; size * size];
        for i in 0..size {
            for j in 0..=i {
                let value = self.0[i * (i + 1) / 2 + j];
                square[i * size + j] = value;
                square[j * size + i] = value;
            }
        }
        square
    }

    /// Its product with a vector.
    pub(crate) fn times(self, v: &[f64]) -> Vec<f64> {
        let mut out = vec![0.; v.len()];
        simd::dispatch(
            #[inline(always)]
            || {
                let mut place = 0;
                for i in 0..v.len() {
                    let row = &self.0[place..=place + i];
                    axpy(v[i], &row[..i], &mut out[..i]);
                    out[i] += dot(row, &v[..=i]);
                    place += i + 1;
                }
            },
        );
        out
    }

    /// Its rows and columns at some places, ascending.
    pub(crate) fn part(self, places: &[usize]) -> Vec<f64> {
        places.iter().enumerate().flat_map(|(n, &i)| places[..=n].iter().map(move |&j| self.at(i, j))).collect()
    }
}

/// A Cholesky factor of the rows that are not collinear with earlier ones.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cholesky {
    /// Row-major, lower; rows of collinear coordinates are zero.
    factor: Vec<f64>,
    size: usize,
    pub(crate) collinear: Vec<usize>,
}

impl Cholesky {
    /// Factorises `element(i, j)` for `j <= i < size`. A row whose pivot vanishes is left out, as R leaves out the
    /// later of two collinear columns.
    pub(crate) fn new(size: usize, element: impl Fn(usize, usize) -> f64) -> Self {
        let mut factor = vec![0.; size * size];
        let mut collinear = Vec::new();
        simd::dispatch(
            #[inline(always)]
            || {
                for i in 0..size {
                    let (above, row) = factor.split_at_mut(i * size);
                    let row = &mut row[..size];
                    for j in 0..i {
                        let other = &above[j * size..j * size + j + 1];
                        if other[j] > 0. {
                            row[j] = (element(i, j) - dot(&row[..j], &other[..j])) / other[j];
                        }
                    }
                    let diagonal = element(i, i);
                    let pivot = diagonal - dot(&row[..i], &row[..i]);
                    if pivot > COLLINEAR * diagonal && pivot.is_finite() {
                        row[i] = pivot.sqrt();
                    } else {
                        row.fill(0.);
                        collinear.push(i);
                    }
                }
            },
        );
        Self { factor, size, collinear }
    }

    /// The solution of the rows that were kept; zero elsewhere.
    pub(crate) fn solve(&self, b: &[f64]) -> Vec<f64> {
        let n = self.size;
        let mut x = b.to_vec();
        simd::dispatch(
            #[inline(always)]
            || {
                for i in 0..n {
                    let row = &self.factor[i * n..i * n + i + 1];
                    x[i] = if row[i] > 0. { (x[i] - dot(&row[..i], &x[..i])) / row[i] } else { 0. };
                }
                for i in (0..n).rev() {
                    let pivot = self.factor[i * n + i];
                    if pivot > 0. {
                        x[i] /= pivot;
                        let value = x[i];
                        axpy(-value, &self.factor[i * n..i * n + i], &mut x[..i]);
                    }
                }
            },
        );
        x
    }

    /// The factor's lower triangle, row after row.
    pub(crate) fn packed(&self) -> Vec<f64> {
        (0..self.size).flat_map(|i| &self.factor[i * self.size..=i * self.size + i]).copied().collect()
    }

    /// The inverse of the rows that were kept, packed; NaN in rows and columns that were not.
    pub(crate) fn inverse(&self) -> Vec<f64> {
        let n = self.size;
        let mut packed = vec![f64::NAN; n * (n + 1) / 2];
        for j in (0..n).filter(|j| !self.collinear.contains(j)) {
            let mut unit = vec![0.; n];
            unit[j] = 1.;
            let column = self.solve(&unit);
            for i in (j..n).filter(|i| !self.collinear.contains(i)) {
                packed[i * (i + 1) / 2 + j] = column[i];
            }
        }
        packed
    }
}

/// The ratio of the largest to the smallest eigenvalue of a positive matrix, collinear and empty coordinates left
/// out; by power iteration, to a few per cent.
pub(crate) fn condition(hessian: Packed<'_>, size: usize) -> Option<f64> {
    let diagonal: Vec<usize> = (0..size).filter(|&j| hessian.at(j, j) > 0.).collect();
    let element = |i: usize, j: usize| hessian.at(diagonal[i], diagonal[j]);
    let cholesky = Cholesky::new(diagonal.len(), element);
    let kept = diagonal.len() - cholesky.collinear.len();
    if kept == 0 {
        return None;
    }
    let start: Vec<f64> = (0..diagonal.len())
        .map(|j| if cholesky.collinear.contains(&j) { 0. } else { 1. + 0.1 * (j % 7) as f64 })
        .collect();
    let largest = power(start.clone(), |v| {
        let mut out: Vec<f64> = (0..v.len()).map(|i| (0..v.len()).map(|j| element(i, j) * v[j]).sum()).collect();
        cholesky.collinear.iter().for_each(|&j| out[j] = 0.);
        out
    });
    let smallest = power(start, |v| cholesky.solve(v));
    Some((largest * smallest).max(1.))
}

fn power(mut v: Vec<f64>, apply: impl Fn(&[f64]) -> Vec<f64>) -> f64 {
    let mut value = 0.;
    for _ in 0..40 {
        let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
        v.iter_mut().for_each(|x| *x /= norm);
        let next = apply(&v);
        value = next.iter().zip(&v).map(|(a, b)| a * b).sum();
        v = next;
    }
    value
}

/// Where the model around `x` is least.
pub(crate) fn minimise(hessian: Packed<'_>, gradient: &[f64], x: &[f64], weights: &[Weights]) -> Minimum {
    if weights.iter().all(|w| w.is_smooth()) {
        let element = |i: usize, j: usize| hessian.at(i, j) + if i == j { weights[i].l2 } else { 0. };
        let cholesky = Cholesky::new(x.len(), element);
        let down: Vec<f64> = (0..x.len()).map(|j| -(gradient[j] + weights[j].l2 * x[j])).collect();
        let step = cholesky.solve(&down);
        let point = x.iter().zip(step).map(|(x, d)| x + d).collect();
        return Minimum { point, collinear: cholesky.collinear };
    }
    Descent::new(hessian, gradient, x, weights).run()
}

/// The same over some coordinates, ascending, while the others stay.
pub(crate) fn minimise_some(
    hessian: Packed<'_>,
    gradient: &[f64],
    x: &[f64],
    weights: &[Weights],
    live: &[usize],
) -> Minimum {
    let of = |all: &[f64]| live.iter().map(|&j| all[j]).collect::<Vec<_>>();
    let weights: Vec<_> = live.iter().map(|&j| weights[j]).collect();
    let found = minimise(hessian, &of(gradient), &of(x), &weights);
    let mut point = x.to_vec();
    live.iter().zip(found.point).for_each(|(&j, t)| point[j] = t);
    Minimum { point, collinear: found.collinear.into_iter().map(|place| live[place]).collect() }
}

struct Descent<'a> {
    hessian: Vec<f64>,
    weights: &'a [Weights],
    z: Vec<f64>,
    /// The gradient of the smooth part at z.
    slope: Vec<f64>,
    /// What a violation is small against.
    small: f64,
}

impl<'a> Descent<'a> {
    fn new(hessian: Packed<'_>, gradient: &[f64], x: &[f64], weights: &'a [Weights]) -> Self {
        let hessian = hessian.square(x.len());
        let steepest = gradient.iter().fold(0_f64, |most, g| most.max(g.abs()));
        // What rounds in a product of H and z.
        let size = x.len();
        let rounding = (0..size).map(|j| hessian[j * size + j] * x[j].abs()).fold(steepest, f64::max);
        let mut descent = Self {
            hessian,
            weights,
            z: x.to_vec(),
            slope: gradient.to_vec(),
            small: 1e-14 * rounding.max(f64::MIN_POSITIVE),
        };
        // Where a penalty or bound has changed since x was found.
        for j in 0..x.len() {
            let within = x[j].clamp(weights[j].lower, weights[j].upper);
            descent.set(j, within);
        }
        descent
    }

    fn diagonal(&self, j: usize) -> f64 {
        self.hessian[j * self.z.len() + j]
    }

    fn set(&mut self, j: usize, value: f64) {
        let change = value - self.z[j];
        if change != 0. {
            self.z[j] = value;
            let size = self.z.len();
            let row = &self.hessian[j * size..(j + 1) * size];
            self.slope.iter_mut().zip(row).for_each(|(slope, h)| *slope += change * h);
        }
    }

    fn sweep(&mut self, of: impl Fn(&Self, usize) -> bool) {
        for j in 0..self.z.len() {
            let curvature = self.diagonal(j);
            if curvature > 0. && of(self, j) {
                let best = self.weights[j].prox(self.z[j] - self.slope[j] / curvature, curvature);
                self.set(j, best);
            }
        }
    }

    fn violation(&self) -> f64 {
        let violation = |j: usize| {
            let there = self.diagonal(j) > 0.;
            if there { self.weights[j].violation(self.z[j], self.slope[j]) } else { 0. }
        };
        (0..self.z.len()).map(violation).fold(0., f64::max)
    }

    /// Whether the penalty is smooth where the coordinate is, so that it may move both ways.
    fn is_free(&self, j: usize) -> bool {
        let w = self.weights[j];
        self.diagonal(j) > 0. && (w.l1 == 0. || self.z[j] != 0.) && self.z[j] > w.lower && self.z[j] < w.upper
    }

    fn run(mut self) -> Minimum {
        let mut collinear = Vec::new();
        let mut last = f64::INFINITY;
        let mut stalled = 0;
        for _ in 0..MAX_ROUNDS {
            self.sweep(|_, _| true);
            // A factorisation of many coordinates costs as much as many sweeps, which settle most signs.
            for _ in 0..if self.z.len() > MANY { 30 } else { 3 } {
                self.sweep(Self::is_free);
            }
            collinear = self.settle();
            let violation = self.violation();
            if violation <= self.small {
                break;
            }
            // Rounding ends the progress where the tolerance does not.
            stalled = if violation > 0.5 * last { stalled + 1 } else { 0 };
            if stalled >= 20 && violation <= 1e3 * self.small {
                break;
            }
            last = last.min(violation);
        }
        self.clear();
        Minimum { point: self.z, collinear }
    }

    /// Sets to 0 what only rounding keeps from it, as of one of two columns that are each other's copies.
    fn clear(&mut self) {
        let tiny = 1e-13 * self.z.iter().skip(1).fold(0_f64, |most, z| most.max(z.abs()));
        for j in 0..self.z.len() {
            let w = self.weights[j];
            if w.l1 > 0. && self.z[j] != 0. && self.z[j].abs() <= tiny {
                let was = self.z[j];
                self.set(j, 0.);
                if w.violation(0., self.slope[j]) > 1e-9 * w.l1 {
                    self.set(j, was);
                }
            }
        }
    }

    /// Goes to the minimum over the free coordinates, or as far as to the first kink or bound, again and again; the
    /// coordinates that are collinear with others.
    fn settle(&mut self) -> Vec<usize> {
        let size = self.z.len();
        for _ in 0..size + 1 {
            let free: Vec<usize> = (0..size).filter(|&j| self.is_free(j)).collect();
            let element = |a: usize, b: usize| {
                let (i, j) = (free[a], free[b]);
                self.hessian[i * size + j] + if i == j { self.weights[i].l2 } else { 0. }
            };
            let cholesky = Cholesky::new(free.len(), element);
            let down = |&j: &usize| {
                let w = self.weights[j];
                let kink = if w.l1 > 0. { w.l1.copysign(self.z[j]) } else { 0. };
                -(self.slope[j] + w.l2 * self.z[j] + kink)
            };
            let step = cholesky.solve(&free.iter().map(down).collect::<Vec<_>>());
            // How far until a coordinate ends, and where it ends.
            let end = |(&j, &d): (&usize, &f64)| {
                let (w, z) = (self.weights[j], self.z[j]);
                let wall = if d > 0. {
                    if w.l1 > 0. && z < 0. { w.upper.min(0.) } else { w.upper }
                } else if w.l1 > 0. && z > 0. {
                    w.lower.max(0.)
                } else {
                    w.lower
                };
                let share = (wall - z) / d;
                (share < 1.).then_some((share, j, wall))
            };
            let first = free.iter().zip(&step).filter(|(_, d)| **d != 0.).filter_map(end);
            let first = first.min_by(|a, b| a.0.total_cmp(&b.0));
            let share = first.map_or(1., |(share, ..)| share);
            for (&j, d) in free.iter().zip(&step) {
                let value = self.z[j] + share * d;
                self.set(j, value);
            }
            match first {
                Some((_, j, wall)) => {
                    self.set(j, wall);
                    if free.len() > MANY {
                        return cholesky.collinear.iter().map(|&place| free[place]).collect();
                    }
                }
                None => return cholesky.collinear.iter().map(|&place| free[place]).collect(),
            }
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::penalty::Penalty;

    /// A positive matrix with strong correlations.
    fn matrix(n: usize) -> Vec<f64> {
        let element = |i: usize, j: usize| 0.9_f64.powi(i.abs_diff(j) as i32) * (1. + i as f64) * (1. + j as f64);
        (0..n).flat_map(|i| (0..=i).map(move |j| element(i, j))).collect()
    }

    fn weights(n: usize, weights: Weights) -> Vec<Weights> {
        std::iter::once(Weights::default()).chain(vec![weights; n - 1]).collect()
    }

    #[test]
    fn the_minimum_has_no_violation() {
        for n in [2, 5, 30] {
            let packed = matrix(n);
            let hessian = Packed(&packed);
            let gradient: Vec<f64> = (0..n).map(|j| ((j * 37 + 5) % 11) as f64 - 5.).collect();
            let x: Vec<f64> = (0..n).map(|j| 0.1 * ((j * 13) % 7) as f64 - 0.3).collect();
            let net = Penalty::elastic_net(1.5, 0.7).weights(0, 1.);
            let bounded = Weights { lower: -0.05, upper: 0.02, ..Weights::default() };
            let positive = Weights { lower: 0., ..net };
            for w in [Weights::default(), Weights { l2: 2., ..Weights::default() }, net, bounded, positive] {
                let weights = weights(n, w);
                let found = minimise(hessian, &gradient, &x, &weights);
                let step: Vec<f64> = found.point.iter().zip(&x).map(|(z, x)| z - x).collect();
                let slope: Vec<f64> = hessian.times(&step).iter().zip(&gradient).map(|(h, g)| h + g).collect();
                for j in 0..n {
                    let violation = weights[j].violation(found.point[j], slope[j]);
                    assert!(violation < 1e-10, "{n} {w:?} {j}: {violation}");
                    assert!((weights[j].lower..=weights[j].upper).contains(&found.point[j]));
                }
                assert_eq!(found.collinear, Vec::<usize>::new());
            }
        }
    }

    #[test]
    fn the_later_of_collinear_coordinates_is_left_out() {
        // Coordinate 2 is the sum of 0 and 1.
        let rows = [[1., 0., 1.], [0., 1., 1.], [2., 1., 3.], [0.5, -1., -0.5]];
        let element = |i: usize, j: usize| rows.iter().map(|row| row[i] * row[j]).sum::<f64>();
        let packed: Vec<f64> = (0..3).flat_map(|i| (0..=i).map(move |j| element(i, j))).collect();
        let found = minimise(Packed(&packed), &[1., 1., 2.], &[0.; 3], &[Weights::default(); 3]);
        assert_eq!((found.collinear, found.point[2]), (vec![2], 0.));
        let inverse = Cholesky::new(3, element).inverse();
        assert!(inverse[3..].iter().all(|x| x.is_nan()) && inverse[..3].iter().all(|x| x.is_finite()));
        // A penalty tells them apart.
        let ridge = minimise(Packed(&packed), &[1., 1., 2.], &[0.; 3], &[Weights { l2: 0.1, ..Weights::default() }; 3]);
        assert!(ridge.collinear.is_empty() && ridge.point[2] < 0.);
    }

    #[test]
    fn a_coordinate_without_curvature_stays() {
        let lasso = weights(3, Penalty::elastic_net(0.1, 1.).weights(0, 1.));
        let found = minimise(Packed(&[1., 0., 0., 0., 0., 2.]), &[1., 0., 4.], &[0.; 3], &lasso);
        assert!((found.point[0] + 1.).abs() < 1e-15 && found.point[1] == 0. && (found.point[2] + 1.95).abs() < 1e-15);
    }

    #[test]
    fn the_condition_is_the_ratio_of_eigenvalues() {
        let found = condition(Packed(&[4., 0., 1., 0., 0., 0.25]), 3).expect("positive");
        assert!((found - 16.).abs() < 0.01, "{found}");
        assert_eq!(condition(Packed(&[0.]), 1), None);
    }
}
