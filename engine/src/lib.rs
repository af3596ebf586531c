//! Phalanx decides: task graphs, ids, messages, and the machines of the scheduler, the workers and the clients.
//!
//! ```text
//!             events, a time                       events, a time
//!    client ────────────────►  scheduler machine  ◄──────────────── worker machine
//!           ◄────────────────                     ────────────────►
//!                commands                              commands
//! ```
//!
//! Nothing in here opens a socket, reads a clock, starts a thread or touches a file. A machine is told what
//! happened and when, and answers with what must be done; the `runtime` crate does it.
//!
//! | read | to learn |
//! |---|---|
//! | [`id`], [`time`] | how things are named and when they happen |
//! | [`value`], [`data`] | what tasks take and give, by pointer or as bytes |
//! | [`task`](mod@task), [`graph`] | how a function is found, and how work is described |
//! | [`publish`] | which collections outlive the program that made them |
//! | [`message`] | everything that programs say to each other |
//! | [`request`] | what clients ask about the cluster, and the answers |
//! | [`scheduler`], [`worker`], [`client`] | the three machines |
//! | [`journal`] | what a scheduler writes down to survive its death |
//! | [`serve`] | how many get a large result from one worker at once |
//! | [`adaptive`] | how many workers there should be |
//! | [`event`] | what has happened, for logs and timelines |
//! | [`death`] | what is known of a worker's end |
//! | [`inspect`] | what a running scheduler can be asked about itself |

// `#[task]` writes paths that begin with the crate's name, also inside this crate's own tests.
extern crate self as phalanx_engine;

pub mod actor;
pub mod adaptive;
pub mod client;
pub mod coordination;
pub mod data;
pub mod death;
pub mod dense;
pub mod event;
mod fetch;
mod few;
pub mod graph;
pub mod id;
pub mod inspect;
pub mod journal;
pub mod message;
pub mod publish;
pub mod request;
pub mod scheduler;
pub mod serve;
pub mod task;
pub mod time;
pub mod value;
pub mod worker;

/// What `#[task]` refuses, it refuses when compiling:
///
/// ```compile_fail
/// # use phalanx_engine::task;
/// #[task]
/// fn largest<T: Ord>(a: T, b: T) -> T { a.max(b) } // no one type to register
/// ```
///
/// ```compile_fail
/// # use phalanx_engine::task;
/// #[task]
/// fn push(value: f64, values: &mut Vec<f64>) { values.push(value) } // only an actor, the first argument, is changed
/// ```
///
/// ```compile_fail
/// # use phalanx_engine::task;
/// #[task]
/// fn half(a: f64) -> f64 { a / 2. }
/// half::delayed("text"); // not a number, nor another task's number
/// ```
#[doc(inline)]
pub use phalanx_macros::task;
