//! Names of fields and messages and the members of repeating groups, for FIX 4.0 to 5.0 SP2 and FIXT 1.1.
//! They come from the public FIX data dictionaries as the QuickFIX engine ships them; `data/fix/make_dictionary.py`
//! made the text file that is read here, once, when something first needs it.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::scan::Field;

const TEXT: &str = include_str!("../../../data/fix/dictionary.txt");

/// One of the dictionaries; the numbers are those of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Version(u8);

impl Version {
    /// FIX 5.0 SP2 with all extension packs: the newest, and so where unknown things are looked up.
    pub(super) const NEWEST: Version = Version(7);
    const TRANSPORT: Version = Version(8);

    /// By BeginString (8); `None` for FIXT, whose messages say by other fields what they are.
    pub(super) fn of_begin(begin: &[u8]) -> Option<Version> {
        Some(Version(match begin {
            b"FIX.4.0" => 0,
            b"FIX.4.1" => 1,
            b"FIX.4.2" => 2,
            b"FIX.4.3" => 3,
            b"FIX.4.4" => 4,
            b"FIX.5.0" => 5,
            b"FIX.5.0SP1" => 6,
            b"FIX.5.0SP2" => 7,
            _ => return None,
        }))
    }

    /// By ApplVerID (1128) or DefaultApplVerID (1137).
    pub(super) fn of_application(id: &[u8]) -> Option<Version> {
        Some(Version(match id {
            b"2" => 0,
            b"3" => 1,
            b"4" => 2,
            b"5" => 3,
            b"6" => 4,
            b"7" => 5,
            b"8" => 6,
            b"9" | b"10" => 7,
            _ => return None,
        }))
    }
}

/// A repeating group.
#[derive(Debug)]
pub(super) struct Group {
    /// The tag of its NoXxx field.
    pub(super) count_tag: u32,
    /// Its tags as sorted ranges, both ends included.
    members: Vec<(u32, u32)>,
    /// Numbers of the groups within it.
    inner: Vec<u16>,
}

impl Group {
    pub(super) fn has(&self, tag: u32) -> bool {
        let after = self.members.partition_point(|range| range.0 <= tag);
        after.checked_sub(1).and_then(|at| self.members.get(at)).is_some_and(|range| tag <= range.1)
    }
}

/// A type of message in one version.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) name: &'static str,
    groups: Vec<u16>,
}

/// All dictionaries.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    /// Names of a tag with a bit for each version; 0: all versions.
    fields: HashMap<u32, Vec<(&'static str, u16)>>,
    groups: Vec<Group>,
    /// By version and MsgType.
    messages: [HashMap<&'static [u8], Message>; 9],
}

/// The dictionaries, read on first use.
pub(super) fn dictionary() -> &'static Dictionary {
    static DICTIONARY: OnceLock<Dictionary> = OnceLock::new();
    DICTIONARY.get_or_init(|| {
        let mut dictionary = Dictionary::default();
        for line in TEXT.lines() {
            dictionary.line(line).expect("dictionary.txt is as make_dictionary.py wrote it");
        }
        dictionary
    })
}

impl Dictionary {
    /// The name of a field in a version, else in the newest, else in any.
    pub(super) fn field_name(&self, version: Version, tag: u32) -> Option<&'static str> {
        let names = self.fields.get(&tag)?;
        let of = |version: Version| names.iter().find(|name| name.1 == 0 || name.1 >> version.0 & 1 == 1);
        of(version).or_else(|| of(Version::NEWEST)).or(names.first()).map(|name| name.0)
    }

    /// A type of message in a version, else in FIXT (logon and the like), else in the newest.
    pub(super) fn message(&self, version: Version, kind: &[u8]) -> Option<&Message> {
        let of = |version: Version| self.messages.get(usize::from(version.0))?.get(kind);
        of(version).or_else(|| of(Version::TRANSPORT)).or_else(|| of(Version::NEWEST))
    }

    /// The group that a count field opens directly in a message. Groups that a message only has in a later version
    /// are known too: venues add them to older ones.
    pub(super) fn group_of_message(&self, version: Version, kind: &[u8], count_tag: u32) -> Option<&Group> {
        let newest = || self.message(Version::NEWEST, kind);
        let find = |message: &Message| self.find(&message.groups, count_tag);
        self.message(version, kind).and_then(find).or_else(|| newest().and_then(find))
    }

    /// The group that a count field opens directly in another group.
    pub(super) fn group_of_group(&self, outer: &Group, count_tag: u32) -> Option<&Group> {
        self.find(&outer.inner, count_tag)
    }

    fn find(&self, numbers: &[u16], count_tag: u32) -> Option<&Group> {
        numbers
            .iter()
            .filter_map(|&number| self.groups.get(usize::from(number)))
            .find(|group| group.count_tag == count_tag)
    }

    fn line(&mut self, line: &'static str) -> Option<()> {
        let (kind, rest) = line.split_once(' ')?;
        match kind {
            "#" => {}
            "F" => {
                let (tag, names) = rest.split_once(' ')?;
                let names = names.split(' ').map(named).collect::<Option<_>>()?;
                self.fields.insert(tag.parse().ok()?, names);
            }
            "G" => {
                let (own, inner) = rest.split_once(" >")?;
                let (count_tag, members) = own.split_once(' ')?;
                self.groups.push(Group {
                    count_tag: count_tag.parse().ok()?,
                    members: members.split(' ').map(range).collect::<Option<_>>()?,
                    inner: numbers(inner)?,
                });
            }
            "M" => {
                let mut words = rest.splitn(4, ' ');
                let version: usize = words.next()?.parse().ok()?;
                let (kind, name) = (words.next()?, words.next()?);
                let groups = numbers(words.next().unwrap_or_default())?;
                self.messages.get_mut(version)?.insert(kind.as_bytes(), Message { name, groups });
            }
            _ => return None,
        }
        Some(())
    }
}

/// `LastShares@0,1,2`, or a name for all versions.
fn named(word: &'static str) -> Option<(&'static str, u16)> {
    let Some((name, versions)) = word.split_once('@') else { return Some((word, 0)) };
    let mut bits = 0;
    for version in versions.split(',') {
        bits |= 1_u16.checked_shl(version.parse().ok()?)?;
    }
    Some((name, bits))
}

fn range(word: &str) -> Option<(u32, u32)> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    Some((first.parse().ok()?, last.parse().ok()?))
}

fn numbers(words: &str) -> Option<Vec<u16>> {
    words.split_whitespace().map(|word| word.parse().ok()).collect()
}

/// A message with its repeating groups taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    Field(Field<'a>),
    Group {
        /// The NoXxx field with the count as it was sent.
        count: Field<'a>,
        entries: Vec<Vec<Item<'a>>>,
    },
}

/// Takes a message apart. An entry begins with the tag that follows the count field, as the specification has it; how many there
/// are is counted, not believed. A count field without members behind it is a plain field.
pub(super) fn items<'a>(version: Version, kind: &[u8], fields: impl Iterator<Item = Field<'a>>) -> Vec<Item<'a>> {
    let fields: Vec<_> = fields.collect();
    let mut rest = fields.as_slice();
    let mut all = Vec::new();
    while let Some((&field, behind)) = rest.split_first() {
        rest = behind;
        let group = dictionary().group_of_message(version, kind, field.tag);
        all.push(item(field, group, &mut rest));
    }
    all
}

fn item<'a>(field: Field<'a>, group: Option<&Group>, rest: &mut &[Field<'a>]) -> Item<'a> {
    let Some(group) = group else { return Item::Field(field) };
    let Some(delimiter) = rest.first().map(|first| first.tag).filter(|&tag| group.has(tag)) else {
        return Item::Field(field);
    };
    let mut entries = Vec::new();
    while rest.first().is_some_and(|first| first.tag == delimiter) {
        let mut entry = Vec::new();
        while let Some((&member, behind)) = rest.split_first() {
            let ends = member.tag == delimiter && !entry.is_empty();
            if ends || !(group.has(member.tag) || is_private_member(group, rest)) {
                break;
            }
            *rest = behind;
            entry.push(item(member, dictionary().group_of_group(group, member.tag), rest));
        }
        entries.push(entry);
    }
    Item::Group { count: field, entries }
}

/// Venues put fields of their own into groups. One that no dictionary knows belongs to the entry
/// if the next known field does.
fn is_private_member(group: &Group, rest: &[Field<'_>]) -> bool {
    /// How many private fields in a row are looked over; it bounds the work that a hostile message can ask for.
    const IN_A_ROW: usize = 32;
    let is_private = |field: &Field<'_>| !dictionary().fields.contains_key(&field.tag);
    let next_known = rest.iter().take(IN_A_ROW).position(|field| !is_private(field));
    next_known.is_some_and(|at| at > 0 && rest.get(at).is_some_and(|field| group.has(field.tag)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_is_there() {
        let dictionary = dictionary();
        let counts = dictionary.messages.each_ref().map(HashMap::len);
        assert_eq!(counts, [27, 28, 46, 68, 93, 93, 105, 156, 8]);
        assert_eq!(dictionary.fields.len(), TEXT.lines().filter(|line| line.starts_with("F ")).count());
        for (version, name) in [(b"FIX.4.2", "LastShares"), (b"FIX.4.3", "LastQty")] {
            let version = Version::of_begin(version).expect("known");
            assert_eq!(dictionary.field_name(version, 32), Some(name));
        }
        assert_eq!(dictionary.field_name(Version(0), 1527), Some("EncodedDocumentationText"));
        assert_eq!(dictionary.field_name(Version::NEWEST, 9717), None);
        assert_eq!(dictionary.message(Version(4), b"D").map(|message| message.name), Some("NewOrderSingle"));
        assert_eq!(dictionary.message(Version::NEWEST, b"A").map(|message| message.name), Some("Logon"));
        assert!(dictionary.message(Version(4), b"U1").is_none());
    }

    #[test]
    fn numbers_of_groups_hold() {
        let dictionary = dictionary();
        let inner = dictionary.groups.iter().flat_map(|group| &group.inner);
        let messages = dictionary.messages.iter().flat_map(HashMap::values);
        let outer = messages.flat_map(|message| &message.groups);
        assert!(inner.chain(outer).all(|&number| usize::from(number) < dictionary.groups.len()));
    }
}
