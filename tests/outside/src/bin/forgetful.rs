//! A program whose main does not begin with `phalanx::init()`.

use std::process::ExitCode;

use phalanx::runtime::LocalCluster;

fn main() -> ExitCode {
    match LocalCluster::processes(2) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
