//! Actors: state on a worker, and calls that run there one after the other.

use std::fmt;

use phalanx_engine::{
    actor::ActorState,
    graph::{Arg, Delayed},
};

use crate::{client::Client, error::Result, remote::Remote};

/// State of type `T` that lives on one worker, for as long as a handle does or a call is under way.
///
/// Calls are tasks whose first parameter is `&mut T`, with the handle in its place: whatever can be done with a task
/// can be done with a call. They run where the actor is, one at a time, in the order in which they were submitted: a
/// call whose other arguments are not there yet is waited for. Where several clients call one actor that is true of
/// each, and priority decides between them. Resources and restrictions of a call count for nothing. A call may make
/// other calls through [`worker_client`](crate::worker_client), on a worker of one thread too, but not of the actor that
/// it is of itself: it would wait for its own end.
///
/// An actor goes to the worker that has the fewest. It is not copied, moved, spilled or made again, and its size counts
/// as that of `T` itself. **Where its worker is lost, or its connection, so is the actor**: calls that are open, results
/// of earlier ones that nobody fetched, and all later calls fail at once with
/// [`TaskError::ActorLost`](phalanx_engine::task::TaskError::ActorLost). With a journal it outlives the scheduler, if its
/// worker comes back; otherwise it is lost as well. Nobody ever talks to a second state.
///
/// A worker that has one stays when a cluster shrinks by itself. [`Client::retire_workers`] keeps it too, unless it is
/// given a time after which workers leave anyway: the actor is lost then.
///
/// A call runs once. Where it fails it runs again if it was given [`retries`](Delayed::retries), or if the scheduler was
/// away when it failed. Where its result was lost, or an input once it had been sent, it fails with
/// [`TaskError::CallLost`](phalanx_engine::task::TaskError::CallLost). One that is cancelled while it runs goes on, and
/// the next one waits for it.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use phalanx_engine::{actor::ActorState, task};
/// use phalanx_runtime::Client;
///
/// struct Counter {
///     n: u64,
/// }
///
/// #[task]
/// fn counter(start: u64) -> ActorState<Counter> {
///     ActorState::new(Counter { n: start })
/// }
///
/// #[task]
/// fn count(counter: &mut Counter, by: u64) -> u64 {
///     counter.n += by;
///     counter.n
/// }
///
/// let client = Client::local().await?;
/// let actor = client.actor(&counter::delayed(10)).await?;
/// let first = client.submit(&count::delayed(&actor, 1));
/// let second = client.submit(&count::delayed(&actor, &first));
/// assert_eq!((first.await?, second.await?), (11, 22));
/// # Ok::<(), phalanx_runtime::Error>(())
/// # }).unwrap();
/// ```
pub struct Actor<T> {
    state: Remote<ActorState<T>>,
}

impl Client {
    /// Makes an actor by a task that returns its state, and waits until it is there.
    ///
    /// # Errors
    /// When the task fails, or the scheduler is lost.
    pub async fn actor<T: Send + 'static>(&self, make: &Delayed<ActorState<T>>) -> Result<Actor<T>> {
        let state = self.submit(make);
        state.done().await?;
        Ok(Actor { state })
    }
}

impl<T: Send + 'static> From<&Actor<T>> for Arg<ActorState<T>> {
    fn from(actor: &Actor<T>) -> Self {
        Self::from(&actor.state)
    }
}

impl<T> Clone for Actor<T> {
    fn clone(&self) -> Self {
        Self { state: self.state.clone() }
    }
}

impl<T> fmt::Debug for Actor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Actor").field("state", &self.state).finish()
    }
}
