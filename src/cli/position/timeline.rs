//! A position's life by height: as lines of text, and as an SVG that needs nothing else.
//!
//! ```text
//!   holder   |-- miner --|------ 1 ------|------------ 3 ---- . . .
//!   pays     |-- his lock --|------ 1 ------|--------- 3 -----------|
//!   work      [##][##][# ][##][  ][  ]
//!                               ^ now
//! ```
//! Drawn from whole numbers alone, so that the same reading gives the same bytes.

use core::fmt::Write;

use crate::cli::chart::escaped;

/// Heights that belong to one holder, or one lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// First height.
    pub begin: u32,
    /// First height behind it.
    pub end: u32,
    /// Whose: number of the transfer, 0 for the first holder.
    pub number: u32,
}

/// One period of the term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// First height.
    pub begin: u32,
    /// First height behind it.
    pub end: u32,
    /// Delivered of the agreed work, in parts per thousand, at most 1,000; `None` if it is not over.
    pub delivered: Option<u32>,
}

/// What is drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// Height of the tip.
    pub now: u32,
    /// Who held the seal.
    pub holders: Vec<Span>,
    /// Whose lock coinbases pay.
    pub locks: Vec<Span>,
    /// The periods.
    pub periods: Vec<Cell>,
    /// What happened or will, by height.
    pub events: Vec<(u32, String)>,
}

/// Pixels.
const LEFT: u64 = 76;
const RIGHT: u64 = 24;
const WIDTH: u64 = 860;
const LANE: u64 = 26;
const STEP: u64 = 44;
const TOP: u64 = 64;
const ROW: u64 = 18;
/// Events that are written below the drawing; of more, the last ones.
const WRITTEN: usize = 24;

const STYLE: &str = "\
  svg { font: 12px system-ui, sans-serif } .head { font-size: 15px; font-weight: 600 }
  .paper { fill: #ffffff } text { fill: #1c2430 } .grid { stroke: #d5dae2 } .now { stroke: #b4461f; stroke-width: 2; stroke-dasharray: 6 3 }
  .legend { fill: #b4461f } .even { fill: #2f6fb2 } .odd { fill: #2a8a6a } .on { fill: #ffffff } .cell { fill: none; stroke: #8b95a5 } .work { fill: #2f6fb2 }
  .mark { fill: #1c2430 } .dim { fill-opacity: .55 }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #14181f } text { fill: #e6e9ee } .grid { stroke: #333c49 } .now { stroke: #f0905f }
    .legend { fill: #f0905f } .even { fill: #5b95d6 } .odd { fill: #4fb792 } .on { fill: #14181f } .cell { stroke: #6b7688 } .work { fill: #5b95d6 }
    .mark { fill: #e6e9ee }
  }
";

impl Timeline {
    /// First and last height of the drawing.
    fn ends(&self) -> (u32, u32) {
        let spans = self.holders.iter().chain(&self.locks).map(|span| (span.begin, span.end));
        let cells = self.periods.iter().map(|cell| (cell.begin, cell.end));
        let events = self.events.iter().map(|(height, _)| (*height, *height));
        let all = spans.chain(cells).chain(events).chain([(self.now, self.now)]);
        let (begin, end) =
            all.fold((u32::MAX, 0), |(low, high), (begin, end)| (low.min(begin), high.max(end)));
        (begin, end.max(begin.saturating_add(1)))
    }

    /// What happened and will, a line each, in the order of heights.
    pub fn lines(&self) -> Vec<String> {
        let mut events: Vec<(u32, String)> = self.events.clone();
        events.push((self.now, "now: the last block".to_owned()));
        // What falls on one height keeps its order.
        events.sort_by_key(|(height, _)| *height);
        let line = |(height, what): &(u32, String)| {
            let mark = if *height > self.now { "·" } else { "|" };
            format!("{height:>8} {mark} {what}")
        };
        events.iter().map(line).collect()
    }

    /// The drawing, for light and dark screens, with words for who cannot see it.
    pub fn svg(&self, title: &str, summary: &str) -> String {
        let (begin, end) = self.ends();
        let reach = u64::from(end - begin);
        let x = |height: u32| {
            let into = u64::from(height.clamp(begin, end) - begin);
            LEFT + into * (WIDTH - LEFT - RIGHT) / reach
        };
        let written: Vec<String> = {
            let lines = self.lines();
            let skipped = lines.len().saturating_sub(WRITTEN);
            lines.into_iter().skip(skipped).collect()
        };
        let below = TOP + 3 * STEP + 26;
        let height = below + ROW * u64::try_from(written.len()).unwrap_or(0) + 16;
        let mut svg = String::new();
        // Writing to a string never fails.
        let mut line = |text: core::fmt::Arguments<'_>| {
            let _ = writeln!(svg, "{text}");
        };
        line(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\" aria-labelledby=\"title desc\">"
        ));
        line(format_args!("<title id=\"title\">{}</title>", escaped(title)));
        line(format_args!("<desc id=\"desc\">{}</desc>", escaped(summary)));
        line(format_args!("<style>\n{STYLE}</style>"));
        line(format_args!("<rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\"/>"));
        line(format_args!("<text class=\"head\" x=\"16\" y=\"24\">{}</text>", escaped(title)));
        line(format_args!("<text x=\"16\" y=\"44\">{}</text>", escaped(summary)));
        for (lane, name) in (0u64..).zip(["seal", "lock", "work"]) {
            let y = TOP + lane * STEP + LANE / 2 + 4;
            line(format_args!(
                "<text x=\"{}\" y=\"{y}\" text-anchor=\"end\">{name}</text>",
                LEFT - 10
            ));
        }
        for (lane, spans) in (0u64..).zip([&self.holders, &self.locks]) {
            for span in spans {
                let (from, to) = (x(span.begin), x(span.end));
                // The same holder has the same colour in both lanes.
                let class = if span.number % 2 == 0 { "even" } else { "odd" };
                let who = match span.number {
                    0 => "miner".to_owned(),
                    number => format!("holder {number}"),
                };
                let y = TOP + lane * STEP;
                let wide = to.saturating_sub(from).max(2);
                line(format_args!(
                    "<g><title>{who}: heights {} to {}</title><rect class=\"{class}\" x=\"{from}\" y=\"{y}\" width=\"{}\" height=\"{LANE}\" rx=\"3\"/>",
                    span.begin,
                    span.end.saturating_sub(1),
                    wide.saturating_sub(1).max(1)
                ));
                // A name takes about seven pixels a letter.
                let letters = u64::try_from(who.len()).unwrap_or(0);
                if wide > letters * 7 + 8 {
                    line(format_args!(
                        "<text class=\"on\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{who}</text>",
                        from + wide / 2,
                        y + LANE / 2 + 4
                    ));
                }
                line(format_args!("</g>"));
            }
        }
        let y = TOP + 2 * STEP;
        for (number, cell) in (1u64..).zip(&self.periods) {
            let (from, to) = (x(cell.begin), x(cell.end));
            let wide = to.saturating_sub(from).saturating_sub(1).max(1);
            let told = match cell.delivered {
                Some(part) => format!("{}.{} % delivered", part / 10, part % 10),
                None => "to come".to_owned(),
            };
            line(format_args!("<g><title>period {number}: {told}</title>"));
            if let Some(part) = cell.delivered.filter(|part| *part > 0) {
                let tall = u64::from(part.min(1_000)) * LANE / 1_000;
                line(format_args!(
                    "<rect class=\"work\" x=\"{from}\" y=\"{}\" width=\"{wide}\" height=\"{tall}\"/>",
                    y + LANE - tall
                ));
            }
            line(format_args!(
                "<rect class=\"cell\" x=\"{from}\" y=\"{y}\" width=\"{wide}\" height=\"{LANE}\"/></g>"
            ));
        }
        let (bottom, now) = (TOP + 2 * STEP + LANE, x(self.now));
        line(format_args!(
            "<line class=\"now\" x1=\"{now}\" x2=\"{now}\" y1=\"{}\" y2=\"{}\"/>",
            TOP - 6,
            bottom + 6
        ));
        for (mark, text) in [(begin, "start"), (end, "end")] {
            line(format_args!(
                "<text x=\"{}\" y=\"{}\" text-anchor=\"{text}\">{mark}</text>",
                x(mark),
                bottom + 20
            ));
        }
        let anchor = match now {
            now if now < LEFT + 60 => "start",
            now if now > WIDTH - RIGHT - 60 => "end",
            _ => "middle",
        };
        // Where the scale's own numbers stand, now is told by the lines below alone.
        if anchor == "middle" {
            line(format_args!(
                "<text class=\"legend\" x=\"{now}\" y=\"{}\" text-anchor=\"middle\">now, {}</text>",
                bottom + 20,
                self.now
            ));
        }
        for (row, text) in (0u64..).zip(&written) {
            let class = if text.contains('·') { " class=\"dim\"" } else { "" };
            line(format_args!(
                "<text{class} x=\"16\" y=\"{}\" xml:space=\"preserve\">{}</text>",
                below + ROW * row + 14,
                escaped(text.trim_start())
            ));
        }
        line(format_args!("</svg>"));
        svg
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline() -> Timeline {
        let span = |begin, end, number| Span { begin, end, number };
        Timeline {
            now: 150,
            holders: vec![span(100, 112, 0), span(112, 140, 1), span(140, 151, 2)],
            locks: vec![span(120, 144, 1), span(144, 192, 2)],
            periods: (0..6)
                .map(|n| Cell {
                    begin: 120 + 12 * n,
                    end: 132 + 12 * n,
                    delivered: (n < 2).then(|| 1_000 - 400 * n),
                })
                .collect(),
            events: vec![
                (100, "issued".to_owned()),
                (112, "sold <1>".to_owned()),
                (192, "end".to_owned()),
            ],
        }
    }

    #[test]
    fn events_are_told_in_the_order_of_heights_and_those_to_come_are_marked() {
        let lines = timeline().lines();
        assert_eq!(
            lines,
            [
                "     100 | issued",
                "     112 | sold <1>",
                "     150 | now: the last block",
                "     192 · end"
            ]
        );
    }

    #[test]
    fn the_drawing_is_whole_and_says_in_words_what_it_shows() {
        let svg = timeline().svg("position <x>", "3 holders & more");
        assert!(svg.starts_with("<svg xmlns=") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("position &lt;x&gt;") && svg.contains("3 holders &amp; more"));
        assert!(svg.contains("sold &lt;1&gt;") && svg.contains("prefers-color-scheme: dark"));
        assert!(svg.contains("<title>holder 1: heights 112 to 139</title>"));
        assert!(svg.contains("<title>period 2: 60.0 % delivered</title>"));
        assert!(!svg.contains("href") && svg.matches("http").count() == 1);
        for tag in ["svg", "title", "desc", "style", "text", "g"] {
            let opened =
                svg.matches(&format!("<{tag}>")).count() + svg.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, svg.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }

    #[test]
    fn nothing_and_the_ends_of_all_heights_are_drawn_too() {
        let far = Timeline { now: u32::MAX, ..timeline() };
        for timeline in [Timeline::default(), far] {
            assert!(timeline.svg("", "").ends_with("</svg>\n"));
        }
    }
}
