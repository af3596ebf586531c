//! Changing data before an estimator sees them, by what was learned from the training data.
//!
//! [`TableEncoder`] comes first: it makes numbers of a table's columns, with names. [`StandardScaler`] works on the
//! numbers, as do [`NaturalSpline`] and [`Interactions`].

mod interactions;
pub(crate) mod missing;
mod one_hot;
mod parts;
mod raw;
mod scaler;
mod spline;
mod table;

pub use interactions::{FittedInteractions, Interactions};
pub use missing::{Fill, MISSING_LEVEL, Missing, drop_missing, drop_missing_rows};
pub use one_hot::{FittedOneHotEncoder, OneHotEncoder};
pub use parts::EncodedPart;
pub use raw::{RawRow, raw_rows};
pub use scaler::{FittedStandardScaler, StandardScaler};
pub(crate) use scaler::{Moments, moments};
pub(crate) use spline::Basis;
pub use spline::{FittedNaturalSpline, NaturalSpline};
pub(crate) use table::TableStats;
pub use table::{EncodedColumn, FittedTableEncoder, TableEncoder, Unseen};
