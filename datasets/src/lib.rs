//! Data to start with: readers and generators.
