//! A program of a user: a task of its own, run by processes of this same program.

use std::error::Error;

use phalanx::{prelude::*, runtime::LocalOptions};

/// The square of a number, and the process that computed it.
#[task]
fn square(x: u64) -> (u64, u32) {
    (x * x, std::process::id())
}

fn main() -> Result<(), Box<dyn Error>> {
    phalanx::init()?;
    let options = LocalOptions { n_workers: 2, n_threads: Some(1), processes: true, ..LocalOptions::default() };
    let client = blocking::Client::local_with(options)?;
    let squares: Vec<Delayed<(u64, u32)>> = (1..=100).map(square::delayed).collect();
    let answers = client.wait(client.compute(&squares))?;
    let sum: u64 = answers.iter().map(|(square, _)| square).sum();
    assert!(answers.iter().all(|(_, process)| *process != std::process::id()));
    println!("{sum} from {} workers", client.workers().len());
    Ok(())
}
