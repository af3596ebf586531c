//! Everything that programs say to each other; how it becomes bytes is the runtime's.
//!
//! Messages are plain enums: postcard reads them without knowing their names. Values travel as attachments outside
//! the body ([`Message::detach`]), so bulk memory is never copied into a message.
//!
//! ```text
//!  client ── Hello ──►  scheduler  ◄── Hello ── worker
//!         ◄─ Welcome ─             ─ Welcome ─►
//!         ── Submit ─►             ─ Compute ─►         worker ── Get ──► worker
//!         ◄ Finished ─             ◄ Finished ──               ◄─ Got ───
//!         ── Get ──────────────────────────────────────────────►         (a client fetches like a peer)
//! ```

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use smallvec::SmallVec;

use crate::{
    coordination::{self, Answer},
    death::Evidence,
    event::{Event, FetchSpan, Record, RunSpan},
    graph::{ArgumentCode, Graph},
    id::{Attempt, ClientId, ClusterId, FunctionId, TaskId, WorkerId},
    request::{Reply, Request},
    task::{FunctionEntry, TaskError},
    time::Time,
    value::Value,
};

mod priority;
mod values;

pub use priority::Priority;
pub(crate) use values::Carried;

/// The version of everything in this file. Programs of different versions refuse each other.
pub const PROTOCOL: u32 = 1;

/// A message: a body that serde writes, and values that go beside it.
pub trait Message: Serialize + DeserializeOwned + Send + 'static {
    /// Takes the values out, in an order that [`attach`](Self::attach) knows.
    fn detach(&mut self) -> Vec<Value>;

    /// Puts the values back into a body that was just read.
    ///
    /// # Errors
    /// When the body asks for another number of values.
    fn attach(&mut self, values: Vec<Value>) -> Result<(), AttachError>;
}

/// The attachments do not fit the message's body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the message came with {found} values, its body has room for {expected}")]
pub struct AttachError {
    /// Values the body has room for.
    pub expected: usize,
    /// Values that came.
    pub found: usize,
}

/// Where a worker's results can be fetched: `tcp://127.0.0.1:40123`, or `inproc://7` inside one process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address(pub Arc<str>);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The first message on a connection to the scheduler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`] of the program. Stays the first field in every version, so that any two can refuse each other.
    pub protocol: u32,
    /// The program's release, for people.
    pub version: String,
    /// The instruction set that its kernels use: programs of one cluster must agree, or bits would differ.
    pub instruction_set: String,
    /// Every task function it was built with; a [`FunctionId`] of this program is a place in this table.
    pub functions: Vec<FunctionEntry>,
    /// What it is.
    pub role: Role,
}

/// What a program that says hello is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// It submits work.
    Client,
    /// It runs tasks.
    Worker(WorkerHello),
    /// It submits work, and comes back when its connection breaks.
    Session(Session),
    /// It supervised a worker, which has died. Answered by [`Greeting::Noted`], and that was all.
    Report(Report),
}

/// What a supervisor says of a worker's death.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The worker's [`WorkerHello::life`].
    pub life: u64,
    /// What was seen.
    pub evidence: Evidence,
}

/// A client that comes back when its connection breaks.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// A secret that the client made up, random: who knows it is the client.
    pub key: u128,
    /// Who it was before its connection broke.
    pub resumes: Option<Resume>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("resumes", &self.resumes).finish_non_exhaustive()
    }
}

/// Who a client was before its connection broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// In which cluster.
    pub cluster: ClusterId,
    /// Under which number.
    pub client: ClientId,
}

/// What a worker says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerHello {
    /// How many tasks it runs at once, 1 or more.
    pub n_threads: u32,
    /// Where its results can be fetched.
    pub address: Address,
    /// A name for people.
    pub name: String,
    /// What it has for tasks that need resources.
    pub resources: BTreeMap<String, u64>,
    /// Where it was before its connection broke, if it still holds what it held there.
    pub rejoins: Option<Rejoin>,
    /// Bytes that its results and running tasks may take, where that is bounded.
    pub memory_limit: Option<u64>,
    /// A number that its supervisor has given to this process alone; none where nobody will report its death.
    pub life: Option<u64>,
}

/// Who a worker was before its connection broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejoin {
    /// In which cluster. Another one answers [`Greeting::Stranger`].
    pub cluster: ClusterId,
    /// Under which number; it gets a new one.
    pub worker: WorkerId,
}

impl WorkerHello {
    /// A worker of which nothing else is to be said.
    pub fn new(n_threads: u32, address: Address, name: impl Into<String>) -> Self {
        let resources = BTreeMap::new();
        Self { n_threads, address, name: name.into(), resources, rejoins: None, memory_limit: None, life: None }
    }
}

/// The scheduler's answer to [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Greeting {
    /// You are this client.
    Client {
        /// Your number.
        client: ClientId,
        /// How often to say something, in milliseconds.
        heartbeat_ms: u64,
    },
    /// You are this worker.
    Worker {
        /// Your number.
        worker: WorkerId,
        /// How often to say something, in milliseconds.
        heartbeat_ms: u64,
        /// Where your number and those of tasks mean something. Who rejoins says next what it holds and runs, in
        /// [`FromWorker::Announce`].
        cluster: ClusterId,
    },
    /// You cannot join; trying again gives the same answer.
    Refused {
        /// Why, in a sentence.
        reason: String,
    },
    /// You rejoin a cluster of which this scheduler knows nothing: forget what you held there and say hello anew.
    Stranger {
        /// Which cluster this is.
        cluster: ClusterId,
    },
    /// You are this client, and may come back when the connection breaks.
    Session {
        /// Your number: the one you had, where you resume.
        client: ClientId,
        /// How often to say something, in milliseconds; silence of five times that is death.
        heartbeat_ms: u64,
        /// Where your number means something.
        cluster: ClusterId,
        /// How many of your messages were taken in, heartbeats not counted, where you resume; say the later ones again.
        /// None where nothing is known of you, or not any more: you begin anew.
        resumed: Option<u64>,
        /// Which life of a scheduler with a journal this is. What you held by name in another is not held any more, and
        /// what you waited for by name or asked about the cluster there will not be answered.
        life: u32,
    },
    /// The report was heard.
    Noted,
}

/// What a client says to the scheduler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromClient {
    /// Run this. Node `i` of the graph is the task `TaskId::new(client, first + i)`.
    Submit {
        /// The sequence number of the first node; submissions of one client count up.
        first: u64,
        /// The work. In a box of its own, as all other messages are far smaller.
        graph: Box<Graph>,
        /// The nodes whose results the client wants to keep, each once.
        wanted: Vec<u32>,
        /// The running task that submits it, where it is one: the work runs in that task's turn.
        parent: Option<TaskId>,
    },
    /// The client no longer wants these results.
    Release {
        /// Tasks it wanted once each.
        tasks: Vec<TaskId>,
    },
    /// Stop these tasks and what only they needed; whoever waits for them gets [`TaskError::Cancelled`].
    Cancel {
        /// Tasks the client wants.
        tasks: Vec<TaskId>,
    },
    /// The result could not be fetched from these workers; say where it is when it is somewhere again.
    Locate {
        /// The task.
        task: TaskId,
        /// The addresses that did not have it.
        tried: Vec<Address>,
    },
    /// I am here.
    Heartbeat,
    /// A question about the cluster; answered by one [`ToClient::Reply`].
    Ask {
        /// To tell answers apart; never used again by this client.
        ticket: u64,
        /// What is asked.
        request: Request,
    },
    /// Something by name for the whole cluster: a lock, an event, a queue. Answered by [`ToClient::Coordinated`], where
    /// the request is of a kind that is answered.
    Coordinate {
        /// To tell answers apart; a client uses a number once.
        ticket: u64,
        /// What.
        request: coordination::Request,
        /// The value that goes along, attached.
        #[serde(skip)]
        value: Option<Value>,
        /// Whether `value` is attached.
        has_value: bool,
    },
    /// I go and do not come back: forget all that only I wanted.
    Goodbye,
    /// From now on the client wants to know so much of what happens, as [`ToClient::Events`]; nothing ends it, with one
    /// last message.
    Subscribe {
        /// Which of the client's subscriptions this is about. Another one than before ends that.
        number: u32,
        /// How much.
        record: Record,
    },
    /// The client has read events, and can be sent more.
    EventsSeen {
        /// Of which subscription.
        number: u32,
        /// All before this one.
        next: u64,
    },
}

/// What the scheduler says to a client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToClient {
    /// The task has a result. May be said again after the result was lost and made anew.
    Finished {
        /// The task.
        task: TaskId,
        /// The size of the result.
        n_bytes: u64,
        /// Who has it.
        holders: Vec<Address>,
        /// The result itself, where it is small.
        #[serde(skip)]
        value: Option<Value>,
        /// Whether `value` is attached, since the body cannot show it.
        has_value: bool,
    },
    /// The task will have no result.
    Failed {
        /// The task.
        task: TaskId,
        /// Why.
        error: TaskError,
    },
    /// The workers that are there now; said at the start and after each change.
    Workers {
        /// All of them, by rising id.
        workers: Vec<WorkerInfo>,
    },
    /// Work of this client waits for something that may not come by itself.
    Waiting {
        /// For what.
        reason: WaitReason,
        /// How many of the client's unfinished tasks.
        n_tasks: u64,
        /// For how long already, in milliseconds.
        for_ms: u64,
    },
    /// I am here.
    Heartbeat,
    /// The answer to [`FromClient::Ask`].
    Reply {
        /// Of which.
        ticket: u64,
        /// What.
        reply: Reply,
    },
    /// What a [`FromClient::Coordinate`] came to.
    Coordinated {
        /// Of which request.
        ticket: u64,
        /// What.
        answer: Answer,
        /// The value that goes along, attached.
        #[serde(skip)]
        value: Option<Value>,
        /// Whether `value` is attached.
        has_value: bool,
    },
    /// So many messages of yours were taken in, heartbeats not counted; they need not be said again.
    Received {
        /// How many since you were first greeted.
        n_messages: u64,
    },
    /// What has happened, for who subscribes.
    Events {
        /// To which subscription.
        number: u32,
        /// How many came before these, those that were dropped since the client did not keep up among them.
        first: u64,
        /// In the order in which the scheduler learned of it.
        events: Vec<Event>,
        /// Whether nothing follows, since the client ended its subscription.
        last: bool,
    },
}

/// A worker, as clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// Its number.
    pub worker: WorkerId,
    /// Its name, for people.
    pub name: String,
    /// Where its results can be fetched.
    pub address: Address,
    /// How many tasks it runs at once.
    pub n_threads: u32,
}

/// What work can wait for that only people can bring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WaitReason {
    /// No worker is connected.
    NoWorkers,
    /// Workers are connected, and none of them could ever run the tasks.
    NoSuitableWorker {
        /// What is missing: `a worker named left with gpu = 1`.
        missing: String,
    },
}

/// What the scheduler says to a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToWorker {
    /// Run this task.
    Compute(Compute),
    /// Where to find an input that a fetch did not get.
    Located {
        /// The input.
        task: TaskId,
        /// Who has it.
        holders: Vec<Address>,
    },
    /// Forget these results.
    Drop {
        /// The tasks whose results they are.
        tasks: Vec<TaskId>,
    },
    /// Do not start this attempt, or throw its outcome away; no answer is expected.
    Cancel {
        /// The task.
        task: TaskId,
        /// Which try at it.
        attempt: Attempt,
    },
    /// Go: finish nothing, answer nothing, close.
    Shutdown,
    /// I am here.
    Heartbeat,
    /// Fetch copies of these results and keep them until [`ToWorker::Drop`]; each is answered by
    /// [`FromWorker::Holds`], or by [`FromWorker::Missing`] when it is nowhere.
    Acquire {
        /// Which, and who has them.
        results: Vec<Remote>,
    },
    /// From now on tell of each run and each fetch, or no longer. Beginning is answered by [`FromWorker::Recording`].
    Record {
        /// Whether to tell.
        on: bool,
    },
    /// Say [`FromWorker::Ended`] when nothing of this attempt runs any more, which may be now.
    AwaitEnd {
        /// The task.
        task: TaskId,
        /// Which try at it.
        attempt: Attempt,
    },
}

/// The arguments of a task; mostly so few that they need no memory of their own.
pub type Arguments = SmallVec<[ArgumentCode; 2]>;
/// The values that a task's arguments name.
pub type Constants = SmallVec<[Value; 1]>;

/// One attempt at a task, with all that a worker needs for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Compute {
    /// The task.
    pub task: TaskId,
    /// Which try at it.
    pub attempt: Attempt,
    /// The function, by the worker's own table.
    pub function: FunctionId,
    /// Smaller runs first.
    pub priority: Priority,
    /// Whether a client waits for the result, so that a small one should come with the answer.
    pub wanted: bool,
    /// Its arguments: [`ArgumentCode::Task`], [`ArgumentCode::Constant`] (a place in `constants`) and
    /// [`ArgumentCode::List`]; never [`ArgumentCode::Node`].
    #[serde(with = "crate::few")]
    pub arguments: Arguments,
    /// The inputs that the worker does not hold yet as far as the scheduler knows, each once.
    pub fetch: Vec<Remote>,
    /// The values that arguments name.
    #[serde(skip)]
    pub constants: Constants,
    /// How many `constants` are attached.
    pub n_constants: u32,
    /// Its place in its gang, where it is a member of one.
    pub gang: Option<Box<GangCall>>,
    /// The size that its result is expected to have; 0 where nothing is known.
    pub expected_bytes: u64,
}

/// An input that has to come from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remote {
    /// The task whose result it is.
    pub task: TaskId,
    /// Its size.
    pub n_bytes: u64,
    /// Who has it.
    pub holders: Vec<Address>,
}

/// What a worker says to the scheduler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromWorker {
    /// A thread has begun to run it. Who is lost while running a task is what makes the task suspect.
    Started {
        /// The task.
        task: TaskId,
        /// Which try at it.
        attempt: Attempt,
    },
    /// It has a result, which the worker keeps.
    Finished {
        /// The task.
        task: TaskId,
        /// Which try at it.
        attempt: Attempt,
        /// The size of the result.
        n_bytes: u64,
        /// How long the function ran, in nanoseconds.
        run_ns: u64,
        /// The result itself, where it is small and wanted by a client.
        #[serde(skip)]
        value: Option<Value>,
        /// Whether `value` is attached.
        has_value: bool,
    },
    /// It has no result.
    Failed {
        /// The task.
        task: TaskId,
        /// Which try at it.
        attempt: Attempt,
        /// Why.
        failure: Failure,
    },
    /// The worker now holds a copy of these results, fetched as inputs.
    Holds {
        /// The tasks whose results they are.
        tasks: Vec<TaskId>,
    },
    /// An input could not be fetched from any of the places that were named. The attempt keeps waiting for
    /// [`ToWorker::Located`] or [`ToWorker::Cancel`].
    Missing {
        /// The input.
        task: TaskId,
        /// The addresses that did not have it.
        tried: Vec<Address>,
    },
    /// I am here.
    Heartbeat,
    /// Its function waits, and its thread's place was given to another task.
    Seceded {
        /// The task.
        task: TaskId,
        /// Which try at it.
        attempt: Attempt,
    },
    /// Its function no longer waits.
    Rejoined {
        /// The task.
        task: TaskId,
        /// Which try at it.
        attempt: Attempt,
    },
    /// What a worker that rejoins held and ran all the time: its first words, in as many pieces as it takes.
    Announce {
        /// Results it holds, with their sizes in bytes.
        results: Vec<(TaskId, u64)>,
        /// What it runs.
        running: Vec<(TaskId, Attempt)>,
        /// Whether there are more pieces.
        more: bool,
    },
    /// How its memory is used. Said when it pauses or goes on, and when this has changed by much.
    Memory {
        /// Bytes of results in memory.
        resident: u64,
        /// Bytes of results that are on disk only.
        spilled: u64,
        /// Whether it starts no further task until memory is free.
        is_paused: bool,
    },
    /// A result that it had is gone, since there is room for it neither in memory nor on disk. Making it again would
    /// end the same way.
    NotKept {
        /// The task.
        task: TaskId,
        /// What the disk said.
        reason: String,
    },
    /// Everybody who has these inputs is busy sending them to others: say when somebody else has them.
    Seeks {
        /// The inputs.
        tasks: Vec<TaskId>,
    },
    /// Runs and fetches are told from now on, by a clock that shows this.
    Recording {
        /// What time it is there.
        now: Time,
    },
    /// Runs and fetches that are over, by the worker's clock.
    Spans {
        /// Runs.
        runs: Vec<RunSpan>,
        /// Fetches.
        fetches: Vec<FetchSpan>,
    },
    /// Nothing of an attempt runs any more: the answer to [`ToWorker::AwaitEnd`].
    Ended {
        /// The task.
        task: TaskId,
        /// Which try at it.
        attempt: Attempt,
    },
}

/// Why an attempt has no result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// The function returned an error, or its inputs were not what it takes.
    Error(String),
    /// The function panicked.
    Panic(String),
    /// The function asked to be run on another worker; see [`Reschedule`](crate::task::Reschedule).
    Reschedule,
}

/// What a peer (a worker, or a client that gathers) says to a worker's data port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromPeer {
    /// Send these results, each in an answer of its own, in any order.
    Get {
        /// The tasks whose results they are.
        tasks: Vec<TaskId>,
    },
}

/// What a worker's data port answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToPeer {
    /// Here it is.
    Got {
        /// The task.
        task: TaskId,
        /// Its result, attached.
        #[serde(skip)]
        value: Option<Value>,
    },
    /// It is not here.
    Missing {
        /// The task.
        task: TaskId,
    },
    /// It is here, and is being sent to as many as can be at once: ask those, or again later.
    Busy {
        /// The task.
        task: TaskId,
    },
}

impl FromClient {
    /// A submission; see [`FromClient::Submit`].
    pub fn submit(first: u64, graph: Graph, wanted: Vec<u32>) -> Self {
        Self::Submit { first, graph: Box::new(graph), wanted, parent: None }
    }
}

impl FromClient {
    /// Whether both ends count it, and it is said again where it may have been lost.
    pub(crate) const fn is_counted(&self) -> bool {
        !matches!(self, Self::Heartbeat | Self::Goodbye | Self::EventsSeen { .. })
    }

    /// Something by name; see [`FromClient::Coordinate`].
    pub const fn coordinate(ticket: u64, request: coordination::Request, value: Option<Value>) -> Self {
        let has_value = value.is_some();
        Self::Coordinate { ticket, request, value, has_value }
    }
}

impl ToClient {
    /// What a request by name came to; see [`ToClient::Coordinated`].
    pub const fn coordinated(ticket: u64, answer: Answer, value: Option<Value>) -> Self {
        let has_value = value.is_some();
        Self::Coordinated { ticket, answer, value, has_value }
    }

    /// A result, with its value where that is small enough to come along.
    pub const fn finished(task: TaskId, n_bytes: u64, holders: Vec<Address>, value: Option<Value>) -> Self {
        let has_value = value.is_some();
        Self::Finished { task, n_bytes, holders, value, has_value }
    }
}

impl FromWorker {
    /// A result, with its value where that is small and wanted.
    pub const fn finished(task: TaskId, attempt: Attempt, n_bytes: u64, run_ns: u64, value: Option<Value>) -> Self {
        let has_value = value.is_some();
        Self::Finished { task, attempt, n_bytes, run_ns, value, has_value }
    }
}

/// A task's place in an attempt at its gang.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GangCall {
    /// The gang, by the task of rank 0.
    pub gang: TaskId,
    /// Its rank, from 0.
    pub rank: u32,
    /// Which attempt of the whole gang this is, from 0: members of different ones must not talk to each other.
    pub run: u32,
    /// Where the worker of each member serves its results, by rank.
    pub members: Vec<Address>,
}
