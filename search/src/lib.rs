//! Choosing hyperparameters: grids, trials, results.
