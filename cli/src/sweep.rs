//! `phalanx sweep`: every candidate of a sweep file on every fold, and files that hold what was found.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use phalanx_learn::{Goal, KFold, ModelFile, params, split::PredefinedSplit};
use phalanx_runtime::Client;
use phalanx_search::{DataOn, Method, Search, SearchResult};
use serde_json::{Map, Value, json};

use crate::{
    Error, Result,
    args::SweepArguments,
    class_coef::ClassCoefficients,
    coef::{Coefficients, csv_cell},
    data::{Loaded, Takes, on_cluster},
    job,
    output::{self, Screen, Table, column, count, digits, seconds},
    sweep_cv::Cv,
    sweep_file::{CLASSIFIER, MODEL_STEP, SweepFile},
    sweep_space::Parameter,
};

/// Candidates in the printed table, unless all are asked for.
const N_SHOWN: usize = 20;

/// Runs a sweep file, or says what it would run.
pub(crate) fn sweep(arguments: &SweepArguments, screen: &Screen) -> Result<()> {
    let file = SweepFile::read(&arguments.file)?;
    let folder = arguments.output.clone().unwrap_or_else(|| default_folder(&arguments.file));
    output::check_folder(&folder)?;
    let n_fits = n_fits(&file)?;
    if arguments.dry_run {
        return plan(&file, &folder, n_fits, arguments, screen);
    }
    job::on_cluster(&arguments.job, screen, async |client| {
        let start = Instant::now();
        let progress = screen.progress("reading the data", 0);
        let loaded = file.design.load(client, Takes::default()).await?;
        check_target(&file, &loaded)?;
        drop(progress);
        let progress = screen.progress("fits", n_fits as u64);
        let search = folded(client, &file, &loaded).await?;
        let search = search.on_trial(move |now| progress.set(now.done as u64, now.total as u64));
        let mut data = DataOn::new(&loaded.x, &loaded.y);
        if let Some(groups) = &loaded.sides.groups {
            data = data.groups(groups);
        }
        if let Some(weights) = &loaded.sides.weights {
            data = data.sample_weight(weights);
        }
        let found = search.fit_data_on(client, data).await.map_err(Error::failed)?;
        // The progress bar is the search's, and goes before the table comes.
        drop(search);
        let outcome = Outcome { file: &file, found: &found, loaded: &loaded, seconds: start.elapsed().as_secs_f64() };
        output::write_folder(&folder, &outcome.files()?)?;
        if arguments.job.json {
            return screen.print_json(&outcome.to_json(&folder));
        }
        screen.print(outcome.to_text(&folder, if arguments.all { usize::MAX } else { N_SHOWN }))
    })
}

/// How many fits there are, at least as many as are expected where that follows from scores.
fn n_fits(file: &SweepFile) -> Result<usize> {
    let n_candidates = match &file.cv {
        Cv::Rule(_) => file.search().check().map_err(Error::usage)? / file.cv.n_splits(),
        // Its folds are not known yet; two stand for them.
        Cv::Column { .. } => file.search().cv(KFold::new(2)).check().map_err(Error::usage)? / 2,
    };
    Ok(n_candidates * file.cv.n_splits())
}

/// The search with its folds, which a column of the data may number.
async fn folded(client: &Client, file: &SweepFile, loaded: &Loaded) -> Result<Search> {
    let search = file.search();
    let Some(folds) = &loaded.sides.folds else { return Ok(search) };
    let folds = client.compute(folds).await.map_err(on_cluster)?;
    Ok(search.cv(PredefinedSplit::new(folds.iter().map(|fold| *fold as i64))))
}

/// `sweep-out/bikeshare` for `examples/bikeshare.yaml`.
fn default_folder(file: &Path) -> PathBuf {
    Path::new("sweep-out").join(file.file_stem().unwrap_or(file.as_os_str()))
}

/// What would be run.
fn plan(file: &SweepFile, folder: &Path, n_fits: usize, arguments: &SweepArguments, screen: &Screen) -> Result<()> {
    let n_candidates = n_fits / file.cv.n_splits();
    if arguments.job.json {
        let what = |parameter: &Parameter| match parameter.values() {
            Some(values) => values.to_vec().into(),
            None => Value::from(parameter.describe().1),
        };
        let parameters: Map<String, Value> =
            file.parameters.iter().map(|parameter| (parameter.name.clone(), what(parameter))).collect();
        return screen.print_json(&json!({
            "estimator": file.estimator_name,
            "parameters": parameters,
            "method": method_name(&file.choice.method),
            "candidates": n_candidates,
            "folds": file.cv.n_splits(),
            "fits": n_fits,
            "metric": file.scorer.name(),
            "cluster": arguments.job.cluster.to_string(),
            "output": folder.display().to_string(),
        }));
    }
    let mut table = Table::new(["parameter", ">values", ""]);
    for parameter in &file.parameters {
        let (n_values, values) = parameter.describe();
        table.row([parameter.name.clone(), n_values, values]);
    }
    let standardized = if file.standardize { " on standardized columns" } else { "" };
    screen.print(format_args!(
        "{}{standardized}, by {} ({})\n\n{table}\n\n{} x {} = {}, then one of the best on all rows\n\
         data {}\ncluster {}\noutput {}\n\nNothing was run.",
        file.estimator_name,
        file.scorer.name(),
        goal(file.scorer.goal()),
        count(n_candidates, "candidate"),
        count(file.cv.n_splits(), "fold"),
        count(n_fits, "fit"),
        file.design.data.join(", "),
        arguments.job.cluster,
        folder.display(),
    ))
}

fn goal(goal: Goal) -> &'static str {
    match goal {
        Goal::Maximize => "higher is better",
        Goal::Minimize => "lower is better",
    }
}

/// The method as the sweep file calls it.
fn method_name(method: &Method) -> &'static str {
    match method {
        Method::Grid => "grid",
        Method::Random(_) => "random",
        Method::Tpe(_) => "bayes",
        _ => "hyperband",
    }
}

/// A text of two levels is a target for what tells two classes apart, and for nothing else.
fn check_target(file: &SweepFile, loaded: &Loaded) -> Result<()> {
    let Some(positive) = &loaded.positive else { return Ok(()) };
    let family = params::get(&*file.estimator).ok().and_then(|all| all.get(&file.full_name("family")).cloned());
    if ["LogisticRegression", CLASSIFIER].contains(&file.estimator_name.as_str()) || family == Some("binomial".into()) {
        return Ok(());
    }
    Err(Error::failed(format!(
        "the target {:?} is text (as {positive:?}), expected numbers for {}; use logistic_regression",
        file.design.target, file.estimator_name
    )))
}

/// What a sweep has found, and what it was asked.
struct Outcome<'a> {
    file: &'a SweepFile,
    found: &'a SearchResult,
    loaded: &'a Loaded,
    seconds: f64,
}

impl Outcome<'_> {
    /// The files of the output folder.
    fn files(&self) -> Result<Vec<(&'static str, Vec<u8>)>> {
        let mut files = vec![("results.csv", self.results_csv().into_bytes())];
        let model = self.found.best_model.as_deref().ok_or_else(|| Error::failed("the search fitted no best model"))?;
        let (schema, block) = &self.loaded.sample;
        let (estimator, encoder) = (&*self.found.best_estimator, self.loaded.encoder.clone());
        let saved = ModelFile::new(estimator, model, encoder, &self.file.design.target, (schema, block))
            .and_then(|file| file.target_levels(&self.loaded.levels).to_json())
            .map_err(Error::failed)?;
        files.push(("best_model.json", saved.into_bytes()));
        if let Some(coefficients) = self.coefficients() {
            files.push(("best_coefficients.csv", coefficients.to_csv().into_bytes()));
        }
        if let Some(coefficients) = ClassCoefficients::of(model, &self.loaded.names, &self.loaded.levels) {
            files.push(("best_coefficients.csv", coefficients.to_csv().into_bytes()));
        }
        Ok(files)
    }

    fn coefficients(&self) -> Option<Coefficients> {
        Coefficients::of(self.found.best_model.as_deref()?, &self.loaded.names)
    }

    /// scikit-learn's `cv_results_`, with parameters called as in the sweep file.
    fn results_csv(&self) -> String {
        let results = &self.found.cv_results;
        let columns = results.columns();
        let mut text = columns.iter().map(|name| csv_cell(&self.own_column(name))).collect::<Vec<_>>().join(",");
        for candidate in 0..results.candidates().len() {
            let cells = results.row(candidate).into_iter().zip(&columns).map(|(cell, name)| {
                let cell = if name == "params" { Value::from(self.params(candidate)).to_string() } else { cell };
                csv_cell(&cell)
            });
            text += "\n";
            text += &cells.collect::<Vec<_>>().join(",");
        }
        text + "\n"
    }

    /// `param_alpha` for `param_model__alpha`.
    fn own_column(&self, name: &str) -> String {
        name.strip_prefix("param_").map_or_else(|| name.to_owned(), |name| format!("param_{}", self.own_name(name)))
    }

    fn own_name<'n>(&self, name: &'n str) -> &'n str {
        let inner = name.strip_prefix(MODEL_STEP).and_then(|name| name.strip_prefix("__"));
        inner.filter(|_| self.file.standardize).unwrap_or(name)
    }

    /// A candidate's parameters, called as in the sweep file.
    fn params(&self, candidate: usize) -> Map<String, Value> {
        let params = self.found.cv_results.candidates()[candidate].params();
        params.iter().map(|(name, value)| (self.own_name(name).to_owned(), value.clone())).collect()
    }

    fn to_json(&self, folder: &Path) -> Value {
        let results = &self.found.cv_results;
        let n_failed = results.candidates().iter().filter(|candidate| candidate.error().is_some()).count();
        json!({
            "output": folder.display().to_string(),
            "metric": self.file.scorer.name(),
            "candidates": results.candidates().len(),
            "failed": n_failed,
            "best_index": self.found.best_index,
            "best_params": self.params(self.found.best_index),
            "best_score": self.found.best_score,
            "report": self.found.best_model.as_ref().map(|model| model.report()),
            "seconds": self.seconds,
        })
    }

    fn to_text(&self, folder: &Path, n_shown: usize) -> String {
        let results = &self.found.cv_results;
        let ranking = results.ranking();
        let shown = &ranking[..ranking.len().min(n_shown)];
        let metric = self.file.scorer.name();
        let names: Vec<&str> = self.file.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
        let headings = names.iter().map(|name| format!(">{name}"));
        let score = format!(">{metric}");
        // Of how much of the largest budget a score is, where there are budgets.
        let budget = |candidate: usize| {
            let budget = results.candidates()[candidate].candidate().budget?;
            Some(format!("{} of {}", budget.resource, budget.max_resource))
        };
        let has_budgets = ranking.first().is_some_and(|first| budget(*first).is_some());
        let headings: Vec<String> = [">rank".to_owned()]
            .into_iter()
            .chain(headings)
            .chain(has_budgets.then(|| ">budget".to_owned()))
            .chain([score, ">std".to_owned(), ">fit time".to_owned()])
            .collect();
        let mut table = Table::new(headings.iter().map(String::as_str));
        let numbers = |of: &dyn Fn(usize) -> Option<f64>| {
            let known: Vec<f64> = shown.iter().map(|&candidate| of(candidate).unwrap_or(f64::NAN)).collect();
            column(&known, 8)
        };
        let means = numbers(&|candidate| results.candidates()[candidate].mean_test_score());
        let stds = numbers(&|candidate| results.candidates()[candidate].std_test_score());
        for (place, &candidate) in shown.iter().enumerate() {
            let params = self.params(candidate);
            let values = names.iter().map(|name| params.get(*name).map_or_else(String::new, short));
            let times = results.candidates()[candidate].fit_times();
            let scores = match results.candidates()[candidate].error() {
                Some(_) => ["failed".to_owned(), String::new(), String::new()],
                None => {
                    let mean = times.iter().sum::<f64>() / times.len() as f64;
                    [means[place].clone(), stds[place].clone(), seconds(mean)]
                }
            };
            table.row(
                [results.ranks()[candidate].to_string()]
                    .into_iter()
                    .chain(values)
                    .chain(budget(candidate))
                    .chain(scores),
            );
        }
        let mut text = format!("{table}\n");
        if shown.len() < ranking.len() {
            text += &format!("... {} more in results.csv, or with --all\n", ranking.len() - shown.len());
        }
        let failed: Vec<_> = results.candidates().iter().filter_map(|candidate| candidate.error()).collect();
        if let Some(first) = failed.first() {
            text += &format!("\n{} failed, the first with: {first}\n", count(failed.len(), "candidate"));
        }
        let best: Vec<String> = self
            .params(self.found.best_index)
            .iter()
            .map(|(name, value)| format!("{name} = {}", cell(value)))
            .collect();
        text += &format!(
            "\nBest: {}, with {metric} {} ({})\n",
            best.join(", "),
            column(&[self.found.best_score], 8).concat(),
            goal(self.file.scorer.goal())
        );
        if let Some(coefficients) = self.coefficients() {
            text += &format!(
                "Fitted on all rows: {}, {} of them with no weight\n",
                count(coefficients.names.len(), "column"),
                coefficients.n_zero()
            );
        }
        if let Some(positive) = &self.loaded.positive {
            text += &format!("1 is {}={positive}\n", self.file.design.target);
        }
        let n_fits = results.candidates().len() * results.n_splits();
        text + &format!("{} in {}; results are in {}", count(n_fits, "fit"), seconds(self.seconds), folder.display())
    }
}

/// A parameter's value in a table: of a number that was drawn the first digits; `results.csv` has them all.
fn short(value: &Value) -> String {
    match value.as_f64() {
        Some(number) if value.is_f64() && value.to_string().len() > 8 => digits(number),
        _ => cell(value),
    }
}

/// A parameter's value: a text without its quotes.
fn cell(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
