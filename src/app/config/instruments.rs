//! The user's file of instruments: CSV lines `symbol,security_id[,alias…]`, for where orders and market data name
//! the same instrument differently. Lines that begin with `#` are comments; a first line that begins with `symbol` is a header,
//! in which columns can be named that hold no names: reference data says more of an instrument.

use std::collections::HashMap;
use std::path::Path;

/// Columns that hold no names, by the header.
const OTHERS: [&str; 3] = ["tick_size", "lot", "lot_size"];

/// One instrument under all its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instrument {
    pub symbol: String,
    /// The exchange's id; empty where the file gives none.
    pub security_id: String,
    pub aliases: Vec<String>,
}

/// Reads and checks a file; errors say file and line.
pub fn read(path: &Path) -> anyhow::Result<Vec<Instrument>> {
    // A line has some 30 bytes and no exchange a million instruments.
    let text = super::read_text(path, "instruments", 1 << 28)?;
    parse(&text).map_err(|problem| anyhow::anyhow!("{}:{problem}", path.display()))
}

/// Reads the text of a file. The error begins with the line's number.
pub fn parse(text: &str) -> Result<Vec<Instrument>, String> {
    let mut instruments = Vec::new();
    // Each name, and the line that gave it: one name of two instruments could only be guessed.
    let mut names: HashMap<String, usize> = HashMap::new();
    let (mut is_first, mut others) = (true, Vec::new());
    for (index, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
        let number = index + 1;
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let mut fields = fields(line).map_err(|problem| format!("{number}: {problem}"))?;
        let is_header = is_first && fields.first().is_some_and(|first| first.eq_ignore_ascii_case("symbol"));
        is_first = false;
        if is_header {
            let is_other = |name: &String| OTHERS.iter().any(|other| name.eq_ignore_ascii_case(other));
            others = fields.iter().map(is_other).collect();
            continue;
        }
        fields.iter_mut().zip(&others).filter(|(_, is_other)| **is_other).for_each(|(field, _)| field.clear());
        let instrument = instrument(fields).map_err(|problem| format!("{number}: {problem}"))?;
        for name in instrument.names() {
            match names.insert(name.to_owned(), number) {
                Some(before) if before != number => {
                    return Err(format!("{number}: \"{name}\" names another instrument already, at line {before}"));
                }
                _ => (),
            }
        }
        instruments.push(instrument);
    }
    Ok(instruments)
}

impl Instrument {
    /// Every name of it that is there.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let all = [&self.symbol, &self.security_id].into_iter().chain(&self.aliases);
        all.map(String::as_str).filter(|name| !name.is_empty())
    }
}

fn instrument(fields: Vec<String>) -> Result<Instrument, String> {
    let mut fields = fields.into_iter();
    let symbol = fields.next().filter(|symbol| !symbol.is_empty()).ok_or("the symbol is empty")?;
    let security_id = fields.next().ok_or("expected symbol,security_id[,alias\u{2026}], found one field")?;
    let aliases: Vec<String> = fields.filter(|alias| !alias.is_empty()).collect();
    if security_id.is_empty() && aliases.is_empty() {
        return Err(format!("\"{symbol}\" has neither a security_id nor an alias"));
    }
    Ok(Instrument { symbol, security_id, aliases })
}

/// Splits one line as RFC 4180 does, without line breaks inside quotes. Space around a field is dropped.
fn fields(line: &str) -> Result<Vec<String>, &'static str> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let start = rest.trim_start();
        let (field, after) = if let Some(inside) = start.strip_prefix('"') {
            quoted(inside)?
        } else {
            let (field, after) = start.split_at(start.find(',').unwrap_or(start.len()));
            (field.to_owned(), after)
        };
        fields.push(field.trim().to_owned());
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None if after.is_empty() => return Ok(fields),
            None => return Err("text behind the closing quote of a field"),
        }
    }
}

/// The field that begins behind an opening quote, and what follows the closing one. Two quotes stand for one.
fn quoted(inside: &str) -> Result<(String, &str), &'static str> {
    let mut field = String::new();
    let mut rest = inside;
    loop {
        let (part, after) = rest.split_once('"').ok_or("a quoted field does not end")?;
        field.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None => return Ok((field, after.trim_start())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_instruments() {
        let text = "\u{feff}# who trades what\nSymbol,Security_ID,alias\nINTC,1234\r\n\n \"BRK,B\" , 77 ,BRK.B,\"a\"\"b\"\nESZ5,,ES\n";
        let instruments = parse(text).expect("a good file");
        let lines: Vec<String> = instruments.iter().map(|one| one.names().collect::<Vec<_>>().join("|")).collect();
        assert_eq!(lines, ["INTC|1234", "BRK,B|77|BRK.B|a\"b", "ESZ5|ES"]);
    }

    #[test]
    fn columns_of_other_things_hold_no_names() {
        let text = "symbol,security_id,tick_size,internal_id,lot\nA,1,0.01,7,100\nB,2,0.01,8,100\n";
        let instruments = parse(text).expect("a good file");
        let lines: Vec<String> = instruments.iter().map(|one| one.names().collect::<Vec<_>>().join("|")).collect();
        assert_eq!(lines, ["A|1|7", "B|2|8"]);
    }

    #[test]
    fn mistakes_name_their_line() {
        for (text, expected) in [
            ("A,1\nB", "2: expected symbol,security_id[,alias\u{2026}], found one field"),
            ("A,1\n,2", "2: the symbol is empty"),
            ("A,", "1: \"A\" has neither a security_id nor an alias"),
            ("A,1\nB,1", "2: \"1\" names another instrument already, at line 1"),
            ("A,1\n#\nA,2", "3: \"A\" names another instrument already, at line 1"),
            ("A,1\nB,2,A", "2: \"A\" names another instrument already, at line 1"),
            ("A,\"1", "1: a quoted field does not end"),
            ("A,\"1\"x", "1: text behind the closing quote of a field"),
        ] {
            assert_eq!(parse(text), Err(expected.to_owned()), "{text}");
        }
        // One instrument whose names are equal is no conflict.
        assert_eq!(parse("A,A,A").map(|all| all.len()), Ok(1));
        assert_eq!(parse("").map(|all| all.len()), Ok(0));
    }
}
