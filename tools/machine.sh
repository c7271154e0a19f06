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

# QuickFIX, the engine that talks to the simulator's exchange. The Python package has no wheel, and building it takes more than ten
# minutes, so it is used where an interpreter has it already; else Debian's library is, which installs in seconds, with the
# dictionaries of the package's source (kept outside of the tree; without network the tests go without dictionaries).
need_quickfix() {
    python=${TICKSCOPE_QUICKFIX_PYTHON:-python3}
    if ! "$python" -c 'import quickfix' 2>/dev/null; then
        if ! [ -f /usr/include/quickfix/Application.h ] || ! command -v c++ >/dev/null 2>&1; then
            need_packages "QuickFIX, a FIX engine for the simulator's tests" libquickfix-dev g++
        fi
        QUICKFIX_DICTIONARIES=${XDG_CACHE_HOME:-$HOME/.cache}/tickscope/quickfix-1.16.0
        if ! [ -f "$QUICKFIX_DICTIONARIES/FIXT11.xml" ]; then
            fetch=$(mktemp -d)
            if command -v pip3 >/dev/null 2>&1 &&
                timeout 300 pip3 download --quiet --no-deps --no-binary :all: --dest "$fetch" quickfix==1.16.0 >&2; then
                mkdir -p "$QUICKFIX_DICTIONARIES"
                tar xzf "$fetch"/quickfix-1.16.0.tar.gz -C "$QUICKFIX_DICTIONARIES" --strip-components=2 quickfix-1.16.0/spec
            fi
            rm -rf "$fetch"
        fi
        if [ -f "$QUICKFIX_DICTIONARIES/FIXT11.xml" ]; then
            export QUICKFIX_DICTIONARIES
        else
            say "SKIPPED: QuickFIX's dictionaries could not be fetched; the engine checks sessions, not every field."
            unset QUICKFIX_DICTIONARIES
        fi
    fi
    export TICKSCOPE_REQUIRE_QUICKFIX=1
}
