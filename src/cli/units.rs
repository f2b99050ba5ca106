//! Large numbers for people: hashes with a prefix, parts in percent.

use crate::work::odds::Part;

/// Prefixes of a thousand, each a thousand times the one before.
const PREFIXES: [&str; 9] = ["", "k", "M", "G", "T", "P", "E", "Z", "Y"];

/// Hashes to three digits, with a prefix: `8.64 EH`.
pub fn hashes(hashes: u128) -> String {
    let mut unit = 1u128;
    let mut prefix = 0;
    // 999.5 of a unit is 1,000 to three digits, which the next unit says better.
    while prefix + 1 < PREFIXES.len() && hashes / unit >= 1_000 {
        unit *= 1_000;
        prefix += 1;
    }
    let digits = match hashes / unit {
        100.. => 0,
        10.. => 1,
        _ => 2,
    };
    let step = unit / [1, 10, 100][digits].min(unit);
    let near = (hashes + step / 2) / step.max(1) * step.max(1);
    let fraction = near % unit * 100 / unit;
    let whole = near / unit;
    let text = match digits {
        0 => format!("{whole}"),
        1 => format!("{whole}.{}", fraction / 10),
        _ => format!("{whole}.{fraction:02}"),
    };
    // Below a thousand there is nothing behind the point.
    let text = if prefix == 0 { format!("{hashes}") } else { text };
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
            (u128::MAX, "340282366920939 YH"),
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
