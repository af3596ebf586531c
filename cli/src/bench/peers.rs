//! Runs a peer's side of a row in the given Python, and stops it where it takes too long.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use crate::{Error, Result, error::io_reason};

/// dask.distributed's side of the rows.
const DASK: &str = include_str!("peer_dask.py");

/// How long a peer may take to start its cluster; that is not measured.
const START: Duration = Duration::from_secs(60);

/// What became of a peer's row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outcome {
    /// It did the work in so many seconds.
    Done(f64),
    /// It was stopped after so many seconds, and is counted as that.
    Stopped(f64),
    /// It could not be run, and why.
    Missing(String),
}

/// The version of dask.distributed that a Python has.
pub(super) fn dask_version(python: &Path) -> Result<String, String> {
    let code = "import distributed; print(distributed.__version__)";
    let output = Command::new(python).args(["-c", code]).output();
    let output = output.map_err(|error| format!("cannot run {}: {}", python.display(), io_reason(&error)))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let why = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
    Err(format!("{} has no dask.distributed ({why}); install it with pip install distributed", python.display()))
}

/// Runs a row of dask's, at most `limit` long once its cluster is up.
pub(super) fn run_dask(python: &Path, row: &str, n: usize, n_threads: usize, limit: Duration) -> Result<Outcome> {
    // dask's processes read the program again, so it has to be a file.
    let failed = |error: std::io::Error| Error::failed(format!("cannot run dask: {}", io_reason(&error)));
    let mut script = tempfile::Builder::new().suffix(".py").tempfile().map_err(failed)?;
    script.write_all(DASK.as_bytes()).map_err(failed)?;
    let mut command = Command::new(python);
    command.arg(script.path()).arg(row).arg(n.to_string()).arg(n_threads.to_string());
    // A group of its own, so that its workers end with it.
    let child = command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut group = Group(child.map_err(failed)?);
    Ok(group.watch(limit))
}

/// A process and all that it starts; dropping it ends them.
struct Group(Child);

impl Group {
    fn watch(&mut self, limit: Duration) -> Outcome {
        let (send, lines) = mpsc::channel();
        let stdout = self.0.stdout.take();
        thread::spawn(move || {
            for line in stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines()).map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let mut deadline = Instant::now() + START;
        let mut ready = false;
        loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if line == "ready" => (ready, deadline) = (true, Instant::now() + limit),
                Ok(line) => {
                    if let Some(seconds) = line.strip_prefix("seconds ").and_then(|seconds| seconds.parse().ok()) {
                        return Outcome::Done(seconds);
                    }
                }
                Err(RecvTimeoutError::Timeout) if ready => return Outcome::Stopped(limit.as_secs_f64()),
                Err(RecvTimeoutError::Timeout) => {
                    return Outcome::Missing(format!("it was not ready after {} s", START.as_secs()));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let mut said = String::new();
                    if let Some(stderr) = &mut self.0.stderr {
                        let _ = stderr.read_to_string(&mut said);
                    }
                    let why = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
                    return Outcome::Missing(format!("it ended early: {why}"));
                }
            }
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It leads its group, whose number is its own.
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A shell that plays a Python.
    fn group(script: &str) -> Group {
        let mut command = Command::new("sh");
        command.args(["-c", script]).process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
        Group(command.spawn().expect("a shell"))
    }

    #[test]
    fn a_peer_is_measured_by_its_own_word() {
        let outcome = group("echo version 1; echo ready; echo seconds 0.25").watch(Duration::from_secs(10));
        assert_eq!(outcome, Outcome::Done(0.25));
    }

    #[test]
    fn a_peer_that_takes_too_long_is_counted_as_the_limit() {
        let outcome = group("echo ready; sleep 60").watch(Duration::from_millis(50));
        assert_eq!(outcome, Outcome::Stopped(0.05));
    }

    #[test]
    fn a_peer_that_fails_says_why() {
        let outcome = group("echo first >&2; echo 'ImportError: no dask' >&2; exit 1").watch(Duration::from_secs(10));
        assert_eq!(outcome, Outcome::Missing("it ended early: ImportError: no dask".to_owned()));
        let error = dask_version(&PathBuf::from("/no/such/python")).expect_err("not there");
        assert_eq!(error, "cannot run /no/such/python: no such file or directory");
    }
}
