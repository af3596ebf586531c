//! Workers that are let go by name or number.

use std::time::Duration;

use phalanx_engine::{
    adaptive::Load,
    client::Event,
    id::WorkerId,
    request::{Reply, Request, Retirement},
};
use tokio::sync::oneshot;

use super::{Client, sharing::Answer};
use crate::{
    error::{Error, Result},
    io::Spawned,
};

impl Client {
    /// Lets workers go without losing anything: they get no new task, what they have in hand and do not run yet goes
    /// elsewhere, what they run is finished, what only they hold moves to others, and then they end. No task is
    /// suspected because of it. Ready when each of them is gone, or stays because no other worker can take what it
    /// holds.
    ///
    /// With a `grace`, a worker that is not done by then leaves anyway, and what was lost is made again where it is
    /// needed. Dropping the future changes nothing: the workers go on leaving.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use phalanx_engine::request::Retirement;
    /// use phalanx_runtime::LocalCluster;
    ///
    /// let cluster = LocalCluster::threads(2, 1)?;
    /// let client = cluster.client().await?;
    /// let numbers = client.scatter(vec![1., 2., 3.]);
    /// numbers.done().await?;
    /// let first = client.workers()[0].worker;
    /// let ended = client.retire_workers(&[first], None).await?;
    /// assert!(matches!(ended[..], [(_, Retirement::Done { .. })]));
    /// assert_eq!(client.workers().len(), 1);
    /// assert_eq!(numbers.await?, [1., 2., 3.]);
    /// # Ok::<(), phalanx_runtime::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// When the scheduler is lost.
    pub async fn retire_workers(
        &self,
        workers: &[WorkerId],
        grace: Option<Duration>,
    ) -> Result<Vec<(WorkerId, Retirement)>> {
        let grace_ms = grace.map(|grace| u64::try_from(grace.as_millis()).unwrap_or(u64::MAX));
        match self.ask(Request::Retire { workers: workers.to_vec(), grace_ms }).await? {
            Reply::Retired { workers } => Ok(workers),
            _ => Err(Error::SchedulerLost),
        }
    }

    /// The connected worker that people call `text`: its name, its number as it is printed (`worker-3`), or its
    /// address.
    ///
    /// # Errors
    /// When none or several are called so.
    pub fn worker_named(&self, text: &str) -> Result<WorkerId> {
        let workers = self.workers();
        let by_name: Vec<WorkerId> = workers.iter().filter(|info| info.name == text).map(|info| info.worker).collect();
        if let [only] = *by_name {
            return Ok(only);
        }
        let is_called = |worker: WorkerId, address: &str| worker.to_string() == text || address == text;
        let other = workers.iter().find(|info| is_called(info.worker, &info.address.0));
        match (other, by_name.len()) {
            (Some(info), 0) => Ok(info.worker),
            (_, n_named) => {
                let list = |info: &phalanx_engine::message::WorkerInfo| format!("{} ({})", info.worker, info.name);
                let known = workers.iter().map(list).collect::<Vec<_>>().join(", ");
                Err(Error::NoSuchWorker { text: text.into(), n_named, known })
            }
        }
    }

    /// How loaded the cluster is: what there is to do, and who does it.
    ///
    /// # Errors
    /// When the scheduler is lost.
    pub async fn load(&self) -> Result<Load> {
        match self.ask(Request::Load).await? {
            Reply::Load { load } => Ok(load),
            _ => Err(Error::SchedulerLost),
        }
    }

    /// Waits, also where the caller has no timers.
    pub(crate) async fn pause(&self, time: Duration) -> Result<()> {
        let (done, over) = oneshot::channel();
        let _waiting = Spawned::on(self.handle(), async move {
            tokio::time::sleep(time).await;
            let _ = done.send(());
        });
        over.await.map_err(|_| Error::SchedulerLost)
    }

    /// Asks the scheduler something about the cluster.
    pub(super) async fn ask(&self, request: Request) -> Result<Reply> {
        Ok(self.inquire(|ticket| Event::Ask { request, ticket }).await?.reply)
    }

    /// As [`ask`](Self::ask), with what the answer grants.
    pub(super) async fn inquire(&self, ask: impl FnOnce(u64) -> Event) -> Result<Answer> {
        let (done, told) = oneshot::channel();
        let _open = self.shell().inquire(done, ask);
        told.await.map_err(|_| Error::SchedulerLost)?
    }
}
