//! Why a machine's line is refused: Stratum's code, words for the miner's log, a name to count by.

/// A reason for refusing a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reject {
    /// The line is no request, or a field of a submit is not what it should be.
    Malformed,
    /// Nothing is known by this method's name.
    Method,
    /// Version bits outside of what was granted.
    VersionBits,
    /// The header's time is too early or too late.
    Time,
    /// A job on another block than the present one.
    Stale,
    /// A job that was never sent, or that is forgotten.
    UnknownJob,
    /// A job that was replaced long ago.
    OldJob,
    /// The same header again.
    Duplicate,
    /// A hash above the target that the job was sent with.
    LowDifficulty,
    /// A submit before authorisation, or by somebody else; a user whom nobody pays.
    Unauthorised,
    /// A submit before subscription.
    NotSubscribed,
}

impl Reject {
    /// How many reasons there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Every reason, in the order in which they are counted.
    pub const ALL: [Self; 11] = [
        Self::Malformed,
        Self::Method,
        Self::VersionBits,
        Self::Time,
        Self::Stale,
        Self::UnknownJob,
        Self::OldJob,
        Self::Duplicate,
        Self::LowDifficulty,
        Self::Unauthorised,
        Self::NotSubscribed,
    ];

    /// Stratum's code.
    pub fn code(self) -> u8 {
        match self {
            Self::Malformed | Self::Method | Self::VersionBits | Self::Time => 20,
            Self::Stale | Self::UnknownJob | Self::OldJob => 21,
            Self::Duplicate => 22,
            Self::LowDifficulty => 23,
            Self::Unauthorised => 24,
            Self::NotSubscribed => 25,
        }
    }

    /// What stands in the miner's log.
    pub fn words(self) -> &'static str {
        match self {
            Self::Malformed => "Malformed request",
            Self::Method => "Unknown method",
            Self::VersionBits => "Version bits outside of the granted mask",
            Self::Time => "Header time out of range",
            Self::Stale => "Stale: the job is for an older block",
            Self::UnknownJob => "Job not found",
            Self::OldJob => "Job too old",
            Self::Duplicate => "Duplicate share",
            Self::LowDifficulty => "Low difficulty share",
            Self::Unauthorised => "Unauthorised worker",
            Self::NotSubscribed => "Not subscribed",
        }
    }

    /// The name that it is counted under.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Method => "method",
            Self::VersionBits => "version",
            Self::Time => "time",
            Self::Stale => "stale",
            Self::UnknownJob => "unknown-job",
            Self::OldJob => "old-job",
            Self::Duplicate => "duplicate",
            Self::LowDifficulty => "low-difficulty",
            Self::Unauthorised => "unauthorised",
            Self::NotSubscribed => "not-subscribed",
        }
    }

    /// How much it weighs against a machine. What happens to honest machines weighs nothing: late
    /// shares, jobs of an earlier connection, firmware that hashes another coinbase.
    pub fn weight(self) -> u32 {
        match self {
            Self::Stale | Self::UnknownJob | Self::OldJob | Self::LowDifficulty => 0,
            Self::Duplicate | Self::Time | Self::Method => 1,
            Self::VersionBits | Self::Unauthorised | Self::NotSubscribed => 2,
            Self::Malformed => 10,
        }
    }

    /// Its place in [`Reject::ALL`].
    pub fn place(self) -> usize {
        Self::ALL.iter().position(|one| *one == self).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_a_code_of_stratum_and_words_and_a_name_of_its_own() {
        let words: BTreeSet<_> = Reject::ALL.iter().map(|reject| reject.words()).collect();
        let names: BTreeSet<_> = Reject::ALL.iter().map(|reject| reject.name()).collect();
        let codes: BTreeSet<_> = Reject::ALL.iter().map(|reject| reject.code()).collect();
        assert_eq!((words.len(), names.len()), (Reject::COUNT, Reject::COUNT));
        assert_eq!(codes.into_iter().collect::<Vec<_>>(), [20, 21, 22, 23, 24, 25]);
        for (place, reject) in Reject::ALL.iter().enumerate() {
            assert_eq!(reject.place(), place);
        }
    }
}
