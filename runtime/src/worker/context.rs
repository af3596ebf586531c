//! What task this thread runs, and how that task waits: its place goes to another task meanwhile.
//!
//! A task that waits for tasks it submitted would hold the very thread that they need. So it gives the thread's place
//! back: its own thread is parked, and a spare one takes what the worker does next.

use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
    sync::{Mutex, Weak},
    time::{Duration, Instant},
};

use phalanx_engine::{
    actor,
    id::{Attempt, TaskId},
    message::GangCall,
    worker::Event,
};
use tokio::{runtime::Handle, sync::Mutex as Turnstile};

use super::Session;
use crate::{
    blocking,
    client::{Client, ClientOptions},
    error::{Error, Result},
    io::lock,
    transport::Destination,
};

/// Tasks of one worker that may wait at a time. Each has a parked thread, so this bounds them.
const MAX_WAITING: usize = 1_000;

thread_local! {
    static TASK: RefCell<Option<Rc<Context>>> = const { RefCell::new(None) };
}

/// The task that a thread runs.
struct Context {
    session: Weak<Session>,
    task: TaskId,
    attempt: Attempt,
    gang: Option<Box<GangCall>>,
    /// Waits within waits: only the outermost gives the place back.
    n_waits: Cell<u32>,
    waited: Cell<Duration>,
}

/// A client of the cluster whose task this thread runs, so that tasks can submit tasks and wait for them.
///
/// It is shared by all tasks of the worker, joins when the first of them asks, and ends with the worker; dropping this
/// handle closes nothing. What is submitted through it runs in the turn of the task that submits it (its user priority
/// and its place), before what has not begun yet. While a task is in [`wait`](blocking::Client::wait), its thread's
/// place belongs to another task, so tasks may wait for tasks that wait for tasks on a worker of one thread. A worker
/// that is lost takes with it what its tasks submitted; they submit it again where they run again.
///
/// At most 1,000 tasks of a worker wait at a time, each on a parked thread.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use phalanx_engine::task;
/// use phalanx_runtime::{Client, Error, worker_client};
///
/// #[task]
/// fn fibonacci(n: u64) -> Result<u64, Error> {
///     if n < 2 {
///         return Ok(n);
///     }
///     let client = worker_client()?;
///     let parts = client.map([n - 1, n - 2], fibonacci::delayed);
///     Ok(client.wait(client.gather(&parts))?.iter().sum())
/// }
///
/// let client = Client::local().await?;
/// assert_eq!(client.compute(&fibonacci::delayed(7)).await?, 13);
/// # Ok::<(), phalanx_runtime::Error>(())
/// # }).unwrap();
/// ```
///
/// # Errors
/// When this thread runs no task, too many tasks of the worker wait, or the scheduler does not answer.
pub fn worker_client() -> Result<blocking::Client> {
    let context = current().ok_or(Error::NotInTask)?;
    let session = context.session.upgrade().ok_or(Error::SchedulerLost)?;
    if lock(&session.inside.state).n_waiting >= MAX_WAITING {
        return Err(Error::TooManyWaiting { limit: MAX_WAITING });
    }
    let handle = session.inside.handle.clone();
    // The worker's own loop lets the client join, so this is over in a moment or after the client's patience.
    let client = blocking::park_on(&handle, session.inside.client())?;
    Ok(blocking::Client::on(client, handle))
}

/// Waits on this thread by `wait`, and lets another task have its place meanwhile, as
/// [`blocking::Client::wait`] does for futures. Outside of a task it only calls `wait`.
///
/// For waits of some length that the runtime cannot see: a lock, a child process, a far server.
///
/// # Panics
/// When 1,000 tasks of this worker wait already. The panic is the task's failure, with that as its message.
pub fn secede<R>(wait: impl FnOnce() -> R) -> R {
    let _away = Away::go();
    wait()
}

/// The task that this thread runs.
pub(crate) fn current_task() -> Option<TaskId> {
    current().map(|context| context.task)
}

/// What the task that this thread runs was told of its gang.
pub(crate) fn current_gang() -> Option<GangCall> {
    current()?.gang.as_deref().cloned()
}

fn current() -> Option<Rc<Context>> {
    TASK.try_with(|task| task.borrow().clone()).ok().flatten()
}

/// Runs a task's function on this thread; also how long it waited.
pub(super) fn run<R>(
    session: &Weak<Session>,
    task: TaskId,
    attempt: Attempt,
    gang: Option<Box<GangCall>>,
    call: impl FnOnce() -> R,
) -> (R, Duration) {
    let (n_waits, waited) = (Cell::new(0), Cell::new(Duration::ZERO));
    let context = Rc::new(Context { session: Weak::clone(session), task, attempt, gang, n_waits, waited });
    TASK.set(Some(Rc::clone(&context)));
    let result = call();
    TASK.set(None);
    (result, context.waited.get())
}

/// As long as it lives, this thread's place is another task's.
pub(crate) struct Away(Option<(Rc<Context>, Instant)>);

impl Away {
    /// Gives the place back, where this thread runs a task.
    ///
    /// # Panics
    /// When too many tasks of the worker wait already.
    pub(crate) fn go() -> Self {
        let Some(context) = current() else { return Self(None) };
        if context.n_waits.get() == 0
            && let Some(session) = context.session.upgrade()
            && let Err(error) = session.secede(context.task, context.attempt)
        {
            // Nothing that waits could be told otherwise: its answer may be of any type.
            panic!("{error}");
        }
        context.n_waits.set(context.n_waits.get() + 1);
        Self(Some((context, Instant::now())))
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        let Some((context, since)) = self.0.take() else { return };
        context.n_waits.set(context.n_waits.get() - 1);
        if context.n_waits.get() == 0 {
            context.waited.set(context.waited.get() + since.elapsed());
            if let Some(session) = context.session.upgrade() {
                session.rejoin(context.task, context.attempt);
            }
        }
    }
}

/// What a worker keeps for tasks that submit tasks.
pub(super) struct Inside {
    scheduler: Destination,
    instruction_set: String,
    /// Whether values become bytes on their way to some worker.
    travels: bool,
    handle: Handle,
    /// One task at a time lets the client join.
    joining: Turnstile<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    client: Option<Client>,
    over: bool,
    n_waiting: usize,
}

impl Inside {
    pub(super) fn new(scheduler: Destination, instruction_set: String, travels: bool) -> Self {
        // A call of an actor that has to wait for another one gives its place back too.
        actor::wait_by(|wait| secede(wait));
        let (joining, state) = (Turnstile::default(), Mutex::default());
        Self { scheduler, instruction_set, travels, handle: Handle::current(), joining, state }
    }

    /// The worker is over: what its tasks wait for will not come.
    pub(super) fn close(&self) {
        let client = {
            let mut state = lock(&self.state);
            state.over = true;
            state.client.take()
        };
        if let Some(client) = client {
            client.close();
        }
    }

    /// What its tasks wait for was lost: the next one that asks gets a new client. Whether any did.
    pub(super) fn forget(&self) -> bool {
        let client = lock(&self.state).client.take();
        let was_there = client.is_some();
        if let Some(client) = client {
            client.close();
        }
        was_there
    }

    async fn client(&self) -> Result<Client> {
        let _turn = self.joining.lock().await;
        match &*lock(&self.state) {
            State { over: true, .. } => return Err(Error::SchedulerLost),
            State { client: Some(client), .. } if !client.shell().is_lost() => return Ok(client.clone()),
            // None yet, or one whose connection broke while the worker's own did not, or was made anew.
            State { .. } => {}
        }
        // It does not come back by itself: what it submitted is forgotten with the worker.
        let instruction_set = self.instruction_set.clone();
        let options = ClientOptions { instruction_set, reconnect_for: Duration::ZERO, ..ClientOptions::default() };
        let client = Client::join(self.scheduler.clone(), &options, self.handle.clone(), self.travels, None).await?;
        client.shell().be_inside();
        let mut state = lock(&self.state);
        if state.over {
            return Err(Error::SchedulerLost);
        }
        state.client = Some(client.clone());
        Ok(client)
    }
}

impl fmt::Debug for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inside").finish_non_exhaustive()
    }
}

impl Session {
    /// A function waits from now on. A spare thread is there before the machine counts on it.
    fn secede(&self, task: TaskId, attempt: Attempt) -> Result<()> {
        {
            let mut state = lock(&self.inside.state);
            if state.n_waiting >= MAX_WAITING {
                return Err(Error::TooManyWaiting { limit: MAX_WAITING });
            }
            state.n_waiting += 1;
        }
        let spare = lock(&self.pool).as_ref().map_or(Ok(()), |pool| pool.lend());
        if let Err(error) = spare {
            lock(&self.inside.state).n_waiting -= 1;
            return Err(error);
        }
        self.apply_all([Event::Seceded { task, attempt }]);
        Ok(())
    }

    /// A function goes on.
    fn rejoin(&self, task: TaskId, attempt: Attempt) {
        self.apply_all([Event::Rejoined { task, attempt }]);
        lock(&self.inside.state).n_waiting -= 1;
        if let Some(pool) = &*lock(&self.pool) {
            pool.take_back();
        }
    }
}
