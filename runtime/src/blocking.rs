//! The client for programs without async: one more method.

use std::{
    fmt,
    ops::Deref,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::Thread,
};

use tokio::runtime::{Builder, Runtime};

use crate::{
    client::{Client as AsyncClient, ClientOptions},
    error::{Error, Result},
    local::LocalOptions,
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

    /// Waits for `future` on this thread, with a tokio runtime at its hand.
    ///
    /// Works from everywhere. From inside of async code it blocks the thread it is called on, so that what else runs
    /// there stands still meanwhile, timers and sockets that were made there included: await there instead.
    pub fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.wait(future)
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
struct Waiting(Option<Runtime>);

impl Waiting {
    fn new() -> Result<Self> {
        let failed = |error: std::io::Error| Error::Start { what: "a runtime".into(), reason: error.to_string() };
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).thread_name("phalanx-wait").enable_all().build().map_err(failed)?;
        Ok(Self(Some(runtime)))
    }

    fn wait<F: Future>(&self, future: F) -> F::Output {
        let _entered = self.0.as_ref().map(Runtime::enter);
        let mut future = pin!(future);
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return output;
            }
            std::thread::park();
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Waiting for its threads is not allowed inside of another runtime.
            runtime.shutdown_background();
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
