//! What the store tells of itself: to the doctor, and as figures.

use std::collections::HashMap;

use model::meter::HistogramSnapshot;
use model::seat::{Seat, SeatAdmission};
use store::CommitOutcome;

use crate::common::Place;
use crate::{NOW, done, server};

crate::on_both! {
    a_look_tells_the_software_the_tables_and_the_clock
    a_write_is_tried_and_changes_nothing
    commits_are_counted_and_measured
    seats_are_counted_for_all_instances_at_once
}

async fn a_look_tells_the_software_the_tables_and_the_clock(place: Place) {
    let empty = place.open().await;
    let before = empty.look().await.expect("no fault");
    assert_eq!(before.applied, None, "no tables yet");
    assert!(empty.try_write().await.is_err(), "and nothing to write to");
    empty.migrate().await.expect("no fault");
    let look = empty.look().await.expect("no fault");
    assert_eq!(look.applied, Some(look.known));
    assert!(look.known >= 11);
    let (name, version) = look.software.split_once(' ').expect("a name and a version");
    assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{version}");
    assert_eq!((name == "SQLite", look.clock.is_none()), (empty.is_embedded(), empty.is_embedded()));
    assert!(look.clock.is_none_or(|clock| clock > NOW.minus(std::time::Duration::from_hours(24 * 3650))));
}

async fn a_write_is_tried_and_changes_nothing(place: Place) {
    let server = server(&place).await;
    let database = server.here.database();
    let sql = "SELECT version, name, checksum FROM refinery_schema_history ORDER BY version";
    let before = database.query(sql, vec![]).await.expect("no fault");
    assert_eq!(database.try_write().await.expect("no fault"), CommitOutcome::Committed);
    assert_eq!(format!("{:?}", database.query(sql, vec![]).await.expect("no fault")), format!("{before:?}"));
}

fn total(spread: &HistogramSnapshot) -> u64 {
    spread.buckets.iter().map(|(_, count)| count).sum()
}

async fn commits_are_counted_and_measured(place: Place) {
    let server = server(&place).await;
    let database = server.here.database();
    let before = database.figures();
    let (commits, batches, measured) = (before.commits, before.batches, total(&before.latency.read()));
    done(&server.here, server.here.insert_role("Sales", &model::entities::Permissions::default())).await;
    let after = database.figures();
    assert_eq!((after.commits - commits, after.batches - batches), (1, 1));
    assert_eq!(total(&after.latency.read()) - measured, 1);
    assert_eq!(total(&after.sizes.read()), after.commits);
    assert_eq!(after.sizes.read().sum, after.batches);
    assert!(after.latency.read().sum > 0, "it took some time");
}

async fn seats_are_counted_for_all_instances_at_once(place: Place) {
    let server = server(&place).await;
    for store in [&server.here, &server.there] {
        done(store, store.insert_seats()).await;
    }
    let admission =
        SeatAdmission { seat: Seat::Shared, version: 0, below: None, user_below: None, application_below: None };
    done(&server.here, server.here.take_seat(admission)).await;
    let used = server.here.database().seats_used().await.expect("no fault");
    assert_eq!(used, HashMap::from([(*server.here.instance(), 1), (*server.there.instance(), 0)]));
}
