//! The numbers that GLMs are fitted to: drawn by a seed, and written once for peers to read.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use ndarray::{Array1, Array2};
use phalanx_datasets::{make_classification, make_counts, make_regression};
use phalanx_glm::Family;
use tempfile::TempDir;

use crate::{Error, Result};

/// Columns of every problem.
pub(super) const N_FEATURES: usize = 50;
/// How much of each column is the one before it: neighbours are correlated by that, others by its powers.
const CORRELATION: f64 = 0.5;
const SEED: u64 = 20;

/// Rows and what they are to predict.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) family: Family,
    pub(super) x: Array2<f64>,
    pub(super) y: Array1<f64>,
    /// Where peers find them; removed when this is dropped.
    folder: Option<TempDir>,
}

impl Problem {
    pub(super) fn draw(family: Family, n_rows: usize) -> Result<Self> {
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
        Ok(Self { family, x, y: made.y, folder: None })
    }

    /// The folder that peers read, with X and y in it as raw numbers.
    pub(super) fn folder(&mut self) -> Result<&Path> {
        if self.folder.is_none() {
            let failed = |error: io::Error| Error::failed(format!("cannot make a temporary folder: {error}"));
            let folder = tempfile::Builder::new().prefix("phalanx-bench-").tempdir().map_err(failed)?;
            write(&folder.path().join("x.f64"), self.x.iter())?;
            write(&folder.path().join("y.f64"), self.y.iter())?;
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
}
