//! A board's report, as `secateur_job` writes it.

use secateur_base::{Error, Result};
use secateur_job::VERSION;
use secateur_runtime::detect::Detection;

/// Longest report that is read.
pub(crate) const MAX_REPORT_BYTES: usize = 64 << 20;

/// The error of a program on `machine` that an exception of the processor ended, after it had reported `text`.
pub(crate) fn exception(machine: &str, text: &[u8]) -> Error {
    let steps = String::from_utf8_lossy(text).matches("\nstep ").count();
    Error::new(format!("the processor of {machine} stopped at an exception"))
        .help(format!("{steps} steps had ended: please report it with the artefact"))
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepReport {
    pub index: usize,
    /// Number of its Darknet layer.
    pub layer: usize,
    /// CRC-32 of its output.
    pub crc: u32,
    /// What the board's counter counted.
    pub ticks: u32,
}

/// What a board reported.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    pub steps: Vec<StepReport>,
    /// Best first.
    pub detections: Vec<Detection>,
    /// Detections for which the board had no room.
    pub dropped: u32,
    /// A classifier's probabilities, Q0.15.
    pub classes: Vec<u16>,
}

impl Report {
    /// Reads a whole report.
    ///
    /// # Errors
    /// The board reported a fault; the report is damaged or cut off.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.lines();
        let first = lines.next().unwrap_or("");
        if first != format!("secateur-job {VERSION}") {
            return Err(Error::new("the board did not begin a report")
                .found(format!("{first:?}"))
                .allowed(format!("\"secateur-job {VERSION}\"")));
        }
        let mut report = Self::default();
        for line in lines {
            match line.split_once(' ') {
                _ if line == "end" => return Ok(report),
                Some(("fault", why)) => {
                    return Err(Error::new(format!("the board cannot run this artefact: {why}")));
                }
                _ => report.line(line).ok_or_else(|| {
                    Error::new("the board reported a line that is not known").found(format!("{line:?}"))
                })?,
            }
        }
        Err(Error::new("the board's report is cut off")
            .found(format!("{} steps and no end", report.steps.len())))
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["step", index, layer, crc, ticks] => self.steps.push(StepReport {
                index: index.parse().ok()?,
                layer: layer.parse().ok()?,
                crc: u32::from_str_radix(crc, 16).ok()?,
                ticks: ticks.parse().ok()?,
            }),
            ["box", class, score, objectness, x, y, w, h, index] => self.detections.push(Detection {
                x: x.parse().ok()?,
                y: y.parse().ok()?,
                w: w.parse().ok()?,
                h: h.parse().ok()?,
                score: score.parse().ok()?,
                index: index.parse().ok()?,
                class: class.parse().ok()?,
                objectness: objectness.parse().ok()?,
            }),
            ["class", class, probability] if class == self.classes.len().to_string() => {
                self.classes.push(probability.parse().ok()?);
            }
            ["dropped", count] => self.dropped = count.parse().ok()?,
            _ => return None,
        }
        Some(())
    }

    /// Holds this report against the one that is expected: everything but the ticks.
    ///
    /// # Errors
    /// They differ: the first step that does, with its layer; or the results.
    pub fn compare(&self, expected: &Self) -> Result<()> {
        for (found, wanted) in self.steps.iter().zip(&expected.steps) {
            if (found.index, found.layer) != (wanted.index, wanted.layer) {
                return Err(
                    Error::new("the board ran other steps than this machine").found(format!("{found:?}"))
                );
            }
            if found.crc != wanted.crc {
                return Err(Error::new(format!("step {} gives other bytes on the board", found.index))
                    .layer(found.layer)
                    .found(format!("CRC-32 {:08x} of its output", found.crc))
                    .allowed(format!("{:08x}, as on this machine", wanted.crc))
                    .help("every step before it is equal: please report it with the artefact"));
            }
        }
        let counts = |report: &Self| (report.steps.len(), report.detections.len(), report.dropped);
        if self.detections != expected.detections
            || self.classes != expected.classes
            || counts(self) != counts(expected)
        {
            return Err(Error::new("the board reports other results than this machine, from equal outputs")
                .found(format!("(steps, boxes, dropped) {:?}", counts(self)))
                .allowed(format!("{:?}", counts(expected))));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "secateur-job 1\nstep 0 0 0000ffee 17\nstep 1 2 12345678 4294967295\n\
                        box 3 1073741824 32768 -1 2 3 4 5\ndropped 9\nend\n";

    #[test]
    fn a_report_is_read_whole_or_refused() {
        let report = Report::parse(TEXT.as_bytes()).unwrap();
        assert_eq!(report.steps[1], StepReport { index: 1, layer: 2, crc: 0x1234_5678, ticks: u32::MAX });
        assert_eq!((report.detections[0].x, report.detections[0].score, report.dropped), (-1, 1 << 30, 9));
        for length in 0..TEXT.len() - 1 {
            assert!(Report::parse(&TEXT.as_bytes()[..length]).is_err(), "{length} bytes");
        }
        for (from, to) in
            [("ffee", "fgee"), ("step 1 2", "step 1"), ("job 1", "job 2"), ("dropped 9", "dropped")]
        {
            assert!(Report::parse(TEXT.replace(from, to).as_bytes()).is_err(), "{to}");
        }
        let fault = Report::parse(b"secateur-job 1\nfault no package in flash\n").unwrap_err();
        assert!(fault.to_string().contains("no package in flash"), "{fault}");
    }

    #[test]
    fn any_difference_is_found_and_the_first_step_is_named() {
        let expected = Report::parse(TEXT.as_bytes()).unwrap();
        let ticks = TEXT.replace("ffee 17", "ffee 18");
        Report::parse(ticks.as_bytes()).unwrap().compare(&expected).unwrap();
        let cases = [
            ("12345678", "12345679", "12345679"),
            ("step 1 2", "step 1 3", "other steps"),
            ("step 1 2 12345678 4294967295\n", "", "results"),
            ("box 3 1073741824", "box 3 1073741823", "results"),
            ("dropped 9", "dropped 8", "results"),
            ("dropped 9", "class 0 1", "results"),
        ];
        for (from, to, says) in cases {
            let found = Report::parse(TEXT.replace(from, to).as_bytes()).unwrap();
            let error = found.compare(&expected).unwrap_err();
            assert!(format!("{error:?}").contains(says), "{to}: {error:?}");
        }
        let both = TEXT.replace("0000ffee", "00000000").replace("12345678", "00000000");
        let error = Report::parse(both.as_bytes()).unwrap().compare(&expected).unwrap_err();
        assert_eq!(error.at_layer(), Some(0));
    }
}
