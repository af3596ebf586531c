//! What a search found: scikit-learn's `cv_results_`, and its form as a CSV file.

use std::path::Path;

use phalanx_learn::{Goal, files::write_atomically};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Error, Result,
    space::Params,
    trial::{TrialOutcome, TrialScore},
};

/// One candidate with what each fold said of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CandidateResult {
    params: Params,
    /// One a fold; none while it is not known.
    pub(crate) outcomes: Vec<Option<TrialOutcome>>,
}

/// All candidates in the grid's order, with means and ranks.
///
/// A candidate that failed on a fold has no mean, the last rank, and an error. Means are of the folds, each
/// counting alike; standard deviations are of the population (ddof 0); ties share the least rank.
#[derive(Debug, Clone, PartialEq)]
pub struct CvResults {
    candidates: Vec<CandidateResult>,
    n_splits: usize,
    ranks: Vec<usize>,
}

impl CandidateResult {
    pub(crate) fn new(params: Params, n_splits: usize) -> Self {
        Self { params, outcomes: vec![None; n_splits] }
    }

    /// Its parameters.
    pub const fn params(&self) -> &Params {
        &self.params
    }

    /// The score on each fold; none where it failed.
    pub fn test_scores(&self) -> Vec<Option<f64>> {
        self.outcomes.iter().map(|outcome| outcome.as_ref()?.score().map(|score| score.score)).collect()
    }

    /// The mean of the scores, when there is one on every fold.
    pub fn mean_test_score(&self) -> Option<f64> {
        self.whole_scores().map(|scores| mean(&scores))
    }

    /// The standard deviation of the scores, when there is one on every fold.
    pub fn std_test_score(&self) -> Option<f64> {
        self.whole_scores().map(|scores| std(&scores))
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

    fn scored(&self) -> impl Iterator<Item = &TrialScore> {
        self.outcomes.iter().flatten().filter_map(TrialOutcome::score)
    }

    fn whole_scores(&self) -> Option<Vec<f64>> {
        self.test_scores().into_iter().collect()
    }
}

impl CvResults {
    /// Ranks the candidates; `goal` says which direction of their scores is better.
    pub(crate) fn new(candidates: Vec<CandidateResult>, n_splits: usize, goal: Goal) -> Self {
        // Overflow can make a mean NaN; such a candidate is no better than one that failed.
        let means: Vec<Option<f64>> =
            candidates.iter().map(|candidate| candidate.mean_test_score().filter(|mean| !mean.is_nan())).collect();
        let is_better = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => goal.is_better(a, b),
            (a, b) => a.is_some() && b.is_none(),
        };
        let mut order: Vec<usize> = (0..candidates.len()).collect();
        order.sort_by(|&a, &b| is_better(means[b], means[a]).cmp(&is_better(means[a], means[b])));
        let mut ranks = vec![1; candidates.len()];
        for (place, pair) in order.windows(2).enumerate() {
            // Ties share the least rank.
            let tied = !is_better(means[pair[0]], means[pair[1]]);
            ranks[pair[1]] = if tied { ranks[pair[0]] } else { place + 2 };
        }
        Self { candidates, n_splits, ranks }
    }

    /// All candidates in the grid's order.
    pub fn candidates(&self) -> &[CandidateResult] {
        &self.candidates
    }

    /// How many folds there are.
    pub const fn n_splits(&self) -> usize {
        self.n_splits
    }

    /// The rank of each candidate, 1 for the best.
    pub fn ranks(&self) -> &[usize] {
        &self.ranks
    }

    /// The first candidate of rank 1 that was scored on every fold.
    pub fn best_index(&self) -> Option<usize> {
        let best = self.ranks.iter().position(|&rank| rank == 1)?;
        self.candidates[best].mean_test_score().filter(|mean| !mean.is_nan()).map(|_| best)
    }

    /// The candidates from best to worst, ties in the grid's order.
    pub fn ranking(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.candidates.len()).collect();
        order.sort_by_key(|&candidate| (self.ranks[candidate], candidate));
        order
    }

    /// The names of the columns, those of scikit-learn's `cv_results_` and `error`.
    pub fn columns(&self) -> Vec<String> {
        let times = ["mean_fit_time", "std_fit_time", "mean_score_time", "std_score_time"].map(str::to_owned);
        let params = self.param_names().into_iter().map(|name| format!("param_{name}"));
        let splits = (0..self.n_splits).map(|fold| format!("split{fold}_test_score"));
        let scores = ["mean_test_score", "std_test_score", "rank_test_score", "error"].map(str::to_owned);
        times.into_iter().chain(params).chain(["params".to_owned()]).chain(splits).chain(scores).collect()
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
        let (fit, score) = (result.fit_times(), result.score_times());
        let times = [of_some(mean, &fit), of_some(std, &fit), of_some(mean, &score), of_some(std, &score)];
        let params = self.param_names().into_iter().map(|name| match result.params.get(name) {
            None => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        });
        let as_object = Value::Object(result.params.clone().into_iter().collect()).to_string();
        let splits = result.test_scores().into_iter().map(number);
        let scores = [
            number(result.mean_test_score()),
            number(result.std_test_score()),
            self.ranks[candidate].to_string(),
            result.error().unwrap_or_default().to_owned(),
        ];
        times.into_iter().chain(params).chain([as_object]).chain(splits).chain(scores).collect()
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

    fn param_names(&self) -> Vec<&str> {
        let names: std::collections::BTreeSet<&str> =
            self.candidates.iter().flat_map(|candidate| candidate.params.keys().map(String::as_str)).collect();
        names.into_iter().collect()
    }
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
            score => Some(TrialOutcome::Scored(TrialScore { score, fit_seconds: 2., score_seconds: 0.5 })),
        });
        let params = [("alpha".to_owned(), json!(alpha)), ("solver".to_owned(), json!("admm"))].into();
        CandidateResult { params, outcomes: outcomes.collect() }
    }

    fn results(goal: Goal) -> CvResults {
        let failed = [f64::NAN, 3.];
        let candidates = vec![
            candidate(0.1, &failed),
            candidate(1e-20, &[1., 2.]),
            candidate(1., &[2., 1.]),
            candidate(2., &[0.1, 0.2]),
        ];
        CvResults::new(candidates, 2, goal)
    }

    #[test]
    fn ties_share_the_least_rank_and_failures_the_last() {
        assert_eq!(results(Goal::Maximize).ranks(), [4, 1, 1, 3]);
        assert_eq!(results(Goal::Minimize).ranks(), [4, 2, 2, 1]);
        assert_eq!(results(Goal::Maximize).best_index(), Some(1));
        assert_eq!(results(Goal::Minimize).ranking(), [3, 1, 2, 0]);
        let failed = CvResults::new(vec![candidate(1., &[f64::NAN, f64::NAN])], 2, Goal::Maximize);
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
