//! The machine of a search: hands out trials, takes their outcomes, knows how far it is.
//!
//! Candidates come from a [`Machine`], and each has a trial for every fold. Outcomes may come in any order; what it
//! answers in the end depends on the outcomes alone. It knows nothing of data, models or where a trial runs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use phalanx_learn::Goal;

use crate::{
    Error, Result,
    method::{self, Ask, Candidate, Machine},
    results::{CandidateResult, CvResults},
    space::Params,
    trial::TrialOutcome,
};

/// One fit and its score: a candidate on one of the folds. Both count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trial {
    /// Which candidate.
    pub candidate: usize,
    /// Which fold.
    pub fold: usize,
}

/// How far a search is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Trials that have an outcome.
    pub done: usize,
    /// Trials in all; where that follows from scores, so many are expected.
    pub total: usize,
    /// Trials that failed.
    pub failed: usize,
    /// The best candidate of those that were scored on every fold, of those with budgets among the ones that came
    /// furthest.
    pub best: Option<Best>,
}

/// A candidate with its mean score.
#[derive(Debug, Clone, PartialEq)]
pub struct Best {
    /// Which candidate, from 0.
    pub index: usize,
    /// Its parameters.
    pub params: Params,
    /// Its mean score over the folds, by the first metric or the one that decides.
    pub score: f64,
}

/// How the outcomes of a search's trials are judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Judging {
    /// The metrics with their better direction, one or more, in the order of each trial's scores.
    pub metrics: Vec<(String, Goal)>,
    /// Which of them decides.
    pub primary: usize,
    /// What stands for every score of a fold that failed; none where the candidate then has no mean.
    pub error_score: Option<f64>,
}

impl Judging {
    /// By one metric.
    pub fn by(metric: impl Into<String>, goal: Goal) -> Self {
        Self { metrics: vec![(metric.into(), goal)], primary: 0, error_score: None }
    }

    pub(crate) fn goal(&self) -> Goal {
        self.metrics.get(self.primary).map_or(Goal::Maximize, |(_, goal)| *goal)
    }
}

/// The machine.
///
/// `ask` for a trial as often as there is room to run one, `tell` each outcome and ask again, and take the results when
/// it [`is_done`](Self::is_done).
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
///     plan.tell(trial, TrialOutcome::Scored(TrialScore::new(score, 1., 1.)))?;
/// }
/// assert_eq!(plan.progress().best.map(|best| best.index), Some(1));
/// assert_eq!(plan.into_results().ranks(), [2, 1]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Plan {
    judging: Judging,
    n_splits: usize,
    machine: Box<dyn Machine>,
    candidates: BTreeMap<usize, CandidateResult>,
    ready: VecDeque<Trial>,
    waiting: BTreeSet<Trial>,
    is_exhausted: bool,
    n_done: usize,
    n_failed: usize,
    best: Option<Leader>,
}

/// The best candidate so far.
#[derive(Debug, Clone, Copy)]
struct Leader {
    index: usize,
    level: usize,
    score: f64,
}

impl Plan {
    /// Every candidate on each of `n_splits` folds; `goal` is the scorer's.
    pub fn new(candidates: Vec<Params>, n_splits: usize, goal: Goal) -> Self {
        Self::of(method::listed(candidates), n_splits, Judging::by("score", goal))
    }

    /// What a machine hands out, each on `n_splits` folds.
    pub fn of(machine: Box<dyn Machine>, n_splits: usize, judging: Judging) -> Self {
        Self {
            judging,
            n_splits,
            machine,
            candidates: BTreeMap::new(),
            ready: VecDeque::new(),
            waiting: BTreeSet::new(),
            is_exhausted: n_splits == 0,
            n_done: 0,
            n_failed: 0,
            best: None,
        }
    }

    /// The next trial to start; none when all were handed out, or the next one follows from outcomes that are not told.
    pub fn ask(&mut self) -> Option<Trial> {
        self.fill();
        let trial = self.ready.pop_front()?;
        self.waiting.insert(trial);
        Some(trial)
    }

    /// Takes the outcome of a trial that was handed out.
    ///
    /// # Errors
    /// When no outcome of this trial is waited for; the plan is then as it was.
    pub fn tell(&mut self, trial: Trial, outcome: TrialOutcome) -> Result<()> {
        let not_waited_for = Error::NotWaitedFor { candidate: trial.candidate, fold: trial.fold };
        if !self.waiting.remove(&trial) {
            return Err(not_waited_for);
        }
        let Some(candidate) = self.candidates.get_mut(&trial.candidate) else { return Err(not_waited_for) };
        self.n_done += 1;
        self.n_failed += usize::from(matches!(outcome, TrialOutcome::Failed { .. }));
        candidate.outcomes[trial.fold] = Some(outcome);
        if !candidate.is_complete() {
            return Ok(());
        }
        let score = candidate.mean_test_score().filter(|score| !score.is_nan());
        self.machine.tell(trial.candidate, score)?;
        if let Some(score) = score {
            let leader = Leader { index: trial.candidate, level: self.machine.level(trial.candidate), score };
            if self.best.is_none_or(|best| self.leads(leader, best)) {
                self.best = Some(leader);
            }
        }
        self.fill();
        Ok(())
    }

    /// Whether every trial has its outcome.
    pub fn is_done(&self) -> bool {
        self.is_exhausted && self.ready.is_empty() && self.waiting.is_empty()
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        let best = self.best.map(|Leader { index, score, .. }| Best {
            index,
            params: self.candidates.get(&index).map_or_else(Params::new, |candidate| candidate.params().clone()),
            score,
        });
        let total = self.machine.n_candidates() * self.n_splits;
        Progress { done: self.n_done, total: total.max(self.n_done), failed: self.n_failed, best }
    }

    /// A candidate that was handed out.
    pub fn candidate(&self, candidate: usize) -> Option<&Candidate> {
        self.candidates.get(&candidate).map(CandidateResult::candidate)
    }

    /// The results of all that was handed out; a trial without an outcome is an empty score.
    pub fn into_results(self) -> CvResults {
        let machine = &self.machine;
        let level = |(number, candidate)| (machine.level(number), candidate);
        CvResults::new(self.candidates.into_iter().map(level).collect(), self.n_splits, self.judging)
    }

    /// Takes candidates until there is a trial to hand out.
    fn fill(&mut self) {
        while self.ready.is_empty() && !self.is_exhausted {
            match self.machine.ask() {
                Ask::Candidate(candidate) => {
                    let number = candidate.number;
                    self.candidates.insert(number, CandidateResult::new(candidate, self.n_splits, &self.judging));
                    self.ready.extend((0..self.n_splits).map(|fold| Trial { candidate: number, fold }));
                }
                Ask::Wait => return,
                Ask::Done => self.is_exhausted = true,
            }
        }
    }

    /// Of equals the first is best, whenever it came.
    fn leads(&self, new: Leader, old: Leader) -> bool {
        let is_better = self.judging.goal().is_better(new.score, old.score);
        new.level > old.level
            || (new.level == old.level && (is_better || (new.score == old.score && new.index < old.index)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ParamGrid, Space, TrialScore, method::Asha};

    fn plan(goal: Goal) -> Plan {
        Plan::new(ParamGrid::new().values("alpha", [1, 2, 3]).candidates().expect("three"), 2, goal)
    }

    fn scored(score: f64) -> TrialOutcome {
        TrialOutcome::Scored(TrialScore::new(score, 0.5, 0.25))
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

    #[test]
    fn an_error_score_keeps_a_candidate_in_the_running() {
        let grid = ParamGrid::new().values("alpha", [1, 2, 3]).candidates().expect("three");
        let judging = Judging { error_score: Some(-9.), ..Judging::by("score", Goal::Maximize) };
        let mut plan = Plan::of(method::listed(grid), 2, judging);
        while let Some(trial) = plan.ask() {
            plan.tell(trial, outcome(trial)).expect("waited for");
        }
        let results = plan.into_results();
        assert_eq!(results.candidates()[1].test_scores(), [Some(1.), Some(-9.)]);
        assert_eq!(results.candidates()[1].mean_test_score(), Some(-4.));
        assert_eq!(results.candidates()[1].error(), Some("alpha is 2, expected less"));
        assert_eq!(results.ranks(), [2, 3, 1]);
    }

    /// Whoever has the larger budget is before whoever has not, whatever the scores.
    #[test]
    fn scores_on_different_budgets_are_not_compared() {
        let space = Space::new().uniform("x", 0., 1.);
        let run = |reverse: bool| {
            let asha = Asha::new(9, 9).batch_size(3);
            let machine = crate::Method::from(asha).machine(&space, 1, &[], Goal::Maximize).expect("a machine");
            let mut plan = Plan::of(machine, 2, Judging::by("score", Goal::Maximize));
            while !plan.is_done() {
                let mut trials = all(&mut plan);
                if reverse {
                    trials.reverse();
                }
                for trial in trials {
                    let candidate = plan.candidate(trial.candidate).expect("handed out");
                    let rung = candidate.budget.expect("a budget").rung;
                    let x = candidate.params["x"].as_f64().expect("a number");
                    plan.tell(trial, scored(x - 10. * rung as f64)).expect("waited for");
                }
            }
            (plan.progress(), plan.into_results())
        };
        let (progress, results) = run(false);
        assert_eq!((&progress, &results), (&run(true).0, &run(true).1));
        assert_eq!(progress.done, 2 * results.candidates().len());
        let best = results.best_index().expect("a winner");
        assert_eq!(results.candidates()[best].candidate().budget.expect("a budget").resource, 9);
        assert_eq!(progress.best.expect("a leader").index, best);
    }
}
