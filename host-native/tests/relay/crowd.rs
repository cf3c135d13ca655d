//! A thousand users in a hundred rooms, on a server that dies or stalls.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    PATIENCE,
    client::Client,
    cluster::Cluster,
    hook::Backend,
    users::{join_as, of_user, start},
    wait_for,
};

const ROOMS: usize = 100;
const USERS: usize = 1_000;
/// Rooms of each user.
const EACH: usize = 2;
/// Clients that connect at one time.
const AT_ONCE: usize = 50;

/// The time within which users of a dead server are reported gone: its lease of 10 s, and at most 3
/// s until another server checks.
const TOLD: Duration = Duration::from_secs(15);

/// The time for which a busy machine made a thread that does nothing wait.
struct Stalls(Arc<AtomicU64>);

impl Stalls {
    fn watch() -> Self {
        let total = Arc::new(AtomicU64::new(0));
        let watched = Arc::downgrade(&total);
        thread::spawn(move || {
            let tick = Duration::from_millis(20);
            while let Some(total) = watched.upgrade() {
                let began = Instant::now();
                thread::sleep(tick);
                let late = began.elapsed().saturating_sub(tick);
                total.fetch_add(late.as_millis().try_into().unwrap_or(u64::MAX), Relaxed);
            }
        });
        Self(total)
    }

    fn total(&self) -> Duration {
        Duration::from_millis(self.0.load(Relaxed))
    }
}

fn room(number: usize) -> String {
    format!("den-{}", number % ROOMS)
}

/// The rooms of a user.
fn rooms_of(user: usize) -> impl Iterator<Item = String> {
    (0..EACH).map(move |more| room(user + 7 * more))
}

/// A room, and a user in it.
type Place = (String, String);

/// Notices of each room and user, in their order.
type Notices = BTreeMap<Place, Vec<&'static str>>;

/// Notes a notice of a user.
fn note(notices: &mut Notices, frame: &Value) -> Option<&'static str> {
    let (event, user) = of_user(frame).filter(|(_, user)| user.starts_with("user-"))?;
    let event = if event == "$joined" { "joined" } else { "left" };
    let room = frame["room"].as_str()?.to_owned();
    notices.entry((room, user)).or_default().push(event);
    Some(event)
}

/// A member of all rooms, and the notices that it received.
struct Witness {
    client: Client,
    notices: Notices,
    /// Users in rooms, by the notices.
    present: usize,
}

impl Witness {
    async fn join(cluster: &Cluster, node: usize) -> Self {
        let name = format!("witness-{node}");
        let mut client = join_as(&cluster.nodes[node], &name, &room(0)).await;
        for number in 1..ROOMS {
            client.join(&room(number), None).await;
        }
        Self {
            client,
            notices: BTreeMap::new(),
            present: 0,
        }
    }

    /// Reads until so many users are in rooms.
    async fn read_until(&mut self, present: usize) {
        self.read_while(present, |it| it.present != present).await;
    }

    /// Reads until exactly these users are in rooms. Their number alone may come earlier, while
    /// some are not back yet, and others are not gone yet.
    async fn read_until_there(&mut self, expected: &[Place]) {
        let are_there = |it: &Self| {
            let there = it.notices.iter();
            let there = there.filter(|(_, notices)| notices.last() == Some(&"joined"));
            it.present == expected.len() && there.map(|(place, _)| place).eq(expected)
        };
        self.read_while(expected.len(), |it| !are_there(it)).await;
    }

    async fn read_while(&mut self, present: usize, is_so: impl Fn(&Self) -> bool) {
        let reading = async {
            while is_so(self) {
                let frame = self.client.next().await;
                match note(&mut self.notices, &frame) {
                    Some("joined") => self.present += 1,
                    Some(_) => self.present -= 1,
                    None => {}
                }
            }
        };
        let in_time = timeout(PATIENCE, reading).await.is_ok();
        let (found, told) = (self.present, self.notices.len());
        assert!(in_time, "{found} users and not {present}, told of {told}");
    }

    /// Waits until its server lists so many users in all rooms.
    async fn wait_for_members(&mut self, users: usize) {
        // Both witnesses are in each room.
        let (began, expected) = (Instant::now(), (users + 2 * ROOMS) as u64);
        loop {
            let mut count = Some(0);
            for number in 0..ROOMS {
                let ask = json!({"event": "$members", "room": room(number), "data": {"limit": 1}});
                let answer = self.client.ask(ask).await;
                // There is none while the relay is unavailable, which a busy machine causes.
                let users = answer["data"]["users"].as_u64();
                count = count.zip(users).map(|(sum, users)| sum + users);
            }
            if count == Some(expected) {
                return;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{count:?} users and not {expected}"
            );
        }
    }

    /// Ends it, and gives all that it was told.
    async fn end(mut self) -> Notices {
        for frame in self.client.end().await {
            note(&mut self.notices, &frame);
        }
        self.notices
    }
}

/// Users who join their rooms through the first server.
async fn join_users(cluster: &Cluster) -> Vec<Client> {
    let mut clients = Vec::new();
    let users: Vec<_> = (0..USERS).collect();
    for some in users.chunks(AT_ONCE) {
        let joining = some.iter().map(async |user| {
            let mut client = cluster.nodes[0].connect_as(&format!("user-{user}")).await;
            for room in rooms_of(*user) {
                client.join(&room, None).await;
            }
            client
        });
        clients.extend(join_all(joining).await);
    }
    clients
}

/// Rooms and users, sorted as webhooks are.
fn all_of(users: std::ops::Range<usize>) -> Vec<Place> {
    let users = users.flat_map(|user| rooms_of(user).map(move |room| (room, user)));
    let all = users.map(|(room, user)| (room, format!("user-{user}")));
    let mut all: Vec<_> = all.collect();
    all.sort_unstable();
    all
}

/// Rooms and users in the reports to a backend, without the witnesses.
fn told(backend: &Backend, kind: &str) -> Vec<Place> {
    let told = backend.told(kind).into_iter();
    told.filter(|(_, user)| user.starts_with("user-")).collect()
}

/// The number of times that a backend was told that each user joined, and left.
fn told_often(backend: &Backend) -> BTreeMap<Place, (u32, u32)> {
    let mut often: BTreeMap<_, (u32, u32)> = BTreeMap::new();
    for place in told(backend, "user.joined") {
        often.entry(place).or_default().0 += 1;
    }
    for place in told(backend, "user.left") {
        often.entry(place).or_default().1 += 1;
    }
    often
}

/// Waits until a backend is told of so many.
async fn wait_for_told(backend: &Backend, kind: &str, count: usize) {
    wait_for("the backend is not told", || {
        told(backend, kind).len() >= count
    })
    .await;
}

#[tokio::test]
async fn a_thousand_users_of_a_server_that_is_killed_are_told_to_be_gone_once() {
    let (mut cluster, backend) = start();
    let mut one = Witness::join(&cluster, 1).await;
    let mut two = Witness::join(&cluster, 2).await;
    let clients = join_users(&cluster).await;
    join_all([one.read_until(EACH * USERS), two.read_until(EACH * USERS)]).await;
    // A killed server loses its unsent reports.
    wait_for_told(&backend, "user.joined", EACH * USERS).await;
    let (killed, stalls) = (Instant::now(), Stalls::watch());
    cluster.nodes.remove(0).kill();
    drop(clients);
    join_all([one.read_until(0), two.read_until(0)]).await;
    let (took, stalled) = (killed.elapsed(), stalls.total());
    eprintln!("all were told after {took:?}; the machine stood still for {stalled:?}");
    // A server that stood still itself waits before it takes others for dead.
    assert!(took < TOLD + 2 * stalled, "{took:?}, {stalled:?}");
    join_all([one.wait_for_members(0), two.wait_for_members(0)]).await;
    let expected = all_of(0..USERS);
    wait_for_told(&backend, "user.left", expected.len()).await;
    for witness in [one, two] {
        let notices = witness.end().await;
        let keys: Vec<_> = notices.keys().cloned().collect();
        assert_eq!(keys, expected);
        for (user, notices) in notices {
            assert_eq!(notices, ["joined", "left"], "{user:?}");
        }
    }
    for kind in ["user.joined", "user.left"] {
        assert_eq!(told(&backend, kind), expected, "{kind}");
    }
    // It is forgotten in a step of its own, after its last room.
    wait_for("the dead server is not forgotten", || {
        cluster.redis.run(&["SCARD", "roomcast:dead"]) == "0"
    })
    .await;
}

#[tokio::test]
async fn a_thousand_users_of_a_server_that_stood_still_come_back_once() {
    const STAY: usize = USERS / 2;
    let (cluster, backend) = start();
    let mut one = Witness::join(&cluster, 1).await;
    let mut two = Witness::join(&cluster, 2).await;
    let mut clients = join_users(&cluster).await;
    join_all([one.read_until(EACH * USERS), two.read_until(EACH * USERS)]).await;
    // Reports in flight when the server stops are sent again.
    wait_for_told(&backend, "user.joined", EACH * USERS).await;
    cluster.nodes[0].signal(Signal::STOP);
    join_all([one.read_until(0), two.read_until(0)]).await;
    // Half of the users leave while the server is stopped.
    clients.truncate(STAY);
    cluster.nodes[0].signal(Signal::CONT);
    let (stayed, all) = (all_of(0..STAY), all_of(0..USERS));
    let is_there = |user: &Place| stayed.binary_search(user).is_ok();
    join_all([one.read_until_there(&stayed), two.read_until_there(&stayed)]).await;
    wait_for("the backend is not told", || {
        let often = told_often(&backend);
        let is_settled = |(user, (joined, left)): (&Place, &(u32, u32))| {
            *left > 0 && *joined == left + u32::from(is_there(user))
        };
        often.len() == all.len() && often.iter().all(is_settled)
    })
    .await;
    join_all([
        one.wait_for_members(EACH * STAY),
        two.wait_for_members(EACH * STAY),
    ])
    .await;
    for witness in [one, two] {
        let notices = witness.end().await;
        assert_eq!(notices.keys().cloned().collect::<Vec<_>>(), all);
        for (user, notices) in notices {
            if is_there(&user) {
                assert_eq!(notices, ["joined", "left", "joined"], "{user:?}");
            } else {
                // The server may enter the users who left before it notices that they are gone.
                let pairs = notices.chunks(2);
                assert!(notices.len() <= 4, "{user:?}: {notices:?}");
                pairs.for_each(|pair| assert_eq!(pair, ["joined", "left"], "{user:?}"));
            }
        }
    }
    // What is told for a second time would be there by now.
    for (user, (_, left)) in told_often(&backend) {
        assert!(
            left <= 2 && (!is_there(&user) || left == 1),
            "{user:?}: {left}"
        );
    }
    // No user of the server's earlier registration remains.
    let incarnations = cluster.redis.run(&["HKEYS", "roomcast:nodes"]);
    let living: Vec<_> = incarnations.lines().collect();
    for key in cluster.redis.run(&["KEYS", "roomcast:rooms:*"]).lines() {
        assert!(
            living.iter().any(|it| key.ends_with(it)),
            "{key} of {living:?}"
        );
    }
}
