//! Reports of sessions, revocations, crowds and storms.

use serde_json::{Value, json};

use super::{Chapter, NO_POSTGRES, spread, table, verdict};
use crate::crowd::{Crowd, InUse};
use crate::fairness::Beside;
use crate::lists::{Lists, Opened};
use crate::revocations::RevocationDelays;
use crate::seats::Openings;
use crate::storm::{PathLatencies, Storm};

/// A revocation reaches every node within a second (in milliseconds).
const MAX_REVOCATION_DELAY: f64 = 1000.0;
/// Minimum ratio of the CPU of a call with one session to that of a call among many sessions.
const UNCHANGED: f64 = 0.9;
/// Maximum ratio of the p99 with a storm to the p99 without: of the token path in a storm of sign-ins, and of an
/// instance beside one under a storm.
const MAX_TIMES: f64 = 2.0;

impl Chapter {
    pub(crate) fn seats(openings: &[Openings]) -> Self {
        let head = ["opening a session", "callers", "openings/s", "p50 ms", "p99 ms", "commits per opening"];
        let row = |one: &Openings| {
            vec![
                one.database.to_owned(),
                one.callers.to_string(),
                spread(one.per_second, 0),
                spread(one.p50, 1),
                spread(one.p99, 1),
                format!("1/{:.1}", 1.0 / one.commits_per_opening.median),
            ]
        };
        let json = |one: &Openings| {
            json!({
                "database": one.database,
                "callers": one.callers,
                "openings_per_second": one.per_second.json(),
                "p50_ms": one.p50.json(),
                "p99_ms": one.p99.json(),
                "commits_per_opening": one.commits_per_opening.json(),
            })
        };
        let mut text = table(&head, &openings.iter().map(row).collect::<Vec<_>>());
        if openings.len() == 1 {
            text.push_str(NO_POSTGRES);
        }
        Self { text, json: json!({ "seats": openings.iter().map(json).collect::<Vec<_>>() }) }
    }

    pub(crate) fn revocations(delays: &[RevocationDelays]) -> Self {
        if delays.is_empty() {
            return Self { text: format!("revocation: {NO_POSTGRES}"), json: json!({ "kills": null }) };
        }
        let head = ["revoked on one of three nodes", "kills", "p50 ms", "p99 ms", "longest ms", "p99 at most", ""];
        let row = |one: &RevocationDelays| {
            vec![
                one.what.to_owned(),
                one.revocations.to_string(),
                format!("{:.0}", one.p50),
                format!("{:.0}", one.p99),
                format!("{:.0}", one.most),
                format!("{MAX_REVOCATION_DELAY:.0} ms"),
                verdict(one.p99 < MAX_REVOCATION_DELAY).to_owned(),
            ]
        };
        let json = |one: &RevocationDelays| {
            json!({
                "token": one.what, "kills": one.revocations, "p50_ms": one.p50, "p99_ms": one.p99, "longest_ms": one.most,
                "met": one.p99 < MAX_REVOCATION_DELAY,
            })
        };
        Self {
            text: table(&head, &delays.iter().map(row).collect::<Vec<_>>()),
            json: json!({ "kills": delays.iter().map(json).collect::<Vec<_>>() }),
        }
    }

    pub(crate) fn crowd(crowd: &Crowd) -> Self {
        let (sessions, tokens) = (crowd.sessions, crowd.tokens);
        let head = [
            "tokens in use",
            "asked for",
            "CPU µs",
            "of bare",
            "1 session of bare",
            "of 1 session",
            "at least",
            "",
            "p50 µs",
            "p99 µs",
        ];
        let rows: Vec<_> = crowd.in_use.iter().map(InUse::row).collect();
        let mib = |kib: u32| format!("{:.0} MiB", f64::from(kib) / 1024.0);
        let ms = |ms: f64| format!("{ms:.1} ms");
        let sizes: Vec<_> = [
            ("resident at the start", mib(crowd.started)),
            ("resident, all sessions live", mib(crowd.live)),
            ("resident after all rounds", mib(crowd.used)),
            ("resident after all rounds, 1 session", mib(crowd.small)),
            ("opened a second, over HTTP", format!("{:.0}", crowd.opened_per_second)),
            ("CPU each second while nobody calls, all just opened", ms(crowd.resting.1)),
            ("the same, at rest", ms(crowd.resting.2)),
            ("the same, 1 session", ms(crowd.resting.0)),
        ]
        .map(|(name, value)| vec![name.to_owned(), value])
        .into();
        let text = format!(
            "{sessions} live sessions, {tokens} reference tokens\n\n{}\n{}",
            table(&head, &rows),
            table(&["", "measured"], &sizes)
        );
        let json = json!({
            "sessions": sessions,
            "tokens": tokens,
            "in_use": crowd.in_use.iter().map(InUse::json).collect::<Vec<_>>(),
            "resident_kib": {
                "started": crowd.started, "live": crowd.live, "used": crowd.used, "one_session": crowd.small,
            },
            "opened_per_second": crowd.opened_per_second,
            "resting_ms_per_second": { "one_session": crowd.resting.0, "all": crowd.resting.1, "at_rest": crowd.resting.2 },
        });
        Self { text, json: json!({ "crowd": json }) }
    }

    pub(crate) fn lists(lists: &Lists) -> Self {
        let head = ["page of the manager", "ms, 200 lines", "ms", "times"];
        let row = |one: &Opened| {
            let times = format!("{:.1}", one.many.median / one.few.median);
            vec![one.page.to_owned(), spread(one.few, 1), spread(one.many, 1), times]
        };
        let json = |one: &Opened| json!({ "page": one.page, "few_ms": one.few.json(), "many_ms": one.many.json() });
        let rows: Vec<_> = lists.pages.iter().map(row).collect();
        let pages: Vec<_> = lists.pages.iter().map(json).collect();
        Self {
            text: format!("{} lines in every list\n\n{}", lists.lines, table(&head, &rows)),
            json: json!({ "lists": { "lines": lists.lines, "pages": pages } }),
        }
    }

    pub(crate) fn storm(storm: &Storm) -> Self {
        let head = [
            "beside wrong passwords",
            "asked for",
            "p50 µs without",
            "p99 µs without",
            "p50 µs",
            "p99 µs",
            "p99 by p99 without",
            "at most",
            "",
        ];
        let rows: Vec<_> = storm.paths.iter().map(PathLatencies::row).collect();
        let compared = spread(storm.sign_ins_per_second, 0);
        let text = format!("{}\nPasswords compared a second meanwhile: {compared}\n", table(&head, &rows));
        let json = json!({
            "token_path": storm.paths.iter().map(PathLatencies::json).collect::<Vec<_>>(),
            "sign_ins_per_second": storm.sign_ins_per_second.json(),
        });
        Self { text, json: json!({ "storm": json }) }
    }

    pub(crate) fn fairness(beside: &[Beside]) -> Self {
        let head = [
            "the other is stormed with",
            "database",
            "this one's",
            "p99 ms without",
            "p99 ms",
            "p99 by p99 without",
            "at most",
            "",
            "storm/s",
        ];
        let row = |one: &Beside| {
            vec![
                one.storm.to_owned(),
                one.database.to_owned(),
                one.what.to_owned(),
                spread(one.quiet, 1),
                spread(one.stormed, 1),
                spread(one.times, 1),
                format!("{MAX_TIMES:.0}"),
                verdict(one.times.median <= MAX_TIMES).to_owned(),
                spread(one.per_second, 0),
            ]
        };
        let json = |one: &Beside| {
            json!({
                "storm": one.storm,
                "database": one.database,
                "what": one.what,
                "without": { "p99_ms": one.quiet.json() },
                "stormed": { "p99_ms": one.stormed.json() },
                "times": one.times.json(),
                "met": one.times.median <= MAX_TIMES,
                "storm_per_second": one.per_second.json(),
            })
        };
        let mut text = table(&head, &beside.iter().map(row).collect::<Vec<_>>());
        if !beside.iter().any(|one| one.database == "PostgreSQL") {
            text.push_str(NO_POSTGRES);
        }
        Self { text, json: json!({ "fairness": beside.iter().map(json).collect::<Vec<_>>() }) }
    }
}

impl InUse {
    fn is_met(&self) -> bool {
        self.of_small.median >= UNCHANGED
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.tokens.to_string(),
            self.pace.name(),
            spread(self.cpu, 1),
            spread(self.of_bare, 2),
            spread(self.small_of_bare, 2),
            spread(self.of_small, 2),
            format!("{UNCHANGED:.2}"),
            verdict(self.is_met()).to_owned(),
            spread(self.p50, 0),
            spread(self.p99, 0),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "tokens": self.tokens,
            "asked_for": self.pace.name(),
            "cpu_us": self.cpu.json(),
            "of_bare": self.of_bare.json(),
            "one_session_of_bare": self.small_of_bare.json(),
            "of_one_session": self.of_small.json(),
            "met": self.is_met(),
            "p50_us": self.p50.json(),
            "p99_us": self.p99.json(),
        })
    }
}

impl PathLatencies {
    fn is_met(&self) -> bool {
        self.times.median <= MAX_TIMES
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.path.to_owned(),
            self.pace.name(),
            spread(self.quiet.0, 0),
            spread(self.quiet.1, 0),
            spread(self.storm.0, 0),
            spread(self.storm.1, 0),
            spread(self.times, 1),
            format!("{MAX_TIMES:.0}"),
            verdict(self.is_met()).to_owned(),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "path": self.path,
            "asked_for": self.pace.name(),
            "without": { "p50_us": self.quiet.0.json(), "p99_us": self.quiet.1.json() },
            "storm": { "p50_us": self.storm.0.json(), "p99_us": self.storm.1.json() },
            "times": self.times.json(),
            "met": self.is_met(),
        })
    }
}
