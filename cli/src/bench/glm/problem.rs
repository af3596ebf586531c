//! The numbers that GLMs are fitted to: drawn by a seed or read from a file, and written once for peers to read.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use ndarray::{Array1, Array2};
use phalanx_datasets::{make_classification, make_counts, make_regression};
use phalanx_glm::Family;
use tempfile::TempDir;

use super::files::DataFile;
use crate::{Error, Result};

/// Columns of what is drawn.
const N_FEATURES: usize = 50;
/// How much of each column is the one before it: neighbours are correlated by that, others by its powers.
const CORRELATION: f64 = 0.5;
const SEED: u64 = 20;

/// Where numbers come from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Source {
    /// Drawn: how y is distributed, and how many rows.
    Drawn(Family, usize),
    /// A file in the folder that the user names.
    File(DataFile),
}

/// Rows and what they are to predict.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) source: Source,
    pub(super) x: Array2<f64>,
    pub(super) y: Array1<f64>,
    /// How often each row counts; once where there are none.
    pub(super) weights: Option<Array1<f64>>,
    /// Where peers find them; removed when this is dropped.
    folder: Option<TempDir>,
}

impl Problem {
    /// The numbers of a source; files are in `data`.
    pub(super) fn of(source: Source, data: &Path) -> Result<Self> {
        match source {
            Source::Drawn(family, n_rows) => Self::draw(family, n_rows),
            Source::File(file) => {
                let rows = file.read(data)?;
                Ok(Self { source, x: rows.x, y: rows.y, weights: rows.weights, folder: None })
            }
        }
    }

    fn draw(family: Family, n_rows: usize) -> Result<Self> {
        let make = match family {
            Family::Binomial => make_classification(n_rows, N_FEATURES).scale(3.).bias(0.3),
            Family::Poisson => make_counts(n_rows, N_FEATURES).scale(1.).bias(0.3),
            _ => make_regression(n_rows, N_FEATURES).scale(1.).bias(0.3).noise(2.),
        };
        let made = make.n_informative(20).seed(SEED).in_memory().map_err(Error::failed)?;
        let mut x = made.x;
        // A linear map of the columns that loses nothing: the response is as linear in what comes out.
        let own = (1. - CORRELATION * CORRELATION).sqrt();
        for mut row in x.rows_mut() {
            for column in 1..row.len() {
                row[column] = CORRELATION * row[column - 1] + own * row[column];
            }
        }
        Ok(Self { source: Source::Drawn(family, n_rows), x, y: made.y, weights: None, folder: None })
    }

    /// What a mean over the rows is divided by.
    pub(super) fn total_weight(&self) -> f64 {
        self.weights.as_ref().map_or(self.y.len() as f64, Array1::sum)
    }

    /// The folder that peers read, with X, y and the weights in it as raw numbers.
    pub(super) fn folder(&mut self) -> Result<&Path> {
        if self.folder.is_none() {
            let failed = |error: io::Error| Error::failed(format!("cannot make a temporary folder: {error}"));
            let folder = tempfile::Builder::new().prefix("phalanx-bench-").tempdir().map_err(failed)?;
            write(&folder.path().join("x.f64"), self.x.iter())?;
            write(&folder.path().join("y.f64"), self.y.iter())?;
            if let Some(weights) = &self.weights {
                write(&folder.path().join("weights.f64"), weights.iter())?;
            }
            self.folder = Some(folder);
        }
        self.folder.as_ref().map(TempDir::path).ok_or_else(|| Error::failed("there is no temporary folder"))
    }
}

/// Writes numbers one after the other, the least byte first.
pub(super) fn write<'a>(path: &Path, numbers: impl IntoIterator<Item = &'a f64>) -> Result<()> {
    let all = || {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        numbers.into_iter().try_for_each(|number| file.write_all(&number.to_le_bytes()))?;
        file.flush()
    };
    all().map_err(|error| Error::file("write", path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_columns_are_correlated_and_the_files_hold_the_numbers() {
        let mut problem = Problem::draw(Family::Poisson, 4_000).expect("a problem");
        let products = |i: usize, j: usize| (&problem.x.column(i) * &problem.x.column(j)).sum() / 4_000.;
        assert!((products(30, 30) - 1.).abs() < 0.1 && (products(30, 31) - CORRELATION).abs() < 0.1);
        assert!(products(10, 40).abs() < 0.1 && problem.y.iter().all(|y| *y >= 0.));
        let first = problem.x[[0, 0]];
        let folder = problem.folder().expect("a folder").to_owned();
        let bytes = std::fs::read(folder.join("x.f64")).expect("the rows");
        assert_eq!((bytes.len(), bytes[..8].to_vec()), (4_000 * N_FEATURES * 8, first.to_le_bytes().to_vec()));
        drop(problem);
        assert!(!folder.exists());
    }

    #[test]
    fn weights_are_written_where_there_are_some() {
        let mut problem = Problem::draw(Family::Poisson, 500).expect("a problem");
        assert_eq!(problem.total_weight(), 500.);
        assert!(!problem.folder().expect("a folder").join("weights.f64").exists());
        (problem.folder, problem.weights) = (None, Some(Array1::from_elem(500, 0.5)));
        assert_eq!(problem.total_weight(), 250.);
        let bytes = std::fs::read(problem.folder().expect("a folder").join("weights.f64")).expect("the weights");
        assert_eq!(bytes, 0.5_f64.to_le_bytes().repeat(500));
    }
}
