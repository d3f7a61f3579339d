//! The streams' curve as one page that needs nothing else.

pub struct Point {
    pub set: String,
    pub policy: String,
    pub threshold: f32,
    pub hits: f64,
    pub wrong: f64,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const EDGE: f64 = 50.0;

pub fn page(points: &[Point]) -> String {
    let mut sets: Vec<&str> = points.iter().map(|point| &*point.set).collect();
    sets.dedup();
    let charts: String = sets.into_iter().map(|set| chart(set, points)).collect();
    format!(
        "<!doctype html><meta charset=utf-8><title>Served by meaning</title><style>body{{font:14px sans-serif}}</style>{charts}"
    )
}

fn chart(set: &str, points: &[Point]) -> String {
    let points: Vec<&Point> = points.iter().filter(|point| point.set == set).collect();
    let most = |value: fn(&Point) -> f64| points.iter().map(|point| value(point)).fold(f64::EPSILON, f64::max) * 1.1;
    let (wide, high) = (most(|point| point.hits), most(|point| point.wrong));
    let x = |hits: f64| EDGE + hits / wide * (WIDTH - 2.0 * EDGE);
    let y = |wrong: f64| HEIGHT - EDGE - wrong / high * (HEIGHT - 2.0 * EDGE);
    let mut marks = String::new();
    for (policy, colour) in [("cosine", "#999"), ("Outrigger", "#06c")] {
        let of: Vec<&&Point> = points.iter().filter(|point| point.policy == policy).collect();
        let line: String = of.iter().map(|point| format!("{:.1},{:.1} ", x(point.hits), y(point.wrong))).collect();
        marks += &format!(r#"<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>"#);
        for point in of {
            let (at, up) = (x(point.hits), y(point.wrong));
            marks += &format!(
                r#"<circle cx="{at:.1}" cy="{up:.1}" r="4" fill="{colour}"><title>{policy} {:.2}: {:.1} % served, {:.2} % wrong</title></circle>"#,
                point.threshold, point.hits, point.wrong
            );
        }
    }
    let (right, bottom) = (WIDTH - EDGE, HEIGHT - EDGE);
    format!(
        r##"<h2>{set}</h2><svg width="{WIDTH}" height="{HEIGHT}"><path d="M{EDGE} {EDGE}V{bottom}H{right}" fill="none" stroke="#000"/>{marks}
<text x="{EDGE}" y="30">wrong, % of all (to {high:.1}); grey: the cosine alone, blue: Outrigger</text><text x="{EDGE}" y="{:.0}">served, % of all (to {wide:.0})</text></svg>"##,
        HEIGHT - 15.0
    )
}
