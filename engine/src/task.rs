//! How a function is named, found and fed.
//!
//! No code travels: a message names a function, and a worker runs it only if it was built with it. `#[task]` fills
//! the registry at link time.

use std::{collections::BTreeMap, fmt, sync::OnceLock, time::Duration};

pub use inventory::submit;
use serde::{Deserialize, Serialize};

use crate::{
    data::DataError,
    death::{self, Death},
    id::{FunctionId, WorkerId},
    value::Value,
};

/// What a task function is given for one of its parameters.
#[derive(Debug, Clone)]
pub enum Input {
    /// One value.
    One(Value),
    /// The results of several tasks, for a parameter `&[Arc<T>]`.
    Many(Vec<Value>),
}

impl Input {
    /// The single value.
    ///
    /// # Errors
    /// When a list was given.
    pub fn one(&self) -> Result<&Value, DataError> {
        match self {
            Self::One(value) => Ok(value),
            Self::Many(_) => Err(DataError::Type { expected: "single value", found: "list of values" }),
        }
    }

    /// The list of values.
    ///
    /// # Errors
    /// When a single value was given.
    pub fn many(&self) -> Result<&[Value], DataError> {
        match self {
            Self::Many(values) => Ok(values),
            Self::One(_) => Err(DataError::Type { expected: "list of values", found: "single value" }),
        }
    }
}

/// The erased form of a task function.
pub type RunFn = fn(&[Input]) -> Result<Value, String>;

/// A function that tasks can name; `#[task]` makes one and submits it to the registry.
#[derive(Clone, Copy)]
pub struct TaskDef {
    /// The name that messages carry: `glm.evaluate`, or the function's path where none was given.
    pub name: &'static str,
    /// Where it is defined, for the error that shows two definitions of one name.
    pub path: &'static str,
    /// Its parameter and result types as written, `(f64, &Block) -> Block`.
    pub signature: &'static str,
    /// Runs it on erased values.
    pub run: RunFn,
}

impl fmt::Debug for TaskDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name, self.signature)
    }
}

inventory::collect!(TaskDef);

/// One row of the table that a program shows in its handshake.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FunctionEntry {
    /// The function's name.
    pub name: String,
    /// Its types as written.
    pub signature: String,
}

/// All functions of this program, sorted by name; a function's place is its [`FunctionId`].
#[derive(Debug, Clone, Default)]
pub struct Registry {
    functions: Vec<&'static TaskDef>,
    places: BTreeMap<&'static str, FunctionId>,
}

impl Registry {
    /// The functions that were linked into this program.
    ///
    /// # Errors
    /// When two functions have one name. A program that starts with `phalanx::init()` learns this at its start.
    pub fn linked() -> Result<&'static Self, RegistryError> {
        static LINKED: OnceLock<Result<Registry, RegistryError>> = OnceLock::new();
        LINKED.get_or_init(|| Self::new(inventory::iter::<TaskDef>)).as_ref().map_err(Clone::clone)
    }

    /// A registry of given functions, for tests and for targets without link-time registration.
    ///
    /// # Errors
    /// When two functions have one name.
    pub fn new(functions: impl IntoIterator<Item = &'static TaskDef>) -> Result<Self, RegistryError> {
        let mut by_name: BTreeMap<&'static str, &'static TaskDef> = BTreeMap::new();
        for def in functions {
            if let Some(other) = by_name.insert(def.name, def) {
                return Err(RegistryError::Duplicate { name: def.name, first: other.path, second: def.path });
            }
        }
        let functions: Vec<_> = by_name.into_values().collect();
        let places = functions.iter().zip(0..).map(|(def, place)| (def.name, FunctionId(place))).collect();
        Ok(Self { functions, places })
    }

    /// The function at a place.
    pub fn get(&self, function: FunctionId) -> Option<&'static TaskDef> {
        self.functions.get(function.0 as usize).copied()
    }

    /// The place of a name.
    pub fn find(&self, name: &str) -> Option<FunctionId> {
        self.places.get(name).copied()
    }

    /// How many functions there are.
    pub fn len(&self) -> usize {
        self.functions.len()
    }

    /// Whether there are none, as in a program whose task crates were never mentioned and so never linked.
    pub fn is_empty(&self) -> bool {
        self.functions.is_empty()
    }

    /// The table for the handshake, in the order of the [`FunctionId`]s.
    pub fn table(&self) -> Vec<FunctionEntry> {
        let entry = |def: &&TaskDef| FunctionEntry { name: def.name.into(), signature: def.signature.into() };
        self.functions.iter().map(entry).collect()
    }
}

/// Why the functions of this program cannot be told apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// Two functions have one name.
    #[error(
        "two task functions are named {name}: {first} and {second}; give one another name with #[task(name = \"...\")]"
    )]
    Duplicate {
        /// The name.
        name: &'static str,
        /// Where the first is defined.
        first: &'static str,
        /// Where the second is defined.
        second: &'static str,
    },
}

/// What a task function returns as its error to be run again on another worker: where its data are, where a device is
/// free, where something is reached that is not reached here. That is no failure and uses up no retry; where there is
/// no other worker it is run again on the same.
///
/// An error type of your own that shows as this one's text does the same.
///
/// ```
/// use phalanx_engine::{task, task::Reschedule};
///
/// #[task]
/// fn on_a_good_host(host_is_good: bool) -> Result<u64, Reschedule> {
///     if host_is_good { Ok(1) } else { Err(Reschedule) }
/// }
/// assert_eq!(on_a_good_host(true), Ok(1));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, thiserror::Error)]
#[error("the task asks to be run on another worker (phalanx reschedule)")]
pub struct Reschedule;

/// Why a task has no result; travels to every client that waits for it or for a task that needed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The function returned an error.
    #[error("task {function} failed on {worker} after {tries} tries: {message}")]
    Failed {
        /// The function's name.
        function: String,
        /// Where it ran last.
        worker: WorkerId,
        /// How often it was tried.
        tries: u32,
        /// What it said.
        message: String,
    },
    /// The function panicked.
    #[error("task {function} panicked on {worker} after {tries} tries: {message}")]
    Panicked {
        /// The function's name.
        function: String,
        /// Where it ran last.
        worker: WorkerId,
        /// How often it was tried.
        tries: u32,
        /// The panic's message.
        message: String,
    },
    /// It was running on each of several workers when they were lost.
    #[error("task {function} was running on {} workers when they died; {}:{}", deaths.len(), death::advice(deaths), death::list(deaths))]
    KilledWorkers {
        /// The function's name.
        function: String,
        /// The workers that died while they ran it, and how.
        deaths: Vec<Death>,
    },
    /// Workers are connected, but none was built with the function.
    #[error("no connected worker knows the task {function}; start workers from a program that links it")]
    UnknownFunction {
        /// The function's name.
        function: String,
    },
    /// Its result was made again and again, and could not be fetched from where it was.
    #[error(
        "the result of task {function} could not be fetched from {at}, though it was made several times; check that workers and clients reach each other's data ports"
    )]
    Unreachable {
        /// The function's name.
        function: String,
        /// The addresses that were tried last.
        at: String,
    },
    /// It was ready to run, and no worker that could ever run it was connected for as long as it would wait.
    #[error(
        "task {function} waited {waited:?} for {missing}, and none is connected; start one, ask for less, or give it a longer wait_timeout"
    )]
    NoSuitableWorker {
        /// The function's name.
        function: String,
        /// What was missing: `a worker named left with gpu = 1`.
        missing: String,
        /// How long it would wait.
        waited: Duration,
    },
    /// Its inputs fit into no worker's budget, and a task's inputs have to be on one worker.
    #[error(
        "the inputs of task {function} take {n_bytes} bytes, {excess} bytes more than the largest memory limit of a worker ({limit} bytes); make its inputs smaller, or give a worker more memory"
    )]
    TooLarge {
        /// The function's name.
        function: String,
        /// Bytes of its inputs.
        n_bytes: u64,
        /// The largest budget of a connected worker, in bytes.
        limit: u64,
        /// By how much the inputs exceed it.
        excess: u64,
    },
    /// Its result fits into its worker's budget no more, and could not be written to disk.
    #[error(
        "the result of task {function} ({n_bytes} bytes) could be kept neither in the memory of {worker} nor on its disk: {reason}"
    )]
    NotKept {
        /// The function's name.
        function: String,
        /// Where it was made.
        worker: WorkerId,
        /// The size of the result.
        n_bytes: u64,
        /// What the disk said.
        reason: String,
    },
    /// It asked to be run elsewhere again and again.
    #[error("task {function} asked {times} times to be run on another worker; it is not run again")]
    Rescheduled {
        /// The function's name.
        function: String,
        /// How often it asked.
        times: u32,
    },
    /// The client took it back.
    #[error("the task was cancelled")]
    Cancelled,
    /// The actor that it calls was lost with its worker. Its state cannot be made again.
    #[error("the actor that task {function} made was lost with its worker, and its state with it; make a new one")]
    ActorLost {
        /// The function that made the actor.
        function: String,
    },
    /// It is a call of an actor that ran, or may have, and whose result is nowhere.
    #[error(
        "the result of {function}, a call of an actor, was lost, and it is not run a second time; give it retries where that may be"
    )]
    CallLost {
        /// The function's name.
        function: String,
    },
    /// A member of its gang failed, and with it all others.
    #[error("member {rank} of a gang of {n_members}: {error}")]
    GangMember {
        /// Which one.
        rank: u32,
        /// How many there are.
        n_members: u32,
        /// Why.
        error: Box<Self>,
    },
    /// Its gang has ended, and what it gave was lost before anybody fetched it.
    #[error(
        "the result of {function}, rank {rank} of a gang that has ended, was lost, and a gang does not run again for one of its results; submit it again"
    )]
    MemberLost {
        /// The function's name.
        function: String,
        /// Which member it was.
        rank: u32,
    },
    /// The scheduler cannot read what was submitted.
    #[error("the submission is malformed: {message}")]
    Malformed {
        /// What is wrong with it.
        message: String,
    },
}
