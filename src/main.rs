//! The binary: everything is in the library, so that tests and pages can reach it.

fn main() -> std::process::ExitCode {
    tickscope::app::main()
}
