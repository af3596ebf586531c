//! What is right: every task's value by direct evaluation, and what may be said of tasks that have none.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use phalanx_engine::{
    actor::ActorState,
    graph::{ArgumentCode, Graph, TaskOptions},
    id::{Attempt, ClientId, FunctionId, TaskId, WorkerId},
    task::{FunctionEntry, TaskError},
    value::Value,
};
use serde::{Deserialize, Serialize};

/// Everything that tasks can call; a value depends on the function's name, so a wrong translation of ids shows.
pub(crate) const FUNCTIONS: [&str; 11] = [
    "sim.actor",
    "sim.big",
    "sim.call",
    "sim.fail",
    "sim.flaky",
    "sim.member",
    "sim.mix",
    "sim.panic",
    "sim.quick",
    "sim.rare",
    "sim.slow",
];

/// A function that only some workers know.
pub(crate) const RARE: &str = "sim.rare";

/// A task's result: a fingerprint of everything that went into it, and some bulk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Payload {
    pub(crate) fingerprint: u64,
    bulk: Vec<u8>,
}

/// What an actor holds.
#[derive(Debug)]
pub(crate) struct Told {
    fingerprint: u64,
    /// Everything it was told.
    calls: Vec<TaskId>,
}

/// A submitted task.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) function: &'static str,
    /// As the graph gave them, nodes translated to tasks.
    arguments: Vec<ArgumentCode>,
    /// Fingerprints of the constants by their place in the graph.
    constants: Vec<u64>,
    options: TaskOptions,
    inputs: Vec<TaskId>,
    /// Who runs with it, itself among them.
    mates: Vec<TaskId>,
    /// What it must give; nothing where it or something before it always fails.
    pub(crate) payload: Option<Payload>,
}

/// All that is known to be true.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) tasks: BTreeMap<TaskId, Known>,
    /// Tasks of which a result was stored somewhere, some time.
    pub(crate) stored: BTreeSet<TaskId>,
    /// How often a task's function said that it failed.
    pub(crate) failures: BTreeMap<TaskId, u32>,
    /// Which workers ever ran a task.
    pub(crate) ran_on: BTreeSet<(TaskId, WorkerId)>,
    /// How often a task's function asked to be run elsewhere.
    pub(crate) moves: BTreeMap<TaskId, u32>,
    pub(crate) dead: BTreeSet<WorkerId>,
    /// Workers that are gone as far as the scheduler knows: dead, or sent away.
    pub(crate) left: BTreeSet<WorkerId>,
    /// Workers that somebody wanted to send away: they may take no new task.
    pub(crate) leaving: BTreeSet<WorkerId>,
    pub(crate) cancelled: BTreeSet<TaskId>,
    /// How often somebody said that he could not fetch a result.
    pub(crate) misses: BTreeMap<TaskId, u32>,
    /// Whether workers were there at some time and none knew the rare function.
    pub(crate) rare_was_unknown: bool,
    /// Tasks whose result could not be written to some disk.
    pub(crate) not_written: BTreeSet<TaskId>,
    /// By actor, the one state that calls ever saw.
    pub(crate) actors: BTreeMap<TaskId, Arc<ActorState<Told>>>,
    /// Attempts that a worker was told to stop.
    pub(crate) stopped: BTreeSet<(TaskId, Attempt)>,
    /// Calls that ended and were not to stop, by actor and client the last one.
    last_calls: BTreeMap<(TaskId, ClientId), TaskId>,
    /// How often somebody was told that his actor was lost.
    pub(crate) n_actors_lost: u64,
}

impl Payload {
    fn new(fingerprint: u64, function: &str) -> Self {
        let n_bytes = if function == "sim.big" { 200 + fingerprint % 2000 } else { fingerprint % 24 };
        Self { fingerprint, bulk: vec![fingerprint as u8; n_bytes as usize] }
    }
}

/// A result's fingerprint.
fn fingerprint(value: &Value) -> u64 {
    match value.get::<ActorState<Told>>() {
        Ok(actor) => actor.lock().fingerprint,
        Err(_) => value.get::<Payload>().unwrap_or_else(|error| panic!("an input is no result: {error}")).fingerprint,
    }
}

/// A constant's number, which is its fingerprint. It may have been written down and read again.
fn number(value: &Value) -> u64 {
    *value.get::<u64>().unwrap_or_else(|error| panic!("a constant is no number: {error}"))
}

/// FNV-1a over words.
pub(crate) fn hash(words: impl IntoIterator<Item = u64>) -> u64 {
    words.into_iter().fold(0xCBF2_9CE4_8422_2325, |hash, word| {
        (hash ^ word).wrapping_mul(0x0100_0000_01B3).rotate_left(29).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    })
}

/// What a function gives for its arguments, which `input` and `constant` find by name.
fn evaluate(
    function: &str,
    arguments: &[ArgumentCode],
    mut input: impl FnMut(TaskId) -> Option<u64>,
    mut constant: impl FnMut(u32) -> u64,
) -> Option<Payload> {
    if matches!(function, "sim.fail" | "sim.panic") {
        return None;
    }
    let mut words = function.bytes().map(u64::from).collect::<Vec<_>>();
    for code in arguments {
        words.extend(match *code {
            ArgumentCode::Task(task) => [1, input(task)?],
            ArgumentCode::Constant(place) => [2, constant(place)],
            ArgumentCode::List(n) => [3, u64::from(n)],
            ArgumentCode::Node(_) => panic!("a node in the arguments of a run"),
        });
    }
    Some(Payload::new(hash(words), function))
}

/// The table that a program shows in its handshake.
pub(crate) fn table(functions: &[&str]) -> Vec<FunctionEntry> {
    let entry = |name: &&str| FunctionEntry { name: (*name).into(), signature: "(..) -> Payload".into() };
    functions.iter().map(entry).collect()
}

impl Oracle {
    /// Takes in a submission, by the table of the client's program.
    pub(crate) fn submitted(&mut self, graph: &Graph, table: &[&'static str], task_of: impl Fn(u32) -> TaskId) {
        let constants: Vec<u64> = graph.constants.iter().map(number).collect();
        let gang = graph.gang().expect("people submit whole gangs").unwrap_or_default();
        let members: Vec<TaskId> = gang.iter().map(|node| task_of(*node)).collect();
        for node in 0..graph.len() as u32 {
            let function = table[graph.functions[node as usize].0 as usize];
            let translate = |code: &ArgumentCode| match *code {
                ArgumentCode::Node(earlier) => ArgumentCode::Task(task_of(earlier)),
                other => other,
            };
            let arguments: Vec<_> = graph.arguments_of(node).iter().map(translate).collect();
            let inputs = arguments.iter().filter_map(|code| match code {
                ArgumentCode::Task(task) => Some(*task),
                _ => None,
            });
            let inputs: Vec<TaskId> = inputs.collect();
            let find = |task: TaskId| Some(self.tasks.get(&task)?.payload.as_ref()?.fingerprint);
            let payload = evaluate(function, &arguments, find, |place| constants[place as usize]);
            let constants = arguments.iter().filter_map(|code| match code {
                ArgumentCode::Constant(place) => Some(constants[*place as usize]),
                _ => None,
            });
            let constants = constants.collect();
            let options = graph.options_of(node).clone();
            let mates = if gang.contains(&node) { members.clone() } else { Vec::new() };
            self.tasks.insert(task_of(node), Known { function, arguments, constants, options, inputs, mates, payload });
        }
    }

    /// Runs a call with what a worker has in its store, after checking that it is the right call.
    pub(crate) fn run(
        &self,
        task: TaskId,
        function: &str,
        arguments: &[ArgumentCode],
        constants: &[Value],
        store: &BTreeMap<TaskId, Value>,
    ) -> Option<Payload> {
        let known = &self.tasks[&task];
        assert_eq!(function, known.function, "{task} calls another function");
        assert_eq!(arguments.len(), known.arguments.len(), "{task} is called with other arguments");
        let mut own_constants = known.constants.iter();
        for (given, meant) in arguments.iter().zip(&known.arguments) {
            match (given, meant) {
                (ArgumentCode::Constant(place), ArgumentCode::Constant(_)) => {
                    let constant = number(&constants[*place as usize]);
                    assert_eq!(Some(&constant), own_constants.next(), "a constant of {task}");
                }
                _ => assert_eq!(given, meant, "an argument of {task}"),
            }
        }
        let input = |input: TaskId| {
            let Some(value) = store.get(&input) else { panic!("{task} runs without its input {input}") };
            Some(fingerprint(value))
        };
        let payload = evaluate(function, arguments, input, |place| number(&constants[place as usize]));
        assert_eq!(payload, known.payload, "{task} ran on wrong inputs");
        payload
    }

    /// How many run together with a task, itself among them.
    pub(crate) fn n_mates(&self, task: TaskId) -> usize {
        self.tasks[&task].mates.len()
    }

    /// Whether several members of a task's gang may be on one worker.
    pub(crate) fn may_share(&self, task: TaskId) -> bool {
        self.tasks[&task].options.gang.is_some_and(|seat| seat.share_workers)
    }

    /// What a run gives its worker.
    pub(crate) fn value(&self, task: TaskId, payload: Payload) -> Value {
        match self.tasks[&task].function {
            "sim.actor" => Value::new(ActorState::new(Told { fingerprint: payload.fingerprint, calls: Vec::new() })),
            _ => Value::new(payload),
        }
    }

    /// The actor that a task calls.
    pub(crate) fn actor_of(&self, task: TaskId) -> Option<TaskId> {
        let known = &self.tasks[&task];
        known.inputs.iter().copied().find(|input| self.tasks[input].function == "sim.actor")
    }

    /// A call begins, on the state that a worker has. There is one of each actor, and one call at a time.
    pub(crate) fn call_begins(
        &mut self,
        task: TaskId,
        store: &BTreeMap<TaskId, Value>,
        runs: &BTreeSet<(TaskId, Attempt)>,
    ) {
        let Some(actor) = self.actor_of(task) else { return };
        let state = store[&actor].get::<ActorState<Told>>().expect("an actor is one");
        let known = self.actors.entry(actor).or_insert_with(|| Arc::clone(&state));
        assert!(Arc::ptr_eq(known, &state), "{task} calls another state of {actor}");
        for other in runs.iter().filter(|run| !self.stopped.contains(run) && run.0 != task) {
            assert_ne!(self.actor_of(other.0), Some(actor), "{task} and {} call {actor} at the same time", other.0);
        }
    }

    /// A call has changed the state: once, and after those of the same client that were submitted before it.
    pub(crate) fn call_ends(&mut self, task: TaskId, attempt: Attempt) {
        let Some(actor) = self.actor_of(task) else { return };
        let mut state = self.actors[&actor].lock();
        assert!(!state.calls.contains(&task), "{task} is told to {actor} twice");
        state.calls.push(task);
        if !self.stopped.contains(&(task, attempt)) {
            let last = self.last_calls.insert((actor, task.client()), task);
            assert!(last.is_none_or(|last| last < task), "{task} is told to {actor} after {last:?}");
        }
    }

    /// Checks that a worker may run a task: it has what the task needs, and is one that the task names.
    pub(crate) fn check_place(&self, task: TaskId, name: &str, resources: &BTreeMap<String, u64>) {
        let options = &self.tasks[&task].options;
        let has = |(resource, amount): (&String, &u64)| resources.get(resource).is_some_and(|has| has >= amount);
        assert!(options.resources.iter().all(has), "{task} runs on a worker with {resources:?}");
        // Where the restriction is loose, only the scheduler knows who was connected when it chose.
        let is_named = options.workers.is_empty() || options.workers.contains(name);
        assert!(is_named || options.allow_other_workers, "{task} runs on {name}, not on {:?}", options.workers);
    }

    /// Checks that what runs on a worker, wanted or not, uses no more than it has.
    pub(crate) fn check_resources(&self, running: impl Iterator<Item = TaskId>, resources: &BTreeMap<String, u64>) {
        let mut used: BTreeMap<&str, u64> = BTreeMap::new();
        for (name, amount) in running.flat_map(|task| &self.tasks[&task].options.resources) {
            *used.entry(name).or_default() += amount;
        }
        let is_there = |(name, n): (&&str, &u64)| resources.get(*name).is_some_and(|has| has >= n);
        assert!(used.iter().all(is_there), "{used:?} are used of {resources:?}");
    }

    /// Checks a value that was stored or delivered for a task.
    pub(crate) fn check_value(&self, task: TaskId, value: &Value) {
        if self.tasks[&task].function == "sim.actor" {
            let known = self.tasks[&task].payload.as_ref().map(|payload| payload.fingerprint);
            assert_eq!(Some(fingerprint(value)), known, "the state of {task}");
            return;
        }
        if let Some(actor) = self.actor_of(task) {
            let is_told = self.actors.get(&actor).is_some_and(|state| state.lock().calls.contains(&task));
            assert!(is_told, "{task} has a value and {actor} was not told");
        }
        let payload = value.get::<Payload>().expect("results are payloads");
        assert_eq!(Some(&*payload), self.tasks[&task].payload.as_ref(), "the value of {task}");
    }

    /// How many calls actors were told of.
    pub(crate) fn n_calls(&self) -> usize {
        self.actors.values().map(|state| state.lock().calls.len()).sum()
    }

    /// Checks that a task may be said to have no result for this reason.
    pub(crate) fn check_error(&mut self, task: TaskId, error: &TaskError, allowed_failures: u32, allowed_misses: u32) {
        self.n_actors_lost += u64::from(matches!(error, TaskError::ActorLost { .. }));
        let before = self.before(task);
        let count = |counts: &BTreeMap<TaskId, u32>, task: &TaskId| counts.get(task).copied().unwrap_or(0);
        let cause = |function: &str, is_cause: &dyn Fn(&TaskId) -> bool| {
            before.iter().any(|task| self.tasks[task].function == function && is_cause(task))
        };
        let is_true = match error {
            TaskError::Failed { function, tries, message, .. }
            | TaskError::Panicked { function, tries, message, .. } => cause(function, &|task| {
                let mates = self.tasks[task].mates.iter().filter(|mate| *mate != task);
                let failures: u32 = mates.chain([task]).map(|mate| count(&self.failures, mate)).sum();
                *message == format!("{task} says so") && failures >= *tries && *tries > self.tasks[task].options.retries
            }),
            TaskError::KilledWorkers { function, deaths } => {
                let all = |is_true: &dyn Fn(WorkerId) -> bool| deaths.iter().all(|death| is_true(death.worker));
                deaths.len() as u32 >= allowed_failures
                    && all(&|worker| self.dead.contains(&worker))
                    && cause(function, &|task| all(&|worker| self.ran_on.contains(&(*task, worker))))
            }
            TaskError::UnknownFunction { function } => {
                function == RARE && self.rare_was_unknown && cause(function, &|_| true)
            }
            TaskError::Unreachable { function, .. } => {
                cause(function, &|task| count(&self.misses, task) > allowed_misses)
            }
            TaskError::NoSuitableWorker { function, waited, .. } => {
                cause(function, &|task| self.tasks[task].options.wait_timeout == Some(*waited))
            }
            TaskError::TooLarge { function, n_bytes, limit, excess } => {
                let n_bytes_of =
                    |input: &TaskId| self.tasks[input].payload.clone().map_or(0, |p| self.value(*input, p).n_bytes());
                *n_bytes == limit + excess
                    && cause(function, &|task| {
                        let inputs: BTreeSet<&TaskId> = self.tasks[task].inputs.iter().collect();
                        inputs.into_iter().map(n_bytes_of).sum::<u64>() == *n_bytes
                    })
            }
            TaskError::NotKept { function, .. } => cause(function, &|task| self.not_written.contains(task)),
            TaskError::Rescheduled { function, times } => cause(function, &|task| count(&self.moves, task) >= *times),
            TaskError::ActorLost { function } => cause(function, &|task| {
                let was_there = |(other, worker): &(TaskId, WorkerId)| other == task && self.left.contains(worker);
                function == "sim.actor" && self.ran_on.iter().any(was_there)
            }),
            TaskError::CallLost { function } => cause(function, &|task| {
                let known = &self.tasks[task];
                let is_missed = |task: &TaskId| self.misses.contains_key(task) || self.not_written.contains(task);
                function == "sim.call"
                    && (is_missed(task) || known.inputs.iter().any(is_missed) || self.stored.contains(task))
            }),
            TaskError::MemberLost { function, rank } => cause(function, &|task| {
                self.tasks[task].mates.get(*rank as usize) == Some(task) && self.stored.contains(task)
            }),
            TaskError::GangMember { rank, n_members, error } => {
                let is_one = |mates: &Vec<TaskId>| mates.len() == *n_members as usize && rank < n_members;
                assert!(before.iter().any(|task| is_one(&self.tasks[task].mates)), "{task} is in no such gang");
                return self.check_error(task, error, allowed_failures, allowed_misses);
            }
            TaskError::Cancelled => before.iter().any(|task| self.cancelled.contains(task)),
            _ => false,
        };
        assert!(is_true, "{task} is said to have no result because {error:?}, which is not true");
    }

    /// A task and everything that it needs, directly or not.
    fn before(&self, task: TaskId) -> BTreeSet<TaskId> {
        let (mut all, mut work) = (BTreeSet::new(), vec![task]);
        while let Some(task) = work.pop() {
            if all.insert(task) {
                work.extend(&self.tasks[&task].inputs);
                work.extend(&self.tasks[&task].mates);
            }
        }
        all
    }
}

/// The place of a function in a table.
pub(crate) fn place(table: &[&str], function: &str) -> FunctionId {
    FunctionId(table.iter().position(|name| *name == function).expect("the table has the function") as u32)
}
