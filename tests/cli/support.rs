//! Runs the real program, as a shell would.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio},
    thread,
};

/// The program with some arguments, in the repository's root.
pub(crate) fn phalanx<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phalanx"));
    command.args(args).current_dir(root()).env_remove("PHALANX_LOG").env_remove("PHALANX_TOKEN").stdin(Stdio::null());
    command
}

/// Exit code, stdout and stderr of a run.
pub(crate) fn run<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> (i32, String, String) {
    said(phalanx(args).output().expect("it runs"))
}

/// The same of a run that must succeed and say nothing on stderr; gives stdout.
pub(crate) fn succeed<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> String {
    let (code, stdout, stderr) = run(args);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    stdout
}

pub(crate) fn said(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder for a test, gone with it.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> String {
    path.to_str().expect("a plain path").to_owned()
}

/// The files of a folder, sorted; none where there is no folder.
pub(crate) fn listing(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name")).collect();
    names.sort();
    names
}

/// A program that runs until it is told to end, or dropped.
pub(crate) struct Program {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: Option<ChildStderr>,
}

impl Program {
    pub(crate) fn start<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Self {
        Self::spawn(phalanx(args))
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let stderr = child.stderr.take();
        Self { child, stdout, stderr }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line on stdout; empty at its end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("text");
        line.trim_end().to_owned()
    }

    /// Its stderr, to read line by line.
    pub(crate) fn stderr(&mut self) -> BufReader<ChildStderr> {
        BufReader::new(self.stderr.take().expect("not taken yet"))
    }

    /// Sends a signal: `INT`, `TERM`, `KILL`.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    /// Waits for its end: exit code, the rest of stdout, and stderr where nobody has taken it.
    pub(crate) fn end(mut self) -> (i32, String, String) {
        // Both are read at once, or a full pipe would stop the program.
        let stderr = self.stderr.take().map(|mut stderr| {
            thread::spawn(move || {
                let mut text = String::new();
                stderr.read_to_string(&mut text).expect("text");
                text
            })
        });
        let mut stdout = String::new();
        self.stdout.read_to_string(&mut stdout).expect("text");
        let stderr = stderr.map(|reader| reader.join().expect("read")).unwrap_or_default();
        let status = self.child.wait().expect("it ends");
        (status.code().unwrap_or(-1), stdout, stderr)
    }

    /// The process in which a worker runs its tasks.
    pub(crate) fn worker_process(&self) -> u32 {
        loop {
            // For a moment there is none where it is started again.
            if let Some(process) = children(self.id()).first() {
                break *process;
            }
        }
    }

    /// Waits until a worker has computed for a while: it is in the middle of its work, however fast the machine is.
    pub(crate) fn wait_until_busy(&mut self) {
        let process = self.worker_process();
        while cpu_ticks(process).expect("it lives") < 20 {
            assert_eq!(self.child.try_wait().expect("a status"), None, "it ended before it was busy");
            thread::yield_now();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process.
pub(crate) fn signal(process: u32, name: &str) {
    let done = Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status().expect("kill runs");
    assert!(done.success());
}

/// Hundredths of a second that a process has computed; none where there is no such process.
pub(crate) fn cpu_ticks(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in parentheses, may hold spaces.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    Some(fields[11].parse::<u64>().ok()? + fields[12].parse::<u64>().ok()?)
}

/// The processes that a process has started and that still live.
pub(crate) fn children(process: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("Linux").flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        let Some((_, rest)) = stat.rsplit_once(") ") else { continue };
        let fields: Vec<&str> = rest.split(' ').collect();
        if fields[1] == process.to_string() && fields[0] != "Z" {
            found.push(id);
        }
    }
    found
}

/// A scheduler and workers, started by hand.
pub(crate) struct Cluster {
    pub(crate) scheduler: Program,
    pub(crate) workers: Vec<Program>,
    pub(crate) url: String,
}

impl Cluster {
    pub(crate) fn start(n_workers: usize) -> Self {
        let mut scheduler = Program::start(["scheduler", "--listen", "127.0.0.1:0"]);
        let line = scheduler.line();
        let url = line.strip_prefix("scheduler at ").expect("an address").to_owned();
        let mut cluster = Self { scheduler, workers: Vec::new(), url };
        for _ in 0..n_workers {
            cluster.add_worker();
        }
        cluster
    }

    /// Starts a worker and waits until it has joined.
    pub(crate) fn add_worker(&mut self) {
        let mut worker = Program::start(["worker", &self.url, "--threads", "1"]);
        assert!(worker.line().starts_with("worker at "));
        self.workers.push(worker);
    }
}

/// A `results.csv` as columns, without those that hold times.
pub(crate) fn results(folder: &Path) -> BTreeMap<String, Vec<String>> {
    let mut columns = csv_columns(&folder.join("results.csv"));
    columns.retain(|name, _| !name.ends_with("_time"));
    columns
}

/// A CSV file by columns.
pub(crate) fn csv_columns(path: &Path) -> BTreeMap<String, Vec<String>> {
    let mut reader = csv::Reader::from_path(path).expect("a CSV file");
    let names: Vec<String> = reader.headers().expect("a header").iter().map(str::to_owned).collect();
    let mut columns: BTreeMap<String, Vec<String>> = names.iter().map(|name| (name.clone(), Vec::new())).collect();
    for record in reader.records() {
        for (name, cell) in names.iter().zip(&record.expect("a record")) {
            columns.get_mut(name).expect("known").push(cell.to_owned());
        }
    }
    columns
}

/// Writes a file into a folder.
pub(crate) fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).expect("written");
    path
}
