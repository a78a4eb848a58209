//! EXEC: the array, the requantiser and the writer.

/// What a command did, for counters and the cycle model's check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExecStats {
    /// Array cycles in which multipliers worked.
    pub busy: u64,
    /// Weight vectors skipped by sparsity.
    pub skipped: u64,
    /// Map words written.
    pub written: u64,
}

/// A command that the accelerator refuses: a field out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Illegal(pub &'static str);

impl std::fmt::Display for Illegal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "illegal command: {}", self.0)
    }
}

impl std::error::Error for Illegal {}
