//! The `phalanx` program as its users meet it: commands in, files and exit codes out.

mod bad_input;
mod cluster;
mod commands;
mod fit_glm;
mod fit_glm_classes;
mod fit_glm_formula;
mod fit_glm_inference;
mod fit_glm_large;
mod fit_glm_missing;
mod fit_glm_path;
mod fit_glm_refused;
mod keys;
mod seeing;
mod support;
mod sweep;
