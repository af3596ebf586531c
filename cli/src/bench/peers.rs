//! Peers: what they are called, and their side of a row, run in the given Python and stopped where it takes too long.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use crate::{Error, Result, error::io_reason};

/// A program that can do the same work, where a Python has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    Dask,
    Ray,
}

impl Peer {
    pub(super) const ALL: [Self; 2] = [Self::Dask, Self::Ray];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Dask => "dask",
            Self::Ray => "ray",
        }
    }

    /// What is imported, and what pip installs.
    const fn package(self) -> &'static str {
        match self {
            Self::Dask => "distributed",
            Self::Ray => "ray",
        }
    }

    /// Its side of the rows.
    const fn script(self) -> &'static str {
        match self {
            Self::Dask => include_str!("peer_dask.py"),
            Self::Ray => include_str!("peer_ray.py"),
        }
    }
}

/// What a peer is to do.
#[derive(Debug, Clone)]
pub(super) struct Work<'a> {
    /// Where and what: `local-tasks`, `processes-graph`.
    pub(super) row: &'a str,
    /// How many.
    pub(super) n: usize,
    pub(super) n_threads: usize,
    /// The graph, in the form that the scripts read.
    pub(super) graph: Option<serde_json::Value>,
}

/// How long a peer may take to start its cluster; that is not measured.
pub(super) const START: Duration = Duration::from_secs(60);

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

/// The version of a peer that a Python has.
pub(super) fn version(python: &Path, peer: Peer) -> Result<String, String> {
    version_of(python, peer.package(), peer.package())
}

/// The version of a module that a Python has, which pip knows as a package.
pub(super) fn version_of(python: &Path, module: &str, package: &str) -> Result<String, String> {
    let code = format!(
        "import importlib.metadata, {module} as module; \
         print(getattr(module, '__version__', None) or importlib.metadata.version('{package}'))"
    );
    let output = Command::new(python).args(["-c", &code]).output();
    let output = output.map_err(|error| format!("cannot run {}: {}", python.display(), io_reason(&error)))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let why = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
    Err(format!("{} has no {package} ({why}); install it with pip install {package}", python.display()))
}

/// Runs a row on a peer, at most `limit` long once its cluster is up.
pub(super) fn run(python: &Path, peer: Peer, work: &Work<'_>, limit: Duration) -> Result<Outcome> {
    let failed = |error: std::io::Error| Error::failed(format!("cannot run {}: {}", peer.name(), io_reason(&error)));
    // Processes that the peer starts read the program again, so it has to be a file.
    let file = |suffix: &str, text: &str| {
        let mut file = tempfile::Builder::new().suffix(suffix).tempfile()?;
        file.write_all(text.as_bytes())?;
        Ok(file)
    };
    let script = file(".py", peer.script()).map_err(failed)?;
    let graph = work.graph.as_ref().map(|graph| file(".json", &graph.to_string())).transpose().map_err(failed)?;
    let mut command = Command::new(python);
    command.arg(script.path()).arg(work.row).arg(work.n.to_string()).arg(work.n_threads.to_string());
    command.args(graph.as_ref().map(|graph| graph.path()));
    Ok(Group::start(&mut command).map_err(failed)?.watch(limit))
}

/// A process and all that it starts; dropping it ends them.
pub(super) struct Group(Child);

impl Group {
    pub(super) fn start(command: &mut Command) -> std::io::Result<Self> {
        // A group of its own, so that its workers end with it.
        let command = command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(Self(command.spawn()?))
    }

    /// What it says on stdout, line by line; to be asked for once.
    pub(super) fn lines(&mut self) -> Receiver<String> {
        let (send, lines) = mpsc::channel();
        let stdout = self.0.stdout.take();
        thread::spawn(move || {
            for line in stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines()).map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        lines
    }

    /// Why it ended, in its own last words.
    pub(super) fn last_words(&mut self) -> String {
        let mut said = String::new();
        if let Some(stderr) = &mut self.0.stderr {
            let _ = stderr.read_to_string(&mut said);
        }
        said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it says nothing").to_owned()
    }

    fn watch(&mut self, limit: Duration) -> Outcome {
        let lines = self.lines();
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
                    return Outcome::Missing(format!("it ended early: {}", self.last_words()));
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
        Group::start(command.args(["-c", script])).expect("a shell")
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
        let error = version(&PathBuf::from("/no/such/python"), Peer::Dask).expect_err("not there");
        assert_eq!(error, "cannot run /no/such/python: no such file or directory");
    }
}
