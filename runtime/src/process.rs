//! Worker processes: this same program again, told what to do through a pipe.
//!
//! A child knows that it is one by its first argument and its environment together: the environment alone would be
//! inherited by whatever a task starts. Everything else comes through the pipe on its standard input, where no other
//! process can read it, and it ends when that pipe closes, which the system does when its parent ends, however that
//! comes about.

use std::{
    io::{self, PipeReader, Read, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use phalanx_engine::task::Registry;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    io::Running,
    memory::MemoryLimit,
    security::{Security, Tls, Token},
    spill,
    supervisor::Note,
    transport::Destination,
    worker::{Access, Supervision, WorkerOptions, live},
};

const ARGUMENT: &str = "phalanx-worker";
const ENVIRONMENT: &str = "PHALANX_WORKER";
/// How many separate heaps glibc's allocator makes.
const ARENAS: &str = "MALLOC_ARENA_MAX";
/// From which size on glibc's allocator asks the system for each block, and gives it back when it is free.
const MAPPED: &str = "MALLOC_MMAP_THRESHOLD_";
/// How glibc's allocator is told everything else.
const TUNABLES: &str = "GLIBC_TUNABLES";
/// That it asks the system for huge pages where blocks are large: a block that is received or made is touched for the
/// first time, and a page fault each 4 KiB takes longer than copying them (1.1 GB/s between two workers, and 2.3 to 3.3
/// with huge pages).
const HUGE_PAGES: &str = "glibc.malloc.hugetlb=1";

/// How long a child may take to notice that its pipe is closed.
pub(crate) const GRACE: Duration = Duration::from_secs(2);
/// Orders are not longer than this.
const MAX_ORDERS: u32 = 1 << 20;

static INITIALISED: AtomicBool = AtomicBool::new(false);

/// Everything that a worker process has to know.
#[derive(Serialize, Deserialize)]
pub(crate) struct Orders {
    /// The scheduler's address.
    url: String,
    options: WorkerOptions,
    /// What `options` do not say of themselves.
    token: Option<String>,
    /// Certificate, key and authority.
    tls: Option<(PathBuf, PathBuf, PathBuf)>,
    /// The number of this process's life.
    life: u64,
    /// Where it writes down what it runs.
    note: Option<PathBuf>,
    /// How often it was started again before.
    n_restarts: u64,
}

/// Must be the first thing in `main`, and in the `main` of a custom test harness.
///
/// Checks that this program's task functions can be told apart. Where this process was started as a worker process, it
/// becomes that worker and never returns.
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
    if is_worker() {
        become_worker();
    }
    Ok(())
}

fn is_worker() -> bool {
    std::env::args_os().nth(1).is_some_and(|argument| argument == ARGUMENT) && std::env::var_os(ENVIRONMENT).is_some()
}

/// Whether this program can be its own worker.
pub(crate) fn can_start() -> Result<()> {
    if is_worker() {
        return Err(Error::InsideWorker);
    }
    if INITIALISED.load(Ordering::SeqCst) { Ok(()) } else { Err(Error::InitMissing) }
}

/// Runs until the scheduler or the parent is gone; then this process is over.
fn become_worker() -> ! {
    let Ok(orders) = Orders::read(io::stdin()) else {
        // The parent ended before it had said anything.
        std::process::exit(0);
    };
    let watch = || {
        let mut nothing = [0; 64];
        // Nobody writes into it any more: it ends, or fails, when the parent does.
        while io::stdin().read(&mut nothing).is_ok_and(|n| n > 0) {}
        spill::remove_all();
        std::process::exit(0);
    };
    let Orders { url, mut options, token, tls, life, note, n_restarts } = orders;
    options.security = Security {
        // A token that the parent could use is one here too.
        token: token.and_then(|token| Token::new(&token).ok()),
        tls: tls.map(|(cert, key, ca)| Tls { cert, key, ca }),
    };
    let note = note.and_then(|path| Note::open(&path).ok()).map(Arc::new);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let watched = std::thread::Builder::new().name("phalanx-parent".into()).spawn(watch);
    let ended = match (runtime, watched) {
        (Ok(runtime), Ok(_)) => {
            let supervision = Supervision { life, note: note.clone(), n_restarts };
            options.security.load().and_then(|guard| {
                let scheduler = Destination::Tcp(url, guard);
                runtime.block_on(async {
                    let live =
                        async move { live(&scheduler, &options, Access::Port, Some(&supervision), |_| {}).await };
                    Running::start(live).ended().await
                })
            })
        }
        (Err(error), _) | (_, Err(error)) => Err(Error::Start { what: "a worker".into(), reason: error.to_string() }),
    };
    if let Some(note) = note {
        note.ended(ended.as_ref().err().map(ToString::to_string).as_deref());
    }
    spill::remove_all();
    std::process::exit(i32::from(ended.is_err()))
}

impl Orders {
    pub(crate) fn new(url: &str, options: &WorkerOptions, life: u64, note: Option<PathBuf>, n_restarts: u64) -> Self {
        let Security { token, tls } = &options.security;
        Self {
            url: url.into(),
            token: token.as_ref().map(|token| token.secret().into()),
            tls: tls.as_ref().map(|Tls { cert, key, ca }| (cert.clone(), key.clone(), ca.clone())),
            options: options.clone(),
            life,
            note,
            n_restarts,
        }
    }

    fn read(mut from: impl Read) -> io::Result<Self> {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length);
        if length > MAX_ORDERS {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut bytes = vec![0; length as usize];
        from.read_exact(&mut bytes)?;
        postcard::from_bytes(&bytes).map_err(io::Error::other)
    }

    fn write(&self, mut to: impl Write) -> io::Result<()> {
        let bytes = postcard::to_stdvec(self).map_err(io::Error::other)?;
        let length = u32::try_from(bytes.len()).ok().filter(|length| *length <= MAX_ORDERS);
        let length = length.ok_or_else(|| io::Error::other("the worker's options are too long"))?;
        to.write_all(&[&length.to_le_bytes(), &*bytes].concat())
    }

    /// Starts a process that carries them out, with what it says on its standard output and error.
    pub(crate) fn start(&self) -> Result<(Child, PipeReader)> {
        let failed = |error: io::Error| Error::Start { what: "a worker process".into(), reason: error.to_string() };
        let (said, says) = io::pipe().map_err(failed)?;
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command
            .arg(ARGUMENT)
            .env(ENVIRONMENT, "1")
            .stdin(Stdio::piped())
            // What tasks print must not mix with what the program prints for other programs.
            .stdout(says.try_clone().map_err(failed)?)
            .stderr(says);
        // Ctrl-C is for the program, which ends its workers itself.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        // An arena for each thread keeps freed blocks that another thread's results could have had, and between small
        // results on the heap large freed ones stay: where somebody said how much memory a worker may take, either is
        // a quarter of a small budget.
        if matches!(self.options.memory_limit, MemoryLimit::Bytes(_)) {
            for (name, value) in [(ARENAS, "1"), (MAPPED, "131072")] {
                if std::env::var_os(name).is_none() {
                    command.env(name, value);
                }
            }
        }
        let tunables = std::env::var(TUNABLES).unwrap_or_default();
        // Whoever says something about them himself has decided.
        if !tunables.contains("hugetlb") {
            let all = if tunables.is_empty() { HUGE_PAGES.into() } else { format!("{tunables}:{HUGE_PAGES}") };
            command.env(TUNABLES, all);
        }
        let mut child = command.spawn().map_err(failed)?;
        drop(command);
        if let Some(pipe) = &child.stdin
            && let Err(error) = self.write(pipe)
        {
            let _ = child.kill();
            let _ = child.wait();
            return Err(failed(error));
        }
        Ok((child, said))
    }
}

/// Ends a process in good order where it can, and at once where that takes too long.
pub(crate) fn end(child: &mut Child) {
    drop(child.stdin.take());
    let end = Instant::now() + GRACE;
    while matches!(child.try_wait(), Ok(None)) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(2));
    }
    // Both fail only where the process is gone already.
    let _ = child.kill();
    let _ = child.wait();
}
