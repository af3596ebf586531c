//! An exact solver of a few rows' kinked losses under a penalty, in memory: a primal-dual interior point.
//!
//! minimise over s: Σ_i (up_i u_i + down_i v_i) + s'Qs/2 + c's, where u - v = r - A s, u and v not below 0, Q diagonal.
//! Its dual has a number d_i within [-down_i, up_i] for each row, and A'd = Q s + c. A penalty's kink is a row with one
//! coefficient, and a bound is one with an infinite cost on its other side. Knows no data, no coordinates and no units.
//!
//! Sources: R. Portnoy, R. Koenker, "The Gaussian hare and the Laplacian tortoise" (1997), section 4, for quantile
//! regression's interior point; S. Mehrotra, "On the implementation of a primal-dual interior point method" (1992),
//! for predictor and corrector.

use super::model::Cholesky;

/// Steps at most; 20 to 40 are the rule.
const MAX_STEPS: usize = 100;
/// Steps without a better point after which there is none.
const PATIENCE: usize = 10;
/// The share of the way to the border that a step goes.
const SHARE: f64 = 0.9995;
/// What is left of the objective where digits end.
const ENOUGH: f64 = 1e-15;

/// What a row costs, and where its kink is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kink {
    /// Its residual at s = 0.
    pub(super) residual: f64,
    /// The cost of a residual above 0, by its size; infinite where there may be none.
    pub(super) up: f64,
    /// The same of one below 0.
    pub(super) down: f64,
}

/// The problem. Numbers are best near 1.
#[derive(Debug)]
pub(super) struct Problem<'a> {
    /// Rows of A, each as long as s.
    pub(super) rows: Vec<&'a [f64]>,
    /// Of each row, and then of each of `units`.
    pub(super) kinks: Vec<Kink>,
    /// Further rows, with a 1 at this place.
    pub(super) units: Vec<usize>,
    /// Q.
    pub(super) bend: Vec<f64>,
    /// c.
    pub(super) linear: Vec<f64>,
    /// The size of what the objective is part of.
    pub(super) size: f64,
}

/// A point, not on the border.
#[derive(Debug, Clone)]
struct Point {
    s: Vec<f64>,
    u: Vec<f64>,
    v: Vec<f64>,
    d: Vec<f64>,
}

impl Problem<'_> {
    /// The best s found, and d of each row that is not one of `units`.
    pub(super) fn solve(&self) -> (Vec<f64>, Vec<f64>) {
        let mut at = self.begin();
        let (mut best, mut least, mut since) = (at.clone(), f64::INFINITY, 0);
        for _ in 0..MAX_STEPS {
            let (off_primal, off_dual) = (self.off_primal(&at), self.off_dual(&at));
            let merit = self.merit(&at, &off_primal, &off_dual);
            if merit < least {
                (best, least, since) = (at.clone(), merit, 0);
            } else {
                since += 1;
            }
            if !merit.is_finite() || least <= ENOUGH * self.size || since >= PATIENCE {
                break;
            }
            at = self.step(at, &off_primal, &off_dual);
        }
        best.d.truncate(self.rows.len());
        (best.s, best.d)
    }

    fn begin(&self) -> Point {
        let n = self.kinks.len().max(1) as f64;
        let typical = (self.kinks.iter().map(|kink| kink.residual.abs()).sum::<f64>() / n).max(f64::MIN_POSITIVE);
        let side = |cost: f64, part: f64| if cost < f64::INFINITY { part.max(0.) + typical } else { 0. };
        let middle = |kink: &Kink| match (kink.up < f64::INFINITY, kink.down < f64::INFINITY) {
            (true, false) => kink.up - 1.,
            (false, true) => 1. - kink.down,
            _ => 0.,
        };
        Point {
            s: vec![0.; self.linear.len()],
            u: self.kinks.iter().map(|kink| side(kink.up, kink.residual)).collect(),
            v: self.kinks.iter().map(|kink| side(kink.down, -kink.residual)).collect(),
            d: self.kinks.iter().map(middle).collect(),
        }
    }

    /// A s.
    fn times(&self, s: &[f64]) -> Vec<f64> {
        let dot = |row: &&[f64]| row.iter().zip(s).map(|(a, s)| a * s).sum();
        self.rows.iter().map(dot).chain(self.units.iter().map(|&j| s[j])).collect()
    }

    /// A'd.
    fn transposed(&self, d: &[f64]) -> Vec<f64> {
        let mut sums = vec![0.; self.linear.len()];
        for (row, d) in self.rows.iter().zip(d) {
            sums.iter_mut().zip(*row).for_each(|(sum, a)| *sum += a * d);
        }
        self.units.iter().zip(&d[self.rows.len()..]).for_each(|(&j, d)| sums[j] += d);
        sums
    }

    /// What the constraints u - v = r - A s lack.
    fn off_primal(&self, at: &Point) -> Vec<f64> {
        let of_s = self.times(&at.s);
        (0..self.kinks.len()).map(|i| self.kinks[i].residual - of_s[i] - at.u[i] + at.v[i]).collect()
    }

    /// What A'd = Q s + c lacks.
    fn off_dual(&self, at: &Point) -> Vec<f64> {
        let of_d = self.transposed(&at.d);
        (0..of_d.len()).map(|j| of_d[j] - self.bend[j] * at.s[j] - self.linear[j]).collect()
    }

    /// Sum of the products of each side with its slack in the dual: the gap, where the constraints hold.
    fn gap(&self, at: &Point) -> f64 {
        let sides = self.kinks.iter().enumerate().map(|(i, kink)| {
            let up = if kink.up < f64::INFINITY { at.u[i] * (kink.up - at.d[i]) } else { 0. };
            let down = if kink.down < f64::INFINITY { at.v[i] * (kink.down + at.d[i]) } else { 0. };
            up + down
        });
        sides.sum()
    }

    fn merit(&self, at: &Point, off_primal: &[f64], off_dual: &[f64]) -> f64 {
        let cost = |kink: &Kink| match (kink.up < f64::INFINITY, kink.down < f64::INFINITY) {
            (true, true) => kink.up.max(kink.down),
            _ => 1.,
        };
        let primal: f64 = off_primal.iter().zip(&self.kinks).map(|(off, kink)| off.abs() * cost(kink)).sum();
        let dual: f64 = off_dual.iter().zip(&at.s).map(|(off, s)| off.abs() * (1. + s.abs())).sum();
        self.gap(at) + primal + dual
    }

    /// One step of predictor and corrector.
    fn step(&self, at: Point, off_primal: &[f64], off_dual: &[f64]) -> Point {
        let n = self.kinks.len();
        let thick: Vec<f64> = (0..n)
            .map(|i| {
                let kink = self.kinks[i];
                let up = if kink.up < f64::INFINITY { at.u[i] / (kink.up - at.d[i]) } else { 0. };
                let down = if kink.down < f64::INFINITY { at.v[i] / (kink.down + at.d[i]) } else { 0. };
                (up + down).max(f64::MIN_POSITIVE)
            })
            .collect();
        let factor = self.factor(&thick);
        let none = vec![0.; n];
        let guess = self.direction(&at, &factor, &thick, off_primal, off_dual, [&none, &none]);
        let sides = self.kinks.iter().map(|k| usize::from(k.up < f64::INFINITY) + usize::from(k.down < f64::INFINITY));
        let n_sides = sides.sum::<usize>().max(1) as f64;
        let centre = self.gap(&at) / n_sides;
        let ahead = self.gap(&self.moved(&at, &guess, 1.)) / n_sides;
        let target = (ahead / centre).clamp(0., 1.).powi(3) * centre;
        let up: Vec<f64> = (0..n).map(|i| target + guess.u[i] * guess.d[i]).collect();
        let down: Vec<f64> = (0..n).map(|i| target - guess.v[i] * guess.d[i]).collect();
        let step = self.direction(&at, &factor, &thick, off_primal, off_dual, [&up, &down]);
        self.moved(&at, &step, SHARE)
    }

    /// Of Q + A' diag(1 / thick) A.
    fn factor(&self, thick: &[f64]) -> Cholesky {
        let size = self.linear.len();
        let mut matrix = vec![0.; size * size];
        for (row, thick) in self.rows.iter().zip(thick) {
            for (i, a) in row.iter().enumerate() {
                let share = a / thick;
                matrix[i * size..=i * size + i].iter_mut().zip(*row).for_each(|(sum, b)| *sum += share * b);
            }
        }
        (0..size).for_each(|j| matrix[j * size + j] += self.bend[j]);
        self.units.iter().zip(&thick[self.rows.len()..]).for_each(|(&j, thick)| matrix[j * size + j] += 1. / thick);
        Cholesky::new(size, |i, j| matrix[i * size + j])
    }

    /// Newton's step to where the products of sides and slacks are those given.
    fn direction(
        &self,
        at: &Point,
        factor: &Cholesky,
        thick: &[f64],
        off_primal: &[f64],
        off_dual: &[f64],
        [up, down]: [&[f64]; 2],
    ) -> Point {
        let n = self.kinks.len();
        let pull: Vec<[f64; 2]> = (0..n)
            .map(|i| {
                let kink = self.kinks[i];
                let above = if kink.up < f64::INFINITY { up[i] / (kink.up - at.d[i]) - at.u[i] } else { 0. };
                let below = if kink.down < f64::INFINITY { down[i] / (kink.down + at.d[i]) - at.v[i] } else { 0. };
                [above, below]
            })
            .collect();
        let open: Vec<f64> = (0..n).map(|i| (off_primal[i] - pull[i][0] + pull[i][1]) / thick[i]).collect();
        let mut right = self.transposed(&open);
        right.iter_mut().zip(off_dual).for_each(|(right, off)| *right += off);
        let s = factor.solve(&right);
        let of_s = self.times(&s);
        let d: Vec<f64> = (0..n).map(|i| open[i] - of_s[i] / thick[i]).collect();
        let side = |i: usize, cost: f64, pull: f64, slack: f64, part: f64, turn: f64| {
            if cost < f64::INFINITY { pull + turn * part * d[i] / slack } else { 0. }
        };
        let u = (0..n).map(|i| side(i, self.kinks[i].up, pull[i][0], self.kinks[i].up - at.d[i], at.u[i], 1.));
        let v = (0..n).map(|i| side(i, self.kinks[i].down, pull[i][1], self.kinks[i].down + at.d[i], at.v[i], -1.));
        Point { u: u.collect(), v: v.collect(), s, d }
    }

    /// As far along as the borders allow, times `share` of it; both sides alike where Q ties them together.
    fn moved(&self, at: &Point, step: &Point, share: f64) -> Point {
        let limit = |room: f64, by: f64| if by < 0. { -room / by } else { f64::INFINITY };
        let (mut primal, mut dual) = (f64::INFINITY, f64::INFINITY);
        for (i, kink) in self.kinks.iter().enumerate() {
            if kink.up < f64::INFINITY {
                primal = primal.min(limit(at.u[i], step.u[i]));
                dual = dual.min(limit(kink.up - at.d[i], -step.d[i]));
            }
            if kink.down < f64::INFINITY {
                primal = primal.min(limit(at.v[i], step.v[i]));
                dual = dual.min(limit(kink.down + at.d[i], step.d[i]));
            }
        }
        let (mut primal, mut dual) = ((share * primal).min(1.), (share * dual).min(1.));
        if self.bend.iter().any(|bend| *bend > 0.) {
            primal = primal.min(dual);
            dual = primal;
        }
        let along = |at: &[f64], step: &[f64], by: f64| {
            at.iter().zip(step).map(|(at, step)| at + by * step).collect::<Vec<_>>()
        };
        Point {
            s: along(&at.s, &step.s, primal),
            u: along(&at.u, &step.u, primal),
            v: along(&at.v, &step.v, primal),
            d: along(&at.d, &step.d, dual),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kink(residual: f64, up: f64, down: f64) -> Kink {
        Kink { residual, up, down }
    }

    #[test]
    fn a_weighted_median_is_found_with_its_dual() {
        let rows: Vec<&[f64]> = vec![&[1.]; 5];
        let kinks = [3., -1., 10., 0.5, 2.].map(|r| kink(r, 0.5, 0.5)).to_vec();
        let problem = Problem { rows, kinks, units: Vec::new(), bend: vec![0.], linear: vec![0.], size: 10. };
        let (s, d) = problem.solve();
        assert!((s[0] - 2.).abs() < 1e-12, "{s:?}");
        for (d, expected) in d.iter().zip([0.5, -0.5, 0.5, -0.5, 0.]) {
            assert!((d - expected).abs() < 1e-10, "{d} {expected}");
        }
    }

    #[test]
    fn kinks_bounds_and_parabolas_hold_a_coefficient() {
        let found = |units: Vec<usize>, more: &[Kink], bend: f64| {
            let kinks = [1., 2., 3.].map(|r| kink(r, 1., 1.)).iter().chain(more).copied().collect();
            let rows: Vec<&[f64]> = vec![&[1.]; 3];
            Problem { rows, kinks, units, bend: vec![bend], linear: vec![0.], size: 10. }.solve().0[0]
        };
        assert!((found(vec![], &[], 0.) - 2.).abs() < 1e-12);
        // |s| times 4 is more than the rows pull, and times 2 is not.
        assert!(found(vec![0], &[kink(0., 4., 4.)], 0.).abs() < 1e-12);
        assert!((found(vec![0], &[kink(0., 2., 2.)], 0.) - 1.).abs() < 1e-12);
        // s at most 1.5: a residual 1.5 - s below 0 has no price.
        assert!((found(vec![0], &[kink(1.5, 0., f64::INFINITY)], 0.) - 1.5).abs() < 1e-9);
        // Between the kinks at 1 and 2 the rows pull by 1.
        assert!((found(vec![], &[], 1. / 1.5) - 1.5).abs() < 1e-9);
    }
}
