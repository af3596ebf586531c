//! Worker processes: this same program again, supervised through a pipe.
//!
//! A child knows that it is one by its first argument and its environment together: the environment alone would be
//! inherited by whatever a task starts. It ends when the pipe on its standard input closes, which the system does
//! when its parent ends, however that comes about.

use std::{
    io::Read,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use phalanx_engine::task::Registry;

use crate::{
    error::{Error, Result},
    resources::{parse_resources, write_resources},
    security::{Security, Tls, Token},
    spill,
    worker::{WorkerOptions, run_worker},
};

const ARGUMENT: &str = "phalanx-worker";
const URL: &str = "PHALANX_WORKER_OF";
const NAME: &str = "PHALANX_WORKER_NAME";
const THREADS: &str = "PHALANX_WORKER_THREADS";
const RESOURCES: &str = "PHALANX_WORKER_RESOURCES";
const INSTRUCTION_SET: &str = "PHALANX_WORKER_INSTRUCTION_SET";
/// Not the variable that people set: a cluster without a token must not get theirs.
const TOKEN: &str = "PHALANX_WORKER_TOKEN";
const TLS: [&str; 3] = ["PHALANX_WORKER_TLS_CERT", "PHALANX_WORKER_TLS_KEY", "PHALANX_WORKER_TLS_CA"];
const MEMORY_LIMIT: &str = "PHALANX_WORKER_MEMORY_LIMIT";
const SPILL_DIR: &str = "PHALANX_WORKER_SPILL_DIR";

/// How long a child may take to notice that its pipe is closed.
const GRACE: Duration = Duration::from_secs(2);

static INITIALISED: AtomicBool = AtomicBool::new(false);

/// Must be the first thing in `main`, and in the `main` of a custom test harness.
///
/// Checks that this program's task functions can be told apart. Where this process was started as a worker of a local
/// cluster, it becomes that worker and never returns.
///
/// ```
/// fn main() -> Result<(), phalanx_runtime::Error> {
///     phalanx_runtime::init()?;
///     // ... the program
///     Ok(())
/// }
/// ```
///
/// # Errors
/// When two task functions have one name.
pub fn init() -> Result<()> {
    Registry::linked()?;
    INITIALISED.store(true, Ordering::SeqCst);
    if is_worker()
        && let Ok(url) = std::env::var(URL)
    {
        become_worker(&url);
    }
    Ok(())
}

fn is_worker() -> bool {
    std::env::args_os().nth(1).is_some_and(|argument| argument == ARGUMENT) && std::env::var_os(URL).is_some()
}

/// Whether this program can be its own worker.
pub(crate) fn can_start() -> Result<()> {
    if is_worker() {
        return Err(Error::InsideWorker);
    }
    if INITIALISED.load(Ordering::SeqCst) { Ok(()) } else { Err(Error::InitMissing) }
}

/// Runs until the scheduler or the parent is gone; then this process is over.
fn become_worker(url: &str) -> ! {
    let watch = || {
        let mut nothing = [0; 64];
        // Nobody writes into it: it ends, or fails, when the parent does.
        while std::io::stdin().read(&mut nothing).is_ok_and(|n| n > 0) {}
        spill::remove_all();
        std::process::exit(0);
    };
    let defaults = WorkerOptions::default();
    let options = WorkerOptions {
        n_threads: std::env::var(THREADS).ok().and_then(|n| n.parse().ok()).unwrap_or(defaults.n_threads),
        name: std::env::var(NAME).unwrap_or(defaults.name),
        instruction_set: std::env::var(INSTRUCTION_SET).unwrap_or(defaults.instruction_set),
        resources: std::env::var(RESOURCES).ok().and_then(|text| parse_resources(&text).ok()).unwrap_or_default(),
        reconnect_for: Duration::ZERO,
        security: security(),
        memory_limit: std::env::var(MEMORY_LIMIT).ok().and_then(|limit| limit.parse().ok()).unwrap_or_default(),
        spill_dir: std::env::var_os(SPILL_DIR).map(Into::into),
        ..defaults
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let watched = std::thread::Builder::new().name("phalanx-parent".into()).spawn(watch);
    let ended = match (runtime, watched) {
        (Ok(runtime), Ok(_)) => runtime.block_on(run_worker(url, &options, std::future::pending())),
        (Err(error), _) | (_, Err(error)) => Err(Error::Start { what: "a worker".into(), reason: error.to_string() }),
    };
    if let Err(error) = &ended {
        tracing::error!(%error, "a worker process ends");
    }
    spill::remove_all();
    std::process::exit(i32::from(ended.is_err()))
}

/// What the parent has said. A token that it could use is one here too.
fn security() -> Security {
    let [cert, key, ca] = TLS.map(|name| std::env::var_os(name).map(PathBuf::from));
    Security {
        token: std::env::var(TOKEN).ok().and_then(|token| Token::new(&token).ok()),
        tls: cert.zip(key).zip(ca).map(|((cert, key), ca)| Tls { cert, key, ca }),
    }
}

/// A worker process that ends with this value.
#[derive(Debug)]
pub(crate) struct Supervised(Child);

impl Supervised {
    pub(crate) fn start(url: &str, options: &WorkerOptions) -> Result<Self> {
        let failed =
            |error: std::io::Error| Error::Start { what: "a worker process".into(), reason: error.to_string() };
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command
            .arg(ARGUMENT)
            .env(URL, url)
            .env(NAME, &options.name)
            .env(THREADS, options.n_threads.to_string())
            .env(INSTRUCTION_SET, &options.instruction_set)
            .env(RESOURCES, write_resources(&options.resources))
            .env(MEMORY_LIMIT, options.memory_limit.to_string())
            .stdin(Stdio::piped())
            // What tasks print must not mix with what the program prints for other programs.
            .stdout(std::io::stderr());
        // In the environment, which other users cannot read, as they can the arguments.
        match &options.security.token {
            Some(token) => command.env(TOKEN, token.secret()),
            None => command.env_remove(TOKEN),
        };
        match &options.security.tls {
            Some(Tls { cert, key, ca }) => command.envs(TLS.into_iter().zip([cert, key, ca])),
            None => TLS.iter().fold(&mut command, |command, name| command.env_remove(name)),
        };
        match &options.spill_dir {
            Some(spill_dir) => command.env(SPILL_DIR, spill_dir),
            None => command.env_remove(SPILL_DIR),
        };
        // Ctrl-C is for the program, which ends its workers itself.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.spawn().map(Self).map_err(failed)
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let end = Instant::now() + GRACE;
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
        // Both fail only where the process is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
