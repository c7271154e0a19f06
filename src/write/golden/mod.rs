//! Reports that a person has read: the files beside this one. `BLESS=1 cargo test` writes them anew; read the diff.

pub(super) mod sample;

use std::path::Path;

pub(super) fn check(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/write/golden").join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, actual).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == actual, "{} differs (BLESS=1 accepts this):\n{actual}", path.display());
}
