//! The typed values of GGUF metadata, read in place from the file's bytes. Knows nothing of what a key means.

use crate::Error;

/// Longest string accepted, in bytes: above every chat template and licence text.
const MAX_STRING: u64 = 16 << 20;
/// How deep arrays may hold arrays. Writers never nest at all.
const MAX_DEPTH: usize = 4;

/// A position in the file; every read is checked against its end.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// What is being read, for messages: a word and the name of the thing.
pub(super) type What<'w> = (&'static str, &'w str);

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Cursor { bytes, at: 0 }
    }

    pub(super) fn position(&self) -> u64 {
        self.at as u64
    }

    fn remaining(&self) -> u64 {
        (self.bytes.len() - self.at) as u64
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: u64, what: What<'_>) -> Result<&'a [u8], Error> {
        self.expect(count, what)?;
        let end = self.at + count as usize;
        let bytes = &self.bytes[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    /// Fails unless `count` more bytes are there, so that nothing is allocated or looped over on a lie.
    fn expect(&self, count: u64, what: What<'_>) -> Result<(), Error> {
        if count <= self.remaining() {
            return Ok(());
        }
        let length = self.bytes.len() as u64;
        Err(Error::GgufTruncated { what: describe(what), offset: self.position(), needed: count, length })
    }

    fn array<const N: usize>(&mut self, what: What<'_>) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64, what)?);
        Ok(array)
    }

    pub(super) fn u32(&mut self, what: What<'_>) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(super) fn u64(&mut self, what: What<'_>) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A string of at most `limit` bytes, behind its length.
    pub(super) fn string(&mut self, limit: u64, what: What<'_>) -> Result<&'a str, Error> {
        let length = self.u64(what)?;
        if length > limit {
            return Err(Error::TooLarge { what: format!("the length of {}", describe(what)), size: length, limit });
        }
        let bytes = self.take(length, what)?;
        std::str::from_utf8(bytes).map_err(|_| Error::NotUtf8 { what: describe(what) })
    }
}

fn describe((word, name): What<'_>) -> String {
    if name.is_empty() { word.to_owned() } else { format!("{word} `{name}`") }
}

/// The type of a metadata value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ValueType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    Array,
    U64,
    I64,
    F64,
}

/// In the order of GGUF's numbers.
const TYPES: [ValueType; 13] = [
    ValueType::U8,
    ValueType::I8,
    ValueType::U16,
    ValueType::I16,
    ValueType::U32,
    ValueType::I32,
    ValueType::F32,
    ValueType::Bool,
    ValueType::String,
    ValueType::Array,
    ValueType::U64,
    ValueType::I64,
    ValueType::F64,
];

impl ValueType {
    fn read(cursor: &mut Cursor<'_>, key: &str) -> Result<Self, Error> {
        let found = cursor.u32(("the type of metadata", key))?;
        TYPES.get(found as usize).copied().ok_or_else(|| Error::GgufValueType { key: key.to_owned(), found })
    }

    /// Bytes of one value; for strings and arrays, of the shortest there is.
    fn least_bytes(self) -> u64 {
        match self {
            ValueType::U8 | ValueType::I8 | ValueType::Bool => 1,
            ValueType::U16 | ValueType::I16 => 2,
            ValueType::U32 | ValueType::I32 | ValueType::F32 => 4,
            ValueType::String | ValueType::U64 | ValueType::I64 | ValueType::F64 => 8,
            ValueType::Array => 12,
        }
    }
}

/// A metadata value; strings and arrays are borrowed from the file.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)]
pub enum Value<'a> {
    Unsigned(u64),
    Signed(i64),
    /// A 32-bit float keeps its width, because its shortest decimal is what the writer meant.
    F32(f32),
    F64(f64),
    Bool(bool),
    String(&'a str),
    Array(Array<'a>),
}

impl<'a> Value<'a> {
    pub(super) fn read(cursor: &mut Cursor<'a>, key: &str) -> Result<Self, Error> {
        let kind = ValueType::read(cursor, key)?;
        Self::read_as(kind, cursor, key, 0)
    }

    fn read_as(kind: ValueType, cursor: &mut Cursor<'a>, key: &str, depth: usize) -> Result<Self, Error> {
        let what = ("the value of metadata", key);
        Ok(match kind {
            ValueType::U8 => Value::Unsigned(u8::from_le_bytes(cursor.array(what)?).into()),
            ValueType::I8 => Value::Signed(i8::from_le_bytes(cursor.array(what)?).into()),
            ValueType::U16 => Value::Unsigned(u16::from_le_bytes(cursor.array(what)?).into()),
            ValueType::I16 => Value::Signed(i16::from_le_bytes(cursor.array(what)?).into()),
            ValueType::U32 => Value::Unsigned(cursor.u32(what)?.into()),
            ValueType::I32 => Value::Signed(i32::from_le_bytes(cursor.array(what)?).into()),
            ValueType::F32 => Value::F32(f32::from_le_bytes(cursor.array(what)?)),
            ValueType::U64 => Value::Unsigned(cursor.u64(what)?),
            ValueType::I64 => Value::Signed(i64::from_le_bytes(cursor.array(what)?)),
            ValueType::F64 => Value::F64(f64::from_le_bytes(cursor.array(what)?)),
            ValueType::Bool => match cursor.array(what)? {
                [0] => Value::Bool(false),
                [1] => Value::Bool(true),
                [found] => return Err(Error::GgufBool { key: key.to_owned(), found }),
            },
            ValueType::String => Value::String(cursor.string(MAX_STRING, what)?),
            ValueType::Array => Value::Array(Array::read(cursor, key, depth)?),
        })
    }
}

/// An array of values of one type, checked when the file was parsed and decoded again whenever it is asked for:
/// a vocabulary of 256 000 tokens costs no allocation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Array<'a> {
    items: ValueType,
    len: usize,
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    fn read(cursor: &mut Cursor<'a>, key: &str, depth: usize) -> Result<Self, Error> {
        if depth == MAX_DEPTH {
            return Err(Error::GgufNesting { key: key.to_owned(), limit: MAX_DEPTH });
        }
        let what = ("the array of metadata", key);
        let items = ValueType::read(cursor, key)?;
        let len = cursor.u64(what)?;
        cursor.expect(len.saturating_mul(items.least_bytes()), what)?;
        let start = cursor.clone();
        match items {
            ValueType::String | ValueType::Array | ValueType::Bool => {
                for _ in 0..len {
                    Value::read_as(items, cursor, key, depth + 1)?;
                }
            }
            // Every bit pattern is a number.
            _ => drop(cursor.take(len * items.least_bytes(), what)?),
        }
        let bytes = &start.bytes[start.at..cursor.at];
        Ok(Array { items, len: len as usize, bytes })
    }

    /// Number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there are no items.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The type of the items.
    #[must_use]
    pub fn item_type(&self) -> ValueType {
        self.items
    }

    /// The items in order.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let items = self.items;
        let mut cursor = Cursor::new(self.bytes);
        // Parsed once before, so that nothing can fail here; a failure would only end the iteration.
        (0..self.len).map_while(move |_| Value::read_as(items, &mut cursor, "", 0).ok())
    }
}
