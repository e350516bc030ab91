use store::faults::{DatabaseOperation, FaultMoment, InjectedFault};

use super::{Flow, Group, Stage, all};
use crate::TestDatabase;

/// As `commit 1 after`. With the flow's name before it, it repeats a case: `GATEHOUSE_FAULT="refresh commit 1 after"`.
pub fn shown(fault: &InjectedFault) -> String {
    let operation = match fault.operation {
        DatabaseOperation::Commit => "commit",
        DatabaseOperation::Read => "read",
    };
    let moment = match fault.moment {
        FaultMoment::Before => "before",
        FaultMoment::After => "after",
        FaultMoment::Unanswered => "unanswered",
    };
    format!("{operation} {} {moment}", fault.nth)
}

/// Of these, so many cases run on one house: the audit that is verified after each grows with every case.
const CASES_PER_STAGE: usize = 25;

/// Runs every flow of the group with every commit and every read failing in each way. Panics with all that is broken.
pub async fn run_group(group: Group, place: impl AsyncFn() -> TestDatabase) {
    let only = std::env::var("GATEHOUSE_FAULT").ok();
    let (mut cases, mut broken) = (0, Vec::new());
    for flow in all().iter().filter(|flow| flow.group == group) {
        if only.as_ref().is_some_and(|only| only.split(' ').next() != Some(flow.name)) {
            continue;
        }
        cases += run_flow(flow, only.as_deref(), &place, &mut broken).await;
    }
    println!("{group:?}: {cases} cases");
    assert!(broken.is_empty(), "{} of {cases} cases are broken:\n{}", broken.len(), broken.join("\n"));
}

async fn run_flow(
    flow: &'static Flow,
    only: Option<&str>,
    place: &impl AsyncFn() -> TestDatabase,
    broken: &mut Vec<String>,
) -> usize {
    let mut stage = Box::pin(Stage::open(place().await)).await;
    let counted = match stage.run(&[flow], &[]).await {
        Ok(counted) => counted,
        Err(why) => {
            broken.push(format!("{} without faults: {why}", flow.name));
            return 1;
        }
    };
    assert!(counted.commits + counted.reads > 0, "{} asks the database for nothing", flow.name);
    let operations = [(DatabaseOperation::Commit, counted.commits), (DatabaseOperation::Read, counted.reads)];
    let moments = [FaultMoment::Before, FaultMoment::After, FaultMoment::Unanswered];
    let faults = operations.into_iter().flat_map(|(operation, count)| {
        (1..=count).flat_map(move |nth| moments.map(|moment| InjectedFault { operation, nth, moment }))
    });
    let mut run = 0;
    for fault in faults {
        let case = format!("{} {}", flow.name, shown(&fault));
        if only.is_some_and(|only| only != flow.name && only != case) {
            continue;
        }
        run += 1;
        let ran = stage.run(&[flow], &[fault]).await;
        let is_broken = ran.is_err();
        broken.extend(ran.err().map(|why| format!("{case}: {why}")));
        if is_broken || run % CASES_PER_STAGE == 0 {
            stage = Box::pin(Stage::open(place().await)).await;
        }
    }
    run
}
