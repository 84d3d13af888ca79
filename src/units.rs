//! Sizes and durations as people write and read them: `"15m"`, `"50GB"`.

use std::time::Duration;

use crate::error::{Error, Kind, Result};

/// Units of time with their seconds.
const TIMES: [(&str, f64); 6] =
    [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0), ("w", 604_800.0)];

/// Units of size with their bytes. `GB` is 10^9, `GiB` is 2^30.
const SIZES: [(&str, f64); 9] = [
    ("b", 1.0),
    ("kb", 1e3),
    ("mb", 1e6),
    ("gb", 1e9),
    ("tb", 1e12),
    ("kib", 1024.0),
    ("mib", 1_048_576.0),
    ("gib", 1_073_741_824.0),
    ("tib", 1_099_511_627_776.0),
];

/// Reads `"90s"`, `"15m"`, `"1h30m"`, `"7d"`.
pub fn parse_duration(text: &str) -> Result<Duration> {
    let seconds = sum_of_units(text, &TIMES);
    seconds.and_then(|s| Duration::try_from_secs_f64(s).ok()).ok_or_else(|| {
        Error::new(Kind::Usage, format!("`{text}` is not a duration"))
            .hint("write a number with ms, s, m, h, d or w: \"90s\", \"15m\", \"1h30m\"")
    })
}

/// Reads `"512MB"`, `"50GB"`, `"2GiB"`; returns bytes.
pub fn parse_size(text: &str) -> Result<u64> {
    let bytes = sum_of_units(&text.to_lowercase(), &SIZES);
    bytes.filter(|b| *b <= 9e18).map(|b| b as u64).ok_or_else(|| {
        Error::new(Kind::Usage, format!("`{text}` is not a size"))
            .hint("write a number with B, KB, MB, GB, TB or KiB, MiB, GiB, TiB: \"512MB\"")
    })
}

fn sum_of_units(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let mut rest = text.trim();
    let mut sum = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..number_end].parse().ok()?;
        rest = rest[number_end..].trim_start();
        let unit_end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (_, factor) = units.iter().find(|(unit, _)| *unit == &rest[..unit_end])?;
        sum += number * factor;
        rest = rest[unit_end..].trim_start();
    }
    Some(sum)
}

/// Writes a duration: `0.4s`, `12.3s`, `3m 05s`, `30m`, `2h 14m`, `3d 4h`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round().max(0.0) as u64;
    match whole {
        _ if seconds < 0.0 => format!("-{}", duration(-seconds)),
        _ if seconds < 0.0995 => format!("{:.0}ms", seconds * 1000.0),
        0..60 => format!("{seconds:.1}s"),
        60..3600 if whole.is_multiple_of(60) => format!("{}m", whole / 60),
        60..3600 => format!("{}m {:02}s", whole / 60, whole % 60),
        3600..86_400 if whole % 3600 < 60 => format!("{}h", whole / 3600),
        3600..86_400 => format!("{}h {:02}m", whole / 3600, whole % 3600 / 60),
        _ if whole % 86_400 < 3600 => format!("{}d", whole / 86_400),
        _ => format!("{}d {}h", whole / 86_400, whole % 86_400 / 3600),
    }
}

/// Writes a size in powers of ten, as `ls` and disks do: `812 B`, `134.5 MB`.
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KB", "MB", "GB"] {
        if value < 999.95 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

/// Writes a number with its noun: `1 row`, `1,000,000 rows`.
pub fn count(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(n), if n == 1 { "" } else { "s" })
}

fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        assert_eq!(parse_duration("15m").unwrap().as_secs(), 900);
        assert_eq!(parse_duration("1h30m").unwrap().as_secs(), 5400);
        assert_eq!(parse_duration("250ms").unwrap().as_millis(), 250);
        assert_eq!(parse_duration("1.5 h").unwrap().as_secs(), 5400);
        for wrong in ["", "15", "m", "15 parsecs", "-3s", "1e400s"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_read_as_people_write_them() {
        assert_eq!(parse_size("50GB").unwrap(), 50_000_000_000);
        assert_eq!(parse_size("1 MiB").unwrap(), 1_048_576);
        assert!(parse_size("50").is_err() && parse_size("1 XB").is_err());
    }

    #[test]
    fn figures_are_written_for_people() {
        assert_eq!(
            [0.004, 0.4, 12.34, 185.0, 8040.0, 273_700.0].map(duration),
            ["4ms", "0.4s", "12.3s", "3m 05s", "2h 14m", "3d 4h"]
        );
        assert_eq!([1800.0, 7200.0, 86_400.0].map(duration), ["30m", "2h", "1d"]);
        assert_eq!([12, 999_950, 134_512_345].map(size), ["12 B", "1.0 MB", "134.5 MB"]);
        assert_eq!(count(1, "row"), "1 row");
        assert_eq!(count(1_234_567, "row"), "1,234,567 rows");
    }
}
