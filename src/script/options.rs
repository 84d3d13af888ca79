//! Option maps: each key is asked for by name and type, and a key that nobody asked for is an error, not a silence.

use std::time::Duration;

use rhai::{Array, Dynamic, Map};

use super::did_you_mean;
use super::time::Span;
use crate::error::{Error, Kind, Result};
use crate::secret::Secret;
use crate::units;

/// The options of one call.
pub struct Options {
    verb: &'static str,
    map: Map,
    asked: Vec<&'static str>,
}

impl Options {
    /// Takes the map of a call of `verb`; unit is an empty map.
    pub fn new(verb: &'static str, value: Dynamic) -> Result<Self> {
        let map = if value.is_unit() {
            Map::new()
        } else {
            let found = super::type_word(&value);
            value.try_cast::<Map>().ok_or_else(|| {
                Error::new(Kind::Usage, format!("the options of {verb} are a map, not {found}"))
                    .hint("write #{ name: value, … }")
            })?
        };
        Ok(Self { verb, map, asked: Vec::new() })
    }

    /// Takes a value of any type.
    pub fn any(&mut self, key: &'static str) -> Option<Dynamic> {
        self.asked.push(key);
        self.map.remove(key).filter(|v| !v.is_unit())
    }

    /// Takes a text.
    pub fn text(&mut self, key: &'static str) -> Result<Option<String>> {
        self.typed(key, "a string", |v| v.into_string().ok())
    }

    /// Takes a text that must be there.
    pub fn needed(&mut self, key: &'static str) -> Result<String> {
        self.text(key)?.ok_or_else(|| Error::new(Kind::Usage, format!("{} needs the option `{key}`", self.verb)))
    }

    /// Takes a whole number.
    pub fn integer(&mut self, key: &'static str) -> Result<Option<i64>> {
        self.typed(key, "an integer", |v| v.as_int().ok())
    }

    /// Takes a number of things, from 1.
    pub fn count(&mut self, key: &'static str) -> Result<Option<usize>> {
        self.typed(key, "a whole number from 1", |v| {
            v.as_int().ok().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0)
        })
    }

    /// Takes a port.
    pub fn port(&mut self, key: &'static str) -> Result<Option<u16>> {
        self.typed(key, "a port from 1 to 65535", |v| {
            v.as_int().ok().and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0)
        })
    }

    /// Takes yes or no; absent is no.
    pub fn flag(&mut self, key: &'static str) -> Result<bool> {
        Ok(self.typed(key, "true or false", |v| v.as_bool().ok())?.unwrap_or(false))
    }

    /// Takes yes or no; absent is yes.
    pub fn flag_or_yes(&mut self, key: &'static str) -> Result<bool> {
        Ok(self.typed(key, "true or false", |v| v.as_bool().ok())?.unwrap_or(true))
    }

    /// Takes a duration: `"15m"`, or a number of seconds.
    pub fn duration(&mut self, key: &'static str) -> Result<Option<Duration>> {
        self.any(key).map(|value| duration(&value).map_err(|e| self.in_option(key, e))).transpose()
    }

    /// Takes a size: `"512MB"`, or a number of bytes.
    pub fn size(&mut self, key: &'static str) -> Result<Option<u64>> {
        let Some(value) = self.any(key) else { return Ok(None) };
        let bytes = match value.as_int() {
            Ok(bytes) => u64::try_from(bytes).map_err(|_| Error::new(Kind::Usage, "a size is not negative")),
            Err(_) => units::parse_size(&value.to_string()),
        };
        bytes.map(Some).map_err(|e| self.in_option(key, e))
    }

    /// Takes a list of texts; a single text is a list of one.
    pub fn texts(&mut self, key: &'static str) -> Result<Vec<String>> {
        let Some(value) = self.any(key) else { return Ok(Vec::new()) };
        if value.is_string() {
            return Ok(vec![value.to_string()]);
        }
        let texts = value.try_cast::<Array>().and_then(|a| a.into_iter().map(|v| v.into_string().ok()).collect());
        texts.ok_or_else(|| self.wrong(key, "a list of strings"))
    }

    /// Takes a map of texts.
    pub fn text_map(&mut self, key: &'static str) -> Result<Vec<(String, String)>> {
        let Some(value) = self.any(key) else { return Ok(Vec::new()) };
        let pairs = value.try_cast::<Map>().map(|m| {
            m.into_iter().map(|(k, v)| (k.to_string(), v.into_string())).map(|(k, v)| v.ok().map(|v| (k, v))).collect()
        });
        pairs.flatten().ok_or_else(|| self.wrong(key, "a map of strings"))
    }

    /// Takes a secret: what `secret(…)` returned, or a text, which is hidden from now on.
    pub fn secret(&mut self, key: &'static str) -> Result<Option<Secret>> {
        self.typed(key, "a secret or a string", |v| {
            v.clone().try_cast::<Secret>().or_else(|| v.into_string().ok().map(Secret::new))
        })
    }

    /// Ends the reading: every key that is left is unknown.
    pub fn finish(self) -> Result<()> {
        match self.map.keys().next() {
            None => Ok(()),
            Some(key) => {
                let error = Error::new(Kind::Usage, format!("{} has no option `{key}`", self.verb));
                Err(match did_you_mean(key, self.asked) {
                    Some(hint) => error.hint(hint),
                    None => error,
                })
            }
        }
    }

    fn typed<T>(
        &mut self,
        key: &'static str,
        wanted: &str,
        read: impl FnOnce(Dynamic) -> Option<T>,
    ) -> Result<Option<T>> {
        match self.any(key) {
            None => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| self.wrong(key, wanted)),
        }
    }

    fn wrong(&self, key: &str, wanted: &str) -> Error {
        Error::new(Kind::Usage, format!("the option `{key}` of {} is {wanted}", self.verb))
    }

    fn in_option(&self, key: &str, cause: Error) -> Error {
        Error::new(Kind::Usage, format!("the option `{key}` of {} cannot be read", self.verb)).caused_by_error(cause)
    }
}

/// Reads a duration that a script gave: `"15m"`, a number of seconds, or the difference of two times.
pub fn duration(value: &Dynamic) -> Result<Duration> {
    let seconds = value
        .read_lock::<Span>()
        .map(|s| s.0)
        .or_else(|| value.as_int().ok().map(|n| n as f64))
        .or_else(|| value.as_float().ok());
    match seconds {
        Some(seconds) => Duration::try_from_secs_f64(seconds)
            .map_err(|e| Error::new(Kind::Usage, "a duration is not negative").because(&e)),
        None => units::parse_duration(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(script: &str) -> Options {
        let map = rhai::Engine::new().eval::<Dynamic>(script).unwrap();
        Options::new("sandbox", map).unwrap()
    }

    #[test]
    fn options_are_read_by_name_and_type() {
        let mut o = options(
            "#{image: \"postgres:16\", timeout: \"15m\", memory: \"2GB\", port: 5433, keep: true, tables: [\"a\", \"b\"]}",
        );
        assert_eq!(o.text("image").unwrap().as_deref(), Some("postgres:16"));
        assert_eq!(o.duration("timeout").unwrap(), Some(Duration::from_secs(900)));
        assert_eq!(o.size("memory").unwrap(), Some(2_000_000_000));
        assert_eq!(o.port("port").unwrap(), Some(5433));
        assert!(o.flag("keep").unwrap());
        assert_eq!(o.texts("tables").unwrap(), ["a", "b"]);
        assert!(o.text("absent").unwrap().is_none());
        o.finish().unwrap();
    }

    #[test]
    fn an_unknown_option_is_an_error_that_knows_better() {
        let mut o = options("#{imgae: \"postgres:16\"}");
        o.text("image").unwrap();
        let error = o.finish().unwrap_err();
        assert_eq!(error.message(), "sandbox has no option `imgae`");
        assert_eq!(error.next_step(), Some("did you mean `image`?"));
    }

    #[test]
    fn a_wrong_type_says_what_is_wanted() {
        assert_eq!(
            options("#{port: 0}").port("port").unwrap_err().message(),
            "the option `port` of sandbox is a port from 1 to 65535"
        );
        assert!(options("#{timeout: \"soon\"}").duration("timeout").is_err());
    }
}
