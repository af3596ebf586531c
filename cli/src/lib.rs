//! The `phalanx` program as a library, so that users' own binaries have its commands and their own tasks.
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     phalanx_cli::main() // users write phalanx::cli::main()
//! }
//! ```
//!
//! | read | to learn |
//! |---|---|
//! | [`args`] | what can be said on the command line |
//! | [`error`] | exit codes, and why a message is one line |
//! | [`output`] | tables, JSON, progress, files that are whole or not there |
//!
//! It knows commands and files, and never how anything is computed.

pub mod args;
mod bench;
mod class_coef;
mod cluster;
mod coef;
mod data;
pub mod error;
mod fit;
mod inspect;
mod job;
mod keys;
mod members;
pub mod output;
mod predict;
mod record;
mod roles;
mod scheduler;
mod signals;
mod sweep;
mod sweep_cv;
mod sweep_file;
mod sweep_space;
mod trace;
mod worker;
mod yaml;

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory, Parser, error::ErrorKind};
use tracing_subscriber::{EnvFilter, fmt::format::FmtSpan};

pub use crate::error::{Error, Result};
use crate::{
    args::{Arguments, BenchCommand, Command, FitCommand},
    output::Screen,
};

/// The environment variable that says what of the log is shown.
const LOG: &str = "PHALANX_LOG";

/// The whole program: reads the command line, does what it says, and answers with the exit code.
///
/// It begins with [`phalanx_runtime::init`], so a program that has it as its `main` can start worker processes of
/// itself.
pub fn main() -> ExitCode {
    let screen = Screen::standard();
    // Worker processes begin here too. They say nothing by themselves: what matters comes back to whoever asked.
    if std::env::var_os(LOG).is_some() {
        log_to(&screen);
    }
    if let Err(error) = phalanx_runtime::init() {
        screen.say(format_args!("error: {error}"));
        return ExitCode::FAILURE;
    }
    log_to(&screen);
    ExitCode::from(run(std::env::args_os(), &screen))
}

/// Does what a command line says and answers with the exit code: 0 done, 1 failed, 2 wrong usage. The first argument
/// is the program's name.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use phalanx_cli::{output::Screen, run};
///
/// let stderr = Arc::new(Mutex::new(Vec::new()));
/// let screen = Screen::new(Arc::new(Mutex::new(Vec::new())), stderr.clone(), false);
/// assert_eq!(run(["phalanx", "sweep", "no/such.yaml"], &screen), 1);
/// let said = String::from_utf8(stderr.lock().unwrap().clone()).unwrap();
/// assert_eq!(said, "error: cannot read no/such.yaml: no such file or directory\n");
/// ```
pub fn run<A: Into<OsString> + Clone>(args: impl IntoIterator<Item = A>, screen: &Screen) -> u8 {
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    let done = match Arguments::try_parse_from(&args) {
        Ok(arguments) => carry_out(arguments.command, screen),
        Err(error) if !error.use_stderr() => screen.print(error.to_string().trim_end()),
        Err(error) if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            screen.say(error.to_string().trim_end());
            return 2;
        }
        Err(error) => Err(Error::usage(format!("{}; see `{} --help`", plain(&error), command_of(&args)))),
    };
    screen.clear();
    let Err(error) = done else { return 0 };
    if !matches!(error, Error::ClosedPipe) {
        screen.say(format_args!("error: {error}"));
    }
    error.exit_code()
}

fn carry_out(command: Command, screen: &Screen) -> Result<()> {
    match command {
        Command::Sweep(arguments) => sweep::sweep(&arguments, screen),
        Command::Fit(FitCommand::Glm(arguments)) => fit::fit_glm(&arguments, screen),
        Command::Predict(arguments) => predict::predict(&arguments, screen),
        Command::Scheduler(arguments) => scheduler::scheduler(&arguments, screen),
        Command::Worker(arguments) => worker::worker(&arguments, screen),
        Command::Bench(BenchCommand::Runtime(arguments)) => bench::runtime(&arguments, screen),
        Command::Bench(BenchCommand::Glm(arguments)) => bench::glm(&arguments, screen),
        Command::Cluster(command) => cluster::cluster(&command, screen),
    }
}

/// What clap has to say, on one line and without the usage that `--help` shows.
fn plain(error: &clap::Error) -> String {
    let text = error.to_string();
    let said = text.split("\n\nUsage:").next().unwrap_or(&text);
    let said = said.split("\n\nFor more information").next().unwrap_or(said);
    let said = said.strip_prefix("error: ").unwrap_or(said).trim();
    let mut line = String::new();
    for paragraph in said.split("\n\n") {
        if !line.is_empty() {
            line += "; ";
        }
        line += &error::one_line(paragraph.trim().trim_start_matches("tip: "));
    }
    line
}

/// The command that a command line was about, as far as it got: `phalanx fit glm`.
fn command_of(args: &[OsString]) -> String {
    let mut name = "phalanx".to_owned();
    let mut command = Arguments::command();
    for arg in args.iter().skip(1) {
        let Some(inner) = arg.to_str().and_then(|arg| command.find_subcommand(arg)) else { break };
        name = format!("{name} {}", inner.get_name());
        command = inner.clone();
    }
    name
}

/// Sends what happens to stderr, as far as PHALANX_LOG asks for it; warnings and errors without it.
fn log_to(screen: &Screen) {
    // What a client waits for is shown to people by the command that waits.
    let quiet = || EnvFilter::new("warn,phalanx_runtime::client=error");
    let filter = EnvFilter::try_from_env(LOG).unwrap_or_else(|_| quiet());
    let screen = screen.clone();
    // What a span took is said when it ends.
    let spans = FmtSpan::CLOSE;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_span_events(spans).with_ansi(false);
    // A program that has set its own log keeps it.
    let _ = subscriber.with_writer(move || screen.log_line()).try_init();
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Exit code, stdout and stderr of a command line.
    fn run_here(args: &[&str]) -> (u8, String, String) {
        let streams = [(); 2].map(|()| Arc::new(Mutex::new(Vec::new())));
        let screen = Screen::new(streams[0].clone(), streams[1].clone(), false);
        let code = run([&["phalanx"], args].concat(), &screen);
        let [stdout, stderr] =
            streams.map(|stream| String::from_utf8(stream.lock().expect("whole").clone()).expect("text"));
        (code, stdout, stderr)
    }

    fn refused(args: &[&str]) -> String {
        let (code, stdout, stderr) = run_here(args);
        assert_eq!((code, stdout.as_str(), stderr.lines().count()), (2, "", 1), "{stderr}");
        stderr.trim_end().to_owned()
    }

    #[test]
    fn a_wrong_command_line_is_one_line() {
        assert_eq!(
            refused(&["fit", "glm", "a.csv"]),
            "error: the following required arguments were not provided: --target <COLUMN>; see `phalanx fit glm --help`"
        );
        assert_eq!(
            refused(&["sweep", "a.yaml", "--dry-runn"]),
            "error: unexpected argument '--dry-runn' found; a similar argument exists: '--dry-run'; see `phalanx sweep --help`"
        );
        assert_eq!(
            refused(&["sweeep", "a.yaml"]),
            "error: unrecognized subcommand 'sweeep'; a similar subcommand exists: 'sweep'; see `phalanx --help`"
        );
        assert_eq!(
            refused(&["sweep", "a.yaml", "--cluster", "procesess:2"]),
            "error: invalid value 'procesess:2' for '--cluster <CLUSTER>': expected local, local:THREADS, processes:N or \
             tcp://HOST:PORT (did you mean processes?); see `phalanx sweep --help`"
        );
    }

    #[test]
    fn help_goes_to_stdout_and_nothing_at_all_is_wrong_usage() {
        let (code, stdout, stderr) = run_here(&["sweep", "--help"]);
        assert_eq!((code, stderr.as_str()), (0, ""));
        assert!(stdout.contains("phalanx sweep examples/bikeshare.yaml --dry-run"), "{stdout}");
        let (code, stdout, stderr) = run_here(&[]);
        assert_eq!((code, stdout.as_str()), (2, ""));
        assert!(stderr.contains("phalanx fit glm data.csv"), "{stderr}");
        let (code, stdout, _) = run_here(&["--version"]);
        assert_eq!((code, stdout.as_str()), (0, concat!("phalanx ", env!("CARGO_PKG_VERSION"), "\n")));
    }
}
