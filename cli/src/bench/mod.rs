//! `phalanx bench`: what this machine does, and peers beside it in the same run.
//!
//! Figures are shown, never judged: no test asserts a speed.

mod glm;
mod memory;
mod peers;
mod report;
mod runtime;
mod shapes;

pub(crate) use glm::glm;
pub(crate) use runtime::runtime;
