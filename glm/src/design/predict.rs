//! Predictions from designs, in memory and in chunks.

use ndarray::Array1;
use phalanx_array::{ChunkedArray, simd};
use phalanx_engine::graph::Delayed;
use phalanx_learn::{Error, Predict, Result};
use sprs::CsMat;

use super::{ChunkedDesign, Design, tasks};
use crate::{GlmModel, PathModel};

impl Design {
    /// `intercept + x · coef` of each row.
    pub(super) fn linear_predictor(&self, coef: &[f64], intercept: f64) -> Result<Array1<f64>> {
        let layout = self.layout();
        if layout.n_features != coef.len() {
            return Err(Error::NFeatures { expected: coef.len(), found: layout.n_features });
        }
        let (dense, entries) = (self.dense_part(), self.entries());
        let weights = |columns: &[u32]| columns.iter().map(|&column| coef[column as usize]).collect::<Vec<_>>();
        let (of_dense, of_sparse) = (weights(&layout.dense), weights(&layout.sparse));
        let mut bad = None;
        let eta: Array1<f64> = simd::dispatch(
            #[inline(always)]
            || {
                let row = |(row, numbers): (usize, ndarray::ArrayView1<'_, f64>)| {
                    let mut look = |column: u32, value: f64| {
                        if !value.is_finite() && bad.is_none_or(|(at, before, _)| (row, column) < (at, before)) {
                            bad = Some((row, column, value));
                        }
                    };
                    let mut sum = intercept;
                    for ((x, b), &column) in numbers.iter().zip(&of_dense).zip(&layout.dense) {
                        look(column, *x);
                        sum += x * b;
                    }
                    entries.each(row, |column, value| {
                        look(layout.sparse[column as usize], value);
                        sum += value * of_sparse[column as usize];
                    });
                    sum
                };
                dense.rows().into_iter().enumerate().map(row).collect()
            },
        );
        match bad {
            None => Ok(eta),
            Some((row, column, value)) => {
                Err(Error::NotFinite { what: "X", row, column: Some(column as usize), value })
            }
        }
    }
}

impl Predict<&Design> for GlmModel {
    type Output = Array1<f64>;

    /// The mean of y for each row; for the binomial family the probability of 1.
    fn predict(&self, x: &Design) -> Result<Array1<f64>> {
        let link = self.link();
        Ok(x.linear_predictor(&self.coef().to_vec(), self.intercept())?.mapv(|eta| link.mean(eta)))
    }
}

impl Predict<&CsMat<f64>> for GlmModel {
    type Output = Array1<f64>;

    fn predict(&self, x: &CsMat<f64>) -> Result<Array1<f64>> {
        self.predict(&Design::new().sparse(x)?)
    }
}

impl Predict<&Design> for PathModel {
    type Output = Array1<f64>;

    /// The mean of y for each row at the chosen place.
    fn predict(&self, x: &Design) -> Result<Array1<f64>> {
        let (at, link) = (self.chosen(), self.link());
        Ok(x.linear_predictor(&at.coef, at.intercept)?.mapv(|eta| link.mean(eta)))
    }
}

impl Predict<&CsMat<f64>> for PathModel {
    type Output = Array1<f64>;

    fn predict(&self, x: &CsMat<f64>) -> Result<Array1<f64>> {
        self.predict(&Design::new().sparse(x)?)
    }
}

impl Predict<&ChunkedDesign> for GlmModel {
    type Output = ChunkedArray;

    /// Lazily, as an array of one axis; a number that is not finite fails when it is computed.
    fn predict(&self, x: &ChunkedDesign) -> Result<ChunkedArray> {
        expect(x, self.coef().len())?;
        let model = Delayed::value(self.clone());
        let blocks = x.blocks().iter().zip(x.rows().ranges());
        let blocks = blocks.map(|(block, rows)| tasks::predict::delayed(&model, block, rows.start)).collect();
        Ok(ChunkedArray::from_blocks(vec![x.rows().clone()], blocks)?)
    }
}

impl Predict<&ChunkedDesign> for PathModel {
    type Output = ChunkedArray;

    /// Lazily, as an array of one axis; a number that is not finite fails when it is computed.
    fn predict(&self, x: &ChunkedDesign) -> Result<ChunkedArray> {
        expect(x, self.chosen().coef.len())?;
        let model = Delayed::value(self.clone());
        let blocks = x.blocks().iter().zip(x.rows().ranges());
        let blocks = blocks.map(|(block, rows)| tasks::predict_path::delayed(&model, block, rows.start)).collect();
        Ok(ChunkedArray::from_blocks(vec![x.rows().clone()], blocks)?)
    }
}

fn expect(x: &ChunkedDesign, expected: usize) -> Result<()> {
    let found = x.columns().n_features();
    if found == expected { Ok(()) } else { Err(Error::NFeatures { expected, found }) }
}
