//! The lazy table: a schema, where the rows are cut, and the tasks that make each part.
//!
//! Readers describe one task a chunk; encoders build on [`Table::blocks`]. Files and estimators are not known here.

use std::{fmt, ops::Range, sync::Arc};

use phalanx_engine::{
    data::DataError,
    graph::{AnyDelayed, Collection, Delayed},
    value::Value,
};

use crate::{
    block::{Block, broken},
    chunked::{ChunkedArray, Shared, Stored, bytes_of},
    chunks::Chunks,
    error::{Error, Result},
    schema::{Kind, Schema},
    table_block::TableBlock,
    tasks,
};

/// A lazy table of named columns, its rows cut into chunks on [`PANEL`](crate::PANEL) borders.
///
/// Computing it brings one [`TableBlock`] home, whose columns [`schema`](Self::schema) names.
///
/// ```
/// use phalanx_array::{Column, Field, Schema, Table, TableBlock};
///
/// # fn main() -> phalanx_array::Result<()> {
/// let schema = Schema::new(vec![Field::number("age"), Field::categorical("city", ["Basel", "Ulm"])])?;
/// let block = TableBlock::new(vec![Column::number(vec![31.0, 47.0]), Column::categorical(vec![1, 0])])?;
/// let table = Table::from_block(schema, block, 256)?;
/// assert_eq!(table.column("age")?.shape(), [2]);
/// let error = table.select(&["agee"]).unwrap_err();
/// assert_eq!(error.to_string(), r#"there is no column "agee"; did you mean "age"?"#);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Table {
    schema: Arc<Schema>,
    rows: Chunks,
    blocks: Vec<Delayed<TableBlock>>,
}

impl Table {
    /// A table of parts that tasks make, one for each chunk of `rows`.
    ///
    /// # Errors
    /// When there are not as many parts as chunks.
    pub fn new(schema: impl Into<Arc<Schema>>, rows: Chunks, blocks: Vec<Delayed<TableBlock>>) -> Result<Self> {
        if blocks.len() != rows.n_chunks() {
            return Err(Error::Parameter {
                name: "number of blocks",
                value: blocks.len().to_string(),
                expected: "as many as the rows have chunks",
            });
        }
        Ok(Self { schema: schema.into(), rows, blocks })
    }

    /// Cuts a table that is here into chunks of `chunk_rows` rows.
    ///
    /// # Errors
    /// When the block's columns are not those of the schema, or `chunk_rows` is no positive multiple of
    /// [`PANEL`](crate::PANEL) (unless one chunk holds all rows).
    pub fn from_block(schema: impl Into<Arc<Schema>>, block: TableBlock, chunk_rows: usize) -> Result<Self> {
        let schema = schema.into();
        schema.check(&block)?;
        let rows = Chunks::uniform(block.n_rows(), chunk_rows)?;
        let blocks = rows.ranges().map(|rows| Delayed::value(block.rows(rows))).collect();
        Ok(Self { schema, rows, blocks })
    }

    /// The columns.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// How many rows.
    pub fn n_rows(&self) -> usize {
        self.rows.len()
    }

    /// How the rows are cut.
    pub const fn chunks(&self) -> &Chunks {
        &self.rows
    }

    /// The chunks as results to build further tasks on.
    pub fn blocks(&self) -> &[Delayed<TableBlock>] {
        &self.blocks
    }

    /// Some of the columns, in the given order.
    ///
    /// # Errors
    /// When a column does not exist or is given twice.
    pub fn select<S: AsRef<str>>(&self, names: &[S]) -> Result<Self> {
        let places = self.places(names)?;
        self.select_places(places)
    }

    /// All columns but some.
    ///
    /// # Errors
    /// When a column does not exist.
    pub fn drop<S: AsRef<str>>(&self, names: &[S]) -> Result<Self> {
        let dropped = self.places(names)?;
        self.select_places((0..self.schema.len()).filter(|place| !dropped.contains(place)).collect())
    }

    /// A column of numbers as an array of one axis; missing numbers are NaN.
    ///
    /// # Errors
    /// When the column does not exist or holds categories.
    pub fn column(&self, name: &str) -> Result<ChunkedArray> {
        let place = self.number_place(name)?;
        let place = Delayed::value(place);
        Ok(self.array(vec![self.rows.clone()], |block| tasks::column::delayed(block, &place)))
    }

    /// Columns of numbers side by side, as an array of two axes; missing numbers are NaN.
    ///
    /// # Errors
    /// When a column does not exist or holds categories.
    pub fn numbers<S: AsRef<str>>(&self, names: &[S]) -> Result<ChunkedArray> {
        let places: Vec<_> = names.iter().map(|name| self.number_place(name.as_ref())).collect::<Result<_>>()?;
        let axes = vec![self.rows.clone(), Chunks::single(places.len())];
        let places = Delayed::value(places);
        Ok(self.array(axes, |block| tasks::numbers::delayed(block, &places)))
    }

    /// Rows `rows.start` up to `rows.end`. They are a table of their own: panels are counted from its first row.
    ///
    /// # Errors
    /// When the range reaches beyond the rows.
    pub fn slice_rows(&self, rows: Range<usize>) -> Result<Self> {
        let len = self.n_rows();
        if rows.start > rows.end || rows.end > len {
            return Err(Error::Range { start: rows.start, end: rows.end, len });
        }
        let chunks = self.rows.like(rows.len());
        Ok(self.cut(chunks, rows.start))
    }

    /// The same table in chunks of `chunk_rows` rows.
    ///
    /// # Errors
    /// When `chunk_rows` is no positive multiple of [`PANEL`](crate::PANEL) (unless one chunk holds all rows).
    pub fn rechunk(&self, chunk_rows: usize) -> Result<Self> {
        Ok(self.cut(Chunks::uniform(self.n_rows(), chunk_rows)?, 0))
    }

    fn places<S: AsRef<str>>(&self, names: &[S]) -> Result<Vec<usize>> {
        names.iter().map(|name| self.schema.position(name.as_ref())).collect()
    }

    fn number_place(&self, name: &str) -> Result<usize> {
        let place = self.schema.position(name)?;
        match self.schema.fields()[place].kind {
            Kind::Number => Ok(place),
            Kind::Categorical { .. } => Err(Error::ColumnKind {
                name: name.into(),
                found: "categorical",
                expected: "numeric",
                hint: "encode it first, for example with OneHotEncoder, or drop it",
            }),
        }
    }

    fn select_places(&self, places: Vec<usize>) -> Result<Self> {
        let schema = Arc::new(self.schema.select(&places)?);
        let places = Delayed::value(places);
        let blocks = self.blocks.iter().map(|block| tasks::select::delayed(block, &places)).collect();
        Ok(Self { schema, rows: self.rows.clone(), blocks })
    }

    fn array(&self, axes: Vec<Chunks>, function: impl Fn(&Delayed<TableBlock>) -> Delayed<Block>) -> ChunkedArray {
        let width = axes.get(1).map_or(1, Chunks::len);
        let block = |(block, rows): (_, Range<usize>)| function(block).expected_bytes(bytes_of(&[rows.len(), width]));
        let blocks = self.blocks.iter().zip(self.rows.ranges()).map(block).collect();
        ChunkedArray::from_stored(Stored::new(axes, blocks))
    }

    /// The rows from `first` on, cut as `chunks`.
    fn cut(&self, chunks: Chunks, first: usize) -> Self {
        let mut constants = Shared::default();
        let blocks = chunks.ranges().map(|rows| {
            let parts: Vec<_> = self.rows.overlaps(first + rows.start..first + rows.end).collect();
            match &parts[..] {
                [(chunk, part)] if *part == (0..self.rows.range(*chunk).len()) => self.blocks[*chunk].clone(),
                // Even no rows need a block that has the columns.
                [] => tasks::stack::delayed(constants.get(std::iter::once(0..0).collect()), &self.blocks[..1]),
                parts => {
                    let sources: Vec<_> = parts.iter().map(|(chunk, _)| self.blocks[*chunk].clone()).collect();
                    let ranges = parts.iter().map(|(_, rows)| rows.clone()).collect();
                    tasks::stack::delayed(constants.get(ranges), sources)
                }
            }
        });
        let blocks = blocks.collect();
        Self { schema: Arc::clone(&self.schema), rows: chunks, blocks }
    }
}

impl Collection for Table {
    type Output = TableBlock;

    fn outputs(&self) -> Vec<AnyDelayed> {
        self.blocks.iter().map(|block| block.any().clone()).collect()
    }

    fn assemble(&self, values: Vec<Value>) -> Result<TableBlock, DataError> {
        let parts = values
            .into_iter()
            .map(|value| value.take::<TableBlock>().map(Arc::unwrap_or_clone))
            .collect::<Result<Vec<_>, _>>()?;
        let sizes: Vec<_> = parts.iter().map(TableBlock::n_rows).collect();
        if sizes != self.rows.sizes() {
            return Err(broken(format!("parts of {sizes:?} rows, expected {:?}", self.rows.sizes())));
        }
        let whole = TableBlock::concatenate(&parts).map_err(|error| broken(error.to_string()))?;
        self.schema.check(&whole).map_err(|error| broken(error.to_string()))?;
        Ok(whole)
    }

    fn rebuild(&self, outputs: Vec<AnyDelayed>) -> Self {
        let blocks = outputs.into_iter().map(Delayed::from_any).collect();
        Self { schema: Arc::clone(&self.schema), rows: self.rows.clone(), blocks }
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.schema.names().collect();
        write!(f, "Table({} rows of {names:?}, {:?})", self.n_rows(), self.rows)
    }
}
