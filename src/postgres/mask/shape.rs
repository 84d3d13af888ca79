//! What a hash looks like in each type: a value that the type takes, and that comes out of the restored database as it
//! went in.

use std::io::Write;

use jiff::civil::Date;
use jiff::{Span, Unit};

use super::key::Key;

/// The digits of a hash in a text: 128 bits.
pub(super) const DIGITS: usize = 32;
/// Dates are exchanged within as many days, about 45 years.
const DAYS: i32 = 1 << 14;
/// The widest number that is masked.
pub(super) const WIDEST: u32 = 38;

/// The form of a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Hexadecimal digits.
    Text {
        /// How many.
        length: usize,
        /// Upper and lower case are the same to the type.
        fold: bool,
        /// The type is `char`: blanks at the end count for nothing, and it fills with them up to this length.
        pad: Option<usize>,
    },
    /// A version 4 UUID.
    Uuid,
    /// A whole number with the sign of the old one.
    Whole {
        /// The type's bits.
        bits: u32,
    },
    /// A number with the sign of the old one and as many digits as the type has.
    Decimal {
        /// All digits.
        digits: u32,
        /// Those behind the point.
        scale: u32,
    },
    /// A whole number of 18 digits, for a type without bounds.
    Number,
    /// Another day in the same 45 years.
    Date,
    /// Another moment in the same 45 years.
    Moment {
        /// The digits of a second's fraction.
        fraction: u32,
        /// Whether it is one in UTC.
        zone: bool,
    },
    /// Bytes.
    Bytes,
    /// A JSON text.
    Json,
}

impl Shape {
    /// Returns what a value of this shape is called.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Text { .. } => "text",
            Self::Uuid => "UUID",
            Self::Whole { .. } | Self::Decimal { .. } | Self::Number => "number",
            Self::Date => "date",
            Self::Moment { .. } => "moment",
            Self::Bytes => "bytes",
            Self::Json => "JSON",
        }
    }

    /// Appends what stands for `field` in COPY's spelling; nothing is returned where the field is not what its type says.
    ///
    /// The field stays in COPY's spelling, too: one value has one spelling.
    pub(super) fn masked(self, key: &Key, field: &[u8], out: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::Text { length, fold, pad } => {
                let value = if pad.is_some() { field.trim_ascii_end() } else { field };
                text(key, value, fold, length, out);
                out.resize(out.len() + pad.unwrap_or(0).saturating_sub(length.min(DIGITS)), b' ');
            }
            Self::Uuid => uuid(key, field, out),
            Self::Whole { bits } => whole(key, number(field)?, bits, out)?,
            Self::Decimal { .. } | Self::Number if is_special(field) => out.extend_from_slice(field),
            Self::Decimal { digits, scale } => decimal(key, number(field)?, digits, scale, out)?,
            Self::Number => {
                let hash = key.hash("number", canonical(number(field)?).as_bytes());
                let _ = write!(out, "{}", 10u64.pow(17) + first_word(&hash) % (9 * 10u64.pow(17)));
            }
            Self::Date | Self::Moment { .. } if is_special(field) => out.extend_from_slice(field),
            Self::Date => {
                let date = std::str::from_utf8(field).ok()?.parse().ok()?;
                let _ = write!(out, "{}", day(key, date)?);
            }
            Self::Moment { fraction, zone } => moment(key, std::str::from_utf8(field).ok()?, fraction, zone, out)?,
            Self::Bytes => {
                out.extend_from_slice(b"\\\\x");
                hex(&key.hash("bytes", field)[..DIGITS / 2], out);
            }
            Self::Json => {
                out.push(b'"');
                text(key, field, false, DIGITS, out);
                out.push(b'"');
            }
        }
        Some(())
    }
}

fn text(key: &Key, field: &[u8], fold: bool, length: usize, out: &mut Vec<u8>) {
    let hash = match std::str::from_utf8(field) {
        Ok(text) if fold => key.hash("text", text.to_lowercase().as_bytes()),
        _ => key.hash("text", field),
    };
    let from = out.len();
    hex(&hash, out);
    out.truncate(from + length.min(DIGITS));
}

fn uuid(key: &Key, field: &[u8], out: &mut Vec<u8>) {
    let mut hash = key.hash("uuid", field);
    hash[6] = hash[6] & 0x0f | 0x40;
    hash[8] = hash[8] & 0x3f | 0x80;
    let mut from = 0;
    for (at, to) in [4, 6, 8, 10, 16].into_iter().enumerate() {
        if at > 0 {
            out.push(b'-');
        }
        hex(&hash[from..to], out);
        from = to;
    }
}

fn whole(key: &Key, text: &str, bits: u32, out: &mut Vec<u8>) -> Option<()> {
    let value: i64 = text.parse().ok()?;
    let size = 1u128 << (bits - 1);
    // Counted from -1, the numbers below zero are as many as the others.
    let counted = u128::from(if value < 0 { !value } else { value }.unsigned_abs());
    let masked = (counted < size).then(|| key.permuted(size, counted))?;
    let masked = i128::try_from(masked).ok()?;
    let masked = if value < 0 { !masked } else { masked };
    write!(out, "{masked}").ok()
}

fn decimal(key: &Key, text: &str, digits: u32, scale: u32, out: &mut Vec<u8>) -> Option<()> {
    let (negative, bare) = text.strip_prefix('-').map_or((false, text), |bare| (true, bare));
    let (before, behind) = bare.split_once('.').unwrap_or((bare, ""));
    if behind.len() != scale as usize {
        return None;
    }
    let value: u128 = format!("{before}{behind}").parse().ok()?;
    let size = 10u128.checked_pow(digits).filter(|size| value < *size)?;
    let masked = match negative {
        false => key.permuted(size, value),
        true => 1 + key.permuted(size - 1, value.checked_sub(1)?),
    };
    let (sign, unit) = (if negative { "-" } else { "" }, 10u128.pow(scale));
    match scale {
        0 => write!(out, "{sign}{masked}").ok(),
        _ => write!(out, "{sign}{}.{:0width$}", masked / unit, masked % unit, width = scale as usize).ok(),
    }
}

/// 1.5 and 1.50 are equal to the database.
fn canonical(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

fn day(key: &Key, date: Date) -> Option<Date> {
    let epoch = Date::constant(1970, 1, 1);
    let days = date.since((Unit::Day, epoch)).ok()?.get_days();
    let (block, inside) = (days.div_euclid(DAYS), days.rem_euclid(DAYS));
    let masked = key.permuted(DAYS as u128, inside as u128);
    let days = block.checked_mul(DAYS)?.checked_add(i32::try_from(masked).ok()?)?;
    // PostgreSQL writes years before 1 in another way.
    epoch.checked_add(Span::new().days(days)).ok().filter(|date| date.year() > 0)
}

fn moment(key: &Key, text: &str, fraction: u32, zone: bool, out: &mut Vec<u8>) -> Option<()> {
    let text = if zone { text.strip_suffix("+00")? } else { text };
    let (date, time) = text.split_once(' ')?;
    let date = day(key, date.parse().ok()?)?;
    let (time, behind) = time.split_once('.').unwrap_or((time, ""));
    let mut parts = time.splitn(3, ':').map(|part| part.parse::<u128>().ok());
    let seconds = parts.next()?? * 3600 + parts.next()?? * 60 + parts.next()??;
    let unit = 10u128.checked_pow(fraction)?;
    let ticks = if behind.is_empty() {
        0
    } else {
        behind.parse::<u128>().ok()? * 10u128.pow(fraction.checked_sub(behind.len() as u32)?)
    };
    let masked = key.permuted(86_400 * unit, seconds * unit + ticks);
    let (seconds, ticks) = (masked / unit, masked % unit);
    write!(out, "{date} {:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60).ok()?;
    if ticks > 0 {
        let digits = format!("{ticks:0width$}", width = fraction as usize);
        write!(out, ".{}", digits.trim_end_matches('0')).ok()?;
    }
    if zone {
        out.extend_from_slice(b"+00");
    }
    Some(())
}

/// NaN and the infinite ones tell nothing of anybody.
fn is_special(field: &[u8]) -> bool {
    matches!(field, b"NaN" | b"Infinity" | b"-Infinity" | b"infinity" | b"-infinity")
}

fn number(field: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(field).ok()?;
    let plain = |b: u8| b.is_ascii_digit() || matches!(b, b'-' | b'.');
    (!text.is_empty() && text.bytes().all(plain)).then_some(text)
}

fn first_word(hash: &[u8; 32]) -> u64 {
    hash.iter().take(8).fold(0, |word, byte| word << 8 | u64::from(*byte))
}

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        let _ = write!(out, "{byte:02x}"); // a Vec takes everything
    }
}
