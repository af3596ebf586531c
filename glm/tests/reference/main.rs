//! Every solver against the answers of other programs, on real data and on data made to break careless solvers.
#![allow(unreachable_pub, clippy::unwrap_used)]

mod answers;
mod chunked;
mod designs;
mod edges;
mod families;
mod penalised;
mod unpenalised;
