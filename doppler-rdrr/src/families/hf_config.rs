//! Hugging Face's `config.json`, loosely typed: each family asks for the settings it knows, and an answer of the wrong
//! type is an error that names the setting.

use serde_json::{Map, Value};

use crate::Error;

/// The settings of a model under Hugging Face's names. `null` counts as absent.
#[derive(Debug, Clone, PartialEq)]
pub struct HfConfig {
    settings: Map<String, Value>,
}

impl HfConfig {
    /// Wraps settings that are already parsed.
    #[must_use]
    pub fn new(settings: Map<String, Value>) -> Self {
        HfConfig { settings }
    }

    /// The settings as they are.
    #[must_use]
    pub fn settings(&self) -> &Map<String, Value> {
        &self.settings
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.settings.get(key).filter(|value| !value.is_null())
    }

    fn typed<'v, T>(
        &'v self,
        key: &str,
        expected: &'static str,
        read: impl FnOnce(&'v Value) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let found = || Error::KeyType { key: key.to_owned(), expected, found: shorten(value) };
        read(value).map(Some).ok_or_else(found)
    }

    /// The first entry of `architectures`.
    ///
    /// # Errors
    /// [`Error::MissingKey`] or [`Error::KeyType`].
    pub fn architecture(&self) -> Result<&str, Error> {
        let first = self.typed("architectures", "a list of names", |value| value.as_array()?.first()?.as_str())?;
        required("architectures", first)
    }

    /// A whole number that must be there.
    ///
    /// # Errors
    /// [`Error::MissingKey`] or [`Error::KeyType`].
    pub fn size(&self, key: &str) -> Result<usize, Error> {
        required(key, self.optional_size(key)?)
    }

    /// A whole number that may be absent.
    ///
    /// # Errors
    /// [`Error::KeyType`].
    pub fn optional_size(&self, key: &str) -> Result<Option<usize>, Error> {
        self.typed(key, "a whole number", |value| usize::try_from(value.as_u64()?).ok())
    }

    /// A number that may be absent.
    ///
    /// # Errors
    /// [`Error::KeyType`].
    pub fn number(&self, key: &str) -> Result<Option<f64>, Error> {
        self.typed(key, "a number", Value::as_f64)
    }

    /// A truth value; absent means false.
    ///
    /// # Errors
    /// [`Error::KeyType`].
    pub fn flag(&self, key: &str) -> Result<bool, Error> {
        Ok(self.optional_flag(key)?.unwrap_or(false))
    }

    /// A truth value that may be absent.
    ///
    /// # Errors
    /// [`Error::KeyType`].
    pub fn optional_flag(&self, key: &str) -> Result<Option<bool>, Error> {
        self.typed(key, "true or false", Value::as_bool)
    }

    /// A list of numbers that may be absent.
    ///
    /// # Errors
    /// [`Error::KeyType`].
    pub fn numbers(&self, key: &str) -> Result<Option<Vec<f64>>, Error> {
        self.typed(key, "a list of numbers", |value| value.as_array()?.iter().map(Value::as_f64).collect())
    }

    /// A list of words that may be absent.
    ///
    /// # Errors
    /// [`Error::KeyType`].
    pub fn words(&self, key: &str) -> Result<Option<Vec<&str>>, Error> {
        self.typed(key, "a list of strings", |value| value.as_array()?.iter().map(Value::as_str).collect())
    }

    /// A word that may be absent.
    ///
    /// # Errors
    /// [`Error::KeyType`].
    pub fn word(&self, key: &str) -> Result<Option<&str>, Error> {
        self.typed(key, "a string", Value::as_str)
    }

    /// A group of settings that may be absent.
    ///
    /// # Errors
    /// [`Error::KeyType`].
    pub fn group(&self, key: &str) -> Result<Option<HfConfig>, Error> {
        self.typed(key, "an object", |value| value.as_object().cloned().map(HfConfig::new))
    }

    /// One id or a list of ids; absent means none.
    ///
    /// # Errors
    /// [`Error::KeyType`].
    pub fn ids(&self, key: &str) -> Result<Vec<u32>, Error> {
        let id = |value: &Value| u32::try_from(value.as_u64()?).ok();
        let read = |value: &Value| match value {
            Value::Array(list) => list.iter().map(id).collect(),
            one => id(one).map(|id| vec![id]),
        };
        Ok(self.typed(key, "an id or a list of ids", read)?.unwrap_or_default())
    }

    /// Refuses a setting that is on.
    ///
    /// # Errors
    /// [`Error::UnsupportedSetting`] or [`Error::KeyType`].
    pub fn refuse(&self, key: &str) -> Result<(), Error> {
        if self.flag(key)? {
            return Err(Error::UnsupportedSetting { key: key.to_owned(), found: "true".to_owned() });
        }
        Ok(())
    }
}

fn required<T>(key: &str, value: Option<T>) -> Result<T, Error> {
    value.ok_or_else(|| Error::MissingKey { key: key.to_owned() })
}

/// A value for a message: foreign text of any length does not belong there.
fn shorten(value: &Value) -> String {
    let text = value.to_string();
    text.chars().take(80).collect()
}
