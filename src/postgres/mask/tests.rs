//! Rows in COPY's spelling: what is masked, what stays, and what every hash looks like.

use super::*;

fn masked(shape: Shape, field: &str) -> Option<String> {
    let key = Key::of(b"the key of the tests").unwrap();
    let mut out = Vec::new();
    shape.masked(&key, field.as_bytes(), &mut out)?;
    Some(String::from_utf8(out).unwrap())
}

const TEXT: Shape = Shape::Text { length: 32, fold: false, pad: None };

#[test]
fn texts_become_digits_that_fit() {
    let hash = masked(TEXT, "ada@example.com").unwrap();
    assert!(hash.len() == 32 && hash.bytes().all(|b| b.is_ascii_hexdigit()), "{hash}");
    assert_eq!(masked(TEXT, "ada@example.com").unwrap(), hash);
    assert_ne!(masked(TEXT, "Ada@example.com").unwrap(), hash);
    assert_ne!(masked(TEXT, "ada@example.com ").unwrap(), hash, "a blank counts in a text");
    let short = Shape::Text { length: 5, fold: false, pad: None };
    assert_eq!(masked(short, "ada@example.com").unwrap(), hash[..5]);
    let folded = |text| masked(Shape::Text { length: 32, fold: true, pad: None }, text).unwrap();
    assert_eq!(folded("Ada@Example.com"), folded("ada@example.com"));
    let char =
        |length, text| masked(Shape::Text { length: 32.min(length), fold: false, pad: Some(length) }, text).unwrap();
    assert_eq!(char(40, "ada   "), format!("{:40}", char(32, "ada")));
    assert_eq!(char(8, "ada     ").len(), 8);
}

#[test]
fn numbers_stay_in_range_keep_their_sign_and_never_meet() {
    let small = Shape::Whole { bits: 16 };
    let all: std::collections::BTreeSet<i16> =
        (i16::MIN..=i16::MAX).map(|n| masked(small, &n.to_string()).unwrap().parse().unwrap()).collect();
    assert_eq!(all.len(), 65_536);
    for n in ["1", "-1", "2147483647", "-2147483648"] {
        let hash: i32 = masked(Shape::Whole { bits: 32 }, n).unwrap().parse().unwrap();
        assert_eq!(hash < 0, n.starts_with('-'));
    }
    for n in [i64::MIN, -1, 0, i64::MAX] {
        masked(Shape::Whole { bits: 64 }, &n.to_string()).unwrap().parse::<i64>().unwrap();
    }
    let price = Shape::Decimal { digits: 6, scale: 2 };
    for n in ["0.00", "-0.01", "9999.99", "-9999.99", "12.50"] {
        let hash = masked(price, n).unwrap();
        let (before, behind) = hash.trim_start_matches('-').split_once('.').unwrap();
        assert!(before.len() <= 4 && behind.len() == 2 && hash.starts_with('-') == n.starts_with('-'), "{n}: {hash}");
    }
    assert_eq!(masked(price, "NaN").unwrap(), "NaN");
    assert_eq!(masked(Shape::Number, "1.50"), masked(Shape::Number, "1.5"));
    assert_eq!(masked(Shape::Number, "10").unwrap().len(), 18);
    for wrong in ["", "x", "1e5", "32768"] {
        assert_eq!(masked(small, wrong), None, "{wrong}");
    }
    assert_eq!(masked(price, "12.345"), None);
}

#[test]
fn days_and_moments_stay_what_they_are_and_never_meet() {
    let first = jiff::civil::Date::constant(1960, 1, 1);
    let days: Vec<String> = first.series(jiff::Span::new().days(1)).take(20_000).map(|d| d.to_string()).collect();
    let all: std::collections::BTreeSet<_> = days.iter().map(|d| masked(Shape::Date, d).unwrap()).collect();
    assert_eq!(all.len(), days.len());
    let moment = |fraction, zone, text: &str| masked(Shape::Moment { fraction, zone }, text);
    let whole = moment(0, false, "2026-11-20 12:25:33").unwrap();
    assert_eq!(whole.len(), 19, "{whole}");
    let zoned = moment(6, true, "2026-11-20 12:25:33.5+00").unwrap();
    assert!(zoned.ends_with("+00") && !zoned.contains("12:25:33.5"), "{zoned}");
    assert_eq!(zoned, moment(6, true, "2026-11-20 12:25:33.500+00").unwrap());
    for special in ["infinity", "-infinity"] {
        assert_eq!(moment(6, true, special).unwrap(), special);
    }
    assert_eq!(masked(Shape::Date, "0044-03-15 BC"), None);
    assert_eq!(moment(6, true, "2026-11-20 12:25:33+02"), None);
}

#[test]
fn other_types_get_values_of_their_own() {
    let uuid = masked(Shape::Uuid, "8f14e45f-ceea-467f-a8ff-9b1e4a5a6a00").unwrap();
    assert_eq!(uuid.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
    assert_eq!(&uuid[14..15], "4");
    assert!(masked(Shape::Bytes, "\\\\xdeadbeef").unwrap().starts_with("\\\\x"));
    assert!(serde_json::from_str::<String>(&masked(Shape::Json, "{\"a\": 1}").unwrap()).is_ok());
}

fn row_mask(fields: Vec<Option<Filter>>) -> RowMask {
    let names = (0..fields.len()).map(|n| format!("c{n}")).collect();
    RowMask { key: Key::of(b"key").unwrap(), table: "t".into(), names, fields }
}

#[test]
fn only_named_columns_change_and_null_stays_null() {
    let mask = row_mask(vec![None, Some(Filter::Null), Some(Filter::Fixed(b"X".to_vec())), Some(Filter::Hash(TEXT))]);
    let rows = String::from_utf8(mask.rows(b"1\tada\\tb\tname\tmail\n2\t\\N\t\\N\t\\N\n").unwrap()).unwrap();
    let (first, second) = rows.split_once('\n').unwrap();
    assert!(first.starts_with("1\t\\N\tX\t") && first.len() == "1\t\\N\tX\t".len() + 32, "{first}");
    assert_eq!(second, "2\t\\N\t\\N\t\\N\n");
}

#[test]
fn a_row_that_cannot_be_masked_ends_the_dump_and_does_not_show_its_value() {
    let mask = row_mask(vec![None, Some(Filter::Hash(Shape::Whole { bits: 16 }))]);
    let error = mask.rows(b"1\tsecret-value\n").unwrap_err();
    assert!(error.to_string().contains("t.c1 cannot be masked") && !format!("{error:?}").contains("secret-value"));
    assert_eq!(mask.rows(b"1\t2\t3\n").unwrap_err().kind(), Kind::Damaged);
    assert_eq!(mask.rows(b"1\n").unwrap_err().kind(), Kind::Damaged);
}

#[test]
fn ways_are_words() {
    assert_eq!(Way::parse("text:a:b").unwrap(), Way::Text("a:b".into()));
    assert_eq!(Way::parse("text:").unwrap(), Way::Text(String::new()));
    for wrong in ["hsah", "null:", "hash:x", "text", ""] {
        assert_eq!(Way::parse(wrong).unwrap_err().kind(), Kind::Usage, "{wrong}");
    }
}
