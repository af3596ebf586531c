//! The phalanx program as a library.
