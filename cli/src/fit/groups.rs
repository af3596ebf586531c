//! The group lasso's groups, by the names of columns.
//!
//! Names are held against each other here, before any data are read, and against the data when they are known.

use phalanx_learn::preprocess::FittedTableEncoder;

use super::estimator::unknown_column;
use crate::{Error, Result};

const PARAMETER: &str = "penalty_group";

/// The columns of each group.
#[derive(Debug)]
pub(super) struct Groups(Vec<Vec<String>>);

impl Groups {
    /// Reads `column,column` for each group, each column once.
    pub(super) fn of(texts: &[String]) -> Result<Self> {
        let mut groups: Vec<Vec<String>> = Vec::new();
        for text in texts {
            let columns: Vec<String> = text.split(',').map(|column| column.trim().to_owned()).collect();
            if columns.iter().any(String::is_empty) {
                return Err(Error::usage(format!("{PARAMETER} is {text:?}, expected COLUMN,COLUMN")));
            }
            groups.push(columns);
        }
        let all: Vec<&String> = groups.iter().flatten().collect();
        if let Some((_, twice)) = all.iter().enumerate().find(|(place, column)| all[..*place].contains(column)) {
            return Err(Error::usage(format!("{PARAMETER} names {twice:?} twice, expected each column in one group")));
        }
        Ok(Self(groups))
    }

    /// The group of each column of the model; none at all where none was named.
    pub(super) fn spread(&self, encoder: &FittedTableEncoder, names: &[String]) -> Result<Vec<usize>> {
        if self.0.is_empty() {
            return Ok(Vec::new());
        }
        // Columns that were not named are groups of one, which are numbered after the others.
        let mut spread: Vec<usize> = (self.0.len()..).take(names.len()).collect();
        let mut owner: Vec<Option<&str>> = vec![None; names.len()];
        for (group, columns) in self.0.iter().enumerate() {
            for column in columns {
                let places = match encoder.features_of(column) {
                    Some(places) => places,
                    None => match names.iter().position(|name| name == column) {
                        Some(place) => place..place + 1,
                        None => return Err(unknown_column(PARAMETER, column, encoder, names)),
                    },
                };
                for place in places {
                    if let Some(other) = owner[place].replace(column) {
                        let name = &names[place];
                        let message =
                            format!("{PARAMETER} names {name:?} in {other:?} and in {column:?}, expected one");
                        return Err(Error::failed(message));
                    }
                    spread[place] = group;
                }
            }
        }
        Ok(spread)
    }
}
