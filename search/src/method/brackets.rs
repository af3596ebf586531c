//! Successive halving and Hyperband: brackets of rungs, whose sizes are known before anything is tried.
//!
//! So the number of each candidate is known too, and a bracket waits for its own rungs only.

use phalanx_learn::Goal;
use serde::{Deserialize, Serialize};

use super::{
    Ask, Budget, Candidate, Machine, Proposals, Random, Resource, check_eta, check_positive, out_of_range,
    proposals::Source, ranking, with_budget,
};
use crate::{Error, Result, space::Params};

/// One bracket: rung i scores floor(n eta^-i) configurations on a budget of round(r eta^i) each (Jamieson and Talwalkar
/// 2016, "Non-stochastic best arm identification and hyperparameter optimization"; sizes as dask-ml's).
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `n_candidates` | the whole grid | n: how many configurations begin, drawn from the space | 1 or more |
/// | `min_resource` | 1 | r: the budget on the first rung | 1 or more |
/// | `max_resource` | the last rung's budget | rungs end before they need more | `min_resource` or more |
/// | `eta` | 3 | of how many one is promoted | above 1 |
/// | `resource` | [`Resource::Samples`] | what the budget is of | |
///
/// Failures are promoted last. The winner is the best of the last rung. With a budget of rows, `max_resource` stands for
/// all of them.
///
/// ```
/// use phalanx_search::method::SuccessiveHalving;
/// let bracket = SuccessiveHalving::new(20).min_resource(2).bracket(20).unwrap();
/// let rungs: Vec<_> = bracket.rungs.iter().map(|rung| (rung.n_candidates, rung.resource)).collect();
/// assert_eq!(rungs, [(20, 2), (6, 6), (2, 18)]);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SuccessiveHalving {
    /// How many configurations begin; none for the whole grid.
    pub n_candidates: Option<usize>,
    /// The budget on the first rung.
    pub min_resource: u64,
    /// The largest budget; none for the last rung's.
    pub max_resource: Option<u64>,
    /// Of how many one is promoted.
    pub eta: f64,
    /// What the budget is of.
    pub resource: Resource,
}

/// Brackets from many configurations on little to few on all (Li, Jamieson, DeSalvo, Rostamizadeh, Talwalkar 2018,
/// "Hyperband: a novel bandit-based approach to hyperparameter optimization", algorithm 1; sizes as dask-ml's).
///
/// With R = `max_resource`, s_max = floor(log_eta R); bracket s, from s_max down to 0, is halving over s + 1 rungs with
/// n = ceil((s_max + 1) / (s + 1) eta^s) configurations and r = floor(R eta^-s).
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `max_resource` | 81 | R: the largest budget | 1 or more |
/// | `eta` | 3 | of how many one is promoted | above 1 |
/// | `resource` | [`Resource::Samples`] | what the budget is of | |
///
/// Brackets do not wait for each other. The winner is the best of all last rungs.
///
/// ```
/// use phalanx_search::method::Hyperband;
/// let brackets = Hyperband::new(27).brackets().unwrap();
/// let sizes: Vec<Vec<_>> =
///     brackets.iter().map(|bracket| bracket.rungs.iter().map(|rung| rung.n_candidates).collect()).collect();
/// assert_eq!(sizes, [vec![27, 9, 3, 1], vec![12, 4, 1], vec![6, 2], vec![4]]);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hyperband {
    /// The largest budget.
    pub max_resource: u64,
    /// Of how many one is promoted.
    pub eta: f64,
    /// What the budget is of.
    pub resource: Resource,
}

/// The schedule of one bracket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bracket {
    /// s: how many promotions lead to its end.
    pub bracket: usize,
    /// Its rungs, the largest first.
    pub rungs: Vec<Rung>,
}

/// The schedule of one rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rung {
    /// How many configurations are scored.
    pub n_candidates: usize,
    /// On which budget each.
    pub resource: u64,
}

impl Default for SuccessiveHalving {
    fn default() -> Self {
        Self { n_candidates: None, min_resource: 1, max_resource: None, eta: 3., resource: Resource::default() }
    }
}

impl SuccessiveHalving {
    /// So many draws from the space.
    pub fn new(n_candidates: usize) -> Self {
        Self { n_candidates: Some(n_candidates), ..Self::default() }
    }

    /// All combinations of the space's values.
    pub fn grid() -> Self {
        Self::default()
    }

    /// Sets the budget on the first rung.
    #[must_use]
    pub const fn min_resource(mut self, min_resource: u64) -> Self {
        self.min_resource = min_resource;
        self
    }

    /// Sets the largest budget.
    #[must_use]
    pub const fn max_resource(mut self, max_resource: u64) -> Self {
        self.max_resource = Some(max_resource);
        self
    }

    /// Sets of how many one is promoted.
    #[must_use]
    pub const fn eta(mut self, eta: f64) -> Self {
        self.eta = eta;
        self
    }

    /// Sets what the budget is of.
    #[must_use]
    pub fn resource(mut self, resource: Resource) -> Self {
        self.resource = resource;
        self
    }

    /// The schedule for so many configurations.
    ///
    /// # Errors
    /// When a number is out of its range.
    pub fn bracket(&self, n_configs: usize) -> Result<Bracket> {
        check_eta(self.eta)?;
        check_positive("n_candidates", n_configs)?;
        if self.min_resource == 0 {
            return Err(out_of_range("min_resource", self.min_resource, "1 or more"));
        }
        let most = self.max_resource.unwrap_or(u64::MAX);
        if most < self.min_resource {
            return Err(out_of_range("max_resource", most, "min_resource or more"));
        }
        let rungs = rungs(n_configs, self.min_resource, self.eta).take_while(|rung| rung.resource <= most);
        let rungs: Vec<Rung> = rungs.collect();
        Ok(Bracket { bracket: rungs.len() - 1, rungs })
    }

    pub(super) fn proposals(&self) -> Proposals {
        self.n_candidates.map_or(Proposals::Grid, |n| Proposals::Random(Random::new(n)))
    }
}

impl Default for Hyperband {
    fn default() -> Self {
        Self { max_resource: 81, eta: 3., resource: Resource::default() }
    }
}

impl Hyperband {
    /// Brackets up to a budget.
    pub fn new(max_resource: u64) -> Self {
        Self { max_resource, ..Self::default() }
    }

    /// Sets of how many one is promoted.
    #[must_use]
    pub const fn eta(mut self, eta: f64) -> Self {
        self.eta = eta;
        self
    }

    /// Sets what the budget is of.
    #[must_use]
    pub fn resource(mut self, resource: Resource) -> Self {
        self.resource = resource;
        self
    }

    /// The schedule, the bracket of most configurations first.
    ///
    /// # Errors
    /// When a number is out of its range.
    pub fn brackets(&self) -> Result<Vec<Bracket>> {
        check_eta(self.eta)?;
        if self.max_resource == 0 {
            return Err(out_of_range("max_resource", self.max_resource, "1 or more"));
        }
        let most = self.max_resource as f64;
        // By products, since a quotient of logarithms may fall just short of a whole number.
        let s_max = (1..).take_while(|s| self.eta.powi(*s) <= most).count();
        if s_max > 40 {
            return Err(out_of_range("eta", self.eta, "enough for at most 40 rungs"));
        }
        let bracket = |s: usize| {
            let power = self.eta.powi(s as i32);
            let n = ((s_max + 1) as f64 * power / (s + 1) as f64).ceil();
            let rungs = rungs(n as usize, (most / power) as u64, self.eta).take(s + 1).collect();
            Bracket { bracket: s, rungs }
        };
        Ok((0..=s_max).rev().map(bracket).collect())
    }
}

impl Bracket {
    /// How many configurations begin.
    pub fn n_configs(&self) -> usize {
        self.rungs.first().map_or(0, |rung| rung.n_candidates)
    }

    /// How many candidates there are on all rungs.
    pub fn n_candidates(&self) -> usize {
        self.rungs.iter().map(|rung| rung.n_candidates).sum()
    }
}

/// floor(n eta^-i) configurations on round(r eta^i) each, while there is one.
fn rungs(n: usize, r: u64, eta: f64) -> impl Iterator<Item = Rung> {
    (0..64).map_while(move |i| {
        let power = eta.powi(i);
        // A quotient, correctly rounded: the product with a rounded eta^-i may fall just short of a whole number.
        let n_candidates = (n as f64 / power).floor() as usize;
        let resource = (r as f64 * power).round_ties_even() as u64;
        (n_candidates > 0).then_some(Rung { n_candidates, resource })
    })
}

/// The machine of both.
#[derive(Debug)]
pub(super) struct Brackets {
    goal: Goal,
    resource: Resource,
    max_resource: u64,
    brackets: Vec<Running>,
}

/// One bracket under way.
#[derive(Debug)]
struct Running {
    schedule: Bracket,
    /// The number of its first candidate.
    first: usize,
    configs: Vec<(usize, Params)>,
    /// Rungs that were begun: places in `configs`, and for each one the score, once it is told.
    rungs: Vec<Vec<(usize, Told)>>,
    /// How many of the last rung were handed out.
    n_asked: usize,
}

type Told = Option<Option<f64>>;

impl Brackets {
    pub(super) fn new(
        source: &Source,
        brackets: Vec<Bracket>,
        resource: &Resource,
        max_resource: Option<u64>,
        goal: Goal,
    ) -> Self {
        let largest = brackets.iter().flat_map(|bracket| &bracket.rungs).map(|rung| rung.resource).max();
        let (mut first, mut first_config) = (0, 0);
        let running = brackets.into_iter().map(|schedule| {
            let numbers = first_config..first_config + schedule.n_configs();
            let configs: Vec<(usize, Params)> =
                numbers.map(|config| (config, source.params(config, Vec::new))).collect();
            let rung = (0..configs.len()).map(|place| (place, None)).collect();
            let running = Running { first, configs, rungs: vec![rung], n_asked: 0, schedule };
            first += running.schedule.n_candidates();
            first_config += running.schedule.n_configs();
            running
        });
        let brackets = running.collect();
        let max_resource = max_resource.or(largest).unwrap_or(1);
        Self { goal, resource: resource.clone(), max_resource, brackets }
    }
}

impl Machine for Brackets {
    fn ask(&mut self) -> Ask {
        for running in &mut self.brackets {
            running.promote(self.goal);
            let rung = running.rungs.len() - 1;
            let Some((place, _)) = running.rungs[rung].get(running.n_asked) else { continue };
            let (config, params) = &running.configs[*place];
            let budget = Budget {
                resource: running.schedule.rungs[rung].resource,
                max_resource: self.max_resource,
                rung,
                bracket: running.schedule.bracket,
                of_rows: self.resource == Resource::Samples,
            };
            let candidate = Candidate {
                number: running.first_of(rung) + running.n_asked,
                config: *config,
                params: with_budget(params.clone(), &self.resource, &budget),
                budget: Some(budget),
            };
            running.n_asked += 1;
            return Ask::Candidate(candidate);
        }
        if self.brackets.iter().all(Running::is_done) { Ask::Done } else { Ask::Wait }
    }

    fn tell(&mut self, number: usize, score: Option<f64>) -> Result<()> {
        let place = self.brackets.iter_mut().find_map(|running| running.place(number));
        match place {
            Some(told @ None) => {
                *told = Some(score);
                Ok(())
            }
            _ => Err(Error::CandidateNotWaitedFor { number }),
        }
    }

    fn n_candidates(&self) -> usize {
        self.brackets.iter().map(|running| running.schedule.n_candidates()).sum()
    }

    fn level(&self, number: usize) -> usize {
        // Counted from the end, where all brackets have the largest budget.
        let deepest = self.brackets.iter().map(|running| running.schedule.bracket).max().unwrap_or_default();
        let level = |running: &Running| {
            let rung = running.rung_of(number)?;
            Some(deepest - running.schedule.bracket + rung)
        };
        self.brackets.iter().find_map(level).unwrap_or_default()
    }
}

impl Running {
    /// Begins the next rung when this one is scored.
    fn promote(&mut self, goal: Goal) {
        let Some(next) = self.schedule.rungs.get(self.rungs.len()) else { return };
        let last = &self.rungs[self.rungs.len() - 1];
        if !last.iter().all(|(_, told)| told.is_some()) {
            return;
        }
        let scores: Vec<Option<f64>> = last.iter().map(|(_, told)| told.flatten()).collect();
        let mut kept: Vec<usize> =
            ranking(&scores, goal).into_iter().take(next.n_candidates).map(|place| last[place].0).collect();
        kept.sort_unstable();
        self.rungs.push(kept.into_iter().map(|place| (place, None)).collect());
        self.n_asked = 0;
    }

    fn is_done(&self) -> bool {
        self.rungs.len() == self.schedule.rungs.len()
            && self.rungs[self.rungs.len() - 1].iter().all(|(_, told)| told.is_some())
    }

    fn first_of(&self, rung: usize) -> usize {
        self.first + self.schedule.rungs[..rung].iter().map(|rung| rung.n_candidates).sum::<usize>()
    }

    fn rung_of(&self, number: usize) -> Option<usize> {
        (0..self.schedule.rungs.len()).find(|&rung| {
            (self.first_of(rung)..self.first_of(rung) + self.schedule.rungs[rung].n_candidates).contains(&number)
        })
    }

    /// The score of a candidate that was handed out.
    fn place(&mut self, number: usize) -> Option<&mut Told> {
        let rung = self.rung_of(number)?;
        let slot = number - self.first_of(rung);
        let was_asked = rung + 1 < self.rungs.len() || (rung + 1 == self.rungs.len() && slot < self.n_asked);
        was_asked.then(|| &mut self.rungs[rung][slot].1)
    }
}
