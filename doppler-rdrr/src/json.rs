//! Strict JSON for foreign files: repeated keys are errors, sizes are capped, and every wrong field is named by its
//! path. Knows nothing about models.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::Error;

/// The largest JSON file that is read, in bytes.
pub(crate) const MAX_JSON_BYTES: u64 = 100 << 20;
/// The most values one JSON file may hold: each takes far more memory than the two bytes it may be written in.
const MAX_VALUES: u32 = 8 << 20;

/// Parses `bytes` (the content of `file`, named in errors) as one JSON object.
pub(crate) fn parse_object(file: &str, bytes: &[u8]) -> Result<Map<String, Value>, Error> {
    let length = bytes.len() as u64;
    if length > MAX_JSON_BYTES {
        return Err(Error::TooLarge { what: file.to_owned(), size: length, limit: MAX_JSON_BYTES });
    }
    let mut state = State { values: 0, duplicate: None };
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict(&mut state).deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    match value {
        Ok(Value::Object(map)) => Ok(map),
        Ok(other) => Err(Error::InvalidField { field: file.to_owned(), expected: "an object", found: brief(&other) }),
        Err(source) => Err(match state.duplicate {
            Some(key) => Error::DuplicateKey { file: file.to_owned(), key },
            None if state.values > MAX_VALUES => Error::TooLarge {
                what: format!("the number of values in {file}"),
                size: u64::from(state.values),
                limit: u64::from(MAX_VALUES),
            },
            None => Error::Json { file: file.to_owned(), source },
        }),
    }
}

struct State {
    values: u32,
    duplicate: Option<String>,
}

struct Strict<'s>(&'s mut State);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.0.values += 1;
        if self.0.values > MAX_VALUES {
            return Err(D::Error::custom("too many values"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(Value::from(v))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(Value::from(v))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(Number::from_f64(v).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::String(v.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Strict(self.0))? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if map.contains_key(&key) {
                self.0.duplicate = Some(key);
                return Err(A::Error::custom("repeated key"));
            }
            let value = access.next_value_seed(Strict(self.0))?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// A value as error messages quote it: short, whatever its size.
pub(crate) fn brief(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(map) => format!("an object of {} fields", map.len()),
        Value::String(text) if text.len() > 60 => format!("{:?}…", text.chars().take(60).collect::<String>()),
        other => other.to_string(),
    }
}

/// A JSON object and where it stands, so that errors can name `inference.attention.slidingWindow`.
#[derive(Clone, Copy)]
pub(crate) struct Object<'a> {
    pub(crate) map: &'a Map<String, Value>,
    at: &'a str,
}

impl<'a> Object<'a> {
    /// `at` is the path of the object, empty for the whole file.
    pub(crate) fn new(map: &'a Map<String, Value>, at: &'a str) -> Self {
        Object { map, at }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        if self.at.is_empty() { name.to_owned() } else { format!("{}.{name}", self.at) }
    }

    /// The field, which must be there; it may be null.
    pub(crate) fn field(&self, name: &str) -> Result<&'a Value, Error> {
        self.map.get(name).ok_or_else(|| Error::MissingField { field: self.path(name) })
    }

    /// The field where it is there and not null.
    pub(crate) fn maybe(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn invalid(&self, name: &str, expected: &'static str, found: &Value) -> Error {
        Error::InvalidField { field: self.path(name), expected, found: brief(found) }
    }

    pub(crate) fn string(&self, name: &str) -> Result<&'a str, Error> {
        let value = self.field(name)?;
        value.as_str().ok_or_else(|| self.invalid(name, "a string", value))
    }

    pub(crate) fn maybe_string(&self, name: &str) -> Result<Option<&'a str>, Error> {
        self.maybe(name).map(|value| value.as_str().ok_or_else(|| self.invalid(name, "a string", value))).transpose()
    }

    pub(crate) fn bool(&self, name: &str) -> Result<bool, Error> {
        let value = self.field(name)?;
        value.as_bool().ok_or_else(|| self.invalid(name, "true or false", value))
    }

    /// A whole number; `1024.0` counts as one, since other writers do not tell them apart.
    pub(crate) fn whole(&self, name: &str) -> Result<u64, Error> {
        let value = self.field(name)?;
        whole(value).ok_or_else(|| self.invalid(name, "a whole number", value))
    }

    /// A size: a whole number from 1 to 2³¹.
    pub(crate) fn size(&self, name: &str) -> Result<usize, Error> {
        let value = self.field(name)?;
        size(value).ok_or_else(|| self.invalid(name, "a whole number from 1 to 2147483648", value))
    }

    /// A size or null; the field must be there.
    pub(crate) fn size_or_null(&self, name: &str) -> Result<Option<usize>, Error> {
        if self.field(name)?.is_null() { Ok(None) } else { self.size(name).map(Some) }
    }

    /// A number above 0.
    pub(crate) fn positive(&self, name: &str) -> Result<f64, Error> {
        let value = self.field(name)?;
        value.as_f64().filter(|x| *x > 0.0).ok_or_else(|| self.invalid(name, "a number above 0", value))
    }

    /// A number above 0 or null; the field must be there.
    pub(crate) fn positive_or_null(&self, name: &str) -> Result<Option<f64>, Error> {
        if self.field(name)?.is_null() { Ok(None) } else { self.positive(name).map(Some) }
    }

    pub(crate) fn object(&self, name: &str) -> Result<&'a Map<String, Value>, Error> {
        let value = self.field(name)?;
        value.as_object().ok_or_else(|| self.invalid(name, "an object", value))
    }

    pub(crate) fn list(&self, name: &str) -> Result<&'a [Value], Error> {
        let value = self.field(name)?;
        value.as_array().map(Vec::as_slice).ok_or_else(|| self.invalid(name, "a list", value))
    }
}

/// A whole number that is not negative, also when written `1024.0`.
pub(crate) fn whole(value: &Value) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    value
        .as_u64()
        .or_else(|| value.as_f64().filter(|x| x.fract() == 0.0 && (0.0..=EXACT).contains(x)).map(|x| x as u64))
}

/// A whole number from 1 to 2³¹.
pub(crate) fn size(value: &Value) -> Option<usize> {
    whole(value).filter(|n| (1..=1 << 31).contains(n)).and_then(|n| usize::try_from(n).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_everything_in_order() {
        let text = r#"{"b":[1,-2,0.5,"x",null,true],"a":{"c":18446744073709551615}}"#;
        assert_eq!(serde_json::to_string(&parse_object("f", text.as_bytes()).unwrap()).unwrap(), text);
    }

    #[test]
    fn refuses() {
        assert!(
            matches!(parse_object("f", br#"{"a":{"b":1,"b":1}}"#), Err(Error::DuplicateKey { key, .. }) if key == "b")
        );
        assert!(matches!(parse_object("f", b"{} {}"), Err(Error::Json { .. })));
        assert!(matches!(parse_object("f", b"[]"), Err(Error::InvalidField { .. })));
        assert!(matches!(parse_object("f", "[".repeat(100_000).as_bytes()), Err(Error::Json { .. })));
    }

    #[test]
    fn numbers() {
        let map = parse_object("f", br#"{"a":2.0,"b":-1,"c":1e300,"d":2147483649}"#).unwrap();
        let object = Object::new(&map, "x.y");
        assert_eq!(object.size("a").unwrap(), 2);
        assert!(matches!(object.size("b"), Err(Error::InvalidField { field, .. }) if field == "x.y.b"));
        assert!(object.whole("c").is_err());
        assert!(object.size("d").is_err());
        assert!(matches!(object.bool("e"), Err(Error::MissingField { field }) if field == "x.y.e"));
    }
}
