//! Locks, semaphores, events, queues and variables that all programs of a cluster know by name, tasks among them.
//!
//! | | made by | lives |
//! |---|---|---|
//! | [`Lock`], [`Semaphore`] | [`Client::lock`], [`Client::semaphore`] | while somebody holds or awaits it |
//! | [`Event`] | [`Client::event`] | while it is set or awaited |
//! | [`Queue`], [`Variable`] | [`Client::queue`], [`Client::variable`] | until it is empty or deleted, or the cluster ends |
//!
//! The scheduler keeps them, and knows who is connected: a program that is killed, or loses its connection, has let go
//! of what it held. Nobody has to prove that he is alive, and no lease runs out under one who is. Waits are served in
//! the order in which they began; a wait that is dropped leaves the line. None of it outlives the scheduler.
//!
//! In a task, [`worker_client`](crate::worker_client) gives the client, and its `wait` waits for any of this.

use std::{fmt, future::IntoFuture, marker::PhantomData, pin::Pin, sync::Arc, time::Duration};

use phalanx_engine::{
    coordination::{Answer, CoordinationError, MAX_VALUE, Request},
    value::{Portable, Value},
};

use crate::{
    client::{Client, Shell},
    error::{Error, Result},
};

impl Client {
    /// The lock of that name: one holder at a time in the whole cluster.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// # use phalanx_runtime::Client;
    /// let client = Client::local().await?;
    /// let printer = client.lock("the printer").await?;
    /// assert!(client.lock("the printer").try_acquire().await?.is_none());
    /// drop(printer); // the next in line has it
    /// # Ok::<(), phalanx_runtime::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn lock(&self, name: impl Into<String>) -> Lock {
        Lock(Places { client: self.clone(), name: name.into(), limit: None })
    }

    /// The semaphore of that name, which `limit` may hold at a time. All who use a name must agree on its limit.
    pub fn semaphore(&self, name: impl Into<String>, limit: u32) -> Semaphore {
        Semaphore(Places { client: self.clone(), name: name.into(), limit: Some(limit) })
    }

    /// The event of that name, which is not set at first.
    pub fn event(&self, name: impl Into<String>) -> Event {
        Event { client: self.clone(), name: name.into() }
    }

    /// The queue of that name, which holds `maxsize` values, or any number where that is 0. All who use a name must
    /// agree on its size and type.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// # use phalanx_runtime::Client;
    /// let client = Client::local().await?;
    /// let best = client.queue::<f64>("best so far", 10);
    /// best.put(0.25).await?;
    /// assert_eq!(best.get().await?, 0.25);
    /// assert_eq!(best.try_get().await?, None);
    /// # Ok::<(), phalanx_runtime::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn queue<T: Portable + Clone>(&self, name: impl Into<String>, maxsize: u32) -> Queue<T> {
        Queue { client: self.clone(), name: name.into(), maxsize, values: PhantomData }
    }

    /// The variable of that name, which has no value at first.
    pub fn variable<T: Portable + Clone>(&self, name: impl Into<String>) -> Variable<T> {
        Variable { client: self.clone(), name: name.into(), value: PhantomData }
    }

    async fn ask_for(&self, request: Request, value: Option<Value>, returns: Returns) -> Result<Granted> {
        let (_open, answer) = self.shell().ask_for(request, value, returns);
        let mut granted = answer.await.map_err(|_| Error::SchedulerLost)??;
        match granted.refusal() {
            Some(error) => Err(error.into()),
            None => Ok(granted),
        }
    }

    /// A value that may lie in a queue or a variable.
    fn small<T: Portable>(&self, name: &str, value: T) -> Result<Option<Value>> {
        let mut value = Value::new(value);
        if self.shell().travels() {
            value = Value::from_data(value.to_data()?);
        }
        let n_bytes = value.n_bytes();
        if n_bytes > MAX_VALUE {
            return Err(CoordinationError::TooLarge { name: name.into(), n_bytes, limit: MAX_VALUE }.into());
        }
        Ok(Some(value))
    }
}

/// One holder at a time, in the whole cluster; see [`Client::lock`]. `.await` it to hold it.
#[derive(Debug, Clone)]
pub struct Lock(Places);

/// As many holders at a time as was said; see [`Client::semaphore`]. `.await` it to be one of them.
#[derive(Debug, Clone)]
pub struct Semaphore(Places);

macro_rules! places {
    ($($places:ident),+) => {
        $(impl $places {
            /// Waits for a place and takes it.
            ///
            /// # Errors
            /// When the name is used with another limit, the limit is 0, or the scheduler is lost.
            pub async fn acquire(&self) -> Result<Lease> {
                self.0.acquire().await
            }

            /// Takes a place if one is free at once and nobody is before.
            ///
            /// # Errors
            /// As [`acquire`](Self::acquire).
            pub async fn try_acquire(&self) -> Result<Option<Lease>> {
                self.0.acquire_for(Some(Duration::ZERO)).await
            }

            /// Waits for a place, for `timeout` at most.
            ///
            /// # Errors
            /// As [`acquire`](Self::acquire), or [`Error::TimedOut`].
            pub async fn acquire_within(&self, timeout: Duration) -> Result<Lease> {
                let lease = self.0.acquire_for(Some(timeout)).await?;
                lease.ok_or_else(|| in_vain(self.0.what(), timeout))
            }
        }

        impl IntoFuture for $places {
            type Output = Result<Lease>;
            type IntoFuture = Pin<Box<dyn Future<Output = Result<Lease>> + Send>>;

            fn into_future(self) -> Self::IntoFuture {
                Box::pin(async move { self.0.acquire().await })
            }
        })+
    };
}

places!(Lock, Semaphore);

/// A lock or a semaphore.
#[derive(Debug, Clone)]
struct Places {
    client: Client,
    name: String,
    /// None for a lock.
    limit: Option<u32>,
}

impl Places {
    async fn acquire(&self) -> Result<Lease> {
        // Without a timeout there is no other answer than the lease.
        self.acquire_for(None).await?.ok_or_else(|| in_vain(self.what(), Duration::MAX))
    }

    async fn acquire_for(&self, timeout: Option<Duration>) -> Result<Option<Lease>> {
        let name = self.name.clone();
        let request = match self.limit {
            None => Request::Lock { name, timeout },
            Some(limit) => Request::Acquire { name, limit, timeout },
        };
        let mut granted = self.client.ask_for(request, None, Returns::Lease).await?;
        let ticket = granted.ticket;
        let is_held = matches!(granted.take(), Some((Answer::Acquired, _)));
        Ok(is_held.then(|| Lease { client: self.client.clone(), ticket }))
    }

    fn what(&self) -> String {
        match self.limit {
            None => format!("the lock {:?}", self.name),
            Some(limit) => format!("one of {limit} places of the semaphore {:?}", self.name),
        }
    }
}

/// That a lock or a semaphore's place is held: until this is dropped, or the connection to the scheduler is lost.
#[must_use = "a lease that is dropped is let go of"]
#[derive(Debug)]
pub struct Lease {
    client: Client,
    ticket: u64,
}

impl Lease {
    /// Whether it still is held as far as this program knows: false once the connection to the scheduler is lost.
    pub fn is_held(&self) -> bool {
        !self.client.shell().is_lost()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.client.shell().tell(Request::Release { lease: self.ticket }, None);
    }
}

/// Something that has happened, or not, for the whole cluster; see [`Client::event`].
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// # use phalanx_runtime::Client;
/// let client = Client::local().await?;
/// let stop = client.event("stop");
/// assert!(!stop.is_set().await?);
/// stop.set().await?;
/// stop.wait().await?; // at once
/// # Ok::<(), phalanx_runtime::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct Event {
    client: Client,
    name: String,
}

impl Event {
    /// Sets it; all who wait for it go on, also when it is cleared right after.
    ///
    /// # Errors
    /// When the scheduler is lost.
    pub async fn set(&self) -> Result<()> {
        self.ask(Request::Set { event: self.name.clone() }).await.map(drop)
    }

    /// Clears it.
    ///
    /// # Errors
    /// When the scheduler is lost.
    pub async fn clear(&self) -> Result<()> {
        self.ask(Request::Clear { event: self.name.clone() }).await.map(drop)
    }

    /// Whether it is set.
    ///
    /// # Errors
    /// When the scheduler is lost.
    pub async fn is_set(&self) -> Result<bool> {
        Ok(matches!(self.ask(Request::IsSet { event: self.name.clone() }).await?, Some(Answer::Is(true))))
    }

    /// Waits until it is set.
    ///
    /// # Errors
    /// When the scheduler is lost.
    pub async fn wait(&self) -> Result<()> {
        self.ask(Request::Wait { event: self.name.clone(), timeout: None }).await.map(drop)
    }

    /// Waits until it is set, for `timeout` at most.
    ///
    /// # Errors
    /// [`Error::TimedOut`], or that the scheduler is lost.
    pub async fn wait_within(&self, timeout: Duration) -> Result<()> {
        let request = Request::Wait { event: self.name.clone(), timeout: Some(timeout) };
        match self.ask(request).await? {
            Some(Answer::TimedOut) => Err(in_vain(format!("the event {:?}", self.name), timeout)),
            _ => Ok(()),
        }
    }

    async fn ask(&self, request: Request) -> Result<Option<Answer>> {
        let mut granted = self.client.ask_for(request, None, Returns::Nothing).await?;
        Ok(granted.take().map(|(answer, _)| answer))
    }
}

/// Values in the order in which they were put, for the whole cluster; see [`Client::queue`].
///
/// A value has 1 MiB at most, all queues and variables together 256 MiB. Larger ones stay on the workers, and what says
/// where they are goes through the queue.
pub struct Queue<T> {
    client: Client,
    name: String,
    maxsize: u32,
    values: PhantomData<fn() -> T>,
}

impl<T: Portable + Clone> Queue<T> {
    /// Appends a value, once there is room.
    ///
    /// # Errors
    /// When it is too large, the name is used with another size, the queue is deleted meanwhile, or the scheduler is
    /// lost.
    pub async fn put(&self, value: T) -> Result<()> {
        self.put_for(value, None).await.map(drop)
    }

    /// Appends a value, waiting for room for `timeout` at most.
    ///
    /// # Errors
    /// As [`put`](Self::put), or [`Error::TimedOut`].
    pub async fn put_within(&self, value: T, timeout: Duration) -> Result<()> {
        if self.put_for(value, Some(timeout)).await? {
            Ok(())
        } else {
            Err(in_vain(format!("room in the queue {:?}", self.name), timeout))
        }
    }

    /// Takes the first value, once there is one. Where the future is dropped, the value stays.
    ///
    /// # Errors
    /// When the value is of another type, the name is used with another size, the queue is deleted meanwhile, or the
    /// scheduler is lost.
    pub async fn get(&self) -> Result<T> {
        self.get_for(None).await?.ok_or_else(|| in_vain(self.what(), Duration::MAX))
    }

    /// Takes the first value, waiting for one for `timeout` at most.
    ///
    /// # Errors
    /// As [`get`](Self::get), or [`Error::TimedOut`].
    pub async fn get_within(&self, timeout: Duration) -> Result<T> {
        self.get_for(Some(timeout)).await?.ok_or_else(|| in_vain(self.what(), timeout))
    }

    /// Takes the first value if there is one.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn try_get(&self) -> Result<Option<T>> {
        self.get_for(Some(Duration::ZERO)).await
    }

    /// How many values are in it.
    ///
    /// # Errors
    /// When the scheduler is lost.
    pub async fn len(&self) -> Result<u64> {
        let request = Request::Len { queue: self.name.clone() };
        match self.client.ask_for(request, None, Returns::Nothing).await?.take() {
            Some((Answer::Count(n_values), _)) => Ok(n_values),
            _ => Ok(0),
        }
    }

    /// Whether no value is in it.
    ///
    /// # Errors
    /// When the scheduler is lost.
    pub async fn is_empty(&self) -> Result<bool> {
        Ok(self.len().await? == 0)
    }

    /// Throws its values away; who waits for it gets an error that says so.
    ///
    /// # Errors
    /// When the scheduler is lost.
    pub async fn delete(&self) -> Result<()> {
        let request = Request::DeleteQueue { queue: self.name.clone() };
        self.client.ask_for(request, None, Returns::Nothing).await.map(drop)
    }

    async fn put_for(&self, value: T, timeout: Option<Duration>) -> Result<bool> {
        let value = self.client.small(&self.name, value)?;
        let request = Request::Put { queue: self.name.clone(), maxsize: self.maxsize, timeout };
        let mut granted = self.client.ask_for(request, value, Returns::Nothing).await?;
        Ok(matches!(granted.take(), Some((Answer::Done, _))))
    }

    async fn get_for(&self, timeout: Option<Duration>) -> Result<Option<T>> {
        let (queue, maxsize) = (self.name.clone(), self.maxsize);
        let returns = Returns::Value { queue: queue.clone(), maxsize };
        let mut granted = self.client.ask_for(Request::Get { queue, maxsize, timeout }, None, returns).await?;
        value_of(granted.take())
    }

    fn what(&self) -> String {
        format!("a value in the queue {:?}", self.name)
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        let (client, name, maxsize) = (self.client.clone(), self.name.clone(), self.maxsize);
        Self { client, name, maxsize, values: PhantomData }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("name", &self.name).field("maxsize", &self.maxsize).finish_non_exhaustive()
    }
}

/// A value that the whole cluster knows by a name; see [`Client::variable`].
///
/// A value has 1 MiB at most, all queues and variables together 256 MiB.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// # use phalanx_runtime::Client;
/// let client = Client::local().await?;
/// let rate = client.variable::<f64>("learning rate");
/// rate.set(0.1).await?;
/// assert_eq!(rate.get().await?, 0.1);
/// # Ok::<(), phalanx_runtime::Error>(())
/// # }).unwrap();
/// ```
pub struct Variable<T> {
    client: Client,
    name: String,
    value: PhantomData<fn() -> T>,
}

impl<T: Portable + Clone> Variable<T> {
    /// Gives it a value in place of any that it has.
    ///
    /// # Errors
    /// When the value is too large, or the scheduler is lost.
    pub async fn set(&self, value: T) -> Result<()> {
        let value = self.client.small(&self.name, value)?;
        self.client.ask_for(Request::Store { variable: self.name.clone() }, value, Returns::Nothing).await.map(drop)
    }

    /// Its value, once it has one.
    ///
    /// # Errors
    /// When the value is of another type, or the scheduler is lost.
    pub async fn get(&self) -> Result<T> {
        self.get_for(None).await?.ok_or_else(|| in_vain(self.what(), Duration::MAX))
    }

    /// Its value, waiting for one for `timeout` at most.
    ///
    /// # Errors
    /// As [`get`](Self::get), or [`Error::TimedOut`].
    pub async fn get_within(&self, timeout: Duration) -> Result<T> {
        self.get_for(Some(timeout)).await?.ok_or_else(|| in_vain(self.what(), timeout))
    }

    /// Its value if it has one.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn try_get(&self) -> Result<Option<T>> {
        self.get_for(Some(Duration::ZERO)).await
    }

    /// Throws its value away.
    ///
    /// # Errors
    /// When the scheduler is lost.
    pub async fn delete(&self) -> Result<()> {
        let request = Request::DeleteVariable { variable: self.name.clone() };
        self.client.ask_for(request, None, Returns::Nothing).await.map(drop)
    }

    async fn get_for(&self, timeout: Option<Duration>) -> Result<Option<T>> {
        let request = Request::Load { variable: self.name.clone(), timeout };
        value_of(self.client.ask_for(request, None, Returns::Nothing).await?.take())
    }

    fn what(&self) -> String {
        format!("a value of the variable {:?}", self.name)
    }
}

impl<T> Clone for Variable<T> {
    fn clone(&self) -> Self {
        Self { client: self.client.clone(), name: self.name.clone(), value: PhantomData }
    }
}

impl<T> fmt::Debug for Variable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Variable").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What goes back where an answer finds nobody.
#[derive(Debug)]
pub(crate) enum Returns {
    Nothing,
    Lease,
    Value { queue: String, maxsize: u32 },
}

/// An answer on its way to who asked. Should he be gone when it comes, then what it grants goes back.
pub(crate) struct Granted {
    shell: Arc<Shell>,
    ticket: u64,
    answer: Option<(Answer, Option<Value>)>,
    returns: Returns,
}

impl Granted {
    pub(crate) const fn new(
        shell: Arc<Shell>,
        ticket: u64,
        answer: Answer,
        value: Option<Value>,
        returns: Returns,
    ) -> Self {
        Self { shell, ticket, answer: Some((answer, value)), returns }
    }

    const fn take(&mut self) -> Option<(Answer, Option<Value>)> {
        self.answer.take()
    }

    fn refusal(&mut self) -> Option<CoordinationError> {
        match self.answer.take() {
            Some((Answer::Refused(error), _)) => Some(error),
            answer => {
                self.answer = answer;
                None
            }
        }
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        match (self.answer.take(), &mut self.returns) {
            (Some((Answer::Acquired, _)), Returns::Lease) => {
                self.shell.tell(Request::Release { lease: self.ticket }, None);
            }
            (Some((Answer::Value, value)), Returns::Value { queue, maxsize }) => {
                let (queue, maxsize) = (std::mem::take(queue), *maxsize);
                self.shell.tell(Request::PutBack { queue, maxsize }, value);
            }
            _ => {}
        }
    }
}

fn value_of<T: Portable + Clone>(answer: Option<(Answer, Option<Value>)>) -> Result<Option<T>> {
    match answer {
        Some((Answer::Value, Some(value))) => Ok(Some(Arc::unwrap_or_clone(value.take::<T>()?))),
        _ => Ok(None),
    }
}

const fn in_vain(what: String, waited: Duration) -> Error {
    Error::TimedOut { what, waited }
}
