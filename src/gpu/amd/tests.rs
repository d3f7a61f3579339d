//! Trees such as the kernel shows, with what is missing, what is garbage and what goes away.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::gpu::card::Ecc;

struct Tree(PathBuf);

impl Tree {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("outrigger-sysfs-{}-{number}", std::process::id()));
        std::fs::create_dir_all(root.join("class/drm")).unwrap();
        Tree(root)
    }

    fn put(&self, card: &str, files: &[(&str, &str)]) {
        for (name, text) in files {
            let file = self.0.join("class/drm").join(card).join("device").join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
    }

    fn look(&self) -> Vec<Card> {
        let mut cards = Cards::default();
        cards.find(&self.0);
        cards.look()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What amdgpu shows of an MI300X, in part.
const WHOLE: [(&str, &str); 29] = [
    ("vendor", "0x1002\n"),
    ("device", "0x74a1\n"),
    ("unique_id", "5d5d9c7a3c9b1f2e\n"),
    ("product_name", "AMD Instinct MI300X\n"),
    ("uevent", "DRIVER=amdgpu\nPCI_CLASS=120000\nPCI_SLOT_NAME=0000:c5:00.0\n"),
    ("gpu_busy_percent", "63\n"),
    ("mem_busy_percent", "12\n"),
    ("mem_info_vram_total", "206141652992\n"),
    ("mem_info_vram_used", "185527487488\n"),
    ("mem_info_gtt_total", "540000000000\n"),
    ("mem_info_gtt_used", "14000000\n"),
    ("pcie_replay_count", "4\n"),
    ("ras/umc_err_count", "ue: 1\nce: 17\n"),
    ("pp_dpm_sclk", "0: 500Mhz\n1: 1300Mhz *\n2: 2100Mhz\n"),
    ("hwmon/hwmon7/name", "amdgpu\n"),
    ("hwmon/hwmon7/temp1_label", "edge\n"),
    ("hwmon/hwmon7/temp1_input", "41000\n"),
    ("hwmon/hwmon7/temp2_label", "junction\n"),
    ("hwmon/hwmon7/temp2_input", "57500\n"),
    ("hwmon/hwmon7/temp3_label", "mem\n"),
    ("hwmon/hwmon7/temp3_input", "49000\n"),
    ("hwmon/hwmon7/power1_average", "542125000\n"),
    ("hwmon/hwmon7/power1_cap", "750000000\n"),
    ("hwmon/hwmon7/freq1_label", "sclk\n"),
    ("hwmon/hwmon7/freq1_input", "2100000000\n"),
    ("hwmon/hwmon7/freq2_label", "mclk\n"),
    ("hwmon/hwmon7/freq2_input", "900000000\n"),
    ("hwmon/hwmon7/fan1_input", "1200\n"),
    ("hwmon/hwmon7/power1_input", "1\n"),
];

#[test]
fn free_memory_is_that_of_the_card_that_has_most() {
    let tree = Tree::new();
    assert_eq!(free_bytes(&tree.0), None, "there is no card");
    tree.put("card0", &WHOLE);
    assert_eq!(free_bytes(&tree.0), Some(206_141_652_992 - 185_527_487_488));
    tree.put("card1", &[("vendor", "0x1002\n"), ("mem_info_vram_total", "9\n"), ("mem_info_vram_used", "4\n")]);
    assert_eq!(free_bytes(&tree.0), Some(206_141_652_992 - 185_527_487_488), "the smaller one is not meant");
}

#[test]
fn a_card_says_all_that_it_knows_in_our_units() {
    let tree = Tree::new();
    tree.put("card1", &WHOLE);
    let cards = tree.look();
    let card = &cards[0];
    assert_eq!((cards.len(), card.index, card.device.as_str()), (1, 0, "card1"));
    assert_eq!(card.is.uuid.as_deref(), Some("5d5d9c7a3c9b1f2e"));
    assert_eq!(card.is.name.as_deref(), Some("AMD Instinct MI300X"));
    assert_eq!(card.is.pci_bus_id.as_deref(), Some("0000:c5:00.0"));
    let now = &card.reading.now;
    assert_eq!((now.utilization_percent, now.memory_copy_utilization_percent), (Some(63), Some(12)));
    assert_eq!(now.memory_total_bytes, Some(206_141_652_992));
    assert_eq!(now.memory_free_bytes, Some(206_141_652_992 - 185_527_487_488));
    assert_eq!(now.host_memory_used_bytes, Some(14_000_000));
    let degrees = (now.temperature_c, now.hotspot_temperature_c, now.memory_temperature_c);
    assert_eq!(degrees, (Some(41.0), Some(57.5), Some(49.0)));
    assert_eq!((now.power_w, card.reading.standing.power_limit_w), (Some(542.125), Some(750.0)));
    assert_eq!((now.sm_clock_mhz, now.memory_clock_mhz, now.fan_rpm), (Some(2100), Some(900), Some(1200)));
    let ecc = Ecc { volatile_corrected: Some(17), volatile_uncorrected: Some(1), ..Ecc::default() };
    assert_eq!((card.reading.standing.ecc_errors, card.reading.standing.pcie_replays), (Some(ecc), Some(4)));
    assert!((card.memory_share().unwrap() - 0.9).abs() < 1e-6);
    assert_eq!(card.problem, None);
}

#[test]
fn what_is_not_shown_is_not_there_and_never_zero() {
    let tree = Tree::new();
    tree.put("card0", &[("vendor", "0x1002"), ("device", "0x744c")]);
    let card = tree.look().remove(0);
    assert_eq!((card.is.name.as_deref(), card.is.uuid.as_deref()), (Some("AMD GPU 0x744c"), None));
    assert_eq!(card.reading, Reading::default());
    let told = serde_json::to_value(&card).unwrap();
    let keys: Vec<_> = told.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["device", "index", "name", "vendor"], "what is absent is left out");
}

#[test]
fn garbage_says_nothing_and_spoils_nothing_else() {
    let tree = Tree::new();
    tree.put("card0", &WHOLE);
    let garbage: Vec<_> = [
        ("gpu_busy_percent", "101"),
        ("mem_busy_percent", "-1"),
        ("mem_info_vram_used", "999999999999999"),
        ("mem_info_gtt_total", "lots"),
        ("hwmon/hwmon7/temp1_input", "4100000000"),
        ("hwmon/hwmon7/temp2_input", ""),
        ("hwmon/hwmon7/power1_average", "18446744073709551616"),
        ("hwmon/hwmon7/freq1_input", "2.1e9"),
        ("ras/umc_err_count", "ue: many\nnothing"),
        ("pcie_replay_count", "99999999999"),
        ("uevent", "PCI_SLOT_NAME\n"),
    ]
    .into();
    tree.put("card0", &garbage);
    let file = tree.0.join("class/drm/card0/device/product_name");
    std::fs::write(file, [0xff, 0xfe, 0x00]).unwrap();
    let card = tree.look().remove(0);
    let now = &card.reading.now;
    let none = (now.utilization_percent, now.memory_copy_utilization_percent, now.memory_used_bytes);
    assert_eq!(none, (None, None, None));
    assert_eq!((now.temperature_c, now.hotspot_temperature_c, now.power_w, now.sm_clock_mhz), (None, None, None, None));
    assert_eq!((card.reading.standing.ecc_errors, card.reading.standing.pcie_replays), (None, None));
    assert_eq!(
        (now.memory_total_bytes, now.memory_temperature_c),
        (Some(206_141_652_992), Some(49.0)),
        "the rest is read"
    );
    assert_eq!((card.is.name.as_deref(), card.is.pci_bus_id.as_deref()), (Some("AMD GPU 0x74a1"), None));
    assert_eq!(card.memory_share(), None);
}

#[test]
fn of_several_cards_amds_are_read_in_the_kernels_order_and_outlets_are_no_cards() {
    let tree = Tree::new();
    for (card, vendor) in [("card10", "0x1002"), ("card2", "0x1002"), ("card0", "0x8086"), ("card1", "0x10de")] {
        tree.put(card, &[("vendor", vendor), ("unique_id", card)]);
    }
    tree.put("card2-DP-1", &[("vendor", "0x1002")]);
    tree.put("renderD128", &[("vendor", "0x1002")]);
    let cards = tree.look();
    let seen: Vec<_> = cards.iter().map(|card| (card.index, card.device.as_str())).collect();
    assert_eq!(seen, [(0, "card2"), (1, "card10")]);
}

#[test]
fn a_card_for_data_centres_has_its_temperature_where_it_is_hottest_and_its_clock_in_a_list() {
    let tree = Tree::new();
    tree.put("card0", &WHOLE);
    for gone in ["hwmon/hwmon7/temp1_label", "hwmon/hwmon7/freq1_label", "hwmon/hwmon7/power1_average"] {
        std::fs::remove_file(tree.0.join("class/drm/card0/device").join(gone)).unwrap();
    }
    tree.put("card0", &[("hwmon/hwmon7/power1_input", "90000000")]);
    let now = tree.look().remove(0).reading.now;
    assert_eq!((now.temperature_c, now.sm_clock_mhz, now.power_w), (Some(57.5), Some(1300), Some(90.0)));
}

#[test]
fn a_card_that_goes_away_is_said_to_be_gone_and_comes_back_under_its_number() {
    let tree = Tree::new();
    tree.put("card0", &WHOLE);
    tree.put("card1", &WHOLE);
    let mut cards = Cards::default();
    cards.find(&tree.0);
    let first = tree.0.join("class/drm/card0");
    std::fs::remove_dir_all(&first).unwrap();
    let seen = cards.look();
    assert_eq!((seen[0].problem.as_deref(), &seen[0].reading), (Some("card0 is gone"), &Reading::default()));
    assert_eq!((seen[1].index, seen[1].problem.as_deref()), (1, None), "the other keeps its number");
    tree.put("card0", &WHOLE);
    cards.find(&tree.0);
    assert_eq!(cards.look()[0].reading.now.utilization_percent, Some(63));
}
