//! A whole FIX message for `decode`: every field under the dictionary's name, values as they stand on the wire.
//! Repeating groups are arrays of objects under the name of their NoXxx field; a tag that no dictionary has stands under its
//! number; a tag that comes twice outside a group is an array. Bytes that are no UTF-8 are written in hexadecimal where the
//! field is a data field, else with U+FFFD for what cannot be shown. Bytes that are no `tag=value` stand under `?`.

use serde_json::{Map, Value};

use super::dictionary::{Item, Version, dictionary, items};
use super::event::Values;
use super::scan::{DATA_FIELDS, Field, Fields};
use crate::Described;

/// Describes a message; `default` is the version that a FIXT logon named for the session.
pub(super) fn describe(message: &[u8], values: &Values<'_>, default: Version) -> Described {
    let version = version(values, default);
    let kind = values.text::<35>();
    let text = |value: &[u8]| (!value.is_empty()).then(|| String::from_utf8_lossy(value).into_owned());
    let name = dictionary().message(version, kind).map(|message| message.name);
    let all = items(version, kind, Fields::new(message));
    let outside = Values::outside_groups(&all);
    Described {
        msg: name.map_or_else(|| String::from_utf8_lossy(kind).into_owned(), str::to_owned),
        seq: (!outside.text::<34>().is_empty()).then(|| outside.number::<34>()),
        symbol: text(outside.text::<55>()),
        security_id: text(outside.text::<48>()),
        side: outside.side(),
        price: outside.decimal::<44>(),
        qty: outside.decimal::<38>(),
        order_id: text(outside.text::<37>()),
        exch_t_ns: outside.transact_ns().or_else(|| outside.sending_ns()),
        clordid: text(outside.text::<11>()),
        fields: object(version, &all),
    }
}

/// Which dictionary a message is written by.
fn version(values: &Values<'_>, default: Version) -> Version {
    Version::of_begin(values.text::<8>()).or_else(|| Version::of_application(values.text::<1128>())).unwrap_or(default)
}

fn object(version: Version, items: &[Item<'_>]) -> Map<String, Value> {
    let mut map = Map::new();
    for item in items {
        match item {
            Item::Field(field) => add(&mut map, key(version, field.tag), vec![text(*field)]),
            Item::Group { count, entries } => {
                let objects = entries.iter().map(|entry| Value::Object(object(version, entry))).collect();
                // An array says how long it is; a count that says otherwise is kept under the bare number of its tag.
                if count.value != entries.len().to_string().as_bytes() {
                    add(&mut map, count.tag.to_string(), vec![text(*count)]);
                }
                group(&mut map, key(version, count.tag), objects);
            }
        }
    }
    map
}

fn key(version: Version, tag: u32) -> String {
    match dictionary().field_name(version, tag) {
        Some(name) => name.to_owned(),
        None if tag == 0 => "?".to_owned(),
        None => tag.to_string(),
    }
}

/// One value stands by itself, several become an array.
fn add(map: &mut Map<String, Value>, key: String, mut more: Vec<Value>) {
    match map.get_mut(&key) {
        Some(Value::Array(values)) => values.append(&mut more),
        Some(value) => {
            let first = value.take();
            *value = Value::Array(std::iter::once(first).chain(more).collect());
        }
        None => {
            map.insert(key, more.pop().unwrap_or_default());
        }
    }
}

fn group(map: &mut Map<String, Value>, key: String, objects: Vec<Value>) {
    if map.contains_key(&key) {
        add(map, key, objects);
    } else {
        map.insert(key, Value::Array(objects));
    }
}

fn text(field: Field<'_>) -> Value {
    Value::String(match std::str::from_utf8(field.value) {
        Ok(text) => text.to_owned(),
        Err(_) if DATA_FIELDS.iter().any(|pair| pair.1 == field.tag) => hexadecimal(field.value),
        Err(_) => String::from_utf8_lossy(field.value).into_owned(),
    })
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
