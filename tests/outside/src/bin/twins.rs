//! A program with two tasks of one name, which must not start.

use std::process::ExitCode;

mod left {
    #[phalanx::task(name = "twins.area")]
    pub fn area(width: f64, height: f64) -> f64 {
        width * height
    }
}

mod right {
    #[phalanx::task(name = "twins.area")]
    pub fn area(radius: f64) -> f64 {
        radius * radius * 3.14
    }
}

fn main() -> ExitCode {
    if let Err(error) = phalanx::init() {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    println!("{} {}", left::area(1., 2.), right::area(1.));
    ExitCode::SUCCESS
}
