//! What place and route says of a system.

use std::fmt;

use secateur_base::{Error, Result};
use serde_json::Value;

/// A clock of the system.
#[derive(Debug, Clone, PartialEq)]
pub struct Clock {
    pub name: String,
    /// In MHz, after placement or routing.
    pub reached: f64,
    /// What the board gives it.
    pub wanted: f64,
}

/// Area, clocks and slowest path.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BuildReport {
    /// Kind of place in the device, how many are used, how many there are.
    pub used: Vec<(String, u64, u64)>,
    pub clocks: Vec<Clock>,
    /// The slowest path within a clock: its two ends, and its nanoseconds.
    pub slowest: Option<(String, String, f64)>,
    /// The slowest path from one clock to another, which no constraint holds: the two clocks, and its nanoseconds.
    pub crossing: Option<(String, String, f64)>,
    /// Whether wires are routed; else all times are estimates.
    pub routed: bool,
}

impl BuildReport {
    /// Reads nextpnr's report.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn routed(text: &str) -> Result<Self> {
        let bad = |what: &str| Error::new("nextpnr's report cannot be read").found(what.to_owned());
        let report: Value = serde_json::from_str(text).map_err(|e| bad(&e.to_string()))?;
        let object = |name: &str| report[name].as_object().ok_or_else(|| bad(&format!("no {name}")));
        let mut built = Self { routed: true, ..Self::default() };
        for (kind, one) in object("utilization")? {
            let (used, all) = (one["used"].as_u64().unwrap_or(0), one["available"].as_u64().unwrap_or(0));
            if used > 0 {
                built.used.push((kind.clone(), used, all));
            }
        }
        for (name, one) in object("fmax")? {
            let number = |key: &str| one[key].as_f64().ok_or_else(|| bad(&format!("clock {name}")));
            built.clocks.push(Clock {
                name: name.clone(),
                reached: number("achieved")?,
                wanted: number("constraint")?,
            });
        }
        for path in report["critical_paths"].as_array().into_iter().flatten() {
            built.path(path);
        }
        Ok(built)
    }

    fn path(&mut self, path: &Value) {
        let (Some(from), Some(to)) = (path["from"].as_str(), path["to"].as_str()) else { return };
        let Some(hops) = path["path"].as_array().filter(|hops| !hops.is_empty()) else { return };
        if !from.starts_with("posedge") || !to.starts_with("posedge") {
            return;
        }
        let ns: f64 = hops.iter().filter_map(|hop| hop["delay"].as_f64()).sum();
        let cell = |hop: &Value, end: &str| hop[end]["cell"].as_str().unwrap_or("?").to_owned();
        let (place, ends) = match from == to {
            true => (&mut self.slowest, (cell(&hops[0], "from"), cell(&hops[hops.len() - 1], "to"))),
            false => (&mut self.crossing, (from.to_owned(), to.to_owned())),
        };
        if place.as_ref().is_none_or(|(_, _, before)| *before < ns) {
            *place = Some((ends.0, ends.1, ns));
        }
    }

    /// Reads the log of a design that was placed and not routed.
    pub(crate) fn placed(log: &str) -> Self {
        let mut built = Self::default();
        // Before it stands what was counted before packing.
        let log = log.split_once("Device utilisation:").map_or(log, |(_, packed)| packed);
        for line in log.lines().filter_map(|line| line.strip_prefix("Info:")).map(str::trim) {
            if let Some((kind, rest)) = line.split_once(':')
                && let Some((used, all)) = rest.split_once('/')
                && let (Ok(used), Some(Ok(all))) =
                    (used.trim().parse(), all.split_whitespace().next().map(str::parse))
                && used > 0
                && !built.used.iter().any(|(known, ..)| known == kind)
            {
                built.used.push((kind.to_owned(), used, all));
            }
            // "Max frequency for clock 'NAME': 48.79 MHz (FAIL at 50.00 MHz)"
            let words: Vec<&str> = line.split_whitespace().collect();
            if let ["Max", "frequency", "for", "clock", name, reached, "MHz", _, "at", wanted, ..] = words[..]
                && let (Ok(reached), Ok(wanted)) = (reached.parse(), wanted.parse())
            {
                let name = name.trim_matches(['\'', ':']).to_owned();
                built.clocks.retain(|clock| clock.name != name);
                built.clocks.push(Clock { name, reached, wanted });
            }
        }
        built
    }

    /// The system's clock: the one that the board gives `mhz`.
    pub fn system_clock(&self, mhz: u32) -> Option<&Clock> {
        self.clocks.iter().find(|clock| (clock.wanted - f64::from(mhz)).abs() < 0.5)
    }
}

impl fmt::Display for BuildReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, used, all) in &self.used {
            writeln!(
                f,
                "{kind:<16} {used:>7} of {all:>7} {:>5.1} %",
                100.0 * *used as f64 / (*all).max(1) as f64
            )?;
        }
        let how = if self.routed { "routed" } else { "estimated after placement" };
        for Clock { name, reached, wanted } in &self.clocks {
            writeln!(f, "clock {name}: {reached:.1} MHz {how}, {wanted:.0} MHz wanted")?;
        }
        if let Some((from, to, ns)) = &self.slowest {
            writeln!(f, "slowest path {ns:.2} ns: {from} -> {to}")?;
        }
        if let Some((from, to, ns)) = &self.crossing {
            writeln!(f, "from clock to clock {ns:.2} ns, which nothing constrains: {from} -> {to}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read() {
        let hop = |from: &str, to: &str, delay: f64| {
            format!(
                r#"{{"delay": {delay}, "type": "logic", "from": {{"cell": "{from}"}}, "to": {{"cell": "{to}"}}}}"#
            )
        };
        let text = format!(
            r#"{{"utilization": {{"DP16KD": {{"used": 150, "available": 208}}, "DCSC": {{"used": 0, "available": 2}}}},
            "fmax": {{"sys": {{"achieved": 45.5, "constraint": 50.0}}}},
            "critical_paths": [{{"from": "posedge sys", "to": "posedge sys", "path": [{}, {}]}},
            {{"from": "posedge sys", "to": "posedge fast", "path": [{}]}}, {{"from": "<async>", "to": "posedge sys", "path": []}}]}}"#,
            hop("a", "b", 12.0),
            hop("b", "c", 10.0),
            hop("d", "e", 9.0)
        );
        let report = BuildReport::routed(&text).unwrap();
        assert_eq!(report.used, [("DP16KD".to_owned(), 150, 208)]);
        assert_eq!(report.system_clock(50).unwrap().reached, 45.5);
        assert_eq!(report.slowest, Some(("a".into(), "c".into(), 22.0)));
        assert_eq!(report.crossing, Some(("posedge sys".into(), "posedge fast".into(), 9.0)));
        assert!(BuildReport::routed("{}").is_err());
    }

    #[test]
    fn logs_of_placements_are_read() {
        let log = "Info: Device utilisation:\nInfo: \t          DP16KD:     150/    208    72%\n\
                   Info: Max frequency for clock    '$glbnet$sys': 48.79 MHz (FAIL at 50.00 MHz)\n";
        let report = BuildReport::placed(log);
        assert_eq!(report.used, [("DP16KD".to_owned(), 150, 208)]);
        assert_eq!(report.clocks, [Clock { name: "$glbnet$sys".into(), reached: 48.79, wanted: 50.0 }]);
        assert!(!report.routed && report.to_string().contains("estimated"));
    }
}
