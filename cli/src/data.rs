//! Which columns of which files: from names on a command line to a design matrix on the cluster.
//!
//! Knows nothing of estimators.

/// Data files, and the columns to take from them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Design {
    /// Files and patterns.
    pub(crate) data: Vec<String>,
    /// The column to predict.
    pub(crate) target: String,
    /// The columns to learn from.
    pub(crate) selection: Selection,
    /// Columns of numbers to treat as categories.
    pub(crate) categorical: Vec<String>,
}

/// The columns to learn from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selection {
    /// These.
    Features(Vec<String>),
    /// All but these and the target.
    Drop(Vec<String>),
}
