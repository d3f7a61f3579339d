//! Numbers as people read them: enough digits to compare, thousands set apart, never a NaN.

/// Three significant digits, more where the number is large; a dash where it is no number.
pub fn figure(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let decimals = match value.abs() {
        size if size >= 99.95 || size == 0.0 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.9995 => 2,
        size if size >= 0.0995 => 3,
        _ => 4,
    };
    fixed(value, decimals)
}

/// A figure with its unit, or a dash where nothing was measured.
pub fn or_dash(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), figure)
}

/// So many decimals.
pub fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let sign = if value < 0.0 && text.chars().any(|digit| ('1'..='9').contains(&digit)) { "-" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{}{point}{fraction}", thousands(whole))
}

pub fn count(value: u64) -> String {
    thousands(&value.to_string())
}

/// Of a whole, in per cent; a dash where there is no whole.
pub fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    format!("{} %", figure(part as f64 / whole as f64 * 100.0))
}

/// A length of time in the units that suit it.
pub fn time(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..120 if seconds.fract() == 0.0 => format!("{} s", fixed(seconds, 0)),
        0..120 => format!("{} s", figure(seconds)),
        120..7200 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

fn thousands(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_digits_they_need() {
        let cases = [
            (0.0, "0"),
            (0.01234, "0.0123"),
            (0.25, "0.250"),
            (1.0, "1.00"),
            (9.999, "10.0"),
            (99.96, "100"),
            (-1234.5, "-1,234"),
            (1_234_567.0, "1,234,567"),
            (-0.000_001, "0.0000"),
        ];
        for (value, text) in cases {
            assert_eq!(figure(value), text, "{value}");
        }
        assert_eq!((figure(f64::NAN), figure(f64::INFINITY)), ("–".to_owned(), "–".to_owned()), "never a NaN");
    }

    #[test]
    fn times_are_told_in_their_units() {
        assert_eq!((time(9.5), time(20.0)), ("9.50 s".to_owned(), "20 s".to_owned()));
        assert_eq!((time(125.0), time(3600.0)), ("2 min 05 s".to_owned(), "60 min 00 s".to_owned()));
        assert_eq!(time(90_000.0), "25 h 00 min");
    }

    #[test]
    fn a_share_of_nothing_is_no_number() {
        assert_eq!((share(1, 0), share(1, 8)), ("–".to_owned(), "12.5 %".to_owned()));
    }
}
