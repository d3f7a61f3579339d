//! The GPU probe: before a stand-in for NVIDIA's library, and trees such as AMD's driver shows.

mod stage;

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::{Outrigger, Simulator, ask, chat, get};
use stage::{Library, Tree, status, until_status};

const QUICK: (&str, &str) = ("GPU__INTERVAL_MS", "20");

/// Of AMD's there are none.
const HIDDEN: (&str, &str) = ("GPU__SYSFS_PATH", "/nowhere");

/// The value of a series: of one line that begins so and has this label.
async fn series(outrigger: &Outrigger, name: &str, label: &str) -> Option<f64> {
    let text = get(outrigger.admin, "/metrics").await.text();
    let begins = format!("{name}{{");
    let line = text.lines().find(|line| line.starts_with(&begins) && line.contains(label))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// How often the log has said so, once it has: it is written behind what happens.
async fn heard(outrigger: &Outrigger, message: &str) -> usize {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let times = outrigger.log().lines().filter(|line| line.contains(message)).count();
        if times > 0 {
            return times;
        }
        assert!(Instant::now() < until, "the log never says: {message}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn where_there_is_no_gpu_it_is_off_and_that_is_said_once() {
    let simulator = Simulator::start(&[]);
    let settings = [QUICK, HIDDEN, ("GPU__NVML_PATH", "/nowhere/libnvidia-ml.so.1"), ("GPU__RETRY_SECS", "1")];
    let outrigger = Outrigger::before(&simulator, &settings).await;
    let told = until_status(&outrigger, "off").await;
    let reason = told["reason"].as_str().unwrap();
    assert!(reason.contains("/nowhere/libnvidia-ml.so.1") && reason.contains("no card of AMD's"), "{reason}");
    assert_eq!(told["devices"], json!([]));
    let health = get(outrigger.admin, "/healthz").await.json();
    assert_eq!((&health["parts"]["gpu"]["status"], &health["status"]), (&json!("off"), &json!("ok")), "{health:#}");
    assert_eq!(outrigger.metric("DCGM_").await, None, "no card, no line");
    sleep(Duration::from_millis(2500)).await;
    assert_eq!(heard(&outrigger, "no GPU is read").await, 1, "it was looked for again, and nothing more was said");
    let quiet = Outrigger::before(&simulator, &[("GPU__MODE", "off")]).await;
    assert_eq!(status(&quiet).await["reason"], "gpu.mode is off");
    let asked = Outrigger::before(&simulator, &[("GPU__MODE", "nvidia"), settings[2]]).await;
    assert!(until_status(&asked, "degraded").await["reason"].as_str().unwrap().contains("nvidia"), "one is missed");
    assert_eq!(get(asked.admin, "/healthz").await.json()["status"], "degraded");
    assert_eq!(ask(asked.address, chat(json!({}))).await.status, StatusCode::OK, "and it serves");
}

#[tokio::test]
async fn what_nvidias_cards_say_is_told_under_dcgms_names_and_in_its_units() {
    let simulator = Simulator::start(&[]);
    let library = Library::new();
    library.says(&[Library::CARD0, Library::PARTED]);
    let path = library.path();
    let outrigger = Outrigger::before(&simulator, &[QUICK, HIDDEN, ("GPU__NVML_PATH", &path)]).await;
    let mut told = until_status(&outrigger, "ok").await;
    // Errors are waited for by a thread of their own, which may come a moment after the first reading.
    let until = Instant::now() + Duration::from_secs(20);
    while told["devices"][0]["xid_errors"].is_null() && Instant::now() < until {
        sleep(Duration::from_millis(20)).await;
        told = until_status(&outrigger, "ok").await;
    }
    let card = &told["devices"][0];
    let expected = json!({
        "vendor": "nvidia", "index": 0, "device": "nvidia0", "uuid": "GPU-aaaa", "name": "NVIDIA H100 80GB HBM3",
        "pci_bus_id": "00000000:3B:00.0", "utilization_percent": 63, "memory_copy_utilization_percent": 12,
        "memory_total_bytes": 85_899_345_920_u64, "memory_used_bytes": 75_161_927_680_u64,
        "memory_reserved_bytes": 536_870_912, "memory_free_bytes": 10_200_547_328_u64, "temperature_c": 41.0,
        "memory_temperature_c": 52.0, "power_w": 412.5, "power_limit_w": 700.0, "energy_mj": 123_456_789_012_u64,
        "sm_clock_mhz": 1980, "memory_clock_mhz": 2619, "throttle_reasons": ["sw_power_cap", "sw_thermal_slowdown"],
        "ecc_errors": { "volatile_corrected": 3, "volatile_uncorrected": 0, "aggregate_corrected": 40, "aggregate_uncorrected": 1 },
        "remapped_rows": { "correctable": 2, "uncorrectable": 1, "pending": true, "failed": false },
        "retired_pages": { "single_bit": 2, "double_bit": 1, "pending": false },
        "pcie_replays": 5, "mig_enabled": false, "xid_errors": { "count": 0 },
        "processes": [{ "pid": 4242, "memory_used_bytes": 70_000_000_000_u64 }, { "pid": 77, "memory_used_bytes": 1024 }],
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&card[key], value, "{key} of {card:#}");
    }
    assert!((card["memory_share"].as_f64().unwrap() - 0.88).abs() < 0.001, "{card:#}");
    let driver = &told["drivers"][0];
    assert_eq!((&driver["driver_version"], &driver["library_version"]), (&json!("550.54.15"), &json!("12.550.54.15")));

    let text = get(outrigger.admin, "/metrics").await.text();
    let labels =
        r#"{UUID="GPU-aaaa",device="nvidia0",gpu="0",modelName="NVIDIA H100 80GB HBM3",pci_bus_id="00000000:3B:00.0"}"#;
    for (name, kind, value) in [
        ("DCGM_FI_DEV_GPU_UTIL", "gauge", "63"),
        ("DCGM_FI_DEV_MEM_COPY_UTIL", "gauge", "12"),
        ("DCGM_FI_DEV_FB_USED", "gauge", "71680"),
        ("DCGM_FI_DEV_FB_FREE", "gauge", "9728"),
        ("DCGM_FI_DEV_GPU_TEMP", "gauge", "41"),
        ("DCGM_FI_DEV_MEMORY_TEMP", "gauge", "52"),
        ("DCGM_FI_DEV_POWER_USAGE", "gauge", "412.5"),
        ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "counter", "123456789012"),
        ("DCGM_FI_DEV_SM_CLOCK", "gauge", "1980"),
        ("DCGM_FI_DEV_MEM_CLOCK", "gauge", "2619"),
        ("DCGM_FI_DEV_XID_ERRORS", "gauge", "0"),
        ("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", "counter", "5"),
        ("DCGM_FI_DEV_ECC_SBE_VOL_TOTAL", "counter", "3"),
        ("DCGM_FI_DEV_ROW_REMAP_FAILURE", "gauge", "0"),
        ("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", "gauge", "1"),
        ("DCGM_FI_DEV_CLOCKS_EVENT_REASONS", "gauge", "36"),
    ] {
        let line = format!("{name}{labels} {value}");
        assert!(text.lines().any(|told| told == line), "{line} is not among\n{}", dcgm(&text));
        assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name} is a {kind}\n{}", dcgm(&text));
    }
    assert!(!text.lines().any(|line| line.starts_with("DCGM") && line.contains("_total")), "{}", dcgm(&text));
    let part = &told["devices"][2];
    let instance = json!({ "gpu_instance_id": 7, "profile": "1g.10gb" });
    assert_eq!(
        (&part["index"], &part["instance"], &part["uuid"]),
        (&json!(1), &instance, &json!("MIG-b1")),
        "{told:#}"
    );
    assert_eq!(part["memory_used_bytes"], 1_073_741_824_u64);
    let of_part = r#"GPU_I_ID="7",GPU_I_PROFILE="1g.10gb",UUID="MIG-b1",device="nvidia1",gpu="1""#;
    assert_eq!(series(&outrigger, "DCGM_FI_DEV_FB_USED", of_part).await, Some(1024.0), "{}", dcgm(&text));
    assert_eq!(series(&outrigger, "DCGM_FI_DEV_GPU_TEMP", of_part).await, None, "a part has no temperature of its own");
}

fn dcgm(text: &str) -> String {
    text.lines().filter(|line| line.contains("DCGM")).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn what_a_card_does_not_support_is_absent_and_what_fails_is_said() {
    let simulator = Simulator::start(&[]);
    let library = Library::new();
    library.says(&["driver 550.1\ncount 1\n0.uuid GPU-old\n0.temp 30\n"]);
    let path = library.path();
    let settings = [QUICK, HIDDEN, ("GPU__NVML_PATH", path.as_str()), ("GPU__RETRY_SECS", "1")];
    let outrigger = Outrigger::before(&simulator, &settings).await;
    let told = until_status(&outrigger, "ok").await;
    let keys: Vec<_> = told["devices"][0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["age_ms", "critical", "device", "index", "stale", "temperature_c", "uuid", "vendor"]);
    assert_eq!(outrigger.metric("DCGM_FI_DEV_FB_USED").await, None);
    assert_eq!(outrigger.metric("DCGM_FI_DEV_GPU_TEMP").await, Some(30.0));
    // One sensor fails: the others go on.
    library.says(&["driver 550.1\ncount 1\n0.uuid GPU-old\n0.temp 31\n0.util !999\n"]);
    let told = until_status(&outrigger, "degraded").await;
    assert_eq!(told["reason"], "nvidia0: utilization: an internal driver error occurred");
    assert_eq!(told["devices"][0]["temperature_c"], 31.0);
    library.says(&["driver 550.1\ncount 1\n0.uuid GPU-old\n0.temp 32\n"]);
    until_status(&outrigger, "ok").await;
    assert_eq!(
        (heard(&outrigger, "cannot be read as they should").await, heard(&outrigger, "are read again").await),
        (1, 1)
    );
}

#[tokio::test]
async fn a_driver_that_comes_late_is_found_and_one_that_fails_is_said_once_and_recovers() {
    let simulator = Simulator::start(&[]);
    let library = Library::absent();
    let path = library.path();
    let settings = [QUICK, HIDDEN, ("GPU__NVML_PATH", path.as_str()), ("GPU__RETRY_SECS", "1")];
    let outrigger = Outrigger::before(&simulator, &settings).await;
    until_status(&outrigger, "off").await;
    library.says(&["init 9\n", Library::CARD0]);
    library.appears();
    sleep(Duration::from_millis(1300)).await;
    let told = until_status(&outrigger, "off").await;
    assert!(told["reason"].as_str().unwrap().contains("driver is not loaded"), "{told:#}");
    library.says(&[Library::CARD0]);
    until_status(&outrigger, "ok").await;
    // All cards are lost, again and again.
    library.says(&[Library::CARD0, "0.lost !15\n"]);
    let told = until_status(&outrigger, "degraded").await;
    assert!(told["reason"].as_str().unwrap().contains("fell off the bus"), "{told:#}");
    assert_eq!((outrigger.metric("DCGM_FI").await, &told["devices"]), (None, &json!([])), "nothing old is told as new");
    sleep(Duration::from_millis(2200)).await;
    assert_eq!(heard(&outrigger, "cannot be read as they should").await, 1, "it is said once");
    library.says(&[Library::CARD0]);
    until_status(&outrigger, "ok").await;
    assert_eq!(heard(&outrigger, "are read again").await, 1);
    // The driver is taken away under us.
    library.says(&["init 9\n", Library::CARD0, "0.lost !1\n"]);
    assert!(until_status(&outrigger, "degraded").await["reason"].as_str().unwrap().contains("nvidia"));
    assert_eq!(ask(outrigger.address, chat(json!({}))).await.status, StatusCode::OK);
}

#[tokio::test]
async fn one_lost_card_of_two_is_said_and_the_other_is_read_on() {
    let simulator = Simulator::start(&[]);
    let library = Library::new();
    library.says(&[Library::CARD0, Library::PARTED, "1.lost !15\n"]);
    let path = library.path();
    let settings = [QUICK, HIDDEN, ("GPU__NVML_PATH", path.as_str()), ("GPU__RETRY_SECS", "1")];
    let outrigger = Outrigger::before(&simulator, &settings).await;
    let told = until_status(&outrigger, "degraded").await;
    assert!(told["reason"].as_str().unwrap().starts_with("nvidia1: device fell off the bus"), "{told:#}");
    assert_eq!(series(&outrigger, "DCGM_FI_DEV_GPU_UTIL", "gpu=\"0\"").await, Some(63.0));
    assert_eq!(series(&outrigger, "DCGM_FI_DEV_GPU_UTIL", "gpu=\"1\"").await, None);
    library.says(&[Library::CARD0, Library::PARTED]);
    until_status(&outrigger, "ok").await;
}

#[tokio::test]
async fn a_driver_that_hangs_delays_no_request_and_no_page_and_is_said_with_its_age() {
    let simulator = Simulator::start(&[]);
    let library = Library::new();
    let sysfs = Tree::new();
    sysfs.put("card0", &[("vendor", "0x1002"), ("gpu_busy_percent", "5")]);
    library.says(&[Library::CARD0]);
    let (path, root) = (library.path(), sysfs.path());
    let rules = r#"[{ metric = "gpu_temperature_c", warning = 40 }]"#;
    let settings = [QUICK, ("GPU__SYSFS_PATH", &root), ("GPU__NVML_PATH", &path), ("ALERTS__RULES", rules)];
    let outrigger = Outrigger::before(&simulator, &settings).await;
    until_status(&outrigger, "ok").await;
    assert_eq!(series(&outrigger, "DCGM_FI_DEV_GPU_UTIL", "device=\"card0\"").await, Some(5.0));
    library.says(&[Library::CARD0, "hang 1\n"]);
    let hung = Instant::now();
    let (mut asked, mut most) = (0, Duration::ZERO);
    // While it hangs, and before and after that is noticed.
    while hung.elapsed() < Duration::from_millis(4500) {
        for path in ["/healthz", "/metrics", "/api/gpu/status", "/api/backends", "/readyz"] {
            let begun = Instant::now();
            assert_eq!(get(outrigger.admin, path).await.status, StatusCode::OK, "{path}");
            most = most.max(begun.elapsed());
        }
        let begun = Instant::now();
        assert_eq!(ask(outrigger.address, chat(json!({}))).await.status, StatusCode::OK);
        most = most.max(begun.elapsed());
        asked += 1;
        sleep(Duration::from_millis(20)).await;
    }
    assert!(asked > 10, "{asked} rounds");
    // The driver does not answer for seconds: had anybody waited for it, it would be that long.
    assert!(most < Duration::from_secs(1), "the slowest took {most:?}");
    let told = until_status(&outrigger, "degraded").await;
    assert!(told["reason"].as_str().unwrap().starts_with("nvidia: the driver has not answered for"), "{told:#}");
    let (old, fresh) = (&told["devices"][0], &told["devices"][1]);
    assert_eq!((&old["stale"], &fresh["stale"]), (&json!(true), &json!(false)));
    assert!(old["age_ms"].as_u64().unwrap() >= 3000 && fresh["age_ms"].as_u64().unwrap() < 3000, "{told:#}");
    assert_eq!(series(&outrigger, "DCGM_FI_DEV_GPU_UTIL", "nvidia0").await, None, "nothing old is told as new");
    assert_eq!(series(&outrigger, "DCGM_FI_DEV_GPU_UTIL", "card0").await, Some(5.0), "AMD's are read on");
    library.says(&[Library::CARD0]);
    until_status(&outrigger, "ok").await;
    let said = (heard(&outrigger, "cannot be read as they should").await, heard(&outrigger, "are read again").await);
    assert_eq!(said, (1, 1), "{}", outrigger.log());
}

#[tokio::test]
async fn errors_that_the_driver_reports_are_counted_and_told_as_events() {
    let simulator = Simulator::start(&[]);
    let library = Library::new();
    library.says(&[Library::CARD0]);
    let path = library.path();
    let outrigger = Outrigger::before(&simulator, &[QUICK, HIDDEN, ("GPU__NVML_PATH", &path)]).await;
    until_status(&outrigger, "ok").await;
    library.says(&[&Library::CARD0.replace("0.xids 0", "0.xids 3\n0.xid 79")]);
    outrigger.until_metric("outrigger_gpu_xid_errors_total", 3.0).await;
    assert_eq!(outrigger.metric("DCGM_FI_DEV_XID_ERRORS").await, Some(79.0));
    let told = status(&outrigger).await;
    assert_eq!(told["devices"][0]["xid_errors"], json!({ "count": 3, "last": 79 }));
    let events = stage::events(&outrigger, "gpu", 1).await;
    let counted: u64 = events.iter().map(|event| event["errors"].as_u64().unwrap()).sum();
    assert!(events.iter().all(|event| event["what"] == "xid" && event["code"] == 79), "{events:?}");
    assert!((1..=3).contains(&counted), "{events:?}");
}

/// A card at this temperature.
fn at(degrees: u32) -> String {
    Library::CARD0.replace("0.temp 41", &format!("0.temp {degrees}"))
}

#[tokio::test]
async fn while_a_card_is_critical_its_backend_is_spared_or_refuses_if_that_is_wanted() {
    let simulators = [Simulator::start(&[]), Simulator::start(&[])];
    let urls = simulators.each_ref().map(|simulator| format!("http://{}", simulator.address));
    let library = Library::new();
    library.says(&[&at(41)]);
    let path = library.path();
    let settings = |wanted: &'static str| {
        vec![
            QUICK,
            HIDDEN,
            ("GPU__NVML_PATH", path.as_str()),
            ("GPU__WHEN_CRITICAL", wanted),
            ("GPU__HOLD_SECS", "2"),
            ("BACKENDS__0__URL", urls[0].as_str()),
            ("BACKENDS__0__NAME", "hot"),
            ("DEDUP__ENABLED", "false"),
        ]
    };
    let other =
        [("BACKENDS__1__URL", urls[1].as_str()), ("BACKENDS__1__NAME", "other"), ("GPU__BACKENDS", "{ hot = [0] }")];
    let ignores = Outrigger::start(&settings("ignore")).await;
    let sheds = Outrigger::start(&settings("shed")).await;
    let spares = Outrigger::start(&[settings("prefer_other"), other.to_vec()].concat()).await;
    for outrigger in [&ignores, &sheds, &spares] {
        until_status(outrigger, "ok").await;
        assert_eq!(ask(outrigger.address, chat(json!({}))).await.status, StatusCode::OK);
    }
    let asked = simulators[0].stats().await["requests"].clone();
    library.says(&[&at(95)]);
    for outrigger in [&ignores, &sheds, &spares] {
        outrigger.until_metric("outrigger_gpu_critical", 1.0).await;
    }
    let told = status(&sheds).await;
    assert_eq!(told["devices"][0]["critical"]["cause"], "temperature", "{told:#}");
    assert_eq!(ask(ignores.address, chat(json!({}))).await.status, StatusCode::OK, "it is ignored by default");
    sheds.until_metric("outrigger_backend_pressure", 2.0).await;
    let refused = ask(sheds.address, chat(json!({}))).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.text());
    assert_eq!(refused.json()["error"]["code"], "server_is_overloaded");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    assert_eq!(sheds.metric("outrigger_breaker_refusals_total{why=\"pressure\"").await, Some(1.0));
    let backends = get(sheds.admin, "/api/backends").await.json();
    let backend = &backends["backends"][0];
    assert_eq!((&backend["state"], &backend["pressure"]), (&json!("shed"), &json!("shed")), "{backends:#}");
    spares.until_metric("outrigger_backend_pressure", 1.0).await;
    let before = simulators[1].stats().await["requests"].as_u64().unwrap();
    for _ in 0..10 {
        assert_eq!(ask(spares.address, chat(json!({}))).await.header("x-outrigger-backend"), "other");
    }
    assert_eq!(simulators[1].stats().await["requests"], before + 10, "of {asked}");
    // Cool again: it takes the hold, and what was refused is answered when it was told to come.
    library.says(&[&at(60)]);
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let answer = ask(sheds.address, chat(json!({}))).await;
        if answer.status == StatusCode::OK {
            break;
        }
        assert!(Instant::now() < until, "it sheds for ever");
        let wait: u64 = answer.header("retry-after-ms").parse().unwrap();
        sleep(Duration::from_millis(wait)).await;
    }
    sheds.until_metric("outrigger_backend_pressure", 0.0).await;
    let whats: Vec<Value> =
        stage::events(&sheds, "gpu", 2).await.into_iter().map(|event| event["what"].clone()).collect();
    assert_eq!(whats, [json!("critical"), json!("well")]);
}

#[tokio::test]
async fn a_card_that_hangs_while_it_is_critical_does_not_shed_for_ever() {
    let simulator = Simulator::start(&[]);
    let library = Library::new();
    library.says(&[&at(95)]);
    let path = library.path();
    let wanted = ("GPU__WHEN_CRITICAL", "shed");
    let settings = [QUICK, HIDDEN, ("GPU__NVML_PATH", &path), wanted, ("GPU__HOLD_SECS", "1")];
    let outrigger = Outrigger::before(&simulator, &settings).await;
    outrigger.until_metric("outrigger_backend_pressure", 2.0).await;
    assert_eq!(ask(outrigger.address, chat(json!({}))).await.status, StatusCode::SERVICE_UNAVAILABLE);
    library.says(&[&at(95), "hang 1\n"]);
    outrigger.until_metric("outrigger_backend_pressure", 0.0).await;
    assert_eq!(
        ask(outrigger.address, chat(json!({}))).await.status,
        StatusCode::OK,
        "what is not known presses nobody"
    );
    library.says(&[&at(95)]);
}

#[tokio::test]
async fn alerts_read_what_the_fullest_the_hottest_and_the_busiest_card_says() {
    let simulator = Simulator::start(&[]);
    let sysfs = Tree::new();
    for (card, busy, used, heat) in [("card0", "20", "100", "40000"), ("card1", "90", "950", "88000")] {
        let files = [
            ("vendor", "0x1002"),
            ("gpu_busy_percent", busy),
            ("mem_info_vram_total", "1000"),
            ("mem_info_vram_used", used),
            ("hwmon/hwmon0/temp1_label", "edge"),
            ("hwmon/hwmon0/temp1_input", heat),
        ];
        sysfs.put(card, &files);
    }
    let root = sysfs.path();
    let rules = r#"[
        { metric = "gpu_memory_share", warning = 0.94, critical = 0.96 },
        { metric = "gpu_temperature_c", warning = 80, critical = 88 },
        { metric = "gpu_utilization_share", warning = 0.91 },
    ]"#;
    let settings = [QUICK, ("GPU__SYSFS_PATH", &root), ("GPU__MODE", "amd"), ("ALERTS__RULES", rules)];
    let outrigger = Outrigger::before(&simulator, &settings).await;
    until_status(&outrigger, "ok").await;
    outrigger.until_metric("outrigger_alert{rule=\"gpu_temperature_c\"", 2.0).await;
    outrigger.until_metric("outrigger_alert{rule=\"gpu_memory_share\"", 1.0).await;
    outrigger.until_metric("outrigger_alert{rule=\"gpu_utilization_share\"", 0.0).await;
    // A card that vanishes takes its lines with it.
    sysfs.remove("card1");
    let told = until_status(&outrigger, "degraded").await;
    assert_eq!(told["reason"], "card1: card1 is gone");
    assert_eq!(series(&outrigger, "DCGM_FI_DEV_GPU_TEMP", "card1").await, None);
    assert_eq!(series(&outrigger, "DCGM_FI_DEV_GPU_TEMP", "card0").await, Some(40.0));
}
