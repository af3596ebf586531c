//! `phalanx bench glm`: how long fits and paths of GLMs take to the same objective value, with scikit-learn, glum and
//! dask-glm beside them.

mod ours;
mod out_of_core;
mod peer;
mod problem;
mod table;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use phalanx_glm::Family;

use self::{
    peer::{Outcome, Peer, Runs, Side},
    problem::Problem,
    table::{Report, Row},
};
use crate::{
    Error, Result,
    args::GlmBenchArguments,
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
    /// The strength; a path has its own.
    alpha: f64,
    l1_ratio: f64,
    /// Whether it is a cross-validated path.
    path: bool,
    /// How many times faster than the fastest peer we want to be.
    target: f64,
}

impl Plan {
    const fn fit(name: &'static str, family: Family, alpha: f64, l1_ratio: f64, target: f64) -> Self {
        Self { name, family, alpha, l1_ratio, path: false, target }
    }

    const fn path(name: &'static str, family: Family, target: f64) -> Self {
        Self { name, family, alpha: 0., l1_ratio: 1., path: true, target }
    }

    /// All rows, in their order: those of one problem follow each other.
    const ALL: [Self; 8] = [
        Self::fit("logistic L2", Family::Binomial, 1e-4, 0., 2.),
        Self::fit("logistic L1", Family::Binomial, 1e-3, 1., 3.),
        Self::fit("Poisson L2", Family::Poisson, 1e-3, 0., 3.),
        Self::fit("Poisson elastic net", Family::Poisson, 1e-2, 0.5, 3.),
        Self::fit("gaussian elastic net", Family::Gaussian, 1e-2, 0.5, 5.),
        Self::path("gaussian lasso path", Family::Gaussian, 20.),
        Self::path("logistic lasso path", Family::Binomial, 5.),
        Self::path("Poisson lasso path", Family::Poisson, 5.),
    ];
}

/// Measures all rows and prints them.
pub(crate) fn glm(arguments: &GlmBenchArguments, screen: &Screen) -> Result<()> {
    let common = &arguments.bench;
    if cfg!(debug_assertions) && !common.json {
        screen.say("this is a debug build; its figures say nothing about a release build");
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
        plans: chosen(&common.only)?.0,
        out_of_core: chosen(&common.only)?.1,
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

/// What to measure, and how.
struct Bench {
    plans: Vec<Plan>,
    out_of_core: Vec<out_of_core::Plan>,
    n_rows_out_of_core: usize,
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
            let n_rows = self.n_rows[usize::from(plan.path)];
            let same = problem.take().filter(|before| before.family == plan.family && before.y.len() == n_rows);
            let mut drawn = match same {
                Some(problem) => problem,
                None => Problem::draw(plan.family, n_rows)?,
            };
            rows.push(self.row(plan, &mut drawn)?);
            problem = Some(drawn);
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
            let folder = problem.folder()?;
            problem::write(&folder.join("best.f64"), &ours.best)?;
            problem::write(&folder.join("lambdas.f64"), &ours.lambdas)?;
            let runs = Runs { python, n_threads: self.n_threads, limit: self.limit, ended: &self.ended };
            for &peer in &self.peers {
                for &solver in peer.solvers(plan) {
                    let outcome: Outcome = runs.run(peer, solver, plan, folder)?;
                    sides.push(Side { peer, solver, outcome });
                }
            }
        }
        Ok(Row { plan: plan.clone(), n_rows: problem.y.len(), ours, sides })
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
}
