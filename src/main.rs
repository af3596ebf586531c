//! The `phalanx` program.

fn main() -> std::process::ExitCode {
    phalanx::cli::main()
}
