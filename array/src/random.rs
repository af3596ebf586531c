//! Random numbers that depend on the seed and the place in the array, and on nothing else.
//!
//! Every tile of [`PANEL`] rows and `PANEL` columns has its own stream of ChaCha8 and is filled row by row, so
//! the numbers are the same for any chunking.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};

use crate::{
    block::{Block, dims},
    panel::PANEL,
};

/// What random numbers are drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Distribution {
    Uniform { low: f64, high: f64 },
    Normal { mean: f64, std: f64 },
}

/// The random numbers of one chunk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Draw {
    pub(crate) seed: u64,
    pub(crate) distribution: Distribution,
    pub(crate) shape: Vec<usize>,
    /// Global indices of the chunk's first panel of rows and of columns.
    pub(crate) first_panel: (usize, usize),
}

pub(crate) fn draw(draw: &Draw) -> Block {
    let (n_rows, n_cols) = dims(&draw.shape);
    let mut values = vec![0.0; n_rows * n_cols];
    for row in (0..n_rows).step_by(PANEL) {
        for col in (0..n_cols).step_by(PANEL) {
            let mut random = ChaCha8Rng::seed_from_u64(draw.seed);
            let panel = (draw.first_panel.0 + row / PANEL, draw.first_panel.1 + col / PANEL);
            random.set_stream((panel.1 as u64) << 40 | panel.0 as u64);
            for row in row..n_rows.min(row + PANEL) {
                let cols = row * n_cols + col..row * n_cols + n_cols.min(col + PANEL);
                fill(&mut random, draw.distribution, &mut values[cols]);
            }
        }
    }
    Block::new(&draw.shape, values)
}

fn fill(random: &mut ChaCha8Rng, distribution: Distribution, out: &mut [f64]) {
    match distribution {
        Distribution::Uniform { low, high } => {
            let width = high - low;
            out.iter_mut().for_each(|out| *out = low + width * random.random::<f64>());
        }
        Distribution::Normal { mean, std } => {
            out.iter_mut().for_each(|out| *out = mean + std * random.sample::<f64, _>(StandardNormal));
        }
    }
}
