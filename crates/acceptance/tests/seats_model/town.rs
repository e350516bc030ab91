//! Nodes on one database and their events. The invariants are checked after every event.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use model::seat::{NoSeat, Occupancy, OpeningStep, SeatSnapshot, SessionKey, SessionOpening};
use model::{Login, SessionId, Timestamp};
use uuid::Uuid;

use crate::database::{Database, NodeId, Opened};
use crate::laws::Served;
use crate::nodes::{FUSE, Node, Stage, TICK, Work};

pub(crate) const NODES: usize = 3;
pub(crate) const ACCOUNTS: usize = 6;
pub(crate) const APPLICATIONS: u32 = 3;

/// Longer than any node needs to learn of a change while the database answers.
pub(crate) const A_SECOND: Duration = Duration::from_secs(1);
/// A timer ends by the clock of the node that checks it.
const CLOCKS_DIFFER: Duration = Duration::from_millis(60);
/// The database answers within this time, or is unreachable.
const ANSWERS_WITHIN: Duration = Duration::from_millis(100);

pub(crate) static LOGINS: LazyLock<Vec<Login>> =
    LazyLock::new(|| (0..ACCOUNTS).map(|n| Login::parse(&format!("account{n}")).expect("valid")).collect());

/// Keys of an account: a user's sign-ins or a service's tokens. A revoked key is followed by the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) account: usize,
    pub(crate) number: u32,
    pub(crate) is_service: bool,
}

impl Key {
    /// The application through which the session is opened.
    pub(crate) const fn application(self) -> u32 {
        self.number % APPLICATIONS
    }

    pub(crate) fn session(self) -> SessionKey {
        if self.is_service {
            SessionKey::Service(self.number.to_string())
        } else {
            SessionKey::SignIn(SessionId(Uuid::from_u128(u128::from(self.number))))
        }
    }
}

/// The next event. Numbers select among the existing objects.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Pass { millis: u16 },
    PassLong { seconds: u16 },
    Call { node: u8, account: u8, device: u8 },
    Work { node: u8, which: u8 },
    Kill { node: u8, account: u8, device: u8 },
    Crash { node: u8 },
    Start { node: u8, offset: i8 },
    DatabaseAway,
    DatabaseBack,
    Seats { seats: u8, reserved: u8, ceilings: u8 },
}

/// A broken invariant: its number in `sessions.md` and a description.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) u8, pub(crate) String);

pub(crate) struct Town {
    pub(crate) time: Timestamp,
    pub(crate) database: Database,
    pub(crate) nodes: Vec<Node>,
    keys: BTreeMap<(usize, u8), Key>,
    drawn: u32,
    pub(crate) served: BTreeMap<u64, Served>,
    closed: BTreeMap<u64, (Timestamp, Key)>,
    killed_on: BTreeMap<Key, NodeId>,
    /// While the database was unreachable, or just after, nodes could learn of no change.
    pub(crate) calm_since: Timestamp,
    away_since: Timestamp,
    pub(crate) over: Option<u64>,
    pub(crate) promised: bool,
    /// Sessions under the limits of accounts and of applications at the last check. Above a lowered limit their number
    /// only falls.
    pub(crate) under_ceilings: (BTreeMap<usize, u64>, BTreeMap<u32, u64>),
    pub(crate) seen: Seen,
}

/// Counts that show that a history covered the interesting cases.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) opened: u64,
    pub(crate) joined: u64,
    pub(crate) from_memory: u64,
    pub(crate) refused: u64,
    pub(crate) refused_by_ceiling: u64,
    pub(crate) overtaken: u64,
    pub(crate) timed_out: u64,
    pub(crate) killed: u64,
    pub(crate) crashed: u64,
    pub(crate) away: u64,
}

impl Town {
    pub(crate) fn new() -> Self {
        let time = Timestamp::from_seconds(1_800_000_000);
        Self {
            time,
            database: Database::new(Some(4)),
            nodes: (0..NODES).map(|_| Node::new(0, time, 0)).collect(),
            keys: BTreeMap::new(),
            drawn: 0,
            served: BTreeMap::new(),
            closed: BTreeMap::new(),
            killed_on: BTreeMap::new(),
            calm_since: time,
            away_since: time,
            over: None,
            promised: true,
            under_ceilings: ((0..ACCOUNTS).map(|n| (n, 0)).collect(), (0..APPLICATIONS).map(|n| (n, 0)).collect()),
            seen: Seen::default(),
        }
    }

    pub(crate) fn happen(&mut self, event: Event) -> Result<(), Broken> {
        match event {
            Event::Pass { millis } => self.pass(Duration::from_millis(u64::from(millis)))?,
            Event::PassLong { seconds } => self.pass(Duration::from_secs(u64::from(seconds)))?,
            Event::Call { node, account, device } => self.call(node as usize % NODES, account, device)?,
            Event::Work { node, which } => self.work(node as usize % NODES, which as usize)?,
            Event::Kill { node, account, device } => self.kill(node as usize % NODES, account, device),
            Event::Crash { node } => self.crash(node as usize % NODES),
            Event::Start { node, offset } => self.start(node as usize % NODES, offset),
            Event::DatabaseAway => {
                if self.database.up {
                    self.seen.away += 1;
                    self.away_since = self.time;
                }
                self.database.up = false;
            }
            Event::DatabaseBack => {
                if !self.database.up {
                    self.calm_since = self.time;
                }
                self.database.up = true;
            }
            Event::Seats { seats, reserved, ceilings } => self.set(seats, reserved, ceilings),
        }
        self.look_at_the_laws()
    }

    fn key(&mut self, account: u8, device: u8) -> Key {
        let account = account as usize % ACCOUNTS;
        let device = device % 3;
        *self.keys.entry((account, device)).or_insert_with(|| {
            self.drawn += 1;
            Key { account, number: self.drawn, is_service: device == 2 }
        })
    }

    /// Nodes tick while time passes, and work does not wait without end.
    fn pass(&mut self, span: Duration) -> Result<(), Broken> {
        let end = self.time.plus(span);
        while self.time < end {
            self.doze(end);
            let ticks = self.nodes.iter().filter(|node| node.up).map(|node| node.next_tick);
            let work = self.nodes.iter().flat_map(|node| node.work.iter().map(|(since, _)| since.plus(ANSWERS_WITHIN)));
            let next = ticks.chain(work).min().unwrap_or(end).clamp(self.time, end);
            self.time = next;
            for node in 0..NODES {
                while let Some(late) =
                    self.nodes[node].work.iter().position(|(since, _)| since.plus(ANSWERS_WITHIN) <= self.time)
                {
                    self.work(node, late)?;
                }
                if self.nodes[node].up && self.nodes[node].next_tick <= self.time {
                    self.tick(node);
                }
            }
        }
        Ok(())
    }

    /// Without work in progress, nothing happens until shortly before the next timer ends.
    fn doze(&mut self, end: Timestamp) {
        const EYE: Duration = Duration::from_secs(5);
        let quiet = |node: &Node| {
            let read = !self.database.up || node.read == self.database.feed.len();
            !node.up || (node.work.is_empty() && read && node.unwritten(node.clock(self.time)).is_empty())
        };
        let next_end = self.database.live.values().map(|row| row.timers.ends_at).min().unwrap_or(end);
        let wake = next_end.min(end).minus(EYE);
        if wake <= self.time || !self.nodes.iter().all(quiet) {
            return;
        }
        self.time = wake;
        for node in self.nodes.iter_mut().filter(|node| node.up) {
            node.next_tick = wake;
            if self.database.up && wake.since(node.followed) >= TICK {
                // The node followed the feed all the time.
                node.followed = wake;
            }
        }
    }

    fn tick(&mut self, node: NodeId) {
        let (time, database) = (self.time, &self.database);
        let node = &mut self.nodes[node];
        node.next_tick = time.plus(TICK);
        if !database.up {
            return;
        }
        node.follow(&database.feed, time);
        let unwritten = node.unwritten(node.clock(time));
        if !unwritten.is_empty() {
            node.work.push((time, Work::Flush(unwritten)));
        }
        let now = node.clock(time);
        if database.live.values().any(|row| row.timers.ends_at <= now) {
            node.work.push((time, Work::CloseDue));
        }
    }

    fn call(&mut self, id: NodeId, account: u8, device: u8) -> Result<(), Broken> {
        let key = self.key(account, device);
        let node = &mut self.nodes[id];
        if !node.up || node.heard_of.contains(&key) {
            return Ok(());
        }
        let now = node.clock(self.time);
        let known = node.memory.get(&key).filter(|known| known.timer.is_running(now));
        if let Some(known) = known.filter(|_| node.memory_holds(self.time)) {
            known.timer.called(now);
            let session = known.id;
            self.seen.from_memory += 1;
            return self.serve(id, key, session);
        }
        let opening = SessionOpening::new(now, &LOGINS[key.account], node.slack(self.time));
        node.work.push((self.time, Work::Call { key, opening, stage: Stage::Look }));
        Ok(())
    }

    /// Runs one stage of one piece of work.
    fn work(&mut self, id: NodeId, which: usize) -> Result<(), Broken> {
        if self.nodes[id].work.is_empty() {
            return Ok(());
        }
        let which = which % self.nodes[id].work.len();
        let (_, work) = self.nodes[id].work.swap_remove(which);
        if !self.database.up && !matches!(work, Work::Call { stage: Stage::Opened(..), .. }) {
            return Ok(()); // 503, or again at the next tick
        }
        match work {
            Work::Flush(extensions) => self.flush(id, &extensions),
            Work::CloseDue => self.close_due(id)?,
            Work::Call { key, opening, stage } => self.answer(id, key, opening, stage)?,
        }
        Ok(())
    }

    /// One stage of answering a call with a session that the node did not know.
    fn answer(
        &mut self,
        id: NodeId,
        key: Key,
        mut opening: SessionOpening<'static>,
        stage: Stage,
    ) -> Result<(), Broken> {
        let now = self.nodes[id].clock(self.time);
        let next = match stage {
            Stage::Look => {
                let step = self.look(key, &mut opening);
                self.seen.refused += u64::from(matches!(step, OpeningStep::Refuse(_)));
                let by_ceiling = matches!(step, OpeningStep::Refuse(NoSeat::User(_) | NoSeat::Application(_)));
                self.seen.refused_by_ceiling += u64::from(by_ceiling);
                match step {
                    OpeningStep::Refuse(_) | OpeningStep::GiveUp => return Ok(()),
                    step => Stage::Act(step),
                }
            }
            Stage::Act(OpeningStep::Prolong(end)) => {
                let prolonged = self.database.live.get_mut(&key).map(|row| {
                    row.last_call = now;
                    row.timers.ends_at = end;
                    row.id
                });
                match prolonged {
                    None => Stage::Look,
                    Some(session) => {
                        // Written, whether or not its node lives to answer.
                        self.note(key, session, None);
                        Stage::Act(OpeningStep::Join)
                    }
                }
            }
            Stage::Act(OpeningStep::Join) => {
                let Some(row) = self.database.live.get(&key).cloned() else {
                    self.nodes[id].work.push((self.time, Work::Call { key, opening, stage: Stage::Look }));
                    return Ok(());
                };
                self.nodes[id].learn(key, row.id, row.timers, row.last_call);
                if let Some(known) = self.nodes[id].memory.get(&key).filter(|known| known.id == row.id) {
                    known.timer.called(now);
                }
                self.seen.joined += 1;
                return self.serve(id, key, row.id);
            }
            Stage::Act(OpeningStep::Open(admission)) => match self.database.open(key, admission, now, id) {
                Opened::TokenEnded => return Ok(()),
                Opened::Overtaken => {
                    self.seen.overtaken += 1;
                    Stage::Look
                }
                Opened::As(session) => {
                    self.seen.opened += 1;
                    self.note(key, session, None);
                    Stage::Opened(session, now)
                }
            },
            Stage::Act(OpeningStep::CloseDue) => {
                self.close_due(id)?;
                Stage::Look
            }
            Stage::Act(OpeningStep::Refuse(_) | OpeningStep::GiveUp) => return Ok(()),
            Stage::Opened(session, at) => {
                // The answer may come after the session was revoked.
                if self.nodes[id].heard_of.contains(&key) {
                    return Ok(());
                }
                let final_end = key.session().final_end(at);
                let row = model::seat::OwnSession { ends_at: model::seat::ends_at(at, final_end), final_end };
                self.nodes[id].learn(key, session, row, at);
                return Ok(());
            }
        };
        self.nodes[id].work.push((self.time, Work::Call { key, opening, stage: next }));
        Ok(())
    }

    fn look(&self, key: Key, opening: &mut SessionOpening<'static>) -> OpeningStep {
        let database = &self.database;
        let holders = database.holders(&LOGINS);
        opening.step(&SeatSnapshot {
            licences: database.licences(),
            occupancy: Occupancy {
                version: database.version,
                live: database.counted,
                holders: &holders,
                earliest_end: database.live.values().map(|row| row.timers.ends_at).min(),
                of_user: database.of_account(key.account),
                of_application: database.of_application(key.application()),
            },
            own: database.live.get(&key).map(|row| row.timers),
        })
    }

    fn flush(&mut self, id: NodeId, extensions: &[(Key, u64, model::seat::Extension)]) {
        let node = &self.nodes[id];
        for (key, session, extension) in extensions {
            self.database.slide((*key, *session), *extension, id, node.clock(self.time));
            if let Some(known) = node.memory.get(key).filter(|known| known.id == *session) {
                known.timer.wrote(*extension);
            }
        }
    }

    fn close_due(&mut self, id: NodeId) -> Result<(), Broken> {
        let now = self.nodes[id].clock(self.time);
        let unwritten = self.nodes[id].unwritten(now);
        self.flush(id, &unwritten);
        for (key, session) in self.database.close_due(now, self.nodes[id].slack(self.time)) {
            self.seen.timed_out += 1;
            self.nodes[id].forget(key, session);
            self.closed.insert(session, (self.time, key));
            let end = self.served.remove(&session).and_then(|served| served.not_before());
            if let Some(end) = end.filter(|end| self.time.plus(CLOCKS_DIFFER) < *end) {
                return Err(Broken(4, format!("{key:?} was closed {:?} early", end.since(self.time))));
            }
        }
        Ok(())
    }

    /// A call was accepted with this session.
    fn serve(&mut self, id: NodeId, key: Key, session: u64) -> Result<(), Broken> {
        self.note(key, session, Some(id));
        let calm = self.time.since(self.calm_since) > FUSE && self.database.up;
        let allowed = if calm { A_SECOND } else { FUSE + A_SECOND };
        if let Some(row) = self.database.live.get(&key).filter(|row| row.id != session)
            && self.time.since(row.opened_at) > allowed
        {
            return Err(Broken(3, format!("{key:?} served in a session that another has replaced")));
        }
        if let Some(killed) = self.database.killed.get(&key) {
            let same_node = self.killed_on.get(&key) == Some(&id);
            if same_node || self.time.since(*killed) > allowed {
                return Err(Broken(5, format!("{key:?} served {:?} after its kill", self.time.since(*killed))));
            }
        } else if let Some((closed, _)) = self.closed.get(&session)
            && self.time.since(*closed) > allowed
        {
            return Err(Broken(1, format!("{key:?} served {:?} after its seat was freed", self.time.since(*closed))));
        }
        Ok(())
    }

    fn note(&mut self, key: Key, session: u64, node: Option<NodeId>) {
        if self.closed.contains_key(&session) || self.database.killed.contains_key(&key) {
            return;
        }
        let final_end = self.database.live.get(&key).and_then(|row| row.timers.final_end);
        let served = self.served.entry(session).or_insert(Served { final_end, calls: Vec::new(), latest: self.time });
        served.add(self.time, node);
    }

    fn kill(&mut self, id: NodeId, account: u8, device: u8) {
        let key = self.key(account, device);
        if !self.nodes[id].up || !self.database.up {
            return;
        }
        if let Some(row) = self.database.live.get(&key) {
            self.closed.insert(row.id, (self.time, key));
            self.served.remove(&row.id);
        }
        self.database.kill(key, self.time);
        self.nodes[id].heard_of.insert(key);
        self.nodes[id].memory.remove(&key);
        self.killed_on.insert(key, id);
        self.seen.killed += 1;
    }

    /// The user signs in again only after every node has learned of the revocation: until then calls use the old key.
    pub(crate) fn renew_killed_keys(&mut self) {
        let killed = &self.database.killed;
        let time = self.time;
        self.keys.retain(|_, key| killed.get(key).is_none_or(|at| time.since(*at) <= FUSE + A_SECOND + A_SECOND));
    }

    fn crash(&mut self, id: NodeId) {
        let node = &mut self.nodes[id];
        self.seen.crashed += u64::from(node.up);
        node.up = false;
        node.work.clear();
        node.memory.clear();
        // Unwritten calls are lost: those of a flush interval, or of the time without a database.
        let calm = self.database.up && self.time.since(self.calm_since) > A_SECOND;
        let written = if calm { self.time } else { self.away_since.min(self.time) }.minus(A_SECOND);
        for served in self.served.values_mut() {
            served.calls.retain(|(at, node)| *node != Some(id) || *at <= written);
        }
    }

    fn start(&mut self, id: NodeId, offset: i8) {
        if !self.nodes[id].up && self.database.up {
            // Up to 30 ms from the true time.
            let offset = i64::from(offset) * 30_000 / 128;
            let mut node = Node::new(offset, self.time, self.database.feed.len());
            node.heard_of = self.database.killed.keys().copied().collect();
            self.nodes[id] = node;
        }
    }

    fn set(&mut self, seats: u8, reserved: u8, ceilings: u8) {
        if !self.database.up {
            return;
        }
        let seats = if seats % 16 == 15 { None } else { Some(u32::from(seats % 6)) };
        let most = seats.unwrap_or(u32::MAX).min(2) as usize;
        let reserved = LOGINS.iter().skip(reserved as usize % ACCOUNTS).take(most.min(reserved as usize / ACCOUNTS));
        // One time in eight, for each kind; one seat or two.
        let ceiling = |bits: u8| (bits & 7 == 7).then(|| u32::from((bits >> 3) & 1) + 1);
        self.database.set(seats, reserved.cloned().collect(), (ceiling(ceilings), ceiling(ceilings >> 4)));
        let live = self.database.live.len() as u64;
        self.over = seats.filter(|seats| live > u64::from(*seats)).map(|_| live);
        let kept = self.database.reserved.len() - self.database.holders(&LOGINS).len();
        self.promised = seats.is_none_or(|seats| live + kept as u64 <= u64::from(seats));
    }
}
