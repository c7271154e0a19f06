//! One table per message: [`layouts!`] turns the rows of a specification's table into a struct for the hot path, its size
//! check, and the description that `decode` prints, so that the three cannot disagree. The field types stand here too.

use serde_json::{Map, Value};
use tickscope_model::{Decimal, Loss, Side};
use zerocopy::byteorder::{big_endian, little_endian};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// The whole of a message under the names of its specification.
pub(crate) type Fields = Map<String, Value>;

/// A column of a table in a specification.
pub(crate) trait Field {
    /// Adds what stands here under its name.
    fn put(&self, title: &str, fields: &mut Fields);

    /// Whether the specification allows this value; probes ask, decoders do not.
    fn is_plausible(&self) -> bool {
        true
    }
}

/// A message, as `layouts!` declares it.
pub(crate) trait Layout: FromBytes + KnownLayout + Immutable + Unaligned {
    fn put_fields(&self, fields: &mut Fields);
    fn is_plausible(&self) -> bool;
}

/// A layout inside another one: its rows are rows of the whole, so it has no title of its own.
impl<T: Layout> Field for T {
    fn put(&self, _title: &str, fields: &mut Fields) {
        self.put_fields(fields);
    }
    fn is_plausible(&self) -> bool {
        Layout::is_plausible(self)
    }
}

/// An entry of a protocol's list of messages.
pub(crate) struct Message {
    pub(crate) code: u8,
    /// The specification's own name.
    pub(crate) name: &'static str,
    pub(crate) size: usize,
    pub(crate) put_fields: fn(&[u8], &mut Fields),
    pub(crate) is_plausible: fn(&[u8]) -> bool,
}

impl Message {
    pub(crate) const fn of<T: Layout>(code: u8, name: &'static str) -> Message {
        Message { code, name, size: size_of::<T>(), put_fields: put_fields::<T>, is_plausible: is_plausible::<T> }
    }

    pub(crate) fn find(code: u8, messages: &'static [Message]) -> Option<&'static Message> {
        messages.iter().find(|message| message.code == code)
    }
}

fn put_fields<T: Layout>(bytes: &[u8], fields: &mut Fields) {
    if let Ok((message, _)) = T::ref_from_prefix(bytes) {
        message.put_fields(fields);
    }
}

fn is_plausible<T: Layout>(bytes: &[u8]) -> bool {
    T::ref_from_prefix(bytes).is_ok_and(|(message, _)| message.is_plausible())
}

/// A message of exactly this layout.
#[inline]
pub(crate) fn exactly<T: Layout>(bytes: &[u8]) -> Result<&T, Loss> {
    T::ref_from_bytes(bytes).map_err(|_| Loss::Malformed)
}

/// A message of this layout, which its specification may make longer at any time.
#[inline]
pub(crate) fn at_least<T: Layout>(bytes: &[u8]) -> Result<&T, Loss> {
    T::ref_from_prefix(bytes).map(|(message, _)| message).map_err(|_| Loss::Malformed)
}

/// `Name[size in bytes] { field: Type = "Name in the specification", … }`, rows in the order of the wire.
macro_rules! layouts {
    ($($(#[$meta:meta])* $name:ident[$size:literal] { $($field:ident: $type:ty = $title:literal,)* })*) => {$(
        $(#[$meta])*
        #[derive(zerocopy::FromBytes, zerocopy::KnownLayout, zerocopy::Immutable, zerocopy::Unaligned)]
        #[repr(C)]
        #[allow(clippy::struct_field_names, reason = "the specification chose them")]
        pub(crate) struct $name { $(pub(crate) $field: $type,)* }
        const _: () = assert!(size_of::<$name>() == $size);

        impl $crate::market::layout::Layout for $name {
            fn put_fields(&self, fields: &mut $crate::market::layout::Fields) {
                $($crate::market::layout::Field::put(&self.$field, $title, fields);)*
            }

            fn is_plausible(&self) -> bool {
                true $(&& $crate::market::layout::Field::is_plausible(&self.$field))*
            }
        }
    )*};
}
pub(crate) use layouts;

/// Text without the spaces that pad it. Bytes beyond ASCII are kept, each as the character of its number.
pub(crate) fn text(bytes: &[u8]) -> String {
    let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
    text.trim_end_matches([' ', '\0']).to_owned()
}

fn is_printable(byte: u8) -> bool {
    byte == b' ' || byte.is_ascii_graphic()
}

/// One character with a meaning.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Code(pub(crate) u8);

impl Field for Code {
    fn put(&self, title: &str, fields: &mut Fields) {
        fields.insert(title.to_owned(), char::from(self.0).to_string().into());
    }
    fn is_plausible(&self) -> bool {
        is_printable(self.0)
    }
}

/// `B` or `S`.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(transparent)]
pub(crate) struct BuySell(u8);

impl BuySell {
    #[inline]
    pub(crate) fn side(self) -> Option<Side> {
        match self.0 {
            b'B' => Some(Side::Buy),
            b'S' => Some(Side::Sell),
            _ => None,
        }
    }
}

impl Field for BuySell {
    fn put(&self, title: &str, fields: &mut Fields) {
        Code(self.0).put(title, fields);
    }
    fn is_plausible(&self) -> bool {
        self.side().is_some()
    }
}

/// `B` or `S`, or one of the letters for no imbalance.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(transparent)]
pub(crate) struct ImbalanceSide(BuySell);

impl ImbalanceSide {
    #[inline]
    pub(crate) fn side(self) -> Option<Side> {
        self.0.side()
    }
}

impl Field for ImbalanceSide {
    fn put(&self, title: &str, fields: &mut Fields) {
        self.0.put(title, fields);
    }
    fn is_plausible(&self) -> bool {
        self.0.0.is_ascii_uppercase()
    }
}

/// Text, left justified and padded with spaces.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Alpha<const N: usize>([u8; N]);

impl<const N: usize> Field for Alpha<N> {
    fn put(&self, title: &str, fields: &mut Fields) {
        fields.insert(title.to_owned(), text(&self.0).into());
    }
    fn is_plausible(&self) -> bool {
        self.0.iter().all(|&byte| is_printable(byte))
    }
}

/// The symbol of an instrument: eight characters, padded with spaces.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Stock(pub(crate) [u8; 8]);

impl Stock {
    /// The eight characters as a number: one comparison, no hashing of text. 0 for a blank symbol.
    #[inline]
    pub(crate) fn key(self) -> u64 {
        let key = u64::from_le_bytes(self.0);
        if key == u64::from_le_bytes(*b"        ") { 0 } else { key }
    }
}

impl Field for Stock {
    fn put(&self, title: &str, fields: &mut Fields) {
        fields.insert(title.to_owned(), text(&self.0).into());
    }
    fn is_plausible(&self) -> bool {
        let name = self.0.iter().position(|&byte| byte == b' ').unwrap_or(self.0.len());
        let (name, padding) = self.0.split_at(name);
        name.first().is_some_and(u8::is_ascii_alphanumeric)
            && name.iter().all(u8::is_ascii_graphic)
            && padding.iter().all(|&byte| byte == b' ')
    }
}

/// Nanoseconds since midnight in 48 bits, big endian.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(crate) struct SinceMidnight(big_endian::U16, big_endian::U32);

impl SinceMidnight {
    #[inline]
    pub(crate) fn get(self) -> u64 {
        u64::from(self.0.get()) << 32 | u64::from(self.1.get())
    }
}

impl Field for SinceMidnight {
    fn put(&self, title: &str, fields: &mut Fields) {
        fields.insert(title.to_owned(), self.get().into());
    }
    fn is_plausible(&self) -> bool {
        self.get() < 86_400_000_000_000
    }
}

/// Four digits behind the point, big endian.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Price4(big_endian::U32);

impl Price4 {
    #[inline]
    pub(crate) fn get(self) -> Decimal {
        Decimal::new(i64::from(self.0.get()), 4)
    }
}

impl Field for Price4 {
    fn put(&self, title: &str, fields: &mut Fields) {
        fields.insert(title.to_owned(), self.get().trimmed().to_string().into());
    }
    fn is_plausible(&self) -> bool {
        self.0.get() <= 2_000_000_000 // 200,000.0000 is the highest price, section "Data Types".
    }
}

/// Eight digits behind the point, big endian.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Price8(big_endian::U64);

impl Field for Price8 {
    fn put(&self, title: &str, fields: &mut Fields) {
        let digits = self.0.get();
        let text = match i64::try_from(digits) {
            Ok(digits) => Decimal::new(digits, 8).trimmed().to_string(),
            Err(_) => format!("{}.{:08}", digits / 100_000_000, digits % 100_000_000),
        };
        fields.insert(title.to_owned(), text.into());
    }
}

/// Four digits behind the point, signed, little endian (IEX).
#[derive(FromBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(transparent)]
pub(crate) struct LongPrice(little_endian::I64);

impl LongPrice {
    #[inline]
    pub(crate) fn get(self) -> Decimal {
        Decimal::new(self.0.get(), 4)
    }
}

impl Field for LongPrice {
    fn put(&self, title: &str, fields: &mut Fields) {
        fields.insert(title.to_owned(), self.get().trimmed().to_string().into());
    }
}

/// Integers appear as they are.
macro_rules! integers {
    ($($type:ty, $self:ident => $value:expr;)*) => {$(
        impl Field for $type {
            fn put(&$self, title: &str, fields: &mut Fields) {
                fields.insert(title.to_owned(), $value.into());
            }
        }
    )*};
}
integers! {
    u8, self => *self;
    big_endian::U16, self => self.get();
    big_endian::U32, self => self.get();
    big_endian::U64, self => self.get();
    little_endian::U32, self => self.get();
    little_endian::I64, self => self.get();
}
