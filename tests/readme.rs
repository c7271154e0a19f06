//! The output in README.md is what the program prints: blocks that follow a comment `<!-- run: ARGUMENTS | until TEXT -->`
//! hold the command and its output up to the line that begins with TEXT. `BLESS=1 cargo test --test readme` rewrites them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What belongs under a comment.
fn block(instruction: &str) -> String {
    let (arguments, until) = instruction.split_once(" | until ").unwrap_or((instruction, "\u{0}"));
    let output = Command::new(env!("CARGO_BIN_EXE_tickscope"))
        .args(arguments.split(' '))
        .current_dir(ROOT)
        .env_clear()
        .env("HOME", "/nonexistent")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.is_empty(), "{arguments}: {said}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().take_while(|line| !line.starts_with(until)).collect();
    assert!(until == "\u{0}" || lines.len() < text.lines().count(), "{arguments}: no line begins with {until}");
    format!("```console\n$ tickscope {arguments}\n{}\n```\n", lines.join("\n").trim_end())
}

/// The page with every block made anew, and how many there are.
fn renewed(page: &str) -> (String, usize) {
    let (mut out, mut rest, mut count) = (String::new(), page, 0);
    while let Some((before, after)) = rest.split_once("<!-- run: ") {
        let (instruction, body) = after.split_once(" -->\n").expect("the comment ends with its line");
        let (_, behind) = body.split_once("\n```\n").expect("a block follows the comment");
        out.extend([before, "<!-- run: ", instruction, " -->\n", &block(instruction)]);
        rest = behind;
        count += 1;
    }
    (out + rest, count)
}

#[test]
fn output_in_the_readme_is_what_the_program_prints() {
    let path = format!("{ROOT}/README.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (expected, count) = renewed(&page);
    assert!(count >= 2, "the page shows output");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &expected).unwrap();
        return;
    }
    assert!(page == expected, "README.md is out of date (BLESS=1 cargo test --test readme):\n{expected}");
}

#[test]
fn every_protocol_is_in_the_readme() {
    let page = std::fs::read_to_string(format!("{ROOT}/README.md")).unwrap();
    for protocol in tickscope_decoders::PROTOCOLS {
        assert!(page.contains(&format!("| `{}` | {} |", protocol.name, protocol.title)), "{}", protocol.name);
    }
}

#[test]
fn links_in_the_documents_lead_somewhere() {
    for document in ["README.md", "ARCHITECTURE.md", "STYLE.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        let page = std::fs::read_to_string(format!("{ROOT}/{document}")).unwrap();
        let targets = page.split("](").skip(1).filter_map(|part| part.split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with('#')) {
            let path = target.split('#').next().unwrap();
            assert!(std::path::Path::new(ROOT).join(path).exists(), "{document}: {target}");
        }
    }
}
