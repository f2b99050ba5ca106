//! Large numbers for people: hashes with a prefix, parts in percent.

use crate::work::odds::Part;

/// Prefixes of a thousand, each a thousand times the one before.
const PREFIXES: [&str; 11] = ["", "k", "M", "G", "T", "P", "E", "Z", "Y", "R", "Q"];

/// More hashes than a thousand of the largest prefix; nobody will ever compute them.
const TOO_MANY: u128 = 999_500_000_000_000_000_000_000_000_000_000;

/// Hashes to three digits, with a prefix: `8.64 EH`.
pub fn hashes(number: u128) -> String {
    if number >= TOO_MANY {
        return ">999 QH".to_owned();
    }
    let mut unit = 1u128;
    let mut prefix = 0;
    while number / unit >= 1_000 {
        unit *= 1_000;
        prefix += 1;
    }
    let digits = match number / unit {
        100.. => 0,
        10.. => 1,
        _ => 2,
    };
    let step = (unit / [1, 10, 100][digits]).max(1);
    let near = (number + step / 2) / step * step;
    if near != number {
        // Rounded up it may have one digit more, as 999.6 has.
        return hashes(near);
    }
    let fraction = number % unit * 100 / unit;
    let whole = number / unit;
    let text = match digits {
        0 => format!("{whole}"),
        1 => format!("{whole}.{}", fraction / 10),
        _ => format!("{whole}.{fraction:02}"),
    };
    // Below a thousand there is nothing behind the point.
    let text = if prefix == 0 { number.to_string() } else { text };
    format!("{text} {}H", PREFIXES[prefix])
}

/// A part in percent, as precisely as it deserves.
pub fn percent(part: Part) -> String {
    let ppm = part.ppm();
    if ppm == 0 {
        return if part == Part::NONE { "0 %".to_owned() } else { "less than 0.0001 %".to_owned() };
    }
    let step = match ppm {
        100_000.. => 1_000,
        10_000.. => 100,
        100.. => 10,
        _ => 1,
    };
    let near = (ppm + step / 2) / step * step;
    let digits = format!("{}.{:04}", near / 10_000, near % 10_000);
    format!("{} %", digits.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_have_three_digits_and_a_prefix() {
        for (number, said) in [
            (0, "0 H"),
            (999, "999 H"),
            (1_000, "1.00 kH"),
            (8_640_000_000_000_000_000, "8.64 EH"),
            (12_340_000, "12.3 MH"),
            (123_499, "123 kH"),
            (123_500, "124 kH"),
            (999_499, "999 kH"),
            (999_500, "1.00 MH"),
            (9_996, "10.0 kH"),
            (99_960, "100 kH"),
            (999_499_999_999_999_999_999_999_999_999_999, "999 QH"),
            (u128::MAX, ">999 QH"),
        ] {
            assert_eq!(hashes(number), said);
        }
    }

    #[test]
    fn percentages_keep_what_tells_them_apart() {
        let said = |ppm| percent(Part::of_million(ppm));
        assert_eq!(said(1_000_000), "100 %");
        assert_eq!(said(498_227), "49.8 %");
        assert_eq!(said(10_858), "1.09 %");
        assert_eq!(said(4_020), "0.402 %");
        assert_eq!(said(14), "0.0014 %");
        assert_eq!(percent(Part::NONE), "0 %");
        assert_eq!(percent(Part::of_million(1).of(Part::of_million(1))), "less than 0.0001 %");
    }
}
