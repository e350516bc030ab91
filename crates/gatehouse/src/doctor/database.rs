//! Checks of the database, its clock, and the keys encrypted in it.

use std::time::Duration;

use flows::admin::rotation::{SealCounts, examine_seals};
use flows::admin::{StoredFinding, check_master_key, examine, instances};
use flows::server::health::MIN_FREE_BYTES;
use flows::{Database, DatabaseUrl, MasterKey, Platform as _};
use model::Timestamp;
use model::keys::{KeyTimes, SIGNING_PERIOD, signing};
use tokio::time::{Instant, timeout};

use crate::config::{Config, Environment};
use crate::doctor::{DoctorReport, days};
use crate::platform::SystemPlatform;
use crate::problem::missing_database;

const AREA: &str = "database";

/// Time-out of every question to the database.
const PATIENCE: Duration = Duration::from_secs(10);
/// A sign-in waits for several commits, so users notice anything slower.
const SLOW_COMMIT: Duration = Duration::from_millis(100);
/// Largest difference of clocks with which several nodes work.
const CLOCKS_AGREE: Duration = Duration::from_millis(100);
/// Beyond this difference fresh tokens are refused.
const CLOCKS_DIFFER: Duration = Duration::from_secs(5);

pub(super) async fn look(config: &Config, environment: Environment<'_>, report: &mut DoctorReport) {
    let url = config.database(environment).map_err(|problem| report.refused(AREA, &problem)).ok();
    let master = config.master_keys(environment).map(|keys| keys.sealing());
    let master = master.map_err(|problems| problems.iter().for_each(|problem| report.refused("keys", problem))).ok();
    let Some(url) = url else { return };
    if url.file().is_some_and(|file| !file.exists()) {
        return report.refused(AREA, &missing_database(format!("there is no {url:?}")));
    }
    match timeout(PATIENCE, Database::open(&url)).await {
        Ok(Ok(database)) => {
            if connected(&url, &database, report).await {
                keys(config, &database, master.as_ref(), report).await;
            }
            database.close().await;
        }
        Ok(Err(fault)) => report.problem(AREA, format!("{url:?} cannot be opened: {}", told(&fault)), MEND),
        Err(_) => report.problem(AREA, format!("{url:?} does not answer"), MEND),
    }
}

const MEND: &str =
    "check `database` in the configuration, and that the database server is running and accepts this user";

/// A fault with its causes, for display.
fn told(fault: &flows::Fault) -> String {
    format!("{fault}: {}", fault.causes())
}

/// Checks whether the database answers and its tables can be read.
async fn connected(url: &DatabaseUrl, database: &Database, report: &mut DoctorReport) -> bool {
    let asked = SystemPlatform.now();
    let look = match timeout(PATIENCE, database.look()).await {
        Ok(Ok(look)) => look,
        Ok(Err(fault)) => {
            report.problem(AREA, format!("{url:?} cannot be read: {}", told(&fault)), MEND);
            return false;
        }
        Err(_) => {
            report.problem(AREA, format!("{url:?} does not answer"), MEND);
            return false;
        }
    };
    let software = &look.software;
    if let Some(theirs) = look.clock {
        clock(theirs, asked, SystemPlatform.now(), report);
    }
    if let Some(free) = database.free_bytes().await.filter(|free| *free < MIN_FREE_BYTES) {
        report.warning(
            AREA,
            format!(
                "the disk has {} MiB free: refusals of unauthenticated requests are counted but not recorded",
                free >> 20
            ),
            "free some space on the database's disk",
        );
    }
    match look.applied {
        None => {
            report.refused(AREA, &missing_database(format!("{software} answers, but contains no Gatehouse tables")));
            return false;
        }
        Some(applied) if applied < look.known => report.warning(
            AREA,
            format!("{software} answers; schema version {applied}, this program needs {}", look.known),
            "back up the database, then run `gatehouse migrate` or start the server",
        ),
        Some(applied) if applied > look.known => report.warning(
            AREA,
            format!("{software} answers; schema version {applied} is newer than this program ({})", look.known),
            "use the same version as the server",
        ),
        Some(applied) => report.ok(AREA, format!("{software} answers; schema version {applied}")),
    }
    write(database, report).await;
    true
}

async fn write(database: &Database, report: &mut DoctorReport) {
    let begun = Instant::now();
    match timeout(PATIENCE, database.try_write()).await {
        Ok(Ok(_)) => {
            let took = begun.elapsed();
            let what = format!("a durable commit took {:.1} ms", took.as_secs_f64() * 1000.0);
            if took > SLOW_COMMIT {
                report.warning(AREA, what, "use a faster or less busy disk; each sign-in waits for several commits");
            } else {
                report.ok(AREA, what);
            }
        }
        Ok(Err(fault)) => {
            let mend = "give this user write access to the database (and its folder, for SQLite), and check that the disk is not full";
            report.problem(AREA, format!("the database is not writable: {}", told(&fault)), mend);
        }
        Err(_) => {
            let mend = "check for locks held by a backup or another program";
            report.problem(AREA, "a commit timed out", mend);
        }
    }
}

fn clock(theirs: Timestamp, asked: Timestamp, answered: Timestamp, report: &mut DoctorReport) {
    // The database read its clock between `asked` and `answered`: this is the smallest possible difference.
    let apart = asked.since(theirs).max(theirs.since(answered));
    let what = format!("this machine's clock and the database's differ by {} ms", apart.as_millis());
    let mend = "synchronize both clocks with NTP (chrony, systemd-timesyncd)";
    if apart > CLOCKS_DIFFER {
        report.problem("clock", what, mend);
    } else if apart > CLOCKS_AGREE {
        report.warning("clock", format!("{what}; several nodes require at most 100 ms"), mend);
    } else {
        report.ok("clock", what);
    }
}

async fn keys(config: &Config, database: &Database, master: Option<&MasterKey>, report: &mut DoctorReport) {
    let known = match instances(database).await {
        Ok(known) => known,
        Err(fault) => return report.problem(AREA, format!("cannot read the instances: {}", told(&fault)), MEND),
    };
    for instance in &config.instances {
        if !known.contains(&instance.name) {
            let what = format!("instance {} is in the configuration but not in the database", instance.name);
            report.problem(AREA, what, format!("run: gatehouse instance create {}", instance.name));
        }
    }
    for name in known.iter().filter(|name| !config.instances.iter().any(|instance| instance.name == **name)) {
        let what = format!("instance {name} is in the database but not in the configuration, so it is not served");
        report.warning(AREA, what, "add an [[instance]] with its name and url");
    }
    let Some(master) = master else { return };
    if check_master_key(database, master).await.is_err() {
        let mend = "find the master key the database was created with; without it, its instances must be created again";
        let what = if master.has_previous() {
            "neither the master key nor the previous master key matches this database"
        } else {
            "wrong master key for this database"
        };
        return report.problem("keys", what, mend);
    }
    seals(database, master, report).await;
    for name in config.instances.iter().map(|instance| &instance.name).filter(|name| known.contains(name)) {
        match examine(database, master, name).await {
            Ok((times, findings)) => {
                signing_keys(name, &times, SystemPlatform.now(), report);
                records(name, &findings, report);
            }
            Err(fault) => {
                let mend = "restore the database from a backup";
                report.problem("records", format!("{name}: cannot read the records: {}", told(&fault)), mend);
            }
        }
    }
}

/// Reports stored records that this version refuses. Each is disabled or ignored on its own; everything else works.
fn records(instance: &str, findings: &[StoredFinding], report: &mut DoctorReport) {
    if findings.is_empty() {
        report.ok("records", format!("{instance}: all stored records are valid"));
    }
    for StoredFinding { kind, record, problems } in findings {
        let what = format!("{instance}: {kind} {record:?}: {}", problems.join("; "));
        let mend = match *kind {
            "application" => "correct it under /manage/apps or with `gatehouse app replace`; it is disabled until then",
            "settings" => "correct it with `gatehouse instance set`; the most restrictive value applies until then",
            "role" => "correct its permissions under /manage/roles; invalid permissions grant nothing",
            "signing key" => {
                "configure the master key it is encrypted with as [previous_master_key], or invalidate every token of its \
                 algorithm with `gatehouse key replace`, then restart; this instance is not served"
            }
            "root secret" => "restore the database from a backup; this instance is not served",
            _ => "run the newer version that wrote it, or restore it from a backup; it is ignored until then",
        };
        report.problem("records", what, mend);
    }
}

/// Reports which master key encrypts the database's secrets.
async fn seals(database: &Database, master: &MasterKey, report: &mut DoctorReport) {
    // An older schema may lack tables with secrets, so they are not counted. Its root secrets were already decrypted.
    if database.look().await.is_ok_and(|look| look.is_older()) {
        return report.ok("keys", "the master key decrypts the database's root secrets");
    }
    match examine_seals(database, master).await {
        Ok(Ok(SealCounts { neither: 0, previous: 0, current, .. })) if master.has_previous() => {
            let what =
                format!("the master key decrypts all {current} secrets; the previous master key is no longer in use");
            report.warning(
                "keys",
                what,
                "remove [previous_master_key] from the configuration and restart every server",
            );
        }
        Ok(Ok(SealCounts { neither: 0, previous: 0, current, .. })) => {
            report.ok("keys", format!("the master key decrypts all {current} secrets of the database"));
        }
        Ok(Ok(SealCounts { neither: 0, previous, .. })) => {
            let what = format!("{previous} secrets are encrypted with the previous master key");
            report.warning("keys", what, "once every server has both keys, run: gatehouse master-key rotate");
        }
        Ok(Ok(seals)) => {
            let what = format!("{} secrets cannot be decrypted with any configured master key", seals.neither);
            report.problem("keys", what, "run: gatehouse master-key check (lists them)");
        }
        // The check of the schema version reports this.
        Ok(Err(_)) => report.ok("keys", "the master key decrypts the database's root secrets"),
        Err(fault) => report.problem(AREA, format!("cannot read the encrypted secrets: {}", told(&fault)), MEND),
    }
}

/// Keys rotate by themselves. An overdue rotation means that no server is running.
fn signing_keys(instance: &str, times: &[KeyTimes], now: Timestamp, report: &mut DoctorReport) {
    let mut algorithms: Vec<_> = times.iter().map(|key| key.algorithm).collect();
    algorithms.sort_unstable_by_key(|algorithm| algorithm.as_str());
    algorithms.dedup();
    for algorithm in algorithms {
        let Some(key) = signing(times, algorithm, now) else { continue };
        let name = algorithm.as_str();
        let age = now.since(key.signs_from);
        if key.signs_from.plus(SIGNING_PERIOD) < now {
            let what = format!("{instance}: the {name} key is {} old and should have been rotated", days(age));
            report.warning("keys", what, "start the server; it rotates keys automatically, within a day");
        } else {
            let rest = days(key.successor_from().since(now));
            report.ok("keys", format!("{instance}: the {name} key is {} old, next rotation in {rest}", days(age)));
        }
    }
    if times.is_empty() {
        let mend = "start the server; it creates keys automatically";
        report.problem("keys", format!("{instance} has no signing key"), mend);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    fn level(theirs: i64, asked: i64, answered: i64) -> Level {
        let at = |millis: i64| Timestamp(millis * 1000);
        let mut report = DoctorReport::default();
        clock(at(theirs), at(asked), at(answered), &mut report);
        report.worst()
    }

    #[test]
    fn a_clock_is_off_only_by_what_the_question_cannot_explain() {
        assert_eq!(level(1050, 1000, 1100), Level::Ok);
        assert_eq!(level(2000, 1000, 4000), Level::Ok, "a slow answer says nothing about the clock");
        assert_eq!(level(1400, 1000, 1200), Level::Warning);
        assert_eq!(level(700, 1000, 1010), Level::Warning);
        assert_eq!(level(7000, 1000, 1001), Level::Problem);
    }
}
