//! What every shell stands on: a clock for its machine, an alarm for its deadline, a thread for its sockets.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use phalanx_engine::time::Time;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::{
    runtime::{Builder, Handle},
    sync::{Notify, oneshot},
};

use crate::error::{Error, Result};

/// The machines' time: how long since the shell started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(&self) -> Time {
        Time::ZERO + self.0.elapsed()
    }

    pub(crate) fn at(&self, instant: Instant) -> Time {
        Time::ZERO + instant.saturating_duration_since(self.0)
    }

    pub(crate) fn instant(&self, time: Time) -> Instant {
        self.0 + (time - Time::ZERO)
    }
}

/// Wakes one task at a machine's deadline, wherever the deadline is changed from.
#[derive(Debug)]
pub(crate) struct Alarm {
    clock: Clock,
    /// The deadline in nanoseconds; the largest number is none.
    deadline: AtomicU64,
    /// The deadline the sleeper sleeps until.
    armed: AtomicU64,
    earlier: Notify,
}

impl Alarm {
    pub(crate) const fn new(clock: Clock) -> Self {
        Self {
            clock,
            deadline: AtomicU64::new(u64::MAX),
            armed: AtomicU64::new(u64::MAX),
            earlier: Notify::const_new(),
        }
    }

    /// The machine's deadline is now this.
    pub(crate) fn set(&self, deadline: Option<Time>) {
        let deadline = deadline.map_or(u64::MAX, |time| time.0);
        self.deadline.store(deadline, Ordering::SeqCst);
        if deadline < self.armed.load(Ordering::SeqCst) {
            self.earlier.notify_one();
        }
    }

    /// Returns when the deadline has come. One task at a time may wait.
    pub(crate) async fn wait(&self) {
        loop {
            let deadline = self.deadline.load(Ordering::SeqCst);
            self.armed.store(deadline, Ordering::SeqCst);
            // A deadline that was set between the two lines above is seen here, a later one by the notification.
            if self.deadline.load(Ordering::SeqCst) < deadline {
                continue;
            }
            if deadline <= self.clock.now().0 {
                return;
            }
            // Somewhat more than a day where there is no deadline: tokio's timers need a number.
            let until = self.clock.instant(Time(deadline.min(self.clock.now().0 + (1 << 47))));
            tokio::select! {
                () = tokio::time::sleep_until(until.into()) => {}
                () = self.earlier.notified() => {}
            }
        }
    }
}

/// A thread of its own for sockets and timers, so that heartbeats go on while the program computes.
///
/// Everything that was spawned on it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct IoThread {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl IoThread {
    /// Starts a thread with that name.
    pub(crate) fn start(name: &str) -> Result<Self> {
        let failed = |error: std::io::Error| Error::Start { what: format!("thread {name}"), reason: error.to_string() };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let run = move || {
            // Ends when the sender says so or is gone.
            let _ = runtime.block_on(stopped);
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(run).map_err(failed)?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }

    /// Where to spawn.
    pub(crate) const fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for IoThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            // It has nothing left to say: a panic on it was reported when it happened.
            let _ = thread.join();
        }
    }
}

/// Checks a machine without letting the checks cost more than the work: at most about half of the time goes into them.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    #[cfg(debug_assertions)]
    next: Option<Instant>,
}

impl Checks {
    /// Runs `check` in debug builds, where it is not too soon.
    #[cfg(debug_assertions)]
    pub(crate) fn run(&mut self, check: impl FnOnce()) {
        let start = Instant::now();
        if self.next.is_none_or(|next| start >= next) {
            check();
            let end = Instant::now();
            self.next = Some(end + (end - start));
        }
    }

    /// Does nothing in release builds.
    #[cfg(not(debug_assertions))]
    pub(crate) fn run(&mut self, _check: impl FnOnce()) {}
}

/// Aborts its task when dropped.
#[derive(Debug)]
pub(crate) struct Spawned(tokio::task::JoinHandle<()>);

impl Spawned {
    pub(crate) fn on(handle: &Handle, future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(handle.spawn(future))
    }

    /// Whether it has ended by itself.
    pub(crate) fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A future that runs as a task of its own, whoever waits for it: what wakes the future that a runtime blocks on costs
/// two system calls more. It ends when this is dropped, and has ended when [`end`](Self::end) returns.
#[derive(Debug)]
pub(crate) struct Running<T>(tokio::task::JoinHandle<T>);

impl<T: Send + 'static> Running<T> {
    /// Starts it. Needs a tokio runtime.
    pub(crate) fn start(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(future))
    }

    /// Waits for it. Can be dropped and called again until it returns.
    pub(crate) async fn ended(&mut self) -> T {
        match (&mut self.0).await {
            Ok(output) => output,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // Only a runtime that is being dropped ends it, and this with it.
            Err(_) => std::future::pending().await,
        }
    }

    /// Ends it, wherever it is.
    pub(crate) async fn end(mut self) {
        self.0.abort();
        let _ = (&mut self.0).await;
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A number that nobody can guess.
///
/// # Errors
/// When the system has none.
pub(crate) fn random() -> Result<u128> {
    let mut bytes = [0; 16];
    let failed = |_| Error::Start { what: "a connection".into(), reason: "the system has no random numbers".into() };
    SystemRandom::new().fill(&mut bytes).map_err(failed)?;
    Ok(u128::from_le_bytes(bytes))
}

/// How long until something that has to answer has answered.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Locks, also after a panic elsewhere: what the locks of this crate protect is whole between two statements.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
