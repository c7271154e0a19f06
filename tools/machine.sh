# What this machine must have. Read by ./try, ./test and .ci/run (". tools/machine.sh"); POSIX sh.
# Nothing is installed that is already there, and without network nothing is asked of it as long as nothing is missing.

say() { printf '%s\n' "$*" >&2; }

stop_with() {
    say "$@"
    exit 1
}

# as_root COMMAND...: with sudo where we are not root, saying what for.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        say "sudo is asked for: $*"
        sudo "$@"
    else
        stop_with "Please run this as root, then try again: $*"
    fi
}

# need_packages WHY PACKAGE...: installs Debian packages.
need_packages() {
    why=$1
    shift
    command -v apt-get >/dev/null 2>&1 ||
        stop_with "Missing: $why. Please install it with your system's package manager (on Debian: $*), then try again."
    say "Installing $* with apt-get: $why."
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

# Three crates (zstd, liblzma, lz4) bring C code that is compiled along; nothing else beside Rust is needed.
need_compiler() {
    if ! command -v cc >/dev/null 2>&1; then
        need_packages "a C compiler, for the decompressors and for linking" gcc libc6-dev
    fi
}

need_rust() {
    least=88
    if ! command -v cargo >/dev/null 2>&1 && [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH="$HOME/.cargo/bin:$PATH"
    fi
    command -v cargo >/dev/null 2>&1 && command -v rustc >/dev/null 2>&1 ||
        stop_with "Rust is missing. https://rustup.rs installs it (1.$least or newer), without root; then try again."
    minor=$(rustc --version | sed -n 's/^rustc 1\.\([0-9][0-9]*\)\..*/\1/p')
    if [ -n "$minor" ] && [ "$minor" -lt "$least" ]; then
        stop_with "$(rustc --version) is too old: 1.$least or newer is needed. \"rustup update\" brings it; Debian's own rustc does not suffice."
    fi
}
