//! The peers' side of a row: each of their solvers in a process of its own, given tighter and tighter tolerances until
//! it comes near enough to the best objective, and stopped where one fit takes too long.

use std::{
    io::Write,
    path::Path,
    process::Command,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::RecvTimeoutError,
    },
    time::{Duration, Instant},
};

use phalanx_glm::Family;
use serde::Deserialize;
use serde_json::json;

use super::{N_FOLDS, Plan, WITHIN, problem::Problem};
use crate::{
    Error, Result,
    bench::peers::{Group, START, version_of},
    error::io_reason,
};

/// A library that fits the same models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    ScikitLearn,
    Glum,
    DaskGlm,
}

impl Peer {
    pub(super) const ALL: [Self; 3] = [Self::ScikitLearn, Self::Glum, Self::DaskGlm];

    /// What pip calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::ScikitLearn => "scikit-learn",
            Self::Glum => "glum",
            Self::DaskGlm => "dask-glm",
        }
    }

    pub(super) fn version(self, python: &Path) -> Result<String, String> {
        let module = match self {
            Self::ScikitLearn => "sklearn",
            Self::Glum => "glum",
            Self::DaskGlm => "dask_glm",
        };
        version_of(python, module, self.name())
    }

    /// Its solvers that can do a row, as the script knows them.
    pub(super) const fn solvers(self, plan: &Plan) -> &'static [&'static str] {
        let smooth = plan.l1_ratio == 0.;
        let weighted = matches!(plan.file, Some(file) if file.is_weighted());
        match (self, plan.family, plan.path) {
            (Self::ScikitLearn, Family::Binomial, false) if smooth => &["lbfgs", "newton-cholesky"],
            (Self::ScikitLearn, Family::Binomial, _) => &["saga", "liblinear"],
            (Self::ScikitLearn, Family::Poisson, false) if smooth => &["newton-cholesky", "lbfgs"],
            // It has no Poisson regression with an L1 part.
            (Self::ScikitLearn, Family::Poisson, _) => &[],
            (Self::ScikitLearn, _, true) => &["LassoCV"],
            (Self::ScikitLearn, _, false) => &["gram", "columns"],
            (Self::Glum, _, _) if smooth => &["irls-ls"],
            (Self::Glum, _, _) => &["irls-cd"],
            // It has no paths, and nothing that makes rows count more than once.
            (Self::DaskGlm, _, true) => &[],
            (Self::DaskGlm, _, _) if weighted => &[],
            (Self::DaskGlm, _, false) if smooth => &["lbfgs"],
            (Self::DaskGlm, _, false) => &["proximal_grad"],
        }
    }
}

/// What a solver found at one tolerance.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Found {
    pub(super) tol: f64,
    pub(super) seconds: f64,
    pub(super) objective: f64,
    /// How far that is above the best known, relatively.
    pub(super) short_by: f64,
    pub(super) peak_rss_mb: f64,
    /// Whether that is near enough.
    reached: bool,
}

/// What became of a solver.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outcome {
    /// It came near enough.
    Reached(Found),
    /// No tolerance brought it near enough; the nearest.
    Short(Found),
    /// One fit was stopped after so many seconds, and it is counted as that; the nearest before.
    Stopped(f64, Option<Found>),
    /// It could not be run, and why.
    Failed(String),
}

/// A peer's solver, and what became of it.
#[derive(Debug, Clone)]
pub(super) struct Side {
    pub(super) peer: Peer,
    pub(super) solver: &'static str,
    pub(super) outcome: Outcome,
}

impl Side {
    /// What counts of it as a time.
    pub(super) const fn seconds(&self) -> Option<f64> {
        match &self.outcome {
            Outcome::Reached(found) => Some(found.seconds),
            Outcome::Stopped(seconds, _) => Some(*seconds),
            Outcome::Short(_) | Outcome::Failed(_) => None,
        }
    }

    /// The nearest that it came.
    pub(super) const fn found(&self) -> Option<&Found> {
        match &self.outcome {
            Outcome::Reached(found) | Outcome::Short(found) => Some(found),
            Outcome::Stopped(_, found) => found.as_ref(),
            Outcome::Failed(_) => None,
        }
    }
}

/// How peers are run.
#[derive(Debug)]
pub(super) struct Runs<'a> {
    pub(super) python: &'a Path,
    pub(super) n_threads: usize,
    /// When a fit is stopped.
    pub(super) limit: Duration,
    /// Whether the bench is to end.
    pub(super) ended: &'a AtomicBool,
}

impl Runs<'_> {
    /// Runs a solver on the numbers of a problem, which are in a folder with the strengths and the best objectives.
    pub(super) fn run(
        &self,
        peer: Peer,
        solver: &'static str,
        plan: &Plan,
        problem: &Problem,
        folder: &Path,
    ) -> Result<Outcome> {
        let failed =
            |error: std::io::Error| Error::failed(format!("cannot run {}: {}", peer.name(), io_reason(&error)));
        let job = json!({
            "peer": peer.name(), "solver": solver, "threads": self.n_threads, "folder": folder, "within": WITHIN,
            "family": plan.family.name(), "alpha": plan.alpha(problem.y.len()), "l1_ratio": plan.l1_ratio,
            "path": plan.path, "folds": N_FOLDS, "weighted": problem.weights.is_some(),
        });
        // Processes that the peer starts read the program again, so it has to be a file.
        let file = |suffix: &str, text: &str| {
            let mut file = tempfile::Builder::new().suffix(suffix).tempfile()?;
            file.write_all(text.as_bytes())?;
            Ok(file)
        };
        let script = file(".py", include_str!("../peer_glm.py")).map_err(failed)?;
        let job = file(".json", &job.to_string()).map_err(failed)?;
        let mut command = Command::new(self.python);
        command.arg(script.path()).arg(job.path());
        self.watch(&mut Group::start(&mut command).map_err(failed)?)
    }

    fn watch(&self, group: &mut Group) -> Result<Outcome> {
        let lines = group.lines();
        let mut nearest: Option<Found> = None;
        let (mut fitting, mut deadline) = (false, Instant::now() + START);
        loop {
            if self.ended.load(Ordering::Relaxed) {
                return Err(Error::failed("the bench is ended"));
            }
            match lines.recv_timeout(Duration::from_millis(100)) {
                Ok(line) if line == "fit" => (fitting, deadline) = (true, Instant::now() + self.limit),
                Ok(line) if line == "end" => {
                    return Ok(nearest.map_or_else(|| Outcome::Failed("it found nothing".into()), Outcome::Short));
                }
                Ok(line) => {
                    (fitting, deadline) = (false, Instant::now() + START);
                    let Some(text) = line.strip_prefix("done ") else { continue };
                    let Ok(found) = serde_json::from_str::<Found>(text) else {
                        return Ok(Outcome::Failed(format!("it said {text}")));
                    };
                    if found.reached {
                        return Ok(Outcome::Reached(found));
                    }
                    if nearest.as_ref().is_none_or(|before| found.short_by < before.short_by) {
                        nearest = Some(found);
                    }
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(RecvTimeoutError::Timeout) if fitting => {
                    return Ok(Outcome::Stopped(self.limit.as_secs_f64(), nearest));
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Ok(Outcome::Failed(format!("it was not ready after {} s", START.as_secs())));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Ok(Outcome::Failed(format!("it ended early: {}", group.last_words())));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a shell that plays a Python.
    fn outcome(script: &str) -> Result<Outcome> {
        let ended = AtomicBool::new(false);
        let runs = Runs { python: Path::new("sh"), n_threads: 1, limit: Duration::from_millis(300), ended: &ended };
        runs.watch(&mut Group::start(Command::new("sh").args(["-c", script])).expect("a shell"))
    }

    fn done(tol: f64, short_by: f64, reached: bool) -> String {
        let found = json!({
            "tol": tol, "seconds": 0.5, "objective": 1., "short_by": short_by, "peak_rss_mb": 9., "reached": reached,
        });
        format!("echo fit; echo 'done {found}'; ")
    }

    #[test]
    fn the_first_tolerance_that_is_near_enough_counts() {
        let script = done(1e-2, 1e-3, false) + &done(1e-3, 1e-9, true);
        let Outcome::Reached(found) = outcome(&script).expect("an outcome") else { panic!("not reached") };
        assert_eq!((found.tol, found.seconds), (1e-3, 0.5));
    }

    #[test]
    fn a_solver_that_never_comes_near_enough_is_short_by_its_nearest() {
        let script = done(1e-2, 3e-7, false) + &done(1e-3, 4e-7, false) + "echo end";
        let Outcome::Short(found) = outcome(&script).expect("an outcome") else { panic!("not short") };
        assert_eq!(found.short_by, 3e-7);
    }

    #[test]
    fn one_fit_that_takes_too_long_is_counted_as_the_limit() {
        let script = done(1e-2, 3e-7, false) + "echo fit; sleep 60";
        let Outcome::Stopped(seconds, Some(_)) = outcome(&script).expect("an outcome") else { panic!("not stopped") };
        assert_eq!(seconds, 0.3);
        let failed = outcome("echo ready; echo 'ValueError: no' >&2; exit 1").expect("an outcome");
        assert_eq!(failed, Outcome::Failed("it ended early: ValueError: no".into()));
    }
}
