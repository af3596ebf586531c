//! Describes work: calls whose arguments are values or other calls' results.
//!
//! A [`Delayed`] is a description and runs nothing. [`Graph::of`] lays descriptions out flat, each shared part
//! once, in the order in which tasks should run.
//!
//! Knows nothing of who runs the work.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    fmt,
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::{
    id::{FunctionId, TaskId},
    task::{Registry, TaskDef},
    value::{Portable, Value},
};

mod collection;
mod gang;
mod layout;
mod order;
mod recipe;

pub use collection::Collection;
pub use gang::GangSeat;

/// The result that a call will have; clones are the same call.
///
/// ```
/// use phalanx_engine::{graph::Delayed, task};
///
/// #[task]
/// fn add(a: f64, b: f64) -> f64 { a + b }
///
/// let three: Delayed<f64> = add::delayed(1., 2.);
/// let six = add::delayed(&three, &three); // describes two calls, not three
/// assert_eq!(add(1., 2.), 3.); // still a function
/// # let _ = six;
/// ```
pub struct Delayed<T> {
    node: AnyDelayed,
    result: PhantomData<fn() -> T>,
}

impl<T: Portable> Delayed<T> {
    /// A value that is here already.
    pub fn value(value: T) -> Self {
        Self::from_any(AnyDelayed::value(Value::new(value)))
    }

    /// Sees an untyped description as one of a `T`. That it is one is the caller's word; where it is wrong, the
    /// task that reads the value fails with both types in its error.
    pub const fn from_any(node: AnyDelayed) -> Self {
        Self { node, result: PhantomData }
    }

    /// A call of a registered function; what `#[task]`'s `delayed` does.
    pub fn call(def: &'static TaskDef, arguments: impl IntoIterator<Item = Argument>) -> Self {
        let arguments = arguments.into_iter().collect();
        let options = T::STAYS.then(|| Arc::new(TaskOptions { actor: true, ..TaskOptions::default() }));
        Self::from_any(AnyDelayed::new(Kind::Call { def, arguments, options }))
    }

    /// How often to try again when the function returns an error or panics. Default 0.
    pub fn retries(&self, retries: u32) -> Self {
        self.with(|options| options.retries = retries)
    }

    /// Tasks of higher priority run first, before the order of submission counts. Default 0.
    pub fn priority(&self, priority: i32) -> Self {
        self.with(|options| options.priority = priority)
    }

    /// How many bytes the result will have, where that is known before it exists.
    pub fn expected_bytes(&self, n_bytes: u64) -> Self {
        self.with(|options| options.expected_bytes = Some(n_bytes))
    }

    /// What a worker must have free to run it, in amounts whose meaning is the user's: a worker started with
    /// `--resources gpu=2` runs two tasks of `[("gpu", 1)]` at a time. An amount of 0 asks for nothing.
    ///
    /// ```
    /// # use phalanx_engine::task;
    /// #[task]
    /// fn train(rows: u64) -> u64 { rows }
    ///
    /// let on_a_gpu = train::delayed(1_000).resources([("gpu", 1), ("memory", 8)]);
    /// # let _ = on_a_gpu;
    /// ```
    pub fn resources<S: Into<String>>(&self, needed: impl IntoIterator<Item = (S, u64)>) -> Self {
        let needed = needed.into_iter().map(|(name, amount)| (name.into(), amount)).filter(|(_, amount)| *amount > 0);
        self.with(|options| options.resources = needed.collect())
    }

    /// The only workers that may run it, by name or address. None means any, which is the default.
    pub fn workers<S: Into<String>>(&self, workers: impl IntoIterator<Item = S>) -> Self {
        self.with(|options| options.workers = workers.into_iter().map(Into::into).collect())
    }

    /// Lets other workers run it while none of those that [`workers`](Self::workers) names is connected.
    pub fn allow_other_workers(&self) -> Self {
        self.with(|options| options.allow_other_workers = true)
    }

    /// How long it may wait while no connected worker can ever run it; it fails then. Default: for ever, while the
    /// client is told what is missing.
    pub fn wait_timeout(&self, timeout: Duration) -> Self {
        self.with(|options| options.wait_timeout = Some(timeout))
    }

    /// Keeps it from ever running twice at the same time: an attempt that takes far longer than its kind does is then
    /// waited for, where otherwise an idle worker begins a second one. For functions whose effects others see.
    pub fn no_duplicate(&self) -> Self {
        self.with(|options| options.no_duplicate = true)
    }

    /// All options at once; those that were set before are gone.
    pub fn options(&self, options: TaskOptions) -> Self {
        self.with(|all| *all = options)
    }

    /// The same call with some options changed.
    pub fn change_options(&self, change: impl FnOnce(&mut TaskOptions)) -> Self {
        self.with(change)
    }

    /// The description without its type.
    pub const fn any(&self) -> &AnyDelayed {
        &self.node
    }

    fn with(&self, change: impl FnOnce(&mut TaskOptions)) -> Self {
        match &self.node.0.kind {
            Kind::Call { def, arguments, options } => {
                let mut options = options.as_deref().cloned().unwrap_or_default();
                change(&mut options);
                options.actor |= T::STAYS;
                let options = (options != TaskOptions::default()).then(|| Arc::new(options));
                Self::from_any(AnyDelayed::new(Kind::Call { def, arguments: arguments.clone(), options }))
            }
            Kind::Value(_) | Kind::Remote { .. } => self.clone(),
        }
    }
}

impl<T> Clone for Delayed<T> {
    fn clone(&self) -> Self {
        Self { node: self.node.clone(), result: PhantomData }
    }
}

impl<T> fmt::Debug for Delayed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.node.fmt(f)
    }
}

/// How the scheduler is to treat a task.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `priority` | 0 | higher runs first | any |
/// | `retries` | 0 | tries after the first that may fail with an error or a panic | any |
/// | `expected_bytes` | none | size of the result, known before it exists | any |
/// | `resources` | none | what a worker must have free to run it | names, amounts above 0 |
/// | `workers` | any | the workers that may run it, by name or address | text |
/// | `allow_other_workers` | false | whether others may while none of `workers` is connected | |
/// | `wait_timeout` | for ever | how long it may wait for a worker that can ever run it | any |
/// | `no_duplicate` | false | whether a second attempt may never run beside one that takes too long | |
/// | `actor` | false | whether the result is an actor, neither copied nor made again; true for every [`ActorState`](crate::actor::ActorState) | |
/// | `gang` | none | which member of a gang it is | |
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct TaskOptions {
    /// Higher runs first.
    pub priority: i32,
    /// Tries after the first.
    pub retries: u32,
    /// Size of the result in bytes, where it is known before it exists.
    pub expected_bytes: Option<u64>,
    /// What a worker must have free to run it.
    pub resources: BTreeMap<String, u64>,
    /// The workers that may run it, by name or address; none means any.
    pub workers: BTreeSet<String>,
    /// Whether others may while none of `workers` is connected.
    pub allow_other_workers: bool,
    /// How long it may wait for a worker that can ever run it.
    pub wait_timeout: Option<Duration>,
    /// Whether a second attempt may never run beside one that takes far longer than its kind does.
    pub no_duplicate: bool,
    /// Whether the result is an actor, which is neither copied nor made again.
    pub actor: bool,
    /// Its place in a gang, where it is in one.
    pub gang: Option<GangSeat>,
}

/// The options of most tasks.
static DEFAULT_OPTIONS: TaskOptions = TaskOptions {
    priority: 0,
    retries: 0,
    expected_bytes: None,
    resources: BTreeMap::new(),
    workers: BTreeSet::new(),
    allow_other_workers: false,
    wait_timeout: None,
    no_duplicate: false,
    actor: false,
    gang: None,
};

/// A [`Delayed`] of a type that is not written down.
#[derive(Clone)]
pub struct AnyDelayed(Arc<Node>);

struct Node {
    /// Told apart by a number, so that laying out a graph hashes a word and not a pointer.
    number: u64,
    kind: Kind,
}

enum Kind {
    Call {
        def: &'static TaskDef,
        arguments: SmallVec<[Argument; 2]>,
        /// Where they are not the default.
        options: Option<Arc<TaskOptions>>,
    },
    Value(Value),
    /// A task that was submitted before; the guard keeps its result alive.
    Remote {
        task: TaskId,
        _guard: Arc<dyn Any + Send + Sync>,
    },
}

/// One argument of a described call.
#[derive(Debug, Clone)]
pub enum Argument {
    /// A value or a result.
    One(AnyDelayed),
    /// A list of results.
    Many(Vec<AnyDelayed>),
}

/// What a `delayed` accepts for a parameter of type `T`: a value, or another call's result.
#[derive(Debug)]
pub struct Arg<T> {
    argument: Argument,
    result: PhantomData<fn() -> T>,
}

impl<T> Arg<T> {
    /// The argument without its type.
    pub fn into_argument(self) -> Argument {
        self.argument
    }

    const fn one(node: AnyDelayed) -> Self {
        Self { argument: Argument::One(node), result: PhantomData }
    }
}

impl<T: Portable> From<T> for Arg<T> {
    fn from(value: T) -> Self {
        Self::one(AnyDelayed::value(Value::new(value)))
    }
}

impl<T> From<Delayed<T>> for Arg<T> {
    fn from(result: Delayed<T>) -> Self {
        Self::one(result.node)
    }
}

impl<T> From<&Delayed<T>> for Arg<T> {
    fn from(result: &Delayed<T>) -> Self {
        Self::one(result.node.clone())
    }
}

impl From<&str> for Arg<String> {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

/// What a `delayed` accepts for a parameter `&[Arc<T>]`: a list of other calls' results.
#[derive(Debug)]
pub struct ArgList<T> {
    argument: Argument,
    result: PhantomData<fn() -> T>,
}

impl<T> ArgList<T> {
    /// The argument without its type.
    pub fn into_argument(self) -> Argument {
        self.argument
    }
}

impl<T> From<Vec<Delayed<T>>> for ArgList<T> {
    fn from(results: Vec<Delayed<T>>) -> Self {
        results.into_iter().collect()
    }
}

impl<T> From<&[Delayed<T>]> for ArgList<T> {
    fn from(results: &[Delayed<T>]) -> Self {
        results.iter().cloned().collect()
    }
}

impl<T> FromIterator<Delayed<T>> for ArgList<T> {
    fn from_iter<I: IntoIterator<Item = Delayed<T>>>(results: I) -> Self {
        let argument = Argument::Many(results.into_iter().map(|result| result.node).collect());
        Self { argument, result: PhantomData }
    }
}

impl AnyDelayed {
    /// A value that is here already.
    pub fn value(value: Value) -> Self {
        Self::new(Kind::Value(value))
    }

    /// A task that was submitted before. `guard` is kept as long as the description is.
    pub fn remote(task: TaskId, guard: Arc<dyn Any + Send + Sync>) -> Self {
        Self::new(Kind::Remote { task, _guard: guard })
    }

    /// The value, where the description is one.
    pub fn as_value(&self) -> Option<&Value> {
        match &self.0.kind {
            Kind::Value(value) => Some(value),
            Kind::Call { .. } | Kind::Remote { .. } => None,
        }
    }

    /// The task, where it was submitted before.
    pub fn as_remote(&self) -> Option<TaskId> {
        match &self.0.kind {
            Kind::Remote { task, .. } => Some(*task),
            Kind::Call { .. } | Kind::Value(_) => None,
        }
    }

    /// The called function, where the description is a call.
    pub fn as_call(&self) -> Option<(&'static TaskDef, &[Argument])> {
        match &self.0.kind {
            Kind::Call { def, arguments, .. } => Some((def, arguments)),
            Kind::Value(_) | Kind::Remote { .. } => None,
        }
    }

    /// A number that this description shares with its clones only.
    pub fn number(&self) -> u64 {
        self.0.number
    }

    fn new(kind: Kind) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(Arc::new(Node { number: NEXT.fetch_add(1, Ordering::Relaxed), kind }))
    }
}

impl fmt::Debug for AnyDelayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.kind {
            Kind::Call { def, arguments, .. } => write!(f, "{}(..{})", def.name, arguments.len()),
            Kind::Value(value) => value.fmt(f),
            Kind::Remote { task, .. } => task.fmt(f),
        }
    }
}

impl Drop for Node {
    /// Takes long chains apart in a loop: dropping them call by call would overflow the stack.
    fn drop(&mut self) {
        let mut pending = Vec::new();
        take_arguments(self, &mut pending);
        while let Some(mut node) = pending.pop() {
            take_arguments(&mut node, &mut pending);
        }
    }
}

/// Takes away the calls that nobody else has.
fn take_arguments(node: &mut Node, into: &mut Vec<Node>) {
    let is_call = |node: &Node| matches!(node.kind, Kind::Call { .. });
    let mut take = |AnyDelayed(node)| into.extend(Arc::into_inner(node).filter(is_call));
    if let Kind::Call { arguments, .. } = &mut node.kind {
        for argument in arguments.drain(..) {
            match argument {
                Argument::One(node) => take(node),
                Argument::Many(nodes) => nodes.into_iter().for_each(&mut take),
            }
        }
    }
}

/// Work laid out flat: what a submission carries.
///
/// Node `i` calls `functions[i]` with `arguments[ends[i-1]..ends[i]]`. Arguments point to earlier nodes only, so
/// the nodes are in an order in which they can run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Graph {
    /// The function each node calls, by the submitting program's table.
    pub functions: Vec<FunctionId>,
    /// Where each node's arguments end.
    pub ends: Vec<u32>,
    /// The arguments of all nodes, one after the other.
    pub arguments: Vec<ArgumentCode>,
    /// The nodes that have any but the default options, by rising node, and which of `classes` theirs are.
    pub options: Vec<(u32, u32)>,
    /// All options that differ from the default and from each other; mostly few.
    pub classes: Vec<TaskOptions>,
    /// The values that arguments name. They travel as attachments of the message, outside its body.
    #[serde(skip)]
    pub constants: Vec<Value>,
}

/// One argument in a [`Graph`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ArgumentCode {
    /// The result of an earlier node.
    Node(u32),
    /// The result of a task that was submitted before.
    Task(TaskId),
    /// A value in [`Graph::constants`].
    Constant(u32),
    /// The next `n` codes are the elements of a list. Lists do not nest.
    List(u32),
}

/// What became of an output of [`Graph::of`].
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// It is this node.
    Node(u32),
    /// It was submitted before.
    Task(TaskId),
    /// It is a value that is here.
    Value(Value),
}

/// Why work cannot be laid out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// A function is not in the registry that the graph is laid out for.
    #[error("the task {name} is not in this program's registry")]
    NotRegistered {
        /// The function's name.
        name: &'static str,
    },
    /// More than 2^32 nodes or arguments.
    #[error("one submission holds at most 2^32 - 1 nodes and arguments")]
    TooLarge,
}

impl Graph {
    /// Lays out everything that `outputs` need, each shared part once, in an order that frees memory soonest: depth
    /// first, of several inputs the one first that needs most, and what frees a result as soon as it can run.
    ///
    /// Time and memory are linear in the number of nodes and arguments, and no recursion is involved.
    ///
    /// # Errors
    /// When a function is not in `registry`, or there are more than 2^32 nodes.
    pub fn of(outputs: &[AnyDelayed], registry: &Registry) -> Result<(Self, Vec<Output>), GraphError> {
        layout::lay_out(outputs, registry)
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.functions.len()
    }

    /// Whether there is nothing to run.
    pub fn is_empty(&self) -> bool {
        self.functions.is_empty()
    }

    /// The arguments of a node, lists not yet taken apart; nothing for a node that is not there.
    pub fn arguments_of(&self, node: u32) -> &[ArgumentCode] {
        let node = node as usize;
        let start = if node == 0 { Some(0) } else { self.ends.get(node - 1).map(|end| *end as usize) };
        match (start, self.ends.get(node)) {
            (Some(start), Some(end)) => self.arguments.get(start..*end as usize).unwrap_or_default(),
            _ => &[],
        }
    }

    /// The options of a node.
    pub fn options_of(&self, node: u32) -> &TaskOptions {
        self.class_of(node).and_then(|class| self.classes.get(class as usize)).unwrap_or(&DEFAULT_OPTIONS)
    }

    /// Which of [`classes`](Self::classes) a node's options are; nothing for the default.
    pub fn class_of(&self, node: u32) -> Option<u32> {
        if self.options.is_empty() {
            return None;
        }
        let place = self.options.binary_search_by_key(&node, |(node, _)| *node).ok()?;
        Some(self.options[place].1)
    }

    /// Gives a node after all those that have options its own. Looks through all classes, so it suits few.
    pub fn push_options(&mut self, node: u32, options: TaskOptions) {
        let known = self.classes.iter().position(|class| *class == options);
        let class = known.unwrap_or_else(|| {
            self.classes.push(options);
            self.classes.len() - 1
        });
        self.options.push((node, class as u32));
    }

    /// Checks what a graph from outside must hold before anyone indexes by it.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn check(&self) -> Result<(), String> {
        let n_nodes = self.functions.len();
        if self.ends.len() != n_nodes {
            return Err(format!("{n_nodes} functions but {} argument ends", self.ends.len()));
        }
        let mut start = 0;
        for (node, end) in self.ends.iter().enumerate() {
            let Some(codes) = self.arguments.get(start..*end as usize) else {
                return Err(format!(
                    "the arguments of node {node} run from {start} to {end} of {}",
                    self.arguments.len()
                ));
            };
            start = *end as usize;
            let mut in_list = 0;
            for code in codes {
                let was_in_list = in_list;
                in_list = u32::saturating_sub(in_list, 1);
                match *code {
                    ArgumentCode::Node(earlier) if earlier as usize >= node => {
                        return Err(format!("node {node} needs node {earlier}, which is not before it"));
                    }
                    ArgumentCode::Constant(place) if place as usize >= self.constants.len() => {
                        return Err(format!("node {node} names constant {place} of {}", self.constants.len()));
                    }
                    ArgumentCode::List(_) if was_in_list > 0 => {
                        return Err(format!("node {node} has a list in a list"));
                    }
                    ArgumentCode::List(n) => in_list = n,
                    ArgumentCode::Node(_) | ArgumentCode::Task(_) | ArgumentCode::Constant(_) => {}
                }
            }
            if in_list > 0 {
                return Err(format!("node {node} ends in the middle of a list"));
            }
        }
        if start != self.arguments.len() {
            return Err(format!("{} arguments belong to no node", self.arguments.len() - start));
        }
        if !self.options.is_sorted_by(|a, b| a.0 < b.0) || self.options.last().is_some_and(|o| o.0 as usize >= n_nodes)
        {
            return Err("options are not sorted by node".into());
        }
        if let Some((node, class)) = self.options.iter().find(|(_, class)| *class as usize >= self.classes.len()) {
            return Err(format!("node {node} has options {class} of {}", self.classes.len()));
        }
        Ok(())
    }
}
