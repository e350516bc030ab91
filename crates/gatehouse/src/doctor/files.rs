//! Checks of the disk and of file permissions.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::doctor::DoctorReport;

/// A server that cannot write stops answering long before the disk is completely full.
const LITTLE_SPACE: u64 = 1024 * 1024 * 1024;
const NO_SPACE: u64 = 64 * 1024 * 1024;

/// Every commit waits for a sync.
const SLOW_SYNC: Duration = Duration::from_millis(50);
const SYNCS: usize = 5;

pub(super) fn look(config: &Config, report: &mut DoctorReport) {
    if let Some(file) = config.database_file() {
        let folder = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if folder.is_dir() {
            space(folder, report);
            sync_time(folder, report);
        }
        private(&file, "the database", report);
    }
    for (path, what) in config.secret_files() {
        private(&path, what, report);
    }
    if config.holds_password() {
        private(config.path(), "the configuration (with the database password)", report);
    }
}

/// Checks that only the owner can read a file.
fn private(path: &Path, what: &str, report: &mut DoctorReport) {
    // A missing file is reported by the check that needs it.
    let Ok(seen) = fs::metadata(path) else { return };
    let mode = seen.permissions().mode() & 0o777;
    let shown = path.display();
    let mend = format!("run: chmod 600 {shown}; if others may have read it, replace the secrets in it");
    if mode & 0o007 != 0 {
        report.problem("files", format!("{what} {shown} is readable by everyone (mode {mode:03o})"), mend);
    } else if mode & 0o070 != 0 {
        report.warning("files", format!("{what} {shown} is accessible to its group (mode {mode:03o})"), mend);
    } else {
        report.ok("files", format!("{what} {shown} is accessible to its owner only"));
    }
}

fn space(folder: &Path, report: &mut DoctorReport) {
    let Ok(seen) = rustix::fs::statvfs(folder) else { return };
    let free = seen.f_bavail.saturating_mul(seen.f_frsize);
    let what = format!("{} MiB are free in {}", free / (1024 * 1024), folder.display());
    let mend = "free some disk space; requests fail when nothing can be written";
    if free < NO_SPACE {
        report.problem("disk", what, mend);
    } else if free < LITTLE_SPACE {
        report.warning("disk", what, mend);
    } else {
        report.ok("disk", what);
    }
}

/// Median of a few measurements.
#[expect(clippy::disallowed_methods, reason = "the disk is measured")]
fn measured(path: &Path) -> std::io::Result<Duration> {
    let mut file = File::options().write(true).create_new(true).open(path)?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let begun = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_all()?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(times[SYNCS / 2])
}

fn sync_time(folder: &Path, report: &mut DoctorReport) {
    let path = folder.join(format!(".gatehouse-doctor-{}", std::process::id()));
    let measured = measured(&path);
    let _absent = fs::remove_file(&path);
    match measured {
        Ok(took) => {
            let what = format!("a synchronous disk write takes {:.1} ms", took.as_secs_f64() * 1000.0);
            if took > SLOW_SYNC {
                report.warning("disk", what, "use a local disk, preferably with a power-loss-protected write cache");
            } else {
                report.ok("disk", what);
            }
        }
        Err(error) => {
            let mend = "give the user that runs gatehouse write access, and run doctor as that user";
            report.problem("disk", format!("{} cannot be written: {error}", folder.display()), mend);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn a_file_is_judged_by_who_may_read_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        fs::write(&path, "x").expect("written");
        for (mode, level) in [(0o600, Level::Ok), (0o400, Level::Ok), (0o640, Level::Warning), (0o604, Level::Problem)]
        {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("changed");
            let mut report = DoctorReport::default();
            private(&path, "the key", &mut report);
            assert_eq!(report.worst(), level, "{mode:o}");
        }
    }

    #[test]
    fn measuring_the_disk_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut report = DoctorReport::default();
        space(folder.path(), &mut report);
        sync_time(folder.path(), &mut report);
        assert_eq!(report.0.len(), 2);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
        let mut report = DoctorReport::default();
        sync_time(&folder.path().join("nowhere"), &mut report);
        assert_eq!(report.worst(), Level::Problem);
    }
}
