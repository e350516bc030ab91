use store::faults::{DatabaseOperation, FaultMoment, InjectedFault, OperationCounts};

use super::{Flow, Group, Stage, all};
use crate::TestDatabase;

/// For example `commit 1 after`. With the flow's name before it, it repeats one case:
/// `GATEHOUSE_FAULT="refresh commit 1 after"`.
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

/// Cases that run on one server. Opening a server is expensive, and its memory is compared after each case.
const CASES_PER_STAGE: usize = 25;

/// Runs every flow of the group with every commit and every read failing in each way. Panics with the list of failures.
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
    let is_wanted = |fault: &InjectedFault| only.is_none_or(|only| only == flow.name || only == case(flow, fault));
    let faults: Vec<InjectedFault> = faults_of(counted).filter(is_wanted).collect();
    let mut rest = &faults[..];
    while !rest.is_empty() {
        let now = &rest[..rest.len().min(CASES_PER_STAGE)];
        let known = broken.len();
        let run = run_cases(&stage, flow, now, broken).await;
        if broken.len() == known
            && let Err(why) = stage.audit().await
        {
            broken.push(name_culprit(flow, now, &why, place).await);
        }
        rest = &rest[run..];
        if !rest.is_empty() {
            stage = Box::pin(Stage::open(place().await)).await;
        }
    }
    faults.len()
}

fn case(flow: &Flow, fault: &InjectedFault) -> String {
    format!("{} {}", flow.name, shown(fault))
}

fn faults_of(counted: OperationCounts) -> impl Iterator<Item = InjectedFault> {
    let operations = [(DatabaseOperation::Commit, counted.commits), (DatabaseOperation::Read, counted.reads)];
    let moments = [FaultMoment::Before, FaultMoment::After, FaultMoment::Unanswered];
    operations.into_iter().flat_map(move |(operation, count)| {
        (1..=count).flat_map(move |nth| moments.map(|moment| InjectedFault { operation, nth, moment }))
    })
}

/// Returns how many cases ran. After a failed case the stage cannot be used.
async fn run_cases(stage: &Stage, flow: &Flow, faults: &[InjectedFault], broken: &mut Vec<String>) -> usize {
    for (run, fault) in (1..).zip(faults) {
        if let Err(why) = stage.run(&[flow], &[*fault]).await {
            broken.push(format!("{}: {why}", case(flow, fault)));
            return run;
        }
    }
    faults.len()
}

/// Repeats these cases after a chain was found broken, and verifies the chains after each one.
async fn name_culprit(
    flow: &Flow,
    faults: &[InjectedFault],
    found: &str,
    place: &impl AsyncFn() -> TestDatabase,
) -> String {
    let stage = Box::pin(Stage::open(place().await)).await;
    for fault in faults {
        let ran = stage.run(&[flow], &[*fault]).await;
        if let Err(why) = ran.and(stage.audit().await) {
            return format!("{}: {why}", case(flow, fault));
        }
    }
    format!("{}, by one of its cases, and not when they were repeated: {found}", flow.name)
}
