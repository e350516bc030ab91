//! The results as a table for people and as JSON for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::durable::Durable;
use crate::served::{Bar, Memory, Served};
use crate::starts::Starts;
use crate::stats::Spread;

pub(crate) struct Report {
    pub(crate) rounds: u32,
    pub(crate) quick: bool,
    pub(crate) served: Vec<Served>,
    pub(crate) memory: Memory,
    pub(crate) binary_bytes: u64,
    pub(crate) starts: Starts,
    pub(crate) durable: Vec<Durable>,
}

const MIB: f64 = 1024.0 * 1024.0;

fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "missed" }
}

/// `median (low–high)`.
fn spread(spread: Spread, digits: usize) -> String {
    format!("{:.digits$} ({:.digits$}–{:.digits$})", spread.median, spread.low, spread.high)
}

/// A Markdown table with columns as wide as they must be.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).map(|(cell, width)| format!(" {cell:width$} "));
        format!("|{}|\n", padded.collect::<Vec<_>>().join("|"))
    };
    let mut text = line(&mut head.iter().copied());
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    text.push_str(&line(&mut rule.iter().map(String::as_str)));
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

impl Served {
    /// What is compared, how much it has to be at least, and of what.
    fn compared(&self) -> (Spread, Option<(f64, &'static str)>) {
        match (self.bar, self.of_signing) {
            (Bar::OfBare(bar), _) => (self.of_bare, Some((bar, "of bare"))),
            (Bar::OfSigning(bar), Some(of_signing)) => (of_signing, Some((bar, "of signing"))),
            (Bar::OfSigning(_) | Bar::None, _) => (self.of_bare, None),
        }
    }

    fn row(&self) -> Vec<String> {
        let (ratio, goal) = self.compared();
        vec![
            self.name.to_owned(),
            spread(self.cpu, 1),
            spread(self.bare_cpu, 1),
            spread(ratio, 2),
            goal.map(|(bar, what)| format!("{bar:.2} {what}")).unwrap_or_default(),
            goal.map(|(bar, _)| verdict(ratio.median >= bar)).unwrap_or_default().to_owned(),
            spread(self.per_second, 0),
            spread(self.p50, 0),
            spread(self.p99, 0),
        ]
    }

    fn json(&self) -> Value {
        let (ratio, goal) = self.compared();
        json!({
            "shape": self.name,
            "cpu_us": self.cpu.json(),
            "bare_cpu_us": self.bare_cpu.json(),
            "of_bare": self.of_bare.json(),
            "of_signing": self.of_signing.map(Spread::json),
            "at_least": goal.map(|(bar, _)| bar),
            "met": goal.map(|(bar, _)| ratio.median >= bar),
            "requests_per_second": self.per_second.json(),
            "bare_requests_per_second": self.bare_per_second.json(),
            "p50_us": self.p50.json(),
            "p99_us": self.p99.json(),
        })
    }
}

impl Durable {
    /// At most so many commits a change, at least so many times the naive pool.
    fn goals(&self) -> Option<(f64, f64)> {
        match (&self.naive, self.callers) {
            (Some(_), 128) => Some((1.0 / 32.0, 6.0)),
            (Some(_), 16) => Some((1.0 / 6.0, 3.0)),
            _ => None,
        }
    }

    fn is_met(&self) -> Option<bool> {
        let (commits, times) = self.goals()?;
        let naive = self.naive.as_ref()?;
        Some(self.commits_per_change.median <= commits && naive.times.median >= times)
    }

    fn row(&self) -> Vec<String> {
        let goals = self.goals().map(|(commits, times)| format!("1/{:.0}, {times:.0} ×", 1.0 / commits));
        let naive = self.naive.as_ref();
        vec![
            format!("{}, {}", self.change.name(), self.database),
            self.callers.to_string(),
            spread(self.per_second, 0),
            spread(self.p50, 1),
            spread(self.p99, 1),
            format!("1/{:.1}", 1.0 / self.commits_per_change.median),
            naive.map(|naive| spread(naive.per_second, 0)).unwrap_or_default(),
            naive.map(|naive| spread(naive.p99, 0)).unwrap_or_default(),
            naive.map(|naive| spread(naive.times, 1)).unwrap_or_default(),
            goals.unwrap_or_default(),
            self.is_met().map(verdict).unwrap_or_default().to_owned(),
        ]
    }

    fn json(&self) -> Value {
        let naive = self.naive.as_ref().map(|naive| {
            json!({
                "changes_per_second": naive.per_second.json(), "p99_ms": naive.p99.json(), "times": naive.times.json(),
            })
        });
        json!({
            "shape": self.change.name(),
            "database": self.database,
            "callers": self.callers,
            "changes_per_second": self.per_second.json(),
            "p50_ms": self.p50.json(),
            "p99_ms": self.p99.json(),
            "commits_per_change": self.commits_per_change.json(),
            "naive": naive,
            "at_most_commits_at_least_times": self.goals(),
            "met": self.is_met(),
        })
    }
}

impl Report {
    /// Name, value, what it may be at most, unit.
    fn sizes(&self) -> [(&'static str, f64, f64, &'static str); 6] {
        let resident = |kib: u32| f64::from(kib) / 1024.0;
        [
            ("resident, idle", resident(self.memory.idle), 32.0, "MiB"),
            ("resident, most under load", resident(self.memory.most_under_load), 64.0, "MiB"),
            ("binary", self.binary_bytes as f64 / MIB, 30.0, "MiB"),
            ("`serve` to ready, existing data", self.starts.existing.median, 50.0, "ms"),
            ("`instance create` and `serve` to ready, empty", self.starts.empty.median, 500.0, "ms"),
            ("`demo` to ready", self.starts.demo.median, 1000.0, "ms"),
        ]
    }

    pub(crate) fn text(&self) -> String {
        let served: Vec<_> = self.served.iter().map(Served::row).collect();
        let durable: Vec<_> = self.durable.iter().map(Durable::row).collect();
        let sizes = self.sizes().map(|(name, value, bar, unit)| {
            let verdict = verdict(value <= bar).to_owned();
            vec![name.to_owned(), format!("{value:.1} {unit}"), format!("{bar:.0} {unit}"), verdict]
        });
        let mut text = String::new();
        let quick = if self.quick { ", quick: not to be quoted" } else { "" };
        let _ = writeln!(text, "Medians of {} rounds (lowest–highest){quick}\n", self.rounds);
        text.push_str(&table(
            &["shape", "CPU µs", "bare CPU µs", "ratio", "at least", "", "requests/s", "p50 µs", "p99 µs"],
            &served,
        ));
        text.push('\n');
        let head = [
            "durable change",
            "callers",
            "changes/s",
            "p50 ms",
            "p99 ms",
            "commits per change",
            "naive/s",
            "naive p99 ms",
            "× naive",
            "goal",
            "",
        ];
        text.push_str(&table(&head, &durable));
        if !self.durable.iter().any(|durable| durable.database == "PostgreSQL") {
            text.push_str("PostgreSQL: not run (GATEHOUSE_TEST_POSTGRES is not set)\n");
        }
        text.push('\n');
        text.push_str(&table(&["size or time", "measured", "at most", ""], &sizes));
        text
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "rounds": self.rounds,
            "quick": self.quick,
            "served": self.served.iter().map(Served::json).collect::<Vec<_>>(),
            "durable": self.durable.iter().map(Durable::json).collect::<Vec<_>>(),
            "resident_kib": { "idle": self.memory.idle, "most_under_load": self.memory.most_under_load },
            "binary_bytes": self.binary_bytes,
            "starts_ms": {
                "serve_existing": self.starts.existing.json(),
                "create_and_serve_empty": self.starts.empty.json(),
                "demo": self.starts.demo.json(),
            },
        })
    }
}
