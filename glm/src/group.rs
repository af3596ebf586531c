//! The group lasso: columns that come into the model together, or not at all.
//!
//! A group holds the L1 part of its columns' penalty, `weight · |(units · b)|` with the Euclidean norm; the L2 part
//! stays with each column's [`Weights`]. Knows nothing of data.
//!
//! Sources: M. Yuan, Y. Lin, "Model selection and estimation in regression with grouped variables" (2006), equation
//! 2.1, whose kernel is p times the identity: hence the root of a group's size; J. Moré, D. Sorensen, "Computing a
//! trust region step" (1983), section 3, for the root of the proximal step's equation.

use serde::{Deserialize, Serialize};

use crate::penalty::{Penalty, Weights};

/// Two columns or more that are penalised together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Group {
    /// Where its coordinates are.
    pub(crate) members: Vec<usize>,
    /// What each coordinate is multiplied by in the norm, above 0.
    units: Vec<f64>,
    /// What the norm is multiplied by, above 0.
    pub(crate) weight: f64,
}

impl Penalty {
    /// The groups of two columns and more that have an L1 part, in the data's units; `deviations` are the columns'
    /// standard deviations. A column without spread has no say in its group's norm.
    pub(crate) fn groups(&self, deviations: &[f64]) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut names = Vec::new();
        for (column, name) in self.groups.iter().enumerate() {
            let place = names.iter().position(|known| known == name).unwrap_or_else(|| {
                names.push(*name);
                let factor = self.factors.get(column).copied().unwrap_or(1.);
                let weight = factor * self.alpha * self.l1_ratio;
                groups.push(Group { members: Vec::new(), units: Vec::new(), weight });
                names.len() - 1
            });
            groups[place].members.push(column);
            groups[place].units.push(if self.standardize { deviations[column] } else { 1. });
        }
        groups.retain(|group| group.members.len() > 1 && group.weight > 0.);
        for group in &mut groups {
            group.weight *= (group.members.len() as f64).sqrt();
        }
        groups
    }

    /// Whether a column's L1 part is its group's.
    pub(crate) fn is_grouped(&self, column: usize) -> bool {
        let name = self.groups.get(column);
        name.is_some() && self.groups.iter().filter(|other| Some(*other) == name).nth(1).is_some()
    }
}

impl Group {
    /// One coordinate, for which the norm is the absolute value.
    pub(crate) fn single(coordinate: usize, weight: f64) -> Self {
        Self { members: vec![coordinate], units: vec![1.], weight }
    }

    /// The same in working coordinates, where column j is coordinate j + 1 and was divided by its scale; none where
    /// no column has spread.
    pub(crate) fn working(&self, scale: &[f64]) -> Option<Self> {
        let live = self.members.iter().zip(&self.units).filter(|(column, unit)| scale[**column] > 0. && **unit > 0.);
        let (members, units): (Vec<_>, Vec<_>) = live.map(|(column, unit)| (column + 1, unit / scale[*column])).unzip();
        (!members.is_empty()).then_some(Self { members, units, weight: self.weight })
    }

    /// |units · point|.
    pub(crate) fn norm(&self, point: &[f64]) -> f64 {
        self.live(point).map(|(unit, t)| (unit * t).powi(2)).sum::<f64>().sqrt()
    }

    pub(crate) fn value(&self, point: &[f64]) -> f64 {
        self.weight * self.norm(point)
    }

    /// The norm that is dual to the group's, of a gradient: with all coordinates 0 it is what the weight must reach.
    pub(crate) fn dual_norm(&self, gradient: &[f64]) -> f64 {
        self.live(gradient).map(|(unit, g)| (g / unit).powi(2)).sum::<f64>().sqrt()
    }

    /// The minimiser over the group of `Σ l2/2 t² + weight |units · t| + curvature/2 |t - v|²`, `v` being the members'.
    ///
    /// Where it is not 0 its norm n solves `Σ (unit curvature v / (weight unit² + n (l2 + curvature)))² = 1`; the
    /// inverse root of the left side is concave in n, so Newton's steps from 0 climb to the solution.
    pub(crate) fn prox(&self, v: &[f64], curvature: f64, weights: &[Weights]) -> Vec<f64> {
        let l2 = |place: usize| weights[self.members[place]].l2;
        let terms: Vec<[f64; 3]> = (0..v.len())
            .map(|i| [self.units[i] * curvature * v[i], self.weight * self.units[i].powi(2), l2(i) + curvature])
            .collect();
        let sums = |n: f64| {
            terms.iter().fold([0.; 2], |[square, slope], [top, fixed, grows]| {
                let bottom = fixed + n * grows;
                let share = (top / bottom).powi(2);
                [square + share, slope + share * grows / bottom]
            })
        };
        if sums(0.)[0] <= 1. {
            return vec![0.; v.len()];
        }
        let mut n = 0.;
        for _ in 0..100 {
            let [square, slope] = sums(n);
            let step = square * (1. - square.sqrt().recip()) * square.sqrt() / slope;
            if step.is_nan() || step <= 1e-16 * n {
                break;
            }
            n += step;
        }
        (0..v.len()).map(|i| curvature * v[i] * n / (terms[i][2] * n + terms[i][1])).collect()
    }

    /// How far each member is from optimal, for the subgradient of least such distance where the group is 0.
    pub(crate) fn violations(&self, point: &[f64], gradient: &[f64], weights: &[Weights]) -> Vec<f64> {
        let norm = self.norm(point);
        let places = self.members.iter().zip(&self.units);
        if norm == 0. {
            let kept = (1. - self.weight / self.dual_norm(gradient)).max(0.);
            // Of no gradient at all the quotient says nothing.
            let kept = if kept.is_nan() { 0. } else { kept };
            return places.map(|(&j, _)| (kept * gradient[j]).abs()).collect();
        }
        places
            .map(|(&j, unit)| {
                let pull = weights[j].l2 + self.weight * unit * unit / norm;
                (gradient[j] + pull * point[j]).abs()
            })
            .collect()
    }

    /// The gradient of the norm's part and its second derivatives, row-major, where the group is not 0.
    pub(crate) fn bend(&self, point: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let norm = self.norm(point);
        let share = self.weight / norm;
        let along: Vec<f64> = self.live(point).map(|(unit, t)| unit * unit * t).collect();
        let gradient = along.iter().map(|a| share * a).collect();
        let n = along.len();
        let element = |i: usize, j: usize| {
            let own = if i == j { self.units[i].powi(2) } else { 0. };
            share * (own - along[i] / norm * (along[j] / norm))
        };
        (gradient, (0..n * n).map(|place| element(place / n, place % n)).collect())
    }

    /// The L2 weight over the square of the unit, which is one number for all members.
    pub(crate) fn l2(&self, weights: &[Weights]) -> f64 {
        weights[self.members[0]].l2 / self.units[0].powi(2)
    }

    fn live<'a>(&'a self, numbers: &'a [f64]) -> impl Iterator<Item = (f64, f64)> + 'a {
        self.units.iter().zip(&self.members).map(|(unit, &j)| (*unit, numbers[j]))
    }
}

/// How far each coordinate is from optimal under its own penalty, or under its group's.
pub(crate) fn violations(weights: &[Weights], groups: &[Group], point: &[f64], gradient: &[f64]) -> Vec<f64> {
    let own = weights.iter().zip(point).zip(gradient);
    let mut violations: Vec<f64> = own.map(|((w, &t), &g)| w.violation(t, g)).collect();
    for group in groups {
        for (&j, violation) in group.members.iter().zip(group.violations(point, gradient, weights)) {
            violations[j] = violation;
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn penalty(standardize: bool) -> Penalty {
        Penalty { groups: vec![7, 3, 7, 3, 1], standardize, ..Penalty::elastic_net(0.5, 0.8) }
    }

    #[test]
    fn columns_of_one_number_are_a_group_and_a_column_alone_is_none() {
        let groups = penalty(true).groups(&[1., 2., 3., 4., 5.]);
        let weight = 0.5 * 0.8 * 2_f64.sqrt();
        let group =
            |members: [usize; 2], units: [f64; 2]| Group { members: members.into(), units: units.into(), weight };
        assert_eq!(groups, [group([0, 2], [1., 3.]), group([1, 3], [2., 4.])]);
        assert_eq!([0, 1, 4].map(|column| penalty(true).is_grouped(column)), [true, true, false]);
        assert_eq!(
            groups[0].working(&[2., 1., 0., 1., 1.]),
            Some(Group { members: vec![1], units: vec![0.5], weight })
        );
        assert!(Penalty { l1_ratio: 0., ..penalty(false) }.groups(&[1.; 5]).is_empty());
    }

    /// No point near by is better, and the violation is 0 there.
    #[test]
    fn the_proximal_step_is_the_minimum() {
        let group = Group { members: vec![2, 0], units: vec![0.7, 3.], weight: 0.9 };
        let weights = [
            Weights { l2: 0.3 * 9., ..Weights::default() },
            Weights::default(),
            Weights { l2: 0.3 * 0.49, ..Weights::default() },
        ];
        assert!((group.l2(&weights) - 0.3).abs() < 1e-15);
        for v in [[0.1, 0.2], [5., -0.3], [-1., 2.], [0., 40.], [1e-3, 0.91 * 3. / 1.7]] {
            let curvature = 1.7;
            let best = group.prox(&v, curvature, &weights);
            let point = |t: [f64; 2]| [t[1], 0., t[0]];
            let cost = |t: [f64; 2]| {
                let at = point(t);
                let ridge: f64 = weights.iter().zip(at).map(|(w, t)| 0.5 * w.l2 * t * t).sum();
                let far: f64 = t.iter().zip(v).map(|(t, v)| (t - v).powi(2)).sum();
                ridge + group.value(&at) + 0.5 * curvature * far
            };
            let best = [best[0], best[1]];
            for step in [[1e-4, 0.], [0., 1e-4], [-1e-4, 0.], [0., -1e-4], [1e-4, 1e-4], [-1e-4, 1e-4]] {
                assert!(cost(best) < cost([best[0] + step[0], best[1] + step[1]]), "{v:?} {best:?}");
            }
            let slope = [curvature * (best[0] - v[0]), curvature * (best[1] - v[1])];
            let off = group.violations(&point(best), &point(slope), &weights);
            assert!(off.iter().all(|off| *off < 1e-13), "{v:?} {off:?}");
        }
        assert_eq!(group.prox(&[0.1, 0.2], 1.7, &weights), [0., 0.]);
    }

    #[test]
    fn one_coordinate_is_the_lasso() {
        let net = Weights { l1: 0.4, l2: 0.3, ..Weights::default() };
        let weights = [Weights { l1: 0., ..net }];
        let group = Group::single(0, 0.4);
        for v in [-2., 0.1, 0.3, 5.] {
            assert!((group.prox(&[v], 1.5, &weights)[0] - net.prox(v, 1.5)).abs() < 1e-15);
            for b in [-1., 0., 2.] {
                let found = violations(&weights, std::slice::from_ref(&group), &[b], &[v]);
                assert!((found[0] - net.violation(b, v)).abs() < 1e-15);
            }
        }
    }
}
