//! The ledger against a plain list of the same records.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;

use super::record::{Coded, Counts};
use super::sums::{MINUTE, start};
use super::testing::{record, series};
use super::*;
use crate::money::Money;
use crate::usage::{Service, Tokens};

const PATIENCE: Duration = Duration::from_secs(30);
/// The beginning of a day, long ago, that no retention of these tests reaches.
const BEGIN: i64 = 1_800_000_000_000 / DAY * DAY;

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("outrigger-ledger-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn config(&self) -> Config {
        // Records of tests may be of any age.
        let forever = 200_000;
        Config {
            ledger_path: self.0.join("ledger.sqlite"),
            ledger_flush_ms: NonZeroU32::MIN,
            keep_calls_days: forever,
            keep_minutes_days: forever,
            keep_hours_days: forever,
            ..Config::default()
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn open(config: &Config) -> Arc<Ledger> {
    try_open(config).unwrap()
}

fn try_open(config: &Config) -> Result<Arc<Ledger>, Error> {
    Ledger::open(config, &opentelemetry::global::meter("test"))
}

fn looking(folder: &Folder) -> Connection {
    Connection::open(folder.config().ledger_path).unwrap()
}

fn any_record() -> impl Strategy<Value = Record> {
    // Close to the borders of days, hours and minutes as often as not.
    let day = (0..3i64).prop_map(|day| day * DAY);
    let near = prop_oneof![Just(0), Just(HOUR), Just(5 * MINUTE), Just(DAY - 1), 0..DAY, 0..3 * MINUTE];
    let at = (day, near, -2i64..3).prop_map(|(day, near, off)| BEGIN + day + near + off);
    let names = (0..3u8, 0..3u8, 0..2u8, 0..5usize, prop::option::of(0..2u8));
    let how = (0..3usize, 0..2usize, 0..3usize, 0..4usize);
    let amounts = (prop::array::uniform10(0..1_000u64), prop::option::of(0..1_000_000_000u64));
    (at, names, how, amounts).prop_map(|(at, names, how, (tokens, cost))| Record {
        kind: Kind::WORDS[how.0].0,
        measured: Measured::WORDS[how.1].0,
        end: Ended::WORDS[how.2].0,
        service: Service::WORDS[how.3].0,
        tokens: Tokens::from_counts(tokens),
        cost: cost.map(Money::from_nanos),
        series: Series {
            backend: format!("backend {}", names.2).into(),
            route: crate::Route::ALL[names.3],
            tag: names.4.map(|tag| format!("tag {tag}").into()),
            ..series(&format!("tenant {}", names.0), &format!("model {}", names.1))
        },
        ..record(at, 0)
    })
}

fn any_query() -> impl Strategy<Value = Query> {
    let dimensions = vec![
        Dimension::Tenant,
        Dimension::Model,
        Dimension::Backend,
        Dimension::Route,
        Dimension::Tag,
        Dimension::Kind,
        Dimension::Minute,
        Dimension::Hour,
        Dimension::Day,
    ];
    let by = prop::sample::subsequence(dimensions, 0..=4);
    let edge = || prop_oneof![(0..4 * 24i64).prop_map(|hour| hour * HOUR), 0..4 * DAY];
    let only = (
        prop::option::weighted(0.2, 0..3u8),
        prop::option::weighted(0.2, 0..3u8),
        prop::option::weighted(0.2, 0..2u8),
        prop::option::weighted(0.2, 0..3usize),
    );
    (edge(), edge(), by, only).prop_map(|(from, until, by, (tenant, model, tag, kind))| Query {
        by,
        only: Only {
            tenant: tenant.map(|tenant| crate::Tenant::of(format!("tenant {tenant}").as_bytes())),
            model: model.map(|model| format!("model {model}").into()),
            tag: tag.map(|tag| format!("tag {tag}").into()),
            kind: kind.map(|kind| Kind::WORDS[kind].0),
            ..Only::default()
        },
        ..Query::new(BEGIN - DAY / 2 + from.min(until), BEGIN - DAY / 2 + from.max(until))
    })
}

/// The rows as they are without any roll-up.
fn by_hand(records: &[Record], query: &Query) -> BTreeMap<String, Sums> {
    let mut rows = BTreeMap::<String, Sums>::new();
    let in_range = records.iter().filter(|record| record.at >= query.from && record.at < query.until);
    for record in in_range.filter(|record| query.wants_kind(record.kind) && query.only.admits(&record.series)) {
        let mut key = query.key(&record.series);
        key.start = query.span().map(|span| start(record.at, span));
        key.kind = query.by.contains(&Dimension::Kind).then_some(record.kind);
        rows.entry(format!("{key:?}")).or_default().add(&Sums::of(record));
    }
    rows
}

fn as_map(totals: &Totals) -> BTreeMap<String, Sums> {
    totals.rows.iter().map(|row| (format!("{:?}", row.key), row.sums)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn totals_of_any_range_and_group_are_what_a_recount_gives(
        records in prop::collection::vec(any_record(), 1..200),
        queries in prop::collection::vec(any_query(), 20),
    ) {
        let folder = Folder::new();
        let ledger = open(&folder.config());
        for (number, record) in records.iter().enumerate() {
            ledger.append(record.clone());
            if number % 50 == 0 {
                prop_assert!(ledger.flush(PATIENCE));
            }
        }
        prop_assert!(ledger.flush(PATIENCE));
        for query in queries {
            let totals = ledger.totals(&query).unwrap();
            prop_assert_eq!((totals.from, totals.until), (query.from, query.until), "nothing is widened");
            prop_assert_eq!(as_map(&totals), by_hand(&records, &query), "{:?}", query);
            let mut spent = Sums::default();
            ledger.spent(query.from, query.until, |_, sums| spent.add(sums)).unwrap();
            let all = Query::new(query.from, query.until);
            prop_assert_eq!(spent, by_hand(&records, &all).into_values().next().unwrap_or_default());
        }
        drop(ledger);
        prop_assert_eq!(disagreements(&looking(&folder)), 0);
    }
}

/// Roll-ups that are not what their records add up to, counted by SQLite itself.
fn disagreements(connection: &Connection) -> i64 {
    let sums: Vec<String> = sums::columns().iter().skip(5).map(|name| format!("sum({name})")).collect();
    let counts = "count(*), sum(measured = 1), sum(cost_nanos IS NULL), sum(ended = 1), sum(ended = 2)";
    let recount = |span: i64| {
        let (rows, sums) =
            (sums::columns().join(", "), sums.join(", ").replace("sum(cost_nanos)", "ifnull(sum(cost_nanos), 0)"));
        let counted =
            format!("SELECT at / {span} * {span}, series_id, kind, {counts}, {sums} FROM calls GROUP BY 1, 2, 3");
        let kept = format!("SELECT start, series_id, kind, {rows} FROM rollups WHERE span = {span}");
        format!("SELECT * FROM ({counted} EXCEPT {kept}) UNION ALL SELECT * FROM ({kept} EXCEPT {counted})")
    };
    let all = [MINUTE, HOUR, DAY].map(recount).join(" UNION ALL ");
    connection.query_row(&format!("SELECT count(*) FROM ({all})"), [], |row| row.get(0)).unwrap()
}

#[test]
fn a_ledger_that_is_opened_again_has_everything() {
    let folder = Folder::new();
    for round in 1..=3u64 {
        let ledger = open(&folder.config());
        (0..100).for_each(|number| ledger.append(record(BEGIN + number, 7)));
        drop(ledger);
        let totals = open(&folder.config()).totals(&Query::new(0, i64::MAX)).unwrap();
        assert_eq!(totals.rows[0].sums.requests, 100 * round, "closing writes what waits");
        assert_eq!(totals.rows[0].sums.cost.nanos(), 700 * round);
    }
}

#[test]
fn sums_stop_at_their_most_and_never_turn_over() {
    let folder = Folder::new();
    let ledger = open(&folder.config());
    for _ in 0..3 {
        let tokens = Tokens { input: u64::MAX, ..Tokens::default() };
        ledger.append(Record { tokens, cost: Some(Money::MOST), ..record(BEGIN, 0) });
        assert!(ledger.flush(PATIENCE));
    }
    for range in [(BEGIN, BEGIN + DAY), (BEGIN, BEGIN + 1)] {
        let totals = ledger.totals(&Query::new(range.0, range.1)).unwrap();
        assert_eq!(totals.rows[0].sums.cost, Money::MOST);
        assert_eq!(totals.rows[0].sums.requests, 3);
    }
}

#[test]
fn what_is_old_goes_by_whole_days_and_days_stay() {
    let folder = Folder::new();
    let ledger = open(&folder.config());
    let now = BEGIN + 100 * DAY + HOUR;
    for day in 0..=100 {
        (0..30).for_each(|number| ledger.append(record(BEGIN + day * DAY + number * HOUR / 2, 1)));
    }
    drop(ledger);
    let mut connection = looking(&folder);
    let ages = [(retention::CALLS, 30 * DAY), (MINUTE, 2 * DAY), (HOUR, 90 * DAY)];
    let mut retention = Retention { ages, most_calls: None, next: 0 };
    while retention.step(&mut connection, now).unwrap() == retention::Step::More {}
    let first = |query: &str| connection.query_row(query, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(first("SELECT min(at) FROM calls"), BEGIN + 70 * DAY);
    assert_eq!(first("SELECT min(start) FROM rollups WHERE span = 60000"), BEGIN + 98 * DAY);
    assert_eq!(first("SELECT min(start) FROM rollups WHERE span = 3600000"), BEGIN + 10 * DAY);
    assert_eq!(first("SELECT min(start) FROM rollups WHERE span = 86400000"), BEGIN);
    drop(connection);
    let ledger = open(&folder.config());
    let totals = |from: i64, until: i64| ledger.totals(&Query::new(from, until)).unwrap();
    assert_eq!(totals(0, i64::MAX).rows[0].sums.requests, 101 * 30, "days have it all");
    let exact = totals(BEGIN + 80 * DAY + 1, BEGIN + 80 * DAY + HOUR);
    assert_eq!((exact.from, exact.rows[0].sums.requests), (BEGIN + 80 * DAY + 1, 1), "calls are exact");
    let hour = totals(BEGIN + 20 * DAY + 1, BEGIN + 20 * DAY + HOUR + 1);
    assert_eq!((hour.from, hour.until), (BEGIN + 20 * DAY, BEGIN + 20 * DAY + 2 * HOUR), "hours are all there is");
    assert_eq!(hour.rows[0].sums.requests, 4);
    let day = totals(BEGIN + DAY + HOUR, BEGIN + DAY + 2 * HOUR);
    assert_eq!((day.from, day.until, day.rows[0].sums.requests), (BEGIN + DAY, BEGIN + 2 * DAY, 30));
}

#[test]
fn in_memory_the_oldest_calls_go_and_sums_stay() {
    let config = Config { ledger_path: PathBuf::new(), ledger_memory_calls: 500, ..Folder::new().config() };
    let ledger = open(&config);
    for number in 0..2_000 {
        ledger.append(record(BEGIN + number * MINUTE, 1));
        if number % 100 == 0 {
            assert!(ledger.flush(PATIENCE));
        }
    }
    assert!(ledger.flush(PATIENCE));
    // A step comes after what it is for.
    ledger.append(record(BEGIN + 2_000 * MINUTE, 1));
    assert!(ledger.flush(PATIENCE));
    let totals = ledger.totals(&Query::new(0, i64::MAX)).unwrap();
    assert_eq!(totals.rows[0].sums.requests, 2_001);
    let mut lines = Vec::new();
    let export = Export { until: i64::MAX, ..Export::default() };
    let count = ledger.export(&export, &mut lines).unwrap();
    assert!((500..=501).contains(&count), "{count} calls are kept");
}

#[test]
fn a_second_opener_is_refused_and_only_the_owner_may_read() {
    let folder = Folder::new();
    let config = folder.config();
    let ledger = open(&config);
    ledger.append(record(BEGIN, 1));
    assert!(ledger.flush(PATIENCE));
    assert!(matches!(try_open(&config), Err(Error::Taken { .. })));
    for file in std::fs::read_dir(&folder.0).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", file.path());
    }
}

#[test]
fn a_folder_is_made_if_only_it_is_missing() {
    let folder = Folder::new();
    let inside = Config { ledger_path: folder.0.join("new/ledger.sqlite"), ..folder.config() };
    drop(open(&inside));
    let too_deep = Config { ledger_path: folder.0.join("a/b/ledger.sqlite"), ..folder.config() };
    assert!(matches!(try_open(&too_deep), Err(Error::Folder { .. })));
    let a_folder = Config { ledger_path: folder.0.clone(), ..folder.config() };
    assert!(matches!(try_open(&a_folder), Err(Error::File { .. })));
    assert!(!file::beside(&folder.0, ".lock").exists(), "nothing is left beside it");
}

#[test]
fn a_damaged_file_is_an_error_and_stays_as_it_is() {
    let folder = Folder::new();
    let (config, path) = (folder.config(), folder.config().ledger_path);
    let ledger = open(&config);
    (0..5_000).for_each(|number| ledger.append(record(BEGIN + number * MINUTE, 1)));
    drop(ledger);
    let whole = std::fs::read(&path).unwrap();
    let half = whole[..whole.len() / 2].to_vec();
    let mut head = whole.clone();
    head[..100].fill(7);
    // The pages of the tables' roots: they come first.
    let mut roots = whole.clone();
    roots[4096..16 * 4096].fill(0xAA);
    for (what, damaged) in
        [("half", half), ("head", head), ("roots", roots), ("empty", Vec::new()), ("words", b"hello".to_vec())]
    {
        std::fs::write(&path, &damaged).unwrap();
        let error = try_open(&config).err().unwrap_or_else(|| panic!("{what} was taken for a ledger"));
        assert!(matches!(error, Error::Damaged { .. }), "{what}: {error}");
        assert!(error.to_string().contains("move it away"), "it says what to do: {error}");
        assert_eq!(std::fs::read(&path).unwrap(), damaged, "{what} was changed");
    }
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(open(&config).totals(&Query::new(0, i64::MAX)).unwrap().rows[0].sums.requests, 5_000);
}

#[test]
fn a_foreign_file_a_newer_one_and_a_log_without_its_file_are_refused() {
    let folder = Folder::new();
    let (config, path) = (folder.config(), folder.config().ledger_path);
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE mine (x)").unwrap();
    assert!(matches!(try_open(&config), Err(Error::Foreign { .. })));
    std::fs::remove_file(&path).unwrap();
    drop(open(&config));
    looking(&folder).pragma_update(None, "user_version", schema::VERSION + 1).unwrap();
    assert!(matches!(try_open(&config), Err(Error::Newer { .. })));
    std::fs::remove_file(&path).unwrap();
    std::fs::write(file::beside(&path, "-wal"), b"log").unwrap();
    assert!(matches!(try_open(&config), Err(Error::Gone { .. })));
    assert!(!path.exists(), "no new file was made in silence");
}

#[test]
fn while_the_file_is_locked_records_wait_and_then_all_are_written_once() {
    let folder = Folder::new();
    let ledger = open(&folder.config());
    ledger.append(record(BEGIN, 1));
    assert!(ledger.flush(PATIENCE));
    let other = looking(&folder);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    (1..1_000).for_each(|number| ledger.append(record(BEGIN + number, 1)));
    assert!(!ledger.flush(Duration::from_millis(1_500)), "the lock is held for longer than a commit waits");
    assert!(ledger.pending() > 0);
    other.execute_batch("COMMIT").unwrap();
    assert!(ledger.flush(PATIENCE));
    assert_eq!(ledger.pending(), 0);
    assert_eq!(ledger.totals(&Query::new(0, i64::MAX)).unwrap().rows[0].sums.requests, 1_000);
    drop(ledger);
    assert_eq!(disagreements(&looking(&folder)), 0);
}

#[test]
fn what_is_exported_can_be_read_again() {
    let folder = Folder::new();
    let ledger = open(&folder.config());
    let hostile = "=cmd(),\"\n\u{1F600}";
    for number in 0..2_500u64 {
        let id = Some(format!("request {number}").into());
        let series = series("tenant", if number == 7 { hostile } else { "model" });
        ledger.append(Record { request_id: id, series, ..record(BEGIN + number as i64 / 3, number) });
    }
    ledger.append(Record { cost: None, kind: Kind::CacheSaving, ..record(BEGIN + DAY, 0) });
    assert!(ledger.flush(PATIENCE));
    let export = |format| {
        let (mut out, asked) = (Vec::new(), Export { until: i64::MAX, format, ..Export::default() });
        assert_eq!(ledger.export(&asked, &mut out).unwrap(), 2_501);
        out
    };
    let csv = export(Format::Csv);
    let csv: Vec<Line> = csv::Reader::from_reader(&*csv).deserialize().map(Result::unwrap).collect();
    let json = export(Format::JsonLines);
    let json: Vec<Line> = json
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    assert_eq!(json[7].model, hostile);
    assert_eq!(csv[7].model, format!("'{hostile}"), "no spreadsheet runs it");
    assert!(csv.iter().zip(&json).enumerate().all(|(number, (csv, json))| number == 7 || csv == json));
    assert_eq!(
        (json[3].time.as_str(), json[1_234].cost_usd.as_deref()),
        ("2027-01-15T00:00:00.001Z", Some("0.000001234"))
    );
    assert_eq!((json[2_500].kind.as_str(), &json[2_500].cost_usd), ("cache_saving", &None));
    let of_a_kind = Export { until: i64::MAX, kind: Some(Kind::CacheSaving), ..Export::default() };
    assert_eq!(ledger.export(&of_a_kind, std::io::sink()).unwrap(), 1);
}

#[test]
fn views_say_it_in_words() {
    let folder = Folder::new();
    let ledger = open(&folder.config());
    ledger.append(Record { end: Ended::Broken, ..record(BEGIN + 1_234, 1_500_000_000) });
    drop(ledger);
    let connection = looking(&folder);
    let said: (String, String, String, f64) = connection
        .query_row("SELECT time, kind, ended, dollars FROM calls_view", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .unwrap();
    assert_eq!(said, ("2027-01-15T00:00:01.234Z".into(), "call".into(), "broken".into(), 1.5));
    for view in ["minutes_view", "hours_view", "days_view"] {
        let cost: f64 = connection.query_row(&format!("SELECT dollars FROM {view}"), [], |row| row.get(0)).unwrap();
        assert_eq!(cost, 1.5);
    }
}

#[test]
fn settings_that_are_unknown_or_zero_are_refused() {
    let parse = |json: &str| serde_json::from_str::<Config>(json);
    assert_eq!(parse("{}").unwrap(), Config::default());
    assert!(parse(r#"{"ledger_flush_ms":0}"#).is_err());
    assert!(parse(r#"{"ledger_pth":"x"}"#).unwrap_err().to_string().contains("ledger_pth"));
}
