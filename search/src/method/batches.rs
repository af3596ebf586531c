//! Methods that decide in batches: lists, draws, models of the scores so far, and deterministic ASHA.
//!
//! The machine decides a whole batch of jobs at once, from the scores of batches that are fixed beforehand: batch t of the
//! scores up to batch t - `behind`. With 2 behind, workers have one batch to do while the last scores of the one before
//! it are on their way.

use std::collections::BTreeMap;

use phalanx_learn::Goal;
use serde::{Deserialize, Serialize};

use super::{
    Ask, Budget, Candidate, Machine, Proposals, Random, Resource, check_eta, check_positive, out_of_range,
    proposals::Source, ranking, with_budget,
};
use crate::{Error, Result, space::Params};

/// Asynchronous successive halving made deterministic (Li, Jamieson, Rostamizadeh, Gonina, Ben-tzur, Hardt, Recht,
/// Talwalkar 2020, "A system for massively parallel hyperparameter tuning", algorithm 2).
///
/// Rung k has the budget round(`min_resource` eta^k), the last one `max_resource`. A job is the promotion of the best
/// configuration among the best floor(n_k / eta) of the n_k scored on the highest rung that has one not yet promoted;
/// where no rung has one, a new configuration on the lowest. What the paper decides whenever a worker is free is decided
/// here in batches of `batch_size` jobs, from the scores of all batches but the last one, so it does not depend on who
/// was faster. When no configuration is new, promotions go on until none is left.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `proposals` | 20 draws | where configurations come from, and how many | |
/// | `min_resource` | 1 | the budget of the lowest rung | 1 or more |
/// | `max_resource` | 27 | the budget of the highest rung | `min_resource` or more |
/// | `eta` | 3 | of how many one is promoted | above 1 |
/// | `batch_size` | 8 | jobs decided at once: two batches are under way, so half the workers that can be kept busy | 1 or more |
/// | `resource` | [`Resource::Samples`] | what the budget is of | |
///
/// Failures are never promoted. The winner is the best of the highest rung that has a score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Asha {
    /// Where configurations come from, and how many.
    pub proposals: Proposals,
    /// The budget of the lowest rung.
    pub min_resource: u64,
    /// The budget of the highest rung.
    pub max_resource: u64,
    /// Of how many one is promoted.
    pub eta: f64,
    /// Jobs decided at once.
    pub batch_size: usize,
    /// What the budget is of.
    pub resource: Resource,
}

impl Default for Asha {
    fn default() -> Self {
        Self {
            proposals: Proposals::Random(Random::new(20)),
            min_resource: 1,
            max_resource: 27,
            eta: 3.,
            batch_size: 8,
            resource: Resource::default(),
        }
    }
}

impl Asha {
    /// So many draws, on up to `max_resource`.
    pub fn new(n_trials: usize, max_resource: u64) -> Self {
        Self { proposals: Proposals::Random(Random::new(n_trials)), max_resource, ..Self::default() }
    }

    /// Sets where configurations come from.
    #[must_use]
    pub fn proposals(mut self, proposals: Proposals) -> Self {
        self.proposals = proposals;
        self
    }

    /// Sets the budget of the lowest rung.
    #[must_use]
    pub const fn min_resource(mut self, min_resource: u64) -> Self {
        self.min_resource = min_resource;
        self
    }

    /// Sets of how many one is promoted.
    #[must_use]
    pub const fn eta(mut self, eta: f64) -> Self {
        self.eta = eta;
        self
    }

    /// Sets how many jobs are decided at once.
    #[must_use]
    pub const fn batch_size(mut self, batch_size: usize) -> Self {
        self.batch_size = batch_size;
        self
    }

    /// Sets what the budget is of.
    #[must_use]
    pub fn resource(mut self, resource: Resource) -> Self {
        self.resource = resource;
        self
    }

    /// The budgets of the rungs, the lowest first.
    ///
    /// # Errors
    /// When a number is out of its range.
    pub fn resources(&self) -> Result<Vec<u64>> {
        check_eta(self.eta)?;
        check_positive("batch_size", self.batch_size)?;
        if self.min_resource == 0 {
            return Err(out_of_range("min_resource", self.min_resource, "1 or more"));
        }
        if self.max_resource < self.min_resource {
            return Err(out_of_range("max_resource", self.max_resource, "min_resource or more"));
        }
        let rung = |k: i32| (self.min_resource as f64 * self.eta.powi(k)).round_ties_even() as u64;
        let mut resources: Vec<u64> = (0..64).map(rung).take_while(|resource| *resource < self.max_resource).collect();
        resources.dedup();
        resources.push(self.max_resource);
        Ok(resources)
    }
}

/// The machine of them all.
#[derive(Debug)]
pub(super) struct Batches {
    source: Source,
    goal: Goal,
    resource: Resource,
    /// The budget of each rung; none of methods without budgets, which have one rung.
    resources: Vec<u64>,
    eta: f64,
    batch_size: usize,
    behind: usize,
    /// What was proposed, by the number of the configuration.
    configs: Vec<Params>,
    /// What was decided, by the number of the candidate.
    jobs: Vec<Job>,
    /// Where each batch ends among the jobs.
    ends: Vec<usize>,
    n_asked: usize,
    /// Scores of batches that are not yet known whole.
    told: BTreeMap<usize, Option<f64>>,
    /// How many scores each batch still lacks.
    missing: Vec<usize>,
    /// How many batches have their scores among the rungs.
    n_known: usize,
    rungs: Vec<Vec<Scored>>,
    is_done: bool,
}

#[derive(Debug, Clone, Copy)]
struct Job {
    config: usize,
    rung: usize,
}

/// A configuration that was scored on a rung.
#[derive(Debug, Clone, Copy)]
struct Scored {
    config: usize,
    score: Option<f64>,
    promoted: bool,
}

impl Batches {
    /// All configurations in one batch.
    pub(super) fn at_once(source: Source, goal: Goal) -> Self {
        let n_configs = source.n_configs();
        Self::new(source, Resource::Samples, Vec::new(), f64::INFINITY, n_configs, 1, goal)
    }

    /// All configurations on their whole budget, in batches.
    pub(super) fn one_rung(source: Source, batch_size: usize, goal: Goal) -> Result<Self> {
        check_positive("batch_size", batch_size)?;
        Ok(Self::new(source, Resource::Samples, Vec::new(), f64::INFINITY, batch_size, 1, goal))
    }

    pub(super) fn asha(asha: &Asha, source: Source, goal: Goal) -> Result<Self> {
        let resources = asha.resources()?;
        Ok(Self::new(source, asha.resource.clone(), resources, asha.eta, asha.batch_size, 2, goal))
    }

    fn new(
        source: Source,
        resource: Resource,
        resources: Vec<u64>,
        eta: f64,
        batch_size: usize,
        behind: usize,
        goal: Goal,
    ) -> Self {
        Self {
            rungs: vec![Vec::new(); resources.len().max(1)],
            source,
            goal,
            resource,
            resources,
            eta,
            batch_size,
            behind,
            configs: Vec::new(),
            jobs: Vec::new(),
            ends: Vec::new(),
            n_asked: 0,
            told: BTreeMap::new(),
            missing: Vec::new(),
            n_known: 0,
            is_done: false,
        }
    }

    /// Decides batches until there is a job or a score is missing.
    fn decide(&mut self) {
        while self.n_asked == self.jobs.len() && !self.is_done {
            // Exactly the batches that this one follows from, however many more are told.
            while self.n_known + self.behind <= self.ends.len() {
                if !self.learn() {
                    return;
                }
            }
            self.decide_batch();
            // Nothing to do, and no score is missing from which something could follow.
            self.is_done = self.first_unknown() == self.jobs.len();
        }
    }

    /// The first candidate whose score is not among the rungs.
    fn first_unknown(&self) -> usize {
        self.n_known.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    /// Takes the scores of the next batch, if they are all told.
    fn learn(&mut self) -> bool {
        let Some(&end) = self.ends.get(self.n_known) else { return false };
        let start = self.first_unknown();
        if self.missing[self.n_known] > 0 {
            return false;
        }
        for number in start..end {
            let Job { config, rung } = self.jobs[number];
            let score = self.told.remove(&number).flatten();
            self.rungs[rung].push(Scored { config, score, promoted: false });
        }
        self.n_known += 1;
        true
    }

    fn decide_batch(&mut self) {
        let size =
            if self.ends.is_empty() { self.batch_size.max(self.source.n_without_scores()) } else { self.batch_size };
        let end = self.jobs.len() + size;
        for rung in (0..self.rungs.len() - 1).rev() {
            let n_promoted = (self.rungs[rung].len() as f64 / self.eta).floor() as usize;
            let scores: Vec<Option<f64>> = self.rungs[rung].iter().map(|scored| scored.score).collect();
            for place in ranking(&scores, self.goal).into_iter().take(n_promoted) {
                let scored = &mut self.rungs[rung][place];
                if self.jobs.len() < end && scored.score.is_some() && !scored.promoted {
                    scored.promoted = true;
                    self.jobs.push(Job { config: scored.config, rung: rung + 1 });
                }
            }
        }
        while self.jobs.len() < end && self.configs.len() < self.source.n_configs() {
            let config = self.configs.len();
            let params = self.source.params(config, || self.ranked());
            self.configs.push(params);
            self.jobs.push(Job { config, rung: 0 });
        }
        self.missing.push(self.jobs.len() - self.ends.last().copied().unwrap_or_default());
        self.ends.push(self.jobs.len());
    }

    /// The configurations with known scores, the best first: those that came further are better than those that did
    /// not, as scores on different budgets do not compare.
    fn ranked(&self) -> Vec<(usize, &Params)> {
        let mut ranked: Vec<&Scored> = Vec::new();
        for rung in self.rungs.iter().rev() {
            let scores: Vec<Option<f64>> = rung.iter().map(|scored| scored.score).collect();
            let order = ranking(&scores, self.goal);
            let here = order.into_iter().map(|place| &rung[place]);
            // Whoever has a score further up is there already.
            ranked.extend(here.filter(|scored| !scored.promoted || !self.is_known_above(scored.config, rung)));
        }
        ranked.into_iter().map(|scored| (scored.config, &self.configs[scored.config])).collect()
    }

    fn is_known_above(&self, config: usize, rung: &[Scored]) -> bool {
        let above = self.rungs.iter().rev().take_while(|other| !std::ptr::eq(other.as_slice(), rung));
        above.flatten().any(|scored| scored.config == config)
    }
}

impl Machine for Batches {
    fn ask(&mut self) -> Ask {
        self.decide();
        let Some(&Job { config, rung }) = self.jobs.get(self.n_asked) else {
            return if self.is_done { Ask::Done } else { Ask::Wait };
        };
        let number = self.n_asked;
        self.n_asked += 1;
        let params = self.configs[config].clone();
        let Some(&resource) = self.resources.get(rung) else {
            return Ask::Candidate(Candidate { number, config, params, budget: None });
        };
        let budget = Budget {
            resource,
            max_resource: self.resources.last().copied().unwrap_or(resource),
            rung,
            bracket: self.resources.len() - 1,
            of_rows: self.resource == Resource::Samples,
        };
        let params = with_budget(params, &self.resource, &budget);
        Ask::Candidate(Candidate { number, config, params, budget: Some(budget) })
    }

    fn tell(&mut self, number: usize, score: Option<f64>) -> Result<()> {
        if number < self.first_unknown() || number >= self.n_asked || self.told.contains_key(&number) {
            return Err(Error::CandidateNotWaitedFor { number });
        }
        self.told.insert(number, score);
        let batch = self.ends.partition_point(|end| *end <= number);
        self.missing[batch] -= 1;
        Ok(())
    }

    fn n_candidates(&self) -> usize {
        if self.is_done {
            return self.jobs.len();
        }
        // About one of eta goes on from each rung; more, where later ones turn out better than who went on.
        let mut n = self.source.n_configs();
        let mut all = 0;
        for _ in 0..self.rungs.len() {
            all += n;
            n = (n as f64 / self.eta).floor() as usize;
        }
        all.max(self.jobs.len())
    }

    fn level(&self, number: usize) -> usize {
        self.jobs.get(number).map_or(0, |job| job.rung)
    }
}
