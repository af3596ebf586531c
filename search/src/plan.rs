//! The machine of a search: hands out trials, takes their outcomes, knows how far it is.
//!
//! Trials are handed out in one order, candidate by candidate; outcomes may come in any. What it answers in
//! the end depends on the outcomes alone. It knows nothing of data, models or where a trial runs.

use std::collections::BTreeSet;

use phalanx_learn::Goal;

use crate::{
    Error, Result,
    results::{CandidateResult, CvResults},
    space::Params,
    trial::TrialOutcome,
};

/// One fit and its score: a candidate without one of the folds, judged on that fold. Both count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trial {
    /// Which candidate.
    pub candidate: usize,
    /// Which fold is left out to judge by.
    pub fold: usize,
}

/// How far a search is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Trials that have an outcome.
    pub done: usize,
    /// Trials in all.
    pub total: usize,
    /// Trials that failed.
    pub failed: usize,
    /// The best candidate of those that were scored on every fold.
    pub best: Option<Best>,
}

/// A candidate with its mean score.
#[derive(Debug, Clone, PartialEq)]
pub struct Best {
    /// Which candidate, from 0.
    pub index: usize,
    /// Its parameters.
    pub params: Params,
    /// Its mean score over the folds.
    pub score: f64,
}

/// The machine.
///
/// `ask` for a trial as often as there is room to run one, `tell` each outcome, and take the results when it
/// [`is_done`](Self::is_done).
///
/// ```
/// use phalanx_learn::Goal;
/// use phalanx_search::{ParamGrid, Plan, TrialOutcome, TrialScore};
///
/// # fn main() -> phalanx_search::Result<()> {
/// let grid = ParamGrid::new().values("alpha", [1., 10.]);
/// let mut plan = Plan::new(grid.candidates()?, 2, Goal::Maximize);
/// while let Some(trial) = plan.ask() {
///     let score = if trial.candidate == 0 { 0.5 } else { 0.75 };
///     plan.tell(trial, TrialOutcome::Scored(TrialScore { score, fit_seconds: 1., score_seconds: 1. }))?;
/// }
/// assert_eq!(plan.progress().best.map(|best| best.index), Some(1));
/// assert_eq!(plan.into_results().ranks(), [2, 1]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Plan {
    goal: Goal,
    n_splits: usize,
    candidates: Vec<CandidateResult>,
    /// Trials handed out, in order; the next one follows from it.
    n_asked: usize,
    waiting: BTreeSet<Trial>,
    n_done: usize,
    n_failed: usize,
    best: Option<(usize, f64)>,
}

impl Plan {
    /// Every candidate on each of `n_splits` folds; `goal` is the scorer's.
    pub fn new(candidates: Vec<Params>, n_splits: usize, goal: Goal) -> Self {
        let candidates = candidates.into_iter().map(|params| CandidateResult::new(params, n_splits)).collect();
        Self { goal, n_splits, candidates, n_asked: 0, waiting: BTreeSet::new(), n_done: 0, n_failed: 0, best: None }
    }

    /// The next trial to start; none when all were handed out.
    pub fn ask(&mut self) -> Option<Trial> {
        if self.n_asked == self.total() {
            return None;
        }
        let trial = Trial { candidate: self.n_asked / self.n_splits, fold: self.n_asked % self.n_splits };
        self.n_asked += 1;
        self.waiting.insert(trial);
        Some(trial)
    }

    /// Takes the outcome of a trial that was handed out.
    ///
    /// # Errors
    /// When no outcome of this trial is waited for; the plan is then as it was.
    pub fn tell(&mut self, trial: Trial, outcome: TrialOutcome) -> Result<()> {
        if !self.waiting.remove(&trial) {
            return Err(Error::NotWaitedFor { candidate: trial.candidate, fold: trial.fold });
        }
        self.n_done += 1;
        self.n_failed += usize::from(matches!(outcome, TrialOutcome::Failed { .. }));
        let candidate = &mut self.candidates[trial.candidate];
        candidate.outcomes[trial.fold] = Some(outcome);
        if let Some(score) = candidate.mean_test_score() {
            let best = self.best.is_none_or(|(index, best)| {
                // Of equals the first is best, whenever it came.
                self.goal.is_better(score, best) || (score == best && trial.candidate < index)
            });
            if best {
                self.best = Some((trial.candidate, score));
            }
        }
        Ok(())
    }

    /// Whether every trial has its outcome.
    pub fn is_done(&self) -> bool {
        self.n_done == self.total()
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        let best =
            self.best.map(|(index, score)| Best { index, params: self.candidates[index].params().clone(), score });
        Progress { done: self.n_done, total: self.total(), failed: self.n_failed, best }
    }

    /// The parameters of a candidate.
    ///
    /// # Panics
    /// When there is no such candidate.
    pub fn params(&self, candidate: usize) -> &Params {
        self.candidates[candidate].params()
    }

    /// The results; a trial without an outcome is an empty score.
    pub fn into_results(self) -> CvResults {
        CvResults::new(self.candidates, self.n_splits, self.goal)
    }

    const fn total(&self) -> usize {
        self.candidates.len() * self.n_splits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ParamGrid, TrialScore};

    fn plan(goal: Goal) -> Plan {
        Plan::new(ParamGrid::new().values("alpha", [1, 2, 3]).candidates().expect("three"), 2, goal)
    }

    fn scored(score: f64) -> TrialOutcome {
        TrialOutcome::Scored(TrialScore { score, fit_seconds: 0.5, score_seconds: 0.25 })
    }

    fn outcome(trial: Trial) -> TrialOutcome {
        match (trial.candidate, trial.fold) {
            (1, 1) => TrialOutcome::Failed { message: "alpha is 2, expected less".to_owned() },
            (candidate, fold) => scored((candidate + fold) as f64),
        }
    }

    fn all(plan: &mut Plan) -> Vec<Trial> {
        std::iter::from_fn(|| plan.ask()).collect()
    }

    #[test]
    fn trials_come_candidate_by_candidate() {
        let trials: Vec<_> =
            all(&mut plan(Goal::Maximize)).into_iter().map(|trial| (trial.candidate, trial.fold)).collect();
        assert_eq!(trials, [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]);
    }

    #[test]
    fn the_order_of_arrival_changes_nothing() {
        let results = |order: &mut dyn FnMut(&mut Vec<Trial>)| {
            let mut plan = plan(Goal::Minimize);
            let mut trials = all(&mut plan);
            order(&mut trials);
            for trial in trials {
                plan.tell(trial, outcome(trial)).expect("waited for");
            }
            assert!(plan.is_done());
            (plan.progress(), plan.into_results())
        };
        let expected = results(&mut |_| {});
        assert_eq!(results(&mut |trials| trials.reverse()), expected);
        assert_eq!(results(&mut |trials| trials.rotate_left(3)), expected);
        let best = Best { index: 0, params: [("alpha".to_owned(), 1.into())].into(), score: 0.5 };
        assert_eq!(expected.0, Progress { done: 6, total: 6, failed: 1, best: Some(best) });
    }

    #[test]
    fn of_equals_the_first_is_best() {
        let mut plan = plan(Goal::Maximize);
        for trial in all(&mut plan).into_iter().rev() {
            plan.tell(trial, scored(1.)).expect("waited for");
        }
        assert_eq!(plan.progress().best.map(|best| best.index), Some(0));
        assert_eq!(plan.into_results().ranks(), [1, 1, 1]);
    }

    #[test]
    fn an_outcome_is_taken_once_and_only_when_asked_for() {
        let mut plan = plan(Goal::Maximize);
        let trial = plan.ask().expect("the first");
        plan.tell(trial, scored(1.)).expect("waited for");
        let before = plan.progress();
        for trial in [trial, Trial { candidate: 2, fold: 1 }, Trial { candidate: 9, fold: 0 }] {
            assert!(plan.tell(trial, scored(2.)).is_err());
        }
        assert_eq!(plan.progress(), before);
    }
}
