//! The quadratic model of a solver's step under the group lasso.
//!
//! minimise g·(z - x) + (z - x)'H(z - x)/2 + Σ l2_j/2 z_j² + Σ_groups weight |units · z|. Descent by blocks, each under
//! a multiple of the identity that lies above its part of H, finds which groups are 0; Newton's steps over the others
//! find where they are, in turn until the optimality conditions hold.
//!
//! Sources: Y. Yang, H. Zou, "A fast unified algorithm for solving group-lasso penalized learning problems" (2015),
//! section 3.2 (groupwise majorisation); V. Roth, B. Fischer, "The group-lasso for generalized linear models" (2008),
//! section 3 (the smooth problem of the active groups).

use super::model::{Cholesky, Minimum, Packed};
use crate::{group::Group, penalty::Weights};

/// Rounds of descent and Newton's steps.
const MAX_ROUNDS: usize = 500;
/// Sweeps over the groups that are in the model, between two of all.
const SWEEPS: usize = 5;

/// Where the model around `x` is least. Nothing is bounded.
pub(crate) fn minimise(
    hessian: Packed<'_>,
    gradient: &[f64],
    x: &[f64],
    weights: &[Weights],
    groups: &[Group],
) -> Minimum {
    Descent::new(hessian, gradient, x, weights, groups).run()
}

struct Descent {
    hessian: Vec<f64>,
    /// L2 only: a lone coordinate's L1 part is a group of one.
    weights: Vec<Weights>,
    blocks: Vec<Block>,
    z: Vec<f64>,
    /// The gradient of the quadratic at z.
    slope: Vec<f64>,
    small: f64,
}

/// A group, a lone coordinate, or one that is free.
struct Block {
    members: Vec<usize>,
    /// None without a kink.
    group: Option<Group>,
    /// Above all eigenvalues of its part of H.
    curvature: f64,
}

impl Descent {
    fn new(hessian: Packed<'_>, gradient: &[f64], x: &[f64], weights: &[Weights], groups: &[Group]) -> Self {
        let size = x.len();
        let hessian = hessian.square(size);
        let mut grouped = vec![false; size];
        let all: Vec<Group> = groups.to_vec();
        all.iter().flat_map(|group| &group.members).for_each(|&j| grouped[j] = true);
        let lone = (0..size).filter(|&j| !grouped[j]).map(|j| {
            let l1 = weights[j].l1;
            (vec![j], (l1 > 0.).then(|| Group::single(j, l1)))
        });
        let joint = all.iter().map(|group| (group.members.clone(), Some(group.clone())));
        let blocks = lone.chain(joint).map(|(members, group)| {
            let row = |&i: &usize| members.iter().map(|&j| hessian[i * size + j].abs()).sum::<f64>();
            let curvature = members.iter().map(row).fold(0., f64::max);
            Block { curvature, members, group }
        });
        let blocks = blocks.filter(|block| block.curvature > 0.).collect();
        let steepest = gradient.iter().fold(0_f64, |most, g| most.max(g.abs()));
        let rounding = (0..size).map(|j| hessian[j * size + j] * x[j].abs()).fold(steepest, f64::max);
        Self {
            blocks,
            weights: weights.iter().map(|w| Weights { l1: 0., ..*w }).collect(),
            z: x.to_vec(),
            slope: gradient.to_vec(),
            small: 1e-14 * rounding.max(f64::MIN_POSITIVE),
            hessian,
        }
    }

    fn run(mut self) -> Minimum {
        let mut collinear = Vec::new();
        let (mut last, mut stalled) = (f64::INFINITY, 0);
        for _ in 0..MAX_ROUNDS {
            self.sweep(false);
            for _ in 0..SWEEPS {
                self.sweep(true);
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
        Minimum { point: self.z, collinear }
    }

    /// Each block in turn to the minimum of what lies above the model there.
    fn sweep(&mut self, only_active: bool) {
        for place in 0..self.blocks.len() {
            let block = &self.blocks[place];
            if only_active && !block.is_active(&self.z) {
                continue;
            }
            let v: Vec<f64> = block.members.iter().map(|&j| self.z[j] - self.slope[j] / block.curvature).collect();
            let best = match &block.group {
                Some(group) => group.prox(&v, block.curvature, &self.weights),
                None => {
                    let place = |(&j, v): (&usize, &f64)| self.weights[j].prox(*v, block.curvature);
                    block.members.iter().zip(&v).map(place).collect()
                }
            };
            let changes: Vec<_> = block.members.iter().zip(best).map(|(&j, best)| (j, best - self.z[j])).collect();
            self.shift(&changes);
        }
    }

    fn shift(&mut self, changes: &[(usize, f64)]) {
        let size = self.z.len();
        for &(j, change) in changes.iter().filter(|(_, change)| *change != 0.) {
            self.z[j] += change;
            let row = &self.hessian[j * size..(j + 1) * size];
            self.slope.iter_mut().zip(row).for_each(|(slope, h)| *slope += change * h);
        }
    }

    fn violation(&self) -> f64 {
        self.blocks.iter().map(|block| block.violation(&self.z, &self.slope, &self.weights)).fold(0., f64::max)
    }

    /// Newton's steps over the active blocks, each as long as it makes the conditions hold better; the coordinates that
    /// are collinear with others.
    fn settle(&mut self) -> Vec<usize> {
        let size = self.z.len();
        let mut collinear = Vec::new();
        for _ in 0..20 {
            let active: Vec<&Block> = self.blocks.iter().filter(|block| block.is_active(&self.z)).collect();
            let free: Vec<usize> = active.iter().flat_map(|block| block.members.iter().copied()).collect();
            let n = free.len();
            let mut matrix: Vec<f64> = free
                .iter()
                .flat_map(|&i| free.iter().map(move |&j| (i, j)))
                .map(|(i, j)| self.hessian[i * size + j])
                .collect();
            let mut down: Vec<f64> = free.iter().map(|&j| -(self.slope[j] + self.weights[j].l2 * self.z[j])).collect();
            let mut begin = 0;
            for block in &active {
                let many = block.members.len();
                if let Some(group) = &block.group {
                    let (gradient, bend) = group.bend(&self.z);
                    for i in 0..many {
                        down[begin + i] -= gradient[i];
                        for j in 0..many {
                            matrix[(begin + i) * n + begin + j] += bend[i * many + j];
                        }
                    }
                }
                begin += many;
            }
            for (i, &j) in free.iter().enumerate() {
                matrix[i * n + i] += self.weights[j].l2;
            }
            let off = |descent: &Self| {
                let active = descent.blocks.iter().filter(|block| block.is_active(&descent.z));
                active.map(|block| block.violation(&descent.z, &descent.slope, &descent.weights)).fold(0., f64::max)
            };
            let before = off(self);
            if before <= self.small {
                break;
            }
            let cholesky = Cholesky::new(n, |i, j| matrix[i * n + j]);
            collinear = cholesky.collinear.iter().map(|&place| free[place]).collect();
            let step = cholesky.solve(&down);
            let was = (self.z.clone(), self.slope.clone());
            let took = [1., 0.5, 0.25, 0.0625].into_iter().any(|share| {
                let changes: Vec<_> = free.iter().zip(&step).map(|(&j, d)| (j, share * d)).collect();
                self.shift(&changes);
                // Past a kink the conditions hold worse, wherever the step leads.
                if off(self) < before {
                    return true;
                }
                (self.z, self.slope) = was.clone();
                false
            });
            if !took {
                break;
            }
        }
        collinear
    }
}

impl Block {
    /// Whether the penalty is smooth where the block is.
    fn is_active(&self, z: &[f64]) -> bool {
        self.group.is_none() || self.members.iter().any(|&j| z[j] != 0.)
    }

    fn violation(&self, z: &[f64], slope: &[f64], weights: &[Weights]) -> f64 {
        match &self.group {
            Some(group) => group.violations(z, slope, weights).into_iter().fold(0., f64::max),
            None => self.members.iter().map(|&j| weights[j].violation(z[j], slope[j])).fold(0., f64::max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{group, penalty::Penalty};

    fn groups(penalty: &Penalty, n: usize) -> (Vec<Weights>, Vec<Group>) {
        let free = std::iter::once(Weights::default());
        let weights = free.chain((0..n).map(|column| penalty.weights(column, 1.))).collect();
        let groups = penalty.groups(&vec![1.; n]);
        (weights, groups.iter().filter_map(|group| group.working(&vec![1.; n])).collect())
    }

    #[test]
    fn the_minimum_has_no_violation_for_any_strength() {
        let n = 24;
        let element =
            |i: usize, j: usize| 0.9_f64.powi(i.abs_diff(j) as i32) * (1. + 0.1 * i as f64) * (1. + 0.1 * j as f64);
        let packed: Vec<f64> = (0..=n).flat_map(|i| (0..=i).map(move |j| element(i, j))).collect();
        let gradient: Vec<f64> = (0..=n).map(|j| ((j * 37 + 5) % 11) as f64 - 5.).collect();
        let mut sizes = Vec::new();
        for alpha in (0..20).map(|step| 0.01 + 0.25 * f64::from(step)) {
            for l1_ratio in [1., 0.6] {
                let names = (0..n).map(|j| if j < 20 { j / 4 } else { j }).collect();
                let penalty = Penalty { groups: names, ..Penalty::elastic_net(alpha, l1_ratio) };
                let (weights, groups) = groups(&penalty, n);
                assert_eq!(groups.len(), 5);
                let found = minimise(Packed(&packed), &gradient, &vec![0.; n + 1], &weights, &groups);
                let slope: Vec<f64> =
                    Packed(&packed).times(&found.point).iter().zip(&gradient).map(|(h, g)| h + g).collect();
                let off = group::violations(&weights, &groups, &found.point, &slope);
                assert!(off.iter().all(|off| *off < 1e-11), "{alpha} {l1_ratio} {off:?}");
                let live = |group: &&Group| group.members.iter().any(|&j| found.point[j] != 0.);
                // All of a group or nothing.
                for group in groups.iter().filter(live) {
                    assert!(group.members.iter().all(|&j| found.point[j] != 0.));
                }
                sizes.push(groups.iter().filter(live).count());
            }
        }
        assert!(sizes.iter().any(|n| (1..5).contains(n)), "{sizes:?}");
        assert!(sizes[0] == 5 && sizes.contains(&0), "{sizes:?}");
    }

    #[test]
    fn groups_of_one_are_the_elastic_net() {
        let n = 8;
        let element = |i: usize, j: usize| 0.5_f64.powi(i.abs_diff(j) as i32);
        let packed: Vec<f64> = (0..=n).flat_map(|i| (0..=i).map(move |j| element(i, j))).collect();
        let gradient: Vec<f64> = (0..=n).map(|j| ((j * 5) % 7) as f64 - 3.).collect();
        let plain = Penalty::elastic_net(0.8, 0.7);
        let (weights, none) = groups(&plain, n);
        assert!(none.is_empty());
        let x = vec![0.; n + 1];
        let expected = super::super::model::minimise(Packed(&packed), &gradient, &x, &weights).point;
        let found = minimise(Packed(&packed), &gradient, &x, &weights, &[]).point;
        assert!(expected.iter().zip(&found).all(|(a, b)| (a - b).abs() < 1e-13 && (*a == 0.) == (*b == 0.)));
    }
}
