//! The one error type of the compiler: it says where, what was found, what is allowed, what to do.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::{LabeledSpan, NamedSource, SourceSpan};

use crate::terminal::{masked, printable};

/// Result of everything in this crate that can fail on a user's input.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whose fault a failure is; decides the command's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ErrorKind {
    /// The input asks for something that cannot be done, or is damaged.
    #[default]
    User,
    /// The machine failed: a file is missing, a disk is full.
    Io,
    /// An invariant of our own does not hold: a bug in Secateur.
    Internal,
}

impl ErrorKind {
    /// The command's exit code: 1, or 70 (`EX_SOFTWARE` of sysexits.h) for a bug.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::User | Self::Io => 1,
            Self::Internal => 70,
        }
    }
}

/// A mistake in the user's input, a failure of the machine (disk full, file missing), or a bug of ours.
///
/// Built up with the setters below; `Display` prints one self-contained paragraph, and the
/// `miette::Diagnostic` side adds the source line with a caret when [`Error::source_text`] is set.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone, Default)]
struct Inner {
    kind: ErrorKind,
    what: String,
    file: Option<PathBuf>,
    line: Option<usize>,
    column: Option<usize>,
    layer: Option<usize>,
    section: Option<String>,
    found: Option<String>,
    allowed: Option<String>,
    help: Option<String>,
    source: Option<(Arc<NamedSource<String>>, SourceSpan)>,
}

impl Error {
    /// `what` is a short sentence without a full stop: "filters must be positive".
    pub fn new(what: impl Into<String>) -> Self {
        Self(Box::new(Inner { what: what.into(), ..Inner::default() }))
    }

    /// An operating-system failure on `file`.
    pub fn io(action: &str, file: &Path, cause: &std::io::Error) -> Self {
        let mut error = Self::new(format!("cannot {action} {}: {cause}", file.display())).file(file);
        error.0.kind = ErrorKind::Io;
        error
    }

    /// A broken invariant: `what` did not hold although earlier checks should have made sure of it.
    pub fn internal(what: impl Into<String>) -> Self {
        let mut error = Self::new(format!("internal error: {}", what.into()))
            .help("this is a bug in secateur: please report it with the command and its input files");
        error.0.kind = ErrorKind::Internal;
        error
    }

    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The file that the error is about.
    #[must_use]
    pub fn file(mut self, file: impl Into<PathBuf>) -> Self {
        self.0.file = Some(file.into());
        self
    }

    /// 1-based line in [`Error::file`].
    #[must_use]
    pub fn line(mut self, line: usize) -> Self {
        self.0.line = Some(line);
        self
    }

    /// 1-based column in [`Error::line`].
    #[must_use]
    pub fn column(mut self, column: usize) -> Self {
        self.0.column = Some(column);
        self
    }

    /// The layer number that Darknet prints (0 is the first section after `[net]`).
    #[must_use]
    pub fn layer(mut self, layer: usize) -> Self {
        self.0.layer = Some(layer);
        self
    }

    /// The section's name, as in `convolutional`.
    #[must_use]
    pub fn section(mut self, section: impl Into<String>) -> Self {
        self.0.section = Some(section.into());
        self
    }

    /// What stands there.
    #[must_use]
    pub fn found(mut self, found: impl Into<String>) -> Self {
        self.0.found = Some(found.into());
        self
    }

    /// What may stand there.
    #[must_use]
    pub fn allowed(mut self, allowed: impl Into<String>) -> Self {
        self.0.allowed = Some(allowed.into());
        self
    }

    /// One suggestion: what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// The text that the error points into, and the bytes it marks.
    #[must_use]
    pub fn source_text(mut self, name: &str, text: String, span: SourceSpan) -> Self {
        // Diagnostics print the text itself.
        let text = NamedSource::new(printable(name), masked(text));
        self.0.source = Some((Arc::new(text), span));
        self
    }

    /// The short sentence given to [`Error::new`].
    pub fn what(&self) -> &str {
        &self.0.what
    }

    /// The layer number that Darknet prints, where the error has one.
    pub fn at_layer(&self) -> Option<usize> {
        self.0.layer
    }

    /// The 1-based line, where the error has one.
    pub fn at_line(&self) -> Option<usize> {
        self.0.line
    }
}

impl fmt::Display for Error {
    /// Foreign text in the message is made harmless to terminals here, for every error alike.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.message()?))
    }
}

impl Error {
    fn message(&self) -> Result<String, fmt::Error> {
        use fmt::Write;
        let mut f = String::new();
        let e = &self.0;
        if let Some(file) = &e.file {
            write!(f, "{}", file.display())?;
            if let Some(line) = e.line {
                write!(f, ":{line}")?;
                if let Some(column) = e.column {
                    write!(f, ":{column}")?;
                }
            }
            write!(f, ": ")?;
        }
        match (e.layer, &e.section) {
            (Some(layer), Some(section)) => write!(f, "layer {layer} [{section}]: ")?,
            (Some(layer), None) => write!(f, "layer {layer}: ")?,
            (None, Some(section)) => write!(f, "[{section}]: ")?,
            (None, None) => {}
        }
        write!(f, "{}", e.what)?;
        if let Some(found) = &e.found {
            write!(f, "\nfound: {found}")?;
        }
        if let Some(allowed) = &e.allowed {
            write!(f, "\nallowed: {allowed}")?;
        }
        Ok(f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)?;
        if let Some(help) = &self.0.help {
            write!(f, "\nhelp: {}", printable(help))?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl miette::Diagnostic for Error {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.0.help.as_ref().map(|help| Box::new(printable(help)) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        self.0.source.as_ref().map(|(text, _)| text as &dyn miette::SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let (_, span) = self.0.source.as_ref()?;
        let label = LabeledSpan::new_with_span(Some("here".to_owned()), *span);
        Some(Box::new(std::iter::once(label)))
    }
}
