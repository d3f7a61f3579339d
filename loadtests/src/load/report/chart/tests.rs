use super::ticks::{self, Tick};
use super::*;

fn texts(ticks: &[Tick]) -> Vec<&str> {
    ticks.iter().map(|tick| tick.text.as_str()).collect()
}

fn line(name: &str, values: &[Option<f64>]) -> Line {
    let points = values.iter().enumerate().map(|(place, y)| Point { x: place as f64, y: *y }).collect();
    Line { name: name.to_owned(), colour: 0, stroke: Stroke::Solid, points }
}

fn chart(lines: Vec<Line>) -> Chart {
    let seconds = lines.iter().map(|line| line.points.len()).max().unwrap_or(0);
    let values: Vec<f64> = lines.iter().flat_map(|line| &line.points).filter_map(|point| point.y).collect();
    Chart {
        id: "latency".to_owned(),
        title: "Latency".to_owned(),
        note: "Milliseconds".to_owned(),
        x: Axis::time(seconds as f64),
        y: Axis::wide(values.into_iter()),
        lines,
        marks: Vec::new(),
        shades: Vec::new(),
        width: Width::Full,
        empty: "Nothing was answered.",
    }
}

#[test]
fn ticks_are_round_and_cover_every_value() {
    assert_eq!(texts(&ticks::linear(430.0)), ["0", "100", "200", "300", "400", "500"]);
    assert_eq!(texts(&ticks::linear(0.21)), ["0.00", "0.05", "0.10", "0.15", "0.20", "0.25"]);
    assert_eq!(texts(&ticks::linear(1.2)), ["0.00", "0.25", "0.50", "0.75", "1.00", "1.25"]);
    assert_eq!(texts(&ticks::logarithmic(3.0, 80.0)), ["2", "5", "10", "20", "50", "100"]);
    assert_eq!(texts(&ticks::logarithmic(0.04, 9_000.0)), ["0.01", "0.1", "1", "10", "100", "1,000", "10,000"]);
    assert_eq!(texts(&ticks::time(60.0)), ["0 s", "10 s", "20 s", "30 s", "40 s", "50 s", "60 s"]);
    assert_eq!(texts(&ticks::time(600.0))[1], "2:00");
    assert_eq!(
        texts(&ticks::time(6.0 * 3600.0)),
        ["0 h 00", "1 h 00", "2 h 00", "3 h 00", "4 h 00", "5 h 00", "6 h 00"]
    );
    assert_eq!(texts(&ticks::percentiles(4.2)), ["0 %", "50 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
    for greatest in [1e-9, 0.3, 1.0, 7.0, 12_345.0, 9.99e12] {
        let ticks = ticks::linear(greatest);
        assert!(ticks.last().is_some_and(|last| last.at >= greatest * 0.999_999), "{greatest}: {ticks:?}");
        assert!((2..=8).contains(&ticks.len()), "{greatest}: {ticks:?}");
    }
}

#[test]
fn an_axis_is_logarithmic_only_where_a_linear_one_would_hide_the_least() {
    assert!(!Axis::wide([10.0, 150.0].into_iter()).is_logarithmic());
    let axis = Axis::wide([1.0, 1000.0].into_iter());
    assert!(axis.is_logarithmic());
    assert!((axis.place(1.0), axis.place(1000.0)) == (0.0, 1.0) && axis.place(0.0) == 0.0, "zero lies on the ground");
    assert!((axis.place(31.6) - 0.5).abs() < 0.01, "the geometric mean lies in the middle: {}", axis.place(31.6));
}

#[test]
fn nines_are_equally_far_apart() {
    let axis = Axis::percentile(0.9999);
    let places = [0.0, 0.9, 0.99, 0.999, 0.9999].map(|quantile| (axis.place(quantile) * 100.0).round());
    assert_eq!(places, [0.0, 25.0, 50.0, 75.0, 100.0]);
}

#[test]
fn names_that_would_lie_on_one_another_are_moved_apart() {
    let spread = labels::spread(&[100.0, 50.0, 104.0, 101.0], 16.0, (0.0, 300.0));
    assert_eq!(spread[1], 50.0, "who is alone stays");
    let mut others = [spread[0], spread[3], spread[2]];
    assert!(others.is_sorted(), "their order is that of their values: {spread:?}");
    others.iter_mut().for_each(|at| *at = at.round());
    assert_eq!(others, [86.0, 102.0, 118.0], "about the mean of their places");
    let low = labels::spread(&[299.0, 300.0, 298.0], 16.0, (0.0, 300.0));
    assert_eq!(low, [284.0, 300.0, 268.0], "none leaves the picture");
}

#[test]
fn a_word_that_does_not_fit_gives_way() {
    let word = |at, text: &str| (at, vec![text.to_owned(), "1".to_owned()]);
    let placed = labels::rows(&[word(0.0, "simulator stalls"), word(10.0, "stalls"), word(20.0, "ends")], 2, 300.0);
    let found: Vec<_> = placed.iter().map(|word| (word.text.as_str(), word.row)).collect();
    assert_eq!(found, [("simulator stalls", 0), ("stalls", 1)], "the third has no row left");
    assert_eq!(labels::rows(&[word(290.0, "simulator stalls")], 1, 300.0)[0].text, "1", "only its number fits");
}

#[test]
fn thinning_keeps_every_peak_and_every_gap() {
    let mut values: Vec<Option<f64>> = (0..10_000).map(|at| Some(f64::from(at % 7))).collect();
    values[4_321] = Some(900.0);
    values[7_000..7_200].fill(None);
    let points = thin::thin(&line("p99", &values).points, 500);
    assert!(points.len() <= 520, "{}", points.len());
    assert!(points.iter().any(|point| point.x == 4_321.0 && point.y == Some(900.0)), "the peak stays where it was");
    assert!(points.iter().any(|point| point.y.is_none()), "the gap stays");
    assert!(points.is_sorted_by(|one, next| one.x < next.x), "in order");
}

#[test]
fn a_gap_breaks_the_line_and_a_lonely_value_is_a_dot() {
    let page = chart(vec![line("p50", &[Some(1.0), Some(2.0), None, Some(3.0), None])]).figure().into_string();
    let wide = &page[page.find("<svg").unwrap()..page.find("</svg>").unwrap()];
    assert_eq!((wide.matches("<path d=\"M").count(), wide.matches("<circle").count()), (2, 1), "{wide}");
}

#[test]
fn a_picture_is_told_in_words_and_under_the_pointer() {
    let page = chart(vec![line("p50", &[Some(1.0), Some(2.5)])]).figure().into_string();
    assert!(page.contains("<desc>Milliseconds. p50 lies between 1.00 and 2.50.</desc>"), "{page}");
    assert!(page.contains("&quot;values&quot;:[&quot;1.00&quot;,&quot;2.50&quot;]"), "{page}");
}

#[test]
fn a_chart_without_values_says_why() {
    let page = chart(vec![line("p50", &[None, None])]).figure().into_string();
    assert!(page.contains("Nothing was answered.") && !page.contains("<svg") && !page.contains("data-hover"), "{page}");
}
