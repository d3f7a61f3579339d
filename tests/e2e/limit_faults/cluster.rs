//! Six nodes on this machine, three of them replicas: a slot that moves, and a cluster that is down.

use std::process::Command;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::redis::Redis;
use crate::support::free_port;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The limit's slot goes to another node: asked for on both at first (ASK), then moved (MOVED).
    Moved,
    /// The node that has the limit's slot dies, and its replica with it: the others say CLUSTERDOWN.
    Down,
}

struct Node {
    redis: Redis,
    arguments: Vec<String>,
}

pub struct Cluster {
    fault: Fault,
    nodes: Vec<Node>,
    /// The slot on its way, and where it goes.
    moving: Option<(String, String)>,
    stopped: Vec<usize>,
}

impl Node {
    async fn start() -> Node {
        let bus = free_port().port().to_string();
        let quick = ["--cluster-node-timeout", "1000", "--repl-diskless-sync-delay", "0"];
        let arguments = [&["--cluster-enabled", "yes", "--cluster-port", bus.as_str()], &quick[..]].concat();
        let redis = Redis::with(free_port(), &arguments, &[]).await;
        Node { redis, arguments: arguments.into_iter().map(str::to_owned).collect() }
    }

    fn address(&self) -> String {
        format!("{}@{}", self.redis.address, self.arguments[3])
    }
}

impl Cluster {
    pub async fn before(fault: Fault) -> Cluster {
        let mut nodes = Vec::new();
        for _ in 0..6 {
            nodes.push(Node::start().await);
        }
        let made = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(nodes.iter().map(Node::address))
            .args(["--cluster-replicas", "1", "--cluster-yes"])
            .output()
            .expect("redis-cli is needed: `scripts/setup test` installs it");
        assert!(made.status.success(), "the cluster was not made: {}", String::from_utf8_lossy(&made.stdout));
        let cluster = Cluster { fault, nodes, moving: None, stopped: Vec::new() };
        cluster.until_whole().await;
        cluster
    }

    async fn until_whole(&self) {
        let until = Instant::now() + Duration::from_secs(30);
        for node in &self.nodes {
            loop {
                // A replica that has never had its master's data would not take over.
                let info = node.redis.say("CLUSTER INFO").await.unwrap_or_default();
                let link = node.redis.say("INFO replication").await.unwrap_or_default();
                let follows = link.contains("role:master") || link.contains("master_link_status:up");
                if info.contains("cluster_state:ok") && follows {
                    break;
                }
                assert!(Instant::now() < until, "the cluster did not become whole: {info} {link}");
                sleep(Duration::from_millis(10)).await;
            }
        }
    }

    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let urls: Vec<_> = self.nodes.iter().map(|node| format!("{:?}", node.redis.url())).collect();
        let url = self.nodes[0].redis.url();
        vec![
            ("REDIS__URL", url),
            ("REDIS__CLUSTER", "true".to_owned()),
            ("REDIS__NODES", format!("[{}]", urls.join(", "))),
        ]
    }

    async fn layout(&self) -> Vec<String> {
        self.nodes[0].redis.tell("CLUSTER NODES").await.lines().map(str::to_owned).collect()
    }

    async fn id(&self, place: usize) -> String {
        let said = self.nodes[place].redis.tell("CLUSTER MYID").await;
        said.lines().nth(1).unwrap().trim().to_owned()
    }

    /// Of the limit: its key, and the place of the node that has it.
    async fn key(&self) -> (String, usize) {
        for (place, node) in self.nodes.iter().enumerate() {
            let role = node.redis.tell("ROLE").await;
            let keys = node.redis.tell("KEYS *:rpm*").await;
            if let (true, Some(key)) = (role.contains("master"), keys.lines().find(|line| line.contains(":rpm"))) {
                return (key.trim().to_owned(), place);
            }
        }
        panic!("no node has the limit");
    }

    pub async fn begin(&mut self) {
        let (key, from) = self.key().await;
        match self.fault {
            Fault::Moved => self.begin_to_move(&key, from).await,
            Fault::Down => {
                let id = self.id(from).await;
                let layout = self.layout().await;
                let replica = layout.iter().find(|line| line.contains("slave") && line.contains(&id)).unwrap();
                let place = |node: &Node| replica.contains(&format!(":{}@", node.redis.address.port()));
                let replica = self.nodes.iter().position(place).unwrap();
                self.stopped = vec![replica, from];
                for place in self.stopped.clone() {
                    self.nodes[place].redis.stop().await;
                }
            }
        }
    }

    async fn begin_to_move(&mut self, key: &str, from: usize) {
        let slot = self.nodes[from].redis.tell(&format!("CLUSTER KEYSLOT {key}")).await;
        let slot = slot.trim().trim_start_matches(':').to_owned();
        let mut to = from;
        for (place, node) in self.nodes.iter().enumerate() {
            if place != from && node.redis.tell("ROLE").await.contains("master") {
                to = place;
            }
        }
        let (from_id, to_id) = (self.id(from).await, self.id(to).await);
        self.nodes[to].redis.tell(&format!("CLUSTER SETSLOT {slot} IMPORTING {from_id}")).await;
        self.nodes[from].redis.tell(&format!("CLUSTER SETSLOT {slot} MIGRATING {to_id}")).await;
        let port = self.nodes[to].redis.address.port();
        self.nodes[from].redis.tell(&format!("MIGRATE 127.0.0.1 {port} {key} 0 1000")).await;
        self.moving = Some((slot, to_id));
        // Who is to have the slot hears of it first.
        self.nodes.swap(0, to);
    }

    pub async fn end(&mut self) {
        if let Some((slot, to)) = &self.moving {
            for node in &self.nodes {
                if node.redis.tell("ROLE").await.contains("master") {
                    node.redis.tell(&format!("CLUSTER SETSLOT {slot} NODE {to}")).await;
                }
            }
        }
        for place in std::mem::take(&mut self.stopped) {
            let Node { redis, arguments } = &mut self.nodes[place];
            redis.start_again(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
            redis.until("+PONG").await;
        }
        for node in &self.nodes {
            while !node.redis.say("CLUSTER INFO").await.is_some_and(|info| info.contains("cluster_state:ok")) {
                sleep(Duration::from_millis(5)).await;
            }
        }
    }
}
