//! Gangs: tasks that start together or not at all, as the members of a distributed service do.

use std::time::Duration;

use phalanx_engine::{
    graph::{Delayed, GangSeat, TaskOptions},
    id::TaskId,
    value::Portable,
};

use crate::{client::Client, remote::Remote, worker};

/// How the members of a gang are run.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `retries` | 0 | attempts of the whole gang after the first that may fail with an error or a panic of a member | any |
/// | `share_workers` | no | whether several members may run on one worker, each on a thread of its own | |
/// | `wait_timeout` | for ever | how long it may wait while the connected workers are too few for it, whatever they do; it fails then | any |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GangOptions {
    /// Attempts of the whole gang after the first.
    pub retries: u32,
    /// Whether several members may run on one worker.
    pub share_workers: bool,
    /// How long it may wait while the connected workers are too few for it.
    pub wait_timeout: Option<Duration>,
}

impl Client {
    /// Starts calls that run together or not at all, each on a worker of its own; their results are in the order of the
    /// calls, which is that of their ranks. Inside of a call, [`GangContext::current`] says which member it is and where
    /// the others are.
    ///
    /// A gang begins when every member has a place at the same time. While it waits for that, the places that it needs
    /// are kept free as they fall free, so that a stream of small tasks does not hold it back; only one gang has places
    /// kept, and it gets all of them or none. Members may ask for resources and name workers, as any task.
    ///
    /// All of them are one attempt. Their results are there when all have ended. Where one fails, or a worker is lost,
    /// all are stopped, and begin anew together: after a lost worker by themselves (one that has cost three workers
    /// fails), after an error or a panic as often as [`GangOptions::retries`] says. Then all fail with
    /// [`TaskError::GangMember`](phalanx_engine::task::TaskError::GangMember), which names the member. Cancelling one
    /// cancels all. What a gang gave that has ended is not made again: where it is lost before it was fetched, it fails
    /// with [`TaskError::MemberLost`](phalanx_engine::task::TaskError::MemberLost).
    ///
    /// A function that runs cannot be ended from outside. A member whose gang is over ends when it notices, so members
    /// should wait for each other with a deadline; its thread is busy until then.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use phalanx_engine::task;
    /// use phalanx_runtime::{GangContext, LocalCluster};
    ///
    /// #[task]
    /// fn who(name: String) -> String {
    ///     let gang = GangContext::current().expect("it runs in a gang");
    ///     format!("{name} is {} of {}", gang.rank, gang.n_members())
    /// }
    ///
    /// let cluster = LocalCluster::threads(2, 1)?;
    /// let client = cluster.client().await?;
    /// let members = client.gang(["left", "right"].map(|name| who::delayed(name.to_owned())));
    /// assert_eq!(client.gather(&members).await?, ["left is 0 of 2", "right is 1 of 2"]);
    /// # Ok::<(), phalanx_runtime::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn gang<T: Portable>(&self, calls: impl IntoIterator<Item = Delayed<T>>) -> Vec<Remote<T>> {
        self.gang_with(calls, &GangOptions::default())
    }

    /// As [`gang`](Self::gang), with options.
    pub fn gang_with<T: Portable>(
        &self,
        calls: impl IntoIterator<Item = Delayed<T>>,
        options: &GangOptions,
    ) -> Vec<Remote<T>> {
        let GangOptions { retries, share_workers, wait_timeout } = *options;
        let calls: Vec<Delayed<T>> = calls.into_iter().collect();
        let n_members = calls.len() as u32;
        let member = |(call, rank): (&Delayed<T>, u32)| {
            let gang = Some(GangSeat { rank, n_members, share_workers });
            call.change_options(|all| *all = TaskOptions { retries, wait_timeout, gang, ..all.clone() })
        };
        let members: Vec<Delayed<T>> = calls.iter().zip(0..).map(member).collect();
        self.submit_all(&members)
    }
}

/// Which member of a gang a task is, and where the others are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GangContext {
    /// The gang, by the task of rank 0: no other gang has it, so names made from it are free.
    pub gang: TaskId,
    /// Its place, from 0.
    pub rank: u32,
    /// Which attempt of the whole gang this is, from 0. Members of an earlier one may still be running: what members say
    /// to each other should begin with this.
    pub attempt: u32,
    /// Where the worker of each member can be reached, by rank: `tcp://10.0.0.7:40123`. There it serves results; members
    /// that listen do so on ports of their own.
    pub addresses: Vec<String>,
}

impl GangContext {
    /// That of the task which this thread runs, if it is a member of a gang.
    pub fn current() -> Option<Self> {
        let call = worker::current_gang()?;
        let addresses = call.members.iter().map(|address| address.0.to_string()).collect();
        Some(Self { gang: call.gang, rank: call.rank, attempt: call.run, addresses })
    }

    /// How many members there are.
    pub fn n_members(&self) -> u32 {
        self.addresses.len() as u32
    }

    /// The host of a member, for sockets: `10.0.0.7`, or `127.0.0.1` where it is in this process.
    pub fn host(&self, rank: u32) -> Option<&str> {
        let address = self.addresses.get(rank as usize)?;
        let Some(rest) = address.strip_prefix("tcp://") else { return Some("127.0.0.1") };
        let host = rest.rsplit_once(':').map_or(rest, |(host, _)| host);
        Some(host.trim_start_matches('[').trim_end_matches(']'))
    }
}

#[cfg(test)]
mod tests {
    use phalanx_engine::id::ClientId;

    use super::*;

    #[test]
    fn hosts_are_what_sockets_take() {
        let addresses = ["tcp://10.0.0.7:40123", "tcp://[::1]:40123", "inproc://3"].map(String::from).to_vec();
        let context = GangContext { gang: TaskId::new(ClientId(0), 0), rank: 0, attempt: 0, addresses };
        assert_eq!(
            [0, 1, 2, 3].map(|rank| context.host(rank)),
            [Some("10.0.0.7"), Some("::1"), Some("127.0.0.1"), None]
        );
        assert_eq!(context.n_members(), 3);
    }
}
