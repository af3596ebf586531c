//! What a client can ask about the cluster itself: one task's story, and everything at once.

use phalanx_engine::{
    event::Step,
    id::TaskId,
    inspect::{Answer, Overview, Phase, Question, Story, TaskView},
    request::{Reply, Request},
    time::Time,
};

use crate::{Client, Error, Remote, Result};

/// Tasks of each phase in a dump.
const TASKS: usize = 2_000;
/// Steps in a dump: as many as a scheduler keeps by default.
const STEPS: usize = 100_000;
/// Questions about tasks of one phase: a table of this many pieces at most is looked through.
const PIECES: usize = 1_000;

/// Everything that a scheduler says of itself, in bounded detail.
///
/// It is asked for piece by piece so that the scheduler is never held up, so pieces may differ by what happened between
/// them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dump {
    /// Options, counters, workers and clients.
    pub overview: Overview,
    /// Tasks of each phase, at most 2,000 of each.
    pub tasks: Vec<TaskView>,
    /// What has happened to tasks lately, the oldest first: at most 100,000 steps.
    pub steps: Vec<(Time, TaskId, Step)>,
    /// What was left out, in sentences.
    pub left_out: Vec<String>,
}

impl Client {
    /// What the task behind a handle has gone through, as far as the scheduler remembers, and why it does not run where
    /// it does not.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// # use phalanx_engine::task;
    /// # use phalanx_runtime::Client;
    /// #[task]
    /// fn half(x: f64) -> f64 { x / 2. }
    ///
    /// let client = Client::local().await?;
    /// let three = client.submit(&half::delayed(6.));
    /// assert_eq!(client.gather(&[three.clone()]).await?, [3.]);
    /// let story = client.story(&three).await?.to_string();
    /// assert!(story.contains("attempt 0 finished on local-0"), "{story}");
    /// # Ok::<(), phalanx_runtime::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// When the handle stands for a value that never was a task, or the scheduler is lost.
    pub async fn story<T>(&self, remote: &Remote<T>) -> Result<Story> {
        let task = remote.task().ok_or(Error::NotSubmitted)?;
        self.story_of(task).await
    }

    /// What a task has gone through, whoever submitted it.
    ///
    /// # Errors
    /// When the scheduler is lost.
    pub async fn story_of(&self, task: TaskId) -> Result<Story> {
        match self.question(Question::Story { task }).await? {
            Answer::Story(story) => Ok(story),
            _ => Err(Error::SchedulerLost),
        }
    }

    /// How the cluster is now: options, counters, workers, clients.
    ///
    /// # Errors
    /// When the scheduler is lost.
    pub async fn overview(&self) -> Result<Overview> {
        match self.question(Question::Overview).await? {
            Answer::Overview(overview) => Ok(overview),
            _ => Err(Error::SchedulerLost),
        }
    }

    /// Everything that the scheduler says of itself; see [`Dump`].
    ///
    /// # Errors
    /// When the scheduler is lost.
    pub async fn dump(&self) -> Result<Dump> {
        let overview = self.overview().await?;
        let mut dump = Dump { overview, ..Dump::default() };
        for phase in Phase::ALL {
            self.dump_tasks(phase, &mut dump).await?;
        }
        loop {
            let skip = dump.steps.len() as u64;
            let limit = u32::try_from(STEPS - dump.steps.len()).unwrap_or(u32::MAX);
            match self.question(Question::Steps { skip, limit }).await? {
                Answer::Steps { steps } if !steps.is_empty() => dump.steps.extend(steps),
                _ => break,
            }
        }
        if dump.steps.len() >= STEPS {
            dump.left_out.push(format!("steps of tasks beyond {STEPS}, and those that the scheduler has forgotten"));
        }
        Ok(dump)
    }

    async fn question(&self, question: Question) -> Result<Answer> {
        match self.ask(Request::Inspect { question }).await? {
            Reply::Inspected { answer } => Ok(*answer),
            _ => Err(Error::SchedulerLost),
        }
    }

    async fn dump_tasks(&self, phase: Phase, dump: &mut Dump) -> Result<()> {
        let mut from = 0;
        let mut found = Vec::new();
        for _ in 0..PIECES {
            let limit = u32::try_from(TASKS - found.len()).unwrap_or(u32::MAX);
            let Answer::Tasks { tasks, next } = self.question(Question::Tasks { phase, from, limit }).await? else {
                return Err(Error::SchedulerLost);
            };
            found.extend(tasks);
            match next {
                Some(next) if found.len() < TASKS => from = next,
                Some(_) => {
                    let all = dump.overview.counters.n_tasks[phase as usize];
                    dump.left_out.push(format!("tasks in phase {} beyond {TASKS}, of {all} in all", phase.name()));
                    break;
                }
                None => break,
            }
        }
        dump.tasks.extend(found);
        Ok(())
    }
}
