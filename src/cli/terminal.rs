//! The terminal, for what must pass between a person and us alone: passphrases are typed unseen,
//! words are shown and typed on the alternate screen, which leaves nothing in the scrollback.

use std::fmt;
use std::io::{IsTerminal, Write};

use console::Term;
use zeroize::Zeroizing;

use crate::cli::secret;
use crate::error::{Error, Result, Rule};
use crate::sign::sealed::LONGEST;

/// Secrets pass between a person and us alone.
pub const PRESENT: Rule = Rule::new(
    "seed-terminal",
    "words are shown, and secrets asked for, on a terminal alone",
    "run it in a terminal, or give --passphrase-file (or --words) where no words are shown",
);

/// Switches to the alternate screen, clears it and goes to its corner (xterm).
const ENTER: &str = "\u{1b}[?1049h\u{1b}[2J\u{1b}[H";
/// Clears the alternate screen and switches back.
const LEAVE: &str = "\u{1b}[2J\u{1b}[?1049l";

/// Refuses unless a person sits at both ends.
pub fn required() -> Result<()> {
    let ends = [
        ("standard input", std::io::stdin().is_terminal()),
        ("standard output", std::io::stdout().is_terminal()),
        ("standard error", std::io::stderr().is_terminal()),
    ];
    match ends.iter().find(|(_, terminal)| !terminal) {
        Some((end, _)) => Err(PRESENT.misused(end, "a terminal", "none")),
        None => Ok(()),
    }
}

/// Asks for a line that is not shown while it is typed.
pub fn ask(prompt: &str) -> Result<Zeroizing<String>> {
    let term = Term::stderr();
    if !term.is_term() || !std::io::stdin().is_terminal() {
        return Err(PRESENT.misused(prompt.trim_end_matches([':', ' ']), "a terminal", "none"));
    }
    term.write_str(prompt).map_err(failed)?;
    term.read_secure_line().map(Zeroizing::new).map_err(failed)
}

/// Shows words, numbered, until Enter is pressed.
pub fn show_words(words: &str) -> Result<()> {
    let screen = Screen::enter()?;
    let mut text = Zeroizing::new(String::with_capacity(LONGEST));
    for (place, word) in words.split(' ').enumerate() {
        text.push_str(&format!("{:>4}  ", place.saturating_add(1)));
        text.push_str(word);
        text.push('\n');
    }
    text.push_str("\nWrite them on paper, in this order. Enter clears the screen. ");
    screen.write(&text)?;
    secret::line(LONGEST).map(drop)
}

/// Asks for words, in as many lines as one likes; an empty one ends them.
pub fn ask_words() -> Result<Zeroizing<String>> {
    required()?;
    let screen = Screen::enter()?;
    screen.write("The words, with a space between two. An empty line ends them.\n\n")?;
    let mut words = Zeroizing::new(String::with_capacity(LONGEST));
    loop {
        let line = secret::line(LONGEST)?;
        // The refusal of what is no text comes with the words that are missing then.
        let line = core::str::from_utf8(&line).unwrap_or_default().trim();
        // What does not fit is no seed; a buffer that grows leaves copies behind.
        if line.is_empty() || words.len().saturating_add(line.len()) >= LONGEST {
            return Ok(words);
        }
        words.push_str(line);
        words.push(' ');
    }
}

/// A line to whoever watches, beside the answer.
pub fn warn(line: impl fmt::Display) {
    // If standard error is gone there is nobody to warn.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The alternate screen; dropping it clears it.
struct Screen(Term);

impl Screen {
    fn enter() -> Result<Self> {
        let screen = Self(Term::stdout());
        screen.write(ENTER)?;
        Ok(screen)
    }

    fn write(&self, text: &str) -> Result<()> {
        self.0.write_str(text).map_err(failed)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone shows nothing.
        let _ = self.0.write_str(LEAVE);
    }
}

fn failed(error: std::io::Error) -> Error {
    PRESENT.misused("terminal", "a terminal", error)
}
