//! Linear models: families, penalties, solvers.
