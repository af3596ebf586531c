//! What can be said on the command line; what it does is the commands'.
//!
//! Every field's documentation is also its `--help`. A wrong command line is one line on stderr and exit code 2.

use std::{collections::BTreeMap, fmt, num::NonZeroUsize, path::PathBuf, str::FromStr};

use clap::{Args, Parser, Subcommand, builder::Styles};
use phalanx_engine::id::TaskId;
use phalanx_runtime::MemoryLimit;

mod fit;

pub use fit::{FitCommand, FitGlmArguments, OwnParameter, PredictArguments};

const STYLES: Styles = Styles::plain();

/// Distributed machine learning: one program for sweeps, fits, predictions and the cluster they run on.
#[derive(Debug, Parser)]
#[command(name = "phalanx", version, styles = STYLES, max_term_width = 100, subcommand_required = true,
    arg_required_else_help = true, after_help = "\
Examples:
  phalanx sweep examples/bikeshare.yaml
  phalanx sweep examples/bikeshare.yaml --cluster processes:2
  phalanx fit glm data.csv --target y --family poisson --alpha 0.01 --output model.json
  phalanx predict model.json new.csv --output predictions.csv

Exit codes: 0 done; 1 failed, with one line that says why and what to do; 2 wrong usage: the command
line, a parameter or the sweep file says something that cannot be meant.

PHALANX_LOG says what of the log is shown on stderr, in the way of RUST_LOG; workers that a command starts hear it too:
  PHALANX_LOG=info                          who comes and goes
  PHALANX_LOG=debug                         every task, transfer, spill and call, with how long it took
  PHALANX_LOG=warn,phalanx_runtime::spill=debug
                                            one part of it; the parts are the modules' names")]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Try every combination of parameters in a sweep file, and keep the best model
    Sweep(SweepArguments),
    /// Fit one model
    #[command(subcommand, arg_required_else_help = true)]
    Fit(FitCommand),
    /// Predict rows with a fitted model
    Predict(PredictArguments),
    /// Run a scheduler that workers and clients connect to
    Scheduler(SchedulerArguments),
    /// Run a worker that takes its tasks from a scheduler
    Worker(WorkerArguments),
    /// Measure this machine, and peers beside it
    #[command(subcommand, arg_required_else_help = true)]
    Bench(BenchCommand),
    /// Look after a cluster
    #[command(subcommand, arg_required_else_help = true)]
    Cluster(ClusterCommand),
}

/// What every command that runs work on a cluster can be told.
#[derive(Debug, Clone, Args)]
pub struct JobArguments {
    /// Where to run: local, local:THREADS, processes:N or tcp://HOST:PORT
    ///
    /// `local` runs in threads of this program (as many as the machine has cores), `processes:N` starts N
    /// worker processes on this machine and ends them with the job, `tcp://HOST:PORT` is the address that
    /// `phalanx scheduler` prints.
    #[arg(long, value_name = "CLUSTER", default_value = "local")]
    pub cluster: ClusterSpec,
    /// Print one JSON object for programs instead of a table for people
    #[arg(long)]
    pub json: bool,
    /// Memory of each worker that the job starts, like 4GiB: beyond it, results go to disk; auto or none
    ///
    /// `auto` is the machine's memory times the worker's share of the cores, `none` never goes to disk.
    #[arg(long, value_name = "SIZE", default_value_t = MemoryLimit::Auto)]
    pub memory_limit: MemoryLimit,
    /// Write what ran where and when to this file: a Chrome trace, which ui.perfetto.dev opens
    #[arg(long, value_name = "FILE.json")]
    pub trace: Option<PathBuf>,
    /// How the program and a cluster at tcp:// know each other.
    #[command(flatten)]
    pub security: SecurityArguments,
}

/// How the programs of a cluster know each other. `phalanx cluster keys` makes all that is needed.
#[derive(Debug, Clone, Default, Args)]
pub struct SecurityArguments {
    /// A file with the cluster's token [default: what the environment variable PHALANX_TOKEN holds]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// This program's certificate (PEM); with the next two, TLS is used and required
    #[arg(long, value_name = "FILE", requires_all = ["tls_key", "tls_ca"])]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", requires_all = ["tls_cert", "tls_ca"])]
    pub tls_key: Option<PathBuf>,
    /// The authority by which everybody's certificate must be (PEM)
    #[arg(long, value_name = "FILE", requires_all = ["tls_cert", "tls_key"])]
    pub tls_ca: Option<PathBuf>,
}

/// `phalanx sweep`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  phalanx sweep examples/bikeshare.yaml
  phalanx sweep examples/bikeshare.yaml --dry-run
  phalanx sweep examples/bikeshare.yaml --cluster processes:2 --output results
  phalanx sweep examples/bikeshare.yaml --cluster tcp://127.0.0.1:8786 --json
  phalanx sweep examples/bikeshare.yaml --trace timeline.json
  phalanx sweep examples/bikeshare-bayes.yaml

The file has the shape of a Weights & Biases sweep. `method` is grid, random or bayes (TPE), the latter two
with `run_cap` configurations; `early_terminate: {type: hyperband, max_iter: 9}` begins each on few rows and
gives the best of them more. For one `seed` the trials and the winner are the same on any number of workers.

Writes results.csv (scikit-learn's cv_results_ columns), best_model.json and best_coefficients.csv.
Ctrl-C ends everything that the command started and leaves no output.")]
pub struct SweepArguments {
    /// The sweep file (YAML)
    #[arg(value_name = "SWEEP.yaml")]
    pub file: PathBuf,
    /// The folder for the results [default: sweep-out/NAME, from the sweep file's name]
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Say what would be run, and stop
    #[arg(long)]
    pub dry_run: bool,
    /// Print every candidate, not only the best 20
    #[arg(long)]
    pub all: bool,
    /// Where to run, and how to print.
    #[command(flatten)]
    pub job: JobArguments,
}

/// `phalanx scheduler`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  phalanx scheduler
  phalanx scheduler --listen 127.0.0.1:0
  phalanx scheduler --listen 0.0.0.0:8786 --token-file keys/token
  phalanx scheduler --listen 0.0.0.0:8786 --tls-ca keys/ca.pem --tls-cert keys/scheduler.pem \\
    --tls-key keys/scheduler-key.pem

Prints its address when it is ready, then runs until Ctrl-C or SIGTERM. On addresses other than loopback it
listens only with a token or TLS: whoever gets in can run tasks.")]
pub struct SchedulerArguments {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8786")]
    pub listen: String,
    /// Folder to write down in what is needed to go on after a crash
    ///
    /// A scheduler that is started again with the same folder and address goes on where the one before it ended, in
    /// whatever way: workers come back with their results, programs with what they wait for.
    #[arg(long, value_name = "DIR")]
    pub journal: Option<PathBuf>,
    /// Who may join.
    #[command(flatten)]
    pub security: SecurityArguments,
    /// Show counters to Prometheus at http://HOST:PORT/metrics; a port alone is on loopback, port 0 takes a free one
    ///
    /// The page has no password and can change nothing. On an address that others can reach it tells them the names of
    /// workers and tasks.
    #[arg(long, value_name = "[HOST:]PORT")]
    pub metrics: Option<String>,
}

/// `phalanx worker`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  phalanx worker tcp://127.0.0.1:8786
  phalanx worker tcp://127.0.0.1:8786 --threads 4 --name left
  phalanx worker tcp://head:8786 --token-file keys/token
  phalanx worker tcp://127.0.0.1:8786 --resources gpu=2,big=1
  phalanx worker tcp://127.0.0.1:8786 --memory-limit 4GiB --spill-dir /scratch

Prints its address when it is ready, then runs until the scheduler goes, Ctrl-C or SIGTERM. Tasks run in a process of
their own: where one of them ends it, the worker is started again, and the task's error says how it died.")]
pub struct WorkerArguments {
    /// The scheduler's address
    #[arg(value_name = "tcp://HOST:PORT")]
    pub scheduler: TcpAddress,
    /// How many tasks to run at once [default: the number of cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// A name for people, and for tasks that name their workers [default: worker-PID]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Where others fetch its results [default: this machine's address on the way to the scheduler]
    ///
    /// A host name or address of this machine, with or without a port.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub listen: Option<String>,
    /// How it and the cluster know each other.
    #[command(flatten)]
    pub security: SecurityArguments,
    /// What it has for tasks that need resources, like gpu=2,big=1
    #[arg(long, value_name = "NAME=AMOUNT,...", value_parser = phalanx_runtime::parse_resources)]
    pub resources: Option<Resources>,
    /// How long, after Ctrl-C or SIGTERM, it may finish what it runs and hand over what only it holds; a second signal
    /// ends it at once
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub drain: u64,
    /// Run tasks in this process, which nobody starts again when one of them ends it
    #[arg(long)]
    pub no_supervise: bool,
    /// Memory that results and running tasks may take, like 4GiB: beyond it, results go to disk; auto or none
    ///
    /// `auto` is the machine's memory times the worker's share of the cores, `none` never goes to disk.
    #[arg(long, value_name = "SIZE", default_value_t = MemoryLimit::Auto)]
    pub memory_limit: MemoryLimit,
    /// Where results on disk are, in a folder of the worker's own [default: the system's temporary files]
    #[arg(long, value_name = "DIR")]
    pub spill_dir: Option<PathBuf>,
    /// Show counters to Prometheus at http://HOST:PORT/metrics; a port alone is on loopback, port 0 takes a free one
    ///
    /// The page has no password and can change nothing. On an address that others can reach it tells them the names of
    /// workers and tasks.
    #[arg(long, value_name = "[HOST:]PORT")]
    pub metrics: Option<String>,
}

/// What a worker has, by name.
pub type Resources = BTreeMap<String, u64>;

/// `phalanx bench`.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Measure what a task and a round trip cost
    #[command(after_help = "\
Examples:
  phalanx bench runtime --quick
  phalanx bench runtime --quick --only 'tcp,local round trip'
  phalanx bench runtime --peers python3 --json

Peers (dask.distributed, ray) are measured in the same run, with the same graphs and as many
threads; what is not installed is said.")]
    Runtime(BenchArguments),
    /// Measure how long GLMs and their paths take to the same objective value
    #[command(after_help = "\
Examples:
  phalanx bench glm --quick
  phalanx bench glm --quick --only 'L1,elastic net'
  phalanx bench glm --peers python3 --json
  phalanx bench glm --peers python3 --data downloads --only flights,dengue

The rows flights (nyc_flights_late.csv.gz) and dengue rates (dengue_brazil_monthly.csv.gz) are read
from the folder --data, and left out without it. They have no target.

Peers (scikit-learn, glum, dask-glm) are measured in the same run, on the same numbers and with
as many threads. Each is given tighter and tighter tolerances until its objective is within 1e-8
of the best known; one that does not get there is short by what is said. What is not installed is
said.")]
    Glm(GlmBenchArguments),
}

/// What every bench can be told.
#[derive(Debug, Clone, Args)]
pub struct BenchArguments {
    /// End within a minute of our own time: smaller work, and peers stopped at 20 s instead of 60 s
    #[arg(long)]
    pub quick: bool,
    /// A Python that has the peers, or some of them
    #[arg(long, value_name = "PYTHON")]
    pub peers: Option<PathBuf>,
    /// Measure only the rows whose name contains one of these texts
    #[arg(long, value_name = "TEXT", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Print one JSON object for programs instead of a table for people
    #[arg(long)]
    pub json: bool,
}

/// `phalanx bench glm`.
#[derive(Debug, Clone, Args)]
pub struct GlmBenchArguments {
    /// What every bench can be told.
    #[command(flatten)]
    pub bench: BenchArguments,
    /// The folder with nyc_flights_late.csv.gz and dengue_brazil_monthly.csv.gz
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Rows of the fits, paths having a fifth of them: for tests, whose figures nobody reads
    #[arg(long, hide = true, value_name = "N", value_parser = clap::value_parser!(u32).range(500..))]
    pub rows: Option<u32>,
}

/// `phalanx cluster`.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Make certificates and a token for a cluster that others must not join
    Keys(KeysArguments),
    /// Show who is in a cluster, and what they have to do
    Info(InfoArguments),
    /// Write everything that a scheduler knows of itself to one file, for finding out what is wrong
    Dump(DumpArguments),
    /// Tell what a task has gone through, and why it does not run
    Story(StoryArguments),
    /// Let workers go without losing anything
    Retire(RetireArguments),
    /// List the names of all that is published on a cluster
    Published(PublishedArguments),
}

/// `phalanx cluster retire`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  phalanx cluster retire tcp://127.0.0.1:8786 worker-3
  phalanx cluster retire tcp://head:8786 left right --grace 600

A worker that is let go gets no new task, finishes what it runs, hands over what only it holds, and ends. One that is
not done when its grace is over ends all the same, and what was lost is made again where it is needed. No task is
suspected because of it.")]
pub struct RetireArguments {
    /// The address that `phalanx scheduler` prints
    #[arg(value_name = "ADDRESS")]
    pub scheduler: TcpAddress,
    /// The workers: names, numbers like worker-3, or addresses
    #[arg(value_name = "WORKER", required = true)]
    pub workers: Vec<String>,
    /// How long they may take to finish what they run and hand over what only they hold
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub grace: u64,
    /// How the program and the cluster know each other.
    #[command(flatten)]
    pub security: SecurityArguments,
}

/// `phalanx cluster published`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  phalanx cluster published tcp://127.0.0.1:8786

One name a line, sorted. Programs publish with `client.publish` and get what is published with `client.get_published`.")]
pub struct PublishedArguments {
    /// The address that `phalanx scheduler` prints
    #[arg(value_name = "ADDRESS")]
    pub scheduler: TcpAddress,
    /// How the program and the cluster know each other.
    #[command(flatten)]
    pub security: SecurityArguments,
}

/// `phalanx cluster keys`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  phalanx cluster keys keys
  phalanx cluster keys keys --host head.example.org --host 10.0.0.5 --days 30

Writes ca.pem, a certificate and a key for scheduler, worker and client, and a token, readable by their
owner only, and overwrites nothing. The certificates are good for the name `phalanx`, which every program
of the cluster accepts, for localhost and for the hosts given. The authority's key is not kept: for more
certificates make a new set.")]
pub struct KeysArguments {
    /// The folder to write into; made where it is missing
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// A host name or address that the scheduler or a worker is reached at; can be given more than once
    #[arg(long, value_name = "NAME", value_parser = crate::cluster::host)]
    pub host: Vec<String>,
    /// For how many days the certificates are good
    #[arg(long, value_name = "N", default_value = "365", value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,
}

/// `phalanx cluster info`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  phalanx cluster info tcp://127.0.0.1:8786
  phalanx cluster info tcp://127.0.0.1:8786 --json")]
pub struct InfoArguments {
    /// The scheduler's address
    #[arg(value_name = "tcp://HOST:PORT")]
    pub scheduler: TcpAddress,
    /// Print one JSON object for programs instead of a table for people
    #[arg(long)]
    pub json: bool,
    /// How the program and the cluster know each other.
    #[command(flatten)]
    pub security: SecurityArguments,
}

/// `phalanx cluster dump`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  phalanx cluster dump tcp://127.0.0.1:8786
  phalanx cluster dump tcp://127.0.0.1:8786 --output dump.json

One JSON object: options, counters, workers, clients, at most 2,000 tasks of each state, and the last
100,000 steps that tasks took. It is asked for in small pieces, so the cluster does not stand still.")]
pub struct DumpArguments {
    /// The scheduler's address
    #[arg(value_name = "tcp://HOST:PORT")]
    pub scheduler: TcpAddress,
    /// The file to write [default: stdout]
    #[arg(long, value_name = "FILE.json")]
    pub output: Option<PathBuf>,
    /// How the program and the cluster know each other.
    #[command(flatten)]
    pub security: SecurityArguments,
}

/// `phalanx cluster story`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  phalanx cluster story tcp://127.0.0.1:8786 task-0.17

Says how the task stands, why it does not run where it does not, and a line for each step that it took: sent, begun,
stolen, failed, lost with its worker, made again. The scheduler remembers the last 100,000 steps of all tasks.")]
pub struct StoryArguments {
    /// The scheduler's address
    #[arg(value_name = "tcp://HOST:PORT")]
    pub scheduler: TcpAddress,
    /// The task, as `phalanx cluster dump` names it
    #[arg(value_name = "TASK", value_parser = crate::inspect::task_id)]
    pub task: TaskId,
    /// How the program and the cluster know each other.
    #[command(flatten)]
    pub security: SecurityArguments,
}

/// Where a job runs.
///
/// ```
/// use phalanx_cli::args::ClusterSpec;
/// let spec: ClusterSpec = "processes:2".parse().unwrap();
/// assert_eq!(spec.to_string(), "processes:2");
/// let error = "procesess:2".parse::<ClusterSpec>().unwrap_err();
/// assert_eq!(error, "expected local, local:THREADS, processes:N or tcp://HOST:PORT (did you mean processes?)");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterSpec {
    /// Threads of this program; `None` takes as many as there are cores.
    Local(Option<NonZeroUsize>),
    /// So many worker processes on this machine.
    Processes(NonZeroUsize),
    /// A scheduler that runs already.
    Tcp(TcpAddress),
}

impl FromStr for ClusterSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected local, local:THREADS, processes:N or tcp://HOST:PORT";
        if text.starts_with("tcp:") {
            return text.parse().map(Self::Tcp);
        }
        let (kind, count) = text.split_once(':').map_or((text, None), |(kind, count)| (kind, Some(count)));
        let number = |what: &str, count: &str| {
            count.parse::<NonZeroUsize>().map_err(|_| format!("the number of {what} is {count:?}, expected 1 or more"))
        };
        match (kind, count) {
            ("local", None) => Ok(Self::Local(None)),
            ("local", Some(count)) => Ok(Self::Local(Some(number("threads", count)?))),
            ("processes", Some(count)) => Ok(Self::Processes(number("processes", count)?)),
            ("processes", None) => Err("say how many processes, as in processes:2".to_owned()),
            (kind, _) => {
                let near = crate::error::nearest(kind, ["local", "processes", "tcp"]);
                Err(near.map_or_else(|| expected.to_owned(), |near| format!("{expected} (did you mean {near}?)")))
            }
        }
    }
}

impl fmt::Display for ClusterSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(None) => f.write_str("local"),
            Self::Local(Some(threads)) => write!(f, "local:{threads}"),
            Self::Processes(processes) => write!(f, "processes:{processes}"),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

/// `tcp://HOST:PORT`, checked as far as that goes without a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpAddress(String);

impl TcpAddress {
    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TcpAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected tcp://HOST:PORT, as in tcp://127.0.0.1:8786";
        let (host, port) =
            text.strip_prefix("tcp://").and_then(|rest| rest.rsplit_once(':')).ok_or_else(|| expected.to_owned())?;
        match port.parse::<u16>() {
            Ok(1..) if !host.is_empty() => Ok(Self(text.to_owned())),
            Ok(_) if host.is_empty() => Err(expected.to_owned()),
            _ => Err(format!("the port is {port:?}, expected 1 to 65535")),
        }
    }
}

impl fmt::Display for TcpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        fn check(command: &clap::Command) {
            let leaf = command.get_subcommands().next().is_none();
            if leaf {
                let help = command.clone().render_long_help().to_string();
                assert!(help.contains("Examples:\n  phalanx "), "{}: {help}", command.get_name());
            }
            for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
                check(inner);
            }
        }
        check(&Arguments::command());
    }

    #[test]
    fn clusters_are_written_as_they_are_read() {
        for text in ["local", "local:3", "processes:2", "tcp://127.0.0.1:8786", "tcp://[::1]:8786", "tcp://head:1"] {
            assert_eq!(text.parse::<ClusterSpec>().map(|spec| spec.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn a_wrong_cluster_says_what_is_expected() {
        let refused = |text: &str| text.parse::<ClusterSpec>().expect_err("refused");
        let expected = "expected local, local:THREADS, processes:N or tcp://HOST:PORT";
        assert_eq!(refused("moon"), expected);
        assert_eq!(refused("locl:2"), format!("{expected} (did you mean local?)"));
        assert_eq!(refused("local:0"), r#"the number of threads is "0", expected 1 or more"#);
        assert_eq!(refused("processes:two"), r#"the number of processes is "two", expected 1 or more"#);
        assert_eq!(refused("processes"), "say how many processes, as in processes:2");
        assert_eq!(refused("tcp:127.0.0.1:8786"), "expected tcp://HOST:PORT, as in tcp://127.0.0.1:8786");
        assert_eq!(refused("tcp://127.0.0.1"), "expected tcp://HOST:PORT, as in tcp://127.0.0.1:8786");
        assert_eq!(refused("tcp://:8786"), "expected tcp://HOST:PORT, as in tcp://127.0.0.1:8786");
        assert_eq!(refused("tcp://head:99999"), r#"the port is "99999", expected 1 to 65535"#);
    }
}
