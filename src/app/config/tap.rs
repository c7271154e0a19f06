//! `--tap NAME=IF[,key=value…]`: the same keys as in `[[tap]]`, put on top of the `[[tap]]` of this name.

use std::fmt;
use std::path::Path;

use toml::de::DeValue;

use super::keys::{Kind, Table, keys_of};
use super::parse::{Reader, nearest, quote, render};
use super::settings::{Entry, Origin, Settings, TapSetting};

/// One `--tap`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapArg {
    pub name: String,
    /// Keys of `[[tap]]`; a flag has an empty value.
    pub keys: Vec<(String, String)>,
}

/// Keys that the argument says in another way, or that are about files.
const NOT_HERE: [&str; 2] = ["name", "file"];

impl TapArg {
    pub fn parse(text: &str) -> Result<TapArg, String> {
        let (name, rest) = text.split_once('=').ok_or("expected NAME=INTERFACE[,key=value...]")?;
        let mut words = rest.split(',');
        let interface = words.next().unwrap_or_default();
        if name.is_empty() || interface.is_empty() {
            return Err("expected NAME=INTERFACE[,key=value...]".to_owned());
        }
        let key = |word: &str| {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            (key.to_owned(), value.to_owned())
        };
        let keys = std::iter::once(("interface".to_owned(), interface.to_owned())).chain(words.map(key)).collect();
        Ok(TapArg { name: name.to_owned(), keys })
    }
}

impl fmt::Display for TapArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Settings {
    /// Puts what `--tap NAME=IF[,key=value…]` says on top of the `[[tap]]` of this name.
    pub fn put_tap(&mut self, argument: &TapArg) -> Result<(), String> {
        let index = self.taps.iter().position(|tap| tap.name == argument.name).unwrap_or_else(|| {
            self.taps.push(TapSetting { name: argument.name.clone(), ..TapSetting::default() });
            self.taps.len() - 1
        });
        // Keys are those of the last tap.
        let last = self.taps.len() - 1;
        self.taps.swap(index, last);
        let settings = std::mem::take(self);
        let mut reader = Reader { source: "", folder: Path::new(""), settings, problems: Vec::new() };
        let result = argument.keys.iter().try_for_each(|(name, value)| reader.tap_key(index, name, value));
        *self = reader.settings;
        self.taps.swap(index, last);
        result
    }
}

impl Reader<'_> {
    /// A key of a tap from the command line, where lists have `+` between their parts.
    fn tap_key(&mut self, index: usize, name: &str, text: &str) -> Result<(), String> {
        let all = || keys_of(Table::Tap);
        let Some(key) = all().find(|key| key.name == name && !NOT_HERE.contains(&name)) else {
            let names: Vec<&str> = all().map(|key| key.name).filter(|name| !NOT_HERE.contains(name)).collect();
            let near = nearest(name, &names).unwrap_or_default();
            return Err(format!("unknown key \"{name}\"; the nearest known one is \"{near}\""));
        };
        let is_list = text.contains('+') || matches!(key.kind, Kind::Groups(_));
        let toml = match key.kind {
            Kind::Flag(_) if text.is_empty() => "true".to_owned(),
            Kind::Numbers(..) if is_list => format!("[{}]", text.replace('+', ",")),
            Kind::Groups(_) => format!("[{}]", text.split('+').map(quote).collect::<Vec<_>>().join(",")),
            Kind::Flag(_) | Kind::Number(..) | Kind::Numbers(..) => text.to_owned(),
            _ => quote(text),
        };
        let value = DeValue::parse(&toml).map_err(|_| format!("{name}: expected {}", key.kind.expected()))?;
        self.store(&key.kind, value.get_ref()).map_err(|text| format!("{name}: {text}"))?;
        let value = render(value.get_ref());
        self.settings.set_entry(Entry { key, index, value, origin: Origin::CommandLine("--tap") });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tickscope_nic::Driver;

    use super::*;

    fn put(text: &str) -> Result<Settings, String> {
        let mut settings = Settings::default();
        settings.put_tap(&TapArg::parse(text)?)?;
        Ok(settings)
    }

    #[test]
    fn a_tap_of_the_command_line_has_the_keys_of_the_configuration() {
        let text =
            "md=eth1,point=D,driver=xdp,queues=2,ports=26477+9000,steal,join=239.1.1.1+232.1.1.1@10.0.0.9,offset=-5us";
        let settings = put(text).expect("right");
        let tap = settings.tap("md").expect("there");
        assert_eq!((tap.interface.as_deref(), tap.point, tap.driver), (Some("eth1"), Some('D'), Driver::Xdp));
        assert_eq!((tap.queues.as_slice(), tap.ports.as_slice(), tap.steal), (&[0, 1][..], &[26477, 9000][..], true));
        assert_eq!((tap.join.len(), tap.join[1].source, tap.offset.0), (2, "10.0.0.9".parse().ok(), -5000));
        let listed = put("md=eth1,queues=1+3").expect("right");
        assert_eq!(listed.tap("md").map(|tap| tap.queues.clone()), Some(vec![1, 3]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            ("eth1", "expected NAME=INTERFACE"),
            ("md=", "expected NAME=INTERFACE"),
            ("md=eth1,port=3", "unknown key \"port\"; the nearest known one is \"ports\""),
            ("md=eth1,driver=pcap", "driver: expected \"auto\", \"xdp\" or \"afpacket\""),
            ("md=eth1,ports=70000", "ports: expected a number from 0 to 65535"),
            ("md=eth1,ports=", "ports: expected a number"),
            ("md=eth1,join=10.0.0.1", "join: expected a list of multicast groups"),
            ("md=eth1,name=x", "unknown key \"name\""),
        ] {
            let error = put(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn the_command_line_stands_on_top_of_the_file() {
        let mut settings = Settings::default();
        for text in ["a=eth0,point=D", "b=eth1,ports=1", "a=eth2,steal=false"] {
            settings.put_tap(&TapArg::parse(text).expect("right")).expect("right");
        }
        let interfaces: Vec<_> = settings.taps.iter().map(|tap| tap.interface.as_deref()).collect();
        assert_eq!(interfaces, [Some("eth2"), Some("eth1")]);
        assert_eq!((settings.taps[0].point, settings.taps[1].ports.as_slice()), (Some('D'), &[1][..]));
    }
}
