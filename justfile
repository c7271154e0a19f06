# The menu for developers; nothing here is needed to build or test (see ./try and ./test).

# List the recipes
default:
    @just --list

# The report on the shipped capture, or on another
try *FILE:
    ./try {{FILE}}

# All that CI runs
check:
    ./test

# Tests alone
test *ARGS:
    cargo test --workspace {{ARGS}}

# Rewrite everything that tests compare with: manual pages, texts of the command line, golden reports, README. Read the diff!
bless:
    BLESS=1 TRYCMD=overwrite cargo test --workspace

# What clippy has to say, as in CI
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# Read the manual page of a command
man COMMAND="analyze":
    man ./man/tickscope-{{COMMAND}}.1

# An optimised build that keeps building fast, for measuring
quick:
    cargo build --profile quick

# How far the numbers can be trusted, against truths and other programs (ten minutes)
judge:
    ./judge
