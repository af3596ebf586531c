//! The client machine as a specification: what it is told, and all that it answers.
