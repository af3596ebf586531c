//! Results that several clients share, by key or by name.

use std::sync::{Arc, Weak};

use phalanx_engine::{
    client::Event,
    graph::{AnyDelayed, Delayed, Output},
    id::TaskId,
    publish::Publish,
    request::{Reply, Request},
    task::Registry,
    value::{Portable, Value},
};

use super::{Client, shell::Shell};
use crate::{
    error::{Error, Result},
    remote::{Held, Hold, Remote, passed_on},
};

impl Client {
    /// Starts a call under a key that all clients of the cluster share: whoever submits the same call under the same key
    /// while anybody holds the result gets that result, and nothing runs twice. The key stands for this call only; a
    /// call of another function or with other arguments under it is an error. How it is run (priority, retries,
    /// resources) is what the first asked for. Who cancels it loses his own interest in it; the others get their answer.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// # use phalanx_engine::task;
    /// # use phalanx_runtime::LocalCluster;
    /// #[task]
    /// fn square(x: u64) -> u64 { x * x }
    ///
    /// let cluster = LocalCluster::threads(1, 1)?;
    /// let (one, other) = (cluster.client().await?, cluster.client().await?);
    /// let mine = one.submit_keyed("square of 12", &square::delayed(12)).await?;
    /// let same = other.submit_keyed("square of 12", &square::delayed(12)).await?;
    /// assert_eq!(mine.task(), same.task());
    /// assert!(other.submit_keyed("square of 12", &square::delayed(13)).await.is_err());
    /// drop((one, mine));
    /// assert_eq!(same.await?, 144); // the result outlives the client that made it
    /// # Ok::<(), phalanx_runtime::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// When the key stands for another call, the call cannot be submitted, or the scheduler is lost.
    pub async fn submit_keyed<T: Portable>(&self, key: &str, call: &Delayed<T>) -> Result<Remote<T>> {
        check_name("a key", key)?;
        let call = if call.any().as_call().is_some() { call.clone() } else { passed_on(call.any().clone()) };
        let (graph, places) = self.lay_out(std::slice::from_ref(call.any()))?;
        let [Output::Node(node)] = *places else { return Err(Error::NotSubmitted) };
        let recipe = graph.recipe(node, Registry::linked()?)?;
        let key = key.to_owned();
        let parent = self.shell().parent();
        let answer = self.inquire(|ticket| Event::Share { key, recipe, graph, node, parent, ticket }).await?;
        let mut holds = self.holds(answer)?.0.into_iter();
        holds.next().map(Held::Task).map(Remote::new).ok_or(Error::SchedulerLost)
    }

    /// Keeps a collection on the workers under a name, also when this client has gone, until somebody unpublishes it.
    /// What of it was not started yet is started, as by [`persist`](Self::persist).
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// # use phalanx_engine::{graph::Delayed, task};
    /// # use phalanx_runtime::LocalCluster;
    /// #[task]
    /// fn cube(x: u64) -> u64 { x * x * x }
    ///
    /// let cluster = LocalCluster::threads(1, 1)?;
    /// let one = cluster.client().await?;
    /// one.publish("cubes", &vec![cube::delayed(2), cube::delayed(3)]).await?;
    /// drop(one);
    /// let other = cluster.client().await?;
    /// assert_eq!(other.published().await?, ["cubes"]);
    /// let cubes = other.get_published::<Vec<Delayed<u64>>>("cubes").await?;
    /// assert_eq!(other.compute(&cubes).await?, [8, 27]);
    /// other.unpublish("cubes").await?;
    /// assert!(other.published().await?.is_empty());
    /// # Ok::<(), phalanx_runtime::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// When the name is taken, the collection cannot be written down, or the scheduler is lost.
    pub async fn publish<C: Publish>(&self, name: &str, collection: &C) -> Result<()> {
        self.publish_as(name, collection, false).await
    }

    /// As [`publish`](Self::publish), in place of what has that name now, if anything has. Who has got that holds it
    /// still.
    ///
    /// # Errors
    /// When the collection cannot be written down, or the scheduler is lost.
    pub async fn republish<C: Publish>(&self, name: &str, collection: &C) -> Result<()> {
        self.publish_as(name, collection, true).await
    }

    async fn publish_as<C: Publish>(&self, name: &str, collection: &C, replace: bool) -> Result<()> {
        check_name("a name", name)?;
        let shape = collection.shape()?;
        // Values that are here go to the workers: who gets them back may be anywhere.
        let on_workers = |output: AnyDelayed| match output.as_value() {
            Some(_) => passed_on::<()>(output).any().clone(),
            None => output,
        };
        let outputs: Vec<AnyDelayed> = collection.outputs().into_iter().map(on_workers).collect();
        let submitted = self.start(&outputs)?;
        let task_of = |place: &Output| match place {
            Output::Node(node) => submitted.holds.get(node).map(|hold| hold.task()),
            Output::Task(task) => Some(*task),
            Output::Value(_) => None,
        };
        let tasks = submitted.places.iter().map(task_of).collect::<Option<Vec<_>>>().ok_or(Error::NotSubmitted)?;
        // Made bytes here, as all that a scheduler is given.
        let shape = Value::from_data(Value::new(shape).to_data()?);
        let request = Request::Publish { name: name.into(), tasks, shape: Some(shape), replace };
        done(self.ask(request).await?)
    }

    /// Lets go of what is published under a name. Who has got it holds it still.
    ///
    /// # Errors
    /// When nothing has that name, or the scheduler is lost.
    pub async fn unpublish(&self, name: &str) -> Result<()> {
        done(self.ask(Request::Unpublish { name: name.into() }).await?)
    }

    /// The names of all that is published on this cluster, sorted.
    ///
    /// # Errors
    /// When the scheduler is lost.
    pub async fn published(&self) -> Result<Vec<String>> {
        match self.ask(Request::Published).await? {
            Reply::Names { names } => Ok(names),
            _ => Err(Error::SchedulerLost),
        }
    }

    /// What is published under a name, standing on its results: they stay on the workers for as long as this collection
    /// and what is made of it, whatever becomes of the name.
    ///
    /// # Errors
    /// When nothing has that name, it is another kind of collection, or the scheduler is lost.
    pub async fn get_published<C: Publish>(&self, name: &str) -> Result<C> {
        let request = Request::GetPublished { name: name.into() };
        let answer = self.inquire(|ticket| Event::Ask { request, ticket }).await?;
        let (holds, shape) = self.holds(answer)?;
        let shape = shape.ok_or(Error::SchedulerLost)?.get::<Vec<u8>>()?;
        Ok(C::from_shape(&shape, holds.iter().map(Hold::delayed).collect())?)
    }

    /// Handles on what an answer grants.
    fn holds(&self, answer: Answer) -> Result<(Vec<Arc<Hold>>, Option<Value>)> {
        let (tasks, generation) = answer.granted.take();
        let holds = tasks.into_iter().map(|task| Hold::owned(self.clone(), task, generation)).collect();
        match answer.reply {
            Reply::Granted { shape, .. } => Ok((holds, shape)),
            Reply::Denied { reason } => Err(Error::NotShared { reason }),
            _ => Err(Error::SchedulerLost),
        }
    }
}

/// The answer to a question.
pub(crate) struct Answer {
    pub(super) reply: Reply,
    granted: Grants,
}

impl Answer {
    pub(super) fn new(reply: Reply, shell: &Weak<Shell>, generation: u64) -> Self {
        let tasks = if let Reply::Granted { tasks, .. } = &reply { tasks.clone() } else { Vec::new() };
        Self { reply, granted: Grants { shell: Weak::clone(shell), tasks, generation } }
    }
}

/// Results that were given to this client, until handles on them are made. Released where that does not happen.
struct Grants {
    shell: Weak<Shell>,
    tasks: Vec<TaskId>,
    generation: u64,
}

impl Grants {
    /// The results, in order; each counts once as held.
    fn take(mut self) -> (Vec<TaskId>, u64) {
        (std::mem::take(&mut self.tasks), self.generation)
    }
}

impl Drop for Grants {
    fn drop(&mut self) {
        if let Some(shell) = self.shell.upgrade() {
            self.tasks.drain(..).for_each(|task| shell.release(task, self.generation));
        }
    }
}

fn done(reply: Reply) -> Result<()> {
    match reply {
        Reply::Done => Ok(()),
        Reply::Denied { reason } => Err(Error::NotShared { reason }),
        _ => Err(Error::SchedulerLost),
    }
}

fn check_name(name: &'static str, text: &str) -> Result<()> {
    if text.is_empty() || text.len() > 1000 {
        return Err(Error::Option { name, value: format!("{} bytes long", text.len()), expected: "1 to 1000 bytes" });
    }
    Ok(())
}
