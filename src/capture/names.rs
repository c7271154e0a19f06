//! What captures are called that the user gave no name.

use super::merge::Input;

/// What the user said, else the file's name; the whole path where two files have the same name.
pub(super) fn names(inputs: &[Input]) -> Vec<String> {
    let short = |input: &Input| {
        let last = input.path.file_name().unwrap_or(input.path.as_os_str());
        input.name.clone().unwrap_or_else(|| last.to_string_lossy().into_owned())
    };
    let mut names: Vec<String> = Vec::with_capacity(inputs.len());
    for input in inputs {
        let mut name = short(input);
        if inputs.iter().filter(|other| short(other) == name).count() > 1 && input.name.is_none() {
            name = input.path.to_string_lossy().into_owned();
        }
        let base = name.clone();
        let mut number = 1;
        while names.contains(&name) {
            number += 1;
            name = format!("{base}#{number}");
        }
        names.push(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_different() {
        let inputs = [
            (None, "a/x.pcap"),
            (None, "b/x.pcap"),
            (None, "c/y.pcap"),
            (Some("n"), "z.pcap"),
            (None, "c/y.pcap"),
            (Some("n"), "w.pcap"),
        ]
        .map(|(name, path)| Input { name: name.map(str::to_owned), path: path.into() });
        assert_eq!(names(&inputs), ["a/x.pcap", "b/x.pcap", "c/y.pcap", "n", "c/y.pcap#2", "n#2"]);
    }
}
