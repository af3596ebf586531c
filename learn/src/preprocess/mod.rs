//! Changing data before an estimator sees them, by what was learned from the training data.
//!
//! [`TableEncoder`] comes first: it makes numbers of a table's columns, with names. [`StandardScaler`] works on the
//! numbers.

mod one_hot;
mod parts;
mod raw;
mod scaler;
mod table;

pub use one_hot::{FittedOneHotEncoder, OneHotEncoder};
pub use parts::EncodedPart;
pub use raw::{RawRow, raw_rows};
pub use scaler::{FittedStandardScaler, StandardScaler};
pub(crate) use scaler::{Moments, moments};
pub(crate) use table::TableStats;
pub use table::{EncodedColumn, FittedTableEncoder, TableEncoder, Unseen};
