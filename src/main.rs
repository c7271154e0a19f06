//! The binary: everything is in the library, so that tests and pages can reach it.

/// Measured: `analyze` on a large capture takes a tenth less time than with the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    tickscope::app::main()
}
