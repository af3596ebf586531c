//! State that lives on one worker and is changed there, by one call at a time.
//!
//! The state is the result of the task that made it, and calls are tasks that take it as `&mut`. It never travels, so
//! it can be of any type: a file, a connection, a model on a device. How calls come to run where it is, and one after
//! the other, is the scheduler's business.

use std::{
    any::type_name,
    fmt,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError},
};

use crate::{
    data::{Data, DataError},
    value::Portable,
};

/// What an actor consists of: what a task returns that makes one, and what its methods borrow.
///
/// ```
/// use phalanx_engine::{actor::ActorState, task};
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
/// /// The first parameter says that it is a method.
/// #[task]
/// fn count(counter: &mut Counter, by: u64) -> u64 {
///     counter.n += by;
///     counter.n
/// }
///
/// assert_eq!(count(&mut Counter { n: 1 }, 2), 3); // still a function
/// let described = count::delayed(counter::delayed(1), 2);
/// # let _ = described;
/// ```
pub struct ActorState<T>(Mutex<T>);

impl<T> ActorState<T> {
    /// The state as it is at first.
    pub const fn new(state: T) -> Self {
        Self(Mutex::new(state))
    }

    /// The state, for one call. Calls come one at a time, so this waits only for one that was cancelled and still runs.
    ///
    /// A call that panics leaves the state as it was at that moment.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        match self.0.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                let mut state = None;
                let mut wait = || state = Some(self.0.lock().unwrap_or_else(PoisonError::into_inner));
                match WAIT.get() {
                    Some(around) => around(&mut wait),
                    None => wait(),
                }
                match state {
                    Some(state) => state,
                    // Whoever was to wait did not.
                    None => self.0.lock().unwrap_or_else(PoisonError::into_inner),
                }
            }
        }
    }
}

/// What gives a thread's place to other tasks while it waits.
static WAIT: OnceLock<fn(&mut dyn FnMut())> = OnceLock::new();

/// Says how to wait for a state on a worker's thread. The first one to say it counts.
pub fn wait_by(around: fn(&mut dyn FnMut())) {
    let _ = WAIT.set(around);
}

impl<T: Send + 'static> Portable for ActorState<T> {
    const STAYS: bool = true;

    fn encode(&self) -> Result<Data, DataError> {
        Err(stays::<T>())
    }

    fn decode(_: Data) -> Result<Self, DataError> {
        Err(stays::<T>())
    }

    fn n_bytes(&self) -> u64 {
        size_of::<T>() as u64
    }
}

fn stays<T>() -> DataError {
    let message = "the state of an actor stays on its worker; call a method of it instead".into();
    DataError::Code { type_name: type_name::<T>(), message }
}

impl<T> fmt::Debug for ActorState<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActorState<{}>", type_name::<T>())
    }
}
