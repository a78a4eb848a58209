//! The record of a training: a CSV file that grows with every step, and a summary as JSON.
//!
//! Columns are `batch,images,loss`, the loss's parts, `rate,images_per_second` and the measure of accuracy. A step
//! leaves the last column empty; an evaluation is a row of its own, with `batch`, `images` and the last column alone.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use secateur_base::{Error, Result, files};
use serde::Serialize;

/// Largest log that is read back: ten million steps.
const MAX_LOG_BYTES: u64 = 1 << 30;
/// Weight of a new loss in the smoothed one; Darknet's.
const SMOOTHING: f64 = 0.1;

/// What one step of a training yields.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Batches that have been learnt, this one included.
    pub batch: u64,
    /// Images that have been learnt, those of this batch included.
    pub images: u64,
    /// The whole loss, per image.
    pub loss: f64,
    /// Its parts, in the order of the log's columns.
    pub parts: Vec<f64>,
    /// The learning rate.
    pub rate: f64,
    pub images_per_second: f64,
}

/// Accuracy after some batches.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Evaluation {
    pub batch: u64,
    pub images: u64,
    /// The log's measure: mAP or top-1, 0..1.
    pub accuracy: f64,
}

/// The names of the columns that differ between trainings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// Parts of the loss, such as `box`, `objectness` and `class`.
    pub parts: Vec<String>,
    /// `map` or `top1`.
    pub measure: String,
}

/// All steps and evaluations so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    pub steps: Vec<Step>,
    pub evaluations: Vec<Evaluation>,
}

/// A log that is being written.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    columns: Columns,
    history: History,
}

/// A training in a few figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    pub batches: u64,
    pub images: u64,
    /// Loss of the last step, by itself and smoothed over some ten steps.
    pub loss: Option<f64>,
    pub smoothed_loss: Option<f64>,
    pub rate: Option<f64>,
    /// Mean over all steps.
    pub images_per_second: Option<f64>,
    /// Name of the measure of accuracy.
    pub measure: String,
    /// The evaluation with the greatest accuracy; of equal ones the last, as Darknet keeps it.
    pub best: Option<Evaluation>,
    pub evaluations: Vec<Evaluation>,
}

impl Log {
    /// Opens the log of a training that has learnt `batches` batches: a new file for 0, else the existing file, without
    /// the rows of later batches (they will be learnt again) and without a row that was cut off.
    ///
    /// # Errors
    /// The file cannot be read or written, has other columns, or holds a row that is no row of a log.
    pub fn open(path: &Path, columns: Columns, batches: u64) -> Result<Self> {
        let history = if batches > 0 && path.exists() {
            let text = read_text(path)?;
            parse(path, &text, &columns)?.up_to(batches)
        } else {
            History::default()
        };
        files::write_atomic(path, |writer| {
            writeln!(writer, "{}", columns.header())?;
            history.rows(columns.parts.len()).try_for_each(|row| writeln!(writer, "{row}"))
        })?;
        let file = OpenOptions::new().append(true).open(path).map_err(|e| Error::io("write", path, &e))?;
        Ok(Self { path: path.to_owned(), file, columns, history })
    }

    /// Appends a step.
    ///
    /// # Errors
    /// The file cannot be written.
    ///
    /// # Panics
    /// If the step has not as many parts as the log has columns for them.
    pub fn step(&mut self, step: Step) -> Result<()> {
        assert_eq!(step.parts.len(), self.columns.parts.len(), "parts of the loss");
        self.append(&step_row(&step))?;
        self.history.steps.push(step);
        Ok(())
    }

    /// Appends an evaluation.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn evaluation(&mut self, evaluation: Evaluation) -> Result<()> {
        self.append(&evaluation_row(&evaluation, self.columns.parts.len()))?;
        self.history.evaluations.push(evaluation);
        Ok(())
    }

    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    pub fn history(&self) -> &History {
        &self.history
    }

    /// Writes the summary as JSON.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_summary(&self, path: &Path) -> Result<()> {
        let summary = self.history.summary(&self.columns.measure);
        let mut json = serde_json::to_vec_pretty(&summary)
            .map_err(|e| Error::internal(format!("a summary does not serialise: {e}")))?;
        json.push(b'\n');
        files::write_bytes(path, &json)
    }

    /// Writes a row in one piece, so that a killed training leaves at most one row cut off.
    fn append(&mut self, row: &str) -> Result<()> {
        self.file.write_all(format!("{row}\n").as_bytes()).map_err(|e| Error::io("write", &self.path, &e))
    }
}

impl Columns {
    fn header(&self) -> String {
        let parts: String = self.parts.iter().map(|part| format!(",{part}")).collect();
        format!("batch,images,loss{parts},rate,images_per_second,{}", self.measure)
    }
}

impl History {
    /// The loss smoothed as Darknet's average: nine tenths of the earlier average and a tenth of the new loss. It begins
    /// anew after a loss that is no number.
    pub fn smoothed_loss(&self) -> Vec<(u64, f64)> {
        let mut average = f64::NAN;
        let smooth = |step: &Step| {
            average = if average.is_finite() {
                (1.0 - SMOOTHING) * average + SMOOTHING * step.loss
            } else {
                step.loss
            };
            (step.batch, average)
        };
        self.steps.iter().map(smooth).collect()
    }

    pub fn summary(&self, measure: &str) -> Summary {
        let last = self.steps.last();
        let best =
            self.evaluations.iter().copied().reduce(|best, evaluation| {
                if evaluation.accuracy >= best.accuracy { evaluation } else { best }
            });
        Summary {
            batches: last.map_or(0, |step| step.batch),
            images: last.map_or(0, |step| step.images),
            loss: last.map(|step| step.loss),
            smoothed_loss: self.smoothed_loss().last().map(|(_, loss)| *loss),
            rate: last.map(|step| step.rate),
            images_per_second: self.images_per_second(),
            measure: measure.to_owned(),
            best,
            evaluations: self.evaluations.clone(),
        }
    }

    /// All images over the time of all steps.
    fn images_per_second(&self) -> Option<f64> {
        let mut learnt = 0;
        let seconds: f64 = self
            .steps
            .iter()
            .map(|step| {
                let images = step.images.saturating_sub(learnt);
                learnt = step.images;
                images as f64 / step.images_per_second
            })
            .sum();
        (seconds > 0.0).then(|| learnt as f64 / seconds)
    }

    fn up_to(mut self, batches: u64) -> Self {
        self.steps.retain(|step| step.batch <= batches);
        self.evaluations.retain(|evaluation| evaluation.batch <= batches);
        self
    }

    /// The rows of the file, with so many parts of the loss; each evaluation after the step of its batch.
    fn rows(&self, parts: usize) -> impl Iterator<Item = String> {
        let mut rows: Vec<(u64, String)> =
            self.steps.iter().map(|step| (step.batch, step_row(step))).collect();
        rows.extend(self.evaluations.iter().map(|e| (e.batch, evaluation_row(e, parts))));
        rows.sort_by_key(|(batch, _)| *batch);
        rows.into_iter().map(|(_, row)| row)
    }
}

fn step_row(step: &Step) -> String {
    let Step { batch, images, loss, parts, rate, images_per_second } = step;
    let parts: String = parts.iter().map(|part| format!(",{part}")).collect();
    format!("{batch},{images},{loss}{parts},{rate},{images_per_second},")
}

fn evaluation_row(evaluation: &Evaluation, parts: usize) -> String {
    let Evaluation { batch, images, accuracy } = evaluation;
    format!("{batch},{images},{}{accuracy}", ",".repeat(parts + 3))
}

fn read_text(path: &Path) -> Result<String> {
    let bytes = files::read_limited(path, MAX_LOG_BYTES)?;
    String::from_utf8(bytes).map_err(|_| Error::new("the log of the training is not text").file(path))
}

/// Parses a log. A last row without its line end was cut off and is left out.
fn parse(path: &Path, text: &str, columns: &Columns) -> Result<History> {
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut lines = complete.lines().enumerate();
    let header = lines.next().map_or("", |(_, line)| line);
    if header != columns.header() {
        return Err(Error::new("the log has other columns than this training")
            .file(path)
            .line(1)
            .found(header)
            .allowed(columns.header())
            .help("it belongs to another training: move it away, or write the log to another file"));
    }
    let mut history = History::default();
    for (index, line) in lines {
        parse_row(line, columns.parts.len(), &mut history).ok_or_else(|| {
            Error::new("not a row of a training's log")
                .file(path)
                .line(index + 1)
                .found(line)
                .allowed(columns.header())
                .help("correct or remove the row, or move the log away")
        })?;
    }
    Ok(history)
}

fn parse_row(line: &str, parts: usize, history: &mut History) -> Option<()> {
    let fields: Vec<&str> = line.split(',').collect();
    let [batch, images, values @ .., accuracy] = &fields[..] else { return None };
    if values.len() != parts + 3 {
        return None;
    }
    let (batch, images) = (batch.parse().ok()?, images.parse().ok()?);
    if accuracy.is_empty() {
        let values: Vec<f64> = values.iter().map(|value| value.parse().ok()).collect::<Option<_>>()?;
        let [loss, parts @ .., rate, images_per_second] = &values[..] else { return None };
        history.steps.push(Step {
            batch,
            images,
            loss: *loss,
            parts: parts.to_vec(),
            rate: *rate,
            images_per_second: *images_per_second,
        });
    } else if values.iter().all(|value| value.is_empty()) {
        history.evaluations.push(Evaluation { batch, images, accuracy: accuracy.parse().ok()? });
    } else {
        return None;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Columns {
        Columns { parts: ["box", "class"].map(str::to_owned).to_vec(), measure: "map".to_owned() }
    }

    fn step(batch: u64) -> Step {
        let loss = 10.0 / batch as f64;
        Step {
            batch,
            images: 8 * batch,
            loss,
            parts: vec![loss * 0.7, loss * 0.3],
            rate: 1e-3,
            images_per_second: if batch.is_multiple_of(2) { 40.0 } else { 60.0 },
        }
    }

    fn evaluation(batch: u64) -> Evaluation {
        Evaluation { batch, images: 8 * batch, accuracy: batch as f64 / 100.0 }
    }

    /// Steps and evaluations (every 5 batches) of `batches`.
    fn write(log: &mut Log, batches: std::ops::RangeInclusive<u64>) {
        for batch in batches {
            log.step(step(batch)).unwrap();
            if batch.is_multiple_of(5) {
                log.evaluation(evaluation(batch)).unwrap();
            }
        }
    }

    #[test]
    fn a_resumed_log_is_an_unbroken_one() {
        let folder = tempfile::tempdir().unwrap();
        let [unbroken, resumed] = ["unbroken.csv", "resumed.csv"].map(|name| folder.path().join(name));
        let mut log = Log::open(&unbroken, columns(), 0).unwrap();
        write(&mut log, 1..=20);
        let text = std::fs::read_to_string(&unbroken).unwrap();
        assert!(
            text.starts_with(
                "batch,images,loss,box,class,rate,images_per_second,map\n1,8,10,7,3,0.001,60,\n"
            )
        );
        assert!(text.contains("\n5,40,,,,,,0.05\n"), "{text}");

        // Killed anywhere in the rows after the checkpoint at batch 11, which was written before batch 12 began.
        let checkpoint = text.find("\n12,").unwrap() + 1;
        for end in (checkpoint..=text.len()).step_by(9) {
            std::fs::write(&resumed, &text[..end]).unwrap();
            let mut log = Log::open(&resumed, columns(), 11).unwrap();
            write(&mut log, 12..=20);
            assert_eq!(std::fs::read_to_string(&resumed).unwrap(), text, "cut at {end}");
        }
        std::fs::write(&resumed, &text).unwrap();
        let again = Log::open(&resumed, columns(), 20).unwrap();
        assert_eq!(again.history(), log.history());
        // A training that begins anew begins a new log.
        assert!(Log::open(&resumed, columns(), 0).unwrap().history().steps.is_empty());
        assert_eq!(std::fs::read_to_string(&resumed).unwrap().lines().count(), 1);
    }

    #[test]
    fn another_trainings_log_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.csv");
        write(&mut Log::open(&path, columns(), 0).unwrap(), 1..=3);
        let before = std::fs::read(&path).unwrap();
        let other = Columns { parts: vec!["softmax".to_owned()], measure: "top1".to_owned() };
        let error = Log::open(&path, other, 3).unwrap_err();
        assert!(error.what().contains("other columns"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
        std::fs::write(&path, [&before[..], b"4,32,x,1,1,1,1,\n5,40,1,1,1,1,1,\n"].concat()).unwrap();
        let error = Log::open(&path, columns(), 5).unwrap_err();
        assert_eq!(error.at_line(), Some(5), "{error}");
    }

    #[test]
    fn losses_that_are_no_numbers_survive() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.csv");
        let mut log = Log::open(&path, columns(), 0).unwrap();
        for (batch, loss) in [(1, 5.0), (2, f64::NAN), (3, f64::INFINITY), (4, 3.0)] {
            log.step(Step { loss, ..step(batch) }).unwrap();
        }
        let read = Log::open(&path, columns(), 4).unwrap();
        let losses: Vec<f64> = read.history().steps.iter().map(|step| step.loss).collect();
        assert!(losses[0] == 5.0 && losses[1].is_nan() && losses[2].is_infinite() && losses[3] == 3.0);
        assert_eq!(read.history().smoothed_loss()[3], (4, 3.0));
    }

    #[test]
    fn the_summary_has_the_best_evaluation() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(&folder.path().join("log.csv"), columns(), 0).unwrap();
        write(&mut log, 1..=20);
        log.evaluation(Evaluation { batch: 21, images: 168, accuracy: 0.1 }).unwrap();
        let path = folder.path().join("summary.json");
        log.write_summary(&path).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(json["batches"], 20);
        assert_eq!(json["images"], 160);
        assert_eq!(json["best"]["batch"], 20);
        assert_eq!(json["best"]["accuracy"], 0.2);
        assert_eq!(json["loss"], 0.5);
        // Half of the images at 60 a second and half at 40.
        assert!((json["images_per_second"].as_f64().unwrap() - 48.0).abs() < 1e-9);
        assert_eq!(json["evaluations"].as_array().unwrap().len(), 5);
        let empty = serde_json::to_value(History::default().summary("map")).unwrap();
        assert!(empty["loss"].is_null() && empty["best"].is_null());
    }
}
