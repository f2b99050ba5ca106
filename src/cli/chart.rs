//! Agreed against delivered work, period by period: as lines for a terminal of 80 columns, and as
//! an SVG that needs nothing else.
//!
//! A bar reaches as far as the delivered work is of the agreed; its error is that of a count of N
//! shares, 1 / sqrt(N). Both charts are drawn from whole numbers, so the same evidence gives the
//! same bytes.

use core::fmt::Write;

use ruint::aliases::U256;

use crate::amount::MILLION;
use crate::cli::units::{hashes, percent};
use crate::work::odds::Part;

/// One period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Its number, from 1.
    pub number: u32,
    /// Work agreed on (hashes).
    pub agreed: u128,
    /// Work that its shares prove (hashes).
    pub delivered: u128,
    /// Its shares.
    pub shares: u64,
    /// Shares that the agreed work takes on average.
    pub expected: u64,
    /// Whether its last block is as deep as a ruling takes.
    pub ripe: bool,
}

/// One share of so many, in parts per million.
fn one_of(shares: u64) -> u64 {
    AGREED.checked_div(shares).unwrap_or(AGREED)
}

impl Bar {
    /// Delivered by agreed, in parts per million.
    fn part(&self) -> u64 {
        let million = U256::from(MILLION);
        let scaled = U256::from(self.delivered).saturating_mul(million);
        let part = scaled.checked_div(U256::from(self.agreed)).unwrap_or(U256::ZERO);
        u64::try_from(part).unwrap_or(u64::MAX).min(MOST)
    }

    /// The counting error of that: the part by the root of the number of shares. Of no share it is one
    /// of those that were agreed on, which is what one more would have shown.
    fn error(&self) -> u64 {
        let million = u128::from(MILLION);
        if self.shares == 0 {
            return one_of(self.expected).min(MOST);
        }
        let root = (u128::from(self.shares) * million * million).isqrt();
        let error = (u128::from(self.part()) * million).checked_div(root).unwrap_or(0);
        u64::try_from(error).unwrap_or(u64::MAX)
    }

    fn reach(&self) -> u64 {
        self.part().saturating_add(self.error())
    }
}

/// The most that is said of a period: ten times what was agreed.
const MOST: u64 = 10_000_000;
const AGREED: u64 = MILLION as u64;
/// Columns of a bar.
const COLUMNS: u64 = 32;
/// Longest scale of a chart, in parts per million of the agreed work.
const LONGEST: u64 = 4 * AGREED;

/// The scale's end: the next half above the longest bar.
fn end(bars: &[Bar]) -> u64 {
    let longest = bars.iter().map(Bar::reach).max().unwrap_or(0).max(AGREED);
    longest.div_ceil(AGREED / 2).saturating_mul(AGREED / 2).min(LONGEST)
}

fn percent_of(ppm: u64) -> String {
    // Above 100 % a tenth is fine enough.
    match u32::try_from(ppm) {
        Ok(ppm) if ppm <= MILLION => percent(Part::of_million(ppm)),
        _ => format!("{}.{} %", ppm / 10_000, ppm % 10_000 / 1_000),
    }
}

/// The chart as lines of at most 80 columns, without colours.
pub fn lines(bars: &[Bar]) -> Vec<String> {
    let end = end(bars);
    let column = |ppm: u64| (ppm.min(end) * COLUMNS + end / 2) / end;
    let agreed = column(AGREED);
    let ruler: String = (0..=COLUMNS).map(|at| if at == agreed { '|' } else { ' ' }).collect();
    let mut lines =
        vec![format!("period    agreed  delivered    of it  error  {ruler}").trim_end().to_owned()];
    for bar in bars {
        let (part, error) = (bar.part(), bar.error());
        let (sure, told) = (column(part.saturating_sub(error)), column(part));
        let reach = column(part.saturating_add(error));
        let drawn: String = (0..=COLUMNS)
            .map(|at| match at {
                _ if at < sure => '█',
                _ if at < told => '▓',
                _ if at < reach => '░',
                _ if at == agreed => '|',
                _ => ' ',
            })
            .collect();
        let name = format!("{}{}", bar.number, if bar.ripe { "" } else { "*" });
        lines.push(
            format!(
                "{name:>6}  {:>8}   {:>8}  {:>7} {:>6}  {drawn}",
                hashes(bar.agreed),
                hashes(bar.delivered),
                percent_of(part).replace(' ', ""),
                percent_of(error).replace(' ', ""),
            )
            .trim_end()
            .to_owned(),
        );
    }
    lines
}

/// Pixels of the drawing.
const TOP: u64 = 56;
const HEIGHT: u64 = 220;
const LEFT: u64 = 56;
const RIGHT: u64 = 24;
const NARROWEST: u64 = 640;

/// Colours for light screens, then for dark ones. No variables: not every viewer knows them.
const STYLE: &str = "\
  svg { font: 12px system-ui, sans-serif } .head { font-size: 15px; font-weight: 600 }
  .early { fill-opacity: .45 } .error { fill: none } .agreed { stroke-width: 2; stroke-dasharray: 6 3 }
  .paper { fill: #ffffff } text { fill: #1c2430 } .grid { stroke: #d5dae2 } .bar { fill: #2f6fb2 }
  .error { stroke: #1c2430 } .agreed { stroke: #b4461f } .legend { fill: #b4461f }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #14181f } text { fill: #e6e9ee } .grid { stroke: #333c49 } .bar { fill: #5b95d6 }
    .error { stroke: #e6e9ee } .agreed { stroke: #f0905f } .legend { fill: #f0905f }
  }
";

/// The chart as a file of its own, for light and dark screens, with words for who cannot see it.
pub fn svg(bars: &[Bar], contract: &str, summary: &str) -> String {
    let count = u64::try_from(bars.len()).unwrap_or(1).max(1);
    let end = end(bars);
    // A step for each period; the bar takes three quarters of it.
    let step = ((NARROWEST - LEFT - RIGHT) / count).clamp(6, 96);
    let width = (LEFT + RIGHT + step * count).max(NARROWEST);
    let height = TOP + HEIGHT + 44;
    let y = |ppm: u64| TOP + HEIGHT - ppm.min(end) * HEIGHT / end;
    let mut svg = String::new();
    // Writing to a string never fails.
    let mut line = |text: core::fmt::Arguments<'_>| {
        let _ = writeln!(svg, "{text}");
    };
    line(format_args!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" aria-labelledby=\"title desc\">"
    ));
    line(format_args!(
        "<title id=\"title\">Agreed and delivered work: {}</title>",
        escaped(contract)
    ));
    line(format_args!("<desc id=\"desc\">{}</desc>", escaped(summary)));
    line(format_args!("<style>\n{STYLE}</style>"));
    line(format_args!("<rect class=\"paper\" width=\"{width}\" height=\"{height}\"/>"));
    line(format_args!(
        "<text class=\"head\" x=\"16\" y=\"24\">Delivered work, in percent of the agreed</text>"
    ));
    line(format_args!("<text x=\"16\" y=\"42\">{}</text>", escaped(contract)));
    for half in 0..=end / (AGREED / 2) {
        let ppm = half * AGREED / 2;
        let at = y(ppm);
        line(format_args!(
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{at}\" y2=\"{at}\"/><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{} %</text>",
            width - RIGHT,
            LEFT - 8,
            at + 4,
            ppm / 10_000
        ));
    }
    // About twenty labels at most.
    let every = count.div_ceil(20);
    for (place, bar) in (0u64..).zip(bars) {
        let (part, error) = (bar.part(), bar.error());
        let left = LEFT + place * step + step / 8;
        let (top, middle) = (y(part), LEFT + place * step + step / 2);
        let (high, low) = (y(part.saturating_add(error)), y(part.saturating_sub(error)));
        let (class, early) = if bar.ripe { ("bar", "") } else { ("bar early", ", so far") };
        line(format_args!(
            "<g><title>period {}{early}: {} agreed, {} delivered, {} +- {}</title>",
            bar.number,
            hashes(bar.agreed),
            hashes(bar.delivered),
            percent_of(part),
            percent_of(error)
        ));
        line(format_args!(
            "<rect class=\"{class}\" x=\"{left}\" y=\"{top}\" width=\"{}\" height=\"{}\"/>",
            (step * 3 / 4).max(1),
            TOP + HEIGHT - top
        ));
        let cap = (step / 6).clamp(1, 6);
        line(format_args!(
            "<path class=\"error\" d=\"M{middle} {high}V{low}M{} {high}h{}M{} {low}h{}\"/></g>",
            middle - cap,
            2 * cap,
            middle - cap,
            2 * cap
        ));
        if place.is_multiple_of(every) {
            line(format_args!(
                "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                TOP + HEIGHT + 18,
                bar.number
            ));
        }
    }
    let at = y(AGREED);
    line(format_args!(
        "<line class=\"agreed\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{at}\" y2=\"{at}\"/>",
        width - RIGHT
    ));
    line(format_args!(
        "<text x=\"{LEFT}\" y=\"{}\">period; whiskers: counting error 1/√N; pale: not deep enough yet; <tspan class=\"legend\">dashed: agreed</tspan></text>\n</svg>",
        TOP + HEIGHT + 36
    ));
    svg
}

/// Text that stands in markup.
pub(crate) fn escaped(text: &str) -> String {
    text.chars()
        .map(|letter| match letter {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => "&quot;".to_owned(),
            // XML has no place for them.
            control if control.is_control() => " ".to_owned(),
            letter => letter.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(number: u32, shares: u64, ripe: bool) -> Bar {
        Bar {
            number,
            agreed: 36_000_000,
            delivered: 100_000 * u128::from(shares),
            shares,
            expected: 360,
            ripe,
        }
    }

    fn bars() -> Vec<Bar> {
        vec![bar(1, 396, true), bar(2, 324, true), bar(3, 0, true), bar(4, 100, false)]
    }

    #[test]
    fn the_terminal_chart_fits_80_columns_and_shows_every_period() {
        let lines = lines(&bars());
        assert_eq!(lines.len(), 5);
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
        assert!(lines[1].contains("36.0 MH    39.6 MH   110.0%  5.53%"), "{}", lines[1]);
        assert!(lines[2].contains("90%     5%"), "{}", lines[2]);
        assert!(lines[3].contains("0 H       0% 0.278%"), "{}", lines[3]);
        assert!(lines[4].starts_with("    4*"), "{}", lines[4]);
        // What is below 100 % leaves the mark free.
        assert!(lines[3].ends_with('|') && !lines[1].ends_with('|'));
    }

    #[test]
    fn a_bar_is_as_long_as_what_was_delivered() {
        let drawn = lines(&[bar(1, 180, true), bar(2, 360, true), bar(3, 0, true)]);
        let long = |place: usize| {
            drawn[place].chars().filter(|letter| ['█', '▓'].contains(letter)).count()
        };
        let (half, whole) = (long(1), long(2));
        assert!(half > 8 && whole.abs_diff(2 * half) <= 1, "{half}, {whole}");
        assert_eq!(long(3), 0);
    }

    #[test]
    fn the_drawing_is_whole_and_says_in_words_what_it_shows() {
        let svg = svg(&bars(), "farm <&\" one", "4 periods");
        assert!(svg.starts_with("<svg xmlns=") && svg.ends_with("</svg>\n"));
        assert!(
            svg.contains("farm &lt;&amp;&quot; one") && svg.contains("<desc id=\"desc\">4 periods")
        );
        assert!(svg.contains("prefers-color-scheme: dark"));
        assert!(svg.contains("period 1: 36.0 MH agreed, 39.6 MH delivered, 110.0 % +- 5.53 %"));
        assert_eq!(svg.matches("<rect class=\"bar").count(), 4);
        assert_eq!(svg.matches("bar early").count(), 1);
        // Nothing is fetched from anywhere.
        assert!(!svg.contains("href") && svg.matches("http").count() == 1);
        for tag in ["svg", "title", "desc", "style", "text", "g"] {
            let opened =
                svg.matches(&format!("<{tag}>")).count() + svg.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, svg.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }

    #[test]
    fn no_evidence_and_too_much_are_drawn_too() {
        let much = Bar { agreed: 1, delivered: u128::MAX, ..bar(1, u64::MAX, true) };
        for bars in [vec![], vec![much], vec![Bar { agreed: 0, ..much }]] {
            assert!(lines(&bars).iter().all(|line| line.chars().count() <= 80));
            assert!(svg(&bars, "", "").ends_with("</svg>\n"));
        }
        let many: Vec<Bar> = (1..=365).map(|number| bar(number, 360, true)).collect();
        let svg = svg(&many, "", "");
        assert!(svg.matches("text-anchor=\"middle\"").count() <= 20);
    }
}
