//! Reads the tables that `score` compares: CSV with a header line (RFC 4180), or JSON lines. Every cell becomes text.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// More than this is no table of orders.
const LONGEST_BYTES: u64 = 4 << 30;

/// Rows by column name.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<HashMap<String, String>>,
}

impl Table {
    /// Reads a file, by its extension: `.csv` or `.jsonl`.
    pub(crate) fn read(path: &Path) -> Result<Table, String> {
        let said = |what: &str| format!("{}: {what}", path.display());
        let kind = path.extension().and_then(|extension| extension.to_str()).unwrap_or("csv");
        if !["csv", "jsonl"].contains(&kind) {
            return Err(said("score reads .csv and .jsonl"));
        }
        let length = fs::metadata(path).map_err(|error| said(&error.to_string()))?.len();
        if length > LONGEST_BYTES {
            return Err(said("larger than 4 GiB"));
        }
        let text = fs::read_to_string(path).map_err(|error| said(&error.to_string()))?;
        let table = if kind == "csv" { Table::from_csv(&text) } else { Table::from_json_lines(&text) };
        table.map_err(|error| said(&error))
    }

    pub(crate) fn from_csv(text: &str) -> Result<Table, String> {
        let mut records = csv_records(text)?.into_iter();
        let columns = records.next().ok_or("empty, not even a header line")?;
        let mut table = Table { columns, rows: Vec::new() };
        for (at, record) in records.enumerate() {
            if record.len() != table.columns.len() {
                return Err(format!("row {} has {} cells, the header {}", at + 1, record.len(), table.columns.len()));
            }
            table.rows.push(table.columns.iter().cloned().zip(record).collect());
        }
        Ok(table)
    }

    fn from_json_lines(text: &str) -> Result<Table, String> {
        let mut table = Table::default();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let value: serde_json::Value =
                serde_json::from_str(line).map_err(|error| format!("line {}: {error}", at + 1))?;
            let object = value.as_object().ok_or_else(|| format!("line {}: no JSON object", at + 1))?;
            let row = object.iter().map(|(key, value)| (key.clone(), cell(value))).collect();
            table.rows.push(row);
            for key in object.keys() {
                if !table.columns.contains(key) {
                    table.columns.push(key.clone());
                }
            }
        }
        Ok(table)
    }
}

/// A JSON value as CSV would have it.
fn cell(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(parts) => parts.iter().map(cell).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

fn csv_records(text: &str) -> Result<Vec<Vec<String>>, String> {
    let mut records = Vec::new();
    let mut record = Vec::new();
    let mut cell = String::new();
    let mut quoted = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut cell)),
            '\n' if !quoted => {
                if cell.ends_with('\r') {
                    cell.pop();
                }
                record.push(std::mem::take(&mut cell));
                records.push(std::mem::take(&mut record));
            }
            _ => cell.push(letter),
        }
    }
    if quoted {
        return Err("a quoted cell does not end".into());
    }
    if !cell.is_empty() || !record.is_empty() {
        record.push(cell);
        records.push(record);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_with_commas_quotes_and_line_ends() {
        let table = Table::from_csv("a,b\r\n\"x,\"\"y\"\"\nz\",2\n,\n").unwrap();
        assert_eq!(table.rows[0]["a"], "x,\"y\"\nz");
        assert_eq!(table.rows[1]["b"], "");
        assert!(Table::from_csv("a,b\n1\n").is_err());
        assert!(Table::from_csv("").is_err());
    }

    #[test]
    fn json_lines_are_the_same_table() {
        let table = Table::from_json_lines("{\"a\":1,\"b\":null,\"c\":\"x\"}\n\n{\"a\":-2}\n").unwrap();
        assert_eq!((table.rows.len(), table.rows[0]["a"].as_str(), table.rows[0]["b"].as_str()), (2, "1", ""));
    }
}
