//! A decimal number: digits and a scale, never a float.

use std::cmp::Ordering;
use std::fmt::{self, Display, Formatter};

use bigdecimal::num_bigint::BigInt;
use bigdecimal::{BigDecimal, RoundingMode, Signed, Zero};

/// Most digits before and behind the point together: a text such as `1e999999999` stands for more
/// than memory holds.
pub(super) const MOST_DIGITS: i64 = 1_000;

/// An exact decimal number. The small form, which holds any amount of money, spares allocations.
#[derive(Debug, Clone)]
pub(super) enum Decimal {
    /// `unscaled` × 10^-`scale`.
    Small { unscaled: i128, scale: u32 },
    /// Its scale is never negative.
    Big(BigDecimal),
}

/// Why there is no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error("`{0}` is not a decimal number; write it like -1234.50")]
    NotANumber(String),
    #[error("the number would have more than {MOST_DIGITS} digits")]
    TooLong,
    #[error("division by zero")]
    DivisionByZero,
    #[error("the scale is {0}, not a number of decimals from 0 to {MOST_DIGITS}")]
    Scale(i64),
    #[error("{0} is not a whole number that fits 64 bits")]
    NotWhole(String),
}

type Outcome = Result<Decimal, Failure>;

impl Decimal {
    /// Reads a sign, digits with an optional point, and an optional exponent, as JSON and SQL write
    /// numbers and as the codec reads them.
    pub(super) fn parse(text: &str) -> Outcome {
        if let Some(short) = Self::short(text) {
            return Ok(short);
        }
        let refused = || Failure::NotANumber(text.chars().take(40).collect());
        let number = Literal::read(text).ok_or_else(refused)?;
        number.decimal().map_err(|TooLong| Failure::TooLong)?.ok_or_else(refused)
    }

    /// The number of a short text without exponent, such as any amount of money, read in one go;
    /// nothing for others.
    fn short(text: &str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        // 19 digits fit a u64.
        if rest.len() > 19 {
            return None;
        }
        let (mut number, mut digits, mut point) = (0_u64, 0, None);
        for byte in rest.bytes() {
            match byte {
                b'0'..=b'9' => {
                    number = number * 10 + u64::from(byte - b'0');
                    digits += 1;
                }
                b'.' if point.is_none() => point = Some(digits),
                _ => return None,
            }
        }
        let scale = point.map_or(0, |whole| digits - whole);
        let unscaled = i128::from(number);
        let unscaled = if negative { -unscaled } else { unscaled };
        (digits > 0).then_some(Self::Small { unscaled, scale })
    }

    fn big(&self) -> BigDecimal {
        match self {
            Self::Small { unscaled, scale } => {
                BigDecimal::new(BigInt::from(*unscaled), i64::from(*scale))
            }
            Self::Big(number) => number.clone(),
        }
    }

    /// A number that is not too long.
    fn bounded(number: BigDecimal) -> Outcome {
        let scale = number.fractional_digit_count();
        if scale > MOST_DIGITS || number.digits() > MOST_DIGITS as u64 {
            return Err(Failure::TooLong);
        }
        Ok(Self::Big(number))
    }

    /// Both unscaled integers at the larger of the scales.
    fn aligned(&self, other: &Self) -> Option<(i128, i128, u32)> {
        let (Self::Small { unscaled: a, scale: m }, Self::Small { unscaled: b, scale: n }) =
            (self, other)
        else {
            return None;
        };
        let scale = *m.max(n);
        let raised = |number: i128, from: u32| {
            10_i128.checked_pow(scale - from).and_then(|factor| number.checked_mul(factor))
        };
        Some((raised(*a, *m)?, raised(*b, *n)?, scale))
    }

    /// The sum; it has the larger of the scales.
    pub(super) fn add(&self, other: &Self) -> Outcome {
        let small = self
            .aligned(other)
            .and_then(|(a, b, scale)| Some(Self::Small { unscaled: a.checked_add(b)?, scale }));
        small.map_or_else(|| Self::bounded(self.big() + other.big()), Ok)
    }

    /// The difference; it has the larger of the scales.
    pub(super) fn subtract(&self, other: &Self) -> Outcome {
        self.add(&other.negate())
    }

    /// The product; its scale is the sum of the scales.
    pub(super) fn multiply(&self, other: &Self) -> Outcome {
        if let (Self::Small { unscaled: a, scale: m }, Self::Small { unscaled: b, scale: n }) =
            (self, other)
            && let Some(unscaled) = a.checked_mul(*b)
            && m + n < MOST_DIGITS as u32
        {
            return Ok(Self::Small { unscaled, scale: m + n });
        }
        Self::bounded(self.big() * other.big())
    }

    /// The quotient rounded to `scale` decimals.
    pub(super) fn divide(&self, by: &Self, scale: i64, mode: RoundingMode) -> Outcome {
        let scale = checked_scale(scale)?;
        let (mut dividend, dividend_scale) = self.big().into_bigint_and_exponent();
        let (mut divisor, divisor_scale) = by.big().into_bigint_and_exponent();
        if divisor.is_zero() {
            return Err(Failure::DivisionByZero);
        }
        // One decimal more than asked for, and another that says whether anything is left after it:
        // what rounding needs to know, exactly.
        let shift = scale + 1 - dividend_scale + divisor_scale;
        let raised = BigInt::from(10).pow(u32::try_from(shift.unsigned_abs()).unwrap_or(u32::MAX));
        if shift >= 0 {
            dividend *= raised
        } else {
            divisor *= raised
        }
        let rest = &dividend % &divisor;
        let sign = rest.signum() * divisor.signum();
        let quotient = dividend / divisor * 10 + sign;
        Self::bounded(BigDecimal::new(quotient, scale + 2).with_scale_round(scale, mode))
    }

    /// The number with exactly `scale` decimals.
    pub(super) fn round(&self, scale: i64, mode: RoundingMode) -> Outcome {
        let wanted = checked_scale(scale)?;
        if let (Self::Small { unscaled, scale }, Ok(to)) = (self, u32::try_from(wanted))
            && let Some(unscaled) = rescaled(*unscaled, *scale, to, mode)
        {
            return Ok(Self::Small { unscaled, scale: to });
        }
        Self::bounded(self.big().with_scale_round(wanted, mode))
    }

    /// Its text: digits with a point where the scale says, without exponent.
    pub(super) fn text(&self) -> String {
        let short = match self {
            Self::Small { unscaled, scale } => i64::try_from(*unscaled)
                .ok()
                .and_then(|number| schemas::short_decimal(number, *scale as usize)),
            Self::Big(_) => None,
        };
        short.unwrap_or_else(|| self.to_string())
    }

    pub(super) fn negate(&self) -> Self {
        match self {
            // Parsing takes at most 38 digits and arithmetic is checked, but -2^127 could come out.
            Self::Small { unscaled, scale } => match unscaled.checked_neg() {
                Some(unscaled) => Self::Small { unscaled, scale: *scale },
                None => Self::Big(-self.big()),
            },
            Self::Big(number) => Self::Big(-number),
        }
    }

    pub(super) fn absolute(&self) -> Self {
        let negative = match self {
            Self::Small { unscaled, .. } => *unscaled < 0,
            Self::Big(number) => number.is_negative(),
        };
        if negative { self.negate() } else { self.clone() }
    }

    /// Compares the numbers: `1.50` and `1.5` are equal.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        match self.aligned(other) {
            Some((a, b, _)) => a.cmp(&b),
            None => self.big().cmp(&other.big()),
        }
    }

    /// The whole number that it is: `3.00` is 3.
    pub(super) fn whole(&self) -> Result<i64, Failure> {
        let (integer, _) = self.big().with_scale(0).into_bigint_and_exponent();
        let whole = i64::try_from(integer).ok();
        whole
            .filter(|whole| Self::from(*whole).compare(self) == Ordering::Equal)
            .ok_or_else(|| Failure::NotWhole(self.to_string()))
    }

    /// Whether it is zero.
    pub(super) fn is_zero(&self) -> bool {
        self.compare(&Self::from(0)) == Ordering::Equal
    }
}

/// The integer `unscaled` × 10^-`from` at another scale; nothing where an i128 is too small for the way.
fn rescaled(unscaled: i128, from: u32, to: u32, mode: RoundingMode) -> Option<i128> {
    if to >= from {
        return unscaled.checked_mul(10_i128.checked_pow(to - from)?);
    }
    let unit = 10_i128.checked_pow(from - to)?;
    let (quotient, rest) = match (i64::try_from(unscaled), i64::try_from(unit)) {
        // Several times as fast, and what amounts are made of.
        (Ok(unscaled), Ok(unit)) => ((unscaled / unit).into(), (unscaled % unit).into()),
        _ => (unscaled / unit, unscaled % unit),
    };
    // How far the rest is, and how far it is from the next: neither can overflow.
    let half = rest.abs().cmp(&(unit - rest.abs()));
    let away = match mode {
        RoundingMode::Down => false,
        RoundingMode::Up => rest != 0,
        RoundingMode::Ceiling => rest > 0,
        RoundingMode::Floor => rest < 0,
        RoundingMode::HalfDown => half.is_gt(),
        RoundingMode::HalfUp => half.is_ge(),
        RoundingMode::HalfEven => half.is_gt() || (half.is_eq() && quotient % 2 != 0),
    };
    Some(if away { quotient + rest.signum() } else { quotient })
}

fn checked_scale(scale: i64) -> Result<i64, Failure> {
    if (0..=MOST_DIGITS).contains(&scale) { Ok(scale) } else { Err(Failure::Scale(scale)) }
}

impl From<i64> for Decimal {
    fn from(number: i64) -> Self {
        Self::Small { unscaled: i128::from(number), scale: 0 }
    }
}

/// Digits with a point where the scale says, without exponent.
impl Display for Decimal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Big(number) => f.write_str(&number.to_plain_string()),
            Self::Small { unscaled, scale: 0 } => write!(f, "{unscaled}"),
            Self::Small { unscaled, scale } => {
                let scale = *scale as usize;
                let sign = if *unscaled < 0 { "-" } else { "" };
                let digits = unscaled.unsigned_abs().to_string();
                match digits.len().checked_sub(scale).filter(|whole| *whole > 0) {
                    Some(whole) => {
                        let (whole, fraction) = digits.split_at(whole);
                        write!(f, "{sign}{whole}.{fraction}")
                    }
                    None => write!(f, "{sign}0.{digits:0>scale$}"),
                }
            }
        }
    }
}

/// The parts of a number's text: the digits of `whole` and `fraction` × 10^`exponent`.
struct Literal<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    exponent: i64,
}

struct TooLong;

impl<'a> Literal<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let (negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, i64::from(exponent.parse::<i32>().ok()?)),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let numeric = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        let some = !whole.is_empty() || !fraction.is_empty();
        let read = Self { negative, whole: whole.trim_start_matches('0'), fraction, exponent };
        (some && numeric(whole) && numeric(fraction)).then_some(read)
    }

    /// The number; nothing when a digit is none, which `read` has excluded.
    fn decimal(&self) -> Result<Option<Decimal>, TooLong> {
        let count = (self.whole.len() + self.fraction.len()) as i64;
        if self.exponent.abs().saturating_add(count) > MOST_DIGITS {
            return Err(TooLong);
        }
        let scale = self.fraction.len() as i64 - self.exponent;
        if self.whole.is_empty() && self.fraction.bytes().all(|digit| digit == b'0') {
            let scale = u32::try_from(scale).unwrap_or(0);
            return Ok(Some(Decimal::Small { unscaled: 0, scale }));
        }
        // 38 digits fit an i128.
        if count + (-scale).max(0) <= 38 {
            let digits = self.whole.bytes().chain(self.fraction.bytes());
            let zeros = 10_i128.pow(u32::try_from(-scale).unwrap_or(0));
            let number = digits.fold(0_i128, |sum, digit| sum * 10 + i128::from(digit - b'0'));
            let unscaled = if self.negative { -number * zeros } else { number * zeros };
            let scale = u32::try_from(scale).unwrap_or(0);
            return Ok(Some(Decimal::Small { unscaled, scale }));
        }
        let digits = format!("{}{}", self.whole, self.fraction);
        let integer = BigInt::parse_bytes(digits.as_bytes(), 10);
        Ok(integer.map(|integer| {
            let integer = if self.negative { -integer } else { integer };
            Decimal::Big(BigDecimal::new(integer, scale).with_scale(scale.max(0)))
        }))
    }
}

#[cfg(test)]
mod tests;
