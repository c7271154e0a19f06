//! What is shown, as a file: figures as JSON, a list of orders as CSV, one order as JSON.

use serde_json::{Value, json};

use crate::Screen;
use crate::app::App;
use crate::wire::Figures;

/// A name for a file that no text from the wire can lead elsewhere.
pub(crate) fn file_name(what: &str, ending: &str) -> String {
    let safe = |char: char| if char.is_ascii_alphanumeric() || char == '-' || char == '_' { char } else { '_' };
    let name: String = what.chars().take(60).map(safe).collect();
    format!("tickscope-{name}.{ending}")
}

/// Name, bytes, and what it is. The error is for people.
pub(crate) fn shown(app: &App) -> Result<(String, Vec<u8>, &'static str), &'static str> {
    if let Some(drill) = &app.drill {
        let answer = drill.answer.as_ref().ok_or("the order has not come yet")?;
        let order = answer.order.as_ref().ok_or("there is no such order")?;
        let mut document = json!(order);
        document["candidates"] = json!(answer.candidates);
        return Ok((file_name(&drill.row.clordid, "json"), pretty(&document), "order"));
    }
    if app.screen == Screen::Orders {
        return Ok((file_name("orders", "csv"), orders(app), "orders"));
    }
    let at = app.snapshot().ok_or("there are no figures yet")?;
    let segments: Vec<Value> = app.segment_lines().iter().map(|(name, it)| figures(app.by.name(), name, it)).collect();
    let document = json!({
        "t_ns": at.t_ns, "span": app.span.name(), "by": app.by.name(), "segment": app.chosen(), "requests": at.requests,
        "lines": segments,
    });
    Ok((file_name("figures", "json"), pretty(&document), "figures"))
}

fn pretty(document: &Value) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(document).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

fn figures(by: &str, name: &str, it: &Figures) -> Value {
    json!({
        by: name, "n": it.n, "min_ns": it.min_ns, "p50_ns": it.p50_ns, "p90_ns": it.p90_ns, "p99_ns": it.p99_ns,
        "p99_9_ns": it.p99_9_ns, "p99_99_ns": it.p99_99_ns, "max_ns": it.max_ns, "mean_ns": it.mean_ns, "buckets": it.buckets,
    })
}

/// The list as it is filtered and sorted.
fn orders(app: &App) -> Vec<u8> {
    let mut text = String::from(
        "t_out_ns,session,clordid,request,symbol,side,price,qty,trigger_method,trigger_confidence,t2t_ns,tcp_ack_ns,ack_ns,\
         reject_ns,first_fill_ns,cancel_ack_ns,replace_ack_ns,outcome,flags\n",
    );
    let number = |value: Option<i64>| value.map_or(String::new(), |value| value.to_string());
    for row in &app.orders.lines {
        let confidence = if row.method.is_empty() { String::new() } else { format!("{:.3}", row.confidence) };
        let cells = [
            row.t_out_ns.to_string(),
            row.session.to_string(),
            row.clordid.to_string(),
            row.request.to_string(),
            row.symbol.to_string(),
            row.side.to_string(),
            row.price.to_string(),
            row.qty.to_string(),
            row.method.to_string(),
            confidence,
            number(row.t2t_ns),
            number(row.tcp_ack_ns),
            number(row.ack_ns),
            number(row.reject_ns),
            number(row.first_fill_ns),
            number(row.cancel_ack_ns),
            number(row.replace_ack_ns),
            row.outcome.to_string(),
            row.flags.to_string(),
        ];
        text.push_str(&cells.map(|cell| quoted(&cell)).join(","));
        text.push('\n');
    }
    text.into_bytes()
}

/// RFC 4180.
fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_folder() {
        assert_eq!(file_name("../../etc/passwd\0", "pcapng"), "tickscope-______etc_passwd_.pcapng");
        assert_eq!(file_name(&"x".repeat(500), "csv").len(), "tickscope-.csv".len() + 60);
    }

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(quoted("plain"), "plain");
    }
}
