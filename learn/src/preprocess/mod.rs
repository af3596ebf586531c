//! Changing data before an estimator sees them, by what was learned from the training data.

mod scaler;

pub use scaler::{FittedStandardScaler, StandardScaler};
