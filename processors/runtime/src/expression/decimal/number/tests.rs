//! Exact numbers, short and long.

use super::*;

fn number(text: &str) -> Decimal {
    Decimal::parse(text).unwrap()
}

#[test]
fn a_number_is_read_as_it_is_written_and_shown_without_exponent() {
    for (given, shown) in [
        ("20.00", "20.00"),
        ("+7", "7"),
        ("-0.05", "-0.05"),
        ("-0", "0"),
        (".5", "0.5"),
        ("5.", "5"),
        ("00012.30", "12.30"),
        ("1e3", "1000"),
        ("1.25E1", "12.5"),
        ("15e-3", "0.015"),
        ("0e999", "0"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("170141183460469231731687303715884105728", "170141183460469231731687303715884105728"),
        ("99999999999999999999999999999999999999.5", "99999999999999999999999999999999999999.5"),
    ] {
        assert_eq!(number(given).to_string(), shown, "{given}");
        assert_eq!(number(given).text(), shown, "{given}");
    }
}

#[test]
fn a_short_text_is_the_number_that_the_long_way_reads() {
    for text in [
        "0",
        "-0",
        "7",
        "20.00",
        "-0.05",
        ".5",
        "5.",
        "-.5",
        "00012.30",
        "0.00",
        "1234567890.12345678",
        "9999999999999999999",
        "-9999999999999999999",
    ] {
        let short = Decimal::short(text).unwrap();
        let long = Literal::read(text).unwrap().decimal().ok().flatten().unwrap();
        assert_eq!(short.to_string(), long.to_string(), "{text}");
    }
    for text in ["", "-", ".", "-.", "1.2.3", "1e3", "+7", "--1", "1-", "99999999999999999999", "١"]
    {
        assert!(Decimal::short(text).is_none(), "{text}");
    }
}

#[test]
fn what_is_no_number_or_too_long_is_refused() {
    for text in ["", "-", ".", "1e", "abc", "1_000", "0x10", "NaN", "1.2.3", " 1", "١", "1,5"] {
        assert_eq!(Decimal::parse(text).unwrap_err(), Failure::NotANumber(text.into()));
    }
    for text in ["1e999999999", "1e-999999999", &"9".repeat(1_001), &format!("0.{:0>1001}", 1)] {
        let refused = Decimal::parse(text).unwrap_err();
        assert_eq!(refused, Failure::TooLong, "{text}");
    }
    let long = number(&"9".repeat(600));
    assert_eq!(long.multiply(&long).unwrap_err(), Failure::TooLong);
}

#[test]
fn arithmetic_is_exact_at_any_length() {
    let nines = "9".repeat(60);
    assert_eq!(number("0.1").add(&number("0.2")).unwrap().to_string(), "0.3");
    assert_eq!(
        number(&nines).add(&number("1")).unwrap().to_string(),
        format!("1{}", "0".repeat(60))
    );
    assert_eq!(
        number(&nines).multiply(&number(&nines)).unwrap().to_string(),
        format!("{}8{}1", "9".repeat(59), "0".repeat(59))
    );
    let tiny = format!("0.{:0>60}", 1);
    let difference = number("1").subtract(&number(&tiny)).unwrap().to_string();
    assert_eq!(difference, format!("0.{}", "9".repeat(60)));
    assert_eq!(number("1.20").multiply(&number("3")).unwrap().to_string(), "3.60");
    assert_eq!(number("1.20").add(&number("3")).unwrap().to_string(), "4.20");
}

#[test]
fn small_and_big_numbers_compute_the_same() {
    let texts = ["0", "-1.5", "12.345", "99999999999999999999999999999999999999", "-0.000001"];
    for a in texts {
        for b in texts {
            let (small, big) = (number(a), Decimal::Big(number(b).big()));
            let both = (number(a), number(b));
            assert_eq!(small.compare(&big), both.0.compare(&both.1), "{a} {b}");
            let sums = [small.add(&big), both.0.add(&both.1)].map(|sum| sum.unwrap().big());
            assert_eq!(sums[0], sums[1], "{a} + {b}");
            let products = [small.multiply(&big), both.0.multiply(&both.1)];
            let products = products.map(|product| product.unwrap().to_string());
            assert_eq!(products[0], products[1], "{a} * {b}");
        }
    }
}

#[test]
fn rounding_follows_the_mode() {
    use RoundingMode::{Ceiling, Down, Floor, HalfDown, HalfEven, HalfUp, Up};
    let modes = [HalfEven, HalfUp, HalfDown, Up, Down, Ceiling, Floor];
    // The table of Java's RoundingMode, for two decimals.
    let table = [
        ("5.505", ["5.50", "5.51", "5.50", "5.51", "5.50", "5.51", "5.50"]),
        ("2.515", ["2.52", "2.52", "2.51", "2.52", "2.51", "2.52", "2.51"]),
        ("1.016", ["1.02", "1.02", "1.02", "1.02", "1.01", "1.02", "1.01"]),
        ("1.011", ["1.01", "1.01", "1.01", "1.02", "1.01", "1.02", "1.01"]),
        ("1", ["1.00", "1.00", "1.00", "1.00", "1.00", "1.00", "1.00"]),
        ("-1.011", ["-1.01", "-1.01", "-1.01", "-1.02", "-1.01", "-1.01", "-1.02"]),
        ("-2.515", ["-2.52", "-2.52", "-2.51", "-2.52", "-2.51", "-2.51", "-2.52"]),
        ("-5.505", ["-5.50", "-5.51", "-5.50", "-5.51", "-5.50", "-5.50", "-5.51"]),
    ];
    for (given, expected) in table {
        for (mode, expected) in modes.into_iter().zip(expected) {
            let rounded = number(given).round(2, mode).unwrap().to_string();
            assert_eq!(rounded, expected, "{given} {mode:?}");
            let big = Decimal::Big(number(given).big()).round(2, mode).unwrap().to_string();
            assert_eq!(big, expected, "{given} {mode:?}, not the small form");
            // A quotient that is the same number rounds the same way.
            let quotient = number(given).divide(&number("1.000"), 2, mode).unwrap();
            assert_eq!(quotient.to_string(), expected, "{given} / 1 {mode:?}");
        }
    }
}

#[test]
fn a_quotient_is_rounded_once_from_the_exact_value() {
    let divide = |a: &str, b: &str, scale| {
        number(a).divide(&number(b), scale, RoundingMode::HalfEven).map(|q| q.to_string())
    };
    assert_eq!(divide("1", "3", 4).as_deref(), Ok("0.3333"));
    assert_eq!(divide("-2", "3", 2).as_deref(), Ok("-0.67"));
    assert_eq!(divide("2", "-3", 2).as_deref(), Ok("-0.67"));
    // Just above the tie, far beyond the decimals asked for.
    let above = format!("0.125{:0>60}", 1);
    assert_eq!(divide(&above, "1", 2).as_deref(), Ok("0.13"));
    assert_eq!(divide("0.125", "1", 2).as_deref(), Ok("0.12"));
    assert_eq!(divide("100", "8", 0).as_deref(), Ok("12"));
    assert_eq!(divide("1", "0.00", 2), Err(Failure::DivisionByZero));
    assert_eq!(divide("1", "3", -1), Err(Failure::Scale(-1)));
    assert_eq!(divide("1", "3", i64::MAX), Err(Failure::Scale(i64::MAX)));
}

#[test]
fn a_whole_number_is_told_from_others() {
    assert_eq!(number("3.00").whole(), Ok(3));
    assert_eq!(number("-9223372036854775808.0").whole(), Ok(i64::MIN));
    assert!(number("9223372036854775808").whole().is_err());
    assert_eq!(number("0.5").whole(), Err(Failure::NotWhole("0.5".into())));
}
