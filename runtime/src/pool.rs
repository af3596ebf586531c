//! The threads that run task functions, so that nothing else ever waits for one.
//!
//! A panic in a function is its task's failure and ends neither thread nor program, and is not printed: whoever
//! waits for the task gets its message and place. Knows nothing of clusters.

use std::{
    cell::{Cell, RefCell},
    fmt,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Mutex, Once},
    thread::JoinHandle,
};

use crossbeam_channel::{Receiver, Sender};
use phalanx_engine::{
    message::Failure,
    task::{Input, Reschedule, TaskDef},
    value::Value,
};

use crate::{
    error::{Error, Result},
    io::lock,
    patience::Patience,
};

/// Spare threads that stay when nobody needs them, for the next job that waits.
const SPARE: usize = 4;
/// What a function says of its failure is cut to so many bytes: the scheduler keeps it, and all who wait are sent it.
const MAX_SAID: usize = 64 << 10;

/// Threads that do jobs. Dropping it lets every thread finish the job it is at, and end.
#[derive(Debug)]
pub(crate) struct Pool<J> {
    jobs: Sender<J>,
    crew: Arc<Crew<J>>,
}

/// What the threads share.
struct Crew<J> {
    name: String,
    queue: Receiver<J>,
    work: Box<dyn Fn(J) -> Option<J> + Send + Sync>,
    threads: Mutex<Threads>,
}

#[derive(Debug, Default)]
struct Threads {
    handles: Vec<JoinHandle<()>>,
    n_started: u32,
    /// Threads beyond those that jobs which do not wait can use.
    n_spare: usize,
}

impl<J: Send + 'static> Pool<J> {
    /// Starts `n_threads` threads named `name-0`, `name-1`, ... A job may name the next one that its thread should do,
    /// which spares waking another.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub(crate) fn start(
        name: &str,
        n_threads: u32,
        work: impl Fn(J) -> Option<J> + Send + Sync + 'static,
    ) -> Result<Self> {
        let (jobs, queue) = crossbeam_channel::unbounded::<J>();
        let crew = Arc::new(Crew { name: name.into(), queue, work: Box::new(work), threads: Mutex::default() });
        for _ in 0..n_threads {
            crew.add()?;
        }
        Ok(Self { jobs, crew })
    }

    /// A job is about to wait on its thread: another thread is there for others.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub(crate) fn lend(&self) -> Result<()> {
        {
            let mut threads = lock(&self.crew.threads);
            if threads.n_spare > 0 {
                threads.n_spare -= 1;
                return Ok(());
            }
        }
        self.crew.add()
    }

    /// A job no longer waits: there is a thread too many.
    pub(crate) fn take_back(&self) {
        lock(&self.crew.threads).n_spare += 1;
    }

    /// Where jobs go.
    pub(crate) const fn jobs(&self) -> &Sender<J> {
        &self.jobs
    }

    /// Waits for the threads to finish what they are at. Other holders of [`jobs`](Self::jobs) must have dropped it.
    pub(crate) fn join(self) {
        drop(self.jobs);
        let handles = std::mem::take(&mut lock(&self.crew.threads).handles);
        for thread in handles {
            // Jobs do not panic: functions are called under `call`.
            let _ = thread.join();
        }
    }
}

impl<J: Send + 'static> Crew<J> {
    fn add(self: &Arc<Self>) -> Result<()> {
        let crew = Arc::clone(self);
        let mut threads = lock(&self.threads);
        let name = format!("{}-{}", self.name, threads.n_started);
        let failed = |error: std::io::Error| Error::Start { what: format!("thread {name}"), reason: error.to_string() };
        let place = threads.n_started;
        let run = move || {
            PLACE.set(place);
            crew.run();
        };
        let thread = std::thread::Builder::new().name(name.clone()).spawn(run).map_err(failed)?;
        threads.n_started += 1;
        threads.handles.retain(|thread| !thread.is_finished());
        threads.handles.push(thread);
        Ok(())
    }

    /// On a thread: does jobs until nobody can give any, or there are threads enough without this one.
    fn run(&self) {
        let mut patience = Patience::default();
        while !self.leave()
            && let Some(job) = patience.wait_here(|| self.queue.try_recv().ok().map(Some), || self.queue.recv().ok())
        {
            let mut next = Some(job);
            while let Some(job) = next {
                next = (self.work)(job);
            }
        }
    }

    fn leave(&self) -> bool {
        let mut threads = lock(&self.threads);
        let leaves = threads.n_spare > SPARE;
        threads.n_spare -= usize::from(leaves);
        leaves
    }
}

impl<J> fmt::Debug for Crew<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crew").field("name", &self.name).field("threads", &self.threads).finish_non_exhaustive()
    }
}

thread_local! {
    /// The thread's place in its pool.
    static PLACE: Cell<u32> = const { Cell::new(0) };
    /// Whether this thread is inside of a task's function.
    static IN_TASK: Cell<bool> = const { Cell::new(false) };
    /// What the last panic on this thread said.
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The place of this thread in its pool.
pub(crate) fn place() -> u32 {
    PLACE.get()
}

/// Whether this thread is running a task's function: whoever would start threads of its own then leaves the other
/// processors to the worker's other tasks.
///
/// ```
/// assert!(!phalanx_runtime::is_in_task());
/// ```
pub fn is_in_task() -> bool {
    IN_TASK.get()
}

/// Calls a task's function; a panic in it becomes a failure.
pub(crate) fn call(def: &TaskDef, inputs: &[Input]) -> Result<Value, Failure> {
    listen_to_panics();
    IN_TASK.set(true);
    // The inputs are shared and never changed, and a half-made result is dropped while unwinding.
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| (def.run)(inputs)));
    IN_TASK.set(false);
    match outcome {
        Ok(result) => result.map_err(|said| failure(bounded(said))),
        Err(payload) => {
            let said = SAID.take().unwrap_or_else(|| text(&*payload).to_owned());
            // The payload may be anything, also something whose drop panics.
            let _ = panic::catch_unwind(AssertUnwindSafe(|| drop(payload)));
            Err(Failure::Panic(bounded(said)))
        }
    }
}

/// Installs, once in the life of the program, a panic hook that is silent for tasks and passes all others on.
fn listen_to_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !IN_TASK.try_with(Cell::get).unwrap_or(false) {
                return others(info);
            }
            let message = text(info.payload());
            let said = match info.location() {
                Some(place) => format!("{message} (at {}:{})", place.file(), place.line()),
                None => message.to_owned(),
            };
            let _ = SAID.try_with(|slot| slot.replace(Some(said)));
        }));
    });
}

/// What a function said, as what it means.
fn failure(said: String) -> Failure {
    if said == Reschedule.to_string() { Failure::Reschedule } else { Failure::Error(said) }
}

fn bounded(mut said: String) -> String {
    let n_bytes = said.len();
    if n_bytes > MAX_SAID {
        said.truncate(said.floor_char_boundary(MAX_SAID));
        said.push_str(&format!("... ({n_bytes} bytes in all)"));
    }
    said
}

fn text(payload: &(dyn std::any::Any + Send)) -> &str {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "a panic without a message",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Barrier;

    use super::*;

    fn def(run: fn(&[Input]) -> Result<Value, String>) -> TaskDef {
        TaskDef { name: "test", path: "test", signature: "()", run }
    }

    #[test]
    fn a_panic_is_a_failure_with_its_message_and_place() {
        let literal = call(&def(|_| panic!("no such row")), &[]);
        let place = format!("(at {}:{})", file!(), line!() - 1);
        assert_eq!(literal, Err(Failure::Panic(format!("no such row {place}"))));
        let Err(Failure::Panic(formatted)) = call(&def(|inputs| panic!("{} inputs", inputs.len())), &[]) else {
            panic!("it panics");
        };
        assert!(formatted.starts_with("0 inputs (at "), "{formatted}");
    }

    #[test]
    fn a_payload_that_is_no_text_is_a_failure_too() {
        let failure = call(&def(|_| panic::panic_any(7_u8)), &[]);
        assert!(matches!(failure, Err(Failure::Panic(said)) if said.starts_with("a panic without a message")));
        struct Mine;
        impl Drop for Mine {
            fn drop(&mut self) {
                panic!("again");
            }
        }
        assert!(matches!(call(&def(|_| panic::panic_any(Mine)), &[]), Err(Failure::Panic(_))));
    }

    #[test]
    fn what_is_said_of_a_failure_has_a_bound() {
        let long = |_: &[Input]| Err("ä".repeat(MAX_SAID));
        let Err(Failure::Error(said)) = call(&def(long), &[]) else { panic!("it fails") };
        assert_eq!(said.len(), MAX_SAID + "... (131072 bytes in all)".len());
        assert!(said.ends_with("ä... (131072 bytes in all)"), "{}", &said[said.len() - 40..]);
        assert_eq!(call(&def(|_| Err("x".repeat(MAX_SAID))), &[]), Err(Failure::Error("x".repeat(MAX_SAID))));
    }

    #[test]
    fn values_and_errors_pass() {
        assert_eq!(call(&def(|_| Ok(Value::new(3))), &[]), Ok(Value::new(3)));
        assert_eq!(call(&def(|_| Err("bad".into())), &[]), Err(Failure::Error("bad".into())));
        assert_eq!(call(&def(|_| Err(Reschedule.to_string())), &[]), Err(Failure::Reschedule));
    }

    #[test]
    fn jobs_run_at_once_on_named_threads_and_name_the_next() {
        let barrier = Arc::new(Barrier::new(2));
        let (names, said) = crossbeam_channel::unbounded();
        let pool = Pool::start("rank", 2, move |next: bool| {
            barrier.wait(); // passes only when both threads are here
            names.send(std::thread::current().name().map(str::to_owned)).unwrap();
            next.then_some(false)
        })
        .unwrap();
        pool.jobs().send(true).unwrap();
        pool.jobs().send(true).unwrap();
        pool.join();
        let mut names: Vec<_> = said.iter().collect();
        names.sort();
        let expected = ["rank-0", "rank-0", "rank-1", "rank-1"].map(|name| Some(String::from(name)));
        assert_eq!(names, expected);
    }
}
