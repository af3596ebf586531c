//! Results on several workers: copies that are wished for, and even loads.

use phalanx_engine::{
    id::TaskId,
    request::{Reply, Request},
    value::Portable,
};

use super::Client;
use crate::{
    error::{Error, Result},
    remote::Remote,
};

impl Client {
    /// Puts a value on every worker that is connected now: for what all of them will take. Copies spread as a tree, so
    /// it takes about as many rounds as the logarithm of their number.
    ///
    /// # Errors
    /// When the value cannot be sent, or the scheduler is lost.
    pub async fn broadcast<T: Portable>(&self, value: T) -> Result<Remote<T>> {
        let remote = self.scatter(value);
        let n_workers = self.workers().len().max(1);
        self.replicate(std::slice::from_ref(&remote), n_workers).await?;
        Ok(remote)
    }

    /// Waits until these results exist, and then until each is on `n_copies` workers, or on all where those are fewer.
    /// As many are kept for as long as somebody holds the result: copies that are lost with a worker are made again.
    /// Returns on how many each result is.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use phalanx_runtime::LocalCluster;
    ///
    /// let cluster = LocalCluster::threads(3, 1)?;
    /// let client = cluster.client().await?;
    /// let table = client.scatter(vec![1., 2., 3.]);
    /// assert_eq!(client.replicate(&[table], 2).await?, [2]);
    /// # Ok::<(), phalanx_runtime::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// When a task has no result, `n_copies` is 0, or the scheduler is lost.
    pub async fn replicate<T>(&self, remotes: &[Remote<T>], n_copies: usize) -> Result<Vec<usize>> {
        let Some(n_copies) = u32::try_from(n_copies).ok().filter(|n| *n > 0) else {
            let value = n_copies.to_string();
            return Err(Error::Option { name: "n_copies", value, expected: "1 or more" });
        };
        for remote in remotes {
            remote.done().await?;
        }
        let tasks: Vec<TaskId> = remotes.iter().filter_map(Remote::task).collect();
        let Reply::Replicated { copies } = self.ask(Request::Replicate { tasks, n_copies }).await? else {
            return Err(Error::SchedulerLost);
        };
        // What never needed the cluster is on no worker.
        let mut copies = copies.into_iter();
        let count = |remote: &Remote<T>| remote.task().map_or(0, |_| copies.next().unwrap_or(0) as usize);
        Ok(remotes.iter().map(count).collect())
    }

    /// Moves results from workers that hold much to workers that hold little, until all hold about the same. Returns
    /// how many results moved, and their bytes.
    ///
    /// # Errors
    /// When the scheduler is lost.
    pub async fn rebalance(&self) -> Result<(u64, u64)> {
        match self.ask(Request::Rebalance).await? {
            Reply::Rebalanced { n_moved, n_bytes } => Ok((n_moved, n_bytes)),
            _ => Err(Error::SchedulerLost),
        }
    }
}
