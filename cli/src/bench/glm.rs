//! `phalanx bench glm`: how long fits and paths of GLMs take to the same objective value, with scikit-learn, glum and
//! dask-glm beside them.

mod files;
mod ours;
mod out_of_core;
mod peer;
mod problem;
mod table;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use phalanx_glm::Family;

use self::{
    files::DataFile,
    peer::{Outcome, Peer, Runs, Side},
    problem::{Problem, Source},
    table::{Report, Row},
};
use crate::{
    Error, Result,
    args::GlmBenchArguments,
    error::io_reason,
    output::{Progress, Screen},
    signals,
};

/// How near to the best known objective one has to come, relatively.
const WITHIN: f64 = 1e-8;
/// Folds of a cross-validated path.
const N_FOLDS: usize = 10;
/// Rows of a fit, and of a path.
const N_ROWS: [usize; 2] = [500_000, 100_000];
/// Rows of a file that does not fit into memory.
const N_ROWS_OUT_OF_CORE: usize = 5_000_000;
/// A quick bench has so many times fewer.
const QUICK: usize = 10;

/// One row to measure.
#[derive(Debug, Clone, PartialEq)]
struct Plan {
    name: &'static str,
    family: Family,
    alpha: Alpha,
    l1_ratio: f64,
    /// Whether it is a cross-validated path.
    path: bool,
    /// The file that has its numbers; drawn where there is none.
    file: Option<DataFile>,
    /// How many times faster than the fastest peer we want to be; none where that is only reported.
    target: Option<f64>,
}

/// How strong a penalty is; a path has strengths of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Alpha {
    /// As strong as that.
    Fixed(f64),
    /// One over the number of rows, which is C = 1 of scikit-learn.
    OneOverRows,
}

impl Plan {
    const fn fit(name: &'static str, family: Family, alpha: f64, l1_ratio: f64, target: f64) -> Self {
        Self { name, family, alpha: Alpha::Fixed(alpha), l1_ratio, path: false, file: None, target: Some(target) }
    }

    const fn path(name: &'static str, family: Family, target: f64) -> Self {
        Self { name, family, alpha: Alpha::Fixed(0.), l1_ratio: 1., path: true, file: None, target: Some(target) }
    }

    const fn read(name: &'static str, file: DataFile, family: Family, alpha: Alpha, l1_ratio: f64) -> Self {
        Self { name, family, alpha, l1_ratio, path: false, file: Some(file), target: None }
    }

    /// All rows, in their order: those of one problem follow each other.
    const ALL: [Self; 10] = [
        Self::fit("logistic L2", Family::Binomial, 1e-4, 0., 2.),
        Self::fit("logistic L1", Family::Binomial, 1e-3, 1., 3.),
        Self::fit("Poisson L2", Family::Poisson, 1e-3, 0., 3.),
        Self::fit("Poisson elastic net", Family::Poisson, 1e-2, 0.5, 3.),
        Self::fit("gaussian elastic net", Family::Gaussian, 1e-2, 0.5, 5.),
        Self::path("gaussian lasso path", Family::Gaussian, 20.),
        Self::path("logistic lasso path", Family::Binomial, 5.),
        Self::path("Poisson lasso path", Family::Poisson, 5.),
        Self::read("flights", DataFile::Flights, Family::Binomial, Alpha::OneOverRows, 0.),
        Self::read("dengue rates", DataFile::Dengue, Family::Poisson, Alpha::Fixed(0.05), 0.5),
    ];

    fn alpha(&self, n_rows: usize) -> f64 {
        match self.alpha {
            Alpha::Fixed(alpha) => alpha,
            Alpha::OneOverRows => 1. / n_rows as f64,
        }
    }

    /// Where its numbers come from, with so many rows of a fit and of a path.
    fn source(&self, n_rows: [usize; 2]) -> Source {
        let drawn = Source::Drawn(self.family, n_rows[usize::from(self.path)]);
        self.file.map_or(drawn, Source::File)
    }
}

/// Measures all rows and prints them.
pub(crate) fn glm(arguments: &GlmBenchArguments, screen: &Screen) -> Result<()> {
    let common = &arguments.bench;
    if cfg!(debug_assertions) && !common.json {
        screen.say("this is a debug build; its figures say nothing about a release build");
    }
    let (plans, out_of_core) = chosen(&common.only)?;
    let (plans, left_out) = readable(plans, arguments.data.as_deref())?;
    if let Some(line) = left_out {
        if plans.is_empty() && out_of_core.is_empty() {
            return Err(Error::usage(format!("nothing is left to measure: {line}")));
        }
        if !common.json {
            screen.say(line);
        }
    }
    let n_rows = match arguments.rows {
        Some(rows) => [rows as usize, rows as usize / 5],
        None if common.quick => N_ROWS.map(|rows| rows / QUICK),
        None => N_ROWS,
    };
    let none = || Err("no Python was given; name one that has it with --peers PYTHON".to_owned());
    let n_rows_out_of_core = match arguments.rows {
        Some(rows) => rows as usize * 10,
        None if common.quick => N_ROWS_OUT_OF_CORE / QUICK,
        None => N_ROWS_OUT_OF_CORE,
    };
    let versions =
        Peer::ALL.map(|peer| (peer, common.peers.as_deref().map_or_else(none, |python| peer.version(python))));
    let bench = Bench {
        plans,
        out_of_core,
        data: arguments.data.clone().unwrap_or_default(),
        n_rows_out_of_core,
        n_rows,
        n_threads: thread::available_parallelism().map_or(1, usize::from),
        python: common.peers.clone(),
        peers: versions.iter().filter(|(_, version)| version.is_ok()).map(|(peer, _)| *peer).collect(),
        limit: Duration::from_secs(if common.quick { 20 } else { 60 }),
        ended: Arc::default(),
    };
    let mut report = Report {
        peers: versions.map(|(peer, version)| (peer.name(), version)).into(),
        rows: Vec::new(),
        out_of_core: Vec::new(),
    };
    let (ended, progress) = (bench.ended.clone(), screen.progress("bench glm", bench.n_plans()));
    let runtime = signals::single_threaded()?;
    // Fits block, so they have a thread of their own and this one listens. A fit of ours that runs is waited for; a
    // peer's is ended.
    (report.rows, report.out_of_core) = runtime.block_on(async {
        let signal = signals::listen()?;
        let mut measured = tokio::task::spawn_blocking(move || bench.rows(&progress));
        tokio::select! {
            rows = &mut measured => rows.map_err(Error::failed)?,
            signal = signal => {
                ended.store(true, Ordering::Relaxed);
                let _ = measured.await;
                Err(Error::Interrupted { message: format!("{signal}: the bench is ended") })
            }
        }
    })?;
    if common.json { screen.print_json(&report.to_json()) } else { screen.print(report.to_text()) }
}

/// The rows that are asked for.
fn chosen(only: &[String]) -> Result<(Vec<Plan>, Vec<out_of_core::Plan>)> {
    let names: Vec<&str> =
        Plan::ALL.iter().map(|plan| plan.name).chain(out_of_core::PLANS.iter().map(|plan| plan.name)).collect();
    if let Some(text) = only.iter().find(|text| !names.iter().any(|name| name.contains(text.as_str()))) {
        return Err(Error::usage(format!("no row's name contains {text:?}; the rows are {}", names.join(", "))));
    }
    let wanted = |name: &str| only.is_empty() || only.iter().any(|text| name.contains(text.as_str()));
    let in_memory = Plan::ALL.into_iter().filter(|plan| wanted(plan.name)).collect();
    Ok((in_memory, out_of_core::PLANS.into_iter().filter(|plan| wanted(plan.name)).collect()))
}

/// The rows whose numbers there are, and what is to be said of those that are left out because no folder was named.
/// A file that is not in the folder is refused before anything is measured.
fn readable(plans: Vec<Plan>, data: Option<&Path>) -> Result<(Vec<Plan>, Option<String>)> {
    let Some(folder) = data else {
        let (left_out, plans): (Vec<Plan>, Vec<Plan>) = plans.into_iter().partition(|plan| plan.file.is_some());
        let names: Vec<String> = left_out
            .iter()
            .filter_map(|plan| plan.file.map(|file| format!("{} ({})", plan.name, file.file_name())))
            .collect();
        let line = || format!("left out: {}; name the folder that has them by --data DIR", names.join(", "));
        return Ok((plans, (!names.is_empty()).then(line)));
    };
    for plan in &plans {
        if let Some(path) = plan.file.map(|file| folder.join(file.file_name()))
            && let Err(error) = path.metadata()
        {
            let (path, reason) = (path.display(), io_reason(&error));
            return Err(Error::failed(format!("cannot read {path} for the row {}: {reason}", plan.name)));
        }
    }
    Ok((plans, None))
}

/// What to measure, and how.
struct Bench {
    plans: Vec<Plan>,
    out_of_core: Vec<out_of_core::Plan>,
    n_rows_out_of_core: usize,
    /// The folder of the files; empty where none was named, and then no row needs one.
    data: PathBuf,
    /// Of a fit, and of a path.
    n_rows: [usize; 2],
    n_threads: usize,
    python: Option<PathBuf>,
    /// Those that are there.
    peers: Vec<Peer>,
    /// When a peer's fit is stopped.
    limit: Duration,
    /// Whether somebody wants it to end.
    ended: Arc<AtomicBool>,
}

impl Bench {
    const fn n_plans(&self) -> u64 {
        (self.plans.len() + self.out_of_core.len()) as u64
    }

    fn rows(&self, progress: &Progress) -> Result<(Vec<Row>, Vec<out_of_core::Row>)> {
        let mut rows = Vec::new();
        let mut problem: Option<Problem> = None;
        for plan in &self.plans {
            let source = plan.source(self.n_rows);
            let mut same = match problem.take().filter(|before| before.source == source) {
                Some(problem) => problem,
                None => Problem::of(source, &self.data)?,
            };
            rows.push(self.row(plan, &mut same)?);
            problem = Some(same);
            progress.set(rows.len() as u64, self.n_plans());
            if self.ended.load(Ordering::Relaxed) {
                return Ok((rows, Vec::new()));
            }
        }
        // What a file is fitted in is told without the memory of the rows before.
        drop(problem);
        Ok((rows, out_of_core::measure(&self.out_of_core, self.n_rows_out_of_core)?))
    }

    fn row(&self, plan: &Plan, problem: &mut Problem) -> Result<Row> {
        let ours = ours::measure(plan, problem)?;
        let mut sides = Vec::new();
        if let Some(python) = self.python.as_deref().filter(|_| !self.peers.is_empty()) {
            let folder = &problem.folder()?.to_owned();
            problem::write(&folder.join("best.f64"), &ours.best)?;
            problem::write(&folder.join("lambdas.f64"), &ours.lambdas)?;
            let runs = Runs { python, n_threads: self.n_threads, limit: self.limit, ended: &self.ended };
            for &peer in &self.peers {
                for &solver in peer.solvers(plan) {
                    let outcome: Outcome = runs.run(peer, solver, plan, problem, folder)?;
                    sides.push(Side { peer, solver, outcome });
                }
            }
        }
        let [n_rows, n_features] = [problem.x.nrows(), problem.x.ncols()];
        Ok(Row { plan: plan.clone(), n_rows, n_features, ours, sides })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_is_not_there_is_named_with_those_that_are() {
        let error = chosen(&["lasso pth".into()]).expect_err("no such row").to_string();
        assert!(error.contains("lasso pth") && error.contains("Poisson elastic net"), "{error}");
        let names: Vec<&str> = chosen(&["logistic".into()]).expect("rows").0.iter().map(|plan| plan.name).collect();
        assert_eq!(names, ["logistic L2", "logistic L1", "logistic lasso path"]);
        let (in_memory, from_file) = chosen(&["out of core".into()]).expect("rows");
        assert_eq!((in_memory.len(), from_file.len()), (0, 3));
    }

    #[test]
    fn rows_of_files_need_a_folder_that_has_them() {
        let (plans, line) = readable(Plan::ALL.into(), None).expect("the others");
        assert_eq!(plans, Plan::ALL[..8]);
        let line = line.expect("a line");
        for part in ["flights (nyc_flights_late.csv.gz)", "dengue rates (dengue_brazil_monthly.csv.gz)", "--data DIR"] {
            assert!(line.contains(part), "{part}: {line}");
        }
        assert_eq!(readable(plans, None).expect("the same").1, None);
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("nyc_flights_late.csv.gz"), "").expect("a file");
        let error = readable(Plan::ALL.into(), Some(folder.path())).expect_err("one is not there").to_string();
        let path = folder.path().join("dengue_brazil_monthly.csv.gz");
        assert!(error.contains(&format!("{} for the row dengue rates", path.display())), "{error}");
        let (plans, line) = readable(Plan::ALL[..9].into(), Some(folder.path())).expect("all");
        assert_eq!((plans.len(), line), (9, None));
    }

    #[test]
    fn a_strength_may_be_one_over_the_rows() {
        let [flights, dengue] = &Plan::ALL[8..] else { panic!("two rows of files") };
        assert_eq!((flights.alpha(400), dengue.alpha(400)), (0.0025, 0.05));
        assert_eq!(flights.source([5, 1]), Source::File(DataFile::Flights));
        assert_eq!(Plan::ALL[7].source([5, 1]), Source::Drawn(Family::Poisson, 1));
    }
}
