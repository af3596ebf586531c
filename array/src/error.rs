//! What can be wrong with what arrays and tables are asked for.

/// Why an array or a table cannot do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two shapes do not fit together.
    #[error("{operation} needs shapes that fit: {left:?} and {right:?} do not; {hint}")]
    Shapes {
        /// What was to be done.
        operation: &'static str,
        /// Shape of the first operand.
        left: Vec<usize>,
        /// Shape of the second operand.
        right: Vec<usize>,
        /// What would fit.
        hint: &'static str,
    },
    /// An array has more or fewer axes than the operation knows.
    #[error("{operation} of an array of {n_axes} axes is not known; {hint}")]
    Axes {
        /// What was to be done.
        operation: &'static str,
        /// How many axes the array has.
        n_axes: usize,
        /// What to do instead.
        hint: &'static str,
    },
    /// There is no such axis.
    #[error("axis is {axis}, expected less than {n_axes}, the number of axes")]
    NoAxis {
        /// The axis asked for.
        axis: usize,
        /// How many axes there are.
        n_axes: usize,
    },
    /// A chunk does not begin at a panel border.
    #[error(
        "chunk {chunk} has {size} rows, expected a multiple of {}: only the last chunk of an axis may be ragged",
        crate::PANEL
    )]
    OffPanel {
        /// Which chunk.
        chunk: usize,
        /// Its size.
        size: usize,
    },
    /// The chunks do not add up to the axis.
    #[error("the chunks add up to {found}, expected {expected}, the length of the axis")]
    ChunkTotal {
        /// Length of the axis.
        expected: usize,
        /// Sum of the chunk sizes.
        found: usize,
    },
    /// A range reaches beyond its axis.
    #[error("the range {start}..{end} does not lie within 0..{len}")]
    Range {
        /// First row asked for.
        start: usize,
        /// Row after the last.
        end: usize,
        /// Rows there are.
        len: usize,
    },
    /// The operation needs at least one number.
    #[error("{operation} of no numbers is not defined: the array has shape {shape:?}")]
    Empty {
        /// What was to be done.
        operation: &'static str,
        /// The array's shape.
        shape: Vec<usize>,
    },
    /// A parameter is out of its range.
    #[error("{name} is {value}, expected {expected}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A table has no such column.
    #[error("there is no column {name:?}{}", nearest.as_ref().map(|n| format!("; did you mean {n:?}?")).unwrap_or_default())]
    NoColumn {
        /// The name asked for.
        name: String,
        /// The most similar name there is.
        nearest: Option<String>,
    },
    /// A column is of another kind than needed.
    #[error("column {name:?} is {found}, expected {expected}; {hint}")]
    ColumnKind {
        /// The column.
        name: String,
        /// What it holds.
        found: &'static str,
        /// What was needed.
        expected: &'static str,
        /// What to do instead.
        hint: &'static str,
    },
    /// The columns of a table do not fit its schema or each other.
    #[error("column {name:?} has {found}, expected {expected}")]
    Column {
        /// The column.
        name: String,
        /// What it has.
        found: String,
        /// What it should have.
        expected: String,
    },
}

/// The result of building arrays and tables.
pub type Result<T, E = Error> = std::result::Result<T, E>;
