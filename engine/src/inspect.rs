//! What can be asked of a running scheduler, and what it answers: a task's story, who is there, what waits for what.
//!
//! Every answer is bounded, so that asking never holds the scheduler up; what has no bound comes in pieces.

use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    event::Step,
    id::{Attempt, ClientId, TaskId, WorkerId},
    message::Address,
    time::Time,
};

/// A question to the scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// How is everything? Answered by [`Answer::Overview`].
    Overview,
    /// What has a task gone through, and why does it not run? Answered by [`Answer::Story`].
    Story {
        /// The task.
        task: TaskId,
    },
    /// Which tasks are in this phase? Answered by [`Answer::Tasks`].
    Tasks {
        /// The phase.
        phase: Phase,
        /// Where to begin: 0, or what the last answer said.
        from: u32,
        /// At most so many; more than 1,000 are never told at once.
        limit: u32,
    },
    /// What has happened to tasks lately? Answered by [`Answer::Steps`].
    Steps {
        /// How many of the oldest to leave out.
        skip: u64,
        /// At most so many; more than 5,000 are never told at once.
        limit: u32,
    },
}

/// The scheduler's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// How everything is.
    Overview(Overview),
    /// What a task has gone through.
    Story(Story),
    /// Tasks in one phase.
    Tasks {
        /// Some of them.
        tasks: Vec<TaskView>,
        /// Where the next question begins; none where there are no more.
        next: Option<u32>,
    },
    /// What has happened to tasks, the oldest first.
    Steps {
        /// Some of it.
        steps: Vec<(Time, TaskId, Step)>,
    },
}

impl Answer {
    /// About how many bytes it takes.
    pub(crate) const fn weight(&self) -> u64 {
        const ITEM: u64 = 128;
        let n_items = match self {
            Self::Overview(overview) => {
                overview.workers.len() + overview.clients.len() + overview.counters.functions.len()
            }
            Self::Story(story) => story.steps.len() + 8 * story.errors.len(),
            Self::Tasks { tasks, .. } => tasks.len(),
            Self::Steps { steps } => steps.len(),
        };
        ITEM * (8 + n_items as u64)
    }
}

/// Where a task is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    /// Nobody needs its result now.
    Released,
    /// Some input is not there.
    Waiting,
    /// All inputs are there; no worker has taken it.
    Ready,
    /// A worker was told to run it.
    Assigned,
    /// Some worker has its result.
    Memory,
    /// It will have no result.
    Failed,
}

impl Phase {
    /// All of them, in the order of a task's life.
    pub const ALL: [Self; 6] = [Self::Released, Self::Waiting, Self::Ready, Self::Assigned, Self::Memory, Self::Failed];

    /// Its name, in small letters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Waiting => "waiting",
            Self::Ready => "ready",
            Self::Assigned => "assigned",
            Self::Memory => "memory",
            Self::Failed => "failed",
        }
    }
}

/// A scheduler at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Overview {
    /// Since its start.
    pub time: Time,
    /// Its release.
    pub version: String,
    /// How it was told to behave, by name.
    pub config: Vec<(String, String)>,
    /// What it has counted.
    pub counters: Counters,
    /// Who runs tasks, by rising number.
    pub workers: Vec<WorkerView>,
    /// Who submits work, by rising number; at most 1,000 of them.
    pub clients: Vec<ClientView>,
}

/// What a scheduler has counted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Tasks that are known now, by phase in the order of [`Phase::ALL`].
    pub n_tasks: [u64; 6],
    /// Clients that are connected now.
    pub n_clients: u64,
    /// Workers that are connected now.
    pub n_workers: u64,
    /// Tasks sent to workers.
    pub n_assigned: u64,
    /// Results.
    pub n_finished: u64,
    /// Tries that ended with an error or a panic.
    pub n_failed_attempts: u64,
    /// Tasks that failed for good, those that needed them among them.
    pub n_failed: u64,
    /// Tasks that an idle worker took out of another's queue.
    pub n_stolen: u64,
    /// Tasks that were on a worker when it was lost.
    pub n_worker_lost: u64,
    /// Results that no worker had any more.
    pub n_lost: u64,
    /// Results that one worker fetched from another.
    pub n_transfers: u64,
    /// Their bytes.
    pub transfer_bytes: u64,
    /// Results that were not where they were said to be.
    pub n_missed: u64,
    /// Attempts that asked to be run elsewhere.
    pub n_rescheduled: u64,
    /// Tasks that ran far longer than their kind does, so that another attempt was begun.
    pub n_straggling: u64,
    /// Workers that joined, those that came back among them.
    pub n_workers_joined: u64,
    /// Workers that went, were lost, or died.
    pub n_workers_left: u64,
    /// Worker processes whose supervisor said that they died; it starts them again.
    pub n_workers_died: u64,
    /// Which of the lives that a journal connects this is; 0 is the first.
    pub life: u32,
    /// Bytes of results that workers have on disk only.
    pub spilled_bytes: u64,
    /// Bytes of results that workers keep now.
    pub stored_bytes: u64,
    /// Functions that have run, by name; at most 1,000 of them.
    pub functions: Vec<FunctionCounters>,
}

/// What one function has cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionCounters {
    /// Its name.
    pub name: Arc<str>,
    /// Runs that had a result.
    pub n_runs: u64,
    /// How long they ran in all.
    pub total: Duration,
}

/// A worker at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerView {
    /// Its number.
    pub worker: WorkerId,
    /// Its name.
    pub name: String,
    /// Where its results can be fetched.
    pub address: Address,
    /// How many tasks it runs at once.
    pub n_threads: u32,
    /// Tasks that run there, as far as it has said.
    pub n_running: u32,
    /// Tasks that were sent to it, those that run among them.
    pub n_assigned: u32,
    /// Tasks that wait for it at the scheduler.
    pub n_queued: u32,
    /// Bytes of results it keeps.
    pub stored_bytes: u64,
    /// Bytes of those that are on disk only.
    pub spilled_bytes: u64,
    /// Bytes that it may use, where that is bounded.
    pub memory_limit: Option<u64>,
    /// Whether it takes no new task until its memory is free.
    pub paused: bool,
    /// Whether it is on its way out.
    pub retiring: bool,
    /// How long it has said nothing.
    pub silent_for: Duration,
}

/// A client at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientView {
    /// Its number.
    pub client: ClientId,
    /// Its tasks that are neither done nor released.
    pub n_active: u64,
    /// Tasks it has submitted in all.
    pub n_submitted: u64,
    /// How long it has said nothing.
    pub silent_for: Duration,
}

/// A task at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskView {
    /// The task.
    pub task: TaskId,
    /// The function it calls.
    pub function: Arc<str>,
    /// Where it is in its life.
    pub phase: Phase,
    /// Tries that were begun.
    pub n_attempts: u32,
    /// Who runs it or has its result; at most 10 of them.
    pub workers: Vec<WorkerId>,
    /// The size of its result, where there is one.
    pub n_bytes: u64,
}

/// What a task has gone through, as far as the scheduler remembers, and what it waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Story {
    /// The task.
    pub task: TaskId,
    /// The function it calls, where it is still known.
    pub function: Option<Arc<str>>,
    /// When the question was answered.
    pub now: Time,
    /// How it stands.
    pub standing: Standing,
    /// Its steps, the oldest first.
    pub steps: Vec<(Time, Step)>,
    /// What tries that failed have said.
    pub errors: Vec<(Attempt, String)>,
    /// The names of workers that the story is about, as far as they are remembered; who is gone is said to be.
    pub names: Vec<(WorkerId, String)>,
    /// Whether the scheduler has begun to forget old steps, so that the story may lack its beginning.
    pub has_forgotten: bool,
}

/// How a task stands, and why it does not run where it does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Standing {
    /// The scheduler does not know it: it was never submitted, or is long forgotten.
    Unknown,
    /// Nobody needs its result now.
    Released,
    /// It waits for inputs.
    Waiting {
        /// For how many.
        n_missing: u32,
        /// One of them, what that one waits for, and so on down to something that does not wait for inputs; at most 20.
        chain: Vec<TaskView>,
        /// Why the last of the chain does not run.
        because: Box<Self>,
    },
    /// It waits for a worker, and none is connected.
    NoWorkers,
    /// It waits for a worker that it names or that has what it needs free.
    Demands {
        /// What it needs of a worker.
        resources: Vec<(String, u64)>,
        /// The workers that may run it; none means any.
        workers: Vec<String>,
    },
    /// It waits for a thread: all that could run it are busy.
    Busy {
        /// In whose queue; none where any may take it.
        worker: Option<WorkerId>,
        /// How many tasks wait in the same queue.
        n_queued: u64,
    },
    /// It was sent to a worker, which has not begun it: it fetches its inputs, or its threads are busy.
    Sent {
        /// To whom.
        worker: WorkerId,
        /// Which try at it.
        attempt: Attempt,
        /// How many other tasks run there.
        n_running: u32,
    },
    /// It runs.
    Running {
        /// Where.
        worker: WorkerId,
        /// Which try at it.
        attempt: Attempt,
        /// Whether it waits, inside of its function, for tasks that it has submitted.
        seceded: bool,
    },
    /// Its result is there.
    Memory {
        /// Who has it.
        holders: Vec<WorkerId>,
        /// Its size.
        n_bytes: u64,
    },
    /// It will have no result.
    Failed {
        /// Why.
        error: String,
    },
}

impl Story {
    fn name(&self, worker: WorkerId) -> String {
        let known = self.names.iter().find(|(id, _)| *id == worker);
        known.map_or_else(|| format!("{worker} (gone)"), |(_, name)| name.clone())
    }

    fn standing(&self, standing: &Standing) -> String {
        let known = |view: &TaskView| format!("{} ({})", view.task, view.function);
        match standing {
            Standing::Unknown if self.steps.is_empty() => "is not known: never submitted, or long forgotten".into(),
            Standing::Unknown => "is forgotten: nobody needed it any more".into(),
            Standing::Released => "is not needed by anybody now".into(),
            Standing::Waiting { n_missing, chain, because } => {
                let inputs = if *n_missing == 1 { "1 input".into() } else { format!("{n_missing} inputs") };
                let mut text = format!("waits for {inputs}");
                for (place, view) in chain.iter().enumerate() {
                    text += if place == 0 { ": " } else { " waits for " };
                    text += &known(view);
                }
                format!("{text} {}", self.standing(because))
            }
            Standing::NoWorkers => "waits for a worker: none is connected".into(),
            Standing::Demands { resources, workers } => {
                let resources: Vec<String> = resources.iter().map(|(name, n)| format!("{name}={n}")).collect();
                let needs =
                    if resources.is_empty() { String::new() } else { format!(" with {} free", resources.join(", ")) };
                let names = if workers.is_empty() { String::new() } else { format!(" among {}", workers.join(", ")) };
                format!("waits for a worker{names}{needs}")
            }
            Standing::Busy { worker: None, n_queued } => {
                format!("waits for a free thread of any worker, one of {n_queued} that do")
            }
            Standing::Busy { worker: Some(worker), n_queued } => {
                format!("waits for a free thread of {}, one of {n_queued} that do", self.name(*worker))
            }
            Standing::Sent { worker, attempt, n_running } => format!(
                "was sent to {} (attempt {}), which runs {n_running} others and has not begun it",
                self.name(*worker),
                attempt.0
            ),
            Standing::Running { worker, attempt, seceded } => {
                let waits = if *seceded { " and waits there for tasks that it has submitted" } else { "" };
                format!("runs on {} (attempt {}){waits}", self.name(*worker), attempt.0)
            }
            Standing::Memory { holders, n_bytes } => {
                let holders: Vec<String> = holders.iter().map(|holder| self.name(*holder)).collect();
                format!("has a result of {n_bytes} bytes on {}", holders.join(", "))
            }
            Standing::Failed { error } => format!("failed: {error}"),
        }
    }

    fn step(&self, step: Step) -> String {
        let name = |worker| self.name(worker);
        let error = |attempt| self.errors.iter().rfind(|(at, _)| *at == attempt).map(|(_, error)| error.as_str());
        match step {
            Step::Waiting => "needed; waits for inputs".into(),
            Step::Ready { worker: None } => "ready; any worker that can run it may take it".into(),
            Step::Ready { worker: Some(worker) } => {
                format!("ready; queued for {}, where it can be expected to start first", name(worker))
            }
            Step::Assigned { worker, attempt, n_fetched: 0 } => {
                format!("attempt {} sent to {}, which needs nothing from elsewhere", attempt.0, name(worker))
            }
            Step::Assigned { worker, attempt, n_fetched } => {
                let inputs = if n_fetched == 1 { "1 input".into() } else { format!("{n_fetched} inputs") };
                format!("attempt {} sent to {}, which fetches {inputs} for it", attempt.0, name(worker))
            }
            Step::Started { worker, attempt } => format!("attempt {} runs on {}", attempt.0, name(worker)),
            Step::Finished { worker, attempt } => format!("attempt {} finished on {}", attempt.0, name(worker)),
            Step::AttemptFailed { worker, attempt } => {
                let said = error(attempt).map_or(String::new(), |error| format!(": {error}"));
                format!("attempt {} failed on {}{said}", attempt.0, name(worker))
            }
            Step::Stolen { from } => format!("an idle worker takes it from the queue of {}", name(from)),
            Step::Cancelled { worker, attempt } => format!("attempt {} on {} is called off", attempt.0, name(worker)),
            Step::WorkerLost { worker, attempt, running } => {
                let was = if running { "was running" } else { "had not begun" };
                format!("attempt {} {was} on {} when that was lost", attempt.0, name(worker))
            }
            Step::Rescheduled { worker, attempt } => {
                format!("attempt {} asks on {} to be run elsewhere", attempt.0, name(worker))
            }
            Step::Copied { worker } => format!("{} has a copy of the result", name(worker)),
            Step::CopyDropped { worker } => format!("{} drops its copy of the result", name(worker)),
            Step::Found { worker } => format!("{} is back and has the result", name(worker)),
            Step::Straggles => "runs far longer than its kind does; another attempt is begun".into(),
            Step::Missed { worker } => format!("the result is not on {}, where it should be", name(worker)),
            Step::Lost => "no worker has the result any more".into(),
            Step::Failed => "failed for good".into(),
            Step::Released => "nobody needs the result any more".into(),
        }
    }
}

/// For people: how the task stands, and a line for each step.
impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.task)?;
        if let Some(function) = &self.function {
            write!(f, " ({function})")?;
        }
        write!(f, " {}", self.standing(&self.standing))?;
        if self.has_forgotten {
            write!(f, "\n  (older steps may be forgotten)")?;
        }
        for (time, step) in &self.steps {
            let ago = (self.now - *time).as_secs_f64();
            write!(f, "\n  {ago:>10.6} s ago  {}", self.step(*step))?;
        }
        Ok(())
    }
}
