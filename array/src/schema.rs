//! What the columns of a table are called and what they hold.
//!
//! Where the rows are is not known here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    table_block::{Column, MISSING, TableBlock},
};

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Kind {
    /// Numbers.
    Number,
    /// Categories, with their levels in the order of the codes.
    Categorical {
        /// The text of every level.
        levels: Vec<String>,
    },
}

impl Kind {
    /// What it is, in a word.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Number => "numeric",
            Self::Categorical { .. } => "categorical",
        }
    }
}

/// A column's name and kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// The name, unique in its table.
    pub name: String,
    /// What the column holds.
    pub kind: Kind,
}

impl Field {
    /// A column of numbers.
    pub fn number(name: impl Into<String>) -> Self {
        Self { name: name.into(), kind: Kind::Number }
    }

    /// A column of categories.
    pub fn categorical<S: Into<String>>(name: impl Into<String>, levels: impl IntoIterator<Item = S>) -> Self {
        Self { name: name.into(), kind: Kind::Categorical { levels: levels.into_iter().map(Into::into).collect() } }
    }
}

/// The columns of a table.
///
/// ```
/// use phalanx_array::{Field, Schema};
/// let schema = Schema::new(vec![Field::number("age"), Field::categorical("city", ["Basel", "Ulm"])]).unwrap();
/// assert_eq!(schema.position("city"), Ok(1));
/// assert_eq!(schema.position("cty").unwrap_err().to_string(), r#"there is no column "cty"; did you mean "city"?"#);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<Field>", into = "Vec<Field>")]
pub struct Schema {
    fields: Vec<Field>,
    places: BTreeMap<String, usize>,
}

impl Schema {
    /// A schema of the given columns.
    ///
    /// # Errors
    /// When two have one name.
    pub fn new(fields: Vec<Field>) -> Result<Self> {
        let mut places = BTreeMap::new();
        for (place, field) in fields.iter().enumerate() {
            if let Some(first) = places.insert(field.name.clone(), place) {
                return Err(Error::Column {
                    name: field.name.clone(),
                    found: format!("places {first} and {place}"),
                    expected: "a name of its own".into(),
                });
            }
        }
        Ok(Self { fields, places })
    }

    /// All columns in order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// How many columns.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there are no columns.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The columns' names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|field| field.name.as_str())
    }

    /// The place of a column.
    ///
    /// # Errors
    /// When there is no such column; the error has the nearest name.
    pub fn position(&self, name: &str) -> Result<usize> {
        self.places
            .get(name)
            .copied()
            .ok_or_else(|| Error::NoColumn { name: name.into(), nearest: nearest(name, self.names()).map(Into::into) })
    }

    /// A column by name.
    ///
    /// # Errors
    /// As [`position`](Self::position).
    pub fn field(&self, name: &str) -> Result<&Field> {
        self.position(name).map(|place| &self.fields[place])
    }

    /// Some of the columns, in the given order.
    ///
    /// # Panics
    /// When there is no such column.
    ///
    /// # Errors
    /// When one is given twice.
    pub fn select(&self, places: &[usize]) -> Result<Self> {
        Self::new(places.iter().map(|place| self.fields[*place].clone()).collect())
    }

    /// Checks that a block has these columns and no code without a level.
    ///
    /// # Errors
    /// Names the first column that differs.
    pub fn check(&self, block: &TableBlock) -> Result<()> {
        if block.n_columns() != self.len() {
            return Err(Error::Column {
                name: self.fields.get(block.n_columns()).map_or_else(|| "after the last".into(), |f| f.name.clone()),
                found: format!("a block of {} columns", block.n_columns()),
                expected: format!("one of {}", self.len()),
            });
        }
        for (field, column) in self.fields.iter().zip(block.columns()) {
            let wrong = |found: String, expected: String| Error::Column { name: field.name.clone(), found, expected };
            match (&field.kind, column) {
                (Kind::Number, Column::Number { .. }) => {}
                (Kind::Categorical { levels }, Column::Categorical { codes }) => {
                    let unknown = codes.iter().find(|code| **code as usize >= levels.len() && **code != MISSING);
                    if let Some(code) = unknown {
                        return Err(wrong(format!("code {code}"), format!("less than its {} levels", levels.len())));
                    }
                }
                (kind, column) => {
                    return Err(wrong(format!("{} values", column.kind_name()), format!("{} ones", kind.name())));
                }
            }
        }
        Ok(())
    }
}

impl TryFrom<Vec<Field>> for Schema {
    type Error = Error;

    fn try_from(fields: Vec<Field>) -> Result<Self> {
        Self::new(fields)
    }
}

impl From<Schema> for Vec<Field> {
    fn from(schema: Schema) -> Self {
        schema.fields
    }
}

/// The name most similar to `name`, where one is similar at all: for "did you mean".
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let similarity = |other: &str| strsim::jaro_winkler(&name.to_lowercase(), &other.to_lowercase());
    let scored = known.into_iter().map(|other| (similarity(other), other)).filter(|(score, _)| *score > 0.7);
    // The first of equals, so that the answer does not depend on anything but the order of the names.
    scored.reduce(|best, other| if other.0 > best.0 { other } else { best }).map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_is_used_once() {
        let error = Schema::new(vec![Field::number("a"), Field::number("a")]).unwrap_err();
        assert_eq!(error.to_string(), "column \"a\" has places 0 and 1, expected a name of its own");
    }

    #[test]
    fn a_schema_survives_the_wire() {
        let schema = Schema::new(vec![Field::number("a"), Field::categorical("b", ["x", "y"])]).unwrap();
        let bytes = postcard::to_stdvec(&schema).unwrap();
        assert_eq!(postcard::from_bytes::<Schema>(&bytes).unwrap(), schema);
    }

    #[test]
    fn a_block_is_held_against_its_schema() {
        let schema = Schema::new(vec![Field::number("a"), Field::categorical("b", ["x", "y"])]).unwrap();
        let block = |codes| TableBlock::new(vec![Column::number(vec![1.0, 2.0]), Column::categorical(codes)]).unwrap();
        assert_eq!(schema.check(&block(vec![1, MISSING])), Ok(()));
        let error = schema.check(&block(vec![2, 0])).unwrap_err();
        assert_eq!(error.to_string(), "column \"b\" has code 2, expected less than its 2 levels");
        let error = schema.check(&block(vec![0, 0]).select(&[1, 0])).unwrap_err();
        assert_eq!(error.to_string(), "column \"a\" has categorical values, expected numeric ones");
        assert!(schema.check(&block(vec![0, 0]).select(&[0])).is_err());
    }

    #[test]
    fn nothing_similar_is_no_suggestion() {
        assert_eq!(nearest("zzz", ["age", "city"]), None);
        assert_eq!(nearest("Age", ["city", "age"]), Some("age"));
    }
}
