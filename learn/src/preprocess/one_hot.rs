//! Categories as columns of 0 and 1, without the numbers beside them.

use ndarray::Array2;
use phalanx_array::{Kind, Schema, TableBlock};
use serde::{Deserialize, Serialize};

use super::{FittedTableEncoder, TableEncoder, Unseen};
use crate::{Error, Fit, Result, Transform};

/// Makes a column of 0 and 1 of each level of a table's categorical columns.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `columns` | none, all categorical ones | the columns to encode, in this order | categorical columns |
/// | `drop_first` | true | leave out the first level in sorted order | |
/// | `unseen` | `error` | what to do with a level that was not there at fit | `error`, `ignore` |
///
/// ```
/// use ndarray::array;
/// use phalanx_array::{Column, Field, Schema, TableBlock};
/// use phalanx_learn::{Fit, Transform, preprocess::OneHotEncoder};
///
/// # fn main() -> phalanx_learn::Result<()> {
/// let schema = Schema::new(vec![Field::number("age"), Field::categorical("city", ["Ulm", "Basel", "Graz"])])?;
/// let block = TableBlock::new(vec![Column::number(vec![1., 2., 3.]), Column::categorical(vec![0, 1, 2])])?;
/// let encoder = OneHotEncoder::new().fit((&schema, &block), ())?;
/// assert_eq!(encoder.feature_names(), ["city=Graz", "city=Ulm"]);
/// assert_eq!(encoder.transform((&schema, &block))?, array![[0., 1.], [0., 0.], [1., 0.]]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OneHotEncoder {
    /// The columns to encode, in this order; none for all categorical ones.
    pub columns: Option<Vec<String>>,
    /// Leave out the first level.
    pub drop_first: bool,
    /// What to do with a level that was not there at fit.
    pub unseen: Unseen,
}

/// What a [`OneHotEncoder`] has learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FittedOneHotEncoder(FittedTableEncoder);

impl Default for OneHotEncoder {
    fn default() -> Self {
        Self { columns: None, drop_first: true, unseen: Unseen::Error }
    }
}

impl OneHotEncoder {
    /// All categorical columns, first levels dropped, unseen levels refused.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the columns to encode, and their order.
    #[must_use]
    pub fn columns<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// Sets whether the first level is left out.
    #[must_use]
    pub const fn drop_first(mut self, drop_first: bool) -> Self {
        self.drop_first = drop_first;
        self
    }

    /// Sets what to do with a level that was not there at fit.
    #[must_use]
    pub const fn unseen(mut self, unseen: Unseen) -> Self {
        self.unseen = unseen;
        self
    }

    fn table_encoder(&self, schema: &Schema) -> Result<TableEncoder> {
        let is_categorical = |name: &&str| schema.field(name).is_ok_and(|f| matches!(f.kind, Kind::Categorical { .. }));
        let columns = match &self.columns {
            None => schema.names().filter(is_categorical).map(str::to_owned).collect(),
            Some(columns) => columns.clone(),
        };
        for name in &columns {
            let field = schema.field(name)?;
            if !is_categorical(&name.as_str()) {
                return Err(Error::Array(phalanx_array::Error::Column {
                    name: name.clone(),
                    found: format!("{} values", field.kind.name()),
                    expected: "categorical ones".to_owned(),
                }));
            }
        }
        let (drop_first, unseen) = (self.drop_first, self.unseen);
        Ok(TableEncoder { columns: Some(columns), drop_first, unseen, ..TableEncoder::default() })
    }
}

impl FittedOneHotEncoder {
    /// The names of the new columns, `column=level`, in order.
    pub fn feature_names(&self) -> Vec<String> {
        self.0.feature_names()
    }

    /// The same as an encoder of tables, with the levels of each column.
    pub const fn as_table_encoder(&self) -> &FittedTableEncoder {
        &self.0
    }
}

impl Fit<(&Schema, &TableBlock), ()> for OneHotEncoder {
    type Model = FittedOneHotEncoder;

    fn fit(&self, (schema, block): (&Schema, &TableBlock), (): ()) -> Result<FittedOneHotEncoder> {
        self.table_encoder(schema)?.fit((schema, block), ()).map(FittedOneHotEncoder)
    }
}

impl Transform<(&Schema, &TableBlock)> for FittedOneHotEncoder {
    type Output = Array2<f64>;

    fn transform(&self, table: (&Schema, &TableBlock)) -> Result<Array2<f64>> {
        self.0.transform(table)
    }
}

#[cfg(test)]
mod tests {
    use phalanx_array::{Column, Field};

    use super::*;

    #[test]
    fn a_numeric_column_is_refused() {
        let schema = Schema::new(vec![Field::number("age")]).expect("a schema");
        let block = TableBlock::new(vec![Column::number(vec![1.])]).expect("a block");
        let error = OneHotEncoder::new().columns(["age"]).fit((&schema, &block), ()).expect_err("refused").to_string();
        assert_eq!(error, "column \"age\" has numeric values, expected categorical ones");
    }
}
