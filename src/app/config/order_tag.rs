//! `order` of a `[[trigger.id]]`: a FIX tag, or a part of one.

use regex_lite::Regex;
use toml::de::DeValue;

use super::parse::nearest;
use super::settings::OrderTag;

/// `"9717"` or `{ tag = 11, regex = "…", base = 10 }`; `None`: it has not this form.
pub(super) fn read(value: &DeValue<'_>) -> Result<Option<OrderTag>, String> {
    let DeValue::Table(parts) = value else {
        let text = value.as_str().filter(|text| is_tag(text));
        return Ok(text.and_then(|text| text.parse().ok()).map(|tag| OrderTag { tag, regex: None, base: 10 }));
    };
    let known = ["tag", "regex", "base"];
    let (mut tag, mut regex, mut base) = (None, None, 10);
    for (name, value) in parts {
        match (name.get_ref().as_ref(), value.get_ref()) {
            ("tag", DeValue::Integer(number)) if number.radix() == 10 && is_tag(number.as_str()) => {
                tag = number.as_str().parse().ok();
            }
            ("regex", DeValue::String(text)) => {
                Regex::new(text).map_err(|error| format!("regex: {error}"))?;
                regex = Some(text.to_string());
            }
            ("base", DeValue::Integer(number)) => match number.as_str().parse() {
                Ok(number) if (2..=36).contains(&number) => base = number,
                _ => return Ok(None),
            },
            ("tag" | "regex" | "base", _) => return Ok(None),
            (unknown, _) => {
                let nearest = nearest(unknown, &known).unwrap_or_default();
                return Err(format!("unknown key \"{unknown}\"; the nearest known one is \"{nearest}\""));
            }
        }
    }
    Ok(tag.map(|tag| OrderTag { tag, regex, base }))
}

fn is_tag(text: &str) -> bool {
    text.parse::<u32>().is_ok_and(|tag| tag > 0 && !text.starts_with('+'))
}
