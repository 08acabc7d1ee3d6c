//! Exact decimals: between a text such as `20.00` and the unscaled integer that Avro stores.

use num_bigint::{BigInt, BigUint, Sign};

/// Most digits that a schema may declare, that a `big-decimal` may have, and that its scale or a
/// text's exponent may stand for: beyond, a few bytes would become megabytes of zeros.
pub(crate) const MAX_DIGITS: usize = 10_000;

/// How a schema declares a decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Most digits of the unscaled integer.
    pub precision: usize,
    /// Digits behind the point.
    pub scale: usize,
}

/// An unscaled integer; the small form spares the allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unscaled {
    Small(i128),
    Big(BigInt),
}

/// Writes the integer that big-endian two's complement `bytes` hold as text with the shape's scale.
///
/// # Errors
/// It has more digits than the precision.
pub(crate) fn to_text(bytes: &[u8], shape: Shape) -> Result<String, String> {
    if let Some(text) = short_text(bytes, shape) {
        return Ok(text);
    }
    let (negative, digits) = digits_of(bytes, shape.precision)?;
    if digits.len() > shape.precision {
        return Err(too_precise(digits.len(), shape));
    }
    Ok(place_point(negative, &digits, shape.scale))
}

/// The text of a number of up to eight bytes, as most are. Nothing for the others, and for those that do
/// not fit their shape.
fn short_text(bytes: &[u8], shape: Shape) -> Option<String> {
    if bytes.len() > size_of::<i64>() {
        return None;
    }
    let number = i64::try_from(small(bytes)?).ok()?;
    if number.unsigned_abs().checked_ilog10().is_some_and(|log| log as usize >= shape.precision) {
        return None;
    }
    short(number, shape.scale)
}

/// The text of `number` × 10^-`scale`: from the right, without allocating anything but the text. Nothing
/// for a scale beyond 18.
#[must_use]
pub fn short(number: i64, scale: usize) -> Option<String> {
    // The longest are a sign, 19 digits and a point.
    const ROOM: usize = 24;
    if scale > 18 {
        return None;
    }
    let mut rest = number.unsigned_abs();
    let mut text = [b'0'; ROOM];
    let mut at = ROOM;
    for digit in 0.. {
        if rest == 0 && digit > scale {
            break;
        }
        if digit == scale && digit > 0 {
            at -= 1;
            text[at] = b'.';
        }
        at -= 1;
        text[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    if number < 0 {
        at -= 1;
        text[at] = b'-';
    }
    std::str::from_utf8(&text[at..]).ok().map(str::to_owned)
}

/// Writes a `big-decimal`: an unscaled integer and its own scale, which may be negative.
///
/// # Errors
/// It stands for more than 10,000 digits.
pub(crate) fn big_to_text(bytes: &[u8], scale: i64) -> Result<String, String> {
    let (negative, mut digits) = digits_of(bytes, MAX_DIGITS)?;
    if scale.unsigned_abs() > MAX_DIGITS as u64 {
        return Err(format!("its scale is {scale}, beyond ±{MAX_DIGITS}"));
    }
    let zeros = usize::try_from(-scale).unwrap_or(0);
    if digits != "0" {
        digits.extend(std::iter::repeat_n('0', zeros));
    }
    Ok(place_point(negative, &digits, usize::try_from(scale).unwrap_or(0)))
}

/// The sign and the digits, without work that grows beyond `most` digits.
fn digits_of(bytes: &[u8], most: usize) -> Result<(bool, String), String> {
    let bytes = without_sign_bytes(bytes);
    if let Some(small) = small(bytes) {
        return Ok((small < 0, small.unsigned_abs().to_string()));
    }
    // A byte holds 2.4 digits.
    if bytes.len() / 3 > most {
        return Err(format!("its {} bytes hold more than {most} digits", bytes.len()));
    }
    let big = BigInt::from_signed_bytes_be(bytes);
    Ok((big.sign() == Sign::Minus, big.magnitude().to_string()))
}

/// Drops leading bytes that only repeat the sign.
fn without_sign_bytes(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes {
        let repeats = |next: &u8| *first == if next & 0x80 == 0 { 0x00 } else { 0xff };
        if !rest.first().is_some_and(repeats) {
            break;
        }
        bytes = rest;
    }
    bytes
}

fn small(bytes: &[u8]) -> Option<i128> {
    if bytes.len() > size_of::<i128>() {
        return None;
    }
    let negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    let start = if negative { -1_i128 } else { 0 };
    Some(bytes.iter().fold(start, |number, byte| (number << 8) | i128::from(*byte)))
}

fn place_point(negative: bool, digits: &str, scale: usize) -> String {
    let mut text = String::with_capacity(digits.len().max(scale) + 3);
    if negative {
        text.push('-');
    }
    let whole = digits.len().saturating_sub(scale);
    text.push_str(if whole == 0 { "0" } else { &digits[..whole] });
    if scale > 0 {
        text.push('.');
        text.extend(std::iter::repeat_n('0', scale.saturating_sub(digits.len())));
        text.push_str(&digits[whole..]);
    }
    text
}

fn too_precise(digits: usize, shape: Shape) -> String {
    let Shape { precision, scale } = shape;
    format!("it has {digits} digits, more than decimal({precision}, {scale}) holds")
}

/// A number's text taken apart: `digits` × 10^`exponent`, without leading zeros.
struct Parsed {
    negative: bool,
    digits: Vec<u8>,
    exponent: i64,
}

/// Reads a number: sign, digits with an optional point, optional exponent, as JSON and SQL write it.
fn parse(text: &str) -> Option<Parsed> {
    let (negative, rest) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let mantissa = rest.iter().position(|byte| matches!(byte, b'e' | b'E'));
    let (mantissa, exponent) = rest.split_at(mantissa.unwrap_or(rest.len()));
    let exponent = match exponent {
        [] => 0,
        [_, exponent @ ..] => std::str::from_utf8(exponent).ok()?.parse::<i32>().ok()?,
    };
    let point = mantissa.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = mantissa.split_at(point.unwrap_or(mantissa.len()));
    let fraction = fraction.get(1..).unwrap_or_default();
    let numeric = |digits: &[u8]| digits.iter().all(u8::is_ascii_digit);
    if whole.len() + fraction.len() == 0 || !numeric(whole) || !numeric(fraction) {
        return None;
    }
    let digits = whole.iter().chain(fraction).copied().skip_while(|byte| *byte == b'0').collect();
    let exponent = i64::from(exponent) - i64::try_from(fraction.len()).ok()?;
    Some(Parsed { negative, digits, exponent })
}

/// Reads a text as the unscaled integer of the shape, exactly.
///
/// # Errors
/// The text is no number, has more decimals than the scale or more digits than the precision:
/// it is never rounded.
pub(crate) fn from_text(text: &str, shape: Shape) -> Result<Unscaled, String> {
    let Shape { precision, scale } = shape;
    let Some(Parsed { negative, mut digits, exponent }) = parse(text) else {
        return Err("it is not a number".to_owned());
    };
    let shift = exponent.saturating_add(i64::try_from(scale).unwrap_or(i64::MAX));
    if digits.is_empty() {
        return Ok(Unscaled::Small(0));
    }
    if shift < 0 {
        let drop = usize::try_from(shift.unsigned_abs()).unwrap_or(usize::MAX);
        let kept = digits.len().saturating_sub(drop);
        if drop >= digits.len() || digits[kept..].iter().any(|digit| *digit != b'0') {
            return Err(format!(
                "it has more than the {scale} decimals of decimal({precision}, {scale}), and is not rounded"
            ));
        }
        digits.truncate(kept);
    }
    let zeros = usize::try_from(shift).unwrap_or(0);
    let count = digits.len().saturating_add(zeros);
    if count > precision {
        return Err(too_precise(count, shape));
    }
    digits.resize(count, b'0');
    unscaled(negative, &digits).ok_or_else(|| "it is not a number".to_owned())
}

/// Reads a text as a `big-decimal`: the unscaled integer and the scale that the text itself has.
///
/// # Errors
/// The text is no number, or stands for more than 10,000 digits.
pub(crate) fn big_from_text(text: &str) -> Result<(Unscaled, i64), String> {
    let Some(Parsed { negative, digits, exponent }) = parse(text) else {
        return Err("it is not a number".to_owned());
    };
    if digits.len() > MAX_DIGITS || exponent.unsigned_abs() > MAX_DIGITS as u64 {
        return Err(format!("it stands for more than {MAX_DIGITS} digits"));
    }
    let unscaled = unscaled(negative, &digits).ok_or_else(|| "it is not a number".to_owned())?;
    Ok((unscaled, -exponent))
}

fn unscaled(negative: bool, digits: &[u8]) -> Option<Unscaled> {
    // An i128 holds every number of 38 digits.
    if digits.len() > 38 {
        let sign = if negative { Sign::Minus } else { Sign::Plus };
        return Some(Unscaled::Big(BigInt::from_biguint(sign, BigUint::parse_bytes(digits, 10)?)));
    }
    let magnitude =
        digits.iter().fold(0_i128, |number, digit| number * 10 + i128::from(digit - b'0'));
    Some(Unscaled::Small(if negative { -magnitude } else { magnitude }))
}

impl Unscaled {
    /// The shortest big-endian two's complement form, as Avro's `bytes` store it.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Small(number) => without_sign_bytes(&number.to_be_bytes()).to_vec(),
            Self::Big(number) => number.to_signed_bytes_be(),
        }
    }

    /// The form of a `fixed` of `size` bytes; nothing if it needs more.
    pub(crate) fn to_fixed(&self, size: usize) -> Option<Vec<u8>> {
        let bytes = self.to_bytes();
        let negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
        let missing = size.checked_sub(bytes.len())?;
        let mut fixed = vec![if negative { 0xff } else { 0x00 }; missing];
        fixed.extend_from_slice(&bytes);
        Some(fixed)
    }
}

/// Whether a number's text is a whole number, and which: `1e2` and `100.0` are 100.
pub(crate) fn whole(text: &str) -> Option<i64> {
    // Nineteen digits are the most that an i64 holds.
    match from_text(text, Shape { precision: 19, scale: 0 }).ok()? {
        Unscaled::Small(number) => i64::try_from(number).ok(),
        Unscaled::Big(_) => None,
    }
}

/// Whether two texts are the same number.
pub(crate) fn same(a: &str, b: &str) -> bool {
    let normal = |text: &str| {
        parse(text).map(|Parsed { negative, mut digits, mut exponent }| {
            while digits.pop_if(|last| *last == b'0').is_some() {
                exponent += 1;
            }
            if digits.is_empty() { (false, digits, 0) } else { (negative, digits, exponent) }
        })
    };
    normal(a).is_some_and(|a| normal(b) == Some(a))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MONEY: Shape = Shape { precision: 18, scale: 2 };

    fn round(text: &str, shape: Shape) -> Result<String, String> {
        to_text(&from_text(text, shape)?.to_bytes(), shape)
    }

    #[test]
    fn a_decimal_keeps_its_value_and_takes_the_schema_s_scale() {
        for (given, stored) in [
            ("20", "20.00"),
            ("20.0", "20.00"),
            ("-0.05", "-0.05"),
            ("0", "0.00"),
            ("-0", "0.00"),
            ("1e2", "100.00"),
            ("1.5E-1", "0.15"),
            ("20.000", "20.00"),
            ("+7", "7.00"),
            (".5", "0.50"),
            ("5.", "5.00"),
            ("0e99999", "0.00"),
            ("00012.30", "12.30"),
            ("1000e-2", "10.00"),
            ("9999999999999999.99", "9999999999999999.99"),
            ("-1.28", "-1.28"),
            ("2.55", "2.55"),
        ] {
            assert_eq!(round(given, MONEY).as_deref(), Ok(stored), "{given}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_never_rounded() {
        assert!(
            round("20.001", MONEY)
                .unwrap_err()
                .contains("more than the 2 decimals of decimal(18, 2)")
        );
        assert!(round("0.001", MONEY).unwrap_err().contains("decimals"));
        assert!(round("1e-9", MONEY).unwrap_err().contains("decimals"));
        assert!(round("12345678901234567.00", MONEY).unwrap_err().contains("19 digits"));
        assert!(round("1e2000000000", MONEY).unwrap_err().contains("digits"));
        for text in
            ["", "-", ".", "1e", "abc", "1_000", "0x10", "NaN", "1.2.3", "1e99999999999", " 1", "١"]
        {
            assert_eq!(round(text, MONEY).unwrap_err(), "it is not a number", "{text}");
        }
    }

    #[test]
    fn sixty_digits_stay_exact() {
        let shape = Shape { precision: 60, scale: 20 };
        for digits in 1..=60_usize {
            let whole: String =
                (1..=digits).map(|n| char::from(b'0' + (n % 9 + 1) as u8)).collect();
            for sign in ["", "-"] {
                let point = digits.saturating_sub(20);
                let (whole, fraction) = whole.split_at(point);
                let whole = if whole.is_empty() { "0" } else { whole };
                let text = format!("{sign}{whole}.{fraction:0>20}");
                assert_eq!(round(&text, shape).as_deref(), Ok(text.as_str()));
            }
        }
    }

    #[test]
    fn a_fixed_is_sign_extended() {
        let fixed = |text: &str, size| from_text(text, MONEY).unwrap().to_fixed(size);
        assert_eq!(fixed("-0.01", 4), Some(vec![0xff; 4]));
        assert_eq!(fixed("1.28", 4), Some(vec![0, 0, 0, 128]));
        assert_eq!(fixed("1.28", 1), None, "128 needs a sign bit more than a byte has");
        assert_eq!(to_text(&[0, 0, 0, 128], MONEY).unwrap(), "1.28");
        assert_eq!(to_text(&[], MONEY).unwrap(), "0.00");
    }

    #[test]
    fn short_and_long_numbers_are_written_alike() {
        for number in [0, 1, -1, 9, 10, -99, 100, 12_345, i64::MAX, i64::MIN] {
            for scale in 0..=18 {
                let shape = Shape { precision: 19, scale };
                let long: Vec<u8> = i128::from(number).to_be_bytes().to_vec();
                assert_eq!(to_text(&number.to_be_bytes(), shape), to_text(&long, shape));
            }
        }
        let shape = Shape { precision: 3, scale: 0 };
        assert_eq!(
            to_text(&1_000_i64.to_be_bytes(), shape).unwrap_err(),
            "it has 4 digits, more than decimal(3, 0) holds"
        );
    }

    #[test]
    fn a_big_decimal_keeps_its_own_scale() {
        for (text, shown) in
            [("1.50", "1.50"), ("12e3", "12000"), ("-0.001", "-0.001"), ("0.00", "0.00")]
        {
            let (number, scale) = big_from_text(text).unwrap();
            assert_eq!(big_to_text(&number.to_bytes(), scale).as_deref(), Ok(shown));
        }
        assert!(big_from_text("1e10001").is_err());
        assert!(big_to_text(&[1], i64::MIN).is_err());
        assert!(big_to_text(&[0x55; 100_000], 0).is_err());
    }

    #[test]
    fn whole_numbers_are_told_from_others() {
        assert_eq!(whole("1e2"), Some(100));
        assert_eq!(whole("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(whole("9223372036854775808"), None);
        assert_eq!(whole("0.5"), None);
        assert!(same("1e2", "100.0") && same("-0", "0") && !same("0.1", "0.10000000000000001"));
    }
}
