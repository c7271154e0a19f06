//! The pages in `man/` are those that the program's own definitions make. `BLESS=1 cargo test --test man` rewrites them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tickscope::app::man::pages;

#[test]
fn the_files_are_what_the_definitions_make() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    let pages = pages();
    if std::env::var_os("BLESS").is_some() {
        for page in &pages {
            fs::write(folder.join(&page.file), &page.text).expect("man/ can be written");
        }
    }
    let made: BTreeSet<String> = pages.iter().map(|page| page.file.clone()).collect();
    let there: BTreeSet<String> = fs::read_dir(&folder)
        .expect("man/ is there")
        .map(|entry| entry.expect("man/ can be read").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(there, made, "man/ holds other pages than the program makes");
    for page in &pages {
        let file = fs::read_to_string(folder.join(&page.file)).expect("a page can be read");
        assert!(file == page.text, "man/{} is out of date: BLESS=1 cargo test --test man", page.file);
    }
}

#[test]
fn each_page_says_every_name_that_users_meet() {
    let pages = pages();
    let text = |file: &str| {
        let page = pages.iter().find(|page| page.file == file).expect("a page");
        page.text.replace("\\-", "-")
    };
    let analyze = text("tickscope-analyze.1");
    for flag in tickscope::pair::Flag::ALL {
        assert!(analyze.contains(&format!("\\fB{}\\fR", flag.name())), "{}", flag.name());
    }
    for loss in tickscope_model::Loss::ALL {
        assert!(analyze.contains(&format!("\\fB{}\\fR", loss.name())), "{}", loss.name());
    }
    let config = text("tickscope-config.5");
    for key in tickscope::app::config::keys::KEYS {
        assert!(config.contains(&format!("\\fB{}\\fR = ", key.name)), "{}", key.name);
    }
}
