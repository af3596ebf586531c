//! Distributed machine learning for Rust.
