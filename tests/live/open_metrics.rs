//! The rules of `OpenMetrics` 1.0 that a page must keep: order of metadata, names, suffixes, escaping, cumulative buckets, `# EOF`.

use std::collections::{BTreeMap, BTreeSet};

pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

pub(crate) struct Page {
    pub(crate) samples: Vec<Sample>,
    /// Family to type.
    types: BTreeMap<String, String>,
    pub(crate) exemplars: usize,
}

/// Labels from behind `{`, and what stands behind `}`.
fn labels(mut text: &str) -> (BTreeMap<String, String>, &str) {
    let mut all = BTreeMap::new();
    while !text.starts_with('}') {
        let (name, rest) = text.split_once("=\"").unwrap_or_else(|| panic!("{text}"));
        let name = name.trim_start_matches(',');
        assert!(name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_'), "{name}");
        let (mut value, mut letters) = (String::new(), rest.char_indices());
        let end = loop {
            match letters.next().expect("a closing quote") {
                (at, '"') => break at,
                (_, '\\') => match letters.next().expect("what is escaped").1 {
                    'n' => value.push('\n'),
                    letter @ ('\\' | '"') => value.push(letter),
                    other => panic!("\\{other} is no escape"),
                },
                (_, letter) => value.push(letter),
            }
        };
        assert!(all.insert(name.to_owned(), value).is_none(), "{name} stands twice");
        text = &rest[end + 1..];
    }
    (all, &text[1..])
}

fn sample(line: &str) -> (Sample, Option<&str>) {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("{line}"));
    let (labels, rest) =
        if line[end..].starts_with('{') { labels(&line[end + 1..]) } else { (BTreeMap::new(), &line[end..]) };
    let (value, exemplar) = match rest.split_once(" # ") {
        Some((value, exemplar)) => (value, Some(exemplar)),
        None => (rest, None),
    };
    let value =
        value.strip_prefix(' ').unwrap_or_else(|| panic!("{line}")).parse().unwrap_or_else(|_| panic!("{line}"));
    (Sample { name: line[..end].to_owned(), labels, value }, exemplar)
}

fn suffixes(kind: &str) -> &'static [&'static str] {
    match kind {
        "counter" => &["_total"],
        "histogram" => &["_bucket", "_count", "_sum"],
        "info" => &["_info"],
        "gauge" => &[""],
        other => panic!("{other} is no type that is used"),
    }
}

/// Panics where a rule is broken.
pub(crate) fn check(text: &str) -> Page {
    let body = text.strip_suffix("# EOF\n").expect("# EOF is the last line");
    let mut page = Page { samples: Vec::new(), types: BTreeMap::new(), exemplars: 0 };
    let (mut family, mut stage, mut seen) = (String::new(), 0, BTreeSet::new());
    for line in body.lines() {
        if let Some(metadata) = line.strip_prefix("# ") {
            let words: Vec<&str> = metadata.splitn(3, ' ').collect();
            let order = ["TYPE", "UNIT", "HELP"].iter().position(|word| *word == words[0]).expect("metadata");
            if order == 0 {
                words[1].clone_into(&mut family);
                assert!(page.types.insert(family.clone(), words[2].to_owned()).is_none(), "{family} stands twice");
            } else {
                assert!(words[1] == family && order > stage, "{line}");
            }
            stage = order;
            assert!(words[0] != "UNIT" || family.ends_with(&format!("_{}", words[2])), "{line}");
            continue;
        }
        stage = 3;
        let (sample, exemplar) = sample(line);
        let kind = &page.types[&family];
        let suffix = sample.name.strip_prefix(&family).unwrap_or_else(|| panic!("{line} is not of {family}"));
        assert!(suffixes(kind).contains(&suffix), "{line} is no {kind}");
        assert!(kind == "gauge" || sample.value >= 0.0, "{line}");
        assert!(
            seen.insert(line[..line.rfind("} ").or(line.find(' ')).unwrap()].split(" # ").next().unwrap().to_owned()),
            "{line} stands twice"
        );
        if let Some(exemplar) = exemplar {
            assert_eq!(suffix, "_bucket", "{line}");
            let (labels, rest) = labels(exemplar.strip_prefix('{').unwrap());
            assert!(
                labels.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum::<usize>() <= 128
            );
            let value: f64 = rest.split(' ').nth(1).unwrap().parse().unwrap();
            assert!(sample.labels["le"] == "+Inf" || value <= sample.labels["le"].parse().unwrap(), "{line}");
            page.exemplars += 1;
        } else {
            assert!(!sample.labels.contains_key("clordid"), "{line}");
        }
        page.samples.push(sample);
    }
    check_buckets(&page);
    page
}

/// Buckets ascend and are cumulative, and the last one is `+Inf` and the count.
fn check_buckets(page: &Page) {
    let mut series: BTreeMap<BTreeMap<String, String>, Vec<(String, f64)>> = BTreeMap::new();
    let mut counts = BTreeMap::new();
    for sample in &page.samples {
        let mut labels = sample.labels.clone();
        if sample.name.ends_with("_bucket") {
            let le = labels.remove("le").unwrap();
            series.entry(labels).or_default().push((le, sample.value));
        } else if sample.name.ends_with("_seconds_count") {
            counts.insert(labels, sample.value);
        }
    }
    assert_eq!(series.len(), counts.len());
    for (labels, buckets) in series {
        let limit = |text: &str| if text == "+Inf" { f64::INFINITY } else { text.parse().unwrap() };
        assert!(
            buckets.windows(2).all(|two| limit(&two[0].0) < limit(&two[1].0) && two[0].1 <= two[1].1),
            "{labels:?}"
        );
        assert_eq!(
            buckets.last().map(|(le, count)| (le.as_str(), *count)),
            Some(("+Inf", counts[&labels])),
            "{labels:?}"
        );
    }
}

/// What counts never falls, and no series goes away.
pub(crate) fn check_monotone(earlier: &Page, later: &Page) {
    let key = |sample: &Sample| (sample.name.clone(), sample.labels.clone());
    let values: BTreeMap<_, f64> = later.samples.iter().map(|sample| (key(sample), sample.value)).collect();
    for sample in &earlier.samples {
        let is_counter = ["_total", "_bucket", "_count", "_sum"].iter().any(|suffix| sample.name.ends_with(suffix));
        let now = values.get(&key(sample)).unwrap_or_else(|| panic!("{:?} is gone", key(sample)));
        assert!(!is_counter || *now >= sample.value, "{:?} fell from {} to {now}", key(sample), sample.value);
    }
}
