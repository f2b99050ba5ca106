//! Bytes of a connection cut into lines, in bounded memory and time.

/// What has arrived and is not read yet.
#[derive(Debug)]
pub struct Lines {
    bytes: Vec<u8>,
    /// Where the next line begins.
    begin: usize,
    /// No line ends before this place.
    seen: usize,
    /// Longest line, in bytes.
    longest: usize,
    /// Since when a line is unfinished, ms.
    since: Option<u64>,
}

/// A line that is longer than any may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl Lines {
    /// Nothing has arrived; no line may have more than `longest` bytes.
    pub fn new(longest: usize) -> Self {
        Self { bytes: Vec::new(), begin: 0, seen: 0, longest, since: None }
    }

    /// Takes bytes that arrived at `now`.
    pub fn push(&mut self, bytes: &[u8], now: u64) {
        if self.begin > 0 {
            self.bytes.drain(..self.begin);
            self.seen = self.seen.saturating_sub(self.begin);
            self.begin = 0;
        }
        self.bytes.extend_from_slice(bytes);
        self.since.get_or_insert(now);
    }

    /// The next whole line, without its end.
    pub fn next(&mut self, now: u64) -> Result<Option<&[u8]>, TooLong> {
        let rest = self.bytes.get(self.seen..).unwrap_or_default();
        let Some(at) = rest.iter().position(|byte| *byte == b'\n') else {
            self.seen = self.bytes.len();
            return match self.waiting() {
                0 => {
                    // Keep the room for the next lines, but not that of the longest.
                    self.bytes.clear();
                    self.bytes.shrink_to(2_048);
                    (self.begin, self.seen, self.since) = (0, 0, None);
                    Ok(None)
                }
                waiting if waiting > self.longest => Err(TooLong),
                _ => Ok(None),
            };
        };
        let end = self.seen.saturating_add(at);
        let begin = core::mem::replace(&mut self.begin, end.saturating_add(1));
        self.seen = self.begin;
        self.since = Some(now);
        let line = self.bytes.get(begin..end).unwrap_or_default();
        match line.len() > self.longest {
            true => Err(TooLong),
            false => Ok(Some(line.strip_suffix(b"\r").unwrap_or(line))),
        }
    }

    /// Bytes that wait.
    pub fn waiting(&self) -> usize {
        self.bytes.len().saturating_sub(self.begin)
    }

    /// Since when a line has been unfinished, ms.
    pub fn since(&self) -> Option<u64> {
        self.since.filter(|_| self.waiting() > 0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(lines: &mut Lines) -> Result<Vec<String>, TooLong> {
        let mut found = Vec::new();
        while let Some(line) = lines.next(0)? {
            found.push(String::from_utf8_lossy(line).into_owned());
        }
        Ok(found)
    }

    #[test]
    fn lines_come_whole_however_they_arrive() {
        let mut lines = Lines::new(100);
        lines.push(b"one\ntw", 1);
        assert_eq!(all(&mut lines).unwrap(), ["one"]);
        assert_eq!((lines.waiting(), lines.since()), (2, Some(0)));
        lines.push(b"o\r\n\nfour\n", 2);
        assert_eq!(all(&mut lines).unwrap(), ["two", "", "four"]);
        assert_eq!((lines.waiting(), lines.since()), (0, None));
    }

    #[test]
    fn a_line_is_too_long_with_or_without_its_end() {
        let mut lines = Lines::new(10);
        lines.push(b"0123456789\n", 0);
        assert_eq!(all(&mut lines).unwrap(), ["0123456789"]);
        lines.push(b"0123456789", 0);
        assert_eq!(all(&mut lines), Ok(vec![]));
        lines.push(b"x", 0);
        assert_eq!(all(&mut lines), Err(TooLong));
        let mut lines = Lines::new(10);
        lines.push(b"ok\n0123456789x\n", 0);
        assert_eq!(lines.next(0), Ok(Some(b"ok".as_slice())));
        assert_eq!(lines.next(0), Err(TooLong));
    }

    #[test]
    fn an_unfinished_line_keeps_the_time_when_it_began() {
        let mut lines = Lines::new(100);
        lines.push(b"{", 5);
        assert_eq!(lines.next(5), Ok(None));
        lines.push(b"\"id\"", 4_000);
        assert_eq!(lines.next(4_000), Ok(None));
        assert_eq!(lines.since(), Some(5));
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_lines(
            text in "[a-z\n]{0,200}",
            cuts in proptest::collection::vec(1usize..20, 1..40),
        ) {
            let mut lines = Lines::new(1_000);
            let mut found = Vec::new();
            let mut rest = text.as_bytes();
            for cut in cuts.into_iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (head, tail) = rest.split_at(cut.min(rest.len()));
                lines.push(head, 0);
                found.extend(all(&mut lines).unwrap());
                rest = tail;
            }
            let mut expected: Vec<&str> = text.split('\n').collect();
            expected.pop();
            prop_assert_eq!(found, expected);
        }
    }
}
