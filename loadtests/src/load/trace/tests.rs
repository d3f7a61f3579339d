//! Traces are replayed as they were recorded, or refused with the line that is wrong.

use std::path::PathBuf;

use super::{Format, Replay};
use crate::load::plan::Planned;
use crate::load::scenario::number::{Amount, Positive};

/// A file of a test's own, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("outrigger-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn sample(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("traces").join(name)
}

fn replay(file: PathBuf) -> Replay {
    Replay {
        file,
        format: None,
        speed: Positive::ONE,
        from_secs: Amount::default(),
        duration_secs: None,
        limit: None,
        max_input_tokens: None,
        max_output_tokens: None,
    }
}

fn amount(value: f64) -> Amount {
    value.try_into().unwrap()
}

fn positive(value: f64) -> Positive {
    value.try_into().unwrap()
}

fn all(replay: &Replay) -> Vec<Planned> {
    replay.open(1).unwrap_or_else(|error| panic!("{error:#}")).collect()
}

fn lengths(planned: &Planned) -> (Option<u32>, Option<u32>) {
    (planned.input_tokens, planned.output_tokens)
}

fn refused(name: &str, text: &str, format: Format) -> String {
    let scratch = Scratch::new(name, text);
    let replay = Replay { format: Some(format), ..replay(scratch.0.clone()) };
    format!("{:#}", replay.open(1).err().expect(text))
}

#[test]
fn azures_hour_is_replayed_whole() {
    let planned = all(&replay(sample("azure-conversation.csv")));
    assert_eq!(planned.len(), 19_366, "every row");
    assert_eq!(lengths(&planned[0]), (Some(374), Some(44)));
    assert_eq!(planned[1].at.as_nanos(), 4_314_579_000, "to the trace's own 100 ns");
    let last = planned.last().unwrap();
    assert_eq!(lengths(last), (Some(197), Some(183)));
    assert!((last.at.as_secs_f64() - 3_501.721_937).abs() < 1e-6, "{:?}", last.at);
    assert!(planned.is_sorted_by_key(|planned| planned.at));
    let input: u64 = planned.iter().filter_map(|planned| planned.input_tokens).map(u64::from).sum();
    assert_eq!(input, 22_361_870, "the sum of the column");
}

#[test]
fn a_part_of_a_trace_is_replayed_at_another_speed() {
    let whole = all(&replay(sample("azure-conversation.csv")));
    let part = Replay {
        speed: positive(20.0),
        from_secs: amount(60.0),
        duration_secs: Some(positive(30.0)),
        max_input_tokens: std::num::NonZeroU32::new(1000),
        max_output_tokens: std::num::NonZeroU32::new(100),
        ..replay(sample("azure-conversation.csv"))
    };
    let played = all(&part);
    let expected: Vec<&Planned> =
        whole.iter().filter(|planned| (60.0..660.0).contains(&planned.at.as_secs_f64())).collect();
    assert_eq!(played.len(), expected.len(), "ten minutes of it in thirty seconds");
    for (played, recorded) in played.iter().zip(expected) {
        let due = (recorded.at.as_secs_f64() - 60.0) / 20.0;
        assert!((played.at.as_secs_f64() - due).abs() < 1e-6, "{:?} for {due}", played.at);
        assert_eq!(played.input_tokens, recorded.input_tokens.map(|tokens| tokens.min(1000)));
        assert_eq!(played.output_tokens, recorded.output_tokens.map(|tokens| tokens.min(100)));
    }
    let limited = Replay { limit: std::num::NonZeroUsize::new(7), ..part };
    assert_eq!(all(&limited), played[..7]);
}

#[test]
fn mooncakes_blocks_come_along() {
    let planned = all(&replay(sample("mooncake-conversation.jsonl")));
    assert_eq!(planned.len(), 600);
    assert_eq!(lengths(&planned[0]), (Some(6758), Some(500)));
    assert_eq!(planned[0].blocks, (0..14).collect::<Vec<u64>>());
    assert_eq!(planned[1].blocks[..2], [0, 14], "the first block is shared");
    assert_eq!(planned[599].at.as_millis(), 200_999);
}

#[test]
fn burstgpt_is_read_with_old_columns_and_new() {
    let old = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n\
               5,ChatGPT,472,18,490,Conversation log\n45.5,GPT-4,1087,0,1087,API log\n";
    let new = "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\r\n\
               19440110.0,1722ac82,43,GPT-4,472,18,490,Conversation log\r\n\
               19440150.5,,2,ChatGPT,1087,0,1087,API log";
    for (name, text) in [("burst-old.csv", old), ("burst-new.csv", new)] {
        let scratch = Scratch::new(name, text);
        let planned = all(&replay(scratch.0.clone()));
        assert_eq!(planned.iter().map(lengths).collect::<Vec<_>>(), [(Some(472), Some(18)), (Some(1087), Some(1))]);
        assert_eq!(planned.iter().map(|one| one.at.as_millis()).collect::<Vec<_>>(), [0, 40_500], "{name}");
    }
}

#[test]
fn what_is_out_of_order_is_put_in_order() {
    let scratch = Scratch::new("order.csv", "Timestamp,Request tokens,Response tokens\n9,3,1\n7,1,1\n9,4,1\n8,2,1\n");
    let planned = all(&replay(scratch.0.clone()));
    let found: Vec<_> = planned.iter().map(|one| (one.at.as_secs(), one.input_tokens.unwrap())).collect();
    assert_eq!(found, [(0, 1), (1, 2), (2, 3), (2, 4)], "what has one time stays in the file's order");
}

#[test]
fn an_error_says_which_line_of_which_file() {
    let head = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6,1,2\n";
    for (name, text, format, expected) in [
        ("azure-a.csv", format!("{head}2023-11-16 18:15:47,many,2\n"), Format::Azure, "line: 3"),
        ("azure-b.csv", format!("{head}yesterday,1,2\n"), Format::Azure, "line 3: \"yesterday\" is no time"),
        ("azure-c.csv", "TIMESTAMP,Tokens\n2023-11-16 18:15:47,1\n".to_owned(), Format::Azure, "`ContextTokens`"),
        ("azure-d.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n".to_owned(), Format::Azure, "has no requests"),
        ("burst.csv", "Timestamp,Request tokens,Response tokens\nNaN,1,1\n".to_owned(), Format::Burstgpt, "line 2"),
        ("moon-a.jsonl", "{\"timestamp\":0}\n".to_owned(), Format::Mooncake, "line 1: missing field `input_length`"),
        (
            "moon-b.jsonl",
            "{\"timestamp\":0,\"input_length\":1,\"output_length\":1}\n\nx\n".to_owned(),
            Format::Mooncake,
            "line 3",
        ),
        ("a-trace.csv", "0,0,0,,0,0\n600,1,1,Normal,1,1\n".to_owned(), Format::Servegen, "line 2: the distribution"),
        ("b-trace.csv", "600,0,0,,0,0\n0,0,0,,0,0\n".to_owned(), Format::Servegen, "line 2: time goes back"),
        ("c-trace.csv", "0,0,0\n".to_owned(), Format::Servegen, "line: 1"),
    ] {
        let error = refused(name, &text, format);
        assert!(error.contains(name) && error.contains(expected), "{error}\n for {expected}");
    }
    let unknown = Scratch::new("unknown.csv", "time,tokens\n1,2\n");
    let error = replay(unknown.0.clone()).open(1).err().unwrap().to_string();
    assert!(error.contains("load.format"), "says what to do: {error}");
    let late = Replay { from_secs: amount(1e6), ..replay(sample("azure-conversation.csv")) };
    assert!(late.open(1).err().unwrap().to_string().contains("load.from_secs"));
    assert!(replay(sample("nowhere.csv")).open(1).is_err());
}

/// Expected requests of these clients between two seconds, by the rates in their files.
fn expected(clients: &[u32], from: f64, until: f64) -> f64 {
    let mut sum = 0.0;
    for client in clients {
        let text = std::fs::read_to_string(sample(&format!("servegen/chunk-{client}-trace.csv"))).unwrap();
        for line in text.lines() {
            let fields: Vec<f64> = line.split(',').take(2).map(|field| field.parse().unwrap()).collect();
            let (begin, end) = (fields[0].max(from), (fields[0] + 600.0).min(until));
            sum += fields[1] * (end - begin).max(0.0);
        }
    }
    sum
}

#[test]
fn servegens_clients_come_as_often_as_was_counted() {
    let day =
        Replay { from_secs: amount(43_200.0), duration_secs: Some(positive(86_400.0)), ..replay(sample("servegen")) };
    let planned = all(&day);
    let (count, expected) = (planned.len() as f64, expected(&[7, 16], 43_200.0, 129_600.0));
    assert!((count / expected - 1.0).abs() < 0.03, "{count} for {expected}");
    assert!(planned.is_sorted_by_key(|planned| planned.at));
    assert_eq!(all(&day), planned, "the same for the same seed");
    let other: Vec<Planned> = day.open(2).unwrap().collect();
    assert_ne!(other, planned, "and another for another");
}

#[test]
fn a_servegen_client_has_its_lengths_and_draws_alone_as_beside_others() {
    let of = |name: &str| {
        let whole = replay(sample(name));
        all(&Replay { from_secs: amount(72_000.0), duration_secs: Some(positive(3600.0)), ..whole })
    };
    let (both, first, second) = (of("servegen"), of("servegen/chunk-7-trace.csv"), of("servegen/chunk-16-trace.csv"));
    assert!(first.iter().all(|planned| lengths(planned) == (None, None)), "nothing tells its lengths");
    assert!(second.iter().all(|planned| planned.input_tokens.is_some() && planned.output_tokens.is_some()));
    let mut merged: Vec<Planned> = first.into_iter().chain(second).collect();
    merged.sort_by_key(|planned| planned.at);
    assert_eq!(both, merged);
}

/// The mean of what is drawn is the mean of what the file says.
#[test]
fn servegens_lengths_are_those_of_the_file() {
    let text = std::fs::read_to_string(sample("servegen/chunk-16-dataset.json")).unwrap();
    let file: serde_json::Value = serde_json::from_str(&text).unwrap();
    let told = file["64800"]["output_tokens"].as_str().unwrap().trim_matches(['{', '}']).split(", ");
    let mean: f64 = told
        .map(|entry| entry.split_once(": ").unwrap())
        .map(|(length, share)| length.parse::<f64>().unwrap() * share.parse::<f64>().unwrap())
        .sum();
    let day = all(&Replay { from_secs: amount(64_800.0), ..replay(sample("servegen/chunk-16-trace.csv")) });
    let drawn = day.iter().filter_map(|planned| planned.output_tokens).map(f64::from);
    let found = drawn.sum::<f64>() / day.len() as f64;
    assert!((found / mean - 1.0).abs() < 0.05, "{found} for {mean}, of {} requests", day.len());
}
