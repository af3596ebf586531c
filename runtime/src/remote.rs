//! Handles on results that lie on workers.

use std::{any::Any, fmt, future::IntoFuture, marker::PhantomData, pin::Pin, sync::Arc};

use phalanx_engine::{
    graph::{AnyDelayed, Arg, Argument, Delayed},
    id::TaskId,
    task::{Input, TaskDef},
    value::{Portable, Value},
};
use tokio::sync::mpsc;

use crate::{
    client::{BROKEN, Client, Open, Waiter},
    error::{Error, Result},
};

/// A result that is being made or lies on a worker. It is released when the last clone of its handle is gone, and
/// nothing that was submitted needs it any more.
///
/// `.await` brings the value home (a clone, where others have it too); [`get`](Self::get) shares it without one. A
/// handle is also an argument for further calls, whose data then never leave the workers:
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use phalanx_engine::task;
/// use phalanx_runtime::Client;
///
/// #[task]
/// fn double(x: u64) -> u64 { 2 * x }
///
/// let client = Client::local().await?;
/// let two = client.submit(&double::delayed(1));
/// let four = client.submit(&double::delayed(&two));
/// drop(two); // what four needs of it stays until four is there
/// assert_eq!(four.await?, 4);
/// # Ok::<(), phalanx_runtime::Error>(())
/// # }).unwrap();
/// ```
pub struct Remote<T> {
    held: Held,
    result: PhantomData<fn() -> T>,
}

/// What a handle holds.
#[derive(Clone)]
pub(crate) enum Held {
    Task(Arc<Hold>),
    /// It never needed the cluster.
    Value(Value),
    /// It could not be submitted.
    Broken(Error),
}

/// Keeps a result on its worker.
pub(crate) struct Hold {
    client: Client,
    task: TaskId,
    /// Whoever keeps the result where this does not.
    keeper: Option<AnyDelayed>,
    /// Since when; see [`Shell::generation`](crate::client::Shell::generation).
    generation: u64,
}

impl Hold {
    pub(crate) fn owned(client: Client, task: TaskId, generation: u64) -> Arc<Self> {
        Arc::new(Self { client, task, keeper: None, generation })
    }

    pub(crate) fn borrowed(client: Client, task: TaskId, keeper: AnyDelayed) -> Arc<Self> {
        Arc::new(Self { client, task, keeper: Some(keeper), generation: 0 })
    }

    pub(crate) const fn task(&self) -> TaskId {
        self.task
    }

    pub(crate) fn delayed(self: &Arc<Self>) -> AnyDelayed {
        let guard: Arc<dyn Any + Send + Sync> = Arc::clone(self) as _;
        AnyDelayed::remote(self.task, guard)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.keeper.is_none() {
            self.client.shell().release(self.task, self.generation);
        }
    }
}

impl<T> Remote<T> {
    pub(crate) const fn new(held: Held) -> Self {
        Self { held, result: PhantomData }
    }

    /// The task whose result it is; none where there was nothing to run.
    pub fn task(&self) -> Option<TaskId> {
        match &self.held {
            Held::Task(hold) => Some(hold.task),
            Held::Value(_) | Held::Broken(_) => None,
        }
    }

    /// Waits until the result exists, and leaves it where it is.
    ///
    /// # Errors
    /// When the task has no result, or the scheduler is lost.
    pub async fn done(&self) -> Result<()> {
        match &self.held {
            Held::Task(hold) => hold.client.all_done(vec![hold.task]).await,
            Held::Value(_) => Ok(()),
            Held::Broken(error) => Err(error.clone()),
        }
    }

    /// What other work stands on.
    pub(crate) fn any(&self) -> Result<AnyDelayed> {
        match &self.held {
            Held::Task(hold) => Ok(hold.delayed()),
            Held::Value(value) => Ok(AnyDelayed::value(value.clone())),
            Held::Broken(error) => Err(error.clone()),
        }
    }
}

impl<T: Portable> Remote<T> {
    /// The value, shared.
    ///
    /// # Errors
    /// When the task has no result or one of another type, or the scheduler is lost.
    pub async fn get(&self) -> Result<Arc<T>> {
        Ok(self.value().await?.take::<T>()?)
    }

    /// The result as a part of further work.
    pub fn delayed(&self) -> Delayed<T> {
        Delayed::from_any(self.any().unwrap_or_else(|_| AnyDelayed::remote(BROKEN, Arc::new(()))))
    }

    async fn value(&self) -> Result<Value> {
        match &self.held {
            Held::Task(hold) => hold.client.value_of(hold.task).await,
            Held::Value(value) => Ok(value.clone()),
            Held::Broken(error) => Err(error.clone()),
        }
    }
}

impl<T> Clone for Remote<T> {
    fn clone(&self) -> Self {
        Self { held: self.held.clone(), result: PhantomData }
    }
}

impl<T> fmt::Debug for Remote<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.held {
            Held::Task(hold) => write!(f, "Remote({})", hold.task),
            Held::Value(value) => write!(f, "Remote({value:?})"),
            Held::Broken(error) => write!(f, "Remote({error})"),
        }
    }
}

/// The future of a [`Remote`]'s value.
pub type RemoteFuture<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

impl<T: Portable + Clone> IntoFuture for Remote<T> {
    type Output = Result<T>;
    type IntoFuture = RemoteFuture<T>;

    fn into_future(self) -> RemoteFuture<T> {
        Box::pin(async move {
            let value = self.value().await?;
            Ok(Arc::unwrap_or_clone(value.take::<T>()?))
        })
    }
}

impl<T: Portable + Clone> IntoFuture for &Remote<T> {
    type Output = Result<T>;
    type IntoFuture = RemoteFuture<T>;

    fn into_future(self) -> RemoteFuture<T> {
        self.clone().into_future()
    }
}

impl<T: Portable> From<&Remote<T>> for Arg<T> {
    fn from(remote: &Remote<T>) -> Self {
        remote.delayed().into()
    }
}

impl<T: Portable> From<Remote<T>> for Arg<T> {
    fn from(remote: Remote<T>) -> Self {
        remote.delayed().into()
    }
}

/// Results in the order in which they are done; see [`Client::as_completed`].
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// # use phalanx_engine::task;
/// # use phalanx_runtime::Client;
/// #[task]
/// fn half(x: f64) -> f64 { x / 2. }
///
/// let client = Client::local().await?;
/// let mut completed = client.as_completed(client.map([1., 2.], half::delayed));
/// let mut sum = 0.;
/// while let Some(half) = completed.next().await {
///     sum += half.await?;
/// }
/// assert_eq!(sum, 1.5);
/// # Ok::<(), phalanx_runtime::Error>(())
/// # }).unwrap();
/// ```
pub struct AsCompleted<T> {
    remotes: Vec<Option<Remote<T>>>,
    n_left: usize,
    completed: mpsc::UnboundedReceiver<usize>,
    _open: Open,
}

impl<T> AsCompleted<T> {
    pub(crate) fn new(client: &Client, remotes: Vec<Remote<T>>) -> Self {
        let (sender, completed) = mpsc::unbounded_channel();
        let (mut tasks, mut seats) = (Vec::new(), Vec::new());
        for (place, remote) in remotes.iter().enumerate() {
            match remote.task() {
                Some(task) => {
                    tasks.push(task);
                    seats.push(place);
                }
                None => drop(sender.send(place)),
            }
        }
        let open = client.shell().ask(&tasks, false, |seat| Waiter::Next(sender.clone(), seats[seat]));
        Self { n_left: remotes.len(), remotes: remotes.into_iter().map(Some).collect(), completed, _open: open }
    }

    /// The next result that is done or has failed, which awaiting it tells; none after the last.
    pub async fn next(&mut self) -> Option<Remote<T>> {
        if self.n_left == 0 {
            return None;
        }
        let place = self.completed.recv().await?;
        self.n_left -= 1;
        self.remotes[place].take()
    }

    /// How many are still to come.
    pub const fn n_left(&self) -> usize {
        self.n_left
    }
}

impl<T> fmt::Debug for AsCompleted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("n_left", &self.n_left).finish_non_exhaustive()
    }
}

/// A task that gives what it is given, whatever its type: how a value comes to lie on a worker.
static IDENTITY: TaskDef = TaskDef {
    name: "runtime.identity",
    path: concat!(module_path!(), "::IDENTITY"),
    signature: "(T) -> T",
    run: |inputs: &[Input]| match inputs {
        [input] => input.one().cloned().map_err(|error| error.to_string()),
        _ => Err(format!("{} arguments were given, the function takes 1", inputs.len())),
    },
};

phalanx_engine::task::submit! { IDENTITY }

pub(crate) fn identity<T: Portable>(value: T) -> Delayed<T> {
    passed_on(AnyDelayed::value(Value::new(value)))
}

/// A call that gives what it is given.
pub(crate) fn passed_on<T: Portable>(what: AnyDelayed) -> Delayed<T> {
    Delayed::call(&IDENTITY, vec![Argument::One(what)])
}
