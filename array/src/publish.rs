//! Arrays and tables that outlive the program that made them: how they are cut and what columns they have is kept
//! beside their chunks.

use phalanx_engine::{
    data::DataError,
    graph::{AnyDelayed, Delayed},
    publish::{Publish, broken, read_shape, write_shape},
};

use crate::{
    chunked::{ChunkedArray, Stored},
    chunks::Chunks,
    schema::Schema,
    table::Table,
};

const ARRAY: &str = "array of f64";
const TABLE: &str = "table";

impl Publish for ChunkedArray {
    fn shape(&self) -> Result<Vec<u8>, DataError> {
        let sizes: Vec<Vec<usize>> = self.expression.axes.iter().map(Chunks::sizes).collect();
        write_shape(ARRAY, &(sizes, self.transposed))
    }

    fn from_shape(shape: &[u8], outputs: Vec<AnyDelayed>) -> Result<Self, DataError> {
        let (sizes, transposed) = read_shape::<(Vec<Vec<usize>>, bool)>(ARRAY, shape)?;
        let n_chunks: usize = sizes.iter().map(Vec::len).try_fold(1, usize::checked_mul).unwrap_or(usize::MAX);
        let fits = sizes.len() <= 2 && (sizes.len() == 2 || !transposed) && n_chunks == outputs.len();
        if !fits {
            let n_axes = sizes.len();
            return Err(broken(ARRAY, &format!("{} results, expected {n_chunks} on {n_axes} axes", outputs.len())));
        }
        let axes = sizes.iter().map(|sizes| cuts(ARRAY, sizes)).collect::<Result<Vec<_>, _>>()?;
        let blocks = outputs.into_iter().map(Delayed::from_any).collect();
        let mut array = Self::from_stored(Stored::new(axes, blocks));
        array.transposed = transposed;
        Ok(array)
    }
}

impl Publish for Table {
    fn shape(&self) -> Result<Vec<u8>, DataError> {
        write_shape(TABLE, &(self.schema(), self.chunks().sizes()))
    }

    fn from_shape(shape: &[u8], outputs: Vec<AnyDelayed>) -> Result<Self, DataError> {
        let (schema, sizes) = read_shape::<(Schema, Vec<usize>)>(TABLE, shape)?;
        let rows = cuts(TABLE, &sizes)?;
        let blocks = outputs.into_iter().map(Delayed::from_any).collect();
        Self::new(schema, rows, blocks).map_err(|error| broken(TABLE, &error.to_string()))
    }
}

fn cuts(kind: &str, sizes: &[usize]) -> Result<Chunks, DataError> {
    Chunks::from_sizes(sizes).map_err(|error| broken(kind, &error.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use phalanx_engine::graph::Collection;

    use super::*;
    use crate::{Column, Field, TableBlock};

    #[test]
    fn arrays_come_back_cut_as_they_were_and_transposed_where_they_were() {
        let x = ChunkedArray::ones(&[1000, 600], 512).unwrap().rechunk(&[512, 256]).unwrap();
        for x in [x.clone(), x.t(), x.sum_axis(0).unwrap(), x.sum().unwrap()] {
            let back = ChunkedArray::from_shape(&Publish::shape(&x).unwrap(), x.outputs()).unwrap();
            assert_eq!((back.axes(), back.shape()), (x.axes(), x.shape()));
            let numbers = |array: &ChunkedArray| array.outputs().iter().map(AnyDelayed::number).collect::<Vec<_>>();
            assert_eq!(numbers(&back), numbers(&x));
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let x = ChunkedArray::ones(&[1000], 256).unwrap();
        let shape = Publish::shape(&x).unwrap();
        let said = |result: Result<ChunkedArray, DataError>| result.unwrap_err().to_string();
        assert!(said(ChunkedArray::from_shape(&shape, x.outputs()[1..].to_vec())).contains("3 results, expected 4"));
        let bad = write_shape(ARRAY, &(vec![vec![100_usize, 100]], false)).unwrap();
        assert!(said(ChunkedArray::from_shape(&bad, x.outputs()[2..].to_vec())).contains("256"));
        let huge = write_shape(ARRAY, &(vec![vec![256_usize]; 3], true)).unwrap();
        assert!(said(ChunkedArray::from_shape(&huge, x.outputs()[3..].to_vec())).contains("3 axes"));
        for end in 0..shape.len() {
            assert!(ChunkedArray::from_shape(&shape[..end], x.outputs()).is_err());
        }
        let table = Table::from_shape(&shape, x.outputs()).unwrap_err().to_string();
        assert!(table.contains("it is published as array of f64, and asked for as table"), "{table}");
    }

    #[test]
    fn tables_come_back_with_their_columns() {
        let schema = Schema::new(vec![Field::number("age"), Field::categorical("city", ["Basel", "Ulm"])]).unwrap();
        let block = TableBlock::new(vec![Column::number(vec![1.0; 300]), Column::categorical(vec![1; 300])]).unwrap();
        let table = Table::from_block(schema, block, 256).unwrap();
        let back = Table::from_shape(&Publish::shape(&table).unwrap(), table.outputs()).unwrap();
        assert_eq!((back.schema(), back.chunks()), (table.schema(), table.chunks()));
    }
}
