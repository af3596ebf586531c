//! A whole cluster started by one program: threads in it, or processes beside it.
//!
//! The same machines as everywhere; only what lies between them differs.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use phalanx_engine::{adaptive::AdaptiveOptions, id::WorkerId, request::Retirement};
use tokio::sync::oneshot;

use crate::{
    adaptive::adapt,
    client::{Client, ClientOptions},
    error::{Error, Result},
    handshake::instruction_set,
    io::{IoThread, Spawned, lock},
    memory::MemoryLimit,
    process,
    scheduler::{Scheduler, SchedulerOptions},
    security::Security,
    supervisor::{RestartOptions, Supervisor, SupervisorNotice},
    transport::Destination,
    worker::{Access, Session, WorkerOptions, live, n_cores},
};

/// What a local cluster is made of.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `n_workers` | 1 | workers | 0 or more |
/// | `n_threads` | the machine's threads over `n_workers` | tasks that each worker runs at once | 1 or more |
/// | `processes` | no | whether workers are processes that run this program's [`init()`](crate::init()) | |
/// | `resources` | none | what each worker has for tasks that need resources | names, amounts above 0 |
/// | `listen` | nowhere | where others can join too, `tcp://127.0.0.1:8786` | loopback, or any with `security` |
/// | `instruction_set` | [`instruction_set()`] | compared with others that join | text |
/// | `security` | none | what others that join must know or have | [`Security`] |
/// | `memory_limit` | [`MemoryLimit::Auto`] | what each worker's results and running tasks may take; beyond, results go to disk | see there |
/// | `spill_dir` | the system's folder for temporary files | where workers make folders for results on disk | a path |
/// | `allowed_failures` | 3 | workers that may die while running a task before it fails | 1 or more |
/// | `restarts` | [`RestartOptions::default()`] | how often a worker process that crashes is started again | |
///
/// ```
/// use phalanx_runtime::LocalOptions;
/// let options = LocalOptions { n_workers: 2, n_threads: Some(1), ..LocalOptions::default() };
/// assert!(!options.processes);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalOptions {
    /// Workers.
    pub n_workers: usize,
    /// Tasks that each worker runs at once.
    pub n_threads: Option<usize>,
    /// Whether workers are processes of their own.
    pub processes: bool,
    /// What each worker has for tasks that need resources, by name.
    pub resources: BTreeMap<String, u64>,
    /// Where others can join too.
    pub listen: Option<String>,
    /// Compared with others that join.
    pub instruction_set: String,
    /// What others that join must know or have. A certificate here is the scheduler's, the workers' and the clients', as
    /// one for a worker can be.
    pub security: Security,
    /// What each worker's results and running tasks may take.
    pub memory_limit: MemoryLimit,
    /// Where results go that memory has no room for.
    pub spill_dir: Option<PathBuf>,
    /// Workers that may die while running a task before it fails.
    pub allowed_failures: u32,
    /// How often a worker process that crashes is started again.
    pub restarts: RestartOptions,
}

impl Default for LocalOptions {
    fn default() -> Self {
        Self {
            n_workers: 1,
            n_threads: None,
            processes: false,
            resources: BTreeMap::new(),
            listen: None,
            instruction_set: instruction_set(),
            security: Security::default(),
            memory_limit: MemoryLimit::Auto,
            spill_dir: None,
            allowed_failures: SchedulerOptions::default().allowed_failures,
            restarts: RestartOptions::default(),
        }
    }
}

/// A scheduler and workers that end with this value.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use phalanx_runtime::LocalCluster;
/// let cluster = LocalCluster::threads(2, 1)?;
/// let client = cluster.client().await?;
/// assert_eq!(client.workers().len(), 2);
/// drop(client);
/// cluster.shutdown().await;
/// # Ok::<(), phalanx_runtime::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct LocalCluster {
    options: LocalOptions,
    scheduler: Destination,
    url: String,
    // Dropped in this order: the processes, which would miss the scheduler, and then everything that talks.
    members: Mutex<Members>,
    io: Option<IoThread>,
    sessions: Arc<Mutex<Vec<Arc<Session>>>>,
}

/// The workers of a cluster, the oldest first.
#[derive(Debug, Default)]
struct Members {
    processes: Vec<Supervisor>,
    /// By name.
    threads: Vec<(String, Spawned)>,
    n_ever: usize,
}

impl Members {
    fn names(&self) -> Vec<String> {
        let processes = self.processes.iter().map(|process| process.name().to_owned());
        processes.chain(self.threads.iter().map(|(name, _)| name.clone())).collect()
    }
}

impl LocalCluster {
    /// Workers in this process, which pass results by pointer.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn threads(n_workers: usize, n_threads: usize) -> Result<Self> {
        Self::start(LocalOptions { n_workers, n_threads: Some(n_threads), ..LocalOptions::default() })
    }

    /// Workers in processes of their own, which share the machine's threads among them. They run this program, whose
    /// `main` must begin with [`init()`](crate::init()), and they end when this process does, in whatever way. One that
    /// crashes is started again, as [`LocalOptions::restarts`] says.
    ///
    /// # Errors
    /// When [`init()`](crate::init()) was not called, this process is such a worker itself, or the system starts none.
    pub fn processes(n_workers: usize) -> Result<Self> {
        Self::start(LocalOptions { n_workers, processes: true, ..LocalOptions::default() })
    }

    /// Starts what `options` say. Workers join while this returns; [`client`](Self::client) waits for them.
    ///
    /// # Errors
    /// As [`threads`](Self::threads) and [`processes`](Self::processes), or when the port is taken.
    pub fn start(options: LocalOptions) -> Result<Self> {
        if options.processes {
            process::can_start()?;
        }
        let io = IoThread::start("phalanx-cluster")?;
        let listen = match (&options.listen, options.processes) {
            (Some(listen), _) => Some(listen.clone()),
            (None, true) => Some("tcp://127.0.0.1:0".into()),
            (None, false) => None,
        };
        let scheduler_options = SchedulerOptions {
            security: options.security.clone(),
            allowed_failures: options.allowed_failures,
            ..SchedulerOptions::default()
        };
        let (ready, bound) = mpsc::channel();
        io.handle().spawn(async move {
            let scheduler = match listen {
                Some(listen) => Scheduler::bind(&SchedulerOptions { listen, ..scheduler_options }).await,
                None => Scheduler::unbound(&scheduler_options),
            };
            match scheduler {
                Ok(scheduler) => {
                    let _ = ready.send(Ok((scheduler.inside(), scheduler.url().to_owned())));
                    drop(ready);
                    scheduler.run(std::future::pending()).await;
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        });
        let stopped = |_| Error::Start { what: "the scheduler".into(), reason: "its thread ended".into() };
        let (scheduler, url) = bound.recv().map_err(stopped)??;
        let members = Mutex::default();
        let cluster = Self { options, scheduler, url, members, io: Some(io), sessions: Arc::default() };
        for _ in 0..cluster.options.n_workers {
            cluster.add_worker()?;
        }
        Ok(cluster)
    }

    /// A client of this cluster, once all of its workers are there.
    ///
    /// # Errors
    /// When a worker does not come, or the client is refused.
    pub async fn client(&self) -> Result<Client> {
        let client = self.join().await?;
        let n_workers = lock(&self.members).names().len();
        client.wait_for_workers(n_workers, Duration::from_secs(30)).await?;
        Ok(client)
    }

    /// Starts workers, or lets the youngest go, until there are `n_workers`. Returns when those that were too many are
    /// gone; what they ran was finished and what only they held was moved. New ones join while this returns.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use phalanx_runtime::LocalCluster;
    /// let cluster = LocalCluster::threads(1, 1)?;
    /// cluster.scale(3).await?;
    /// assert_eq!(cluster.client().await?.workers().len(), 3);
    /// cluster.scale(1).await?;
    /// assert_eq!(cluster.client().await?.workers().len(), 1);
    /// # Ok::<(), phalanx_runtime::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// When a worker cannot be started, or one cannot go because no other can take what it holds.
    pub async fn scale(&self, n_workers: usize) -> Result<()> {
        let names = lock(&self.members).names();
        for _ in names.len()..n_workers {
            self.add_worker()?;
        }
        match names.get(n_workers..) {
            Some(leaving) if !leaving.is_empty() => self.remove_workers(leaving).await,
            _ => Ok(()),
        }
    }

    /// Lets these workers go, by name, as [`scale`](Self::scale) does. Names that nobody has do not matter.
    ///
    /// # Errors
    /// When one cannot go because no other can take what it holds; the others are gone all the same.
    pub async fn remove_workers(&self, names: &[String]) -> Result<()> {
        let client = self.join().await?;
        let n_workers = lock(&self.members).names().len();
        // One that is just being started again is not waited for: there is nothing that it could hand over.
        let _ = client.wait_for_workers(n_workers, Duration::from_secs(2)).await;
        let known = client.workers();
        let known: Vec<_> = known.iter().filter(|worker| names.contains(&worker.name)).collect();
        let ids: Vec<WorkerId> = known.iter().map(|worker| worker.worker).collect();
        let ended = if ids.is_empty() { Vec::new() } else { client.retire_workers(&ids, None).await? };
        let stays = |name: &String| {
            let worker = known.iter().find(|worker| worker.name == *name)?;
            ended.iter().find_map(|(id, end)| match end {
                Retirement::Refused { reason } if *id == worker.worker => Some(reason.clone()),
                _ => None,
            })
        };
        let (staying, leaving): (Vec<&String>, Vec<&String>) = names.iter().partition(|name| stays(name).is_some());
        // Dropped outside of the lock: a process is waited for.
        let (processes, threads) = {
            let mut members = lock(&self.members);
            let leaves = |name: &str| leaving.iter().any(|leaving| **leaving == name);
            let processes: Vec<_> = members.processes.extract_if(.., |process| leaves(process.name())).collect();
            let threads: Vec<_> = members.threads.extract_if(.., |(name, _)| leaves(name)).collect();
            (processes, threads)
        };
        drop((processes, threads));
        match staying.first() {
            Some(name) => Err(Error::WorkerStays { name: (*name).clone(), reason: stays(name).unwrap_or_default() }),
            None => Ok(()),
        }
    }

    /// Starts and lets go workers as the work needs them, for as long as this is polled: beside the work, in
    /// `tokio::select!` or a task of its own.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use phalanx_engine::adaptive::AdaptiveOptions;
    /// use phalanx_runtime::{LocalCluster, LocalOptions};
    ///
    /// let cluster = LocalCluster::start(LocalOptions { n_workers: 0, n_threads: Some(1), ..LocalOptions::default() })?;
    /// let client = cluster.client().await?;
    /// let numbers = client.scatter(vec![1., 2.]); // waits for a worker
    /// tokio::select! {
    ///     done = numbers.done() => done?,
    ///     failed = cluster.adapt(AdaptiveOptions { max: 2, ..AdaptiveOptions::default() }) => failed?,
    /// }
    /// # Ok::<(), phalanx_runtime::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// When a worker cannot be started. One that cannot go stays.
    pub async fn adapt(&self, options: AdaptiveOptions) -> Result<()> {
        let client = self.join().await?;
        let up = async |n: usize| (0..n).try_for_each(|_| self.add_worker());
        let down = async |workers: Vec<WorkerId>| {
            let known = client.workers();
            let names = known.into_iter().filter(|known| workers.contains(&known.worker)).map(|known| known.name);
            match self.remove_workers(&names.collect::<Vec<_>>()).await {
                Err(Error::WorkerStays { .. }) => Ok(()),
                other => other,
            }
        };
        adapt(&client, options, up, down).await
    }

    async fn join(&self) -> Result<Client> {
        let options = ClientOptions {
            instruction_set: self.options.instruction_set.clone(),
            security: self.options.security.clone(),
            ..ClientOptions::default()
        };
        let io = self.io.as_ref().ok_or(Error::SchedulerLost)?;
        Client::join(self.scheduler.clone(), &options, io.handle().clone(), self.travels(), None).await
    }

    /// Where others can join, `tcp://127.0.0.1:40123`; none where the cluster listens nowhere.
    pub fn url(&self) -> Option<&str> {
        self.url.starts_with("tcp://").then_some(&*self.url)
    }

    /// The process numbers of the workers that run now; none for threads.
    pub fn process_ids(&self) -> Vec<u32> {
        lock(&self.members).processes.iter().filter_map(Supervisor::id).collect()
    }

    /// Ends everything and waits until it has ended: threads, sockets and processes, and the functions that are being
    /// run on threads, which cannot be stopped.
    ///
    /// Dropping the cluster does the same without waiting for running functions.
    pub async fn shutdown(mut self) {
        let pools: Vec<_> = lock(&self.sessions).drain(..).filter_map(|session| session.take_pool()).collect();
        let Members { processes, threads, .. } = std::mem::take(&mut *lock(&self.members));
        drop(threads);
        let io = self.io.take();
        let (done, ended) = oneshot::channel();
        let end = move || {
            processes.iter().for_each(Supervisor::begin_to_end);
            drop(processes);
            drop(io);
            pools.into_iter().for_each(|join| join());
            let _ = done.send(());
        };
        // On a thread of its own, since the caller's may have other futures to run.
        match std::thread::Builder::new().name("phalanx-ending".into()).spawn(end) {
            Ok(thread) => {
                let _ = ended.await;
                let _ = thread.join();
            }
            Err(error) => tracing::warn!(%error, "cannot wait for the cluster's end"),
        }
    }

    /// Whether values become bytes on their way to some worker.
    fn travels(&self) -> bool {
        self.url().is_some()
    }

    fn add_worker(&self) -> Result<()> {
        let mut members = lock(&self.members);
        let place = members.n_ever;
        let n_workers = self.options.n_workers.max(1);
        let options = WorkerOptions {
            n_threads: self.options.n_threads.unwrap_or_else(|| (n_cores() / n_workers).max(1)),
            name: format!("local-{place}"),
            instruction_set: self.options.instruction_set.clone(),
            security: self.options.security.clone(),
            // Where the scheduler is reached from, its workers are too.
            listen: self.url().and_then(|url| url.rsplit_once(':')).map(|(host, _)| format!("{host}:0")),
            resources: self.options.resources.clone(),
            memory_limit: self.options.memory_limit,
            spill_dir: self.options.spill_dir.clone(),
            ..WorkerOptions::default()
        };
        let Some(io) = &self.io else { return Ok(()) };
        if self.options.processes {
            // It loses a scheduler that is there only where it was taken for dead.
            let options = WorkerOptions { reconnect_for: Duration::from_secs(10), ..options };
            let (scheduler, restarts) = (self.scheduler.clone(), &self.options.restarts);
            let tell = |notice: &SupervisorNotice| tracing::warn!("{notice}");
            members.processes.push(Supervisor::start(io.handle(), scheduler, &self.url, &options, restarts, tell)?);
            members.n_ever += 1;
            return Ok(());
        }
        let scheduler = self.scheduler.clone();
        let sessions = Arc::clone(&self.sessions);
        let access = if self.travels() { Access::Both } else { Access::Pointer };
        let run = async move {
            let born = |session: &Arc<Session>| {
                let mut sessions = lock(&sessions);
                sessions.retain(|session| !session.is_over());
                sessions.push(Arc::clone(session));
            };
            match live(&scheduler, &options, access, None, born).await {
                // The scheduler ends with the cluster.
                Ok(()) | Err(Error::SchedulerLost) => {}
                Err(error) => tracing::error!(%error, "a local worker ended"),
            }
        };
        members.threads.push((format!("local-{place}"), Spawned::on(io.handle(), run)));
        members.n_ever += 1;
        Ok(())
    }
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        // All at once: each is waited for when it is dropped.
        lock(&self.members).processes.iter().for_each(Supervisor::begin_to_end);
    }
}
