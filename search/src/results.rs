//! What a search found: scikit-learn's `cv_results_`, and its form as a CSV file.

use std::{collections::BTreeSet, path::Path};

use phalanx_learn::{Goal, files::write_atomically};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Error, Result,
    method::Candidate,
    plan::Judging,
    space::Params,
    trial::{TrialOutcome, TrialScore},
};

/// One candidate with what each fold said of it.
///
/// Scores are by the metric that decides, unless a metric is named by its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CandidateResult {
    candidate: Candidate,
    /// One a fold; none while it is not known.
    pub(crate) outcomes: Vec<Option<TrialOutcome>>,
    primary: usize,
    error_score: Option<f64>,
}

/// All candidates in the order of their numbers, with means and ranks.
///
/// A candidate that failed on a fold has no mean (unless there is an error score), the last rank, and an error. Means
/// are of the folds, each counting alike; standard deviations are of the population (ddof 0); ties share the least rank.
/// Of methods with budgets those that came further rank before all others, as scores on different budgets do not compare.
#[derive(Debug, Clone, PartialEq)]
pub struct CvResults {
    candidates: Vec<CandidateResult>,
    n_splits: usize,
    judging: Judging,
    param_names: BTreeSet<String>,
    /// One list a metric.
    ranks: Vec<Vec<usize>>,
}

impl CandidateResult {
    pub(crate) fn new(candidate: Candidate, n_splits: usize, judging: &Judging) -> Self {
        let Judging { primary, error_score, .. } = *judging;
        Self { candidate, outcomes: vec![None; n_splits], primary, error_score }
    }

    /// What was tried.
    pub const fn candidate(&self) -> &Candidate {
        &self.candidate
    }

    /// Its parameters.
    pub const fn params(&self) -> &Params {
        &self.candidate.params
    }

    /// The score on each fold; none where it failed.
    pub fn test_scores(&self) -> Vec<Option<f64>> {
        self.test_scores_of(self.primary)
    }

    /// The same by another metric.
    pub fn test_scores_of(&self, metric: usize) -> Vec<Option<f64>> {
        self.each_fold(|score| score.scores.get(metric).copied())
    }

    /// The score on the rows that each fold learned from; none where it failed or was not asked for.
    pub fn train_scores_of(&self, metric: usize) -> Vec<Option<f64>> {
        self.each_fold(|score| score.train_scores.get(metric).copied())
    }

    /// The mean of the scores, when there is one on every fold.
    pub fn mean_test_score(&self) -> Option<f64> {
        whole(&self.test_scores()).map(|scores| mean(&scores))
    }

    /// The standard deviation of the scores, when there is one on every fold.
    pub fn std_test_score(&self) -> Option<f64> {
        whole(&self.test_scores()).map(|scores| std(&scores))
    }

    /// Why it failed: the error of the first fold that has one.
    pub fn error(&self) -> Option<&str> {
        self.outcomes.iter().flatten().find_map(TrialOutcome::error)
    }

    /// Seconds that fitting took on each fold that was scored.
    pub fn fit_times(&self) -> Vec<f64> {
        self.scored().map(|score| score.fit_seconds).collect()
    }

    /// Seconds that predicting and scoring took on each fold that was scored.
    pub fn score_times(&self) -> Vec<f64> {
        self.scored().map(|score| score.score_seconds).collect()
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.outcomes.iter().all(Option::is_some)
    }

    fn scored(&self) -> impl Iterator<Item = &TrialScore> {
        self.outcomes.iter().flatten().filter_map(TrialOutcome::score)
    }

    fn each_fold(&self, of: impl Fn(&TrialScore) -> Option<f64>) -> Vec<Option<f64>> {
        let one = |outcome: &Option<TrialOutcome>| match outcome.as_ref()? {
            TrialOutcome::Scored(score) => of(score),
            TrialOutcome::Failed { .. } => self.error_score,
        };
        self.outcomes.iter().map(one).collect()
    }
}

impl CvResults {
    /// Ranks the candidates, given with how far each came.
    pub(crate) fn new(candidates: Vec<(usize, CandidateResult)>, n_splits: usize, judging: Judging) -> Self {
        let (levels, candidates): (Vec<usize>, Vec<CandidateResult>) = candidates.into_iter().unzip();
        let ranks = judging.metrics.iter().enumerate().map(|(metric, (_, goal))| {
            let scores = candidates.iter().map(|candidate| {
                // Overflow can make a mean NaN; such a candidate is no better than one that failed.
                whole(&candidate.test_scores_of(metric)).map(|scores| mean(&scores)).filter(|mean| !mean.is_nan())
            });
            ranks(&levels, &scores.collect::<Vec<_>>(), *goal)
        });
        let ranks = ranks.collect();
        let param_names = candidates.iter().flat_map(|candidate| candidate.params().keys().cloned()).collect();
        Self { candidates, n_splits, judging, param_names, ranks }
    }

    /// All candidates in the order of their numbers, a grid's in its own.
    pub fn candidates(&self) -> &[CandidateResult] {
        &self.candidates
    }

    /// How many folds there are.
    pub const fn n_splits(&self) -> usize {
        self.n_splits
    }

    /// The metrics and which of them decides.
    pub const fn judging(&self) -> &Judging {
        &self.judging
    }

    /// The rank of each candidate, 1 for the best, by the metric that decides.
    pub fn ranks(&self) -> &[usize] {
        self.ranks_of(self.judging.primary)
    }

    /// The same by another metric; empty where there is no such.
    pub fn ranks_of(&self, metric: usize) -> &[usize] {
        self.ranks.get(metric).map_or(&[], Vec::as_slice)
    }

    /// The first candidate of rank 1 that was scored on every fold.
    pub fn best_index(&self) -> Option<usize> {
        let best = self.ranks().iter().position(|&rank| rank == 1)?;
        self.candidates[best].mean_test_score().filter(|mean| !mean.is_nan()).map(|_| best)
    }

    /// The candidates from best to worst, ties in the order of their numbers.
    pub fn ranking(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.candidates.len()).collect();
        order.sort_by_key(|&candidate| (self.ranks()[candidate], candidate));
        order
    }

    /// The names of the columns, those of scikit-learn's `cv_results_` and `error`.
    ///
    /// One metric is called `score`, several by their names. Where candidates have budgets, `iter` (the rung),
    /// `n_resources` and `bracket` come first. Train scores are there where they were asked for.
    pub fn columns(&self) -> Vec<String> {
        let mut columns: Vec<String> = Vec::new();
        if self.has_budgets() {
            columns.extend(["iter", "n_resources", "bracket"].map(str::to_owned));
        }
        columns.extend(["mean_fit_time", "std_fit_time", "mean_score_time", "std_score_time"].map(str::to_owned));
        columns.extend(self.param_names.iter().map(|name| format!("param_{name}")));
        columns.push("params".to_owned());
        for (name, _) in &self.judging.metrics {
            let name = if self.judging.metrics.len() == 1 { "score" } else { name };
            let mut block = |part: &str| {
                columns.extend((0..self.n_splits).map(|fold| format!("split{fold}_{part}_{name}")));
                columns.extend([format!("mean_{part}_{name}"), format!("std_{part}_{name}")]);
                if part == "test" {
                    columns.push(format!("rank_test_{name}"));
                }
            };
            block("test");
            if self.has_train_scores() {
                block("train");
            }
        }
        columns.push("error".to_owned());
        columns
    }

    /// One candidate as a row under [`columns`](Self::columns).
    ///
    /// Floats read back exactly; a number that is not known is empty; `params` is a JSON object.
    ///
    /// # Panics
    /// When there is no such candidate.
    pub fn row(&self, candidate: usize) -> Vec<String> {
        let number = |number: Option<f64>| number.map_or_else(String::new, |number| format!("{number:?}"));
        let of_some = |of: fn(&[f64]) -> f64, values: &[f64]| number((!values.is_empty()).then(|| of(values)));
        let result = &self.candidates[candidate];
        let mut row: Vec<String> = Vec::new();
        if self.has_budgets() {
            let budget = result.candidate.budget;
            let whole = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
            row.push(whole(budget.map(|budget| budget.rung as u64)));
            row.push(whole(budget.map(|budget| budget.resource)));
            row.push(whole(budget.map(|budget| budget.bracket as u64)));
        }
        for times in [result.fit_times(), result.score_times()] {
            row.extend([of_some(mean, &times), of_some(std, &times)]);
        }
        row.extend(self.param_names.iter().map(|name| match result.params().get(name) {
            None => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        }));
        row.push(Value::Object(result.params().clone().into_iter().collect()).to_string());
        for metric in 0..self.judging.metrics.len() {
            let mut block = |scores: Vec<Option<f64>>, rank: Option<usize>| {
                row.extend(scores.iter().copied().map(number));
                let scores = whole(&scores);
                row.extend([number(scores.as_deref().map(mean)), number(scores.as_deref().map(std))]);
                row.extend(rank.map(|rank| rank.to_string()));
            };
            block(result.test_scores_of(metric), Some(self.ranks[metric][candidate]));
            if self.has_train_scores() {
                block(result.train_scores_of(metric), None);
            }
        }
        row.push(result.error().unwrap_or_default().to_owned());
        row
    }

    /// The table as CSV text with a header.
    pub fn to_csv(&self) -> String {
        let rows = (0..self.candidates.len()).map(|candidate| self.row(candidate));
        std::iter::once(self.columns()).chain(rows).map(|row| csv_line(&row)).collect()
    }

    /// Writes the table to a file, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_csv(&self, path: &Path) -> Result<()> {
        write_atomically(path, self.to_csv().as_bytes())
            .map_err(|source| Error::Write { path: path.display().to_string(), source })
    }

    fn has_budgets(&self) -> bool {
        self.candidates.iter().any(|candidate| candidate.candidate.budget.is_some())
    }

    fn has_train_scores(&self) -> bool {
        self.candidates.iter().flat_map(CandidateResult::scored).any(|score| !score.train_scores.is_empty())
    }
}

/// Who came further is before all others; then by score, ties sharing the least rank, those without one last.
fn ranks(levels: &[usize], scores: &[Option<f64>], goal: Goal) -> Vec<usize> {
    let is_better = |a: usize, b: usize| match (scores[a], scores[b]) {
        (Some(_), Some(_)) if levels[a] != levels[b] => levels[a] > levels[b],
        (Some(a), Some(b)) => goal.is_better(a, b),
        (a, b) => a.is_some() && b.is_none(),
    };
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| is_better(b, a).cmp(&is_better(a, b)));
    let mut ranks = vec![1; scores.len()];
    for (place, pair) in order.windows(2).enumerate() {
        let tied = !is_better(pair[0], pair[1]);
        ranks[pair[1]] = if tied { ranks[pair[0]] } else { place + 2 };
    }
    ranks
}

/// All scores, where there is one on every fold.
fn whole(scores: &[Option<f64>]) -> Option<Vec<f64>> {
    scores.iter().copied().collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn std(values: &[f64]) -> f64 {
    let center = mean(values);
    let squares: Vec<f64> = values.iter().map(|value| (value - center) * (value - center)).collect();
    mean(&squares).sqrt()
}

/// A line by RFC 4180, but for the plain line feed at its end.
fn csv_line(fields: &[String]) -> String {
    let quoted = |field: &String| {
        if field.contains(['"', ',', '\n', '\r']) {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            field.clone()
        }
    };
    fields.iter().map(quoted).collect::<Vec<_>>().join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn candidate(alpha: f64, scores: &[f64]) -> CandidateResult {
        let outcomes = scores.iter().map(|&score| match score {
            _ if score.is_nan() => Some(TrialOutcome::Failed { message: "it said \"no\", twice".to_owned() }),
            score => Some(TrialOutcome::Scored(TrialScore::new(score, 2., 0.5))),
        });
        let params = [("alpha".to_owned(), json!(alpha)), ("solver".to_owned(), json!("admm"))].into();
        let candidate = Candidate { number: 0, config: 0, params, budget: None };
        CandidateResult { candidate, outcomes: outcomes.collect(), primary: 0, error_score: None }
    }

    fn of(candidates: Vec<CandidateResult>, goal: Goal) -> CvResults {
        let candidates = candidates.into_iter().map(|candidate| (0, candidate)).collect();
        CvResults::new(candidates, 2, Judging::by("mse", goal))
    }

    fn results(goal: Goal) -> CvResults {
        let failed = [f64::NAN, 3.];
        let candidates = vec![
            candidate(0.1, &failed),
            candidate(1e-20, &[1., 2.]),
            candidate(1., &[2., 1.]),
            candidate(2., &[0.1, 0.2]),
        ];
        of(candidates, goal)
    }

    #[test]
    fn ties_share_the_least_rank_and_failures_the_last() {
        assert_eq!(results(Goal::Maximize).ranks(), [4, 1, 1, 3]);
        assert_eq!(results(Goal::Minimize).ranks(), [4, 2, 2, 1]);
        assert_eq!(results(Goal::Maximize).best_index(), Some(1));
        assert_eq!(results(Goal::Minimize).ranking(), [3, 1, 2, 0]);
        let failed = of(vec![candidate(1., &[f64::NAN, f64::NAN])], Goal::Maximize);
        assert_eq!((failed.ranks(), failed.best_index()), (&[1][..], None));
    }

    #[test]
    fn the_table_is_scikit_learns_with_errors() {
        let expected = "\
mean_fit_time,std_fit_time,mean_score_time,std_score_time,param_alpha,param_solver,params,\
split0_test_score,split1_test_score,mean_test_score,std_test_score,rank_test_score,error
2.0,0.0,0.5,0.0,0.1,admm,\"{\"\"alpha\"\":0.1,\"\"solver\"\":\"\"admm\"\"}\",,3.0,,,4,\"it said \"\"no\"\", twice\"
2.0,0.0,0.5,0.0,1e-20,admm,\"{\"\"alpha\"\":1e-20,\"\"solver\"\":\"\"admm\"\"}\",1.0,2.0,1.5,0.5,1,
2.0,0.0,0.5,0.0,1.0,admm,\"{\"\"alpha\"\":1.0,\"\"solver\"\":\"\"admm\"\"}\",2.0,1.0,1.5,0.5,1,
2.0,0.0,0.5,0.0,2.0,admm,\"{\"\"alpha\"\":2.0,\"\"solver\"\":\"\"admm\"\"}\",0.1,0.2,0.15000000000000002,0.05,3,
";
        assert_eq!(results(Goal::Maximize).to_csv(), expected);
    }

    #[test]
    fn several_metrics_budgets_and_train_scores_have_their_columns() {
        let mut one = candidate(1., &[1., 2.]);
        for outcome in one.outcomes.iter_mut().flatten() {
            if let TrialOutcome::Scored(score) = outcome {
                score.scores.push(-score.scores[0]);
                score.train_scores = vec![4., 5.];
            }
        }
        one.candidate.budget =
            Some(crate::method::Budget { resource: 3, max_resource: 9, rung: 1, bracket: 2, of_rows: true });
        let metrics = vec![("mse".to_owned(), Goal::Minimize), ("r2".to_owned(), Goal::Maximize)];
        let judging = Judging { metrics, primary: 1, error_score: None };
        let results = CvResults::new(vec![(1, one)], 2, judging);
        let expected = "\
iter,n_resources,bracket,mean_fit_time,std_fit_time,mean_score_time,std_score_time,param_alpha,param_solver,params,\
split0_test_mse,split1_test_mse,mean_test_mse,std_test_mse,rank_test_mse,\
split0_train_mse,split1_train_mse,mean_train_mse,std_train_mse,\
split0_test_r2,split1_test_r2,mean_test_r2,std_test_r2,rank_test_r2,\
split0_train_r2,split1_train_r2,mean_train_r2,std_train_r2,error
1,3,2,2.0,0.0,0.5,0.0,1.0,admm,\"{\"\"alpha\"\":1.0,\"\"solver\"\":\"\"admm\"\"}\",1.0,2.0,1.5,0.5,1,4.0,4.0,4.0,0.0,-1.0,-2.0,-1.5,0.5,1,5.0,5.0,5.0,0.0,
";
        assert_eq!(results.to_csv(), expected);
    }

    #[test]
    fn the_file_reads_back_exactly() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("results.csv");
        results(Goal::Maximize).write_csv(&path).expect("written");
        let mut reader = csv::Reader::from_path(&path).expect("a file");
        let rows: Vec<Vec<String>> =
            reader.records().map(|row| row.expect("a row").iter().map(str::to_owned).collect()).collect();
        let expected: Vec<Vec<String>> = (0..4).map(|candidate| results(Goal::Maximize).row(candidate)).collect();
        assert_eq!(rows, expected);
        assert_eq!(rows[3][9].parse(), Ok((0.1 + 0.2) / 2.));
        let error = results(Goal::Maximize).write_csv(&folder.path().join("none/results.csv")).expect_err("no folder");
        assert!(error.to_string().contains("none/results.csv: "), "{error}");
    }
}
