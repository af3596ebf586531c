//! Phalanx counts: lazy chunked arrays and tables, and the kernels on one block.

pub mod panel;
