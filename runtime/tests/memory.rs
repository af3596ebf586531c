//! Work that is four times as large as the memory budget, on worker processes whose resident memory is looked at.
//!
//! `PHALANX_MEMORY_MIB` is the budget of all workers together in MiB, 64 if unset. The harness is our own, since `main`
//! must begin with `init()`.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path, process::ExitCode, sync::Arc};

use libtest_mimic::{Arguments, Failed, Trial};
use phalanx_engine::{
    data::{Buffer, Data, DataError},
    graph::Delayed,
    task,
    value::Portable,
};
use phalanx_runtime::{Error, LocalCluster, LocalOptions, MemoryLimit};

/// Rows and columns of a tile, which is then 1 MiB.
const SIDE: usize = 362;

fn main() -> ExitCode {
    phalanx_runtime::init().unwrap();
    let test = |name: &str, run: fn()| {
        Trial::test(name, move || {
            run();
            Ok::<(), Failed>(())
        })
    };
    let tests = vec![
        test("four_times_the_budget_on_one_process", || four_times_the_budget(1, 2, false)),
        test("four_times_the_budget_on_two_processes", || four_times_the_budget(2, 1, false)),
        test("four_times_the_budget_that_is_all_kept", || four_times_the_budget(1, 2, true)),
        test("inputs_that_fit_nowhere_fail_at_once", inputs_that_fit_nowhere_fail_at_once),
    ];
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    libtest_mimic::run(&arguments, tests).exit_code()
}

/// A square of numbers, whose memory travels as it is.
#[derive(Debug, Clone)]
struct Tile(Arc<Vec<f64>>);

impl AsRef<[u8]> for Tile {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

impl Portable for Tile {
    fn encode(&self) -> Result<Data, DataError> {
        Ok(Data { header: Vec::new(), buffers: vec![Buffer::from_owner(self.clone())] })
    }

    fn decode(data: Data) -> Result<Self, DataError> {
        let buffer = data.buffers.into_iter().next().unwrap_or_else(|| Buffer::from_vec(Vec::<f64>::new()));
        Ok(Self(Arc::new(buffer.into_vec()?)))
    }

    fn n_bytes(&self) -> u64 {
        8 * self.0.len() as u64
    }
}

/// Whole numbers, so that sums are exact in any order.
fn number(row: usize, col: usize) -> f64 {
    ((row * 31 + col * 17 + row * col % 13) % 1000) as f64
}

#[task]
fn draw(i: usize, j: usize) -> Tile {
    let numbers = (0..SIDE * SIDE).map(|at| number(i * SIDE + at / SIDE, j * SIDE + at % SIDE));
    Tile(Arc::new(numbers.collect()))
}

#[task]
fn add_transposed(x: &Tile, other: &Tile) -> Tile {
    let numbers = (0..SIDE * SIDE).map(|at| x.0[at] + other.0[at % SIDE * SIDE + at / SIDE]);
    Tile(Arc::new(numbers.collect()))
}

#[task]
fn total(tile: &Tile) -> f64 {
    tile.0.iter().sum()
}

#[task]
fn add_all(parts: &[Arc<f64>]) -> f64 {
    parts.iter().map(|part| **part).sum()
}

#[task]
fn count(tiles: &[Arc<Tile>]) -> usize {
    tiles.len()
}

#[task]
fn process(i: u64) -> (u64, u32) {
    (i, std::process::id())
}

fn budget_mib() -> u64 {
    std::env::var("PHALANX_MEMORY_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(64)
}

/// The most memory that a process ever had, in KiB.
fn peak_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

fn left_in(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// `x = random, y = x + xT, sum`; `keeps` says whether the client holds all of x, so that it must go to disk.
fn four_times_the_budget(n_workers: usize, n_threads: usize, keeps: bool) {
    let folder = tempfile::tempdir().unwrap();
    block_on(async {
        let budget = budget_mib() << 20;
        let options = LocalOptions {
            n_workers,
            n_threads: Some(n_threads),
            processes: true,
            memory_limit: MemoryLimit::Bytes(budget / n_workers as u64),
            spill_dir: Some(folder.path().into()),
            ..LocalOptions::default()
        };
        let cluster = LocalCluster::start(options).unwrap();
        let client = cluster.client().await.unwrap();
        let warm: Vec<Delayed<(u64, u32)>> = (0..100).map(process::delayed).collect();
        client.compute(&warm).await.unwrap();
        let workers = cluster.process_ids();
        let before: Vec<u64> = workers.iter().map(|worker| peak_kib(*worker)).collect();

        let n_tiles = (4 * budget_mib()).isqrt() as usize;
        let tile_bytes = (8 * SIDE * SIDE) as u64;
        let described = |at: usize| draw::delayed(at / n_tiles, at % n_tiles).expected_bytes(tile_bytes);
        let mut x: Vec<Delayed<Tile>> = (0..n_tiles * n_tiles).map(described).collect();
        let mut held = Vec::new();
        if keeps {
            held = client.submit_all(&x);
            x = held.iter().map(|tile| tile.delayed()).collect();
        }
        let part = |at: usize| {
            let (i, j) = (at / n_tiles, at % n_tiles);
            let y = add_transposed::delayed(&x[at], &x[j * n_tiles + i]).expected_bytes(tile_bytes);
            total::delayed(y)
        };
        let parts: Vec<Delayed<f64>> = (0..n_tiles * n_tiles).map(part).collect();
        let sum = client.compute(&add_all::delayed(parts)).await.unwrap();
        let n = n_tiles * SIDE;
        let once: f64 = (0..n).map(|row| (0..n).map(|col| number(row, col)).sum::<f64>()).sum();
        assert_eq!(sum, 2. * once);

        for (worker, before) in workers.iter().zip(before) {
            let grown = (peak_kib(*worker) - before) >> 10;
            let allowed = budget_mib() / n_workers as u64 * 115 / 100;
            assert!(grown <= allowed, "worker {worker} took {grown} MiB, {allowed} MiB are allowed");
        }
        if keeps {
            assert!(left_in(folder.path()) > 0, "four times the budget is kept, and nothing is on disk");
        }
        drop(held);
        drop(client);
        cluster.shutdown().await;
    });
    assert_eq!(left_in(folder.path()), 0, "files stay behind");
}

fn inputs_that_fit_nowhere_fail_at_once() {
    block_on(async {
        let options = LocalOptions { memory_limit: MemoryLimit::Bytes(4 << 20), ..LocalOptions::default() };
        let cluster = LocalCluster::start(options).unwrap();
        let client = cluster.client().await.unwrap();
        let tiles: Vec<Delayed<Tile>> = (0..6).map(|i| draw::delayed(i, i)).collect();
        let error = client.compute(&count::delayed(tiles)).await.unwrap_err();
        let said = error.to_string();
        let n_bytes = 6 * 8 * SIDE * SIDE;
        assert!(matches!(error, Error::Task { .. }), "{error:?}");
        assert!(said.contains(&format!("{n_bytes} bytes, {} bytes more", n_bytes - (4 << 20))), "{said}");
        cluster.shutdown().await;
    });
}
