//! A stand-in for NVIDIA's library, and trees such as AMD's driver shows, told what to say.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::BodyExt;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Client, Outrigger, get};

fn folder() -> PathBuf {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("outrigger-gpu-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Built once, with the machine's own compiler.
fn built() -> &'static PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = folder();
        let (source, library) = (folder.join("nvml.c"), folder.join("libnvml.so"));
        std::fs::write(&source, include_str!("nvml.c")).unwrap();
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wl,-z,nodelete", "-o"])
            .arg(&library)
            .arg(source)
            .args(["-lpthread", "-ldl"])
            .status();
        assert!(built.is_ok_and(|status| status.success()), "no C compiler: {}", library.display());
        library
    })
}

pub struct Library(PathBuf);

impl Library {
    pub const CARD0: &'static str = "driver 550.54.15\nnvml 12.550.54.15\ncount 1\n0.uuid GPU-aaaa\n\
        0.name NVIDIA H100 80GB HBM3\n0.pci 00000000:3B:00.0\n0.util 63\n0.mem_util 12\n0.total 85899345920\n\
        0.used 75161927680\n0.reserved 536870912\n0.temp 41\n0.mem_temp 52\n0.power 412500\n0.limit 700000\n\
        0.energy 123456789012\n0.sm 1980\n0.memclk 2619\n0.throttle 36\n0.replays 5\n0.ecc_ce_vol 3\n0.ecc_ue_vol 0\n\
        0.ecc_ce_agg 40\n0.ecc_ue_agg 1\n0.retired_single 2\n0.retired_double 1\n0.retired_pending 0\n\
        0.rows_correctable 2\n0.rows_uncorrectable 1\n0.rows_pending 1\n0.rows_failed 0\n\
        0.pids 77:1024 4242:70000000000\n0.drawing 77:512\n0.mig 0\n0.xids 0\n";
    /// A second card, divided, with one part.
    pub const PARTED: &'static str = "count 2\n1.uuid GPU-bbbb\n1.name NVIDIA H100 80GB HBM3\n1.temp 39\n\
        1.util 70\n1.total 85899345920\n1.used 1073741824\n1.mig 1\n1.parts 7\n1.0.uuid MIG-b1\n\
        1.0.name NVIDIA H100 80GB HBM3 MIG 1g.10gb\n1.0.instance 7\n1.0.total 10737418240\n1.0.used 1073741824\n";

    /// It is not there yet.
    pub fn absent() -> Self {
        Library(folder().join("libnvidia-ml.so.1"))
    }

    pub fn new() -> Self {
        let library = Self::absent();
        library.appears();
        library
    }

    pub fn appears(&self) {
        std::fs::copy(built(), &self.0).unwrap();
    }

    pub fn path(&self) -> String {
        self.0.display().to_string()
    }

    /// What it says from now on; of a key that stands there twice the first counts, but for the number of cards.
    pub fn says(&self, lines: &[&str]) {
        let count = lines.iter().filter_map(|lines| lines.split("count ").nth(1)?.lines().next()).next_back();
        let rest = lines.concat();
        let rest = rest.lines().filter(|line| !line.starts_with("count ")).collect::<Vec<_>>().join("\n");
        let file = PathBuf::from(format!("{}.says", self.path()));
        let draft = file.with_extension("draft");
        std::fs::write(&draft, format!("count {}\n{rest}\n", count.unwrap_or("1"))).unwrap();
        std::fs::rename(draft, file).unwrap();
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.parent().unwrap());
    }
}

/// A tree such as `/sys`.
pub struct Tree(PathBuf);

impl Tree {
    pub fn new() -> Self {
        let tree = Tree(folder());
        std::fs::create_dir_all(tree.0.join("class/drm")).unwrap();
        tree
    }

    pub fn path(&self) -> String {
        self.0.display().to_string()
    }

    pub fn put(&self, card: &str, files: &[(&str, &str)]) {
        for (name, text) in files {
            let file = self.0.join("class/drm").join(card).join("device").join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, format!("{text}\n")).unwrap();
        }
    }

    pub fn remove(&self, card: &str) {
        std::fs::remove_dir_all(self.0.join("class/drm").join(card)).unwrap();
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub async fn status(outrigger: &Outrigger) -> Value {
    get(outrigger.admin, "/api/gpu/status").await.json()
}

/// Waits until all of it is in this state, and every driver was asked.
pub async fn until_status(outrigger: &Outrigger, wanted: &str) -> Value {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let told = status(outrigger).await;
        let is_new = told["drivers"].as_array().unwrap().iter().any(|driver| driver["state"] == "new");
        if told["status"] == wanted && !is_new {
            return told;
        }
        assert!(Instant::now() < until, "it is never {wanted}: {told:#}\n{}", outrigger.log());
        sleep(Duration::from_millis(20)).await;
    }
}

/// The first events of a kind, of all since the start.
pub async fn events(outrigger: &Outrigger, kind: &str, count: usize) -> Vec<Value> {
    let mut client = Client::http1(outrigger.admin).await;
    let uri = format!("/api/events?since=0&kind={kind}");
    let request = http::Request::get(uri).header("host", outrigger.admin.to_string());
    let mut body = client.send(request.body(Default::default()).unwrap()).await.unwrap().into_body();
    let (mut text, mut found) = (String::new(), Vec::new());
    while found.len() < count {
        let frame = timeout(Duration::from_secs(10), body.frame()).await.expect("an event comes in time");
        text += &String::from_utf8_lossy(frame.unwrap().unwrap().data_ref().unwrap());
        let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
        found = data.filter_map(|data| serde_json::from_str(data.trim()).ok()).collect();
    }
    found
}
