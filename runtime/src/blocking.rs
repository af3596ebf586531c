//! The client for programs without async: one more method.

use std::{
    cell::RefCell,
    fmt,
    ops::Deref,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::Thread,
};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::{
    client::{Client as AsyncClient, ClientOptions},
    error::{Error, Result},
    local::LocalOptions,
    patience::Patience,
    worker::Away,
};

/// A [`Client`](crate::Client) that can wait for any future: its own methods', those of other crates, yours.
///
/// ```
/// use phalanx_engine::task;
/// use phalanx_runtime::blocking::Client;
///
/// #[task]
/// fn add(a: f64, b: f64) -> f64 { a + b }
///
/// let client = Client::local()?;
/// let three = client.wait(client.compute(&add::delayed(1., 2.)))?;
/// assert_eq!(three, 3.);
/// # Ok::<(), phalanx_runtime::Error>(())
/// ```
pub struct Client {
    client: AsyncClient,
    runtime: Waiting,
}

impl Client {
    /// As [`Client::local`](crate::Client::local).
    ///
    /// # Errors
    /// As there.
    pub fn local() -> Result<Self> {
        Self::local_with(LocalOptions::default())
    }

    /// As [`Client::local_with`](crate::Client::local_with).
    ///
    /// # Errors
    /// As there.
    pub fn local_with(options: LocalOptions) -> Result<Self> {
        let runtime = Waiting::new()?;
        let client = runtime.wait(AsyncClient::local_with(options))?;
        Ok(Self { client, runtime })
    }

    /// As [`Client::connect`](crate::Client::connect).
    ///
    /// # Errors
    /// As there.
    pub fn connect(url: &str) -> Result<Self> {
        let runtime = Waiting::new()?;
        let client = runtime.wait(AsyncClient::connect_with(url, &ClientOptions::default()))?;
        Ok(Self { client, runtime })
    }

    /// A client that exists already.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn new(client: AsyncClient) -> Result<Self> {
        Ok(Self { client, runtime: Waiting::new()? })
    }

    /// A client that lives on somebody else's runtime.
    pub(crate) const fn on(client: AsyncClient, handle: Handle) -> Self {
        Self { client, runtime: Waiting::On(handle) }
    }

    /// Waits for `future` on this thread, with a tokio runtime at its hand.
    ///
    /// Inside of a task, whichever client it is, the thread's place belongs to another task meanwhile.
    ///
    /// Works from everywhere. From inside of async code it blocks the thread it is called on, so that what else runs
    /// there stands still meanwhile, timers and sockets that were made there included: await there instead.
    ///
    /// # Panics
    /// Inside of a task, when 1,000 tasks of the worker wait already. The panic is the task's failure, with that as its
    /// message.
    pub fn wait<F: IntoFuture>(&self, future: F) -> F::Output {
        self.runtime.wait(future.into_future())
    }
}

impl Deref for Client {
    type Target = AsyncClient;

    fn deref(&self) -> &AsyncClient {
        &self.client
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.client.fmt(f)
    }
}

/// A runtime whose own thread drives timers and sockets. `Runtime::block_on` would panic inside of another runtime;
/// parking the thread does not.
enum Waiting {
    Own(Option<Runtime>),
    On(Handle),
}

impl Waiting {
    fn new() -> Result<Self> {
        let failed = |error: std::io::Error| Error::Start { what: "a runtime".into(), reason: error.to_string() };
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).thread_name("phalanx-wait").enable_all().build().map_err(failed)?;
        Ok(Self::Own(Some(runtime)))
    }

    fn wait<F: Future>(&self, future: F) -> F::Output {
        let _entered = match self {
            Self::Own(runtime) => runtime.as_ref().map(Runtime::enter),
            Self::On(handle) => Some(handle.enter()),
        };
        let mut away = None;
        park_until(future, || match away {
            Some(_) => std::thread::park(),
            // Giving the place back may use up a wake-up that came meanwhile, so the future is asked once more.
            None => away = Some(Away::go()),
        })
    }
}

/// Waits for `future` on this thread with `handle` at its hand, and keeps the thread's place.
pub(crate) fn park_on<F: Future>(handle: &Handle, future: F) -> F::Output {
    let _entered = handle.enter();
    park_until(future, std::thread::park)
}

/// Asks `future` until it is ready; in between, `park` returns when it should be asked again.
fn park_until<F: Future>(future: F, mut park: impl FnMut()) -> F::Output {
    // Inside of async code tokio would stop it after some answers until that code awaits something, which it does not.
    let mut future = pin!(tokio::task::unconstrained(future));
    let unpark = Arc::new(Unpark { thread: std::thread::current(), is_due: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&unpark));
    let mut context = Context::from_waker(&waker);
    loop {
        unpark.is_due.store(false, Ordering::Release);
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        let is_due = || unpark.is_due.swap(false, Ordering::AcqRel).then_some(());
        PATIENCE.with_borrow_mut(|patience| patience.wait_here(is_due, &mut park));
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Self::Own(runtime) = self
            && let Some(runtime) = runtime.take()
        {
            // Waiting for its threads is not allowed inside of another runtime.
            runtime.shutdown_background();
        }
    }
}

struct Unpark {
    thread: Thread,
    /// Whether the future was woken since it was looked at last.
    is_due: AtomicBool,
}

thread_local! {
    /// What this thread has learnt from its waits.
    static PATIENCE: RefCell<Patience> = RefCell::default();
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.is_due.store(true, Ordering::Release);
        self.thread.unpark();
    }
}
