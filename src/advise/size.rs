//! Sizes as people write them: parameters, bytes, and shares of a memory.

use std::str::FromStr;

/// A number of parameters: `7B`, `7.6b`, `135M`, `1_100_000_000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters(pub u64);

/// A size in bytes: `24GiB` is 24 · 1024³, `24GB` and `24G` are 24 · 1000³.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

/// A memory: so many bytes, or a share of what the machine has free.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    Bytes(u64),
    Share(f64),
}

const NO_PARAMETERS: &str = "it is no number of parameters; write it like 7B, 7.6B, 135M or 1_100_000_000";
const NO_BYTES: &str = "it is no size; write it like 24GiB (24 · 1024³ bytes), 24GB (24 · 1000³), 512MiB, or in bytes";
const NO_SHARE: &str = "a share is from 0% to 100%";

const GIB: f64 = 1_073_741_824.0;

impl FromStr for Parameters {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let scales = [("t", 1e12), ("b", 1e9), ("g", 1e9), ("m", 1e6), ("k", 1e3), ("", 1.0)];
        let number = scaled(text, &scales).ok_or(NO_PARAMETERS)?;
        // Whoever writes 7 means 7B, and would be told of a model of seven weights.
        if (1_000.0..=1e15).contains(&number) { Ok(Parameters(number as u64)) } else { Err(NO_PARAMETERS) }
    }
}

impl FromStr for Bytes {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let scales = [
            ("tib", 1024.0 * GIB),
            ("gib", GIB),
            ("mib", 1_048_576.0),
            ("kib", 1_024.0),
            ("tb", 1e12),
            ("gb", 1e9),
            ("mb", 1e6),
            ("kb", 1e3),
            ("t", 1e12),
            ("g", 1e9),
            ("m", 1e6),
            ("k", 1e3),
            ("b", 1.0),
            ("", 1.0),
        ];
        let number = scaled(text, &scales).ok_or(NO_BYTES)?;
        if (0.0..=1e18).contains(&number) { Ok(Bytes(number as u64)) } else { Err(NO_BYTES) }
    }
}

impl FromStr for Amount {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let Some(share) = text.trim().strip_suffix('%') else {
            return text.parse().map(|Bytes(bytes)| Amount::Bytes(bytes));
        };
        let share: f64 = share.trim().parse().map_err(|_| NO_SHARE)?;
        if (0.0..=100.0).contains(&share) { Ok(Amount::Share(share / 100.0)) } else { Err(NO_SHARE) }
    }
}

fn scaled(text: &str, scales: &[(&str, f64)]) -> Option<f64> {
    let text = text.trim().replace('_', "").to_lowercase();
    let (digits, scale) = scales.iter().find_map(|(end, scale)| Some((text.strip_suffix(end)?, scale)))?;
    let digits = digits.trim();
    // `inf`, `nan` and `1e3` are numbers to Rust, and mistakes here.
    let is_plain = digits.chars().all(|one| one.is_ascii_digit() || one == '.');
    let number: f64 = digits.parse().ok().filter(|_| is_plain)?;
    Some(number * scale)
}

/// In GiB, with MiB for less than one.
pub fn bytes(bytes: u64) -> String {
    let bytes = bytes as f64;
    if bytes < GIB { format!("{:.0} MiB", bytes / 1_048_576.0) } else { format!("{:.2} GiB", bytes / GIB) }
}

/// In billions, or millions.
pub fn parameters(parameters: u64) -> String {
    let count = parameters as f64;
    if count < 1e9 { format!("{:.0}M", count / 1e6) } else { format!("{:.2}B", count / 1e9) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_people_write_them() {
        let of = |text: &str| text.parse::<Parameters>().ok().map(|Parameters(count)| count);
        assert_eq!(of("7B"), Some(7_000_000_000));
        assert_eq!(of("7.6b"), Some(7_600_000_000));
        assert_eq!(of("135M"), Some(135_000_000));
        assert_eq!(of("1_100_000_000"), Some(1_100_000_000));
        assert_eq!(of(" 1.1 B "), Some(1_100_000_000));
        for wrong in ["", "B", "7", "-7B", "7X", "infB", "nan", "1e3B", "7B7", "0B"] {
            assert_eq!(of(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn gib_are_not_gb() {
        let of = |text: &str| text.parse::<Bytes>().ok().map(|Bytes(bytes)| bytes);
        assert_eq!(of("24GiB"), Some(25_769_803_776));
        assert_eq!(of("24GB"), Some(24_000_000_000));
        assert_eq!(of("24g"), Some(24_000_000_000));
        assert_eq!(of("512 mib"), Some(536_870_912));
        assert_eq!(of("4096"), Some(4_096));
        assert_eq!(of("24Gi"), None);
        assert_eq!(of("lots"), None);
    }

    #[test]
    fn a_memory_may_be_a_share() {
        assert_eq!("80%".parse::<Amount>().ok(), Some(Amount::Share(0.8)));
        assert_eq!("16GiB".parse::<Amount>().ok(), Some(Amount::Bytes(17_179_869_184)));
        assert!("180%".parse::<Amount>().is_err() && "x%".parse::<Amount>().is_err());
    }

    #[test]
    fn sizes_are_written_for_people() {
        assert_eq!(bytes(5_368_709_120), "5.00 GiB");
        assert_eq!(bytes(94_371_840), "90 MiB");
        assert_eq!((parameters(134_515_008).as_str(), parameters(8_030_261_248).as_str()), ("135M", "8.03B"));
    }
}
