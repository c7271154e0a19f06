//! What the whole program promises, checked on whole captures. One binary, so that it is linked once.
#![allow(
    clippy::format_push_string,
    clippy::enum_variant_names,
    clippy::case_sensitive_file_extension_comparisons,
    reason = "tests read and write names of their own making"
)]

mod suite;
