//! Phalanx acts: sockets, threads, processes, and the client.
//!
//! The shells around the machines of `phalanx-engine`: each hears events, tells its machine, and carries out what the
//! machine answers. What is decided is decided there; what is computed is computed by task functions. This crate
//! knows no array and no model, and prints nothing.
//!
//! ```
//! use phalanx_engine::task;
//! use phalanx_runtime::{Client, LocalCluster};
//!
//! #[task]
//! fn half(x: f64) -> f64 { x / 2. }
//!
//! #[task]
//! fn add(a: f64, b: f64) -> f64 { a + b }
//!
//! # fn main() -> Result<(), phalanx_runtime::Error> {
//! phalanx_runtime::init()?; // first thing in main: worker processes run this same program
//! let main = async {
//!     let cluster = LocalCluster::threads(2, 1)?; // or processes(2), or Client::connect("tcp://...")
//!     let client = cluster.client().await?;
//!     let halves = client.submit_all(&[half::delayed(3.), half::delayed(4.)]);
//!     let sum = add::delayed(&halves[0], &halves[1]); // the halves stay where they are
//!     assert_eq!(client.compute(&sum).await?, 3.5);
//!     Ok(())
//! };
//! # tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(main)
//! # }
//! ```
//!
//! | read | to learn |
//! |---|---|
//! | `client`, `remote`, [`blocking`] | what a program can ask for |
//! | `actor` | state on a worker, and calls that run there one after the other |
//! | `gang` | tasks that start together or not at all |
//! | `coordination` | locks, semaphores, events, queues and variables that a cluster knows by name |
//! | `local`, `process`, `supervisor` | how a program starts its own cluster, and keeps it running |
//! | `events` | what happens, as a stream |
//! | `inspect` | a task's story, and everything at once |
//! | `metrics` | counters for Prometheus |
//! | [`worker_client`], [`secede`] | how tasks submit tasks, and wait |
//! | `adaptive` | how a cluster grows and shrinks with its work |
//! | `scheduler`, `worker`, `peers` | the loops around the machines |
//! | `wire`, `transport` | how messages become bytes, and move |
//! | `security`, `opening`, `door`, `socket` | who is let in, and what others on the network can see |
//! | `pool`, `store`, `io` | the threads, the results, the clock |
//! | `memory`, `spill` | how much memory there is, and results on disk |

mod actor;
mod adaptive;
pub mod blocking;
mod client;
mod coordination;
mod door;
mod error;
mod events;
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzzing;
mod gang;
mod handshake;
mod inspect;
mod io;
mod journal;
mod local;
mod mailbox;
mod memory;
mod metrics;
mod opening;
mod patience;
mod peers;
mod pool;
mod process;
mod remote;
mod resources;
mod scheduler;
mod security;
mod socket;
mod spill;
mod store;
mod supervisor;
mod transport;
mod wire;
mod worker;
mod zero;

pub use actor::Actor;
pub use adaptive::adapt;
pub use client::{Client, ClientOptions, Notice};
pub use coordination::{Event, Lease, Lock, Queue, Semaphore, Variable};
pub use error::{Error, Result};
pub use events::{EventStream, Events};
pub use gang::{GangContext, GangOptions};
pub use handshake::instruction_set;
pub use inspect::Dump;
pub use local::{LocalCluster, LocalOptions};
pub use memory::MemoryLimit;
pub use metrics::metrics_address;
pub use pool::is_in_task;
pub use process::init;
pub use remote::{AsCompleted, Remote, RemoteFuture};
pub use resources::parse_resources;
pub use scheduler::{Scheduler, SchedulerOptions, run_scheduler};
pub use security::{Security, Tls, Token};
pub use supervisor::{RestartOptions, SupervisorNotice, run_supervised_worker};
pub use worker::{WorkerOptions, run_worker, secede, worker_client};
pub use zero::ZeroWorkers;
