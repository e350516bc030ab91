//! Results as a table and as JSON.

mod attacks;
mod sessions;

use serde_json::{Map, Value, json};

use crate::Effort;
use crate::durable::Durable;
use crate::served::{Bar, Memory, Served};
use crate::starts::Starts;
use crate::stats::Spread;

/// Results of one part.
pub(crate) struct Chapter {
    text: String,
    json: Value,
}

/// Results of all parts.
pub(crate) struct Report {
    effort: Effort,
    json: Map<String, Value>,
}

impl Report {
    pub(crate) fn new(effort: Effort) -> Self {
        Self { effort, json: Map::new() }
    }

    /// Adds a chapter and returns its text.
    pub(crate) fn add(&mut self, chapter: Chapter) -> String {
        if let Value::Object(members) = chapter.json {
            self.json.extend(members);
        }
        let quick = if self.effort.quick { ", quick: not to be quoted" } else { "" };
        format!("Medians of {} rounds (lowest–highest){quick}\n\n{}", self.effort.rounds, chapter.text)
    }

    pub(crate) fn json(self) -> Value {
        let mut json = self.json;
        json.insert("rounds".to_owned(), self.effort.rounds.into());
        json.insert("quick".to_owned(), self.effort.quick.into());
        json.into()
    }
}

const MIB: f64 = 1024.0 * 1024.0;

fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "missed" }
}

/// `median (low–high)`.
fn spread(spread: Spread, digits: usize) -> String {
    format!("{:.digits$} ({:.digits$}–{:.digits$})", spread.median, spread.low, spread.high)
}

/// A Markdown table; each column is as wide as its longest value.
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
    /// The compared ratio, its minimum, and the name of the comparison.
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
            self.pace.name(),
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
            "asked_for": self.pace.name(),
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
    /// Maximum commits per change, and minimum ratio to the naive pool.
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

const SERVED: [&str; 10] =
    ["shape", "asked for", "CPU µs", "bare CPU µs", "ratio", "at least", "", "requests/s", "p50 µs", "p99 µs"];

fn served(served: &[Served]) -> String {
    table(&SERVED, &served.iter().map(Served::row).collect::<Vec<_>>())
}

/// Name, value, maximum and unit of each size.
fn sizes(sizes: &[(&str, f64, f64, &str)]) -> String {
    let row = |(name, value, bar, unit): &(&str, f64, f64, &str)| {
        vec![(*name).to_owned(), format!("{value:.1} {unit}"), format!("{bar:.0} {unit}"), verdict(value <= bar).into()]
    };
    table(&["size or time", "measured", "at most", ""], &sizes.iter().map(row).collect::<Vec<_>>())
}

impl Chapter {
    pub(crate) fn served(shapes: &[Served], memory: &Memory) -> Self {
        let resident = |kib: u32| f64::from(kib) / 1024.0;
        let sizes = sizes(&[
            ("resident, idle", resident(memory.idle), 32.0, "MiB"),
            ("resident, most under load", resident(memory.most_under_load), 64.0, "MiB"),
        ]);
        Self {
            text: format!("{}\n{sizes}", served(shapes)),
            json: json!({
                "served": shapes.iter().map(Served::json).collect::<Vec<_>>(),
                "resident_kib": { "idle": memory.idle, "most_under_load": memory.most_under_load },
            }),
        }
    }

    pub(crate) fn credentials(shapes: &[Served]) -> Self {
        let json = json!({ "credentials": shapes.iter().map(Served::json).collect::<Vec<_>>() });
        Self { text: served(shapes), json }
    }

    pub(crate) fn starts(starts: &Starts, binary_bytes: u64) -> Self {
        Self {
            text: sizes(&[
                ("binary", binary_bytes as f64 / MIB, 30.0, "MiB"),
                ("`serve` to ready, existing data", starts.existing.median, 50.0, "ms"),
                ("`instance create` and `serve` to ready, empty", starts.empty.median, 500.0, "ms"),
                ("`demo` to ready", starts.demo.median, 1000.0, "ms"),
            ]),
            json: json!({
                "binary_bytes": binary_bytes,
                "starts_ms": {
                    "serve_existing": starts.existing.json(),
                    "create_and_serve_empty": starts.empty.json(),
                    "demo": starts.demo.json(),
                },
            }),
        }
    }

    pub(crate) fn durable(durable: &[Durable]) -> Self {
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
        let mut text = table(&head, &durable.iter().map(Durable::row).collect::<Vec<_>>());
        if !durable.iter().any(|durable| durable.database == "PostgreSQL") {
            text.push_str(NO_POSTGRES);
        }
        Self { text, json: json!({ "durable": durable.iter().map(Durable::json).collect::<Vec<_>>() }) }
    }
}

const NO_POSTGRES: &str = "PostgreSQL: not run (GATEHOUSE_TEST_POSTGRES is not set)\n";
